import { Clock, Effect } from "effect"

/** The clock in whole unix seconds, in which all times of sessions are. */
export const seconds: Effect.Effect<number> = Effect.map(Clock.currentTimeMillis, (millis) => Math.floor(millis / 1000))
