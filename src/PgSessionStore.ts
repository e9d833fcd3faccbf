/**
 * Sessions in Postgres, over any `SqlClient` that speaks it: `@effect/sql-pg`.
 *
 * @since 0.1.0
 */
import { Clock, Effect, Layer, Metric, Schedule } from "effect"
import * as Migrator from "effect/sql/Migrator"
import { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { make, runner } from "./internal/pgPort.ts"
import { create, maxPrefix, type Names, names, statements, sweptBlocks, validPrefix } from "./internal/pgStatements.ts"
import { InvalidConfig, SessionError } from "./SessionError.ts"
import { layerPort, type SessionPort, type SessionStore } from "./SessionStore.ts"

export interface Options {
  readonly prefix?: string | undefined
}

const defaultPrefix = "session"

const namesOf = ({ prefix = defaultPrefix }: Options): Effect.Effect<Names, SessionError> =>
  validPrefix.test(prefix) && prefix.length <= maxPrefix
    ? Effect.succeed(names(prefix))
    : Effect.fail(
      new SessionError({
        reason: new InvalidConfig({
          setting: "prefix",
          problem: `"${prefix}" is not the beginning of a table's name`,
          fix: `Use at most ${maxPrefix} of a-z, 0-9 and _, the first no digit; or leave it out for "${defaultPrefix}"`
        })
      })
    )

export const layerStorage = (options: Options): Layer.Layer<SessionStore | SessionPort, SessionError, SqlClient> =>
  layerPort(Effect.zipWith(SqlClient, namesOf(options), make))
