/**
 * What the commands do to a database. Only loaded when a command needs it: it imports
 * `@effect/sql-pg`, an optional peer.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Effect, Layer } from "effect"
import type { Redacted } from "effect"
import type { SqlClient } from "effect/sql"
import * as PgSessionStore from "../PgSessionStore.ts"
import type * as Session from "../Session.ts"
import { SessionConfig, type Settings } from "../SessionConfig.ts"
import { SessionError } from "../SessionError.ts"
import * as Sessions from "../Sessions.ts"
import { type Listed, SessionPort } from "../SessionStore.ts"
import { describe, failed, type Failure } from "./failure.ts"

/** Which tables of which database. */
export interface Place {
  readonly url: Redacted.Redacted<string>
  readonly prefix: string
}

/** Whose sessions: those of a subject with an audience, under these settings. */
export interface Whose {
  readonly settings: Settings
  readonly subject: string
  readonly audience: string
}

/** What a database fails with becomes one line; a prefix that cannot be is a matter of settings. */
const tell = (error: unknown): Failure | SessionError =>
  error instanceof SessionError && error.reason._tag === "InvalidConfig"
    ? error
    : failed(`the database: ${describe(error)}`)

const connected = <A, E>(
  { url }: Place,
  effect: Effect.Effect<A, E, SqlClient.SqlClient>
): Effect.Effect<A, Failure | SessionError> =>
  effect.pipe(
    Effect.provide(PgClient.layer({ url, applicationName: "effect-session" })),
    Effect.mapError(tell)
  )

export const migrate = (place: Place): Effect.Effect<void, Failure | SessionError> =>
  connected(place, Effect.scoped(Effect.asVoid(Layer.build(PgSessionStore.layerMigrations(place)))))

export const sweep = (place: Place): Effect.Effect<PgSessionStore.Removed, Failure | SessionError> =>
  connected(place, PgSessionStore.cleanup(place))

/** Needs no key: a handle is what it is. */
export const revoke = (place: Place, handle: string): Effect.Effect<boolean, Failure | SessionError> =>
  connected(
    place,
    Effect.provide(SessionPort.use((port) => port.revoke(handle)), PgSessionStore.layerStorage(place))
  )

/** `Sessions` asks a class for its audience, and the command line has none. */
const classOf = ({ audience, settings }: Whose): Session.Any => ({
  key: "effect-session/cli",
  definition: { audience, cookieName: settings.cookieName }
})

const withSessions = <A>(
  place: Place,
  { settings }: Whose,
  use: (sessions: Sessions.Sessions["Service"]) => Effect.Effect<A, SessionError>
): Effect.Effect<A, Failure | SessionError> =>
  connected(
    place,
    Sessions.Sessions.use(use).pipe(
      Effect.provide(Layer.provide(Sessions.layer, PgSessionStore.layerStorage(place))),
      Effect.provideService(SessionConfig, settings)
    )
  )

export const list = (place: Place, whose: Whose): Effect.Effect<ReadonlyArray<Listed>, Failure | SessionError> =>
  withSessions(place, whose, (sessions) => sessions.list(classOf(whose), whose.subject))

export const revokeAll = (place: Place, whose: Whose): Effect.Effect<number, Failure | SessionError> =>
  withSessions(place, whose, (sessions) => sessions.revokeAll(classOf(whose), whose.subject))
