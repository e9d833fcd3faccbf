/**
 * Sessions in the tables of lua-resty-session's Postgres storage, row for row as the
 * library writes them, so that OpenResty and an Effect server use the same sessions in
 * the same database at the same time.
 *
 * **When to use**
 *
 * Use to share sessions with an OpenResty that stays, or to move over from one without
 * logging anyone out. A server of its own is better off with `PgSessionStore`.
 *
 * **Details**
 *
 * Cookies and rows are those of `resty.session` with `storage = "postgres"`, 4.0 and
 * 4.1. `SessionConfig.lua` has the library's defaults.
 *
 * **Gotchas**
 *
 * A row is one version of one cookie there, and no column says which rows are one
 * session. So the layout cannot keep what the other stores promise, and no layer of
 * this module provides `SessionPort`: code that lists or ends sessions of others
 * (`Sessions`) does not compile against it.
 *
 * - A logout does not always win. It deletes the row of the cookie it comes with; a
 *   request that replaced that row a moment before leaves another, which lives on. One
 *   that comes after the logout finds nothing, and gets no cookie.
 * - Updates can be lost: of two requests that change one session at once, each leaves a
 *   row of its own, and the browser keeps the cookie that came last.
 * - A version has as many successors as requests replaced it. The old row stays usable for
 *   `staleTtl`, a replay within that is not noticed, and a save from it is valid for long.
 * - What is at rest can be used: the info is in clear, and so are the session ids unless
 *   `hashStorageKey` is on, though an id alone makes no cookie.
 *
 * What a row is called (`handle`) changes with each save.
 *
 * **Example** (A server that shares its sessions with OpenResty)
 *
 * ```ts
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import { Config, Layer } from "effect"
 * import * as LuaSessionStore from "effect-session/LuaSessionStore"
 * import * as SessionConfig from "effect-session/SessionConfig"
 *
 * export const StoreLive = LuaSessionStore.layer.pipe(
 *   Layer.provide(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })),
 *   Layer.provideMerge(SessionConfig.layerConfig(SessionConfig.lua))
 * )
 * ```
 *
 * @since 0.1.0
 */
import { Effect, Layer, type Redacted } from "effect"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql"
import { seconds } from "./internal/clock.ts"
import * as LuaTables from "./internal/luaTables.ts"
import { runner } from "./internal/pgPort.ts"
import * as ReferenceStore from "./internal/referenceStore.ts"
import type { SessionConfig } from "./SessionConfig.ts"
import type { SessionError } from "./SessionError.ts"
import type { SessionStore } from "./SessionStore.ts"

/**
 * Where the sessions are. A name is at most 40 of `a-z`, `0-9` and `_`, the first no
 * digit; anything else fails with reason `InvalidConfig`. A schema is chosen by the
 * role's `search_path`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The library's `table`. Default: `"sessions"`. */
  readonly table?: string | undefined
  /** The library's `table_meta`. Default: `table` with `_meta` behind it. */
  readonly tableMeta?: string | undefined
}

/**
 * Options of a store.
 *
 * @category models
 * @since 0.1.0
 */
export interface StorageOptions extends Options {
  /**
   * Another client for loads. Default: the one for everything else.
   *
   * **Gotchas**
   *
   * It has to reach the same server, as that of `PgSessionStore.StorageOptions`.
   */
  readonly reads?: SqlClient.SqlClient | undefined
}

const tablesOf = ({ table = "sessions", tableMeta = `${table}_meta` }: Options) =>
  ReferenceStore.named(LuaTables.tables, table, tableMeta)

/**
 * Makes the tables with their indexes where they are missing, and provides nothing.
 *
 * **Details**
 *
 * What is there already is left as it is, and no history is kept: the tables are
 * the library's. Several processes may do this at once.
 *
 * The role that serves requests then needs
 * `GRANT SELECT, INSERT, UPDATE, DELETE ON sessions, sessions_meta`, and `layerStorage`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMigrations = (
  options: Options
): Layer.Layer<never, SessionError | SqlError.SqlError, SqlClient.SqlClient> =>
  Layer.effectDiscard(Effect.flatMap(tablesOf(options), ReferenceStore.migrate))

/**
 * Sessions live in tables that are there. Runs no statement when it is built, and needs
 * no right but to select, insert, update and delete.
 *
 * **Details**
 *
 * Of the settings, rows depend on `cookieName` and `rememberCookieName` (the column `name`), `staleTtl`, `hashSubject` and
 * `storeMetadata`.
 *
 * A row expires when the rolling or the absolute timeout of its version ends, after 400
 * days at most. (The library forgets to subtract the session's age from the absolute one.)
 * A touch does not move it. The info is carried from version to version, and a write of
 * info merges key by key, where the library's overwrites what another request has
 * written.
 *
 * Each operation is one statement, but for the info, whose rows are locked for the
 * length of a short transaction. What the database fails with is a `SessionError` with
 * reason `StoreFailed`; what certainly was not done is tried again, as by
 * `PgSessionStore`.
 *
 * **Gotchas**
 *
 * The library's times are right only where its connection's TimeZone is UTC. Otherwise its
 * rows are off by the zone, and are taken here to be expired early or late.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStorage = (
  options: StorageOptions
): Layer.Layer<SessionStore, SessionError, SqlClient.SqlClient | SessionConfig> =>
  ReferenceStore.layer(tablesOf(options), options.reads)

/**
 * `layerStorage`, after `layerMigrations` with the same role.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (
  options: StorageOptions
): Layer.Layer<SessionStore, SessionError | SqlError.SqlError, SqlClient.SqlClient | SessionConfig> =>
  Layer.provide(layerStorage(options), layerMigrations(options))

/**
 * `layerWith` for the tables `sessions` and `sessions_meta`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<
  SessionStore,
  SessionError | SqlError.SqlError,
  SqlClient.SqlClient | SessionConfig
> = layerWith({})

// -----------------------------------------------------------------------------
// metadata
// -----------------------------------------------------------------------------

/**
 * A row that the metadata list.
 *
 * @category models
 * @since 0.1.0
 */
export interface Metadata {
  /** The storage key, base64url: a session id, unless `hashStorageKey` is on. */
  readonly key: Redacted.Redacted<string>
  /** Unix seconds. */
  readonly expires: number
}

/**
 * The rows of a subject with an audience, those that live, as the library's
 * `read_metadata` has them; nothing without `storeMetadata`.
 *
 * **Gotchas**
 *
 * A session has several rows: of its remember cookie, and of versions that were
 * replaced within the last `staleTtl`. A deleted row is gone, but a request that is just replacing
 * it may leave another.
 *
 * @category metadata
 * @since 0.1.0
 */
export const readMetadata = (
  audience: string,
  subject: string,
  options: Options = {}
): Effect.Effect<ReadonlyArray<Metadata>, SessionError, SqlClient.SqlClient | SessionConfig> =>
  Effect.flatMap(tablesOf(options), (tables) => ReferenceStore.listing(tables, audience, subject))

// -----------------------------------------------------------------------------
// clean-up
// -----------------------------------------------------------------------------

/**
 * Removes expired rows, with their metadata, and says how many. The library does it at
 * one save in a thousand; for a database that it has left.
 *
 * @category clean-up
 * @since 0.1.0
 */
export const cleanup = (options: Options): Effect.Effect<number, SessionError, SqlClient.SqlClient> =>
  Effect.gen(function*() {
    const { dialect } = yield* tablesOf(options)
    const run = runner(yield* SqlClient.SqlClient)
    const now = yield* seconds
    const rows = yield* run(
      "cleanup",
      `DELETE FROM ${dialect.sessions} WHERE NOT ${dialect.living("$1")} RETURNING 1`,
      [now]
    )
    return rows.length
  })
