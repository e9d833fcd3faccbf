import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as PgLifetime from "../src/internal/pgLifetime.ts"
import { names } from "../src/internal/pgStatements.ts"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import { SessionPort } from "../src/SessionStore.ts"
import {
  create,
  createRemembered,
  grace,
  newEntry,
  renew,
  replace,
  start,
  touch
} from "../src/testing/checks/sessions.ts"
import { connect, countingStream, Database, layerClient, layerDatabase } from "./utils/postgres.ts"

const layerStore = PgSessionStore.layer.pipe(
  Layer.provideMerge(layerClient()),
  Layer.provideMerge(layerDatabase)
)

const until = <E, R>(condition: Effect.Effect<boolean, E, R>) =>
  Effect.repeat(Effect.delay(condition, 5), { until: (met) => met })

/** A clock of the test's, for what waits: the pool of connections would catch up with all that time. */
const makeClock = Effect.tap(TestClock.make(), (clock) => clock.setTime(start * 1000))

/** Lets time pass until the fiber is done; the seconds then. */
const pass = Effect.fnUntraced(function*(clock: TestClock.TestClock, fiber: Fiber.Fiber<unknown>, step: number) {
  while (fiber.pollUnsafe() === undefined) {
    yield* clock.adjust(step * 1000)
    // For the database, which knows nothing of this clock.
    yield* Effect.sleep(10)
  }
  return clock.currentTimeMillisUnsafe() / 1000
})

layer(layerStore, { excludeTestServices: true })("SessionLifetime", (it) => {
  /** Another process, that waits for the end of sessions. */
  const makeProcess = Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const applicationName = crypto.randomUUID()
    const { count, stream } = countingStream((yield* Database).url)
    const client = yield* connect({ applicationName, stream })
    const { ended } = yield* PgSessionStore.SessionLifetime.pipe(
      Effect.provide(
        yield* Layer.build(
          PgSessionStore.layerLifetime({}).pipe(Layer.provide(PgClient.layerFrom(Effect.succeed(client))))
        )
      )
    )
    const doing = (query: string) =>
      Effect.map(
        sql<{ readonly pid: number }>`SELECT pid FROM pg_stat_activity
          WHERE application_name = ${applicationName} AND state = 'idle' AND query LIKE ${query}`,
        (rows) => rows.map(({ pid }) => pid)
      )
    const listeners = doing("LISTEN %")
    yield* until(Effect.map(listeners, (pids) => pids.length > 0))
    return {
      count,
      ended,
      listeners,
      /** Waits, and has seen that the session is there: what follows it has to hear of. */
      begin: (handle: string, clock?: TestClock.TestClock) =>
        Effect.tap(
          Effect.forkScoped(clock ? Effect.provideService(ended(handle), Clock.Clock, clock) : ended(handle)),
          () => until(Effect.map(doing("%deadline::float8%"), (pids) => pids.length > 0))
        )
    }
  })

  it.effect("ends with a revocation, and with nothing that a session survives", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const { begin } = yield* makeProcess
      const { handle, key } = yield* create(port)
      const other = yield* create(port)
      const fiber = yield* begin(handle)
      const second = yield* replace(port, key)
      yield* touch(port, second.key, grace)
      const third = yield* renew(port, second.key)
      assert.isTrue(yield* port.revoke(other.handle))
      assert.strictEqual((yield* port.load(third.key, start))?._tag, "Current")
      assert.isUndefined(fiber.pollUnsafe())
      assert.isTrue(yield* port.revoke(handle))
      yield* Fiber.join(fiber)
    }))

  it.effect("ends with a revocation by subject, unless it is spared", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const { begin, ended } = yield* makeProcess
      const entry = newEntry()
      const sessions = yield* Effect.forEach([1, 2, 3], () => create(port, { index: [entry] }))
      const spared = yield* create(port, { index: [entry] })
      const fibers = yield* Effect.forEach(sessions, ({ handle }) => begin(handle))
      const left = yield* begin(spared.handle)
      assert.strictEqual(yield* port.revokeAll(entry.audience, [entry.subject], spared.handle), 3)
      yield* Fiber.joinAll(fibers)
      assert.isUndefined(left.pollUnsafe())
      assert.strictEqual(yield* port.revokeAll(entry.audience, [entry.subject], undefined), 1)
      yield* Fiber.join(left)
      yield* ended(spared.handle)
    }))

  it.effect("is over at once where there is no session", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const { ended } = yield* makeProcess
      const clock = yield* makeClock
      const expired = yield* create(port, { deadline: start - 1 })
      yield* Effect.provideService(ended(expired.handle), Clock.Clock, clock)
      for (const handle of [crypto.randomUUID(), "", "alice", "'; --"]) yield* ended(handle)
    }))

  it.effect("takes a handle in any case", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const { begin } = yield* makeProcess
      const { handle } = yield* create(port)
      const fiber = yield* begin(handle.toUpperCase())
      yield* port.revoke(handle)
      yield* Fiber.join(fiber)
    }))

  it.effect("ends with the deadline, wherever that was moved meanwhile", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const { begin, count } = yield* makeProcess
      const { handle, key } = yield* create(port, { deadline: start + 10 })
      const clock = yield* makeClock
      const fiber = yield* begin(handle, clock)
      const before = count.messages
      yield* port.touch(key, { deadline: start + 40, seen: undefined }, start)
      const end = yield* pass(clock, fiber, 1)
      assert.isAbove(end, start + 40)
      // Give or take what a busy database takes for its answers.
      assert.isBelow(end, start + 240)
      // It asks when it has reason to, and not at every second.
      assert.isBelow(count.messages - before, 10)
    }))

  it.effect("ends with the session cookie's deadline, of a session that is remembered too", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const { begin } = yield* makeProcess
      const { handle } = yield* createRemembered(port, { deadline: start + 10 }, { deadline: start + 100_000 })
      const clock = yield* makeClock
      const fiber = yield* begin(handle, clock)
      assert.isBelow(yield* pass(clock, fiber, 1), start + 240)
    }))

  it.effect("finds out what it did not hear of, long before the deadline", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const sql = yield* PgClient.PgClient
      const { begin } = yield* makeProcess
      const { handle } = yield* create(port, { deadline: start + 100_000 })
      const clock = yield* makeClock
      const fiber = yield* begin(handle, clock)
      yield* sql`DELETE FROM session_sessions WHERE handle = ${handle}::uuid`
      assert.isBelow(yield* pass(clock, fiber, 60), start + 100_000)
    }))

  it.effect("survives the connection that listens, and what it missed meanwhile", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const sql = yield* PgClient.PgClient
      const { begin, listeners } = yield* makeProcess
      const missed = yield* create(port)
      const heard = yield* create(port)
      const missing = yield* begin(missed.handle)
      const hearing = yield* begin(heard.handle)
      for (let round = 0; round < 2; round++) {
        const before = yield* listeners
        yield* sql`SELECT pg_terminate_backend(pid) FROM unnest(${before}::int[]) AS pid`
        yield* until(Effect.map(listeners, (pids) => pids.length === 0))
        yield* port.revoke(missed.handle)
        yield* until(Effect.map(listeners, (pids) => pids.length === 1))
      }
      yield* Fiber.join(missing)
      assert.isUndefined(hearing.pollUnsafe())
      yield* port.revoke(heard.handle)
      yield* Fiber.join(hearing)
    }))

  it.effect("listens once for all sessions, and no longer than it lives", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const listeners = yield* Effect.scoped(Effect.gen(function*() {
        const { ended, listeners } = yield* makeProcess
        const { handle } = yield* create(port)
        const others = yield* Effect.forEach(Array.from({ length: 20 }), () => create(port))
        const fibers = yield* Effect.forEach(
          [...others, ...Array.from({ length: 5 }, () => ({ handle }))],
          ({ handle }) => Effect.forkScoped(ended(handle))
        )
        yield* Effect.forEach([{ handle }, ...others], ({ handle }) => port.revoke(handle))
        yield* Fiber.joinAll(fibers)
        assert.lengthOf(yield* listeners, 1)
        return listeners
      }))
      yield* until(Effect.map(listeners, (pids) => pids.length === 0))
    }))

  it.effect("remembers nothing of those for whom nobody waits any more", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const sql = yield* PgClient.PgClient
      const applicationName = crypto.randomUUID()
      const client = yield* connect({ applicationName })
      const asked: Array<unknown> = []
      const recording: PgClient.PgClient = Object.assign(Object.create(client), {
        withoutTransforms: () => recording,
        unsafe: (text: string, [handles, now]: ReadonlyArray<unknown>) => {
          asked.push(handles)
          return client.unsafe(text, [handles, now])
        }
      })
      const ended = yield* PgLifetime.make(recording, names("session"))
      const sessions = yield* Effect.forEach(Array.from({ length: 10 }), () => create(port))
      const fibers = yield* Effect.forEach(sessions, ({ handle }) => Effect.forkScoped(ended(handle)))
      yield* until(Effect.sync(() => sessions.every(({ handle }) => asked.flat().includes(handle))))
      const [revoked, given] = [fibers.slice(0, 5), fibers.slice(5)]
      yield* Effect.forEach(sessions.slice(0, 5), ({ handle }) => port.revoke(handle))
      yield* Fiber.joinAll(revoked)
      yield* Fiber.interruptAll(given)
      // What it listens with is gone, and so it looks up all that somebody waits for.
      const before = asked.length
      yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ${applicationName}`
      yield* until(Effect.sync(() => asked.length > before))
      assert.deepStrictEqual(asked.slice(before), [[]])
    }))

  it.effect("interrupts a stream", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const { ended } = yield* makeProcess
      const { handle } = yield* create(port)
      const last = yield* Stream.fromEffectRepeat(Effect.sleep(1)).pipe(
        Stream.interruptWhen(ended(handle)),
        Stream.tap(() => port.revoke(handle)),
        Stream.runCount
      )
      assert.isAtLeast(last, 1)
    }))
})
