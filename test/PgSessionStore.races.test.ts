/**
 * Operations that meet on one row: each has begun, and reads other tables as they
 * were then, before any of them can go on.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import type { Scope } from "effect"
import type { SqlError } from "effect/sql"
import * as PgPort from "../src/internal/pgPort.ts"
import { names, statements } from "../src/internal/pgStatements.ts"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import { StoreFailed } from "../src/SessionError.ts"
import type { SessionError } from "../src/SessionError.ts"
import { SessionPort } from "../src/SessionStore.ts"
import type { Port } from "../src/SessionStore.ts"
import { connect, layerClient, layerDatabase, untilWaiting } from "./utils/postgres.ts"
import type { Database } from "./utils/postgres.ts"
import {
  create,
  current,
  grace,
  lifetime,
  list,
  load,
  newEntry,
  newSession,
  newVersion,
  randomBytes,
  replace,
  showOutcome,
  start,
  superseded
} from "./utils/storeSessions.ts"

const tables = names("session")
const texts = statements(tables)

/** Runs operations that all wait for a session's row, and get it in this order. */
const queue = Effect.fnUntraced(function*<A>(
  handle: string,
  operations: ReadonlyArray<Effect.Effect<A, SessionError>>
) {
  const sql = yield* PgClient.PgClient
  const holder = yield* connect({ maxConnections: 1 })
  const fibers = yield* holder.withTransaction(Effect.gen(function*() {
    yield* holder.unsafe(`SELECT FROM ${tables.sessions} WHERE handle = $1::uuid FOR UPDATE`, [handle])
    return yield* Effect.forEach(
      operations,
      (operation, position) => Effect.tap(Effect.forkChild(operation), () => untilWaiting(sql, position + 1))
    )
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

const rowsOf = (handle: string) =>
  PgClient.PgClient.use((sql) =>
    Effect.map(
      sql<{ readonly rows: number }>`SELECT (
        (SELECT count(*) FROM session_sessions WHERE handle = ${handle}::uuid)
        + (SELECT count(*) FROM session_superseded WHERE handle = ${handle}::uuid)
        + (SELECT count(*) FROM session_subjects WHERE handle = ${handle}::uuid)
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

const races: Record<string, Race> = {
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

  "20 revokes": Effect.fnUntraced(function*(port) {
    const { handle, nothingLeft } = yield* scene(port)
    const answers = yield* queue(handle, Array.from({ length: 20 }, () => port.revoke(handle)))
    assert.deepStrictEqual(answers, answers.map((_, position) => position === 0))
    yield* nothingLeft
  })
}

const layerStore = PgSessionStore.layer.pipe(
  Layer.provideMerge(layerClient({ maxConnections: 30 })),
  Layer.provideMerge(layerDatabase)
)

layer(layerStore, { excludeTestServices: true })("on one row of Postgres meet", (it) => {
  for (const [name, race] of Object.entries(races)) {
    it.effect(name, () => Effect.flatMap(SessionPort, race))
  }

  it.effect("creates with one key or one handle: the second one's answer is the first one's fate", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const port = yield* SessionPort
      const other = yield* connect({ maxConnections: 1 })
      for (const commits of [true, false]) {
        for (const take of [({ key }: Session) => ({ key }), ({ handle }: Session) => ({ handle })]) {
          const first = newSession()
          const second = newSession(take(first))
          const values = [first.handle, first.key, first.data, first.deadline, start, start, [], [], null, null, null]
          const begun = yield* Effect.acquireUseRelease(
            Effect.as(other`BEGIN`, commits ? other`COMMIT` : other`ROLLBACK`),
            Effect.fnUntraced(function*() {
              yield* other.unsafe(texts.create, values)
              const answer = yield* Effect.forkChild(port.create(second, start))
              yield* untilWaiting(sql, 1)
              return answer
            }),
            Effect.orDie
          )
          assert.strictEqual(yield* Fiber.join(begun), commits ? "Collision" : "Created")
          const winner = commits ? first : second
          assert.deepStrictEqual(yield* load(port, winner.key), current(winner.handle, winner, true))
        }
      }
    }))

  it.effect("revokes by subject, in whatever order their sessions came, and lock nobody out", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      for (let round = 0; round < 20; round++) {
        const [one, other] = [newEntry(), newEntry()]
        const sessions = yield* Effect.forEach(
          Array.from({ length: 20 }),
          (_, position) => create(port, { index: position % 2 ? [one, other] : [other, one] }),
          { concurrency: "unbounded" }
        )
        const counts = yield* Effect.all([
          port.revokeAll(one.audience, [one.subject], undefined),
          port.revokeAll(other.audience, [other.subject], undefined),
          Effect.as(
            Effect.forEach(sessions, ({ key }) => port.supersede(key, newVersion(), randomBytes(126), start), {
              concurrency: 10
            }),
            0
          ),
          Effect.map(
            Effect.forEach(sessions.toReversed(), ({ handle }) => port.revoke(handle), { concurrency: 5 }),
            (ended) => ended.filter((was) => was).length
          )
        ], { concurrency: "unbounded" })
        assert.strictEqual(counts.reduce((sum, count) => sum + count), sessions.length)
        for (const { handle } of sessions) assert.strictEqual(yield* rowsOf(handle), 0)
      }
    }))

  it.effect("a supersede and what a clock behind its own revives", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const port = yield* SessionPort
      const { handle, key } = yield* create(port, { deadline: start })
      const version = newVersion()
      // Between the two statements of an operation whose clock is ahead.
      const revived = PgPort.make(
        sql,
        before(sql, texts.load, port.touch(key, { deadline: start + lifetime, seen: undefined }, start)),
        tables
      )
      assert.deepStrictEqual(yield* revived.supersede(key, version, randomBytes(126), start + 1), { _tag: "Done" })
      assert.deepStrictEqual(yield* load(port, version.key), current(handle, version, false))
    }))

  it.effect("a supersede and a row that can be read and never written, which is a failure", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const port = yield* SessionPort
      const { handle, key } = yield* create(port)
      yield* Effect.acquireRelease(
        sql.unsafe(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`).pipe(
          Effect.andThen(
            sql.unsafe(
              `CREATE TRIGGER refuse BEFORE UPDATE ON ${tables.sessions} FOR EACH ROW
              WHEN (OLD.handle = '${handle}') EXECUTE FUNCTION refuse()`
            )
          )
        ),
        () => Effect.orDie(sql.unsafe("DROP FUNCTION refuse() CASCADE"))
      )
      const { reason } = yield* Effect.flip(port.supersede(key, newVersion(), randomBytes(126), start)).pipe(
        Effect.catch(({ _tag }) => Effect.sync(() => assert.fail(`answered ${_tag}`)))
      )
      assert.instanceOf(reason, StoreFailed)
      assert.strictEqual(reason.operation, "supersede")
    }))
})

type Session = Parameters<Port["create"]>[0]

/** The client, where something else happens before each statement with this text. */
const before = <E>(
  client: PgClient.PgClient,
  text: string,
  happens: Effect.Effect<unknown, E>
): PgClient.PgClient => {
  const changed: PgClient.PgClient = Object.assign(Object.create(client), {
    withoutTransforms: () => changed,
    unsafe: (statement: string, params?: ReadonlyArray<unknown>) =>
      statement === text ? Effect.andThen(happens, client.unsafe(statement, params)) : client.unsafe(statement, params)
  })
  return changed
}

/** Stores of which one after the other operation looks right; what is wrong shows where they meet. */
const mutants: Record<string, {
  readonly foundBy: ReadonlyArray<keyof typeof races>
  readonly make: (sql: PgClient.PgClient, port: Port) => Effect.Effect<Port, SqlError.SqlError>
}> = {
  "what a racer wrote is read in the statement that waited for it": {
    foundBy: ["20 supersedes", "a renewal behind a supersede"],
    make: (sql, port) =>
      Effect.succeed({
        ...port,
        supersede: Effect.fnUntraced(function*(old, version, successor, now) {
          const text = (successor === undefined ? texts.renew : texts.replace).replace(
            /SELECT 1 FROM done$/,
            `SELECT handle, NULL::bytea AS successor, NULL::float8 AS grace_ends FROM done
            UNION ALL SELECT handle, successor, grace_ends::float8 FROM ${tables.superseded} WHERE key = $1::bytea`
          )
          const [row] = yield* Effect.orDie(sql.unsafe<
            { readonly handle: string; readonly successor: Uint8Array | null; readonly grace_ends: number | null }
          >(text, [
            old,
            version.key,
            version.data,
            version.deadline,
            now,
            version.index.map(({ audience }) => audience),
            version.index.map(({ subject }) => subject),
            null,
            null,
            null,
            null,
            null,
            ...(successor === undefined ? [] : [successor])
          ]))
          if (row === undefined) return { _tag: "Gone" }
          return row.successor === null
            ? { _tag: "Done" }
            : {
              _tag: "Superseded",
              handle: row.handle,
              successor: row.successor,
              graceEnds: row.grace_ends ?? undefined
            }
        })
      })
  },
  "a statement that ends a session removes what it sees of it": {
    foundBy: [
      "a revoke behind a supersede",
      "a revoke by subject behind a supersede that gives the session to another"
    ],
    make: (sql, port) => {
      const forgetting = (text: string) =>
        text.replace(
          "SELECT pg_notify",
          `, chain AS (DELETE FROM ${tables.superseded} WHERE handle IN (SELECT handle FROM ended))
          , listed AS (DELETE FROM ${tables.subjects} WHERE handle IN (SELECT handle FROM ended))
          SELECT pg_notify`
        )
      return Effect.as(sql.unsafe(`DROP TRIGGER ${tables.forget} ON ${tables.sessions}`), {
        ...port,
        revoke: (handle) =>
          Effect.map(Effect.orDie(sql.unsafe(forgetting(texts.revoke), [handle])), (rows) => rows.length > 0),
        revokeAll: (audience, subjects, except) =>
          Effect.map(
            Effect.orDie(sql.unsafe(forgetting(texts.revokeAll), [audience, subjects, except ?? null])),
            (rows) => rows.length
          )
      })
    }
  }
}

describe("the races find a store in which", () => {
  for (const [name, { foundBy, make }] of Object.entries(mutants)) {
    layer(layerStore, { excludeTestServices: true })((it) => {
      it.effect(name, () =>
        Effect.gen(function*() {
          const port = yield* make(yield* PgClient.PgClient, yield* SessionPort)
          for (const [name, race] of Object.entries(races)) {
            const found = yield* Effect.match(Effect.sandbox(race(port)), {
              onFailure: () => true,
              onSuccess: () => false
            })
            assert.strictEqual(found, foundBy.includes(name), name)
          }
        }))
    })
  }
})
