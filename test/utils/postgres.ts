/** Databases to test against, on the server that the test run has. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { inject } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import type { Scope } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import type { SqlError } from "effect/sql"
import type {} from "../globalSetup.ts"

/** The database of one test file, or of one test. */
export class Database extends Context.Service<Database, { readonly url: string }>()("test/Database") {}

type Options = Omit<PgClient.PgPoolConfig, "url">

const connectTo = (
  url: string,
  options: Options
): Effect.Effect<PgClient.PgClient, SqlError.SqlError, Scope.Scope> =>
  Effect.provide(PgClient.make({ url: Redacted.make(url), ...options }), Reactivity.layer)

/** Another client of the same database, with connections of its own. */
export const connect = (
  options: Options = {}
): Effect.Effect<PgClient.PgClient, SqlError.SqlError, Scope.Scope | Database> =>
  Database.use(({ url }) => connectTo(url, options))

/** Runs statements of the administrator's. */
const administer = (url: string, ...statements: ReadonlyArray<string>): Effect.Effect<void, SqlError.SqlError> =>
  Effect.scoped(
    Effect.flatMap(connectTo(url, { maxConnections: 1 }), (sql) =>
      Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true }))
  )

/** An empty database that is dropped with the layer. */
export const layerDatabase: Layer.Layer<Database, SqlError.SqlError> = Layer.effect(
  Database,
  Effect.suspend(() => {
    const administrator = inject("databaseUrl")
    const name = `effect_session_${crypto.randomUUID().replaceAll("-", "")}`
    const url = new URL(administrator)
    url.pathname = `/${name}`
    return Effect.acquireRelease(
      Effect.as(administer(administrator, `CREATE DATABASE ${name}`), { url: url.href }),
      () => Effect.orDie(administer(administrator, `DROP DATABASE ${name} WITH (FORCE)`))
    )
  })
)

/** A pool of that database's. */
export const layerClient = (
  options: Options = {}
): Layer.Layer<PgClient.PgClient | import("effect/sql").SqlClient.SqlClient, SqlError.SqlError, Database> =>
  PgClient.layerFrom(Database.use(({ url }) => PgClient.make({ url: Redacted.make(url), ...options })))
