/** What is kept beside a session's versions. */
import { Effect } from "effect"
import { assert } from "./storeAssert.ts"
import {
  check,
  create,
  createRemembered,
  lifetime,
  list,
  load,
  loadInfo,
  locate,
  many,
  meeting,
  newEntry,
  newSession,
  newVersion,
  race,
  randomBytes,
  renew,
  replace,
  rescue,
  saveInfo,
  start,
  touch
} from "./storeSessions.ts"
import type { Check } from "./storeSessions.ts"

export const info: ReadonlyArray<Check> = [
  check(
    "info that is set is there, until it is set to something else or removed",
    Effect.fnUntraced(function*(port) {
      const { handle } = yield* create(port)
      assert.deepStrictEqual(yield* loadInfo(port, handle), {})
      assert.strictEqual(yield* saveInfo(port, handle, { a: "1", b: "2", c: "3" }), "Saved")
      assert.deepStrictEqual(yield* loadInfo(port, handle), { a: "1", b: "2", c: "3" })
      assert.strictEqual(yield* saveInfo(port, handle, { b: "4", d: "5" }, ["a", "none"]), "Saved")
      assert.deepStrictEqual(yield* loadInfo(port, handle), { b: "4", c: "3", d: "5" })
      assert.strictEqual(yield* saveInfo(port, handle, {}, ["b", "c", "d"]), "Saved")
      assert.deepStrictEqual(yield* loadInfo(port, handle), {})
      assert.strictEqual(yield* saveInfo(port, handle, {}), "Saved")
    })
  ),
  check(
    "info is one session's, and touches nothing else of it",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const { handle, key } = yield* create(port, { index: [entry] })
      const other = yield* create(port)
      yield* saveInfo(port, other.handle, { a: "other's" })
      const before = [yield* load(port, key), yield* list(port, entry)]
      yield* saveInfo(port, handle, { a: "1" }, [], start + 9)
      assert.deepStrictEqual(yield* loadInfo(port, other.handle), { a: "other's" })
      assert.deepStrictEqual([yield* load(port, key), yield* list(port, entry)], before)
      yield* saveInfo(port, handle, {}, ["a"])
      assert.deepStrictEqual(yield* loadInfo(port, other.handle), { a: "other's" })
    })
  ),
  check(
    "info stays through saves, touches, renewals and rescues",
    Effect.fnUntraced(function*(port) {
      const { handle, key, remember } = yield* createRemembered(port)
      yield* saveInfo(port, handle, { a: "1" })
      const saved = yield* replace(port, key)
      yield* touch(port, saved.key, 1)
      yield* rescue(port, remember.key)
      assert.deepStrictEqual(yield* loadInfo(port, handle), { a: "1" })
      const other = yield* create(port)
      yield* saveInfo(port, other.handle, { b: "2" })
      yield* renew(port, other.key)
      assert.deepStrictEqual(yield* loadInfo(port, other.handle), { b: "2" })
    })
  ),
  check(
    "info goes with its session: the next one with its handle has none",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const ends = [
        (handle: string) => port.revoke(handle),
        () => port.revokeAll(entry.audience, [entry.subject], undefined)
      ]
      for (const end of ends) {
        const { handle } = yield* create(port, { index: [entry] })
        yield* saveInfo(port, handle, { a: "1" })
        yield* end(handle)
        assert.deepStrictEqual(yield* loadInfo(port, handle), {})
        assert.strictEqual(yield* saveInfo(port, handle, { b: "2" }), "Gone")
        yield* create(port, { handle })
        assert.deepStrictEqual(yield* loadInfo(port, handle), {})
      }
    })
  ),
  check(
    "info lives to the last second of whichever cookie lives longer",
    Effect.fnUntraced(function*(port) {
      const sessions = [
        yield* create(port, { deadline: start + 9 }),
        yield* createRemembered(port, { deadline: start + 5 }, { deadline: start + 9 }),
        yield* createRemembered(port, { deadline: start + 9 }, { deadline: start + 5 })
      ]
      for (const { handle } of sessions) {
        assert.strictEqual(yield* saveInfo(port, handle, { a: "1" }, [], start + 9), "Saved")
        assert.deepStrictEqual(yield* loadInfo(port, handle, start + 9), { a: "1" })
        assert.deepStrictEqual(yield* loadInfo(port, handle, start + 10), {})
        assert.strictEqual(yield* saveInfo(port, handle, { b: "2" }, [], start + 10), "Gone")
      }
    })
  ),
  check(
    "names of info are text, and values bytes, whatever they look like",
    Effect.fnUntraced(function*(port) {
      const { handle } = yield* create(port)
      const names = [
        "",
        "'; DROP TABLE info; --",
        "\\",
        "\"{},",
        "ключ 🔑",
        "a\nb",
        "[\"shop\",\"lastSeen\"]",
        "NULL",
        "{}"
      ]
      const values = [new Uint8Array(), Uint8Array.from({ length: 256 }, (_, byte) => byte), randomBytes(10_000)]
      const set = names.map((name, position) => ({ name, value: values[position % values.length] ?? randomBytes() }))
      yield* port.saveInfo(locate(handle), { set, remove: [] }, start)
      const read = yield* port.loadInfo(locate(handle), start)
      assert.deepStrictEqual(
        new Map(read.map(({ name, value }) => [name, Buffer.from(value)])),
        new Map(set.map(({ name, value }) => [name, Buffer.from(value)]))
      )
    })
  ),
  check(
    "bytes of info are the caller's again after a write",
    Effect.fnUntraced(function*(port) {
      const { handle } = yield* create(port)
      const value = Buffer.concat([randomBytes(8), Buffer.from("1")]).subarray(8)
      yield* port.saveInfo(locate(handle), { set: [{ name: "a", value }], remove: [] }, start)
      value.fill(0)
      assert.deepStrictEqual(yield* loadInfo(port, handle), { a: "1" })
    })
  ),
  check(
    "of 20 writes at once to different info, all take effect",
    Effect.fnUntraced(function*(port) {
      const { handle } = yield* create(port)
      yield* saveInfo(port, handle, { last: "0" })
      const names = Array.from({ length: many }, (_, position) => `name ${position}`)
      const answers = yield* race(names.map((name) => saveInfo(port, handle, { [name]: name, last: name })))
      assert.deepStrictEqual(answers, names.map(() => "Saved"))
      const { last, ...others } = yield* loadInfo(port, handle)
      assert.deepStrictEqual(others, Object.fromEntries(names.map((name) => [name, name])))
      assert.include(names, last)
    })
  ),
  meeting(
    "a revoke that meets a write of info leaves nothing",
    Effect.fnUntraced(function*(port, meet) {
      const { handle } = yield* create(port)
      const [revoked, answer] = yield* meet(port.revoke(handle), saveInfo(port, handle, { a: "1" }))
      assert.isTrue(revoked)
      assert.include(["Saved", "Gone"], answer)
      yield* create(port, newSession({ handle }))
      assert.deepStrictEqual(yield* loadInfo(port, handle), {})
    })
  ),
  meeting(
    "when a save and a write of info meet, both take effect",
    Effect.fnUntraced(function*(port, meet) {
      const { handle, key } = yield* create(port)
      const version = newVersion({ deadline: start + 2 * lifetime })
      const answers = yield* meet(
        port.supersede(key, version, randomBytes(126), start),
        saveInfo(port, handle, { a: "1" })
      )
      assert.deepStrictEqual(answers, [{ _tag: "Done" }, "Saved"])
      assert.deepStrictEqual(yield* loadInfo(port, handle), { a: "1" })
      assert.strictEqual((yield* load(port, version.key))?._tag, "Current")
    })
  )
]
