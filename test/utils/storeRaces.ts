/** What requests do to each other. */
import { Effect } from "effect"
import type { IndexEntry, Port } from "../../src/SessionStore.ts"
import { assert } from "./storeAssert.ts"
import {
  check,
  create,
  current,
  grace,
  lifetime,
  list,
  load,
  many,
  meeting,
  newEntry,
  newSession,
  newVersion,
  race,
  randomBytes,
  replace,
  showOutcome,
  start,
  superseded
} from "./storeSessions.ts"
import type { Check, Session } from "./storeSessions.ts"

const nothingLeft = Effect.fnUntraced(function*(port: Port, entry: IndexEntry, keys: ReadonlyArray<Uint8Array>) {
  for (const key of keys) assert.isUndefined(yield* load(port, key))
  assert.deepStrictEqual(yield* list(port, entry), [])
})

export const races: ReadonlyArray<Check> = [
  check(
    "of 20 creates at once with one key or one handle, one wins and its data stands",
    (port) =>
      Effect.forEach(
        [({ key }: Session) => ({ key }), ({ handle }: Session) => ({ handle })],
        Effect.fnUntraced(function*(take) {
          const shared = take(newSession())
          const contenders = Array.from({ length: many }, () => newSession(shared))
          const answers = yield* race(contenders.map((session) => port.create(session, start)))
          assert.lengthOf(answers.filter((answer) => answer === "Collision"), many - 1)
          for (const [position, session] of contenders.entries()) {
            const row = yield* load(port, session.key)
            if (answers[position] === "Created") assert.deepStrictEqual(row, current(session.handle, session, true))
            else assert.notDeepEqual(row, current(session.handle, session, true))
          }
        }),
        { discard: true }
      )
  ),
  check(
    "of 20 supersedes at once, one wins and the others are told its successor",
    Effect.fnUntraced(function*(port) {
      const { handle, key } = yield* create(port)
      const contenders = Array.from({ length: many }, () => ({ ...newVersion(), successor: randomBytes(126) }))
      const answers = yield* race(contenders.map((version) => port.supersede(key, version, version.successor, start)))
      const [winner, ...others] = contenders.filter((_, position) => answers[position]?._tag === "Done")
      assert.isDefined(winner)
      assert.lengthOf(others, 0)
      for (const [position, version] of contenders.entries()) {
        if (version === winner) continue
        assert.deepStrictEqual(showOutcome(answers[position] ?? { _tag: "Gone" }), superseded(handle, winner.successor))
        assert.isUndefined(yield* load(port, version.key))
      }
      assert.deepStrictEqual(yield* load(port, winner.key), current(handle, winner, false))
      assert.deepStrictEqual(yield* load(port, key), superseded(handle, winner.successor))
    })
  ),
  check(
    "of 20 renewals at once, one wins and the others learn nothing of it",
    Effect.fnUntraced(function*(port) {
      const { handle, key } = yield* create(port)
      const contenders = Array.from({ length: many }, () => newVersion())
      const answers = yield* race(contenders.map((version) => port.supersede(key, version, undefined, start)))
      assert.deepStrictEqual(
        answers.map(({ _tag }) => _tag).toSorted(),
        ["Done", ...Array.from({ length: many - 1 }, () => "Gone")]
      )
      for (const [position, version] of contenders.entries()) {
        assert.deepStrictEqual(
          yield* load(port, version.key),
          answers[position]?._tag === "Done" ? current(handle, version, true) : undefined
        )
      }
    })
  ),
  meeting(
    "when a renewal and a supersede meet, one wins, and no racer of a renewal is forwarded",
    Effect.fnUntraced(function*(port, meet) {
      const { handle, key } = yield* create(port)
      const saved = newVersion()
      const successor = randomBytes(126)
      const renewed = newVersion()
      const [save, renewal] = yield* meet(
        port.supersede(key, saved, successor, start),
        port.supersede(key, renewed, undefined, start)
      )
      if (renewal._tag === "Done") {
        assert.deepStrictEqual(save, { _tag: "Gone" })
        assert.isUndefined(yield* load(port, key))
        assert.isUndefined(yield* load(port, saved.key))
        assert.deepStrictEqual(yield* load(port, renewed.key), current(handle, renewed, true))
      } else {
        assert.deepStrictEqual(save, { _tag: "Done" })
        assert.deepStrictEqual(showOutcome(renewal), superseded(handle, successor))
        assert.deepStrictEqual(yield* load(port, saved.key), current(handle, saved, false))
        assert.isUndefined(yield* load(port, renewed.key))
      }
    })
  ),
  check(
    "a revoke before a supersede leaves nothing alive",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const { handle, key } = yield* create(port, { index: [entry] })
      const version = newVersion({ index: [entry] })
      assert.isTrue(yield* port.revoke(handle))
      assert.deepStrictEqual(yield* port.supersede(key, version, randomBytes(126), start), { _tag: "Gone" })
      yield* nothingLeft(port, entry, [key, version.key])
    })
  ),
  check(
    "a revoke after supersedes leaves nothing alive",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const { handle, key } = yield* create(port, { index: [entry] })
      const second = yield* replace(port, key, { index: [entry] })
      const third = yield* replace(port, second.key, { index: [entry] })
      assert.isTrue(yield* port.revoke(handle))
      yield* nothingLeft(port, entry, [key, second.key, third.key])
    })
  ),
  meeting(
    "a revoke that meets a supersede leaves nothing alive",
    Effect.fnUntraced(function*(port, meet) {
      const entry = newEntry()
      const { handle, key } = yield* create(port, { index: [entry] })
      const version = newVersion({ index: [entry] })
      const [revoked, answer] = yield* meet(
        port.revoke(handle),
        port.supersede(key, version, randomBytes(126), start)
      )
      assert.isTrue(revoked)
      assert.include(["Done", "Gone"], answer._tag)
      yield* nothingLeft(port, entry, [key, version.key])
    })
  ),
  meeting(
    "a revoke by subject that meets a supersede leaves nothing alive",
    Effect.fnUntraced(function*(port, meet) {
      const entry = newEntry()
      const { key } = yield* create(port, { index: [entry] })
      const version = newVersion({ index: [entry] })
      const [count, answer] = yield* meet(
        port.revokeAll(entry.audience, [entry.subject], undefined),
        port.supersede(key, version, randomBytes(126), start)
      )
      assert.strictEqual(count, 1)
      assert.include(["Done", "Gone"], answer._tag)
      yield* nothingLeft(port, entry, [key, version.key])
    })
  ),
  meeting(
    "a revoke that meets a touch leaves nothing alive",
    Effect.fnUntraced(function*(port, meet) {
      const entry = newEntry()
      const { handle, key } = yield* create(port, { index: [entry] })
      const [revoked] = yield* meet(
        port.revoke(handle),
        port.touch(key, { deadline: start + 2 * lifetime, seen: grace }, start)
      )
      assert.isTrue(revoked)
      yield* nothingLeft(port, entry, [key])
    })
  ),
  check(
    "of 20 revokes at once, one finds the session",
    Effect.fnUntraced(function*(port) {
      const { handle } = yield* create(port)
      const answers = yield* race(Array.from({ length: many }, () => port.revoke(handle)))
      assert.lengthOf(answers.filter((was) => was), 1)
    })
  ),
  meeting(
    "a touch that meets a supersede does not reach the new version",
    Effect.fnUntraced(function*(port, meet) {
      const entry = newEntry()
      const { handle, key } = yield* create(port, { index: [entry] })
      const version = newVersion({ index: [entry], deadline: start + 500 })
      const [, answer] = yield* meet(
        port.touch(key, { deadline: start + 2 * lifetime, seen: grace }, start),
        port.supersede(key, version, randomBytes(126), start)
      )
      assert.deepStrictEqual(answer, { _tag: "Done" })
      assert.deepStrictEqual(yield* load(port, version.key), current(handle, version, false))
      assert.strictEqual((yield* list(port, entry))[0]?.deadline, start + 500)
    })
  )
]
