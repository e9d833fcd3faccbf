/**
 * Sessions to test a store with, and what a store says of them in a form that can
 * be compared.
 */
import { assert, chai } from "@effect/vitest"
import { Effect } from "effect"
import type { SessionError } from "../../src/SessionError.ts"
import type { Current, IndexEntry, Listed, Port, Superseded, Version } from "../../src/SessionStore.ts"

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
  readonly run: (port: Port) => Effect.Effect<void, InstanceType<typeof chai.AssertionError>>
}

export const check = (name: string, run: (port: Port) => Effect.Effect<void, SessionError>): Check => ({
  name,
  run: (port) =>
    Effect.catchDefect(
      Effect.orDie(run(port)),
      (defect) => defect instanceof chai.AssertionError ? Effect.fail(defect) : Effect.die(defect)
    )
})

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
  ...over
})

export const newSession = (over: Partial<Session> = {}): Session => ({
  handle: crypto.randomUUID(),
  createdAt: start,
  ...newVersion(),
  ...over
})

export const newEntry = (): IndexEntry => ({ audience: crypto.randomUUID(), subject: "alice" })

export const create = Effect.fnUntraced(function*(port: Port, over: Partial<Session> = {}, now = start) {
  const session = newSession({ createdAt: now, ...over })
  assert.strictEqual(yield* port.create(session, now), "Created")
  return session
})

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

export const touch = (port: Port, key: Uint8Array, seen: number | undefined, now = start) =>
  Effect.map(port.touch(key, { deadline: undefined, seen }, now), showOutcome)

export const load = (port: Port, key: Uint8Array, now = start) => Effect.map(port.load(key, now), show)

export const list = (port: Port, { audience, subject }: IndexEntry, now = start) =>
  Effect.map(port.list(audience, [subject], now), (listed) => listed.map(toPlain))

export const toPlain = ({ createdAt, deadline, handle, lastSeenAt }: Listed): Listed => ({
  handle,
  createdAt,
  lastSeenAt,
  deadline
})

export const handles = (listed: ReadonlyArray<Listed>): ReadonlyArray<string> => listed.map(({ handle }) => handle)

export const current = (handle: string, { data }: Version, seen: boolean) =>
  show({ _tag: "Current", handle, data, seen })

export const superseded = (handle: string, successor: Uint8Array, graceEnds?: number) =>
  show({ _tag: "Superseded", handle, successor, graceEnds })
