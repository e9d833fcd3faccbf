import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as KongSessionStore from "../src/KongSessionStore.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import { InvalidConfig } from "../src/SessionError.ts"
import { start } from "../src/testing/checks/sessions.ts"
import { connect } from "./utils/postgres.ts"
import {
  create,
  layerOf,
  layerPg,
  newRemember,
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

const kong: Reference = {
  name: "KongSessionStore",
  module: KongSessionStore,
  storage: "kong",
  key: "session_id",
  settings: SessionConfig.kong,
  dump: Effect.fnUntraced(function*({ table, tableMeta }) {
    const rows = yield* sql<Omit<Row, "name"> & { readonly ttl: number }>(
      `SELECT session_id AS key, data, expires::float8 AS expires, extract(epoch FROM ttl)::float8 AS ttl
FROM ${table} ORDER BY session_id COLLATE "C"`
    )
    for (const { expires, ttl } of rows) assert.strictEqual(ttl, expires)
    const metadata = yield* sql<Metadata & { readonly of: string }>(
      `SELECT sid AS key, audience, subject, session.session_id AS of
FROM ${tableMeta} AS listed JOIN ${table} AS session ON listed.session_id = session.id
ORDER BY sid COLLATE "C", audience COLLATE "C"`
    )
    return {
      rows: rows.map(({ data, expires, key }) => ({ key, name: undefined, data, expires })),
      metadata: metadata.map(({ audience, key, of, subject }) => {
        assert.strictEqual(of, key)
        return { key, audience, subject }
      })
    }
  }),
  quiet: (table) => sql(`ALTER TABLE ${table} DISABLE TRIGGER USER`)
}

referenceSuite(kong)
referenceRaces(kong)
referenceDatabase(kong)
referenceReplay(kong, /^k/)

layer(layerPg)("KongSessionStore", (it) => {
  it.effect("makes the tables of Kong", () =>
    Effect.gen(function*() {
      yield* Effect.scoped(Layer.build(KongSessionStore.layerMigrations({})))
      const columns = yield* sql(
        `SELECT table_name, column_name, data_type FROM information_schema.columns
WHERE table_name IN ('sessions', 'session_metadatas') ORDER BY table_name DESC, ordinal_position`
      )
      assert.deepStrictEqual(
        columns.map((column) => Object.values(column).join(" ")),
        [
          "sessions id uuid",
          "sessions session_id text",
          "sessions expires integer",
          "sessions data text",
          "sessions created_at timestamp with time zone",
          "sessions ttl timestamp with time zone",
          "session_metadatas id uuid",
          "session_metadatas session_id uuid",
          "session_metadatas sid text",
          "session_metadatas subject text",
          "session_metadatas audience text",
          "session_metadatas created_at timestamp with time zone"
        ]
      )
      const indexes = yield* sql<{ readonly definition: string }>(
        `SELECT indexdef AS definition FROM pg_indexes
WHERE tablename IN ('sessions', 'session_metadatas') ORDER BY indexname`
      )
      assert.deepStrictEqual(indexes.map(({ definition }) => definition), [
        "CREATE INDEX session_id_idx ON public.session_metadatas USING btree (session_id)",
        "CREATE UNIQUE INDEX session_metadatas_pkey ON public.session_metadatas USING btree (id)",
        "CREATE INDEX session_sessions_expires_idx ON public.sessions USING btree (expires)",
        "CREATE UNIQUE INDEX sessions_pkey ON public.sessions USING btree (id)",
        "CREATE UNIQUE INDEX sessions_session_id_key ON public.sessions USING btree (session_id)",
        "CREATE INDEX sessions_ttl_idx ON public.sessions USING btree (ttl)",
        "CREATE INDEX subject_audience_idx ON public.session_metadatas USING btree (subject, audience)"
      ])
      const made = yield* sql<{ readonly definition: string }>(
        `SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint
WHERE conrelid = 'session_metadatas'::regclass AND contype = 'f'
UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = 'sessions'::regclass AND NOT tgisinternal`
      )
      assert.deepStrictEqual(made.map(({ definition }) => definition), [
        "FOREIGN KEY (session_id) REFERENCES sessions(id) ON DELETE CASCADE",
        "CREATE TRIGGER sessions_ttl_trigger AFTER INSERT ON public.sessions"
        + " FOR EACH STATEMENT EXECUTE FUNCTION batch_delete_expired_rows('ttl')"
      ])
    }))

  it.effect("adds to an older Kong's tables what they lack, and keeps its function", () =>
    Effect.gen(function*() {
      const tables = newTables()
      yield* sql(`CREATE TABLE ${tables.table} (id uuid PRIMARY KEY, session_id text UNIQUE, expires int, data text,
created_at timestamp with time zone, ttl timestamp with time zone)`)
      yield* sql(
        `INSERT INTO ${tables.table} (id, session_id, data) VALUES (gen_random_uuid(), $1, $2)`,
        [Buffer.alloc(32, 7).toString("base64url"), `["AAAA"]`]
      )
      yield* sql(`CREATE OR REPLACE FUNCTION batch_delete_expired_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN EXECUTE format('DELETE FROM %s WHERE data = ''["BBBB"]''', TG_TABLE_NAME); RETURN NULL; END $$`)
      const port = yield* portOf(KongSessionStore.layerWith(tables), kong.settings)
      // Without a ttl a row is for good.
      const loaded = yield* port.load(Buffer.alloc(32, 7), start)
      assert.deepStrictEqual(loaded?._tag === "Current" && Buffer.from(loaded.data), Buffer.alloc(3))
      yield* create(port, { data: Buffer.from("BBBB", "base64url") })
      assert.strictEqual((yield* sql(`SELECT 1 FROM ${tables.table}`)).length, 1)
      yield* sql(`DROP FUNCTION batch_delete_expired_rows() CASCADE`)
    }))

  it.effect("has what is expired removed by Kong's trigger, and nothing else, whatever the time zone", () =>
    Effect.gen(function*() {
      const tables = newTables()
      yield* Effect.scoped(Layer.build(KongSessionStore.layerMigrations(tables)))
      // West of UTC, the trigger alone would take the next hours to be over.
      const client = yield* connect({ startupParameters: { TimeZone: "America/New_York" } })
      const port = yield* Effect.provide(portOf(KongSessionStore.layerStorage(tables), kong.settings), layerOf(client))
      const [clock] = yield* client.unsafe<{ readonly now: number }>("SELECT extract(epoch FROM now())::float8 AS now")
      const now = Math.floor(clock?.now ?? 0)
      const at = (latestDeadline: number) => {
        const version = newVersion({ latestDeadline, index: [{ audience: "shop", subject: "alice" }] })
        return Effect.as(port.create({ ...version, handle: crypto.randomUUID(), createdAt: now }, now - 7200), version)
      }
      const living = yield* at(now + 3600)
      const expired = yield* at(now - 3600)
      const next = newVersion({ latestDeadline: now + 3600, remember: newRemember() })
      yield* port.supersede(living.key, next, successor, now)
      const rows = yield* kong.dump(tables)
      const keys = [living, next, ...next.remember === undefined ? [] : [next.remember]].map(({ key }) =>
        Buffer.from(key).toString("base64url")
      )
      assert.deepStrictEqual(rows.rows.map(({ key }) => key), keys.toSorted())
      assert.isUndefined(yield* port.load(expired.key, now - 7200))
      assert.deepStrictEqual(yield* client.unsafe("SHOW TimeZone"), [{ TimeZone: "America/New_York" }])
    }))

  it.effect("knows a session's row by the handle that it was made with, as Kong by its id", () =>
    Effect.gen(function*() {
      const { port, tables } = yield* newStore(kong)
      const { handle, key } = yield* create(port, { remember: newRemember() })
      assert.strictEqual((yield* port.load(key, start))?.handle, handle)
      const ids = yield* sql<{ readonly id: string }>(`SELECT id::text FROM ${tables.table}`)
      assert.include(ids.map(({ id }) => id), handle)
      assert.isTrue(yield* port.revoke(handle.toUpperCase()))
      const again = { ...newVersion(), handle, createdAt: start }
      assert.strictEqual(yield* port.create(again, start), "Created")
      assert.strictEqual(yield* port.create({ ...newVersion(), handle, createdAt: start }, start), "Collision")
    }))

  it.effect("says since when a row is there", () =>
    Effect.gen(function*() {
      const { port } = yield* newStore(kong)
      const index = [{ audience: "shop", subject: "alice" }]
      const { key } = yield* create(port, { index })
      yield* port.supersede(key, newVersion({ index }), successor, start + 5)
      const listed = yield* port.list("shop", ["alice"], start + 5)
      assert.deepStrictEqual(listed.map(({ createdAt, deadline }) => [createdAt, deadline]), [
        [start + 5, start + 3600],
        [start, start + 15]
      ])
    }))

  it.effect("does not work with keys that Kong would not find", () =>
    Effect.gen(function*() {
      const layer = KongSessionStore.layerStorage(newTables())
      const { reason } = yield* Effect.flip(
        Effect.scoped(Layer.build(layer)).pipe(
          Effect.provide(
            SessionConfig.layer({ secret: Redacted.make("a secret of at least 32 bytes, as it should be") })
          )
        )
      )
      assert.strictEqual(reason instanceof InvalidConfig && reason.setting, "hashStorageKey")
    }))
})
