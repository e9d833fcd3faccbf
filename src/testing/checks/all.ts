/**
 * Every promise of the store's port, as checks that can be run against any store.
 *
 * A check makes its own sessions under random keys, handles and audiences, tells
 * the store what time it is, and knows nothing of what is inside: a store may be
 * shared by all of them, and keep what they leave.
 */
import { Effect } from "effect"
import { StoreFailed } from "../../SessionError.ts"
import { assert } from "./assert.ts"
import { info } from "./info.ts"
import { agreesWithModel } from "./model.ts"
import { outcomes } from "./outcomes.ts"
import { races } from "./races.ts"
import { remembering } from "./remember.ts"
import { rememberRaces } from "./rememberRaces.ts"
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
  start,
  superseded,
  touch
} from "./sessions.ts"
import type { Check, Shown } from "./sessions.ts"

// What an operation leaves behind

const versions: ReadonlyArray<Check> = [
  check(
    "a created session loads and is listed as it was given",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const session = yield* create(port, { index: [entry], createdAt: start - 5 }, start)
      assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
      assert.deepStrictEqual(yield* list(port, entry), [
        { handle: session.handle, createdAt: start - 5, lastSeenAt: start, deadline: session.deadline }
      ])
    })
  ),
  check(
    "data of any size and any bytes come back as they were",
    Effect.fnUntraced(function*(port) {
      for (const data of [new Uint8Array(), Uint8Array.from({ length: 256 }, (_, byte) => byte), randomBytes(60_000)]) {
        const session = yield* create(port, { data })
        assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
        const next = yield* replace(port, session.key, { data: data.toReversed() })
        assert.deepStrictEqual(yield* load(port, next.key), current(session.handle, next, false))
      }
    })
  ),
  check(
    "bytes are the caller's again after a write",
    Effect.fnUntraced(function*(port) {
      // As a view of a pool, which is what Node's Buffers are.
      const view = (bytes: Uint8Array) => Buffer.concat([randomBytes(8), bytes]).subarray(8)
      const session = newSession()
      const data = view(session.data)
      const key = view(session.key)
      yield* create(port, { ...session, key, data })
      data.fill(0)
      key.fill(0)
      assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
      const version = newVersion()
      const newData = view(version.data)
      const successor = randomBytes(126)
      const newSuccessor = view(successor)
      yield* port.supersede(session.key, { ...version, data: newData }, newSuccessor, start)
      newData.fill(0)
      newSuccessor.fill(0)
      assert.deepStrictEqual(yield* load(port, version.key), current(session.handle, version, false))
      assert.deepStrictEqual(yield* load(port, session.key), superseded(session.handle, successor))
    })
  ),
  check(
    "audiences and subjects are text, whatever they look like",
    Effect.fnUntraced(function*(port) {
      const texts = [
        "'; DROP TABLE sessions; --",
        "\\",
        "%",
        "_",
        "\"{},",
        "ключ 🔑",
        "a\nb",
        "",
        " alice ",
        "ALICE",
        "NULL"
      ]
      const audience = crypto.randomUUID()
      const entries = texts.flatMap((text) => [
        { audience: `${audience}${text}`, subject: text },
        { audience, subject: `${text}.` }
      ])
      const sessions = yield* Effect.forEach(entries, (entry) => create(port, { index: [entry] }))
      for (const { handle, index } of sessions) {
        for (const entry of index) assert.deepStrictEqual(handles(yield* list(port, entry)), [handle])
      }
    })
  ),
  check(
    "a new version takes over handle and creation time, with its own data, deadline and index",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const { handle, key } = yield* create(port, { index: [entry] })
      const next = yield* replace(port, key, { index: [entry], deadline: start + 500 }, start + 7)
      assert.deepStrictEqual(yield* load(port, next.key, start + 7), current(handle, next, false))
      assert.deepStrictEqual(yield* load(port, key, start + 7), superseded(handle, next.successor))
      assert.deepStrictEqual(yield* list(port, entry, start + 7), [
        { handle, createdAt: start, lastSeenAt: start + 7, deadline: start + 500 }
      ])
    })
  ),
  check(
    "each version of a chain leads to the next, and the last one stands",
    Effect.fnUntraced(function*(port) {
      const { handle, key } = yield* create(port)
      let last = key
      const links: Array<readonly [key: Uint8Array, row: Shown]> = []
      for (let made = 0; made < 32; made++) {
        const next = yield* replace(port, last)
        links.push([last, superseded(handle, next.successor)])
        last = next.key
      }
      for (const [key, row] of links) assert.deepStrictEqual(yield* load(port, key), row)
      assert.strictEqual((yield* load(port, last))?._tag, "Current")
      assert.isTrue(yield* port.revoke(handle))
      for (const [key] of links) assert.isUndefined(yield* load(port, key))
      assert.isUndefined(yield* load(port, last))
    })
  ),
  check(
    "a renewal leaves the new version alone, which nothing waits for",
    Effect.fnUntraced(function*(port) {
      const { handle, key } = yield* create(port)
      const second = yield* replace(port, key)
      const third = yield* replace(port, second.key)
      const renewed = yield* renew(port, third.key)
      for (const old of [key, second.key, third.key]) {
        assert.isUndefined(yield* load(port, old))
        assert.deepStrictEqual(yield* port.supersede(old, newVersion(), randomBytes(), start), { _tag: "Gone" })
        assert.strictEqual(yield* touch(port, old, grace), "Gone")
      }
      assert.deepStrictEqual(yield* load(port, renewed.key), current(handle, renewed, true))
    })
  ),
  check(
    "a new version never takes the place of another session's",
    Effect.fnUntraced(function*(port) {
      const one = yield* create(port)
      const other = yield* create(port)
      const error = yield* Effect.flip(port.supersede(one.key, newVersion({ key: other.key }), randomBytes(), start))
        .pipe(
          Effect.catch((outcome) => Effect.sync(() => assert.fail(`answered ${outcome._tag}`)))
        )
      assert.instanceOf(error.reason, StoreFailed)
      assert.deepStrictEqual(yield* load(port, one.key), current(one.handle, one, true))
      assert.deepStrictEqual(yield* load(port, other.key), current(other.handle, other, true))
    })
  )
]

const touches: ReadonlyArray<Check> = [
  check(
    "touch moves the deadline and the last-seen time, and no data",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const session = yield* create(port, { index: [entry] })
      const { createdAt, handle, key } = session
      yield* port.touch(key, { deadline: start + 2 * lifetime, seen: undefined }, start + 9)
      assert.deepStrictEqual(yield* list(port, entry, start + 9), [
        { handle, createdAt, lastSeenAt: start + 9, deadline: start + 2 * lifetime }
      ])
      assert.deepStrictEqual(yield* load(port, key, start + 9), current(handle, session, true))
    })
  ),
  check(
    "touch without a deadline leaves it",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const { createdAt, deadline, handle, key } = yield* create(port, { index: [entry] })
      yield* touch(port, key, grace, start + 9)
      assert.deepStrictEqual(yield* list(port, entry, start + 9), [{
        handle,
        createdAt,
        lastSeenAt: start + 9,
        deadline
      }])
    })
  ),
  check(
    "a version is seen once a touch says so, and not before",
    Effect.fnUntraced(function*(port) {
      const { handle, key } = yield* create(port)
      const next = yield* replace(port, key)
      yield* touch(port, next.key, undefined)
      assert.deepStrictEqual(yield* load(port, next.key), current(handle, next, false))
      assert.deepStrictEqual(yield* load(port, key), superseded(handle, next.successor))
      yield* touch(port, next.key, grace)
      assert.deepStrictEqual(yield* load(port, next.key), current(handle, next, true))
      yield* touch(port, next.key, undefined)
      assert.deepStrictEqual(yield* load(port, next.key), current(handle, next, true))
    })
  ),
  check(
    "grace runs from the first sight of any successor, and is never extended",
    Effect.fnUntraced(function*(port) {
      const { handle, key: first } = yield* create(port)
      const second = yield* replace(port, first)
      const third = yield* replace(port, second.key)
      yield* touch(port, third.key, grace, start + 1)
      const ends = start + 1 + grace
      assert.deepStrictEqual(yield* load(port, first, start + 1), superseded(handle, second.successor, ends))
      assert.deepStrictEqual(yield* load(port, second.key, start + 1), superseded(handle, third.successor, ends))
      yield* touch(port, third.key, grace, start + 2)
      const fourth = yield* replace(port, third.key, {}, start + 3)
      assert.deepStrictEqual(yield* load(port, third.key, start + 3), superseded(handle, fourth.successor))
      yield* touch(port, fourth.key, 0, start + 4)
      assert.deepStrictEqual(yield* load(port, first, start + 4), superseded(handle, second.successor, ends))
      assert.deepStrictEqual(yield* load(port, second.key, start + 4), superseded(handle, third.successor, ends))
      assert.deepStrictEqual(yield* load(port, third.key, start + 4), superseded(handle, fourth.successor, start + 4))
    })
  ),
  check(
    "a sight of one session starts no other's grace",
    Effect.fnUntraced(function*(port) {
      const one = yield* create(port)
      const other = yield* create(port)
      const ones = yield* replace(port, one.key)
      const others = yield* replace(port, other.key)
      yield* touch(port, ones.key, grace)
      assert.deepStrictEqual(yield* load(port, other.key), superseded(other.handle, others.successor))
      assert.deepStrictEqual(yield* load(port, others.key), current(other.handle, others, false))
    })
  ),
  check(
    "a save of a version that was presented gives those before it their grace, and its own none",
    Effect.fnUntraced(function*(port) {
      const first = yield* create(port)
      const second = yield* replace(port, first.key)
      const third = yield* replace(port, second.key, { seen: grace }, start + 5)
      const grown = superseded(first.handle, second.successor, start + 5 + grace)
      assert.deepStrictEqual(yield* load(port, first.key), grown)
      assert.deepStrictEqual(yield* load(port, second.key), superseded(first.handle, third.successor))
      // Grace that runs already is not extended.
      yield* replace(port, third.key, { seen: grace }, start + 7)
      assert.deepStrictEqual(yield* load(port, first.key), grown)
      assert.deepStrictEqual(
        yield* load(port, second.key),
        superseded(first.handle, third.successor, start + 7 + grace)
      )
    })
  )
]

const deadlines: ReadonlyArray<Check> = [
  check(
    "the deadline is the last second in which a session loads, is listed, can be touched and superseded",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const last = start + 100
      const { key: loaded } = yield* create(port, { index: [entry], deadline: last })
      const { key: touched } = yield* create(port, { index: [entry], deadline: last })
      const { handle, key: replaced } = yield* create(port, { index: [entry], deadline: last })
      assert.strictEqual((yield* load(port, loaded, last))?._tag, "Current")
      assert.lengthOf(yield* list(port, entry, last), 3)
      assert.strictEqual(yield* touch(port, touched, undefined, last), "Done")
      yield* replace(port, replaced, { deadline: last + 1, index: [entry] }, last)
      assert.isUndefined(yield* load(port, loaded, last + 1))
      assert.strictEqual(yield* touch(port, touched, undefined, last + 1), "Gone")
      assert.strictEqual((yield* load(port, replaced, last + 1))?._tag, "Superseded")
      assert.deepStrictEqual(handles(yield* list(port, entry, last + 1)), [handle])
      assert.isUndefined(yield* load(port, replaced, last + 2))
      assert.deepStrictEqual(yield* list(port, entry, last + 2), [])
    })
  ),
  check(
    "a touch brings forward the end as well as putting it off",
    Effect.fnUntraced(function*(port) {
      const { key } = yield* create(port, { deadline: start + 100 })
      yield* port.touch(key, { deadline: start + 200, seen: undefined }, start)
      assert.strictEqual((yield* load(port, key, start + 200))?._tag, "Current")
      const other = yield* create(port, { deadline: start + 900 }, start + 200)
      yield* port.touch(other.key, { deadline: start + 300, seen: undefined }, start + 200)
      assert.strictEqual((yield* load(port, other.key, start + 300))?._tag, "Current")
      assert.isUndefined(yield* load(port, other.key, start + 301))
    })
  )
]

// Finding sessions by their subjects

const index: ReadonlyArray<Check> = [
  check(
    "a session is listed under each of its entries, and nowhere else",
    Effect.fnUntraced(function*(port) {
      const [a, b, elsewhere] = [newEntry(), newEntry(), newEntry()]
      const { handle } = yield* create(port, { index: [a, b, a] })
      yield* create(port)
      assert.deepStrictEqual(handles(yield* list(port, a)), [handle])
      assert.deepStrictEqual(handles(yield* list(port, b)), [handle])
      assert.deepStrictEqual(yield* list(port, elsewhere), [])
      assert.deepStrictEqual(yield* list(port, { ...a, subject: "alice2" }), [])
      assert.deepStrictEqual(yield* list(port, { ...a, audience: b.subject, subject: a.audience }), [])
    })
  ),
  check(
    "audience and subject are not run together",
    Effect.fnUntraced(function*(port) {
      const audience = crypto.randomUUID()
      const { handle } = yield* create(port, { index: [{ audience, subject: "bc" }] })
      assert.deepStrictEqual(yield* list(port, { audience: `${audience}b`, subject: "c" }), [])
      assert.deepStrictEqual(
        yield* list(port, { audience: audience.slice(0, -1), subject: `${audience.slice(-1)}bc` }),
        []
      )
      assert.deepStrictEqual(handles(yield* list(port, { audience, subject: "bc" })), [handle])
    })
  ),
  check(
    "the newest session comes first, whichever was seen last",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const second = yield* create(port, { index: [entry], createdAt: start - 20 })
      const first = yield* create(port, { index: [entry], createdAt: start - 10 })
      const third = yield* create(port, { index: [entry], createdAt: start - 30 })
      yield* replace(port, third.key, { index: [entry] })
      yield* touch(port, second.key, undefined, start + 1)
      assert.deepStrictEqual(handles(yield* list(port, entry, start + 1)), [first.handle, second.handle, third.handle])
    })
  ),
  check(
    "several spellings of a subject list each session once",
    Effect.fnUntraced(function*(port) {
      const { audience } = newEntry()
      const one = yield* create(port, { index: [{ audience, subject: "old" }], createdAt: start - 1 })
      const two = yield* create(port, { index: [{ audience, subject: "old" }, { audience, subject: "new" }] })
      const listed = handles(yield* port.list(audience, ["new", "old", "new", "none"], start))
      assert.deepStrictEqual(listed, [two.handle, one.handle])
      assert.deepStrictEqual(yield* port.list(audience, [], start), [])
      assert.strictEqual(yield* port.revokeAll(audience, [], undefined), 0)
      assert.strictEqual(yield* port.revokeAll(audience, ["new", "old", "new", "none"], undefined), 2)
    })
  ),
  check(
    "the index follows the session to its new version",
    Effect.fnUntraced(function*(port) {
      const [before, after] = [newEntry(), newEntry()]
      const { handle, key } = yield* create(port, { index: [before] })
      const next = yield* replace(port, key, { index: [after] })
      assert.deepStrictEqual(yield* list(port, before), [])
      assert.deepStrictEqual(handles(yield* list(port, after)), [handle])
      assert.strictEqual(yield* port.revokeAll(before.audience, [before.subject], undefined), 0)
      const anonymous = yield* renew(port, next.key)
      assert.deepStrictEqual(yield* list(port, after), [])
      assert.strictEqual(yield* port.revokeAll(after.audience, [after.subject], undefined), 0)
      assert.strictEqual((yield* load(port, anonymous.key))?._tag, "Current")
      yield* renew(port, anonymous.key, { index: [before] })
      assert.deepStrictEqual(handles(yield* list(port, before)), [handle])
    })
  ),
  check(
    "revokeAll ends the sessions of the subject, of one audience, except one, and says how many",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const kept = yield* create(port, { index: [entry] })
      const ended = yield* Effect.forEach([0, 1, 2], () => create(port, { index: [entry] }))
      const others = yield* Effect.forEach(
        [newEntry(), { ...entry, subject: "bob" }],
        (entry) => create(port, { index: [entry] })
      )
      const replaced = ended[0]?.key ?? kept.key
      const next = yield* replace(port, replaced, { index: [entry] })
      assert.strictEqual(yield* port.revokeAll(entry.audience, [entry.subject], kept.handle), 3)
      for (const key of [next.key, ...ended.map(({ key }) => key)]) assert.isUndefined(yield* load(port, key))
      for (const { key } of [kept, ...others]) assert.strictEqual((yield* load(port, key))?._tag, "Current")
      assert.deepStrictEqual(handles(yield* list(port, entry)), [kept.handle])
      assert.strictEqual(yield* port.revokeAll(entry.audience, [entry.subject], kept.handle), 0)
      assert.strictEqual(yield* port.revokeAll(entry.audience, [entry.subject], others[0]?.handle), 1)
      assert.isUndefined(yield* load(port, kept.key))
    })
  ),
  check(
    "revoke ends one session and no other",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const one = yield* create(port, { index: [entry] })
      const other = yield* create(port, { index: [entry] })
      assert.isTrue(yield* port.revoke(one.handle))
      assert.deepStrictEqual(handles(yield* list(port, entry)), [other.handle])
      assert.deepStrictEqual(yield* load(port, other.key), current(other.handle, other, true))
    })
  )
]

export const checks: ReadonlyArray<Check> = [
  ...outcomes,
  ...versions,
  ...touches,
  ...deadlines,
  ...races,
  ...index,
  ...remembering,
  ...rememberRaces,
  ...info,
  check("any sequence of operations answers as the naive model does", agreesWithModel)
]
