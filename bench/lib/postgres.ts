import { Effect } from "effect"
import type { Scope } from "effect"
import { makeServer } from "../../examples/postgres/embedded.ts"

/** The URL of a Postgres as durable as it is by default, which ends with the scope. */
export const server: Effect.Effect<string, never, Scope.Scope> = Effect.map(
  Effect.acquireRelease(
    Effect.promise(async () => {
      // Room for a table, and no checkpoint in the middle of a round.
      const server = await makeServer({ shared_buffers: "1GB", max_wal_size: "8GB", max_connections: "200" })
      await server.start()
      return server
    }),
    ({ remove }) => Effect.promise(remove)
  ),
  ({ url }) => url
)
