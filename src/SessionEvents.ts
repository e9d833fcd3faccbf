/**
 * What happens to sessions, as events: for audit logs, alarms and metrics.
 *
 * Every event is counted in the metric `effect_session_events`, with its name and
 * its reason as attributes. An application that wants more sets a `listener`.
 *
 * **Example** (An alarm for stolen cookies)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as SessionEvents from "effect-session/SessionEvents"
 *
 * export const Alarm = Layer.succeed(SessionEvents.listener, (event) =>
 *   event._tag === "SessionReused" ? Effect.logError("A superseded session came back", event.handle) : Effect.void)
 * ```
 *
 * @since 0.1.0
 */
import { Context, Effect, Metric } from "effect"
import type { Refusal } from "./SessionState.ts"

/**
 * Something that happened to a session. No event carries a secret; `handle` is
 * the session's public id, where it has one.
 *
 * @category models
 * @since 0.1.0
 */
export type SessionEvent =
  /** A cookie was presented and opened no session. */
  | { readonly _tag: "SessionRefused"; readonly reason: Refusal }
  | { readonly _tag: "SessionCreated"; readonly handle: string | undefined }
  /** A new version, with changes or because time asked for it. */
  | { readonly _tag: "SessionSaved"; readonly handle: string | undefined }
  /** A new version, and the old one dead at once. */
  | { readonly _tag: "SessionRenewed"; readonly handle: string | undefined }
  /** A remember cookie brought the session back. `SessionRenewed` follows where the request renewed it as well. */
  | { readonly _tag: "SessionRescued"; readonly handle: string | undefined }
  | { readonly _tag: "SessionTouched"; readonly handle: string | undefined }
  /** The session was ended by this request. */
  | { readonly _tag: "SessionEnded"; readonly handle: string | undefined }
  /** A superseded version was presented within its grace, and led to its successor. */
  | { readonly _tag: "SessionForwarded"; readonly handle: string | undefined }
  /** A superseded version was presented after its grace: a replayed, maybe stolen cookie. */
  | { readonly _tag: "SessionReused"; readonly handle: string }
  /** The session was ended by another request while this one ran; its changes were dropped. */
  | { readonly _tag: "SessionGone"; readonly handle: string | undefined }
  /** Another request had made a newer version; the changes were replayed on it. */
  | { readonly _tag: "SessionConflict"; readonly handle: string | undefined }
  /** Stored data no longer fit the schema of its class and were given up, as `onMismatch` says. */
  | { readonly _tag: "SessionReset"; readonly session: string }

/**
 * Called with every event. It cannot fail, and it should be quick: requests wait
 * for it.
 *
 * @category services
 * @since 0.1.0
 */
export const listener: Context.Reference<(event: SessionEvent) => Effect.Effect<void>> = Context.Reference<
  (event: SessionEvent) => Effect.Effect<void>
>("effect-session/SessionEvents/listener", { defaultValue: () => () => Effect.void })

const events = Metric.counter("effect_session_events", {
  description: "What happened to sessions",
  incremental: true
})

const counters = new Map<string, Metric.Counter<number>>()

/** The counter of an event. There are as many as events and reasons. */
const counterOf = (event: SessionEvent): Metric.Counter<number> => {
  const reason = "reason" in event ? event.reason : ""
  const key = event._tag + reason
  const known = counters.get(key)
  if (known !== undefined) return known
  const counter = Metric.withAttributes(events, { event: event._tag, ...(reason === "" ? {} : { reason }) })
  counters.set(key, counter)
  return counter
}

/**
 * Counts an event and tells the listener.
 *
 * @category events
 * @since 0.1.0
 */
export const emit = (event: SessionEvent): Effect.Effect<void> =>
  Effect.flatMap(
    Metric.update(counterOf(event), 1),
    () => listener.use((tell) => tell(event))
  )
