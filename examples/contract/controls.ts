/**
 * What a test holds in its hands, so that it needs no sleeping: GET /_paused counts the handlers and writes that are
 * held, POST /_resume ends all pauses, POST /_clock?ahead=60 puts the clock a minute forward.
 */
import { Clock, Context, Deferred, Effect, Layer } from "effect"

export class Controls extends Context.Service<Controls, {
  /** Waits so many milliseconds, or until all pauses are ended. */
  readonly pause: (millis: number) => Effect.Effect<void>
  /** How many fibers pause now. */
  readonly paused: Effect.Effect<number>
  /** Ends all pauses. */
  readonly resume: Effect.Effect<void>
  /** Puts the clock forward. Sleeping takes as long as ever. */
  readonly advance: (seconds: number) => Effect.Effect<void>
}>()("contract/Controls") {}

const makePauses = (): Pick<Controls["Service"], "pause" | "paused" | "resume"> => {
  let paused = 0
  let end = Deferred.makeUnsafe<void>()
  return {
    pause: (millis) =>
      millis === 0 ? Effect.void : Effect.suspend(() => {
        paused++
        return Effect.race(Effect.sleep(millis), Deferred.await(end))
      }).pipe(Effect.ensuring(Effect.sync(() => paused--))),
    paused: Effect.sync(() => paused),
    resume: Effect.suspend(() => {
      const ended = end
      end = Deferred.makeUnsafe()
      return Effect.asVoid(Deferred.succeed(ended, undefined))
    })
  }
}

export const layer: Layer.Layer<Controls> = Layer.effectContext(
  Effect.map(Clock.Clock, (real) => {
    let ahead = 0
    const clock: Clock.Clock = Object.assign(Object.create(real), {
      currentTimeMillisUnsafe: () => real.currentTimeMillisUnsafe() + ahead,
      currentTimeMillis: Effect.map(real.currentTimeMillis, (millis) => millis + ahead)
    })
    return Context.make(Controls, {
      ...makePauses(),
      advance: (seconds) =>
        Effect.sync(() => {
          ahead += seconds * 1000
        })
    }).pipe(Context.add(Clock.Clock, clock))
  })
)
