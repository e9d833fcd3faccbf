/** Reading stored data, and what becomes of data that do not fit. */
import type { Schema } from "effect"
import { Effect, Option, SchemaIssue } from "effect"
import { SessionDataError } from "../SessionError.ts"
import * as SessionEvents from "../SessionEvents.ts"
import type { Json } from "../SessionState.ts"

/** What a session class says about reading. */
interface Readable {
  readonly decode: (stored: Json) => Effect.Effect<unknown, Schema.SchemaError>
  readonly onMismatch: "reset" | "fail" | ((stored: Json) => Option.Option<unknown>)
}

/** The data in their class's type; `none` where there are none, or they were given up. */
export const decode = (
  session: string,
  definition: Readable,
  stored: Json
): Effect.Effect<Option.Option<unknown>, SessionDataError> =>
  Effect.matchEffect(definition.decode(stored), {
    onSuccess: Effect.succeedSome,
    onFailure: (error) =>
      // A session that has a subject but no data yet, here and in lua-resty-session.
      isEmptyObject(stored) ? Effect.succeedNone : Effect.matchEffect(definition.decode(withArrays(stored, error)), {
        onSuccess: Effect.succeedSome,
        onFailure: () => giveUp(session, definition, stored, error)
      })
  })

const giveUp = (
  session: string,
  definition: Readable,
  stored: Json,
  cause: Schema.SchemaError
): Effect.Effect<Option.Option<unknown>, SessionDataError> => {
  if (definition.onMismatch === "fail") return Effect.fail(new SessionDataError({ session, cause }))
  const migrated = definition.onMismatch === "reset" ? Option.none() : definition.onMismatch(stored)
  return Option.isSome(migrated)
    ? Effect.succeed(migrated)
    : Effect.as(SessionEvents.emit({ _tag: "SessionReset", session }), migrated)
}

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/**
 * Lua has one empty table, and lua-resty-session writes it as `{}`: an array that
 * it saved while empty comes back as an object. Where the schema complains about
 * an empty object, an empty array is tried in its place.
 */
const withArrays = (stored: Json, error: Schema.SchemaError): Json =>
  formatIssues(error.issue).issues.reduce(
    (json, { path = [] }) => replaceEmpty(json, path.map(keyOf)),
    stored
  )

const keyOf = (segment: PropertyKey | { readonly key: PropertyKey }): string =>
  String(typeof segment === "object" ? segment.key : segment)

const isEmptyObject = (json: Json): boolean =>
  typeof json === "object" && json !== null && !Array.isArray(json) && Object.keys(json).length === 0

const replaceEmpty = (json: Json, [key, ...rest]: ReadonlyArray<string>): Json => {
  if (key === undefined) return isEmptyObject(json) ? [] : json
  if (typeof json !== "object" || json === null) return json
  const replaced = (child: Json, name: string | number) => String(name) === key ? replaceEmpty(child, rest) : child
  return isArray(json)
    ? json.map(replaced)
    : Object.fromEntries(Object.entries(json).map(([name, child]) => [name, replaced(child, name)]))
}

// `Array.isArray` does not tell a readonly array from an object.
const isArray = (json: Json): json is ReadonlyArray<Json> => Array.isArray(json)
