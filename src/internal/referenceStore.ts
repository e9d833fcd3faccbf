/** What the stores in the tables of lua-resty-session and of Kong have in common. */
import { Effect, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql"
import * as Crypto from "../Crypto.ts"
import { SessionConfig, type Settings } from "../SessionConfig.ts"
import { InvalidConfig, SessionError } from "../SessionError.ts"
import { SessionStore } from "../SessionStore.ts"
import { seconds } from "./clock.ts"
import { maxPrefix, validPrefix } from "./pgStatements.ts"
import * as ReferencePort from "./referencePort.ts"
import type { Dialect } from "./referenceStatements.ts"

export interface Tables {
  readonly dialect: Dialect
  /** What is made where it is missing, in order. Conditions are SQL. */
  readonly steps: ReadonlyArray<{ readonly missing: string; readonly statements: ReadonlyArray<string> }>
}

const invalidTable = (setting: string, table: string): SessionError =>
  new SessionError({
    reason: new InvalidConfig({
      setting,
      problem: `"${table}" is not the name of a table`,
      fix: `Use at most ${maxPrefix} of a-z, 0-9 and _, the first no digit`
    })
  })

/** The tables with these names, if those may stand in a statement as they are. */
export const named = (
  make: (sessions: string, metadata: string) => Tables,
  table: string,
  tableMeta: string
): Effect.Effect<Tables, SessionError> => {
  if (!validPrefix.test(table)) return Effect.fail(invalidTable("table", table))
  if (!validPrefix.test(tableMeta)) return Effect.fail(invalidTable("tableMeta", tableMeta))
  return Effect.succeed(make(table, tableMeta))
}

/** One at a time: of two processes that find a table missing, the second would fail. */
export const migrate = ({ steps }: Tables): Effect.Effect<void, SqlError.SqlError, SqlClient.SqlClient> =>
  SqlClient.SqlClient.use((client) => {
    const sql = client.withoutTransforms()
    const step = ({ missing, statements }: Tables["steps"][number]) =>
      Effect.flatMap(
        sql.unsafe<{ readonly missing: boolean }>(`SELECT ${missing} AS missing`),
        ([row]) =>
          row?.missing === true
            ? Effect.forEach(statements, (statement) => sql.unsafe(statement), { discard: true })
            : Effect.void
      )
    return sql.withTransaction(
      Effect.andThen(
        sql.unsafe("SELECT pg_advisory_xact_lock(hashtextextended('effect-session migrations', 0))"),
        Effect.forEach(steps, step, { discard: true })
      )
    )
  })

/** The store over tables that are there. Its keys tell no two sessions apart, and so there is no `SessionPort`. */
export const layer = <R>(
  tables: Effect.Effect<Tables, SessionError, R>,
  reads: SqlClient.SqlClient | undefined
): Layer.Layer<SessionStore, SessionError, R | SqlClient.SqlClient | SessionConfig> =>
  Layer.effect(
    SessionStore,
    Effect.gen(function*() {
      const { dialect } = yield* tables
      const client = yield* SqlClient.SqlClient
      const settings = yield* SessionConfig
      const port = ReferencePort.make(client, reads ?? client, dialect, settings, yield* Crypto.Crypto)
      return SessionStore.of({ _tag: "Server", port, layout: "Reference" })
    })
  ).pipe(Layer.provide(Crypto.layer))

/** The living rows that the metadata list of a subject. */
export const listing = Effect.fnUntraced(function*(tables: Tables, audience: string, subject: string) {
  const client = yield* SqlClient.SqlClient
  const settings: Settings = yield* SessionConfig
  const spelled = yield* ReferencePort.subjects(settings, yield* Crypto.Crypto)(subject)
  const rows = yield* ReferencePort.listing(client, tables.dialect)(audience, [spelled], yield* seconds)
  return rows.map(({ expires, key }) => ({ key: Redacted.make(key), expires }))
}, Effect.provide(Crypto.layerWebCrypto))
