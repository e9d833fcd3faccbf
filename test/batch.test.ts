/** Operations that are asked for at once, carried out as one. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Latch } from "effect"
import { batched } from "../src/internal/batch.ts"
import { SessionError, StoreFailed } from "../src/SessionError.ts"

const error = (cause: unknown): SessionError =>
  new SessionError({ reason: new StoreFailed({ operation: "load", cause }) })

type Options = Partial<Parameters<typeof batched<number, string>>[0]>

/** Squares numbers, and tells which ones went together. */
const squares = ({ all, alone, isRepeatable }: Options = {}) => {
  const carriedOut: Array<ReadonlyArray<number>> = []
  const noted = <A, E>(inputs: ReadonlyArray<number>, effect: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      carriedOut.push(inputs)
      return effect
    })
  const square = (input: number) => Effect.succeed(`${input ** 2}`)
  const ask = batched<number, string>({
    all: (inputs, now) => noted(inputs, all?.(inputs, now) ?? Effect.forEach(inputs, square)),
    alone: (input, now) => noted([input], alone?.(input, now) ?? square(input)),
    isRepeatable: isRepeatable ?? (() => true)
  })
  return { ask, carriedOut }
}

const upTo = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, index) => index)

const atOnce = <A, E>(effects: ReadonlyArray<Effect.Effect<A, E>>) => Effect.all(effects, { concurrency: "unbounded" })

describe("batched", () => {
  it.effect("carries out what is asked for at once in two halves, and gives each its own result", () =>
    Effect.gen(function*() {
      const { ask, carriedOut } = squares()
      const results = yield* atOnce(upTo(9).map((number) => ask(number, 0)))
      assert.deepStrictEqual(results, upTo(9).map((number) => `${number ** 2}`))
      assert.deepStrictEqual(carriedOut, [[0, 1, 2, 3, 4], [5, 6, 7, 8]])
    }))

  it.effect("carries out a single one alone", () =>
    Effect.gen(function*() {
      const { ask, carriedOut } = squares({ all: () => Effect.die("not alone") })
      assert.strictEqual(yield* ask(3, 0), "9")
      assert.deepStrictEqual(yield* atOnce([ask(4, 0), ask(5, 0)]), ["16", "25"])
      assert.deepStrictEqual(carriedOut, [[3], [4], [5]])
    }))

  it.effect("does not wait for what is under way, and does not split beside it", () =>
    Effect.gen(function*() {
      const slow = yield* Latch.make()
      const { ask, carriedOut } = squares({ alone: () => Effect.as(slow.await, "late") })
      const late = yield* Effect.forkChild(ask(0, 0))
      yield* Effect.yieldNow
      yield* Effect.yieldNow
      assert.deepStrictEqual(carriedOut, [[0]])
      yield* atOnce([1, 2, 3, 4].map((number) => ask(number, 0)))
      assert.deepStrictEqual(carriedOut, [[0], [1, 2, 3, 4]])
      yield* slow.open
      assert.strictEqual(yield* Fiber.join(late), "late")
      // And nothing is under way any more.
      yield* atOnce([1, 2, 3, 4].map((number) => ask(number, 0)))
      assert.deepStrictEqual(carriedOut.slice(2), [[1, 2], [3, 4]])
    }))

  it.effect("keeps the operations of different clocks apart", () =>
    Effect.gen(function*() {
      const clocks: Array<readonly [ReadonlyArray<number>, number]> = []
      const { ask } = squares({
        all: (inputs, now) => {
          clocks.push([inputs, now])
          return Effect.succeed(inputs.map(String))
        }
      })
      yield* atOnce(upTo(8).map((number) => ask(number, number % 2)))
      assert.deepStrictEqual(clocks, [[[0, 2], 0], [[4, 6], 0], [[1, 3], 1], [[5, 7], 1]])
    }))

  it.effect("carries out 64 at most", () =>
    Effect.gen(function*() {
      const { ask, carriedOut } = squares()
      assert.lengthOf(yield* atOnce(upTo(1000).map((number) => ask(number, 0))), 1000)
      assert.isAtMost(Math.max(...carriedOut.map(({ length }) => length)), 64)
      assert.deepStrictEqual(carriedOut.flat().toSorted((a, b) => a - b), upTo(1000))
    }))

  it.effect("does each alone after a failure, and fails only what fails alone", () =>
    Effect.gen(function*() {
      const { ask, carriedOut } = squares({
        all: (inputs) => inputs.includes(2) ? Effect.fail(error("2 is there")) : Effect.succeed(inputs.map(String)),
        alone: (input) => input === 2 ? Effect.fail(error("is 2")) : Effect.succeed(`${input} alone`)
      })
      const exits = yield* atOnce(upTo(8).map((number) => Effect.exit(ask(number, 0))))
      assert.deepStrictEqual(exits, [
        Exit.succeed("0 alone"),
        Exit.succeed("1 alone"),
        Exit.fail(error("is 2")),
        Exit.succeed("3 alone"),
        ...[4, 5, 6, 7].map((number) => Exit.succeed(`${number}`))
      ])
      assert.deepStrictEqual(carriedOut, [[0, 1, 2, 3], [0], [1], [2], [3], [4, 5, 6, 7]])
    }))

  it.effect("fails all of them, where nobody knows how far they got", () =>
    Effect.gen(function*() {
      const unknown = error("the connection broke")
      const { ask } = squares({
        all: (inputs) => inputs.includes(0) ? Effect.fail(unknown) : Effect.succeed(inputs.map(String)),
        isRepeatable: (failure) => failure !== unknown
      })
      const exits = yield* atOnce(upTo(4).map((number) => Effect.exit(ask(number, 0))))
      assert.deepStrictEqual(exits, [Exit.fail(unknown), Exit.fail(unknown), Exit.succeed("2"), Exit.succeed("3")])
    }))

  it.effect("passes on a defect, and goes on", () =>
    Effect.gen(function*() {
      const { ask } = squares({ all: () => Effect.die("broken") })
      const exits = yield* atOnce(upTo(4).map((number) => Effect.exit(ask(number, 0))))
      assert.deepStrictEqual(exits, upTo(4).map(() => Exit.die("broken")))
      assert.strictEqual(yield* ask(3, 0), "9")
    }))

  for (const [name, rest] of [["together", 4], ["alone", 1]] as const) {
    it.effect(`interrupts what is done ${name} once nobody waits for it any more, and not before`, () =>
      Effect.gen(function*() {
        const interrupted = yield* Deferred.make<void>()
        const forever = Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
        const { ask } = squares({
          all: (inputs) =>
            rest === 1
              ? Effect.fail(error("each alone"))
              : inputs.includes(0)
              ? forever
              : Effect.succeed(inputs.map(String)),
          alone: (input) => input === 0 ? forever : Effect.succeed(`${input}`)
        })
        const fibers = yield* Effect.forEach(upTo(8), (number) => Effect.forkChild(ask(number, 0)))
        const pending = fibers.slice(0, rest)
        yield* Fiber.joinAll(fibers.slice(rest))
        for (const fiber of pending.slice(1)) {
          yield* Fiber.interrupt(fiber)
          assert.isFalse(yield* Deferred.isDone(interrupted))
        }
        yield* Fiber.interrupt(pending[0]!)
        yield* Deferred.await(interrupted)
        assert.strictEqual(yield* ask(3, 0), "3")
      }))
  }

  it.effect("never begins what was interrupted before", () =>
    Effect.gen(function*() {
      const { ask, carriedOut } = squares()
      const fiber = yield* Effect.forkChild(ask(0, 0), { startImmediately: true })
      const others = yield* Effect.forEach([1, 2, 3], (number) =>
        Effect.forkChild(ask(number, 0), { startImmediately: true }))
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* Fiber.joinAll(others), ["1", "4", "9"])
      assert.deepStrictEqual(carriedOut.flat().toSorted(), [1, 2, 3])
    }))
})
