/**
 * What the commands do to a database. Its own module, and only loaded when a command
 * needs it: it imports `@effect/sql-pg`.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer, Option } from "effect"
import type { Redacted } from "effect"
import type { SqlClient } from "effect/sql"
import * as PgSessionStore from "../PgSessionStore.ts"
import * as Session from "../Session.ts"
import { SessionConfig, type Settings } from "../SessionConfig.ts"
import { SessionError } from "../SessionError.ts"
import { Sessions } from "../Sessions.ts"
import * as SessionsLayer from "../Sessions.ts"
import { SessionPort } from "../SessionStore.ts"
import { describe, failed } from "./failure.ts"

/** Which tables of which database. */
export interface Place {
  readonly url: Redacted.Redacted<string>
  readonly prefix: string
}

/** Whatever a database fails with is one line; a wrong prefix is the user's mistake. */
const tell = <E>(error: E) =>
  error instanceof SessionError && error.reason._tag === "InvalidConfig"
    ? error
    : failed(`the database: ${describe(error)}`)

const connected = ({ url }: Place) =>
<A, E>(effect: Effect.Effect<A, E, SqlClient.SqlClient>) =>
  Effect.mapError(Effect.provide(effect, PgClient.layer({ url, applicationName: "effect-session" })), tell)
