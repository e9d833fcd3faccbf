/**
 * Sessions in Postgres 14 or later, through `@effect/sql-pg`.
 *
 * Each operation is one statement, and so one round trip and one transaction of its
 * own; of several that begin at the same time, one statement carries out all. What it
 * acknowledges is as durable as `synchronous_commit` makes it: on, unless somebody has
 * turned it off.
 *
 * **Example** (A server, and its clean-up)
 *
 * ```ts
 * import * as PgClient from "@effect/sql-pg/PgClient"
 * import { Config, Layer } from "effect"
 * import * as PgSessionStore from "effect-session/PgSessionStore"
 *
 * export const StoreLive = Layer.mergeAll(PgSessionStore.layer, PgSessionStore.layerCleanup({})).pipe(
 *   Layer.provide(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") }))
 * )
 * ```
 *
 * @since 0.1.0
 */
import { PgClient } from "@effect/sql-pg/PgClient"
import { Context, Effect, Layer, Metric, Schedule } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql"
import * as PgCleanup from "./internal/pgCleanup.ts"
import * as PgLifetime from "./internal/pgLifetime.ts"
import * as PgPort from "./internal/pgPort.ts"
import { maxPrefix, type Names, names, schema, validPrefix } from "./internal/pgStatements.ts"
import { InvalidConfig, SessionError } from "./SessionError.ts"
import { layerPort } from "./SessionStore.ts"
import type { SessionPort, SessionStore } from "./SessionStore.ts"

/**
 * Where the sessions are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The beginning of the names of all tables. Default: `"session"`, for
   * `session_sessions`, `session_superseded`, `session_subjects`, `session_info` and
   * `session_migrations`. At most 40 of `a-z`, `0-9` and `_`, the first no digit;
   * anything else fails with reason `InvalidConfig`.
   *
   * **Gotchas**
   *
   * A schema is chosen by the role's `search_path`. Another prefix is another store:
   * all users are logged out.
   */
  readonly prefix?: string | undefined
}

const defaultPrefix = "session"

const invalidPrefix = (prefix: string): InvalidConfig =>
  new InvalidConfig({
    setting: "prefix",
    problem: `"${prefix}" is not the beginning of a table's name`,
    fix: `Use at most ${maxPrefix} of a-z, 0-9 and _, the first no digit; or leave it out for "${defaultPrefix}"`
  })

const namesOf = ({ prefix = defaultPrefix }: Options): Effect.Effect<Names, InvalidConfig> =>
  validPrefix.test(prefix) ? Effect.succeed(names(prefix)) : Effect.fail(invalidPrefix(prefix))

const withNames = <A, E, R>(
  options: Options,
  f: (names: Names) => Effect.Effect<A, E, R>
): Effect.Effect<A, E | SessionError, R> =>
  Effect.flatMap(Effect.mapError(namesOf(options), (reason) => new SessionError({ reason })), f)

/**
 * The migrations that make the tables, for an application that runs them with its
 * own migrator. `layerMigrations` runs them with a history of their own.
 *
 * **Details**
 *
 * An invalid prefix is a `MigrationError` of kind `BadState`.
 *
 * @category migrations
 * @since 0.1.0
 */
export const migrations = (options: Options): Migrator.Loader =>
  Effect.matchEffect(namesOf(options), {
    onFailure: (cause) => Effect.fail(new Migrator.MigrationError({ kind: "BadState", message: cause.message, cause })),
    onSuccess: (names) =>
      Migrator.fromRecord({
        "0001_create": SqlClient.SqlClient.use((client) =>
          Effect.forEach(schema(names), (statement) => client.withoutTransforms().unsafe(statement), { discard: true })
        )
      })
  })

/**
 * Makes the tables, or brings them up to date, and provides nothing: for a step of
 * the deployment with a role that may create tables.
 *
 * **Details**
 *
 * What was done is recorded in `<prefix>_migrations`. Several processes may do this at
 * once: one works, the others wait for it. Doing it again does nothing.
 *
 * The role that serves requests then needs no more than
 * `GRANT SELECT, INSERT, UPDATE, DELETE` on `session_sessions`, `session_superseded`,
 * `session_subjects` and `session_info`, and `layerStorage`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMigrations = (
  options: Options
): Layer.Layer<never, MigrationFailure, SqlClient.SqlClient> =>
  Layer.effectDiscard(
    withNames(options, ({ history }) => Migrator.make({})({ loader: migrations(options), table: history }))
  )

/**
 * Why the tables could not be made: an invalid prefix, or what the database said.
 *
 * @category errors
 * @since 0.1.0
 */
export type MigrationFailure = SessionError | Migrator.MigrationError | SqlError.SqlError

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
   * **Details**
   *
   * Loads are up to 1.2 times as fast over two connections that are pipelined
   * (`multiplex: true`). Writes are better kept away from these: one that waits for a
   * locked row holds up what is behind it.
   *
   * **Gotchas**
   *
   * It has to reach the same server. A replica that lags behind would not know the
   * session that another request has just stored, or revoked.
   */
  readonly reads?: SqlClient.SqlClient | undefined
}

/**
 * Sessions live in tables that `layerMigrations` has made. Runs no statement when it
 * is built, and needs no right but to select, insert, update and delete.
 *
 * **Details**
 *
 * What the database fails with is a `SessionError` with reason `StoreFailed`, whose
 * cause is the `SqlError`. What certainly was not done is tried again, up to three
 * times within a fraction of a second: a statement that Postgres rolled back because
 * of a deadlock or a serialization failure, or one for which there was no
 * connection. A statement whose connection broke while it ran may have been carried
 * out, and is only repeated if it reads.
 *
 * Loads, saves and touches that begin in the same turn of the event loop go as one
 * statement, up to 64 of a kind. It does not wait for rows that are locked: those
 * are waited for alone, so that a session that somebody holds holds up nobody else.
 * Where it fails, each is done alone, and fails alone. With a tracer, its span is in
 * the trace of the first.
 *
 * The store never joins a transaction of its caller: a rollback would undo what it
 * has acknowledged. So `session.commit` inside `SqlClient.withTransaction` takes a
 * second connection.
 *
 * A superseded version is forgotten when its grace has been over for an hour, and
 * `list` shows the newest 1000 sessions.
 *
 * **Gotchas**
 *
 * A pool that is exhausted makes a request wait as long as `commitTimeout` says.
 *
 * A pooler in between that hands out connections per transaction works, with
 * `prepare: false` in the client's settings; for `layerLifetime` it does not.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStorage = (
  options: StorageOptions
): Layer.Layer<SessionStore | SessionPort, SessionError, SqlClient.SqlClient> =>
  layerPort(
    withNames(options, (names) =>
      SqlClient.SqlClient.useSync((client) => PgPort.make(client, options.reads ?? client, names)))
  )

/**
 * `layerStorage`, after `layerMigrations` with the same role.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (
  options: StorageOptions
): Layer.Layer<SessionStore | SessionPort, MigrationFailure, SqlClient.SqlClient> =>
  Layer.provide(layerStorage(options), layerMigrations(options))

/**
 * `layerWith` for the prefix `session`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<SessionStore | SessionPort, MigrationFailure, SqlClient.SqlClient> = layerWith({})

// -----------------------------------------------------------------------------
// clean-up
// -----------------------------------------------------------------------------

/**
 * How many rows a clean-up removed from each table.
 *
 * @category models
 * @since 0.1.0
 */
export interface Removed {
  /** Expired sessions; what they superseded, their index entries and info go with them, and are not counted. */
  readonly sessions: number
  /** Superseded versions of living sessions, whose grace was over more than an hour ago. */
  readonly superseded: number
}

const removedRows = Metric.counter("effect_session_removed", {
  description: "Rows of sessions that a clean-up removed",
  incremental: true
})

const count = (removed: Removed): Effect.Effect<void> =>
  Effect.forEach(
    Object.entries(removed),
    ([table, rows]) => Metric.update(Metric.withAttributes(removedRows, { table }), rows),
    { discard: true }
  )

/**
 * Removes once what nobody can use any more, and says how much that was: for a job of
 * its own. `layerCleanup` does it from within a server.
 *
 * **Details**
 *
 * Walks over two tables, 128 blocks per statement, each a short transaction of
 * its own. Rows that somebody has locked are left for the next time, so that no
 * request is waited for; and of all processes, only one does so at a time: who finds
 * another at work stops.
 *
 * The rows are also counted in the metric `effect_session_removed`, with the table as
 * an attribute.
 *
 * @category clean-up
 * @since 0.1.0
 */
export const cleanup = (options: Options): Effect.Effect<Removed, SessionError, SqlClient.SqlClient> =>
  withNames(options, (names) => SqlClient.SqlClient.use((client) => Effect.tap(PgCleanup.make(client, names), count)))

/**
 * Does a `cleanup` again and again in the background, as long as the layer lives.
 *
 * **Details**
 *
 * The default schedule is every five minutes, give or take a fifth, so that several
 * servers do not come at once. A clean-up that fails is logged as a warning, and the
 * next one comes as planned. What was removed is logged at level Debug.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerCleanup = (
  options: Options & {
    /** When to do it; the first time is after the schedule's first delay. */
    readonly schedule?: Schedule.Schedule<unknown> | undefined
  }
): Layer.Layer<never, SessionError, SqlClient.SqlClient> =>
  Layer.effectDiscard(
    Effect.andThen(
      // Fails while the layer is built, not in the background.
      withNames(options, Effect.succeed),
      cleanup(options).pipe(
        Effect.tap((removed) => Effect.logDebug("Removed what is left of expired sessions", removed)),
        Effect.catchCause((cause) => Effect.logWarning("The clean-up of expired sessions failed", cause)),
        Effect.schedule(options.schedule ?? Schedule.jittered(Schedule.spaced("5 minutes"))),
        Effect.forkScoped
      )
    )
  )

// -----------------------------------------------------------------------------
// lifetime
// -----------------------------------------------------------------------------

/**
 * Knows when a session is over, so that a socket or a stream can end with it.
 *
 * **Example** (Events for as long as the session lives)
 *
 * ```ts
 * import { Effect, Option, Schema, Stream } from "effect"
 * import { HttpServerResponse } from "effect/http"
 * import { SessionLifetime } from "effect-session/PgSessionStore"
 * import * as Session from "effect-session/Session"
 *
 * class Account extends Session.Service<Account>()("shop/Account", { data: Schema.Struct({}), initial: {} }) {}
 *
 * declare const prices: Stream.Stream<Uint8Array>
 *
 * export const route = Effect.gen(function*() {
 *   const account = yield* Session.required(Account)
 *   const lifetime = yield* SessionLifetime
 *   yield* account.commit
 *   const handle = Option.getOrElse(yield* account.handle, () => "")
 *   return HttpServerResponse.stream(Stream.interruptWhen(prices, lifetime.ended(handle)))
 * })
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class SessionLifetime extends Context.Service<SessionLifetime, {
  /**
   * Completes when the session with this handle is revoked, and when its deadline has
   * passed, however often a request moved that; at once where there is none.
   *
   * **Details**
   *
   * It never fails: while the database is away nobody knows better, and what happened
   * meanwhile is found out as soon as it is back.
   *
   * **Gotchas**
   *
   * An open stream or socket is no activity: a session that makes no other request
   * idles out, and ends it.
   */
  readonly ended: (handle: string) => Effect.Effect<void>
}>()("effect-session/PgSessionStore/SessionLifetime") {}

/**
 * Provides `SessionLifetime`: one connection of the pool listens for all sessions of
 * the process (`LISTEN <prefix>_ended`).
 *
 * **Gotchas**
 *
 * A connection that dies without a word, as behind a firewall, is noticed if the
 * client has a `keepAlive`; in any case each session is looked up every five minutes.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerLifetime = (options: Options): Layer.Layer<SessionLifetime, SessionError, PgClient> =>
  Layer.effect(
    SessionLifetime,
    withNames(options, (names) =>
      Effect.flatMap(PgClient, (client) => Effect.map(PgLifetime.make(client, names), (ended) => ({ ended }))))
  )
