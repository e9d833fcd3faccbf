/** Operations that meet on one row of Postgres, and stores in which that goes wrong. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import type { SqlError } from "effect/sql"
import * as PgPort from "../src/internal/pgPort.ts"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import { StoreFailed } from "../src/SessionError.ts"
import { SessionPort } from "../src/SessionStore.ts"
import type { Port } from "../src/SessionStore.ts"
import {
  create,
  createRemembered,
  current,
  grace,
  lifetime,
  load,
  loadInfo,
  loadRemember,
  newEntry,
  newRemembered,
  newRescue,
  newSession,
  newVersion,
  randomBytes,
  replace,
  rescue,
  saveInfo,
  start
} from "../src/testing/checks/sessions.ts"
import { connect, layerClient, layerDatabase, untilWaiting } from "./utils/postgres.ts"

import { races, rowsOf, tables, texts, whileInfoIsWritten } from "./utils/pgRaces.ts"

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

  it.effect("a write of info and all that replaces versions: nobody waits", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const { handle, key, remember } = yield* createRemembered(port)
      const saved = yield* whileInfoIsWritten(
        handle,
        Effect.gen(function*() {
          const next = yield* replace(port, key)
          yield* port.touch(next.key, { deadline: start + lifetime, seen: grace }, start)
          assert.strictEqual(yield* saveInfo(port, handle, { b: "2" }), "Saved")
          const back = yield* rescue(port, remember.key)
          assert.strictEqual((yield* load(port, back.key))?._tag, "Current")
          return back
        })
      )
      assert.deepStrictEqual(yield* load(port, saved.key), current(handle, saved, false))
      assert.deepStrictEqual(yield* loadInfo(port, handle), { a: "1", b: "2" })
      assert.isTrue(yield* port.revoke(handle))
      assert.strictEqual(yield* rowsOf(handle), 0)
    }))

  it.effect("a save that goes on and a write of info: it does not wait, and a revoke finds it still", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const { handle, key } = yield* create(port)
      const other = yield* connect({ maxConnections: 1 })
      const version = newVersion()
      const nothing = [null, null, null, null, null]
      yield* other.withTransaction(Effect.gen(function*() {
        const values = [
          key,
          version.key,
          version.data,
          version.deadline,
          start,
          [],
          [],
          ...nothing,
          randomBytes(126),
          null
        ]
        yield* other.unsafe(texts.replace, values)
        assert.strictEqual(yield* saveInfo(port, handle, { a: "1" }), "Saved")
      }))
      assert.deepStrictEqual(yield* load(port, version.key), current(handle, version, false))
      assert.isTrue(yield* port.revoke(handle))
      assert.strictEqual(yield* rowsOf(handle), 0)
    }))

  it.effect("everything that there is, and none waits for one that waits for it", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const port = yield* SessionPort
      const deadlocks = Effect.map(
        sql<{ readonly count: number }>`SELECT deadlocks::int AS count FROM pg_stat_database
          WHERE datname = current_database()`,
        ([row]) => row?.count
      )
      const before = yield* deadlocks
      for (let round = 0; round < 30; round++) {
        const { handle, key, remember } = yield* createRemembered(port)
        const replaces = { key: remember.key, successor: randomBytes(126) }
        const version = () => newVersion({ remember: newRemembered({ replaces }) })
        const contenders = Array.from({ length: 4 }, (_, number) => [
          port.supersede(key, version(), randomBytes(126), start),
          port.rescue(remember.key, newRescue(), randomBytes(126), start),
          port.touch(key, { deadline: undefined, seen: grace }, start),
          saveInfo(port, handle, number % 2 ? { a: "1", b: "2", c: "3" } : { c: "4", b: "5", a: "6" }),
          ...(number === 3 && round % 2 ? [port.revoke(handle)] : [])
        ])
        yield* Effect.all(contenders.flat(), { concurrency: "unbounded" })
        if (round % 2) assert.strictEqual(yield* rowsOf(handle), 0)
        else {
          const row = yield* loadRemember(port, remember.key)
          assert.strictEqual(row?._tag, "Superseded")
          assert.lengthOf(Object.keys(yield* loadInfo(port, handle)), 3)
        }
      }
      assert.strictEqual(yield* deadlocks, before)
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
            version.remember?.key ?? null,
            version.remember?.data ?? null,
            version.remember?.deadline ?? null,
            version.remember?.replaces?.key ?? null,
            version.remember?.replaces?.successor ?? null,
            ...(successor === undefined ? [] : [successor, version.seen ?? null])
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
  "info is written without a hold on the session": {
    foundBy: ["a write of info behind a revoke", "a write of info and a revoke that goes on"],
    make: (sql, port) =>
      Effect.succeed({
        ...port,
        saveInfo: ({ handle }, { remove, set }, now) =>
          Effect.map(
            Effect.orDie(sql.unsafe(texts.saveInfo.replace("FOR KEY SHARE", ""), [
              handle,
              now,
              set.map(({ name }) => name),
              set.map(({ value }) => value),
              remove
            ])),
            (rows) => rows.length > 0 ? "Saved" : "Gone"
          )
      })
  },
  "a rescue that renews removes what it sees of the session that a save has changed": {
    foundBy: ["a rescue that renews behind a supersede that leaves the remember cookie"],
    make: (sql, port) =>
      Effect.succeed({
        ...port,
        rescue: Effect.fnUntraced(function*(old, version, successor, now) {
          if (successor !== undefined) return yield* port.rescue(old, version, successor, now)
          const rows = yield* Effect.orDie(sql.unsafe(texts.rescueAndRenew.replace(/AND key = \(.*\)/, ""), [
            old,
            version.key,
            version.data,
            version.deadline,
            now,
            version.index.map(({ audience }) => audience),
            version.index.map(({ subject }) => subject),
            version.remember.key,
            version.remember.data,
            version.remember.deadline,
            version.createdAt
          ]))
          const row = yield* port.loadRemember(old, now)
          return rows.length > 0 ? { _tag: "Done" } : row?._tag === "Superseded" ? row : { _tag: "Gone" }
        })
      })
  },
  "a statement that ends a session removes what it sees of it": {
    foundBy: [
      "a revoke behind a supersede",
      "a revoke behind a rescue",
      "a revoke behind a rescue that renews",
      "a revoke behind a write of info",
      "a revoke by subject behind a write of info",
      "a revoke and a write of info that goes on",
      "a write of info and a revoke that goes on",
      "a revoke by subject behind a supersede that gives the session to another"
    ],
    make: (sql, port) => {
      const forgetting = (text: string) =>
        text.replace(
          "SELECT pg_notify",
          `, chain AS (DELETE FROM ${tables.superseded} WHERE handle IN (SELECT handle FROM ended))
          , listed AS (DELETE FROM ${tables.subjects} WHERE handle IN (SELECT handle FROM ended))
          , told AS (DELETE FROM ${tables.info} WHERE handle IN (SELECT handle FROM ended))
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
