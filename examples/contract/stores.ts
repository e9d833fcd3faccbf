/** The stores to choose from, each with a count of its rows. */
import { Context, Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as PgSessionStore from "../../src/PgSessionStore.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import * as Database from "../postgres/database.ts"

/** How many sessions a store holds. */
export class Rows extends Context.Service<Rows, Effect.Effect<number>>()("contract/Rows") {}

/** The store in memory, which tells nobody what it holds: its sessions are counted as they come and go. */
export const layerMemory: Layer.Layer<SessionStore.SessionStore | SessionStore.SessionPort | Rows> = Layer.unwrap(
  Effect.sync(() => {
    const handles = new Set<string>()
    const counted = Effect.map(SessionStore.SessionPort, (port): SessionStore.Port => ({
      ...port,
      create: (version, now) =>
        Effect.tap(port.create(version, now), () => Effect.sync(() => handles.add(version.handle))),
      revoke: (handle) => Effect.tap(port.revoke(handle), () => Effect.sync(() => handles.delete(handle))),
      revokeAll: (audience, subjects, except) =>
        Effect.flatMap(
          port.list(audience, subjects, 0),
          (listed) =>
            Effect.tap(port.revokeAll(audience, subjects, except), () =>
              Effect.sync(() => {
                for (const { handle } of listed) if (handle !== except) handles.delete(handle)
              }))
        )
    }))
    return Layer.merge(
      SessionStore.layerPort(counted).pipe(Layer.provide(SessionStore.layerMemory)),
      Layer.succeed(Rows, Effect.sync(() => handles.size))
    )
  })
)

const layerPostgresRows = Layer.effect(
  Rows,
  SqlClient.SqlClient.useSync((sql) =>
    Effect.map(
      Effect.orDie(sql<{ readonly rows: number }>`SELECT count(*)::int AS rows FROM session_sessions`),
      ([row]) => row?.rows ?? 0
    )
  )
)

/** The store in Postgres. */
export const layerPostgres = PgSessionStore.layer.pipe(
  Layer.merge(layerPostgresRows),
  Layer.provide(Database.layer)
)
