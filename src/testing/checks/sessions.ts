/**
 * Sessions to test a store with, and what a store says of them in a form that can
 * be compared.
 */
import { Effect } from "effect"
import type { SessionError } from "../../SessionError.ts"
import type {
  Content,
  Current,
  IndexEntry,
  Info,
  Listed,
  Located,
  Port,
  Remembered,
  Superseded,
  Version
} from "../../SessionStore.ts"
import { assert, AssertionError } from "./assert.ts"

/** A row whose bytes can be compared. */
export type Shown =
  | undefined
  | { readonly _tag: "Current"; readonly handle: string; readonly data: string; readonly seen: boolean }
  | {
    readonly _tag: "Superseded"
    readonly handle: string
    readonly successor: string
    readonly graceEnds: number | undefined
  }

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")

export const show = (row: Current | Superseded | undefined): Shown =>
  row?._tag === "Current"
    ? { _tag: "Current", handle: row.handle, data: hex(row.data), seen: row.seen }
    : row && { _tag: "Superseded", handle: row.handle, successor: hex(row.successor), graceEnds: row.graceEnds }

/** What a write answered. */
export const showOutcome = (outcome: { readonly _tag: "Done" | "Gone" } | Superseded): Shown | "Done" | "Gone" =>
  outcome._tag === "Superseded" ? show(outcome) : outcome._tag

/** Random bytes, of a key if nothing else is said. */
export const randomBytes = (size = 32): Uint8Array => crypto.getRandomValues(new Uint8Array(size))

/** Well ahead of any real clock, so that a store's own clean-up leaves alone what a test has made. */
export const start = 2_000_000_000

export interface Check {
  readonly name: string
  /** Fails with the assertion that does not hold; whatever else goes wrong is a defect. */
  readonly run: (port: Port) => Effect.Effect<void, AssertionError>
}

export const check = (name: string, run: (port: Port) => Effect.Effect<void, SessionError>): Check => ({
  name,
  run: (port) =>
    Effect.catchDefect(
      Effect.orDie(run(port)),
      (defect) => defect instanceof AssertionError ? Effect.fail(defect) : Effect.die(defect)
    )
})

/** Contenders in a race, and rounds of a meeting. */
export const many = 20

export const race = <A>(contenders: ReadonlyArray<Effect.Effect<A, SessionError>>) =>
  Effect.all(contenders, { concurrency: "unbounded" })

export type Meet = <A, B>(
  one: Effect.Effect<A, SessionError>,
  other: Effect.Effect<B, SessionError>
) => Effect.Effect<readonly [A, B], SessionError>

const oneFirst: Meet = (one, other) => Effect.all([one, other], { concurrency: "unbounded" })

const otherFirst: Meet = (one, other) => Effect.map(oneFirst(other, one), ([other, one]) => [one, other])

/** Two operations at once, many times, each as often as the other the one that starts. */
export const meeting = (name: string, run: (port: Port, meet: Meet) => Effect.Effect<void, SessionError>): Check =>
  check(name, (port) =>
    Effect.forEach(
      Array.from({ length: many }, (_, round) => round % 2 === 0 ? oneFirst : otherFirst),
      (meet) => run(port, meet),
      { discard: true }
    ))

export type Session = Parameters<Port["create"]>[0]

export const lifetime = 1000
export const grace = 10

export const newVersion = (over: Partial<Version> = {}): Version => ({
  key: randomBytes(),
  data: randomBytes(100),
  deadline: start + lifetime,
  latestDeadline: start + 10 * lifetime,
  index: [],
  remember: undefined,
  seen: undefined,
  ...over
})

export const newSession = (over: Partial<Session> = {}): Session => ({
  handle: crypto.randomUUID(),
  createdAt: start,
  ...newVersion(),
  ...over
})

export const newRemembered = (over: Partial<Remembered> = {}): Remembered => ({
  key: randomBytes(),
  data: randomBytes(100),
  deadline: start + 5 * lifetime,
  replaces: undefined,
  ...over
})

export type Rescue = Parameters<Port["rescue"]>[1]

export const newRescue = (over: Partial<Rescue> = {}): Rescue => ({
  ...newVersion(),
  remember: newRemembered(),
  createdAt: start,
  ...over
})

export const newEntry = (): IndexEntry => ({ audience: crypto.randomUUID(), subject: "alice" })

export const create = Effect.fnUntraced(function*(port: Port, over: Partial<Session> = {}, now = start) {
  const session = newSession({ createdAt: now, ...over })
  assert.strictEqual(yield* port.create(session, now), "Created")
  return session
})

/** With a remember cookie too. */
export const createRemembered = Effect.fnUntraced(
  function*(port: Port, over: Partial<Session> = {}, remembered: Partial<Remembered> = {}, now = start) {
    const remember = newRemembered(remembered)
    return { ...yield* create(port, { ...over, remember }, now), remember }
  }
)

/** Makes a new version, and says what the old one leads to. */
export const replace = Effect.fnUntraced(
  function*(port: Port, old: Uint8Array, over: Partial<Version> = {}, now = start) {
    const version = newVersion(over)
    const successor = randomBytes(126)
    assert.deepStrictEqual(yield* port.supersede(old, version, successor, now), { _tag: "Done" })
    return { ...version, successor }
  }
)

export const renew = Effect.fnUntraced(
  function*(port: Port, old: Uint8Array, over: Partial<Version> = {}, now = start) {
    const version = newVersion(over)
    assert.deepStrictEqual(yield* port.supersede(old, version, undefined, now), { _tag: "Done" })
    return version
  }
)

/** Brings a session back, and says what the old remember cookie leads to. */
export const rescue = Effect.fnUntraced(
  function*(port: Port, old: Uint8Array, over: Partial<Rescue> = {}, now = start) {
    const version = newRescue(over)
    const successor = randomBytes(126)
    assert.deepStrictEqual(yield* port.rescue(old, version, successor, now), { _tag: "Done" })
    return { ...version, successor }
  }
)

/** Brings a session back, and ends all that came before. */
export const rescueAndRenew = Effect.fnUntraced(
  function*(port: Port, old: Uint8Array, over: Partial<Rescue> = {}, now = start) {
    const version = newRescue(over)
    assert.deepStrictEqual(yield* port.rescue(old, version, undefined, now), { _tag: "Done" })
    return version
  }
)

export const touch = (port: Port, key: Uint8Array, seen: number | undefined, now = start) =>
  Effect.map(port.touch(key, { deadline: undefined, seen }, now), showOutcome)

export const load = (port: Port, key: Uint8Array, now = start) => Effect.map(port.load(key, now), show)

export const loadRemember = (port: Port, key: Uint8Array, now = start) => Effect.map(port.loadRemember(key, now), show)

/** As a request finds a session of which it knows nothing but the handle. */
export const locate = (handle: string): Located => ({ handle, key: undefined, rememberKey: undefined })

/** Sets and removes info; the values as text. */
export const saveInfo = (
  port: Port,
  handle: string,
  set: Record<string, string>,
  remove: ReadonlyArray<string> = [],
  now = start
) => port.saveInfo(locate(handle), { set: Object.entries(set).map(toInfo), remove }, now)

const toInfo = ([name, value]: readonly [string, string]): Info => ({ name, value: Buffer.from(value) })

/** What `saveInfo` has set. No order is promised. */
export const loadInfo = (port: Port, handle: string, now = start) =>
  Effect.map(
    port.loadInfo(locate(handle), now),
    (info) => Object.fromEntries(info.map(({ name, value }) => [name, Buffer.from(value).toString()]))
  )

export const list = (port: Port, { audience, subject }: IndexEntry, now = start) =>
  Effect.map(port.list(audience, [subject], now), (listed) => listed.map(toPlain))

export const toPlain = ({ createdAt, deadline, handle, lastSeenAt }: Listed): Listed => ({
  handle,
  createdAt,
  lastSeenAt,
  deadline
})

export const handles = (listed: ReadonlyArray<Listed>): ReadonlyArray<string> => listed.map(({ handle }) => handle)

export const current = (handle: string, { data }: Pick<Content, "data">, seen: boolean) =>
  show({ _tag: "Current", handle, data, seen })

export const superseded = (handle: string, successor: Uint8Array, graceEnds?: number) =>
  show({ _tag: "Superseded", handle, successor, graceEnds })
