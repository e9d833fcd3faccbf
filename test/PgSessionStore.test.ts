import { PgClient } from "@effect/sql-pg/PgClient"
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Logger, Metric, Option, References, Schedule } from "effect"
import { Migrator } from "effect/sql"
import type { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { names, statements } from "../src/internal/pgStatements.ts"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import { InvalidConfig, SessionError, StoreFailed } from "../src/SessionError.ts"
import { SessionPort } from "../src/SessionStore.ts"
import type { Port } from "../src/SessionStore.ts"
import { brokenStores } from "./fixtures/brokenStores.ts"
import { connect, countingStream, Database, layerClient, layerDatabase } from "./utils/postgres.ts"
import {
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
} from "./utils/storeSessions.ts"
import { checks, storeSuite } from "./utils/storeSuite.ts"

storeSuite(
  "PgSessionStore.layer",
  PgSessionStore.layer.pipe(Layer.provide(layerClient()), Layer.provide(layerDatabase))
)

const grants = Layer.effectDiscard(
  Effect.flatMap(
    Database,
    ({ restrictedUrl }) =>
      PgClient.use((sql) =>
        sql.unsafe(
          "GRANT SELECT, INSERT, UPDATE, DELETE ON session_sessions, session_superseded, session_subjects"
            + ` TO ${restrictedUrl.username}`
        )
      )
  )
)

storeSuite(
  "PgSessionStore.layerStorage, for a role that may do nothing else, in another time zone, with pipelined connections",
  PgSessionStore.layerStorage({}).pipe(
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
)

// Where Postgres tells of a race by an error, the statement is tried again after a while: a real one.
layer(
  PgSessionStore.layer.pipe(
    Layer.provide(layerClient({
      prepare: false,
      maxConnections: 25,
      startupParameters: { default_transaction_isolation: "serializable" }
    })),
    Layer.provide(layerDatabase)
  ),
  { excludeTestServices: true }
)("PgSessionStore.layer, serializable by default and without prepared statements", (it) => {
  for (const { name, run } of checks) it.effect(name, () => SessionPort.use(run))
})

const layerPg = layerClient().pipe(Layer.provideMerge(layerDatabase))

/** A store with tables of its own. */
const storeWith = (prefix: string): Effect.Effect<Port, PgSessionStore.MigrationFailure, SqlClient.SqlClient> =>
  Effect.provide(SessionPort, PgSessionStore.layerWith({ prefix }))

const count = Effect.fnUntraced(function*(table: string) {
  const sql = yield* PgClient
  const [row] = yield* sql<{ readonly count: number }>`SELECT count(*)::int AS count FROM ${sql(table)}`
  return row?.count
})

const rows = (prefix: string) =>
  Effect.all({
    sessions: count(`${prefix}_sessions`),
    superseded: count(`${prefix}_superseded`),
    subjects: count(`${prefix}_subjects`)
  })

layer(layerPg)("PgSessionStore", (it) => {
  describe("finds, with the suite, a store in which", () => {
    for (const name of ["upsert", "noGrace", "lastWriterWins", "revokeForgetsNewVersion"] as const) {
      it.effect(name, () =>
        Effect.gen(function*() {
          const port = brokenStores[name](yield* storeWith("broken"))
          const exits = yield* Effect.forEach(checks, (check) => Effect.exit(check.run(port)))
          assert.isTrue(exits.some(Exit.isFailure))
        }))
    }
  })

  describe("migrations", () => {
    it.effect("run once, however many come at once", () =>
      Effect.gen(function*() {
        const migrate = Effect.scoped(Layer.build(PgSessionStore.layerMigrations({ prefix: "once" })))
        yield* Effect.all(Array.from({ length: 5 }, () => migrate), { concurrency: "unbounded" })
        const port = yield* Effect.provide(SessionPort, PgSessionStore.layerStorage({ prefix: "once" }))
        const session = yield* create(port)
        yield* migrate
        assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
        assert.strictEqual(yield* count("once_migrations"), 1)
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
        const sql = yield* connect({ startupParameters: { search_path: "elsewhere" } })
        yield* sql`CREATE SCHEMA elsewhere`
        const port = yield* storeWith("moved").pipe(Effect.provideService(PgClient, sql), Effect.provide(clientLayer(sql)))
        yield* create(port, { index: [newEntry()] })
        assert.deepStrictEqual(
          yield* sql`SELECT count(*)::int AS count FROM elsewhere.moved_sessions`,
          [{ count: 1 }]
        )
      }))

    it.effect("fail where the role may not create tables, and storage needs none of that", () =>
      Effect.gen(function*() {
        const sql = yield* connect({ restricted: true })
        const error = yield* Effect.flip(Effect.provide(storeWith("forbidden"), clientLayer(sql)))
        assert.strictEqual(error._tag, "SqlError")
        const port = yield* SessionPort.pipe(
          Effect.provide(PgSessionStore.layerStorage({ prefix: "forbidden" })),
          Effect.provide(clientLayer(sql))
        )
        // The tables that are missing are noticed by the first request.
        const { reason } = yield* Effect.flip(port.load(randomBytes(), start))
        assert.instanceOf(reason, StoreFailed)
        assert.strictEqual(reason.operation, "load")
      }))
  })
})
