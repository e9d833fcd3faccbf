/** `migrate`, `sweep`, `list` and `revoke`: the sessions of a database. */
import { Effect, Option, Redacted } from "effect"
import type { FileSystem } from "effect"
import { Command, Flag } from "effect/cli"
import { isMissing, missing } from "../internal/peers.ts"
import { failed, refused, usage } from "./failure.ts"
import type { Failure } from "./failure.ts"
import * as Output from "./output.ts"
import type { Place, Whose } from "./sessions.ts"
import * as SettingsFlags from "./settings.ts"

const placeFlags = {
  databaseUrlFile: Flag.Path("database-url-file", { pathType: "file" }).pipe(
    Flag.withDescription("Read the URL of the database from this file, instead of DATABASE_URL"),
    Flag.optional
  ),
  prefix: Flag.String("prefix").pipe(
    Flag.withDescription("The beginning of the tables' names (default: session)"),
    Flag.withDefault("session")
  )
}

const whoseFlags = {
  subject: Flag.String("subject").pipe(Flag.withDescription("Whose sessions, as the application named its user")),
  audience: Flag.String("audience").pipe(
    Flag.withDescription("Of which audience (default: the setting, \"default\")"),
    Flag.optional
  ),
  ...SettingsFlags.flags
}

const help =
  "The database is that of DATABASE_URL, such as postgres://user:password@host/name. A URL with a password " +
  "is never an argument. Exits with 3 if the database does not answer, or has no such tables."

const placeOf = Effect.fnUntraced(function*(
  flags: { readonly databaseUrlFile: Option.Option<string>; readonly prefix: string }
): Effect.fn.Return<Place, Failure, FileSystem.FileSystem> {
  if (Option.isSome(flags.databaseUrlFile)) {
    return { url: yield* SettingsFlags.readSecret(flags.databaseUrlFile.value), prefix: flags.prefix }
  }
  const url = process.env["DATABASE_URL"]
  return url === undefined || url === ""
    ? yield* usage("Set DATABASE_URL, or give --database-url-file.")
    : { url: Redacted.make(url), prefix: flags.prefix }
})

const whoseOf = Effect.fnUntraced(function*(
  flags: SettingsFlags.Source & { readonly audience: Option.Option<string> },
  subject: string
) {
  const settings = yield* SettingsFlags.resolve(flags)
  const whose: Whose = { settings, subject, audience: Option.getOrElse(flags.audience, () => settings.audience) }
  return whose
})

/** The client of a database is an optional peer. */
const sessions = Effect.tryPromise({
  try: () => import("./sessions.ts"),
  catch: (cause) => cause
}).pipe(
  Effect.catch((cause) =>
    isMissing(cause, "@effect/sql-pg") ? Effect.fail(failed(missing("@effect/sql-pg"))) : Effect.die(cause)
  )
)

export const migrate = Command.make(
  "migrate",
  { ...placeFlags, json: Output.json },
  Effect.fnUntraced(function*({ json, ...flags }) {
    const place = yield* placeOf(flags)
    yield* (yield* sessions).migrate(place)
    yield* Output.answer(json, { prefix: place.prefix }, () => `The tables ${place.prefix}_... are up to date.`)
  })
).pipe(
  Command.withShortDescription("Make the tables, or bring them up to date"),
  Command.withDescription(
    `Makes the tables of the session store, or brings them up to date. Doing it again does nothing.\n\n${help}`
  )
)

export const sweep = Command.make(
  "sweep",
  { ...placeFlags, json: Output.json },
  Effect.fnUntraced(function*({ json, ...flags }) {
    const place = yield* placeOf(flags)
    const removed = yield* (yield* sessions).sweep(place)
    yield* Output.answer(
      json,
      removed,
      () => `Removed ${removed.sessions} expired sessions and ${removed.superseded} superseded versions.`
    )
  })
).pipe(
  Command.withShortDescription("Remove what is left of expired sessions"),
  Command.withDescription(
    `Removes once what nobody can use any more: expired sessions, and versions superseded long ago.\n\n${help}`
  )
)

const iso = (seconds: number): string => new Date(seconds * 1000).toISOString().replace(".000Z", "Z")

export const list = Command.make(
  "list",
  { ...whoseFlags, ...placeFlags, json: Output.json },
  Effect.fnUntraced(function*({ json, subject, ...flags }) {
    const place = yield* placeOf(flags)
    const whose = yield* whoseOf(flags, subject)
    const listed = yield* (yield* sessions).list(place, whose)
    yield* Output.answer(
      json,
      listed.map(({ createdAt, deadline, handle, lastSeenAt }) => ({
        handle,
        created_at: createdAt,
        last_seen_at: lastSeenAt,
        deadline
      })),
      () =>
        listed.length === 0
          ? "No sessions."
          : listed.map(({ createdAt, deadline, handle, lastSeenAt }) =>
            `${handle}  created ${iso(createdAt)}  last seen ${iso(lastSeenAt)}  ends ${iso(deadline)}`
          ).join("\n")
    )
  })
).pipe(
  Command.withShortDescription("List a subject's sessions"),
  Command.withDescription(
    "Lists the sessions of a subject, newest first, with the handles to end them by. Subjects are stored under a keyed " +
      `hash, so it needs the key that the server has.\n\n${help}\n\n${SettingsFlags.help}`
  ),
  Command.withExamples([{ command: "effect-session list --subject alice --json", description: "Alice's sessions" }])
)

export const revoke = Command.make(
  "revoke",
  {
    handle: Flag.String("handle").pipe(
      Flag.withDescription("The session with this handle, with all its audiences"),
      Flag.optional
    ),
    ...whoseFlags,
    subject: Flag.optional(whoseFlags.subject),
    ...placeFlags,
    json: Output.json
  },
  Effect.fnUntraced(function*({ handle, json, subject, ...flags }) {
    const place = yield* placeOf(flags)
    if (Option.isSome(handle) === Option.isSome(subject)) return yield* usage("Give one of --handle and --subject.")
    if (Option.isSome(handle) && Option.isSome(flags.audience)) {
      return yield* usage("--audience goes with --subject: a handle is that of a session with all its audiences.")
    }
    const database = yield* sessions
    const revoked = Option.isSome(handle)
      ? Number(yield* database.revoke(place, handle.value))
      : yield* database.revokeAll(place, yield* whoseOf(flags, Option.getOrElse(subject, () => "")))
    yield* Output.answer(json, { revoked }, () => revoked === 0 ? "No such session." : `Ended ${revoked} session(s).`)
    if (revoked === 0) return yield* refused
  })
).pipe(
  Command.withShortDescription("End sessions"),
  Command.withDescription(
    "Ends the session with a handle, or all sessions of a subject with an audience. No request that is under way brings " +
      "them back. Exits with 1 if there was none. A subject needs the key that the server has, a handle does not." +
      `\n\n${help}\n\n${SettingsFlags.help}`
  ),
  Command.withExamples([
    { command: "effect-session revoke --handle 018f...", description: "End one session" },
    { command: "effect-session revoke --subject alice", description: "Log alice out everywhere" }
  ])
)
