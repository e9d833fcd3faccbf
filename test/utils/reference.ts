/**
 * Stores in the tables of the references, and those tables in a form that can be
 * compared.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import type * as LuaSessionStore from "../../src/LuaSessionStore.ts"
import * as SessionConfig from "../../src/SessionConfig.ts"
import type { SessionError } from "../../src/SessionError.ts"
import { type Info, type Located, type Port, SessionStore, type Version } from "../../src/SessionStore.ts"
import { randomBytes, start } from "../../src/testing/checks/sessions.ts"
import { layerClient, layerDatabase } from "./postgres.ts"
import type { Tables } from "./vectors.ts"

interface TableNames {
  readonly table: string
  readonly tableMeta: string
}

/** One of the two modules, which export the same. */
export interface Reference {
  readonly name: string
  readonly module: Pick<typeof LuaSessionStore, "layerMigrations" | "layerStorage" | "layerWith" | "readMetadata">
  readonly storage: "postgres" | "kong"
  /** The column of the key. */
  readonly key: "sid" | "session_id"
  readonly settings: SessionConfig.Options
  /** Of tables, everything but what is random. */
  readonly dump: (tables: TableNames) => Effect.Effect<Tables, SqlError.SqlError, PgClient.PgClient>
  /** Keeps the clean-up of the tables from what is expired by the clock on the wall. */
  readonly quiet: (table: string) => Effect.Effect<unknown, SqlError.SqlError, PgClient.PgClient>
}

let count = 0

/** Tables that nobody else has. */
export const newTables = (): TableNames => {
  const table = `sessions_${count++}`
  return { table, tableMeta: `${table}_of` }
}

export const secret = Redacted.make("correct horse battery staple 0001")

export interface Store {
  readonly port: Port
  readonly tables: TableNames
  readonly dump: Effect.Effect<Tables, SqlError.SqlError, PgClient.PgClient>
}

type StoreLayer = Layer.Layer<
  SessionStore,
  SessionError | SqlError.SqlError,
  SqlClient.SqlClient | SessionConfig.SessionConfig
>

/** What a layer provides. */
export const placementOf = (layer: StoreLayer, options: SessionConfig.Options) =>
  Effect.provide(SessionStore, layer).pipe(Effect.provide(SessionConfig.layer({ secret, ...options })))

/** The port of a layer. */
export const portOf = (
  layer: StoreLayer,
  options: SessionConfig.Options
): Effect.Effect<Port, SessionError | SqlError.SqlError, SqlClient.SqlClient> =>
  Effect.map(
    placementOf(layer, options),
    (placement) => placement._tag === "Server" ? placement.port : assert.fail("keeps nothing")
  )

/** A store with tables of its own. */
export const newStore = (
  { dump, module, settings }: Reference,
  options: SessionConfig.Options = {}
): Effect.Effect<Store, SessionError | SqlError.SqlError, PgClient.PgClient | SqlClient.SqlClient> =>
  Effect.suspend(() => {
    const tables = newTables()
    return Effect.map(
      portOf(module.layerWith(tables), { ...settings, ...options }),
      (port): Store => ({ port, tables, dump: dump(tables) })
    )
  })

/** A statement of the test's own. */
export const sql = <Row extends object = object>(
  text: string,
  params: ReadonlyArray<unknown> = []
): Effect.Effect<ReadonlyArray<Row>, SqlError.SqlError, PgClient.PgClient> =>
  PgClient.PgClient.use((client) => client.unsafe<Row>(text, params))

export const base64url = (value: string | Uint8Array): string => Buffer.from(value).toString("base64url")

/** A row's column. */
export const column = (payload: Uint8Array, info?: unknown): string =>
  JSON.stringify(
    info === undefined ? [base64url(payload)] : [base64url(payload), base64url(JSON.stringify(info))]
  )

export const day = 86_400
export const staleTtl = 10

export const layerPg = layerClient().pipe(Layer.provideMerge(layerDatabase))

export const newVersion = (over: Partial<Version> = {}): Version => ({
  key: randomBytes(),
  data: randomBytes(40),
  deadline: start + 900,
  latestDeadline: start + 3600,
  index: [],
  remember: undefined,
  seen: undefined,
  ...over
})

export const newRemember = (replaces?: Uint8Array) => ({
  key: randomBytes(),
  data: randomBytes(40),
  deadline: start + 7 * day,
  replaces: replaces && { key: replaces, successor: randomBytes() }
})

export const create = (port: Port, over: Partial<Version> = {}) =>
  Effect.suspend(() => {
    const version = { handle: crypto.randomUUID() as string, createdAt: start, ...newVersion(over) }
    return Effect.as(
      Effect.tap(port.create(version, start), (answer) => Effect.sync(() => assert.strictEqual(answer, "Created"))),
      version
    )
  })

export const successor = randomBytes(100)

export const at = (key: Uint8Array | undefined, rememberKey?: Uint8Array, handle = "unknown"): Located => ({
  handle,
  key,
  rememberKey
})

export const toInfo = (audience: string, key: string, value: unknown): Info => ({
  name: JSON.stringify([audience, key]),
  value: new TextEncoder().encode(JSON.stringify(value))
})

/** A client that is there, for whatever asks for one. */
export const layerOf = (client: PgClient.PgClient): Layer.Layer<PgClient.PgClient | SqlClient.SqlClient> =>
  PgClient.layerFrom(Effect.succeed(client))
