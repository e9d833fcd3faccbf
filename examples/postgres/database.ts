/** The database of an example: that of DATABASE_URL, or one that lives and dies with the process. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Config, Console, Effect, Layer, Option, Redacted } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import { makeServer } from "./embedded.ts"

const embedded = Effect.acquireRelease(
  Effect.promise(async () => {
    const server = await makeServer()
    await server.start()
    return server
  }),
  ({ remove }) => Effect.promise(remove)
)

const url = Effect.gen(function*() {
  const given = yield* Config.option(Config.Redacted("DATABASE_URL"))
  if (Option.isSome(given)) return given.value
  const server = yield* embedded
  yield* Console.log("There is no DATABASE_URL: sessions live in an embedded Postgres, and end with this process.")
  return Redacted.make(server.url)
})

/** A pool of that database's. */
export const layer: Layer.Layer<
  PgClient.PgClient | SqlClient.SqlClient,
  Config.ConfigError | SqlError.SqlError
> = Layer.unwrap(Effect.map(url, (url) => PgClient.layer({ url, maxConnections: 16 })))
