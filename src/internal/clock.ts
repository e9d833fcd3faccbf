import { Clock, Effect } from "effect"

/** The clock in whole unix seconds, in which all times of sessions are. */
export const seconds: Effect.Effect<number> = Clock.clockWith((clock) =>
  Effect.succeed(Math.floor(clock.currentTimeMillisUnsafe() / 1000))
)
