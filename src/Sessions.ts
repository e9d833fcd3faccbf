/**
 * Sessions other than the current one: listing those of a user, and ending them.
 *
 * **When to use**
 *
 * Use for "where am I logged in", "log me out everywhere else", and whatever an
 * administrator or a password change has to end. Needs a store on the server:
 * `SessionStore.layerCookie` provides no `SessionPort`, and does not compile here.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Option } from "effect"
import * as Crypto from "./Crypto.ts"
import { seconds } from "./internal/clock.ts"
import { subjectHashes } from "./internal/subject.ts"
import type { Any } from "./Session.ts"
import { SessionConfig } from "./SessionConfig.ts"
import type { SessionError } from "./SessionError.ts"
import * as SessionEvents from "./SessionEvents.ts"
import { type Listed, SessionPort } from "./SessionStore.ts"

/**
 * Lists and ends sessions by their subject, or by their handle.
 *
 * **Details**
 *
 * When an operation succeeds, the store has acknowledged it: no request, however
 * late, brings an ended session back. A subject is looked up under every
 * configured key, so that a rotation loses nobody.
 *
 * **Gotchas**
 *
 * A handle is public: whether it belongs to whoever asks is the application's
 * question. `list` answers it.
 *
 * **Example** (Log me out everywhere else)
 *
 * ```ts
 * import { Effect, Option, Schema } from "effect"
 * import * as Session from "effect-session/Session"
 * import { Sessions } from "effect-session/Sessions"
 *
 * class Account extends Session.Service<Account>()("shop/Account", { data: Schema.Struct({}), initial: {} }) {}
 *
 * export const logoutElsewhere = Effect.gen(function*() {
 *   const account = yield* Account
 *   const sessions = yield* Sessions
 *   const subject = yield* account.subject
 *   if (Option.isNone(subject)) return 0
 *   return yield* sessions.revokeAll(Account, subject.value, { except: yield* account.handle })
 * })
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Sessions extends Context.Service<Sessions, {
  /** The sessions of a subject with the class's audience, newest first. */
  readonly list: (session: Any, subject: string) => Effect.Effect<ReadonlyArray<Listed>, SessionError>

  /** Ends the session with this handle, with all its audiences; whether it was there. */
  readonly revoke: (handle: string) => Effect.Effect<boolean, SessionError>

  /** Ends all sessions of a subject with the class's audience; how many. */
  readonly revokeAll: (session: Any, subject: string, options?: {
    /** The handle of a session to spare, as `Handle.handle` has it. */
    readonly except?: Option.Option<string> | undefined
  }) => Effect.Effect<number, SessionError>
}>()("effect-session/Sessions") {}

/**
 * As `layer`, with the crypto from the context.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith: Layer.Layer<Sessions, never, SessionPort | SessionConfig | Crypto.Crypto> = Layer.effect(
  Sessions,
  Effect.gen(function*() {
    const port = yield* SessionPort
    const settings = yield* SessionConfig
    const hashes = yield* subjectHashes(settings, yield* Crypto.Crypto)
    const audienceOf = (session: Any): string => session.definition.audience ?? settings.audience
    return Sessions.of({
      list: (session, subject) =>
        Effect.flatMap(
          Effect.zip(hashes(subject), seconds),
          ([subjects, now]) => port.list(audienceOf(session), subjects, now)
        ),
      revoke: (handle) =>
        Effect.tap(
          port.revoke(handle),
          (ended) => ended ? SessionEvents.emit({ _tag: "SessionEnded", handle }) : Effect.void
        ),
      revokeAll: (session, subject, options) =>
        Effect.flatMap(hashes(subject), (subjects) =>
          port.revokeAll(
            audienceOf(session),
            subjects,
            Option.getOrUndefined(options?.except ?? Option.none())
          ))
    })
  })
)

/**
 * Provides `Sessions` over the store at hand.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Sessions, never, SessionPort | SessionConfig> = Layer.provide(
  layerWith,
  Crypto.layer
)
