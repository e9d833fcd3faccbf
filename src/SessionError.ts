/**
 * What can go wrong with a session, as types.
 *
 * Two things are kept apart. A **refusal** is the ordinary fate of a bad cookie:
 * the request goes on without a session, and the refusal says why. A
 * **`SessionError`** is a failure that somebody has to handle: the store did not
 * answer, the data does not fit, the configuration is wrong.
 *
 * @since 0.1.0
 */
import { Data, Effect, ErrorReporter } from "effect"
import { HttpServerRespondable, HttpServerResponse } from "effect/http"
import { noStore } from "./internal/noStore.ts"
import type { Refusal } from "./SessionState.ts"
import type { Port } from "./SessionStore.ts"

/**
 * A setting has a value that cannot work. Raised when the layer is built, never
 * by a request.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidConfig extends Data.TaggedError("InvalidConfig")<{
  /** The setting, by its name in `SessionConfig.Options`. */
  readonly setting: string
  /** What is wrong with its value. Never contains a secret. */
  readonly problem: string
  /** What to write instead. */
  readonly fix: string
}> {
  override get message(): string {
    return `${this.setting}: ${this.problem}. ${this.fix}`
  }
}

/**
 * The store failed or did not answer in time. The response to the client is a
 * 503 without a session cookie.
 *
 * @category errors
 * @since 0.1.0
 */
export class StoreFailed extends Data.TaggedError("StoreFailed")<{
  /** The operation of the port, or the commit as a whole if its time ran out. */
  readonly operation: keyof Port | "cleanup" | "commit"
  readonly cause: unknown
}> {
  override get message(): string {
    return `The session store failed to ${this.operation}`
  }
}

/**
 * The data would not fit into nine cookies of 4096 bytes, or into the 24-bit
 * size field of the header.
 *
 * @category errors
 * @since 0.1.0
 */
export class TooLarge extends Data.TaggedError("TooLarge")<{
  /** Characters of payload, after deflate and base64url. */
  readonly size: number
  readonly limit: number
}> {
  override get message(): string {
    return `The session needs ${this.size} characters of cookie, and at most ${this.limit} fit`
  }
}

/**
 * The value given to `set` or returned by an `update` function does not encode
 * with the session's schema.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidData extends Data.TaggedError("InvalidData")<{
  readonly session: string
  readonly cause: unknown
}> {
  override get message(): string {
    return `The value does not fit the schema of session ${this.session}`
  }
}

/**
 * The session was already committed: by `commit`, or because the response is on
 * its way. The change was not recorded.
 *
 * @category errors
 * @since 0.1.0
 */
export class AlreadyCommitted extends Data.TaggedError("AlreadyCommitted")<{}> {
  override get message(): string {
    return "The session was already committed; change it before `commit` and before the response leaves"
  }
}

/**
 * The cookie that a commit made cannot reach the client, because the response
 * is a protocol upgrade and the session lives in the cookie.
 *
 * @category errors
 * @since 0.1.0
 */
export class Undeliverable extends Data.TaggedError("Undeliverable")<{}> {
  override get message(): string {
    return "An upgraded request cannot set a cookie; use a server-side store, or change the session in an earlier request"
  }
}

/**
 * The session was ended by another request (logout, revocation) while this one
 * ran. Its changes were dropped: a logout wins.
 *
 * @category errors
 * @since 0.1.0
 */
export class Gone extends Data.TaggedError("Gone")<{}> {
  override get message(): string {
    return "The session was ended by another request"
  }
}

/**
 * Other requests kept changing the session; the changes were replayed as often
 * as allowed and still met a newer version.
 *
 * @category errors
 * @since 0.1.0
 */
export class Conflict extends Data.TaggedError("Conflict")<{
  readonly attempts: number
}> {
  override get message(): string {
    return `The session was changed by other requests ${this.attempts} times in a row`
  }
}

/**
 * Every reason of a `SessionError`.
 *
 * @category errors
 * @since 0.1.0
 */
export type SessionErrorReason =
  | AlreadyCommitted
  | Conflict
  | Gone
  | InvalidConfig
  | InvalidData
  | StoreFailed
  | TooLarge
  | Undeliverable

/**
 * The one error of this library. `reason` says which, so that a handler can pick
 * with `Effect.catchReason("SessionError", "TooLarge", ...)`.
 *
 * **Details**
 *
 * A `SessionError` that nobody handles becomes a response without a body: 503 for
 * `StoreFailed`, 409 for `Gone` and `Conflict`, 500 for the others. `Gone` and
 * `Conflict` are reported at level Debug, since users cause them; the others are
 * errors of the program or its surroundings.
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionError extends Data.TaggedError("SessionError")<{
  readonly reason: SessionErrorReason
}> {
  override get message(): string {
    return this.reason.message
  }

  override get cause(): unknown {
    return this.reason
  }

  /** The status of the response that this error becomes if nobody handles it. */
  get status(): number {
    return statusOf(this.reason)
  }

  override get [ErrorReporter.severity](): "Debug" | "Error" {
    return this.status === 409 ? "Debug" : "Error"
  }

  [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return Effect.succeed(HttpServerResponse.empty({ status: this.status, headers: noStore }))
  }
}

const statusOf = ({ _tag }: SessionErrorReason): number => {
  switch (_tag) {
    case "StoreFailed":
      return 503
    case "Conflict":
    case "Gone":
      return 409
    default:
      return 500
  }
}

/**
 * A stored session does not fit the schema of its class, and the class says
 * `onMismatch: "fail"`.
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionDataError extends Data.TaggedError("SessionDataError")<{
  readonly session: string
  readonly cause: unknown
}> {
  override get message(): string {
    return `The stored data of session ${this.session} does not fit its schema`
  }
}

/**
 * A route that needs a session was asked without one. `refusal` says why, for
 * logs; clients only see the status 401.
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionRequired extends Data.TaggedError("SessionRequired")<{
  readonly refusal: Refusal
}> {
  override get message(): string {
    return `No session: ${this.refusal}`
  }

  [HttpServerRespondable.symbol](): Effect.Effect<HttpServerResponse.HttpServerResponse> {
    return Effect.succeed(HttpServerResponse.empty({ status: 401, headers: noStore }))
  }

  override readonly [ErrorReporter.ignore] = true
}
