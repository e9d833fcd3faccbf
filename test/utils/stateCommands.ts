/**
 * Sequences of requests, clock moves and changes of configuration, on which rules and
 * model have to agree.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { isDeepStrictEqual } from "node:util"
import type { Header } from "../../src/SessionState.ts"
import { type Codec, json, nobody } from "./codec.ts"
import * as Model from "./stateModel.ts"
import type { Config, Operation, Version } from "./stateModel.ts"
import { codecFor, respond, toDeed } from "./stateWorld.ts"
import type { Answer, Rules, World } from "./stateWorld.ts"

/** What a client holds that no server made. */
const garbage = "garbage"
const garbled = `session=${"A".repeat(110)}`

/** What a browser holds, in the words of the model. */
interface Holding {
  readonly session: Version | typeof garbage | undefined
  readonly remember: Version | undefined
}

interface Expected {
  now: number
  config: Config
  holds: Holding
  /** What the browser has held. */
  readonly past: Array<Holding>
}

interface Real extends World {
  /** The Cookie header that the browser sends. */
  cookies: string
  /** Those that it has sent, as `past` tells. */
  readonly past: Array<string>
  /** What was compared last: of what has not changed there is nothing new to learn. */
  compared: { readonly cookies: string; readonly config: Config } | undefined
  /** What has happened, to know that it does. */
  readonly seen: Set<string>
}

type Command = fc.AsyncCommand<Expected, Real>

const known = (session: Holding["session"]): Version | undefined => (session === garbage ? undefined : session)

const nothingHeld: Holding = { session: undefined, remember: undefined }

const hold = (expected: Expected, real: Real, holds: Holding, cookies: string): void => {
  expected.holds = holds
  real.cookies = cookies
  if (cookies === "") return
  expected.past.push(holds)
  real.past.push(cookies)
}

// -----------------------------------------------------------------------------
// what is compared
// -----------------------------------------------------------------------------

/** The times of a header are those of the version that the model remembers. */
const agreeOnTimes = (header: Header, version: Version): void =>
  assert.deepStrictEqual(
    {
      createdAt: header.creationTime,
      savedAt: header.creationTime + header.rollingOffset,
      touchedAt: header.creationTime + header.rollingOffset + header.idlingOffset,
      forget: (header.flags & 2) !== 0,
      placement: (header.flags & 1) === 0 ? "Cookie" : "Server"
    },
    {
      createdAt: version.createdAt,
      savedAt: version.savedAt,
      touchedAt: version.touchedAt,
      forget: version.forget,
      placement: version.placement
    }
  )

const wishesOf = (parts: ReadonlyArray<Model.Part>): ReadonlyArray<Model.Wishes> => {
  const quiet: Model.Wishes = { parts, changed: false, renewed: false, ended: false, remember: undefined }
  return [
    quiet,
    { ...quiet, changed: true },
    { ...quiet, renewed: true },
    { ...quiet, remember: true },
    { ...quiet, remember: false },
    { ...quiet, changed: true, ended: true },
    { ...quiet, parts: [], ended: true }
  ]
}

interface Headers {
  readonly session: Header | undefined
  readonly remember: Header | undefined
}

/** The plans of all requests that could come now, with cookies that stand. */
const surveyPlans = (rules: Rules, headers: Headers, holds: Model.Holds, config: Config, now: number): void => {
  const rescued = Model.rescued(holds, config)
  const { parts } = (rescued ? holds.remember : holds.session) ?? { parts: [] }
  for (const wishes of wishesOf(parts)) {
    for (const refresh of [true, false]) {
      const request = { ...holds, presented: true, refresh }
      const { parts: payload, ...intent } = wishes
      const plan = rules.plan(
        {
          ...request,
          rescued,
          header: headers.session,
          remember: headers.remember,
          payload,
          intent,
          placement: config.placement
        },
        config,
        now
      )
      const deed = Model.deed({ ...request, wishes }, config, now)
      const planned = toDeed(plan, headers.session)
      // To compare is much quicker than to tell a difference.
      if (isDeepStrictEqual(planned, deed)) continue
      assert.deepStrictEqual(planned, deed, JSON.stringify({ now, refresh, ...intent }))
    }
  }
}

/** Bits of the flags that mean nothing. */
const unknownFlags = 0x8088

/** Every request that could come with these cookies, a second before each boundary, at it, and a second after. */
const survey = (rules: Rules, headers: Headers, { remember, session }: Model.Holds, config: Config): void => {
  const { placement } = config
  const standing = (now: number) =>
    config.remember && remember !== undefined && Model.rememberRefusal(remember, config, now) === undefined
      ? remember
      : undefined
  if (session !== undefined && headers.session !== undefined) {
    const header = { ...headers.session, flags: headers.session.flags | unknownFlags }
    for (const [name, boundary] of Object.entries(Model.boundaries(session, config))) {
      for (const now of [boundary - 1, boundary, boundary + 1]) {
        const where = `at ${name}, ${now}`
        const refusal = Model.refusal(session, config, now)
        assert.strictEqual(rules.verify(header, config, placement, now), refusal, where)
        assert.strictEqual(rules.verify({ ...header, type: 2 }, config, placement, now), "InvalidType", where)
        if (refusal !== undefined) continue
        const left = rules.timeLeft(header, config, now)
        if (!isDeepStrictEqual(left, Model.timeLeft(session, config, now))) {
          assert.deepStrictEqual(left, Model.timeLeft(session, config, now), where)
        }
        assert.strictEqual(rules.due(header, config, now), Model.due(session, config, now), where)
        const remembered = standing(now)
        surveyPlans(
          rules,
          { session: header, remember: remembered && headers.remember },
          { session, remember: remembered },
          config,
          now
        )
      }
    }
  }
  if (remember !== undefined && headers.remember !== undefined) {
    const header = { ...headers.remember, flags: headers.remember.flags | unknownFlags }
    const touched = { ...header, idlingOffset: 1 }
    for (const [name, boundary] of Object.entries(Model.boundaries(remember, Model.forRemember(config)))) {
      for (const now of [boundary - 1, boundary, boundary + 1]) {
        const where = `at remember's ${name}, ${now}`
        const refusal = Model.rememberRefusal(remember, config, now)
        assert.strictEqual(rules.verifyRemember(header, config, placement, now), refusal, where)
        assert.strictEqual(
          rules.verifyRemember(touched, config, placement, now),
          Model.rememberRefusal({ ...remember, touchedAt: remember.savedAt + 1 }, config, now),
          where
        )
        if (refusal !== undefined || !config.remember) continue
        surveyPlans(rules, { session: undefined, remember: header }, { session: undefined, remember }, config, now)
      }
    }
  }
}

const headerOf = (codec: Codec, cookies: string): Header | undefined => {
  const presented = codec.decode(codec.find(cookies)[0] ?? "")
  return typeof presented === "string" ? undefined : presented.header
}

/** The cookies that the browser holds are those that the model says, at any time to come. */
const agreeOnCookies = async ({ config, holds }: Expected, real: Real): Promise<void> => {
  const { cookies, rules } = real
  if (real.compared?.cookies === cookies && real.compared.config === config) return
  real.compared = { cookies, config }
  const codec = await codecFor(config.keys)
  const headers = { session: headerOf(codec, cookies), remember: headerOf(codec.remember, cookies) }
  const session = known(holds.session)
  const { remember } = holds
  if (session !== undefined && headers.session !== undefined) agreeOnTimes(headers.session, session)
  else assert.strictEqual(codec.find(cookies).length, holds.session === garbage ? 1 : 0)
  if (remember !== undefined && headers.remember !== undefined) agreeOnTimes(headers.remember, remember)
  else assert.deepStrictEqual(codec.remember.find(cookies), [])
  survey(rules, headers, { session, remember }, config)
}

// -----------------------------------------------------------------------------
// commands
// -----------------------------------------------------------------------------

const show = (value: unknown): string => {
  const text = JSON.stringify(value)
  return text.length > 200 ? `${text.slice(0, 200)}… (${text.length} characters)` : text
}

/** The remember cookies among them. */
const remembered = (cookies: string): string =>
  cookies.split("; ").filter((cookie) => cookie.startsWith("remember")).join("; ")

/**
 * A request: with what the browser holds, without the session cookie (which ends with
 * the browser), with something that it held, or with nothing good.
 */
class Request implements Command {
  readonly presents: "held" | "remembered" | "nothing" | typeof garbage | number
  readonly operations: ReadonlyArray<Operation>
  readonly refresh: boolean

  constructor(presents: Request["presents"], operations: ReadonlyArray<Operation>, refresh: boolean) {
    this.presents = presents
    this.operations = operations
    this.refresh = refresh
  }

  check({ past }: Readonly<Expected>): boolean {
    return typeof this.presents !== "number" || past.length > 0
  }

  #presented({ holds, past }: Expected, real: Real): { readonly held: Holding; readonly cookies: string } {
    switch (this.presents) {
      case "held":
        return { held: holds, cookies: real.cookies }
      case "remembered":
        return { held: { ...holds, session: undefined }, cookies: remembered(real.cookies) }
      case "nothing":
        return { held: nothingHeld, cookies: "" }
      case garbage: {
        const others = remembered(real.cookies)
        return { held: { ...holds, session: garbage }, cookies: others === "" ? garbled : `${garbled}; ${others}` }
      }
      default: {
        const index = this.presents % past.length
        return { held: past[index]!, cookies: real.past[index]! }
      }
    }
  }

  async run(expected: Expected, real: Real): Promise<void> {
    const { operations, refresh } = this
    const { config, now } = expected
    const { cookies, held } = this.#presented(expected, real)

    const knownKey = (version: Version) => (config.keys.includes(version.key) ? undefined : "InvalidMac")
    const refusal = held.session === garbage
      ? "InvalidType"
      : held.session && (Model.refusal(held.session, config, now) ?? knownKey(held.session))
    const session = refusal === undefined ? known(held.session) : undefined
    const rememberRefusal = config.remember && held.remember
      ? Model.rememberRefusal(held.remember, config, now) ?? knownKey(held.remember)
      : undefined
    const remember = config.remember && rememberRefusal === undefined ? held.remember : undefined
    const { parts } = (session ?? remember) ?? { parts: [] }
    const wishes = Model.wishes(parts, operations, config)
    const presented = held.session !== undefined
    const deed = Model.deed({ session, remember, presented, refresh, wishes }, config, now)
    const next = Model.after(deed, { session, remember: held.remember }, config)

    const codec = await codecFor(config.keys)
    const answer = await Effect.runPromise(respond(real, codec, { cookies, operations, refresh }, config, now))
    assert.strictEqual(answer.session.refusal, refusal)
    assert.strictEqual(answer.session.live?.key, session && config.keys.indexOf(session.key))
    assert.strictEqual(answer.remember.refusal, rememberRefusal)
    assert.strictEqual(answer.remember.live?.key, remember && config.keys.indexOf(remember.key))
    assert.deepStrictEqual(answer.deed, deed)
    // The payload of a session that ends, or that comes back, is opened in any case.
    const asked = wishes.changed || wishes.renewed || wishes.remember !== undefined
    if (!wishes.ended && (asked || session !== undefined)) {
      assert.strictEqual(answer.needsPayload, asked || deed.does === "save")
    }
    if (answer.made.session !== undefined && next.session !== undefined) {
      agreeOnTimes(answer.made.session, next.session)
    }
    if (answer.made.remember !== undefined && next.remember !== undefined) {
      agreeOnTimes(answer.made.remember, next.remember)
    }

    // Where nothing was set, the browser keeps what it has.
    if (deed.does === "nothing") hold(expected, real, held, cookies)
    else hold(expected, real, next, answer.cookies)
    await agreeOnCookies(expected, real)
    note(real.seen, { answer, deed, now, session, rescued: Model.rescued({ session, remember }, config) })
  }

  toString(): string {
    return `Request(${this.presents}, ${show(this.operations)}${this.refresh ? "" : ", no refresh"})`
  }
}

/** What of `everything` has happened. */
const note = (
  seen: Set<string>,
  { answer, deed, now, rescued, session }: {
    readonly answer: Answer
    readonly deed: Model.Deed
    readonly now: number
    readonly session: Version | undefined
    readonly rescued: boolean
  }
): void => {
  if (deed.does === "save") {
    seen.add(`save ${deed.how}${deed.ends ? ", ends another" : ""}`)
    seen.add(`save ${deed.how}, ${deed.remember === undefined ? "not remembered" : "remembered"}`)
    if (deed.forget) seen.add(`forget, ${deed.how}`)
  } else seen.add(deed.does)
  seen.add(answer.session.refusal ?? (session === undefined ? "no session" : "stands"))
  if (answer.remember.refusal !== undefined) seen.add(`remember: ${answer.remember.refusal}`)
  if ((answer.session.live?.key ?? 0) > 0) seen.add(`old key, ${deed.does}`)
  if (rescued) seen.add(`rescued, ${deed.does}`)
  if (deed.does === "touch" && deed.touchedAt < now) seen.add("capped")
  if (session !== undefined && now < session.createdAt) seen.add(`clock behind, ${deed.does}`)
}

/** A cookie that another server made: its clock, its settings and its user's wishes may be others. */
class Plant implements Command {
  readonly version: Pick<Version, "forget" | "parts">
  readonly ages: { readonly created: number; readonly saved: number; readonly touched: number }

  constructor(version: Plant["version"], ages: Plant["ages"]) {
    this.version = version
    this.ages = ages
  }

  check({ now }: Readonly<Expected>): boolean {
    return now - this.ages.created >= 0
  }

  async run(expected: Expected, real: Real): Promise<void> {
    const { config, now } = expected
    const { created, saved, touched } = this.ages
    const { forget, parts } = this.version
    const codec = await codecFor(config.keys)
    const createdAt = now - created
    const server = config.placement === "Server"
    const sealed = await Effect.runPromise(codec.seal(
      { payload: parts, creationTime: createdAt, rollingOffset: saved, flags: (server ? 1 : 0) | (forget ? 2 : 0) },
      nobody
    ))
    const presented = await Effect.runPromise(codec.touch(sealed, 0, touched, nobody))
    if (server) {
      const key = await Effect.runPromise(codec.storageKey(sealed))
      real.rows.set(Buffer.from(key).toString("hex"), sealed.ciphertext)
    }
    const [first = { name: "", rest: "" }, ...chunks] = codec.setCookies(sealed, 1, undefined)
    const cookies = [{ ...first, rest: codec.setHeader(presented, first.rest.split(";")[0] ?? "", undefined).rest }]
      .concat(chunks)
      .map(({ name, rest }) => `${name}=${rest.split(";")[0]}`)
      .join("; ")
    const session: Version = {
      ...this.version,
      placement: config.placement,
      key: config.keys[0],
      createdAt,
      savedAt: createdAt + saved,
      touchedAt: createdAt + saved + touched
    }
    const others = remembered(real.cookies)
    hold(expected, real, { ...expected.holds, session }, others === "" ? cookies : `${cookies}; ${others}`)
    await agreeOnCookies(expected, real)
  }

  toString(): string {
    return `Plant(${show(this.version)}, ${show(this.ages)})`
  }
}

const earliest = 1_000_000_000
const latest = 1_000_000_000_000

/** The clock moves so far, also back. */
class Wait implements Command {
  readonly seconds: number

  constructor(seconds: number) {
    this.seconds = seconds
  }

  check({ now }: Readonly<Expected>): boolean {
    return now + this.seconds >= earliest && now + this.seconds <= latest
  }

  async run(expected: Expected): Promise<void> {
    expected.now += this.seconds
  }

  toString(): string {
    return `Wait(${this.seconds})`
  }
}

/** The clock moves to where something about the session that is held changes, or to a second near it. */
class MoveTo implements Command {
  readonly of: "session" | "remember"
  readonly boundary: Model.Boundary
  readonly delta: number

  constructor(of: MoveTo["of"], boundary: Model.Boundary, delta: number) {
    this.of = of
    this.boundary = boundary
    this.delta = delta
  }

  #target({ config, holds, now }: Readonly<Expected>): number {
    const version = this.of === "session" ? known(holds.session) : holds.remember
    const settings = this.of === "session" ? config : Model.forRemember(config)
    return version === undefined ? now : Model.boundaries(version, settings)[this.boundary] + this.delta
  }

  check(expected: Readonly<Expected>): boolean {
    const target = this.#target(expected)
    return target !== expected.now && target >= earliest && target <= latest
  }

  async run(expected: Expected): Promise<void> {
    expected.now = this.#target(expected)
  }

  toString(): string {
    return `MoveTo(${this.of}'s ${this.boundary}${this.delta < 0 ? "" : "+"}${this.delta})`
  }
}

/** The servers restart with other settings. */
class Configure implements Command {
  readonly change: Partial<Config>

  constructor(change: Partial<Config>) {
    this.change = change
  }

  check(): boolean {
    return true
  }

  async run(expected: Expected, real: Real): Promise<void> {
    expected.config = { ...expected.config, ...this.change }
    await agreeOnCookies(expected, real)
  }

  toString(): string {
    return `Configure(${show(this.change)})`
  }
}

/** A new key seals; so many of the old ones still open. */
class Rotate implements Command {
  readonly keep: number

  constructor(keep: number) {
    this.keep = keep
  }

  check(): boolean {
    return true
  }

  async run(expected: Expected): Promise<void> {
    const { keys } = expected.config
    const next = `key ${(Number(keys[0].slice(4)) + 1) % 5}`
    expected.config = { ...expected.config, keys: [next, ...keys.slice(0, this.keep)] }
  }

  toString(): string {
    return `Rotate(keep ${this.keep})`
  }
}

// -----------------------------------------------------------------------------
// arbitraries
// -----------------------------------------------------------------------------

const audience = fc.constantFrom("a", "b", "c")
const subject = fc.constantFrom(undefined, "alice", "bob")
/** What takes three cookies: nothing can compress it. */
const large = Array.from({ length: 1000 }, (_, i) => Math.sin(i + 1).toString(36).slice(-9)).join("")
const data = fc.oneof({ weight: 8, arbitrary: fc.nat(9) }, { weight: 2, arbitrary: json }, fc.constant(large))

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("write"), audience, data }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("subject"), audience, subject }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("logout"), audience }) },
  fc.record({ do: fc.constant("remember"), wanted: fc.boolean() }),
  fc.record({ do: fc.constant("renew") }),
  fc.record({ do: fc.constant("destroy") })
)

const presents = fc.oneof(
  { weight: 12, arbitrary: fc.constant("held" as const) },
  { weight: 2, arbitrary: fc.nat(20) },
  { weight: 2, arbitrary: fc.constant("remembered" as const) },
  fc.constant("nothing" as const),
  fc.constant(garbage)
)

const refresh = fc.constantFrom(true, true, true, false)

const quiet = fc.tuple(presents, refresh).map(([presents, refresh]) => new Request(presents, [], refresh))

const request = fc.tuple(presents, fc.array(operation, { minLength: 1, maxLength: 5 }), refresh)
  .map(([presents, operations, refresh]) => new Request(presents, operations, refresh))

const offset = fc.oneof(fc.constant(0), fc.nat(100), fc.nat(5000), fc.nat(2 ** 24 - 1))

const plant = fc.tuple(
  fc.record({
    forget: fc.boolean(),
    parts: fc.uniqueArray(fc.record({ audience, data: fc.nat(9), subject }), {
      selector: ({ audience }) => audience,
      minLength: 1
    })
  }),
  fc.record({ created: fc.oneof(fc.integer({ min: -62, max: 5000 }), fc.nat(2 ** 33)), saved: offset, touched: offset })
).map(([version, ages]) => new Plant(version, ages))

const timeout = fc.oneof(
  fc.constantFrom(0, 0, 1, 2, 3, 4, 5, 7, 10, 61, 900, 3600, 86_400),
  fc.constantFrom(2 ** 24 - 1, 2 ** 24, 2 ** 25, 400 * 86_400, 2 ** 32 - 1, 2 ** 33),
  fc.integer({ min: 1, max: 100_000 })
)

const settings = {
  idlingTimeout: timeout,
  rollingTimeout: timeout,
  absoluteTimeout: timeout,
  remember: fc.constantFrom(true, true, false),
  rememberRollingTimeout: timeout,
  rememberAbsoluteTimeout: timeout,
  touchThreshold: fc.constantFrom(0, 1, 3, 60, 60, 899, 2 ** 24),
  enforceSameSubject: fc.boolean(),
  placement: fc.constantFrom<Array<Config["placement"]>>("Cookie", "Cookie", "Cookie", "Server")
}

/** Where sessions live so long that the 24 bits of the idling offset do not suffice. */
const patient = { idlingTimeout: 2 ** 25, rollingTimeout: 0, absoluteTimeout: 0, touchThreshold: 60 }

const configure = fc.oneof(
  { weight: 4, arbitrary: fc.record(settings, { requiredKeys: [] }) },
  fc.constant(patient)
).map((change) => new Configure(change))

const wait = fc.oneof(
  fc.constantFrom(1, 60, 61, 900, -1, -60, -61),
  fc.integer({ min: -100, max: 5000 }),
  fc.integer({ min: -10_000, max: 2 ** 25 })
).map((seconds) => new Wait(seconds))

const boundary = fc.constantFrom<Array<Model.Boundary>>(
  "skew",
  "created",
  "saved",
  "touched",
  "touch",
  "save",
  "idling",
  "rolling",
  "absolute",
  "cap",
  "lifetime"
)

const of = fc.constantFrom<Array<MoveTo["of"]>>("session", "session", "remember")

const moveTo = fc.tuple(of, boundary, fc.constantFrom(-1, 0, 1, 2))
  .map(([of, name, delta]) => new MoveTo(of, name, delta))

const rotate = fc.nat(2).map((keep) => new Rotate(keep))

// What stands here twice comes twice as often.
const sequence = fc.commands(
  [request, request, request, quiet, quiet, moveTo, moveTo, moveTo, wait, configure, plant, rotate],
  { maxCommands: 40, size: "max" }
)

const config: fc.Arbitrary<Config> = fc.record({ ...settings, keys: fc.constant<Config["keys"]>(["key 0"]) })

/** What a long enough search comes across: outcomes, refusals, and rare circumstances. */
export const everything = Object.values({
  deeds: ["nothing", "clear", "touch", "save Create", "save Create, ends another", "save Supersede", "save Renew"],
  verdicts: ["stands", "no session", "InvalidType", "InvalidFlags", "CreatedInFuture", "LifetimeExceeded"],
  timeouts: ["AbsoluteTimeout", "RollingTimeout", "IdlingTimeout"],
  rotation: ["InvalidMac", "old key, clear", "old key, nothing", "old key, save", "old key, touch"],
  clocks: ["clock behind, clear", "clock behind, nothing", "clock behind, save", "capped"],
  remembered: ["save Create, remembered", "save Supersede, remembered", "save Renew, remembered"],
  notRemembered: ["save Create, not remembered", "save Supersede, not remembered", "save Renew, not remembered"],
  rescues: ["rescued, nothing", "rescued, clear", "rescued, save", "save Rescue, remembered"],
  refusedRescues: ["remember: RollingTimeout", "remember: AbsoluteTimeout", "remember: InvalidMac"],
  moreRefusedRescues: ["remember: InvalidFlags", "remember: CreatedInFuture", "remember: LifetimeExceeded"],
  forgetful: ["forget, Create", "forget, Supersede", "forget, Renew"]
}).flat()

/** That these rules and the model agree on whatever happens. What did is added to `seen`. */
export const agreement = (rules: Rules, seen = new Set<string>()): fc.IAsyncProperty<unknown> =>
  fc.asyncProperty(config, sequence, (config, sequence) =>
    fc.asyncModelRun(
      () => ({
        model: { now: 1_795_400_000, config, holds: nothingHeld, past: [] },
        real: { rules, rows: new Map(), cookies: "", past: [], compared: undefined, seen }
      }),
      sequence
    ))
