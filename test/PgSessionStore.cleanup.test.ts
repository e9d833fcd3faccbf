import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Logger, Metric, References, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { names, statements } from "../src/internal/pgStatements.ts"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import { SessionError, StoreFailed } from "../src/SessionError.ts"
import { SessionPort } from "../src/SessionStore.ts"
import { connect, countingStream, Database, layerClient, layerDatabase } from "./utils/postgres.ts"
import {
  create,
  current,
  grace,
  lifetime,
  list,
  load,
  newEntry,
  newVersion,
  randomBytes,
  replace,
  start,
  superseded,
  touch
} from "./utils/storeSessions.ts"

/** By a clock of its own: the pool of connections would catch up with all that time. */
const at = (seconds: number) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provide(Effect.andThen(TestClock.setTime(seconds * 1000), effect), TestClock.layer())

/** A store with tables of its own, and what is in them. */
const scene = Effect.fnUntraced(function*(prefix: string) {
  const port = yield* Effect.provide(SessionPort, PgSessionStore.layerWith({ prefix }))
  const sql = yield* PgClient.PgClient
  const rows = Effect.map(
    sql<{ readonly sessions: number; readonly superseded: number; readonly subjects: number }>`SELECT
      (SELECT count(*)::int FROM ${sql(`${prefix}_sessions`)}) AS sessions,
      (SELECT count(*)::int FROM ${sql(`${prefix}_superseded`)}) AS superseded,
      (SELECT count(*)::int FROM ${sql(`${prefix}_subjects`)}) AS subjects`,
    ([row]) => row
  )
  return { port, rows, cleanup: (seconds: number) => at(seconds)(PgSessionStore.cleanup({ prefix })) }
})

layer(layerClient().pipe(Layer.provideMerge(layerDatabase)), { excludeTestServices: true })("cleanup", (it) => {
  it.effect("removes expired sessions with all that belongs to them, and nothing of the others", () =>
    Effect.gen(function*() {
      const { cleanup, port, rows } = yield* scene("expired")
      const entry = newEntry()
      const dead = yield* create(port, { index: [entry, newEntry()], deadline: start + 9 })
      yield* replace(port, dead.key, { index: [entry, newEntry()], deadline: start + 9 })
      const alive = yield* create(port, { index: [entry], deadline: start + 10 })
      const next = yield* replace(port, alive.key, { index: [entry], deadline: start + 10 })
      assert.deepStrictEqual(yield* rows, { sessions: 2, superseded: 2, subjects: 3 })
      assert.deepStrictEqual(yield* cleanup(start + 9), { sessions: 0, superseded: 0 })
      assert.deepStrictEqual(yield* cleanup(start + 10), { sessions: 1, superseded: 0 })
      assert.deepStrictEqual(yield* rows, { sessions: 1, superseded: 1, subjects: 1 })
      const now = start + 10
      assert.deepStrictEqual(yield* load(port, next.key, now), current(alive.handle, next, false))
      assert.deepStrictEqual(yield* load(port, alive.key, now), superseded(alive.handle, next.successor))
      assert.lengthOf(yield* list(port, entry, now), 1)
      assert.deepStrictEqual(yield* cleanup(start + 11), { sessions: 1, superseded: 0 })
      assert.deepStrictEqual(yield* rows, { sessions: 0, superseded: 0, subjects: 0 })
    }))

  it.effect("forgets superseded versions an hour after their grace, and none that waits for it", () =>
    Effect.gen(function*() {
      const { cleanup, port, rows } = yield* scene("grace")
      const { key } = yield* create(port, { deadline: start + 100_000 })
      const second = yield* replace(port, key, { deadline: start + 100_000 })
      yield* touch(port, second.key, grace)
      const third = yield* replace(port, second.key, { deadline: start + 100_000 })
      assert.deepStrictEqual(yield* cleanup(start + grace + 3600), { sessions: 0, superseded: 0 })
      assert.deepStrictEqual(yield* cleanup(start + grace + 3601), { sessions: 0, superseded: 1 })
      assert.deepStrictEqual(yield* rows, { sessions: 1, superseded: 1, subjects: 0 })
      assert.isUndefined(yield* load(port, key))
      assert.strictEqual((yield* load(port, second.key))?._tag, "Superseded")
      assert.strictEqual((yield* load(port, third.key))?._tag, "Current")
      assert.deepStrictEqual(yield* cleanup(start + 99_999), { sessions: 0, superseded: 0 })
    }))

  it.effect("counts what it removes", () =>
    Effect.gen(function*() {
      const { cleanup, port } = yield* scene("counted")
      const { key } = yield* create(port, { deadline: start + 100_000 })
      yield* touch(port, (yield* replace(port, key, { deadline: start + 100_000 })).key, 0)
      yield* create(port, { deadline: start })
      yield* create(port, { deadline: start })
      assert.deepStrictEqual(yield* cleanup(start + 9999), { sessions: 2, superseded: 1 })
      const counted = (yield* Metric.snapshot).filter(({ id }) => id === "effect_session_removed")
      assert.deepStrictEqual(counted.map(({ attributes, state }) => ({ attributes, state })), [
        { attributes: { table: "sessions" }, state: { count: 2, incremental: true } },
        { attributes: { table: "superseded" }, state: { count: 1, incremental: true } }
      ])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("works off a large table in many small steps", () =>
    Effect.gen(function*() {
      const { port, rows } = yield* scene("large")
      const sql = yield* PgClient.PgClient
      yield* sql`INSERT INTO large_sessions (handle, key, data, created_at, last_seen_at, deadline, seen)
        SELECT gen_random_uuid(), sha256(i::text::bytea), convert_to(repeat('x', 1900), 'UTF8'), 0, 0, ${start}::bigint, true
        FROM generate_series(1, 3000) AS i`
      const survivor = yield* create(port)
      const [size] = yield* sql<{ readonly blocks: number }>`SELECT (pg_relation_size('large_sessions')
        / current_setting('block_size')::int)::int AS blocks`
      const steps = Math.ceil((size?.blocks ?? 0) / 128)
      assert.isAbove(steps, 5)
      const { count, stream } = countingStream((yield* Database).url)
      const client = yield* connect({ stream, maxConnections: 1 })
      yield* client`SELECT 1`
      const before = count.messages
      assert.deepStrictEqual(
        yield* at(start + 1)(PgSessionStore.cleanup({ prefix: "large" })).pipe(
          Effect.provide(PgClient.layerFrom(Effect.succeed(client)))
        ),
        { sessions: 3000, superseded: 0 }
      )
      // And one for the other table.
      assert.strictEqual(count.messages - before, steps + 1)
      assert.deepStrictEqual(yield* rows, { sessions: 1, superseded: 0, subjects: 0 })
      assert.deepStrictEqual(yield* load(port, survivor.key), current(survivor.handle, survivor, true))
    }))

  it.effect("leaves rows that somebody has locked for the next time", () =>
    Effect.gen(function*() {
      const { cleanup, port, rows } = yield* scene("locked")
      const locked = yield* create(port, { deadline: start })
      yield* create(port, { deadline: start })
      const other = yield* connect({ maxConnections: 1 })
      yield* other.withTransaction(Effect.gen(function*() {
        yield* other`SELECT FROM locked_sessions WHERE handle = ${locked.handle}::uuid FOR UPDATE`
        assert.deepStrictEqual(yield* cleanup(start + 1), { sessions: 1, superseded: 0 })
      }))
      assert.deepStrictEqual(yield* rows, { sessions: 1, superseded: 0, subjects: 0 })
      assert.deepStrictEqual(yield* cleanup(start + 1), { sessions: 1, superseded: 0 })
    }))

  it.effect("leaves the work to whoever is at it, and keeps nobody else waiting", () =>
    Effect.gen(function*() {
      const { cleanup, port } = yield* scene("turns")
      yield* create(port, { deadline: start })
      const entry = newEntry()
      const alive = yield* create(port, { index: [entry] })
      const other = yield* connect({ maxConnections: 1 })
      const step = statements(names("turns")).sweep.sessions
      yield* other.withTransaction(Effect.gen(function*() {
        assert.deepStrictEqual(
          (yield* other.unsafe<{ readonly mine: boolean; readonly removed: number }>(step, [
            "(0,0)",
            "(128,0)",
            start + 1
          ])).map(({ mine, removed }) => ({ mine, removed })),
          [{ mine: true, removed: 1 }]
        )
        yield* create(port, { deadline: start })
        assert.deepStrictEqual(yield* cleanup(start + 1), { sessions: 0, superseded: 0 })
        yield* create(port, { index: [entry] })
        yield* touch(port, alive.key, grace, start + 1)
        yield* port.supersede(alive.key, newVersion({ index: [entry] }), randomBytes(126), start + 1)
        assert.strictEqual(yield* port.revokeAll(entry.audience, [entry.subject], undefined), 2)
        return yield* Effect.fail("rolled back")
      })).pipe(Effect.flip)
      assert.deepStrictEqual(yield* cleanup(start + 1), { sessions: 2, superseded: 0 })
    }))

  it.effect("at once by several, removes each row once", () =>
    Effect.gen(function*() {
      const { cleanup, rows } = yield* scene("several")
      const sql = yield* PgClient.PgClient
      yield* sql`INSERT INTO several_sessions (handle, key, data, created_at, last_seen_at, deadline, seen)
        SELECT gen_random_uuid(), sha256(i::text::bytea), '', 0, 0, ${start}::bigint, true
        FROM generate_series(1, 20000) AS i`
      const removed = yield* Effect.all(Array.from({ length: 5 }, () => cleanup(start + 1)), {
        concurrency: "unbounded"
      })
      const left = (yield* rows)?.sessions ?? 0
      assert.strictEqual(removed.reduce((sum, { sessions }) => sum + sessions, left), 20000)
      yield* cleanup(start + 1)
      assert.strictEqual((yield* rows)?.sessions, 0)
    }))

  it.effect("fails as the store does", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(PgSessionStore.cleanup({ prefix: "missing" }))
      assert.instanceOf(error, SessionError)
      assert.instanceOf(error.reason, StoreFailed)
      assert.strictEqual(error.reason.operation, "cleanup")
    }))

  it.effect("comes again and again as a layer, whatever happens", () =>
    Effect.gen(function*() {
      const logged: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => logged.push(`${logLevel} ${String(message)}`))
      const until = (condition: Effect.Effect<boolean, unknown>) =>
        TestClock.withLive(Effect.repeat(Effect.delay(condition, 5), { until: (met) => met }))
      yield* Layer.build(PgSessionStore.layerCleanup({ prefix: "again", schedule: Schedule.spaced("1 minute") })).pipe(
        Effect.provideService(References.MinimumLogLevel, "Debug"),
        Effect.provide(Logger.layer([logger]))
      )
      // There are no tables yet.
      yield* TestClock.adjust("1 minute")
      yield* until(Effect.sync(() => logged.some((line) => line.startsWith("Warn"))))
      const { port, rows } = yield* scene("again")
      for (let round = 1; round <= 2; round++) {
        yield* create(port, { deadline: start - 1 })
        yield* create(port, { deadline: start + lifetime })
        yield* TestClock.adjust("1 minute")
        yield* until(Effect.map(rows, (rows) => rows?.sessions === round))
        yield* until(Effect.sync(() => logged.filter((line) => line.startsWith("Debug Removed")).length === round))
      }
    }).pipe(at(start)))
})
