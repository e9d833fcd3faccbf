/**
 * Operations that meet on one row: each has begun, and reads other tables as they
 * were then, before any of them can go on.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { Scope } from "effect"
import type { SqlError } from "effect/sql"
import { names, statements } from "../../src/internal/pgStatements.ts"
import type { SessionError } from "../../src/SessionError.ts"
import type { Port } from "../../src/SessionStore.ts"
import {
  create,
  createRemembered,
  current,
  grace,
  lifetime,
  list,
  load,
  loadInfo,
  loadRemember,
  newEntry,
  newRemembered,
  newRescue,
  newVersion,
  randomBytes,
  replace,
  rescue,
  saveInfo,
  showOutcome,
  start,
  superseded
} from "../../src/testing/checks/sessions.ts"
import { connect, untilHeldUp } from "./postgres.ts"
import type { Database } from "./postgres.ts"

export const tables = names("session")
export const texts = statements(tables)

/** Runs operations that all wait for a session's row, and get it in this order. */
const queue = Effect.fnUntraced(function*<A>(
  handle: string,
  operations: ReadonlyArray<Effect.Effect<A, SessionError>>
) {
  const sql = yield* PgClient.PgClient
  const holder = yield* connect({ maxConnections: 1 })
  const fibers = yield* holder.withTransaction(Effect.gen(function*() {
    yield* holder.unsafe(`SELECT FROM ${tables.sessions} WHERE handle = $1::uuid FOR UPDATE`, [handle])
    const fibers: Array<Fiber.Fiber<A, SessionError>> = []
    for (const operation of operations) {
      fibers.push(yield* Effect.forkChild(operation))
      yield* untilHeldUp(sql, fibers)
    }
    return fibers
  }))
  return yield* Fiber.joinAll(fibers)
})

/** One operation, and another behind it. */
const inTurn = <A, B>(handle: string, one: Effect.Effect<A, SessionError>, other: Effect.Effect<B, SessionError>) =>
  Effect.map(
    queue<A | B>(handle, [one, other]),
    // The results are in the order of the operations.
    (answers) => answers as unknown as readonly [A, B]
  )

type Race = (port: Port) => Effect.Effect<
  void,
  SessionError | SqlError.SqlError,
  PgClient.PgClient | Database | Scope.Scope
>

export const rowsOf = (handle: string) =>
  PgClient.PgClient.use((sql) =>
    Effect.map(
      sql<{ readonly rows: number }>`SELECT (
        (SELECT count(*) FROM session_sessions WHERE handle = ${handle}::uuid)
        + (SELECT count(*) FROM session_superseded WHERE handle = ${handle}::uuid)
        + (SELECT count(*) FROM session_subjects WHERE handle = ${handle}::uuid)
        + (SELECT count(*) FROM session_info WHERE handle = ${handle}::uuid)
      )::int AS rows`,
      ([row]) => row?.rows
    )
  )

const scene = Effect.fnUntraced(function*(port: Port) {
  const entry = newEntry()
  const { handle, key } = yield* create(port, { index: [entry] })
  const next = yield* replace(port, key, { index: [entry] })
  const version = newVersion({ index: [newEntry()] })
  const nothingLeft = Effect.gen(function*() {
    for (const dead of [key, next.key, version.key]) assert.isUndefined(yield* load(port, dead))
    for (const listed of [entry, ...version.index]) assert.deepStrictEqual(yield* list(port, listed), [])
    assert.strictEqual(yield* rowsOf(handle), 0)
  })
  const save = port.supersede(next.key, version, randomBytes(126), start)
  return { entry, handle, key: next.key, nothingLeft, save, version }
})

/** A session with info and two cookies, one of them superseded once already, and what may become of it. */
const remembered = Effect.fnUntraced(function*(port: Port) {
  const entry = newEntry()
  const { handle, key: firstKey, remember } = yield* createRemembered(port, { index: [entry] })
  const session = yield* rescue(port, remember.key, { index: [entry] })
  yield* saveInfo(port, handle, { kept: "info" })
  const { key } = session.remember
  const leads = randomBytes(126)
  const version = newVersion({ index: [entry], remember: newRemembered({ replaces: { key, successor: leads } }) })
  const back = newRescue({ index: [newEntry()] })
  const nothingLeft = Effect.gen(function*() {
    for (const dead of [firstKey, session.key, version.key, back.key]) assert.isUndefined(yield* load(port, dead))
    for (const dead of [remember.key, key, back.remember.key]) assert.isUndefined(yield* loadRemember(port, dead))
    for (const listed of [entry, ...back.index]) assert.deepStrictEqual(yield* list(port, listed), [])
    assert.deepStrictEqual(yield* loadInfo(port, handle), {})
    assert.strictEqual(yield* rowsOf(handle), 0)
  })
  return {
    handle,
    /** Of the remember cookie. */
    key,
    session,
    version,
    leads,
    save: port.supersede(session.key, version, randomBytes(126), start),
    back,
    revive: port.rescue(key, back, randomBytes(126), start),
    /** The same, and nothing that came before is left. */
    reviveAlone: port.rescue(key, back, undefined, start),
    nothingLeft
  }
})

/** What happens while info is written, and before that is committed. */
export const whileInfoIsWritten = Effect.fnUntraced(
  function*<A, E, R>(handle: string, use: Effect.Effect<A, E, R>) {
    const writer = yield* connect({ maxConnections: 1 })
    return yield* writer.withTransaction(
      Effect.andThen(
        writer.unsafe(texts.saveInfo, [handle, start, ["a"], [Buffer.from("1")], []]),
        use
      )
    )
  }
)

export const races: Record<string, Race> = {
  "a revoke behind a supersede": Effect.fnUntraced(function*(port) {
    const { handle, nothingLeft, save } = yield* scene(port)
    const [saved, ended] = yield* inTurn(handle, save, port.revoke(handle))
    assert.deepStrictEqual(saved, { _tag: "Done" })
    assert.isTrue(ended)
    yield* nothingLeft
  }),

  "a supersede behind a revoke": Effect.fnUntraced(function*(port) {
    const { handle, nothingLeft, save } = yield* scene(port)
    const [ended, saved] = yield* inTurn(handle, port.revoke(handle), save)
    assert.isTrue(ended)
    assert.deepStrictEqual(saved, { _tag: "Gone" })
    yield* nothingLeft
  }),

  "a revoke by subject behind a supersede that gives the session to another": Effect.fnUntraced(function*(port) {
    const { entry, handle, nothingLeft, save } = yield* scene(port)
    const [saved, ended] = yield* inTurn(
      handle,
      save,
      port.revokeAll(entry.audience, [entry.subject], undefined)
    )
    assert.deepStrictEqual(saved, { _tag: "Done" })
    assert.strictEqual(ended, 1)
    yield* nothingLeft
  }),

  "a supersede behind a revoke by subject": Effect.fnUntraced(function*(port) {
    const { entry, handle, nothingLeft, save } = yield* scene(port)
    const [ended, saved] = yield* inTurn(
      handle,
      port.revokeAll(entry.audience, [entry.subject], undefined),
      save
    )
    assert.strictEqual(ended, 1)
    assert.deepStrictEqual(saved, { _tag: "Gone" })
    yield* nothingLeft
  }),

  "20 supersedes": Effect.fnUntraced(function*(port) {
    const { handle, key } = yield* scene(port)
    const contenders = Array.from({ length: 20 }, () => ({ ...newVersion(), successor: randomBytes(126) }))
    const answers = yield* queue(
      handle,
      contenders.map((version) => port.supersede(key, version, version.successor, start))
    )
    const [winner, ...others] = contenders
    const told = superseded(handle, winner?.successor ?? randomBytes())
    assert.deepStrictEqual(answers.map(showOutcome), ["Done", ...others.map(() => told)])
    assert.deepStrictEqual(yield* load(port, key), told)
    for (const { key } of others) assert.isUndefined(yield* load(port, key))
  }),

  "supersedes behind a renewal": Effect.fnUntraced(function*(port) {
    const { handle, key, save, version } = yield* scene(port)
    const renewed = newVersion()
    const answers = yield* queue(handle, [port.supersede(key, renewed, undefined, start), save, save])
    assert.deepStrictEqual(answers, [{ _tag: "Done" }, { _tag: "Gone" }, { _tag: "Gone" }])
    assert.isUndefined(yield* load(port, version.key))
    assert.deepStrictEqual(yield* load(port, renewed.key), current(handle, renewed, true))
    // The session's row, and no other: not those superseded, not those of the index that the renewal left out.
    assert.strictEqual(yield* rowsOf(handle), 1)
  }),

  "a renewal behind a supersede": Effect.fnUntraced(function*(port) {
    const { handle, key, save, version } = yield* scene(port)
    const renewed = newVersion()
    const [saved, renewal] = yield* inTurn(handle, save, port.supersede(key, renewed, undefined, start))
    assert.deepStrictEqual(saved, { _tag: "Done" })
    assert.strictEqual(renewal._tag, "Superseded")
    assert.isUndefined(yield* load(port, renewed.key))
    assert.deepStrictEqual(yield* load(port, version.key), current(handle, version, false))
  }),

  "a touch behind a supersede": Effect.fnUntraced(function*(port) {
    const { handle, key, save, version } = yield* scene(port)
    const [saved, touched] = yield* inTurn(
      handle,
      save,
      port.touch(key, { deadline: start + 2 * lifetime, seen: grace }, start)
    )
    assert.deepStrictEqual(saved, { _tag: "Done" })
    assert.strictEqual(touched._tag, "Superseded")
    assert.deepStrictEqual(yield* load(port, version.key), current(handle, version, false))
    assert.isUndefined(yield* load(port, version.key, version.deadline + 1))
  }),

  "a supersede behind a touch": Effect.fnUntraced(function*(port) {
    const { handle, key, save, version } = yield* scene(port)
    const answers = yield* queue(handle, [
      port.touch(key, { deadline: start + 2 * lifetime, seen: grace }, start),
      save
    ])
    assert.deepStrictEqual(answers, [{ _tag: "Done" }, { _tag: "Done" }])
    assert.deepStrictEqual(yield* load(port, version.key), current(handle, version, false))
    assert.isUndefined(yield* load(port, version.key, version.deadline + 1))
  }),

  "a renewal behind a touch that starts the grace of what it ends": Effect.fnUntraced(function*(port) {
    const { handle, key } = yield* scene(port)
    const renewed = newVersion()
    const answers = yield* queue(handle, [
      port.touch(key, { deadline: undefined, seen: grace }, start),
      port.supersede(key, renewed, undefined, start)
    ])
    assert.deepStrictEqual(answers, [{ _tag: "Done" }, { _tag: "Done" }])
    assert.strictEqual(yield* rowsOf(handle), 1)
  }),

  "a touch behind a revoke": Effect.fnUntraced(function*(port) {
    const { handle, key, nothingLeft } = yield* scene(port)
    const [ended, touched] = yield* inTurn(
      handle,
      port.revoke(handle),
      port.touch(key, { deadline: start + 2 * lifetime, seen: grace }, start)
    )
    assert.isTrue(ended)
    assert.deepStrictEqual(touched, { _tag: "Gone" })
    yield* nothingLeft
  }),

  "20 rescues": Effect.fnUntraced(function*(port) {
    const { handle, remember } = yield* createRemembered(port)
    const contenders = Array.from({ length: 20 }, () => ({ ...newRescue(), successor: randomBytes(126) }))
    const answers = yield* queue(
      handle,
      contenders.map((version) => port.rescue(remember.key, version, version.successor, start))
    )
    const [winner, ...others] = contenders
    const told = superseded(handle, winner?.successor ?? randomBytes())
    assert.deepStrictEqual(answers.map(showOutcome), ["Done", ...others.map(() => told)])
    assert.deepStrictEqual(yield* loadRemember(port, remember.key), told)
    for (const { key, remember } of others) {
      assert.isUndefined(yield* load(port, key))
      assert.isUndefined(yield* loadRemember(port, remember.key))
    }
  }),

  "a revoke behind a rescue": Effect.fnUntraced(function*(port) {
    const { handle, nothingLeft, revive } = yield* remembered(port)
    const [rescued, ended] = yield* inTurn(handle, revive, port.revoke(handle))
    assert.deepStrictEqual(rescued, { _tag: "Done" })
    assert.isTrue(ended)
    yield* nothingLeft
  }),

  "a rescue behind a revoke": Effect.fnUntraced(function*(port) {
    const { handle, nothingLeft, revive } = yield* remembered(port)
    const [ended, rescued] = yield* inTurn(handle, port.revoke(handle), revive)
    assert.isTrue(ended)
    assert.deepStrictEqual(rescued, { _tag: "Gone" })
    yield* nothingLeft
  }),

  "a rescue behind a supersede that replaces the remember cookie": Effect.fnUntraced(function*(port) {
    const { back, handle, leads, revive, save, version } = yield* remembered(port)
    const [saved, rescued] = yield* inTurn(handle, save, revive)
    assert.deepStrictEqual(saved, { _tag: "Done" })
    assert.deepStrictEqual(showOutcome(rescued), superseded(handle, leads))
    assert.deepStrictEqual(yield* load(port, version.key), current(handle, version, false))
    assert.isUndefined(yield* load(port, back.key))
    assert.isUndefined(yield* loadRemember(port, back.remember.key))
  }),

  "a rescue behind a supersede that leaves the remember cookie": Effect.fnUntraced(function*(port) {
    const { back, handle, key, revive, session } = yield* remembered(port)
    const entry = newEntry()
    const version = newVersion({ index: [entry] })
    const save = port.supersede(session.key, version, randomBytes(126), start)
    const [saved, rescued] = yield* inTurn(handle, save, revive)
    assert.deepStrictEqual([saved, rescued], [{ _tag: "Done" }, { _tag: "Done" }])
    assert.isUndefined(yield* load(port, version.key))
    assert.deepStrictEqual(yield* list(port, entry), [])
    assert.deepStrictEqual(yield* load(port, back.key), current(handle, back, false))
    assert.strictEqual((yield* loadRemember(port, key))?._tag, "Superseded")
  }),

  "a supersede behind a rescue": Effect.fnUntraced(function*(port) {
    const { back, handle, key, leads, revive, save, version } = yield* remembered(port)
    const [rescued, saved] = yield* inTurn(handle, revive, save)
    assert.deepStrictEqual(rescued, { _tag: "Done" })
    assert.deepStrictEqual(saved, { _tag: "Gone" })
    assert.deepStrictEqual(yield* load(port, back.key), current(handle, back, false))
    assert.isUndefined(yield* load(port, version.key))
    assert.notDeepEqual(yield* loadRemember(port, key), superseded(handle, leads))
  }),

  "a rescue behind a renewal": Effect.fnUntraced(function*(port) {
    const { back, handle, key, revive, session } = yield* remembered(port)
    const renewed = newVersion()
    const renewal = port.supersede(session.key, renewed, undefined, start)
    const [done, rescued] = yield* inTurn(handle, renewal, revive)
    assert.deepStrictEqual(done, { _tag: "Done" })
    assert.deepStrictEqual(rescued, { _tag: "Gone" })
    assert.isUndefined(yield* loadRemember(port, key))
    assert.isUndefined(yield* loadRemember(port, back.remember.key))
    assert.strictEqual(yield* rowsOf(handle), 2)
  }),

  "a rescue that renews behind a supersede that leaves the remember cookie": Effect.fnUntraced(function*(port) {
    const { back, handle, key, reviveAlone, session } = yield* remembered(port)
    const version = newVersion({ index: [newEntry()] })
    const save = port.supersede(session.key, version, randomBytes(126), start)
    const [saved, rescued] = yield* inTurn(handle, save, reviveAlone)
    assert.deepStrictEqual([saved, rescued], [{ _tag: "Done" }, { _tag: "Done" }])
    for (const dead of [session.key, version.key]) assert.isUndefined(yield* load(port, dead))
    assert.isUndefined(yield* loadRemember(port, key))
    assert.deepStrictEqual(yield* load(port, back.key), current(handle, back, true))
    // The session's row, its index entry and its info, and nothing that the save left.
    assert.strictEqual(yield* rowsOf(handle), 3)
  }),

  "a rescue that renews behind a rescue": Effect.fnUntraced(function*(port) {
    const { handle, key, revive, reviveAlone } = yield* remembered(port)
    const [rescued, renewed] = yield* inTurn(handle, revive, reviveAlone)
    assert.deepStrictEqual(rescued, { _tag: "Done" })
    assert.deepStrictEqual(showOutcome(renewed), yield* loadRemember(port, key))
  }),

  "whatever comes behind a rescue that renews": Effect.fnUntraced(function*(port) {
    const { back, handle, key, reviveAlone, revive, save } = yield* remembered(port)
    const answers = yield* queue(handle, [reviveAlone, revive, save, reviveAlone])
    assert.deepStrictEqual(answers.map(showOutcome), ["Done", "Gone", "Gone", "Gone"])
    assert.isUndefined(yield* loadRemember(port, key))
    assert.deepStrictEqual(yield* load(port, back.key), current(handle, back, true))
    assert.strictEqual(yield* rowsOf(handle), 3)
  }),

  "a rescue that renews behind a touch that starts the grace of what it ends": Effect.fnUntraced(function*(port) {
    const { handle, reviveAlone, session } = yield* remembered(port)
    const answers = yield* queue(handle, [
      port.touch(session.key, { deadline: undefined, seen: grace }, start),
      reviveAlone
    ])
    assert.deepStrictEqual(answers, [{ _tag: "Done" }, { _tag: "Done" }])
    assert.strictEqual(yield* rowsOf(handle), 3)
  }),

  "a revoke behind a rescue that renews": Effect.fnUntraced(function*(port) {
    const { handle, nothingLeft, reviveAlone } = yield* remembered(port)
    const [rescued, ended] = yield* inTurn(handle, reviveAlone, port.revoke(handle))
    assert.deepStrictEqual(rescued, { _tag: "Done" })
    assert.isTrue(ended)
    yield* nothingLeft
  }),

  "a supersede that replaces the remember cookie behind a touch that starts its grace": Effect.fnUntraced(
    function*(port) {
      const { handle, key, leads, save, session } = yield* remembered(port)
      const answers = yield* queue(handle, [
        port.touch(session.key, { deadline: undefined, seen: grace }, start),
        save
      ])
      assert.deepStrictEqual(answers, [{ _tag: "Done" }, { _tag: "Done" }])
      // Superseded after the sight, and so not by it.
      assert.deepStrictEqual(yield* loadRemember(port, key), superseded(handle, leads))
    }
  ),

  "a revoke behind a write of info": Effect.fnUntraced(function*(port) {
    const { handle, nothingLeft } = yield* scene(port)
    const [saved, ended] = yield* inTurn(handle, saveInfo(port, handle, { a: "1" }), port.revoke(handle))
    assert.strictEqual(saved, "Saved")
    assert.isTrue(ended)
    yield* nothingLeft
  }),

  "a write of info behind a revoke": Effect.fnUntraced(function*(port) {
    const { handle, nothingLeft } = yield* scene(port)
    const [ended, saved] = yield* inTurn(handle, port.revoke(handle), saveInfo(port, handle, { a: "1" }))
    assert.isTrue(ended)
    assert.strictEqual(saved, "Gone")
    yield* nothingLeft
  }),

  "a revoke by subject behind a write of info": Effect.fnUntraced(function*(port) {
    const { entry, handle, nothingLeft } = yield* scene(port)
    const [saved, ended] = yield* inTurn(
      handle,
      saveInfo(port, handle, { a: "1" }),
      port.revokeAll(entry.audience, [entry.subject], undefined)
    )
    assert.strictEqual(saved, "Saved")
    assert.strictEqual(ended, 1)
    yield* nothingLeft
  }),

  "a write of info behind a rescue, which keeps the handle": Effect.fnUntraced(function*(port) {
    const { handle, revive } = yield* remembered(port)
    const [rescued, saved] = yield* inTurn(handle, revive, saveInfo(port, handle, { a: "1" }))
    assert.deepStrictEqual(rescued, { _tag: "Done" })
    assert.strictEqual(saved, "Saved")
    assert.deepStrictEqual(yield* loadInfo(port, handle), { kept: "info", a: "1" })
  }),

  "a revoke and a write of info that goes on": Effect.fnUntraced(function*(port) {
    const sql = yield* PgClient.PgClient
    const { handle, nothingLeft } = yield* scene(port)
    const ending = yield* whileInfoIsWritten(
      handle,
      Effect.tap(Effect.forkScoped(port.revoke(handle)), (fiber) => untilHeldUp(sql, [fiber]))
    )
    assert.isTrue(yield* Fiber.join(ending))
    yield* nothingLeft
  }),

  "a write of info and a revoke that goes on": Effect.fnUntraced(function*(port) {
    const sql = yield* PgClient.PgClient
    const { handle, nothingLeft } = yield* scene(port)
    const other = yield* connect({ maxConnections: 1 })
    const saving = yield* other.withTransaction(
      Effect.andThen(
        other.unsafe(texts.revoke, [handle]),
        Effect.tap(Effect.forkScoped(saveInfo(port, handle, { a: "1" })), (fiber) => untilHeldUp(sql, [fiber]))
      )
    )
    assert.strictEqual(yield* Fiber.join(saving), "Gone")
    yield* nothingLeft
  }),

  "20 revokes": Effect.fnUntraced(function*(port) {
    const { handle, nothingLeft } = yield* scene(port)
    const answers = yield* queue(handle, Array.from({ length: 20 }, () => port.revoke(handle)))
    assert.deepStrictEqual(answers, answers.map((_, position) => position === 0))
    yield* nothingLeft
  })
}
