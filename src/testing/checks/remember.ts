/** The remember cookie: what it leaves behind, and what it brings back. */
import { Effect } from "effect"
import { StoreFailed } from "../../SessionError.ts"
import type { SessionError } from "../../SessionError.ts"
import type { Remembered } from "../../SessionStore.ts"
import { assert } from "./assert.ts"
import {
  check,
  create,
  createRemembered,
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
  renew,
  replace,
  rescue,
  rescueAndRenew,
  saveInfo,
  start,
  superseded,
  touch
} from "./sessions.ts"
import type { Check, Shown } from "./sessions.ts"

const replaces = (key: Uint8Array): NonNullable<Remembered["replaces"]> => ({ key, successor: randomBytes(126) })

/** Of a write that has to fail, and not to answer. */
const failure = <A extends { readonly _tag: string }>(write: Effect.Effect<A, SessionError>) =>
  Effect.flip(write).pipe(
    Effect.map(({ reason }) => reason),
    Effect.catch((outcome) => Effect.sync(() => assert.fail(`answered ${outcome._tag}`)))
  )

export const remembering: ReadonlyArray<Check> = [
  check(
    "a remember cookie loads as it was given, under its own key and by its own operation",
    Effect.fnUntraced(function*(port) {
      const session = yield* createRemembered(port, {}, { data: randomBytes(60_000) })
      const { handle, key, remember } = session
      assert.deepStrictEqual(yield* load(port, key), current(handle, session, true))
      assert.deepStrictEqual(yield* loadRemember(port, remember.key), current(handle, remember, true))
      assert.isUndefined(yield* load(port, remember.key))
      assert.isUndefined(yield* loadRemember(port, key))
    })
  ),
  check(
    "a remember cookie's bytes are the caller's again after a write",
    Effect.fnUntraced(function*(port) {
      const view = (bytes: Uint8Array) => Buffer.concat([randomBytes(8), bytes]).subarray(8)
      const given: Array<Uint8Array> = []
      const lend = (bytes: Uint8Array) => {
        const lent = view(bytes)
        given.push(lent)
        return lent
      }
      const lendRemembered = ({ data, deadline, key, replaces }: Remembered): Remembered => ({
        key: lend(key),
        data: lend(data),
        deadline,
        replaces: replaces && { key: lend(replaces.key), successor: lend(replaces.successor) }
      })
      const takeBack = () => given.splice(0).forEach((bytes) => bytes.fill(0))
      const first = newRemembered()
      const { handle, key } = yield* create(port, { remember: lendRemembered(first) })
      takeBack()
      assert.deepStrictEqual(yield* loadRemember(port, first.key), current(handle, first, true))
      const leads = replaces(first.key)
      const second = newRemembered({ replaces: leads })
      yield* replace(port, key, { remember: lendRemembered(second) })
      takeBack()
      assert.deepStrictEqual(yield* loadRemember(port, second.key), current(handle, second, true))
      assert.deepStrictEqual(yield* loadRemember(port, first.key), superseded(handle, leads.successor))
      const version = newRescue()
      const successor = randomBytes(126)
      yield* port.rescue(
        lend(second.key),
        { ...version, data: lend(version.data), remember: lendRemembered(version.remember) },
        lend(successor),
        start
      )
      takeBack()
      assert.deepStrictEqual(yield* load(port, version.key), current(handle, version, false))
      assert.deepStrictEqual(yield* loadRemember(port, version.remember.key), current(handle, version.remember, true))
      assert.deepStrictEqual(yield* loadRemember(port, second.key), superseded(handle, successor))
    })
  ),
  check(
    "a save leaves the remember cookie that is there, and one with another puts that in its place",
    Effect.fnUntraced(function*(port) {
      const { handle, key, remember } = yield* createRemembered(port)
      const second = yield* replace(port, key)
      assert.deepStrictEqual(yield* loadRemember(port, remember.key), current(handle, remember, true))
      const leads = replaces(remember.key)
      const named = newRemembered({ replaces: leads })
      const third = yield* replace(port, second.key, { remember: named })
      assert.deepStrictEqual(yield* loadRemember(port, named.key), current(handle, named, true))
      assert.deepStrictEqual(yield* loadRemember(port, remember.key), superseded(handle, leads.successor))
      // Neither nothing nor one that it had before is the one that it has.
      const unnamed = newRemembered()
      const fourth = yield* replace(port, third.key, { remember: unnamed })
      assert.isUndefined(yield* loadRemember(port, named.key))
      const late = newRemembered({ replaces: replaces(remember.key) })
      yield* replace(port, fourth.key, { remember: late })
      assert.isUndefined(yield* loadRemember(port, unnamed.key))
      assert.deepStrictEqual(yield* loadRemember(port, remember.key), superseded(handle, leads.successor))
      assert.deepStrictEqual(yield* loadRemember(port, late.key), current(handle, late, true))
    })
  ),
  check(
    "a save gives a remember cookie to a session that had none",
    Effect.fnUntraced(function*(port) {
      const { handle, key } = yield* create(port)
      const stranger = replaces(randomBytes())
      const remember = newRemembered({ replaces: stranger })
      yield* replace(port, key, { remember })
      assert.deepStrictEqual(yield* loadRemember(port, remember.key), current(handle, remember, true))
      assert.isUndefined(yield* loadRemember(port, stranger.key))
    })
  ),
  check(
    "a save takes no remember cookie from another session, whatever it names",
    Effect.fnUntraced(function*(port) {
      const other = yield* createRemembered(port)
      const { handle, key } = yield* createRemembered(port)
      const remember = newRemembered({ replaces: replaces(other.remember.key) })
      yield* replace(port, key, { remember })
      assert.deepStrictEqual(yield* loadRemember(port, remember.key), current(handle, remember, true))
      // Not when it ends either.
      for (const end of [Effect.void, port.revoke(handle)]) {
        yield* end
        assert.deepStrictEqual(
          yield* loadRemember(port, other.remember.key),
          current(other.handle, other.remember, true)
        )
      }
    })
  ),
  check(
    "a renewal ends the remember cookie with all that came before, except one that it replaces",
    Effect.fnUntraced(function*(port) {
      const { handle, key, remember } = yield* createRemembered(port)
      const second = newRemembered({ replaces: replaces(remember.key) })
      const saved = yield* replace(port, key, { remember: second })
      const leads = replaces(second.key)
      const third = newRemembered({ replaces: leads })
      const renewed = yield* renew(port, saved.key, { remember: third })
      assert.isUndefined(yield* loadRemember(port, remember.key))
      assert.deepStrictEqual(yield* loadRemember(port, second.key), superseded(handle, leads.successor))
      assert.deepStrictEqual(yield* loadRemember(port, third.key), current(handle, third, true))
      const unnamed = newRemembered()
      const again = yield* renew(port, renewed.key, { remember: unnamed })
      for (const dead of [second.key, third.key]) assert.isUndefined(yield* loadRemember(port, dead))
      assert.deepStrictEqual(yield* loadRemember(port, unnamed.key), current(handle, unnamed, true))
      yield* renew(port, again.key)
      assert.isUndefined(yield* loadRemember(port, unnamed.key))
    })
  ),
  check(
    "a rescue brings back the session with its handle, and a creation time, data, deadline and index of its own",
    Effect.fnUntraced(function*(port) {
      const [before, after] = [newEntry(), newEntry()]
      const { handle, key, remember } = yield* createRemembered(port, { index: [before], deadline: start + 5 })
      const now = start + 50
      const back = yield* rescue(port, remember.key, {
        createdAt: now - 1,
        deadline: now + 5,
        index: [after],
        remember: newRemembered({ deadline: now + 9 })
      }, now)
      assert.isUndefined(yield* load(port, key, now))
      assert.deepStrictEqual(yield* load(port, back.key, now), current(handle, back, false))
      assert.deepStrictEqual(yield* loadRemember(port, back.remember.key, now), current(handle, back.remember, true))
      assert.deepStrictEqual(yield* loadRemember(port, remember.key, now), superseded(handle, back.successor))
      assert.deepStrictEqual(yield* list(port, before, now), [])
      assert.deepStrictEqual(yield* list(port, after, now), [
        { handle, createdAt: now - 1, lastSeenAt: now, deadline: now + 9 }
      ])
    })
  ),
  check(
    "a rescue replaces a session cookie's version that lives, and nothing leads from that to the new one",
    Effect.fnUntraced(function*(port) {
      const { handle, key, remember } = yield* createRemembered(port)
      const back = yield* rescue(port, remember.key)
      assert.isUndefined(yield* load(port, key))
      assert.deepStrictEqual(yield* port.supersede(key, newVersion(), randomBytes(126), start), { _tag: "Gone" })
      assert.strictEqual(yield* touch(port, key, grace), "Gone")
      assert.deepStrictEqual(yield* load(port, back.key), current(handle, back, false))
    })
  ),
  check(
    "a rescue without a successor ends all that came before, of both cookies, and keeps handle and info",
    Effect.fnUntraced(function*(port) {
      const [before, after] = [newEntry(), newEntry()]
      const { handle, key, remember } = yield* createRemembered(port, { index: [before] })
      assert.strictEqual(yield* saveInfo(port, handle, { kept: "info" }), "Saved")
      const first = yield* rescue(port, remember.key)
      const second = yield* replace(port, first.key, { index: [before] })
      const back = yield* rescueAndRenew(port, first.remember.key, { index: [after], createdAt: start - 1 })
      for (const dead of [key, first.key, second.key]) {
        assert.isUndefined(yield* load(port, dead))
        assert.deepStrictEqual(yield* port.supersede(dead, newVersion(), randomBytes(126), start), { _tag: "Gone" })
      }
      for (const dead of [remember.key, first.remember.key]) {
        assert.isUndefined(yield* loadRemember(port, dead))
        assert.deepStrictEqual(yield* port.rescue(dead, newRescue(), undefined, start), { _tag: "Gone" })
      }
      // Nothing waits for it to be seen.
      assert.deepStrictEqual(yield* load(port, back.key), current(handle, back, true))
      assert.deepStrictEqual(yield* loadRemember(port, back.remember.key), current(handle, back.remember, true))
      assert.deepStrictEqual(yield* loadInfo(port, handle), { kept: "info" })
      assert.deepStrictEqual(yield* list(port, before), [])
      assert.deepStrictEqual(
        (yield* list(port, after)).map(({ createdAt, handle }) => ({ createdAt, handle })),
        [{ createdAt: start - 1, handle }]
      )
    })
  ),
  check(
    "each remember cookie of a chain of rescues leads to the next, and the last one stands",
    Effect.fnUntraced(function*(port) {
      const { handle, remember } = yield* createRemembered(port)
      let last = remember.key
      const links: Array<readonly [key: Uint8Array, row: Shown]> = []
      for (let made = 0; made < 32; made++) {
        const next = yield* rescue(port, last)
        links.push([last, superseded(handle, next.successor)])
        last = next.remember.key
      }
      for (const [key, row] of links) assert.deepStrictEqual(yield* loadRemember(port, key), row)
      assert.strictEqual((yield* loadRemember(port, last))?._tag, "Current")
      assert.isTrue(yield* port.revoke(handle))
      for (const [key] of links) assert.isUndefined(yield* loadRemember(port, key))
      assert.isUndefined(yield* loadRemember(port, last))
    })
  ),
  check(
    "grace of a remember cookie runs from the first sight of the session that came with its successor",
    Effect.fnUntraced(function*(port) {
      const { handle, key, remember } = yield* createRemembered(port)
      const saved = yield* replace(port, key)
      const back = yield* rescue(port, remember.key)
      yield* touch(port, back.key, undefined, start + 1)
      assert.deepStrictEqual(yield* loadRemember(port, remember.key), superseded(handle, back.successor))
      yield* touch(port, back.key, grace, start + 2)
      const ends = start + 2 + grace
      assert.deepStrictEqual(yield* load(port, back.key), current(handle, back, true))
      assert.deepStrictEqual(yield* loadRemember(port, remember.key), superseded(handle, back.successor, ends))
      assert.deepStrictEqual(yield* load(port, key), superseded(handle, saved.successor, ends))
      const leads = replaces(back.remember.key)
      const next = yield* replace(port, back.key, { remember: newRemembered({ replaces: leads }) }, start + 3)
      yield* touch(port, next.key, 0, start + 4)
      assert.deepStrictEqual(yield* loadRemember(port, remember.key), superseded(handle, back.successor, ends))
      assert.deepStrictEqual(
        yield* loadRemember(port, back.remember.key),
        superseded(handle, leads.successor, start + 4)
      )
    })
  ),
  check(
    "a touch is the session cookie's: it moves no deadline of the remember cookie",
    Effect.fnUntraced(function*(port) {
      const { key, remember } = yield* createRemembered(port, {}, { deadline: start + 5 })
      yield* port.touch(key, { deadline: start + 2 * lifetime, seen: grace }, start)
      assert.strictEqual((yield* loadRemember(port, remember.key, start + 5))?._tag, "Current")
      assert.isUndefined(yield* loadRemember(port, remember.key, start + 6))
      assert.strictEqual((yield* load(port, key, start + 2 * lifetime))?._tag, "Current")
    })
  ),
  check(
    "each cookie opens the session to the last second of its own deadline, and both are listed to the last of either",
    Effect.fnUntraced(function*(port) {
      for (const [session, remembered] of [[start + 5, start + 9], [start + 9, start + 5]] as const) {
        const entry = newEntry()
        const { createdAt, handle, key, remember } = yield* createRemembered(
          port,
          { index: [entry], deadline: session },
          { deadline: remembered }
        )
        assert.strictEqual((yield* load(port, key, session))?._tag, "Current")
        assert.strictEqual((yield* loadRemember(port, remember.key, remembered))?._tag, "Current")
        const listed = { handle, createdAt, lastSeenAt: start, deadline: start + 9 }
        assert.deepStrictEqual(yield* list(port, entry, start + 9), [listed])
        for (let now = start + 6; now <= start + 10; now++) {
          assert.strictEqual((yield* load(port, key, now))?._tag, now <= session ? "Current" : undefined)
          assert.strictEqual(
            (yield* loadRemember(port, remember.key, now))?._tag,
            now <= remembered ? "Current" : undefined
          )
        }
        assert.deepStrictEqual(yield* list(port, entry, start + 10), [])
      }
    })
  ),
  check(
    "a remember cookie can be rescued to its last second, and not a second later",
    Effect.fnUntraced(function*(port) {
      const [one, other] = [
        yield* createRemembered(port, { deadline: start + 5 }, { deadline: start + 9 }),
        yield* createRemembered(port, { deadline: start + 99 }, { deadline: start + 9 })
      ]
      yield* rescue(port, one.remember.key, {}, start + 9)
      const late = port.rescue(other.remember.key, newRescue(), randomBytes(126), start + 10)
      assert.deepStrictEqual(yield* late, { _tag: "Gone" })
      assert.strictEqual((yield* load(port, other.key, start + 10))?._tag, "Current")
    })
  ),
  check(
    "a create takes no key that is in use, of either cookie, by either cookie",
    Effect.fnUntraced(function*(port) {
      const session = yield* createRemembered(port)
      const back = yield* rescue(port, session.remember.key)
      const saved = yield* replace(port, back.key)
      const inUse = [saved.key, back.key, back.remember.key, session.remember.key]
      for (const key of inUse) {
        for (const taken of [newSession({ key }), newSession({ remember: newRemembered({ key }) })]) {
          assert.strictEqual(yield* port.create(taken, start), "Collision")
          if (taken.key !== key) assert.isUndefined(yield* load(port, taken.key))
        }
      }
      assert.deepStrictEqual(yield* load(port, saved.key), current(session.handle, saved, false))
      assert.deepStrictEqual(
        yield* loadRemember(port, back.remember.key),
        current(session.handle, back.remember, true)
      )
    })
  ),
  check(
    "a new version never takes the remember cookie's place of another session's",
    Effect.fnUntraced(function*(port) {
      const other = yield* createRemembered(port)
      const one = yield* createRemembered(port)
      const { key } = other.remember
      const remember = newRemembered({ key })
      const failures = [
        yield* failure(port.supersede(one.key, newVersion({ remember }), randomBytes(126), start)),
        yield* failure(port.supersede(one.key, newVersion({ remember }), undefined, start)),
        yield* failure(port.rescue(one.remember.key, newRescue({ remember }), randomBytes(126), start)),
        yield* failure(port.rescue(one.remember.key, newRescue({ key: other.key }), randomBytes(126), start))
      ]
      for (const reason of failures) assert.instanceOf(reason, StoreFailed)
      for (const { handle, remember, ...session } of [one, other]) {
        assert.deepStrictEqual(yield* load(port, session.key), current(handle, session, true))
        assert.deepStrictEqual(yield* loadRemember(port, remember.key), current(handle, remember, true))
      }
    })
  ),
  check(
    "a revoke by subject ends remembered sessions, those whose session cookie has expired too",
    Effect.fnUntraced(function*(port) {
      const entry = newEntry()
      const now = start + 50
      const { key, remember } = yield* createRemembered(port, { index: [entry], deadline: start + 5 })
      const back = yield* rescue(port, remember.key, { index: [entry], deadline: start + 6 }, start + 1)
      const other = yield* createRemembered(port, { index: [entry] })
      assert.lengthOf(handles(yield* list(port, entry, now)), 2)
      assert.strictEqual(yield* port.revokeAll(entry.audience, [entry.subject], other.handle), 1)
      for (const dead of [key, back.key, remember.key, back.remember.key]) {
        assert.isUndefined(yield* loadRemember(port, dead, now))
      }
      assert.deepStrictEqual(
        yield* loadRemember(port, other.remember.key, now),
        current(other.handle, other.remember, true)
      )
    })
  )
]
