/** Databases to test against, on the server that the test run has. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { inject } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import type { Fiber, Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import type { SqlClient, SqlError } from "effect/sql"
import { createConnection } from "node:net"

/** The database of one test file, or of one test. */
export class Database extends Context.Service<Database, {
  readonly url: URL
  /** Of a role that may connect, and nothing else. */
  readonly restrictedUrl: URL
}>()("test/Database") {}

interface Options extends Omit<PgClient.PgPoolConfig, "url"> {
  readonly restricted?: boolean | undefined
}

const open = (
  url: URL,
  config: Omit<PgClient.PgPoolConfig, "url"> = {}
): Effect.Effect<PgClient.PgClient, SqlError.SqlError, Scope.Scope> =>
  Effect.provide(PgClient.make({ url: Redacted.make(url.href), ...config }), Reactivity.layer)

/** A client of the database. Each has connections of its own. */
export const connect = (
  { restricted = false, ...config }: Options = {}
): Effect.Effect<PgClient.PgClient, SqlError.SqlError, Scope.Scope | Database> =>
  Database.use(({ restrictedUrl, url }) => open(restricted ? restrictedUrl : url, config))

/** `connect` as a layer. */
export const layerClient = (
  options?: Options
): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient, SqlError.SqlError, Database> =>
  PgClient.layerFrom(connect(options))

const administer = (url: URL, ...statements: ReadonlyArray<string>): Effect.Effect<void, SqlError.SqlError> =>
  Effect.scoped(
    Effect.flatMap(
      open(url, { maxConnections: 1 }),
      (sql) => Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
    )
  )

/** An empty database on a server, which is dropped with the layer. */
export const layerDatabaseOn = (server: Effect.Effect<string>): Layer.Layer<Database, SqlError.SqlError> =>
  Layer.effect(
    Database,
    Effect.gen(function*() {
      const administrator = new URL(yield* server)
      const name = `effect_session_${crypto.randomUUID().replaceAll("-", "")}`
      const password = crypto.randomUUID()
      const url = new URL(administrator)
      url.pathname = `/${name}`
      const restrictedUrl = new URL(url)
      restrictedUrl.username = name
      restrictedUrl.password = password
      yield* Effect.acquireRelease(
        administer(
          administrator,
          `CREATE ROLE ${name} LOGIN PASSWORD '${password}'`,
          `CREATE DATABASE ${name}`
        ),
        () => Effect.orDie(administer(administrator, `DROP DATABASE ${name} WITH (FORCE)`, `DROP ROLE ${name}`))
      )
      // As it is by itself since Postgres 15.
      yield* administer(url, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
      return { url, restrictedUrl }
    })
  )

/** An empty database on the server of the test run. */
export const layerDatabase: Layer.Layer<Database, SqlError.SqlError> = layerDatabaseOn(
  Effect.sync(() => inject("databaseUrl"))
)

/** Connections that count what a client sends: each message is a round trip. */
export const countingStream = ({ hostname, port }: URL) => {
  const count = { connections: 0, messages: 0 }
  const stream = () => {
    const socket = createConnection({ host: hostname, port: Number(port || "5432"), noDelay: true })
    count.connections++
    const write = socket.write
    // Passes on whatever it was called with, whichever overload that was.
    socket.write = ((...args: Parameters<typeof write>) => {
      count.messages++
      return write.apply(socket, args)
    }) as typeof write
    return socket
  }
  return { count, stream }
}

/** Waits until so many connections of the database wait for a lock. */
export const untilWaiting = (sql: PgClient.PgClient, count: number): Effect.Effect<void, SqlError.SqlError> =>
  untilWaitingFor(sql, () => count)

/** Waits until each of these fibers waits for a lock, or is done. */
export const untilHeldUp = (
  sql: PgClient.PgClient,
  fibers: ReadonlyArray<Fiber.Fiber<unknown, unknown>>
): Effect.Effect<void, SqlError.SqlError> =>
  untilWaitingFor(sql, () => fibers.filter((fiber) => fiber.pollUnsafe() === undefined).length)

const untilWaitingFor = Effect.fnUntraced(function*(sql: PgClient.PgClient, count: () => number) {
  const waiting = sql<{ readonly count: number }>`SELECT count(DISTINCT pid)::int AS count
    FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()`
  while ((yield* waiting)[0]?.count !== count()) yield* Effect.sleep(5)
})
