/**
 * What happens to a browser and a server, one step at a time. Each step is carried out
 * by the rules and by the model, which have to agree on what comes of it.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type * as fc from "fast-check"
import type { Header } from "../../src/SessionState.ts"
import { nobody } from "./codec.ts"
import type { Codec } from "./codec.ts"
import * as Model from "./stateModel.ts"
import type { Config, Operation, Version } from "./stateModel.ts"
import { agreeOnTimes, survey } from "./stateSurvey.ts"
import { codecFor, respond } from "./stateWorld.ts"
import type { Answer, World } from "./stateWorld.ts"

/** What a client holds that no server made. */
export const garbage = "garbage"
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

export const nothingHeld: Holding = { session: undefined, remember: undefined }

const hold = (expected: Expected, real: Real, holds: Holding, cookies: string): void => {
  expected.holds = holds
  real.cookies = cookies
  if (cookies === "") return
  expected.past.push(holds)
  real.past.push(cookies)
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
export class Request implements Command {
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
export class Plant implements Command {
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
export class Wait implements Command {
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
export class MoveTo implements Command {
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
export class Configure implements Command {
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
export class Rotate implements Command {
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
