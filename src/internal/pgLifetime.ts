/**
 * Waits for the end of sessions: one connection listens for all of them, and each
 * looks at its row when its deadline has come.
 */
import type { PgClient } from "@effect/sql-pg/PgClient"
import { Deferred, Effect, Queue, Schedule } from "effect"
import type { Scope } from "effect"
import type { SessionError } from "../SessionError.ts"
import { seconds } from "./clock.ts"
import { isHandle, runner } from "./pgPort.ts"
import { type Names, statements } from "./pgStatements.ts"

interface Living {
  readonly handle: string
  readonly deadline: number
}

/** Seconds after which a row is looked at again, in case its connection died without a word. */
const longestSleep = 300

// Without jitter, all processes would come back to a database at the same moment.
const everySecond = Schedule.jittered(Schedule.spaced("1 second"))

/** Until it succeeds: the schedule never gives up, and so no error gets out to die of. */
const persist = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A> => Effect.orDie(Effect.retry(effect, everySecond))

export const make = (
  client: PgClient,
  names: Names
): Effect.Effect<(handle: string) => Effect.Effect<void>, never, Scope.Scope> => {
  const run = runner(client)
  const { deadlines } = statements(names)
  const waiting = new Map<string, Set<Deferred.Deferred<void>>>()

  const tell = (handle: string): Effect.Effect<void> =>
    Effect.forEach(waiting.get(handle) ?? [], (waiter) => Deferred.succeed(waiter, undefined), { discard: true })

  const living = (handles: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Living>, SessionError> =>
    Effect.flatMap(seconds, (now) => run<Living>("load", deadlines, [handles, now]))

  // What ended while nobody listened was notified to nobody.
  const catchUp = Effect.suspend(() => {
    const handles = [...waiting.keys()]
    return Effect.flatMap(living(handles), (rows) => {
      const alive = new Set(rows.map(({ handle }) => handle))
      return Effect.forEach(handles.filter((handle) => !alive.has(handle)), tell, { discard: true })
    })
  })

  const listen = Effect.scoped(
    Effect.flatMap(client.listen(names.channel), (notifications) =>
      Effect.andThen(
        catchUp,
        Effect.forever(Effect.flatMap(Queue.take(notifications), ({ payload }) => tell(payload)))
      ))
  ).pipe(
    Effect.tapError((error) => Effect.logDebug("Lost the connection that listens for the end of sessions", error)),
    persist
  )

  const expired = (handle: string): Effect.Effect<void> =>
    Effect.flatMap(
      Effect.zip(persist(living([handle])), seconds),
      ([[row], now]) =>
        row === undefined
          ? Effect.void
          : Effect.delay(expired(handle), 1000 * Math.min(Math.max(1, row.deadline + 1 - now), longestSleep))
    )

  const enter = (handle: string) =>
    Effect.sync(() => {
      const waiter = Deferred.makeUnsafe<void>()
      const waiters = waiting.get(handle)
      if (waiters === undefined) waiting.set(handle, new Set([waiter]))
      else waiters.add(waiter)
      return waiter
    })

  const leave = (handle: string, waiter: Deferred.Deferred<void>) =>
    Effect.sync(() => {
      const waiters = waiting.get(handle)
      waiters?.delete(waiter)
      if (waiters?.size === 0) waiting.delete(handle)
    })

  const ended = (handle: string): Effect.Effect<void> =>
    Effect.acquireUseRelease(
      enter(handle),
      // In this order: a revocation that the row does not show yet is heard of.
      (waiter) => Effect.raceFirst(Deferred.await(waiter), expired(handle)),
      (waiter) => leave(handle, waiter)
    )

  return Effect.as(
    Effect.forkScoped(listen),
    // As the database writes it.
    (handle) => isHandle(handle) ? ended(handle.toLowerCase()) : Effect.void
  )
}
