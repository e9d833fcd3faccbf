import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { createHash } from "node:crypto"
import * as LuaSessionStore from "../src/LuaSessionStore.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import { start } from "../src/testing/checks/sessions.ts"
import { connect } from "./utils/postgres.ts"
import {
  at,
  base64url,
  create,
  layerOf,
  layerPg,
  newStore,
  newTables,
  newVersion,
  portOf,
  type Reference,
  sql,
  successor
} from "./utils/reference.ts"
import { referenceDatabase } from "./utils/referenceDatabase.ts"
import { referenceRaces } from "./utils/referenceRaces.ts"
import { referenceReplay } from "./utils/referenceReplay.ts"
import { referenceSuite } from "./utils/referenceSuite.ts"
import type { Metadata, Row } from "./utils/vectors.ts"

const lua: Reference = {
  name: "LuaSessionStore",
  module: LuaSessionStore,
  storage: "postgres",
  key: "sid",
  settings: SessionConfig.lua,
  dump: Effect.fnUntraced(function*({ table, tableMeta }) {
    const rows = yield* sql<Row>(
      `SELECT sid AS key, name, data, extract(epoch FROM exp)::float8 AS expires FROM ${table} ORDER BY sid COLLATE "C"`
    )
    const metadata = yield* sql<Metadata>(
      `SELECT sid AS key, aud AS audience, sub AS subject FROM ${tableMeta} ORDER BY sid COLLATE "C", aud COLLATE "C"`
    )
    return { rows, metadata }
  }),
  quiet: () => Effect.void
}

referenceSuite(lua)
referenceRaces(lua)
referenceDatabase(lua)
referenceReplay(lua, /^p/)

layer(layerPg)("LuaSessionStore", (it) => {
  it.effect("makes the tables of lua-resty-session", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(Layer.build(LuaSessionStore.layerMigrations({})))
      const columns = yield* sql(
        `SELECT table_name, column_name, data_type FROM information_schema.columns
WHERE table_name IN ('sessions', 'sessions_meta') ORDER BY table_name, ordinal_position`
      )
      assert.deepStrictEqual(
        columns.map((column) => Object.values(column).join(" ")),
        [
          "sessions sid text",
          "sessions name text",
          "sessions data text",
          "sessions exp timestamp with time zone",
          "sessions_meta aud text",
          "sessions_meta sub text",
          "sessions_meta sid text"
        ]
      )
      const indexes = yield* sql<{ readonly definition: string }>(
        `SELECT indexdef AS definition FROM pg_indexes WHERE tablename IN ('sessions', 'sessions_meta') ORDER BY indexname`
      )
      assert.deepStrictEqual(indexes.map(({ definition }) => definition), [
        "CREATE INDEX sessions_exp_idx ON public.sessions USING btree (exp)",
        "CREATE UNIQUE INDEX sessions_meta_pkey ON public.sessions_meta USING btree (aud, sub, sid)",
        "CREATE UNIQUE INDEX sessions_pkey ON public.sessions USING btree (sid)"
      ])
      const foreign = yield* sql<{ readonly definition: string }>(
        `SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint
WHERE conrelid = 'sessions_meta'::regclass AND contype = 'f'`
      )
      assert.deepStrictEqual(foreign.map(({ definition }) => definition), [
        "FOREIGN KEY (sid) REFERENCES sessions(sid) ON UPDATE CASCADE ON DELETE CASCADE"
      ])
    }))

  it.effect("calls the table of metadata after that of sessions", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(Layer.build(LuaSessionStore.layerMigrations({ table: "web" })))
      assert.deepStrictEqual(yield* sql("SELECT count(*)::int AS rows FROM web_meta"), [{ rows: 0 }])
    }))

  it.effect("names each row after its cookie, prefix and all", () =>
    Effect.gen(function*() {
      const { dump, port } = yield* newStore(lua, { cookiePrefix: "__Host-", cookieSecure: true })
      yield* create(port)
      assert.deepStrictEqual((yield* dump).rows.map(({ name }) => name), ["__Host-session"])
    }))

  it.effect("knows a row by the SHA-256 of its key", () =>
    Effect.gen(function*() {
      const { port } = yield* newStore(lua)
      for (let count = 0; count < 20; count++) {
        const { key } = yield* create(port)
        const handle = createHash("sha256").update(base64url(key)).digest("base64url")
        assert.strictEqual((yield* port.load(key, start))?.handle, handle)
        assert.isTrue(yield* port.revoke(handle))
      }
    }))

  it.effect("means the same moment in every time zone", () =>
    Effect.gen(function*() {
      const tables = newTables()
      yield* Effect.scoped(Layer.build(LuaSessionStore.layerMigrations(tables)))
      const client = yield* connect({ startupParameters: { TimeZone: "Asia/Kolkata" } })
      const port = yield* Effect.provide(portOf(LuaSessionStore.layerStorage(tables), lua.settings), layerOf(client))
      const old = yield* create(port)
      yield* port.supersede(old.key, newVersion(), successor, start)
      // As the library does it, whose connection is in UTC.
      const utc = yield* connect({ startupParameters: { TimeZone: "UTC" } })
      const theirs = yield* utc.unsafe(
        `SELECT count(*)::int AS rows FROM ${tables.table} WHERE exp = to_timestamp($1::float8) AT TIME ZONE 'UTC'`,
        [start + 3600]
      )
      assert.deepStrictEqual(theirs, [{ rows: 1 }])
      assert.isDefined(yield* port.load(old.key, start + 10))
      assert.isUndefined(yield* port.load(old.key, start + 11))
    }))

  it.effect("cleans up when it is told to", () =>
    Effect.gen(function*() {
      const { dump, port, tables } = yield* newStore(lua)
      const living = yield* create(port)
      const index = [{ audience: "shop", subject: "alice" }]
      yield* port.create({
        ...newVersion({ index, latestDeadline: 1001 }),
        handle: crypto.randomUUID(),
        createdAt: 1000
      }, 1000)
      assert.strictEqual(yield* LuaSessionStore.cleanup(tables), 0)
      yield* TestClock.setTime(1_002_000)
      assert.strictEqual(yield* LuaSessionStore.cleanup(tables), 1)
      assert.deepStrictEqual((yield* dump).rows.map(({ key }) => key), [base64url(living.key)])
      assert.deepStrictEqual((yield* dump).metadata, [])
      assert.isTrue(yield* port.revoke("unknown", at(living.key)))
    }))
})
