/** Effects that run at a time of our choosing. */
import { Clock, Context, Effect } from "effect"

/** A clock that stands still at this unix second. Sleeping takes as long as ever. */
export const clockAt = (now: number): Clock.Clock =>
  Object.assign(Object.create(Context.get(Context.empty(), Clock.Clock)), {
    currentTimeMillisUnsafe: () => now * 1000,
    currentTimeMillis: Effect.succeed(now * 1000)
  })

/** Runs an effect at this unix second. */
export const atTime = (now: number) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(effect, Clock.Clock, clockAt(now))
