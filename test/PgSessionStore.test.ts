import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Layer, References, Tracer } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import { InvalidConfig, SessionError, StoreFailed } from "../src/SessionError.ts"
import { SessionPort } from "../src/SessionStore.ts"
import type { Port, Remembered } from "../src/SessionStore.ts"
import {
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
  locate,
  newEntry,
  newRemembered,
  newRescue,
  newSession,
  newVersion,
  randomBytes,
  renew,
  replace,
  rescue,
  saveInfo,
  start,
  superseded,
  touch
} from "../src/testing/checks/sessions.ts"
import { checks, suite } from "../src/testing/SessionStoreTest.ts"
import { brokenStores } from "./fixtures/brokenStores.ts"
import { connect, countingStream, Database, layerClient, layerDatabase } from "./utils/postgres.ts"

suite({
  name: "PgSessionStore.layer",
  layer: PgSessionStore.layer.pipe(Layer.provide(layerClient()), Layer.provide(layerDatabase))
})

const grants = Layer.effectDiscard(
  Effect.flatMap(Database, ({ restrictedUrl }) =>
    PgClient.PgClient.use((sql) =>
      sql.unsafe(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON session_sessions, session_superseded, session_subjects, session_info"
          + ` TO ${restrictedUrl.username}`
      )
    ))
)

suite({
  name:
    "PgSessionStore.layerStorage, for a role that may do nothing else, in another time zone, with pipelined connections",
  layer: PgSessionStore.layerStorage({}).pipe(
    Layer.provide(layerClient({
      restricted: true,
      multiplex: true,
      maxConnections: 2,
      startupParameters: { TimeZone: "Asia/Kolkata" }
    })),
    Layer.provide(grants.pipe(
      Layer.provide(PgSessionStore.layerMigrations({})),
      Layer.provide(layerClient())
    )),
    Layer.provide(layerDatabase)
  )
})

// Postgres tells of races by an error then, and the statement is tried again after a while: a real one.
layer(
  PgSessionStore.layer.pipe(
    Layer.provide(layerClient({
      prepare: false,
      startupParameters: { default_transaction_isolation: "serializable" }
    })),
    Layer.provide(layerDatabase)
  ),
  { excludeTestServices: true }
)("PgSessionStore.layer, serializable by default and without prepared statements", (it) => {
  for (const { name, run } of checks.filter(({ name }) => / at once|meets? /.test(name))) {
    it.effect(name, () => SessionPort.use(run))
  }
})

/** A store with tables of its own. */
const storeWith = (prefix: string): Effect.Effect<Port, PgSessionStore.MigrationFailure, SqlClient.SqlClient> =>
  Effect.provide(SessionPort, PgSessionStore.layerWith({ prefix }))

/** The store of another client. */
const storeOf = (client: PgClient.PgClient, prefix: string): Effect.Effect<Port, SessionError> =>
  SessionPort.pipe(
    Effect.provide(PgSessionStore.layerStorage({ prefix })),
    Effect.provide(PgClient.layerFrom(Effect.succeed(client)))
  )

const layerPg = layerClient().pipe(Layer.provideMerge(layerDatabase))

layer(layerPg)("the suite finds, over Postgres, a store in which", (it) => {
  for (
    const name of [
      "upsert",
      "noGrace",
      "lastWriterWins",
      "revokeForgetsNewVersion",
      "rescueUpserts",
      "loadConfuses",
      "infoReplacesAll"
    ] as const
  ) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const port = brokenStores[name](yield* storeWith("broken"))
        const exit = yield* Effect.exit(Effect.forEach(checks, (check) => check.run(port), { discard: true }))
        assert.isTrue(Exit.isFailure(exit))
      }))
  }
})

layer(layerPg)("migrations", (it) => {
  const rowsIn = (table: string) =>
    PgClient.PgClient.use((sql) =>
      Effect.map(
        sql<{ readonly rows: number }>`SELECT count(*)::int AS rows FROM ${sql.literal(table)}`,
        ([row]) => row?.rows
      )
    )

  it.effect("run once, however many come at once", () =>
    Effect.gen(function*() {
      const migrate = Effect.scoped(Layer.build(PgSessionStore.layerMigrations({ prefix: "once" })))
      yield* Effect.all(Array.from({ length: 5 }, () => migrate), { concurrency: "unbounded" })
      const port = yield* Effect.provide(SessionPort, PgSessionStore.layerStorage({ prefix: "once" }))
      const session = yield* create(port)
      yield* migrate
      assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
      assert.strictEqual(yield* rowsIn("once_migrations"), 1)
    }))

  it.effect("run with an application's own migrator", () =>
    Effect.gen(function*() {
      const run = Migrator.make({})({ loader: PgSessionStore.migrations({ prefix: "own" }), table: "app_history" })
      assert.deepStrictEqual(yield* run, [[1, "create"]])
      assert.deepStrictEqual(yield* run, [])
      yield* create(yield* Effect.provide(SessionPort, PgSessionStore.layerStorage({ prefix: "own" })))
    }))

  it.effect("make the tables where the search_path says", () =>
    Effect.gen(function*() {
      const client = yield* connect({ startupParameters: { search_path: "elsewhere" } })
      yield* client`CREATE SCHEMA elsewhere`
      const port = yield* Effect.provide(storeWith("moved"), PgClient.layerFrom(Effect.succeed(client)))
      const { handle } = yield* create(port, { index: [newEntry()] })
      assert.strictEqual(yield* rowsIn("elsewhere.moved_sessions"), 1)
      assert.isTrue(yield* port.revoke(handle))
      assert.strictEqual(yield* rowsIn("elsewhere.moved_subjects"), 0)
    }))

  it.effect("need a role that may create tables; storage is built without any statement", () =>
    Effect.gen(function*() {
      const client = yield* connect({ restricted: true })
      const error = yield* Effect.flip(
        Effect.provide(storeWith("forbidden"), PgClient.layerFrom(Effect.succeed(client)))
      )
      assert.strictEqual(error._tag, "SqlError")
      const port = yield* storeOf(client, "forbidden")
      const { reason } = yield* Effect.flip(port.load(randomBytes(), start))
      assert.instanceOf(reason, StoreFailed)
      assert.strictEqual(reason.operation, "load")
    }))

  it.effect("keep stores of different prefixes apart", () =>
    Effect.gen(function*() {
      const one = yield* storeWith("one")
      const other = yield* storeWith("o".repeat(40))
      const session = yield* create(one, { index: [newEntry()] })
      yield* create(other, session)
      assert.isTrue(yield* one.revoke(session.handle))
      assert.deepStrictEqual(yield* load(other, session.key), current(session.handle, session, true))
    }))

  for (const prefix of ["", "1st", "Session", "my-app", "a.b", "a\"; DROP TABLE x", "sé", "o".repeat(41)]) {
    it.effect(`refuse the prefix "${prefix}", as does everything that takes one`, () =>
      Effect.gen(function*() {
        const errors = yield* Effect.all([
          Effect.flip(Effect.scoped(Layer.build(PgSessionStore.layerMigrations({ prefix })))),
          Effect.flip(Effect.scoped(Layer.build(PgSessionStore.layerStorage({ prefix })))),
          Effect.flip(Effect.scoped(Layer.build(PgSessionStore.layerWith({ prefix })))),
          Effect.flip(Effect.scoped(Layer.build(PgSessionStore.layerCleanup({ prefix })))),
          Effect.flip(Effect.scoped(Layer.build(PgSessionStore.layerLifetime({ prefix })))),
          Effect.flip(PgSessionStore.cleanup({ prefix }))
        ])
        for (const error of errors) {
          assert.instanceOf(error, SessionError)
          assert.instanceOf(error.reason, InvalidConfig)
          assert.include(error.message, `prefix: "${prefix}" `)
        }
        const { message } = yield* Effect.flip(PgSessionStore.migrations({ prefix }))
        assert.include(message, `prefix: "${prefix}" `)
      }))
  }
})

layer(layerPg)("another client for loads", (it) => {
  it.effect("loads, and does nothing else", () =>
    Effect.gen(function*() {
      yield* storeWith("reads")
      const client = yield* PgClient.PgClient
      const { count, stream } = countingStream((yield* Database).url)
      const reads = yield* connect({ stream, maxConnections: 1 })
      const port = yield* Effect.provide(
        SessionPort,
        PgSessionStore.layerStorage({ prefix: "reads", reads }).pipe(
          Layer.provide(Layer.succeed(SqlClient.SqlClient, client))
        )
      )
      yield* reads`SELECT 1`
      const session = newSession()
      const before = count.messages
      yield* port.create(session, start)
      yield* port.touch(session.key, { deadline: undefined, seen: undefined }, start)
      assert.strictEqual(count.messages, before)
      assert.strictEqual((yield* port.load(session.key, start))?._tag, "Current")
      assert.strictEqual(count.messages, before + 1)
    }))
})

layer(layerPg)("what an operation costs", (it) => {
  it.effect("is one round trip, where nobody else is quicker", () =>
    Effect.gen(function*() {
      yield* storeWith("cost")
      const { count, stream } = countingStream((yield* Database).url)
      const client = yield* connect({ stream, maxConnections: 1 })
      const port = yield* storeOf(client, "cost")
      yield* client`SELECT 1`
      const entry = newEntry()
      const session = newSession({ index: [entry] })
      const second = newVersion({ index: [entry, newEntry()] })
      const third = newVersion({ index: [entry] })
      const other = newSession({ remember: newRemembered() })
      const rescued = newRescue({ index: [entry] })
      const renewed = newRescue({ index: [entry] })
      const remembered = (over: Partial<Remembered>) => newVersion({ remember: newRemembered(over) })
      const rememberKey = other.remember?.key ?? randomBytes()
      const messages = (operation: Effect.Effect<unknown, SessionError>) =>
        Effect.suspend(() => {
          const before = count.messages
          return Effect.map(operation, () => count.messages - before)
        })
      const costs = {
        create: yield* messages(port.create(session, start)),
        collision: yield* messages(port.create(session, start)),
        load: yield* messages(port.load(session.key, start)),
        nothing: yield* messages(port.load(randomBytes(), start)),
        supersede: yield* messages(port.supersede(session.key, second, randomBytes(126), start)),
        superseded: yield* messages(port.load(session.key, start)),
        seen: yield* messages(port.touch(second.key, { deadline: undefined, seen: grace }, start)),
        touch: yield* messages(port.touch(second.key, { deadline: start + 9, seen: undefined }, start)),
        list: yield* messages(port.list(entry.audience, [entry.subject], start)),
        // What stands instead takes another statement to see.
        late: yield* messages(port.supersede(session.key, newVersion(), randomBytes(126), start)),
        gone: yield* messages(port.touch(randomBytes(), { deadline: undefined, seen: undefined }, start)),
        remembered: yield* messages(port.create(other, start)),
        loadRemember: yield* messages(port.loadRemember(rememberKey, start)),
        rescue: yield* messages(port.rescue(rememberKey, rescued, randomBytes(126), start)),
        rescued: yield* messages(port.rescue(rememberKey, newRescue(), randomBytes(126), start)),
        "rescue that renews": yield* messages(port.rescue(rescued.remember.key, renewed, undefined, start)),
        "supersede of both": yield* messages(
          port.supersede(
            renewed.key,
            remembered({ replaces: { key: renewed.remember.key, successor: randomBytes(126) } }),
            randomBytes(126),
            start
          )
        ),
        saveInfo: yield* messages(saveInfo(port, session.handle, { a: "1", b: "2" }, ["c"])),
        loadInfo: yield* messages(loadInfo(port, session.handle)),
        "info of nobody": yield* messages(saveInfo(port, crypto.randomUUID(), { a: "1" })),
        renewal: yield* messages(port.supersede(second.key, third, undefined, start)),
        revoke: yield* messages(port.revoke(session.handle)),
        "no handle": yield* messages(port.revoke("alice")),
        revokeAll: yield* messages(port.revokeAll(entry.audience, [entry.subject], undefined))
      }
      assert.deepStrictEqual(costs, {
        create: 1,
        collision: 1,
        load: 1,
        nothing: 1,
        supersede: 1,
        superseded: 1,
        seen: 1,
        touch: 1,
        list: 1,
        late: 2,
        gone: 2,
        remembered: 1,
        loadRemember: 1,
        rescue: 1,
        rescued: 2,
        "rescue that renews": 1,
        "supersede of both": 1,
        saveInfo: 1,
        loadInfo: 1,
        "info of nobody": 1,
        renewal: 1,
        revoke: 1,
        "no handle": 0,
        revokeAll: 1
      })
      assert.strictEqual(count.connections, 1)
    }))

  const touches = 1000

  /** Of so many touches, how many wrote to no index. */
  const touchMany = Effect.fnUntraced(function*(prefix: string) {
    // A connection tells of what it did when it ends, if not before.
    yield* Effect.scoped(Effect.gen(function*() {
      const port = yield* storeOf(yield* connect({ maxConnections: 1 }), prefix)
      const sessions = yield* Effect.forEach(
        Array.from({ length: 50 }),
        (_, position) => position % 2 ? create(port) : createRemembered(port)
      )
      for (let round = 1; round <= touches / sessions.length; round++) {
        for (const { key } of sessions) {
          const seen = round % 2 ? grace : undefined
          yield* port.touch(key, { deadline: start + lifetime + round, seen }, start + round)
        }
      }
    }))
    const sql = yield* PgClient.PgClient
    const read = sql<{ readonly updated: number; readonly hot: number }>`
      SELECT n_tup_upd::int AS updated, n_tup_hot_upd::int AS hot
      FROM pg_stat_user_tables WHERE relname = ${`${prefix}_sessions`}`
    let [row] = yield* read
    while (row?.updated !== touches) [row] = yield* read
    return row.hot
  })

  it.effect("is no index entry for a touch: it is a heap-only update", () =>
    Effect.gen(function*() {
      yield* storeWith("hot")
      assert.strictEqual(yield* touchMany("hot"), touches)
    }))

  it.effect("would be, with an index on what a touch changes", () =>
    Effect.gen(function*() {
      yield* storeWith("cold")
      yield* PgClient.PgClient.use((sql) => sql`CREATE INDEX cold_deadline ON cold_sessions (deadline)`)
      assert.strictEqual(yield* touchMany("cold"), 0)
    }))
})

layer(layerPg)("rows", (it) => {
  it.effect("are the same, whatever the time zone of a connection", () =>
    Effect.gen(function*() {
      const here = yield* storeWith("zones")
      const client = yield* connect({ startupParameters: { TimeZone: "Asia/Kolkata" } })
      assert.deepStrictEqual(yield* client`SHOW TimeZone`, [{ TimeZone: "Asia/Kolkata" }])
      const there = yield* storeOf(client, "zones")
      const entry = newEntry()
      const { handle, key } = yield* create(there, { index: [entry], deadline: start + 100 })
      const next = yield* replace(here, key, { index: [entry], deadline: start + 100 }, start + 1)
      yield* touch(there, next.key, grace, start + 2)
      for (const port of [here, there]) {
        const [listed] = yield* list(port, entry, start + 100)
        assert.deepStrictEqual(listed, { handle, createdAt: start, lastSeenAt: start + 2, deadline: start + 100 })
        assert.deepStrictEqual(
          yield* load(port, key, start + 100),
          superseded(handle, next.successor, start + 2 + grace)
        )
        assert.isUndefined(yield* load(port, next.key, start + 101))
      }
    }))

  it.effect("hold any time in whole seconds, beyond 2038 too", () =>
    Effect.gen(function*() {
      const port = yield* storeWith("late")
      const entry = newEntry()
      const late = 2 ** 40
      const { handle, key } = yield* create(port, { index: [entry], deadline: late + 9 }, late)
      const next = yield* replace(port, key, { index: [entry], deadline: late + 9 }, late)
      yield* touch(port, next.key, grace, late + 1)
      assert.deepStrictEqual(yield* load(port, key, late + 9), superseded(handle, next.successor, late + 1 + grace))
      assert.deepStrictEqual(yield* list(port, entry, late + 9), [
        { handle, createdAt: late, lastSeenAt: late + 1, deadline: late + 9 }
      ])
    }))

  it.effect("never have one key twice", () =>
    Effect.gen(function*() {
      const port = yield* storeWith("keys")
      const session = yield* create(port)
      for (const successor of [randomBytes(126), undefined]) {
        const { reason } = yield* Effect.flip(port.supersede(session.key, session, successor, start)).pipe(
          Effect.catch(({ _tag }) => Effect.sync(() => assert.fail(`answered ${_tag}`)))
        )
        assert.instanceOf(reason, StoreFailed)
      }
      assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
    }))

  it.effect("never get the remember cookie's key that they have", () =>
    Effect.gen(function*() {
      const port = yield* storeWith("remembered")
      const session = yield* createRemembered(port)
      const { handle, remember } = session
      const again = newRescue({ remember })
      for (
        const write of [
          port.supersede(session.key, again, randomBytes(126), start),
          port.supersede(session.key, again, undefined, start),
          port.rescue(remember.key, again, randomBytes(126), start),
          port.rescue(remember.key, newRescue({ key: session.key }), randomBytes(126), start)
        ]
      ) {
        const { reason } = yield* Effect.flip(write).pipe(
          Effect.catch(({ _tag }) => Effect.sync(() => assert.fail(`answered ${_tag}`)))
        )
        assert.instanceOf(reason, StoreFailed)
      }
      assert.deepStrictEqual(yield* load(port, session.key), current(handle, session, true))
      assert.deepStrictEqual(yield* loadRemember(port, remember.key), current(handle, remember, true))
    }))

  it.effect("take info under one name twice, and keep the last; what is set is not removed", () =>
    Effect.gen(function*() {
      const port = yield* storeWith("twice")
      const { handle } = yield* create(port)
      const set = ["1", "2"].map((value) => ({ name: "a", value: Buffer.from(value) }))
      assert.strictEqual(yield* port.saveInfo(locate(handle), { set, remove: [] }, start), "Saved")
      assert.deepStrictEqual(yield* loadInfo(port, handle), { a: "2" })
      assert.strictEqual(yield* saveInfo(port, handle, { a: "3" }, ["a"]), "Saved")
      assert.deepStrictEqual(yield* loadInfo(port, handle), { a: "3" })
    }))

  it.effect("go with their session, whoever deletes it", () =>
    Effect.gen(function*() {
      const port = yield* storeWith("whole")
      const { handle, key, remember } = yield* createRemembered(port, { index: [newEntry(), newEntry()] })
      const next = yield* replace(port, key, { index: [newEntry()] })
      yield* replace(port, next.key, { index: [newEntry()] })
      yield* rescue(port, remember.key, { index: [newEntry()] })
      yield* saveInfo(port, handle, { a: "1", b: "2" })
      const sql = yield* PgClient.PgClient
      const left = sql`SELECT
        (SELECT count(*)::int FROM whole_superseded) AS superseded,
        (SELECT count(*)::int FROM whole_subjects) AS subjects,
        (SELECT count(*)::int FROM whole_info) AS info`
      assert.deepStrictEqual(yield* left, [{ superseded: 3, subjects: 1, info: 2 }])
      yield* sql`DELETE FROM whole_sessions WHERE handle = ${handle}::uuid`
      assert.deepStrictEqual(yield* left, [{ superseded: 0, subjects: 0, info: 0 }])
    }))

  it.effect("of a listing are the newest thousand", () =>
    Effect.gen(function*() {
      const port = yield* storeWith("many")
      const entry = newEntry()
      const sessions = yield* Effect.forEach(
        Array.from({ length: 1003 }, (_, age) => start - age),
        (createdAt) => create(port, { index: [entry], createdAt }),
        { concurrency: 10 }
      )
      assert.deepStrictEqual(
        handles(yield* list(port, entry)),
        sessions.slice(0, 1000).map(({ handle }) => handle)
      )
      assert.strictEqual(yield* port.revokeAll(entry.audience, [entry.subject], undefined), 1003)
    }))

  it.effect("are found by a handle in any case, and by nothing that is none", () =>
    Effect.gen(function*() {
      const port = yield* storeWith("named")
      const entry = newEntry()
      for (
        const handle of ["", "alice", "'; --", "00000000000000000000000000000000", "{}", `${crypto.randomUUID()}0`]
      ) {
        const session = yield* create(port, { index: [entry] })
        assert.isFalse(yield* port.revoke(handle))
        assert.deepStrictEqual(yield* loadInfo(port, handle), {})
        assert.strictEqual(yield* saveInfo(port, handle, { a: "1" }), "Gone")
        assert.strictEqual(yield* port.revokeAll(entry.audience, [entry.subject], handle), 1)
        assert.isUndefined(yield* load(port, session.key))
      }
      const { handle } = yield* create(port)
      assert.strictEqual(yield* saveInfo(port, handle.toUpperCase(), { a: "1" }), "Saved")
      assert.deepStrictEqual(yield* loadInfo(port, handle.toUpperCase()), { a: "1" })
      assert.isTrue(yield* port.revoke(handle.toUpperCase()))
    }))

  it.effect("have spans where a tracer is set and enabled", () =>
    Effect.gen(function*() {
      const port = yield* storeWith("traced")
      const { key } = yield* create(port)
      const spans: Array<Tracer.NativeSpan> = []
      const tracer = Tracer.make({
        span: (options) => {
          const span = new Tracer.NativeSpan(options)
          spans.push(span)
          return span
        }
      })
      yield* Effect.provideService(port.load(key, start), Tracer.Tracer, tracer)
      assert.lengthOf(spans, 1)
      assert.match(String(spans[0]?.attributes.get("db.query.text")), /FROM traced_sessions/)
      yield* Effect.provideService(
        Effect.provideService(port.load(key, start), Tracer.Tracer, tracer),
        References.TracerEnabled,
        false
      )
      assert.lengthOf(spans, 1)
    }))

  it.effect("are the store's to commit, not a transaction's of the caller", () =>
    Effect.gen(function*() {
      const port = yield* storeWith("inner")
      const sql = yield* PgClient.PgClient
      const session = newSession()
      const old = yield* create(port)
      const exit = yield* Effect.exit(sql.withTransaction(Effect.gen(function*() {
        yield* sql`CREATE TABLE inner_of_the_caller ()`
        yield* create(port, session)
        yield* renew(port, old.key)
        return yield* Effect.fail("rolled back")
      })))
      assert.deepStrictEqual(exit, Exit.fail("rolled back"))
      assert.deepStrictEqual(yield* sql`SELECT to_regclass('inner_of_the_caller') AS made`, [{ made: null }])
      assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
      assert.isUndefined(yield* load(port, old.key))
    }))
})
