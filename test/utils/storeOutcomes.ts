/**
 * What each operation of a store answers to a version in each state, and that an
 * operation that is refused changes nothing.
 */
import { Effect } from "effect"
import type { SessionError } from "../../src/SessionError.ts"
import type { IndexEntry, Port, Version } from "../../src/SessionStore.ts"
import { assert } from "./storeAssert.ts"
import {
  check,
  create,
  current,
  grace,
  handles,
  lifetime,
  list,
  load,
  newEntry,
  newSession,
  newVersion,
  randomBytes,
  renew,
  replace,
  showOutcome,
  start,
  superseded,
  touch
} from "./storeSessions.ts"
import type { Check, Session, Shown } from "./storeSessions.ts"

interface Scene {
  readonly handle: string
  readonly entry: IndexEntry
  /** Of the version that is put to the test. */
  readonly key: Uint8Array
  /** Of every version of the session. */
  readonly keys: ReadonlyArray<Uint8Array>
  readonly now: number
  /** What `load` shall answer. */
  readonly row: Shown
}

interface State {
  readonly name: string
  readonly arrange: (port: Port, entry: IndexEntry) => Effect.Effect<Scene, SessionError>
  /** What a supersede and a touch shall answer. */
  readonly write: "Done" | "Gone" | "Superseded"
  /** What a create with the same key, and one with the same handle, shall answer; `undefined` for either. */
  readonly sameKey: "Collision" | "Created" | undefined
  readonly sameHandle: "Collision" | "Created" | undefined
  /** Whether there is a session to list and to revoke; `undefined` for one that may still be there, but is not listed. */
  readonly alive: boolean | undefined
}

const gone = { write: "Gone", sameKey: "Created", sameHandle: "Created", alive: false } as const
const expired = { write: "Gone", sameKey: undefined, sameHandle: undefined, alive: undefined } as const
const forwarded = { write: "Superseded", sameKey: "Collision", sameHandle: "Collision", alive: true } as const

const states: ReadonlyArray<State> = [
  {
    name: "that never was",
    ...gone,
    arrange: (_port, entry) =>
      Effect.sync(() => {
        const { handle, key } = newSession()
        return { handle, entry, key, keys: [key], now: start, row: undefined }
      })
  },
  {
    name: "that is current",
    write: "Done",
    sameKey: "Collision",
    sameHandle: "Collision",
    alive: true,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const session = yield* create(port, { index: [entry] })
      const { handle, key } = session
      return { handle, entry, key, keys: [key], now: start, row: current(handle, session, true) }
    })
  },
  {
    name: "superseded by one that nobody has seen",
    ...forwarded,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* create(port)
      const next = yield* replace(port, key, { index: [entry] })
      // As long as it takes, within the life of the session.
      const now = start + lifetime
      return { handle, entry, key, keys: [key, next.key], now, row: superseded(handle, next.successor) }
    })
  },
  {
    name: "superseded, in the last second of its grace",
    ...forwarded,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* create(port)
      const next = yield* replace(port, key, { index: [entry] })
      yield* touch(port, next.key, grace)
      const now = start + grace
      return { handle, entry, key, keys: [key, next.key], now, row: superseded(handle, next.successor, start + grace) }
    })
  },
  {
    name: "superseded, after its grace",
    ...forwarded,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* create(port)
      const next = yield* replace(port, key, { index: [entry] })
      yield* touch(port, next.key, grace)
      const now = start + lifetime
      return { handle, entry, key, keys: [key, next.key], now, row: superseded(handle, next.successor, start + grace) }
    })
  },
  {
    name: "that a renewal replaced",
    ...gone,
    sameHandle: "Collision",
    alive: true,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* create(port)
      const next = yield* renew(port, key, { index: [entry] })
      return { handle, entry, key, keys: [key, next.key], now: start, row: undefined }
    })
  },
  {
    name: "superseded before a renewal",
    ...gone,
    sameHandle: "Collision",
    alive: true,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* create(port)
      const next = yield* replace(port, key)
      const last = yield* renew(port, next.key, { index: [entry] })
      return { handle, entry, key, keys: [key, next.key, last.key], now: start, row: undefined }
    })
  },
  {
    name: "past its deadline",
    ...expired,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* create(port, { index: [entry] })
      return { handle, entry, key, keys: [key], now: start + lifetime + 1, row: undefined }
    })
  },
  {
    name: "superseded, of a session past its deadline",
    ...expired,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* create(port)
      const next = yield* replace(port, key, { index: [entry] })
      return { handle, entry, key, keys: [key, next.key], now: start + lifetime + 1, row: undefined }
    })
  },
  {
    name: "that was revoked",
    ...gone,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* create(port, { index: [entry] })
      assert.isTrue(yield* port.revoke(handle))
      return { handle, entry, key, keys: [key], now: start, row: undefined }
    })
  },
  {
    name: "superseded, of a session that was revoked",
    ...gone,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* create(port)
      const next = yield* replace(port, key, { index: [entry] })
      assert.isTrue(yield* port.revoke(handle))
      return { handle, entry, key, keys: [key, next.key], now: start, row: undefined }
    })
  }
]

/** Everything that can be asked about a session. */
const look = (port: Port, { entry, keys, now }: Scene) =>
  Effect.all([Effect.forEach(keys, (key) => load(port, key, now)), list(port, entry, now)])

/** A write that is refused changes nothing, and leaves nothing. */
const refused = Effect.fnUntraced(function*<A>(
  port: Port,
  scene: Scene,
  write: (version: Version) => Effect.Effect<A, SessionError>
) {
  const entry = newEntry()
  const version = newVersion({ index: [entry], deadline: scene.now + lifetime })
  const before = yield* look(port, scene)
  const answer = yield* write(version)
  assert.deepStrictEqual(yield* look(port, scene), before)
  assert.isUndefined(yield* load(port, version.key, scene.now))
  assert.deepStrictEqual(yield* list(port, entry, scene.now), [])
  return answer
})

const supersedeIn = (successor: Uint8Array | undefined) =>
  Effect.fnUntraced(function*(port: Port, scene: Scene, { write }: State) {
    if (write !== "Done") {
      const answer = yield* refused(port, scene, (version) => port.supersede(scene.key, version, successor, scene.now))
      return assert.deepStrictEqual(showOutcome(answer), write === "Gone" ? write : scene.row)
    }
    const version = newVersion()
    assert.deepStrictEqual(yield* port.supersede(scene.key, version, successor, scene.now), { _tag: "Done" })
    assert.deepStrictEqual(
      yield* load(port, version.key, scene.now),
      current(scene.handle, version, successor === undefined)
    )
    assert.deepStrictEqual(
      yield* load(port, scene.key, scene.now),
      successor && superseded(scene.handle, successor)
    )
  })

/** What a create answers that takes something of the session; only a new one leaves anything. */
const createIn = (take: (scene: Scene) => Partial<Session>, expected: (state: State) => State["sameKey"]) =>
  Effect.fnUntraced(function*(port: Port, scene: Scene, state: State) {
    const entry = newEntry()
    const session = newSession({ index: [entry], deadline: scene.now + lifetime, ...take(scene) })
    const before = yield* look(port, scene)
    const answer = yield* port.create(session, scene.now)
    assert.strictEqual(answer, expected(state) ?? answer)
    if (answer === "Created") {
      assert.deepStrictEqual(yield* load(port, session.key, scene.now), current(session.handle, session, true))
      assert.deepStrictEqual(handles(yield* list(port, entry, scene.now)), [session.handle])
    } else {
      assert.deepStrictEqual(yield* look(port, scene), before)
      assert.deepStrictEqual(yield* list(port, entry, scene.now), [])
      if (session.key !== scene.key) assert.isUndefined(yield* load(port, session.key, scene.now))
    }
  })

const endIn = (end: (port: Port, scene: Scene) => Effect.Effect<boolean | number, SessionError>) =>
  Effect.fnUntraced(function*(port: Port, scene: Scene, { alive }: State) {
    const ended = yield* end(port, scene)
    assert.strictEqual(Boolean(ended), alive ?? Boolean(ended))
    assert.deepStrictEqual(yield* look(port, scene), [scene.keys.map(() => undefined), []])
    assert.isFalse(Boolean(yield* end(port, scene)))
  })

const operations: Record<string, (port: Port, scene: Scene, state: State) => Effect.Effect<void, SessionError>> = {
  load: Effect.fnUntraced(function*(port, { key, now, row }) {
    assert.deepStrictEqual(yield* load(port, key, now), row)
  }),
  list: Effect.fnUntraced(function*(port, { entry, handle, now }, { alive }) {
    assert.deepStrictEqual(handles(yield* list(port, entry, now)), alive ? [handle] : [])
  }),
  supersede: supersedeIn(randomBytes(126)),
  renew: supersedeIn(undefined),
  touch: Effect.fnUntraced(function*(port, scene, { write }) {
    const { key, now } = scene
    const deadline = now + 2 * lifetime
    if (write !== "Done") {
      const answer = yield* refused(port, scene, () => port.touch(key, { deadline, seen: grace }, now))
      return assert.deepStrictEqual(showOutcome(answer), write === "Gone" ? write : scene.row)
    }
    assert.deepStrictEqual(yield* port.touch(key, { deadline, seen: grace }, now), { _tag: "Done" })
    assert.deepStrictEqual(yield* load(port, key, deadline), scene.row)
  }),
  "create with the key": createIn(({ key }) => ({ key }), ({ sameKey }) => sameKey),
  "create with the handle": createIn(({ handle }) => ({ handle }), ({ sameHandle }) => sameHandle),
  revoke: endIn((port, { handle }) => port.revoke(handle)),
  revokeAll: endIn((port, { entry }) => port.revokeAll(entry.audience, [entry.subject], undefined))
}

export const outcomes: ReadonlyArray<Check> = Object.entries(operations).flatMap(([operation, run]) =>
  states.map((state) =>
    check(
      `${operation}, of a version ${state.name}`,
      (port) => Effect.flatMap(state.arrange(port, newEntry()), (scene) => run(port, scene, state))
    )
  )
)
