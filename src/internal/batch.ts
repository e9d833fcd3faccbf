/** Operations that are asked for at the same time, carried out as one. */
import { Array, Cause, Effect, Exit, Option, Request, RequestResolver } from "effect"
import type { Fiber } from "effect"
import type { SessionError } from "../SessionError.ts"

interface Options<In, Out> {
  /** Several operations as one, with their results in the same order. */
  readonly all: (inputs: ReadonlyArray<In>, now: number) => Effect.Effect<ReadonlyArray<Out>, SessionError>
  /** One operation: where it is the only one of its time, and where `all` has failed. */
  readonly alone: (input: In, now: number) => Effect.Effect<Out, SessionError>
  /** Whether each may be done alone after `all` has failed like this. */
  readonly isRepeatable: (error: SessionError) => boolean
}

/** So many are collected, at most. */
const most = 64

/**
 * Collects the operations of one turn of the event loop and carries them out as one.
 *
 * Nobody waits for longer than that turn: who finds others under way starts beside them.
 * Those who find none go in two halves, so that one is worked on while the other is
 * answered. What one of them fails with, the others do not; and what nobody waits for any
 * more is interrupted, as it would be alone.
 */
export const batched = <In, Out>(
  { all, alone, isRepeatable }: Options<In, Out>
): (input: In, now: number) => Effect.Effect<Out, SessionError> => {
  interface Operation extends Request.Request<Out, SessionError> {
    readonly input: In
    readonly now: number
    /** While it is carried out and somebody waits for it. */
    batch: Batch | undefined
  }
  interface Batch {
    readonly fiber: Fiber.Fiber<unknown, unknown>
    waiting: number
  }
  type Entries = Array.NonEmptyReadonlyArray<Request.Entry<Operation>>

  const operation = Request.of<Operation>()
  let underWay = 0

  const counted = <A>(effect: Effect.Effect<A, SessionError>): Effect.Effect<A, SessionError> =>
    Effect.suspend(() => {
      underWay++
      return Effect.ensuring(effect, Effect.sync(() => underWay--))
    })

  /** Says whether nobody waits for the rest of its batch either. */
  const leave = (request: Operation): boolean => {
    const { batch } = request
    if (batch === undefined) return false
    request.batch = undefined
    batch.waiting--
    return batch.waiting === 0
  }

  const complete = ({ completeUnsafe, request }: Request.Entry<Operation>, exit: Exit.Exit<Out, SessionError>) => {
    leave(request)
    completeUnsafe(exit)
  }

  const separately = (entries: Entries): Effect.Effect<void> =>
    Effect.forEach(
      entries,
      (entry) =>
        Effect.map(
          Effect.exit(counted(alone(entry.request.input, entry.request.now))),
          (exit) => complete(entry, exit)
        ),
      { concurrency: "unbounded", discard: true }
    )

  const together = (entries: Entries): Effect.Effect<void> =>
    Effect.flatMap(
      Effect.exit(counted(all(entries.map(({ request }) => request.input), entries[0].request.now))),
      (exit) => {
        if (Exit.isSuccess(exit)) {
          for (const [entry, result] of Array.zip(entries, exit.value)) complete(entry, Exit.succeed(result))
          return Effect.void
        }
        const error = Cause.findErrorOption(exit.cause)
        if (Option.isSome(error) && isRepeatable(error.value)) return separately(entries)
        for (const entry of entries) complete(entry, Exit.failCause(exit.cause))
        return Effect.void
      }
    )

  const carryOut = (entries: Entries): Effect.Effect<void> =>
    entries.length === 1 ? separately(entries) : together(entries)

  const resolver = RequestResolver.makeWith<Operation>({
    batchKey: ({ request }) => request.now,
    delay: Effect.yieldNow,
    collectWhile: (entries) => entries.size < most,
    runAll: (entries) =>
      Effect.withFiber((fiber) => {
        const batch = { fiber, waiting: entries.length }
        for (const { request } of entries) request.batch = batch
        return underWay > 0
          ? carryOut(entries)
          : Effect.forEach(Array.chunksOf(entries, Math.ceil(entries.length / 2)), carryOut, {
            concurrency: "unbounded",
            discard: true
          })
      })
  })

  return (input, now) =>
    Effect.withFiber(({ context }) =>
      Effect.callback((resume) => {
        const request = operation({ input, now, batch: undefined })
        const withdraw = Effect.requestUnsafe(request, { resolver, onExit: resume, context })
        return Effect.sync(() => {
          withdraw()
          const { batch } = request
          if (leave(request)) batch?.fiber.interruptUnsafe()
        })
      })
    )
}
