/**
 * Sessions in the tables of Kong's session plugin, row for row as Kong writes them, so
 * that Kong and an Effect server use the same sessions in the same database.
 *
 * **When to use**
 *
 * Use to share sessions with a Kong whose plugin is configured with `storage: kong`, or
 * to move over from one without logging anyone out. A server of its own is better off
 * with `PgSessionStore`.
 *
 * **Details**
 *
 * `SessionConfig.kong` has the plugin's defaults. The tables are those of Kong 3.10 and
 * later; earlier ones lack `session_metadatas`, which `layerMigrations` adds.
 *
 * **Gotchas**
 *
 * A Kong node keeps the rows that it has read in its cache, with `db_cache_ttl: 0`, the
 * default, for good, and learns of changes from other Kong nodes alone. It does not
 * notice that a row was ended here: to that node the session lives on until its cookie
 * times out. Set `db_cache_ttl` to the seconds that you can accept.
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
 * - What is at rest can be used: info and session ids are in clear, though an id alone
 *   makes no cookie.
 *
 * What a row is called (`handle`, Kong's `id`) changes with each save.
 *
 * **Example** (A server that shares its sessions with Kong)
 *
 * ```ts
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import { Config, Layer } from "effect"
 * import * as KongSessionStore from "effect-session/KongSessionStore"
 * import * as SessionConfig from "effect-session/SessionConfig"
 *
 * export const StoreLive = KongSessionStore.layer.pipe(
 *   Layer.provide(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") })),
 *   Layer.provideMerge(SessionConfig.layerConfig(SessionConfig.kong))
 * )
 * ```
 *
 * @since 0.1.0
 */
import { Effect, Layer, type Redacted } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import * as KongTables from "./internal/kongTables.ts"
import * as ReferenceStore from "./internal/referenceStore.ts"
import { SessionConfig } from "./SessionConfig.ts"
import { InvalidConfig, SessionError } from "./SessionError.ts"
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
  /** Kong's, and the default, is `"sessions"`. */
  readonly table?: string | undefined
  /** Kong's, and the default, is `"session_metadatas"`. */
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

const tablesOf = ({ table = "sessions", tableMeta = "session_metadatas" }: Options) =>
  ReferenceStore.named(KongTables.tables, table, tableMeta)

const findable = SessionConfig.useSync(({ hashStorageKey }) => hashStorageKey).pipe(
  Effect.flatMap((hashed) =>
    hashed
      ? Effect.fail(
        new SessionError({
          reason: new InvalidConfig({
            setting: "hashStorageKey",
            problem: "is on, and Kong finds a session by its id alone",
            fix: "Start from SessionConfig.kong, where it is off"
          })
        })
      )
      : Effect.void
  )
)

/**
 * Makes the tables with their indexes and the trigger that removes expired rows where they are missing, and provides nothing.
 *
 * **Details**
 *
 * What is there already is left as it is, and no history is kept: the tables are
 * Kong's. Several processes may do this at once.
 *
 * The role that serves requests then needs
 * `GRANT SELECT, INSERT, UPDATE, DELETE ON sessions, session_metadatas`, and `layerStorage`.
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
 * Of the settings, rows depend on `staleTtl`, `hashSubject` and
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
 * `hashStorageKey` has to be off, as in `SessionConfig.kong`, or building the layer fails
 * with reason `InvalidConfig`: Kong would find no session.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStorage = (
  options: StorageOptions
): Layer.Layer<SessionStore, SessionError, SqlClient.SqlClient | SessionConfig> =>
  ReferenceStore.layer(Effect.andThen(findable, tablesOf(options)), options.reads)

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
 * `layerWith` for the tables `sessions` and `session_metadatas`.
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
