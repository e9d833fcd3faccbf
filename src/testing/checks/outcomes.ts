/**
 * What each operation of a store answers to a version in each state, and that an
 * operation that is refused changes nothing.
 */
import { Effect } from "effect"
import type { SessionError } from "../../SessionError.ts"
import type { Port, Version } from "../../SessionStore.ts"
import { assert } from "./assert.ts"
import {
  check,
  current,
  grace,
  handles,
  lifetime,
  list,
  load,
  loadInfo,
  loadRemember,
  newEntry,
  newRemembered,
  newRescue,
  newSession,
  newVersion,
  randomBytes,
  saveInfo,
  showOutcome,
  superseded
} from "./sessions.ts"
import type { Check, Rescue, Session } from "./sessions.ts"
import { states } from "./states.ts"
import type { Scene, State } from "./states.ts"

/** Everything that can be asked about a session. */
const look = (port: Port, { entry, handle, keys, now }: Scene) =>
  Effect.all([
    Effect.forEach(keys, (key) => Effect.all([load(port, key, now), loadRemember(port, key, now)])),
    list(port, entry, now),
    loadInfo(port, handle, now)
  ])

/** What it says of one that is over. */
const nothing = ({ keys }: Scene) => [keys.map(() => [undefined, undefined]), [], {}]

/** A write that is refused changes nothing, and leaves nothing. */
const refused = Effect.fnUntraced(function*<A>(
  port: Port,
  scene: Scene,
  write: (version: Rescue) => Effect.Effect<A, SessionError>
) {
  const entry = newEntry()
  const version = newRescue({ index: [entry], deadline: scene.now + lifetime })
  const before = yield* look(port, scene)
  const answer = yield* write(version)
  assert.deepStrictEqual(yield* look(port, scene), before)
  assert.isUndefined(yield* load(port, version.key, scene.now))
  assert.isUndefined(yield* loadRemember(port, version.remember.key, scene.now))
  assert.deepStrictEqual(yield* list(port, entry, scene.now), [])
  return answer
})

/** What a write to one cookie answers. */
const expected = ({ cookie, write }: State, to: State["cookie"]) => cookie === to ? write : "Gone"

const supersedeIn = (successor: Uint8Array | undefined) =>
  Effect.fnUntraced(function*(port: Port, scene: Scene, state: State) {
    const write = expected(state, "session")
    if (write !== "Done") {
      const answer = yield* refused(port, scene, (version) => port.supersede(scene.key, version, successor, scene.now))
      return assert.deepStrictEqual(showOutcome(answer), write === "Gone" ? write : scene.row)
    }
    const version: Version = newVersion()
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

const rescueIn = (successor: Uint8Array | undefined) =>
  Effect.fnUntraced(function*(port: Port, scene: Scene, state: State) {
    const write = expected(state, "remember")
    if (write !== "Done") {
      const answer = yield* refused(port, scene, (version) => port.rescue(scene.key, version, successor, scene.now))
      return assert.deepStrictEqual(showOutcome(answer), write === "Gone" ? write : scene.row)
    }
    const version = newRescue({ deadline: scene.now + lifetime })
    assert.deepStrictEqual(yield* port.rescue(scene.key, version, successor, scene.now), { _tag: "Done" })
    assert.deepStrictEqual(
      yield* load(port, version.key, scene.now),
      current(scene.handle, version, successor === undefined)
    )
    assert.deepStrictEqual(
      yield* loadRemember(port, version.remember.key, scene.now),
      current(scene.handle, version.remember, true)
    )
    assert.deepStrictEqual(
      yield* loadRemember(port, scene.key, scene.now),
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
      const { handle, key, remember } = session
      assert.deepStrictEqual(yield* load(port, key, scene.now), current(handle, session, true))
      if (remember) {
        assert.deepStrictEqual(yield* loadRemember(port, remember.key, scene.now), current(handle, remember, true))
      }
      assert.deepStrictEqual(handles(yield* list(port, entry, scene.now)), [handle])
      assert.deepStrictEqual(yield* loadInfo(port, handle, scene.now), {})
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
    assert.deepStrictEqual(yield* look(port, scene), nothing(scene))
    assert.isFalse(Boolean(yield* end(port, scene)))
  })

const operations: Record<string, (port: Port, scene: Scene, state: State) => Effect.Effect<void, SessionError>> = {
  load: Effect.fnUntraced(function*(port, { key, now, row }, { cookie }) {
    assert.deepStrictEqual(yield* load(port, key, now), cookie === "session" ? row : undefined)
  }),
  loadRemember: Effect.fnUntraced(function*(port, { key, now, row }, { cookie }) {
    assert.deepStrictEqual(yield* loadRemember(port, key, now), cookie === "remember" ? row : undefined)
  }),
  list: Effect.fnUntraced(function*(port, { entry, handle, now }, { alive }) {
    assert.deepStrictEqual(handles(yield* list(port, entry, now)), alive ? [handle] : [])
  }),
  supersede: supersedeIn(randomBytes(126)),
  renew: supersedeIn(undefined),
  rescue: rescueIn(randomBytes(126)),
  "rescue and renew": rescueIn(undefined),
  touch: Effect.fnUntraced(function*(port, scene, state) {
    const { key, now } = scene
    const write = expected(state, "session")
    const deadline = now + 2 * lifetime
    if (write !== "Done") {
      const answer = yield* refused(port, scene, () => port.touch(key, { deadline, seen: grace }, now))
      return assert.deepStrictEqual(showOutcome(answer), write === "Gone" ? write : scene.row)
    }
    assert.deepStrictEqual(yield* port.touch(key, { deadline, seen: grace }, now), { _tag: "Done" })
    assert.deepStrictEqual(yield* load(port, key, deadline), scene.row)
  }),
  "create with the key": createIn(({ key }) => ({ key }), ({ sameKey }) => sameKey),
  "create with the key in the remember cookie": createIn(
    ({ key, now }) => ({ remember: newRemembered({ key, deadline: now + lifetime }) }),
    ({ sameKey }) => sameKey
  ),
  "create with the handle": createIn(({ handle }) => ({ handle }), ({ sameHandle }) => sameHandle),
  loadInfo: Effect.fnUntraced(function*(port, { handle, now }, { alive }) {
    assert.deepStrictEqual(yield* loadInfo(port, handle, now), alive ? { kept: "info" } : {})
  }),
  saveInfo: Effect.fnUntraced(function*(port, scene, { alive }) {
    const { handle, now } = scene
    const save = saveInfo(port, handle, { new: "info" }, [], now)
    if (!alive) return assert.strictEqual(yield* refused(port, scene, () => save), "Gone")
    assert.strictEqual(yield* save, "Saved")
    assert.deepStrictEqual(yield* loadInfo(port, handle, now), { kept: "info", new: "info" })
  }),
  revoke: endIn((port, { handle }) => port.revoke(handle)),
  revokeAll: endIn((port, { entry }) => port.revokeAll(entry.audience, [entry.subject], undefined))
}

const subject = { session: "a version", remember: "a remember cookie" }

export const outcomes: ReadonlyArray<Check> = Object.entries(operations).flatMap(([operation, run]) =>
  states.map((state) =>
    check(
      `${operation}, of ${subject[state.cookie]} ${state.name}`,
      (port) => Effect.flatMap(state.arrange(port, newEntry()), (scene) => run(port, scene, state))
    )
  )
)
