/**
 * Sequences of requests, clock moves and changes of configuration, on which rules and
 * model have to agree.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import type { Header } from "../../src/SessionState.ts"
import { json, nobody } from "./codec.ts"
import * as Model from "./stateModel.ts"
import type { Config, Operation, Version } from "./stateModel.ts"
import { codecFor, respond, toDeed } from "./stateWorld.ts"
import type { Rules, World } from "./stateWorld.ts"

/** What a client holds that no server made. */
const garbage = "garbage"
const garbled = `session=${"A".repeat(110)}`

interface Expected {
  now: number
  config: Config
  /** What the browser holds. */
  holds: Version | typeof garbage | undefined
  /** What it has held. */
  readonly past: Array<Version>
}

interface Real extends World {
  /** The Cookie header that the browser sends. */
  cookies: string
  /** Those that it has sent, as `past` tells. */
  readonly past: Array<string>
  /** What has happened, to know that it does. */
  readonly seen: Set<string>
}

type Command = fc.AsyncCommand<Expected, Real>

const holdNow = (expected: Expected, real: Real, holds: Expected["holds"], cookies: string): void => {
  expected.holds = holds
  real.cookies = cookies
  if (holds === undefined || holds === garbage) return
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

/** Every request that could come with this cookie, a second before each boundary, at it, and up to two seconds after. */
const survey = (rules: Rules, header: Header, version: Version, config: Config): void => {
  const { parts } = version
  for (const [name, boundary] of Object.entries(Model.boundaries(version, config))) {
    for (const delta of [-1, 0, 1, 2]) {
      const now = boundary + delta
      const where = `at ${name}${delta < 0 ? "" : "+"}${delta}`
      const refusal = Model.refusal(version, config, now)
      assert.strictEqual(rules.verify(header, config, config.placement, now), refusal, where)
      assert.strictEqual(rules.verify({ ...header, type: 2 }, config, config.placement, now), "InvalidType", where)
      const unknown = { ...header, flags: header.flags | 0x8088 }
      assert.strictEqual(rules.verify(unknown, config, config.placement, now), refusal, where)
      if (refusal !== undefined) continue
      assert.deepStrictEqual(rules.timeLeft(header, config, now), Model.timeLeft(version, config, now), where)
      assert.strictEqual(rules.due(header, config, now), Model.due(version, config, now), where)
      for (const refresh of [true, false]) {
        for (const changed of [true, false]) {
          for (const renewed of [true, false]) {
            const intent = { changed, renewed, ended: false }
            const deed = Model.deed({ version, presented: true, refresh, wishes: { ...intent, parts } }, config, now)
            const plan = rules.plan(
              { header: unknown, presented: true, payload: parts, intent, placement: config.placement, refresh },
              config,
              now
            )
            assert.deepStrictEqual(toDeed(plan, header), deed, `${where} ${JSON.stringify({ refresh, ...intent })}`)
          }
        }
      }
    }
  }
}

// -----------------------------------------------------------------------------
// commands
// -----------------------------------------------------------------------------

const show = (value: unknown): string => {
  const text = JSON.stringify(value)
  return text.length > 200 ? `${text.slice(0, 200)}… (${text.length} characters)` : text
}

/** A request, with what the browser holds, with something that it held, or with nothing good. */
class Request implements Command {
  readonly presents: "held" | "nothing" | typeof garbage | number
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

  #presented(expected: Expected, real: Real): Pick<Expected, "holds"> & Pick<Real, "cookies"> {
    switch (this.presents) {
      case "held":
        return { holds: expected.holds, cookies: real.cookies }
      case "nothing":
        return { holds: undefined, cookies: "" }
      case garbage:
        return { holds: garbage, cookies: garbled }
      default: {
        const index = this.presents % expected.past.length
        return { holds: expected.past[index], cookies: real.past[index]! }
      }
    }
  }

  async run(expected: Expected, real: Real): Promise<void> {
    const { operations, refresh } = this
    const { config, now } = expected
    const { cookies, holds } = this.#presented(expected, real)
    const codec = await codecFor(config.keys)

    const version = holds === garbage ? undefined : holds
    const refusal = holds === garbage ? "InvalidType" : version && Model.refusal(version, config, now)
    const known = version !== undefined && config.keys.includes(version.key)
    const stands = refusal === undefined && known ? version : undefined
    const wishes = Model.wishes(stands?.parts ?? [], operations, config)
    const presented = holds !== undefined
    const deed = Model.deed({ version: stands, presented, refresh, wishes }, config, now)
    const next = Model.after(deed, stands, config)

    const answer = await Effect.runPromise(respond(real, codec, { cookies, operations, refresh }, config, now))
    assert.strictEqual(answer.refusal, refusal ?? (version !== undefined && !known ? "InvalidMac" : undefined))
    assert.strictEqual(answer.key, stands && config.keys.indexOf(stands.key))
    assert.deepStrictEqual(answer.deed, deed)
    // The payload of a session that ends is opened in any case: its handle is with it.
    if (!wishes.ended) {
      assert.strictEqual(
        answer.needsPayload,
        wishes.changed || wishes.renewed || (deed.does === "save" && stands !== undefined)
      )
    }
    const how = deed.does === "save" ? `${deed.does} ${deed.how}${deed.ends ? ", ends another" : ""}` : deed.does
    real.seen.add(how)
    real.seen.add(answer.refusal ?? (stands === undefined ? "no session" : "stands"))
    if ((answer.key ?? 0) > 0) real.seen.add(`old key, ${deed.does}`)
    if (deed.does === "save" && deed.forget) real.seen.add("forget")
    if (deed.does === "touch" && deed.touchedAt < now) real.seen.add("capped")
    if (stands !== undefined && now < stands.createdAt) real.seen.add(`clock behind, ${deed.does}`)
    if (answer.header !== undefined && next !== undefined) agreeOnTimes(answer.header, next)

    // Where nothing was set, the browser keeps what it has.
    if (deed.does === "nothing") holdNow(expected, real, holds, cookies)
    else holdNow(expected, real, next, answer.cookies)
    if (deed.does === "clear") assert.strictEqual(answer.cookies, "")

    if (expected.holds === undefined || expected.holds === garbage) return
    const held = codec.decode(codec.find(real.cookies)[0] ?? "")
    if (typeof held === "string") return assert.fail(held)
    agreeOnTimes(held.header, expected.holds)
    survey(real.rules, held.header, expected.holds, config)
  }

  toString(): string {
    return `Request(${this.presents}, ${show(this.operations)}${this.refresh ? "" : ", no refresh"})`
  }
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
    const [first = { name: "", rest: "" }, ...others] = codec.setCookies(sealed.value, 1, undefined)
    const cookies = [{ ...first, rest: codec.setHeader(presented, first.rest.split(";")[0] ?? "", undefined).rest }]
      .concat(others)
      .map(({ name, rest }) => `${name}=${rest.split(";")[0]}`)
      .join("; ")
    const version: Version = {
      ...this.version,
      placement: config.placement,
      key: config.keys[0],
      createdAt,
      savedAt: createdAt + saved,
      touchedAt: createdAt + saved + touched
    }
    holdNow(expected, real, version, cookies)
    survey(real.rules, presented.header, version, config)
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
  readonly boundary: Model.Boundary
  readonly delta: number

  constructor(boundary: Model.Boundary, delta: number) {
    this.boundary = boundary
    this.delta = delta
  }

  #target({ config, holds, now }: Readonly<Expected>): number {
    return holds === undefined || holds === garbage
      ? now
      : Model.boundaries(holds, config)[this.boundary] + this.delta
  }

  check(expected: Readonly<Expected>): boolean {
    const target = this.#target(expected)
    return target !== expected.now && target >= earliest && target <= latest
  }

  async run(expected: Expected): Promise<void> {
    expected.now = this.#target(expected)
  }

  toString(): string {
    return `MoveTo(${this.boundary}${this.delta < 0 ? "" : "+"}${this.delta})`
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
    const { config, holds } = expected
    expected.config = { ...config, ...this.change }
    if (holds === undefined || holds === garbage) return
    const codec = await codecFor(expected.config.keys)
    const held = codec.decode(codec.find(real.cookies)[0] ?? "")
    if (typeof held === "string") return assert.fail(held)
    survey(real.rules, held.header, holds, expected.config)
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
const data = fc.oneof({ weight: 4, arbitrary: fc.nat(9) }, json, fc.constant("x".repeat(9000)))

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("write"), audience, data }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("subject"), audience, subject }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("logout"), audience }) },
  fc.record({ do: fc.constant("renew") }),
  fc.record({ do: fc.constant("destroy") })
)

const presents = fc.oneof(
  { weight: 12, arbitrary: fc.constant("held" as const) },
  { weight: 2, arbitrary: fc.nat(20) },
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

const moveTo = fc.tuple(boundary, fc.constantFrom(-1, 0, 1, 2)).map(([name, delta]) => new MoveTo(name, delta))

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
  flags: ["forget"]
}).flat()

/** That these rules and the model agree on whatever happens. What did is added to `seen`. */
export const agreement = (rules: Rules, seen = new Set<string>()): fc.IAsyncProperty<unknown> =>
  fc.asyncProperty(config, sequence, (config, sequence) =>
    fc.asyncModelRun(
      () => ({
        model: { now: 1_795_400_000, config, holds: undefined, past: [] },
        real: { rules, rows: new Map(), cookies: "", past: [], seen }
      }),
      sequence
    ))
