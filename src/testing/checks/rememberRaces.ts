/** What requests do to each other that a remember cookie brings back, and others to them. */
import { Effect } from "effect"
import type { IndexEntry, Port, Remembered } from "../../SessionStore.ts"
import { assert } from "./assert.ts"
import {
  check,
  createRemembered,
  current,
  handles,
  list,
  load,
  loadRemember,
  many,
  meeting,
  newEntry,
  newRemembered,
  newRescue,
  newVersion,
  race,
  randomBytes,
  showOutcome,
  start,
  superseded
} from "./sessions.ts"
import type { Check } from "./sessions.ts"

const replaces = (key: Uint8Array): NonNullable<Remembered["replaces"]> => ({ key, successor: randomBytes(126) })

const nothingLeft = Effect.fnUntraced(function*(port: Port, entry: IndexEntry, keys: ReadonlyArray<Uint8Array>) {
  for (const key of keys) {
    assert.isUndefined(yield* load(port, key))
    assert.isUndefined(yield* loadRemember(port, key))
  }
  assert.deepStrictEqual(yield* list(port, entry), [])
})

export const rememberRaces: ReadonlyArray<Check> = [
  check(
    "of 20 rescues at once, one wins and the others are told its successor",
    Effect.fnUntraced(function*(port) {
      const { handle, remember } = yield* createRemembered(port)
      const contenders = Array.from({ length: many }, () => ({ ...newRescue(), successor: randomBytes(126) }))
      const answers = yield* race(
        contenders.map((version) => port.rescue(remember.key, version, version.successor, start))
      )
      const [winner, ...others] = contenders.filter((_, position) => answers[position]?._tag === "Done")
      assert.isDefined(winner)
      assert.lengthOf(others, 0)
      for (const [position, version] of contenders.entries()) {
        if (version === winner) continue
        assert.deepStrictEqual(showOutcome(answers[position] ?? { _tag: "Gone" }), superseded(handle, winner.successor))
        assert.isUndefined(yield* load(port, version.key))
        assert.isUndefined(yield* loadRemember(port, version.remember.key))
      }
      assert.deepStrictEqual(yield* load(port, winner.key), current(handle, winner, false))
      assert.deepStrictEqual(yield* loadRemember(port, remember.key), superseded(handle, winner.successor))
    })
  ),
  check(
    "of 20 rescues at once that renew, one wins and the others find nothing",
    Effect.fnUntraced(function*(port) {
      const { handle, remember } = yield* createRemembered(port)
      const contenders = Array.from({ length: many }, () => newRescue())
      const answers = yield* race(
        contenders.map((version) => port.rescue(remember.key, version, undefined, start))
      )
      const [winner, ...others] = contenders.filter((_, position) => answers[position]?._tag === "Done")
      assert.isDefined(winner)
      assert.lengthOf(others, 0)
      for (const [position, version] of contenders.entries()) {
        if (version === winner) continue
        assert.deepStrictEqual(answers[position], { _tag: "Gone" })
        assert.isUndefined(yield* load(port, version.key))
        assert.isUndefined(yield* loadRemember(port, version.remember.key))
      }
      assert.deepStrictEqual(yield* load(port, winner.key), current(handle, winner, true))
      assert.isUndefined(yield* loadRemember(port, remember.key))
    })
  ),
  meeting(
    "when a rescue meets one that renews, nothing leads to what the latter has made",
    Effect.fnUntraced(function*(port, meet) {
      const { handle, remember } = yield* createRemembered(port)
      const [back, renewed] = [newRescue(), newRescue()]
      const successor = randomBytes(126)
      const [rescued, renewal] = yield* meet(
        port.rescue(remember.key, back, successor, start),
        port.rescue(remember.key, renewed, undefined, start)
      )
      if (renewal._tag === "Done") {
        assert.deepStrictEqual(rescued, { _tag: "Gone" })
        assert.isUndefined(yield* loadRemember(port, remember.key))
        assert.isUndefined(yield* load(port, back.key))
        assert.deepStrictEqual(yield* load(port, renewed.key), current(handle, renewed, true))
      } else {
        assert.deepStrictEqual(rescued, { _tag: "Done" })
        assert.deepStrictEqual(showOutcome(renewal), superseded(handle, successor))
        assert.isUndefined(yield* load(port, renewed.key))
        assert.isUndefined(yield* loadRemember(port, renewed.remember.key))
      }
    })
  ),
  meeting(
    "when a save meets a rescue that renews, nothing leads from either to what that has made",
    Effect.fnUntraced(function*(port, meet) {
      const { handle, key, remember } = yield* createRemembered(port)
      // A save that leaves the remember cookie, and so cannot keep the rescue from its row.
      const saved = newVersion()
      const back = newRescue()
      const [, renewal] = yield* meet(
        port.supersede(key, saved, randomBytes(126), start),
        port.rescue(remember.key, back, undefined, start)
      )
      assert.deepStrictEqual(renewal, { _tag: "Done" })
      for (const dead of [key, saved.key]) assert.isUndefined(yield* load(port, dead))
      assert.isUndefined(yield* loadRemember(port, remember.key))
      assert.deepStrictEqual(yield* load(port, back.key), current(handle, back, true))
    })
  ),
  meeting(
    "a revoke that meets a rescue leaves nothing alive",
    Effect.fnUntraced(function*(port, meet) {
      const entry = newEntry()
      const { handle, key, remember } = yield* createRemembered(port, { index: [entry] })
      const version = newRescue({ index: [entry] })
      const [revoked, answer] = yield* meet(
        port.revoke(handle),
        port.rescue(remember.key, version, randomBytes(126), start)
      )
      assert.isTrue(revoked)
      assert.include(["Done", "Gone"], answer._tag)
      yield* nothingLeft(port, entry, [key, version.key, remember.key, version.remember.key])
    })
  ),
  meeting(
    "when a save and a rescue meet, one after the other takes effect, and one session stands",
    Effect.fnUntraced(function*(port, meet) {
      const entry = newEntry()
      const { handle, key, remember } = yield* createRemembered(port, { index: [entry] })
      const leads = replaces(remember.key)
      const saved = newVersion({ index: [entry], remember: newRemembered({ replaces: leads }) })
      const back = newRescue({ index: [entry] })
      const successor = randomBytes(126)
      const [save, rescued] = yield* meet(
        port.supersede(key, saved, randomBytes(126), start),
        port.rescue(remember.key, back, successor, start)
      )
      if (save._tag === "Done") {
        assert.deepStrictEqual(showOutcome(rescued), superseded(handle, leads.successor))
        assert.deepStrictEqual(yield* load(port, saved.key), current(handle, saved, false))
        assert.isUndefined(yield* load(port, back.key))
        assert.isUndefined(yield* loadRemember(port, back.remember.key))
      } else {
        assert.deepStrictEqual(save, { _tag: "Gone" })
        assert.deepStrictEqual(rescued, { _tag: "Done" })
        assert.deepStrictEqual(yield* load(port, back.key), current(handle, back, false))
        assert.deepStrictEqual(yield* loadRemember(port, remember.key), superseded(handle, successor))
        assert.isUndefined(yield* load(port, saved.key))
      }
      assert.deepStrictEqual(handles(yield* list(port, entry)), [handle])
    })
  ),
  meeting(
    "when a renewal and a rescue meet, whoever was remembered before the renewal is not after it",
    Effect.fnUntraced(function*(port, meet) {
      const { handle, key, remember } = yield* createRemembered(port)
      const renewed = newVersion()
      const back = newRescue()
      const [renewal, rescued] = yield* meet(
        port.supersede(key, renewed, undefined, start),
        port.rescue(remember.key, back, randomBytes(126), start)
      )
      if (renewal._tag === "Done") {
        assert.deepStrictEqual(rescued, { _tag: "Gone" })
        assert.isUndefined(yield* loadRemember(port, remember.key))
        assert.isUndefined(yield* loadRemember(port, back.remember.key))
        assert.deepStrictEqual(yield* load(port, renewed.key), current(handle, renewed, true))
      } else {
        assert.deepStrictEqual(renewal, { _tag: "Gone" })
        assert.deepStrictEqual(rescued, { _tag: "Done" })
        assert.deepStrictEqual(yield* load(port, back.key), current(handle, back, false))
      }
    })
  )
]
