import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import * as SessionStore from "../src/SessionStore.ts"
import * as Simulator from "../src/testing/Simulator.ts"
import { runs, seeds } from "./utils/depth.ts"
import { layerClient, layerDatabase } from "./utils/postgres.ts"

/** The simulator has a time of its own; Postgres has not. */
const live = (name: string, test: () => Effect.Effect<unknown, unknown>) => it.live(name, test, 600_000)

const holds = ({ failure }: Simulator.Report): void => {
  if (failure !== undefined) assert.fail(Simulator.format(failure))
}

describe("in memory", () => {
  for (const [name, seed] of seeds) {
    live(`sessions keep their promises, from ${name}`, () =>
      Effect.map(
        Simulator.run({ layer: SessionStore.layerMemory, seed, sessions: runs(600) }),
        (report) => {
          holds(report)
          assert.isAtLeast(report.sessions, runs(600))
          assert.isAbove(report.requests, report.sessions)
          assert.isAbove(report.faults, 0)
          assert.isAbove(report.crashes, 0)
        }
      ))
  }

  live("without faults there are none", () =>
    Effect.map(
      Simulator.run({ layer: SessionStore.layerMemory, seed: 1, sessions: 100, faults: [] }),
      (report) => {
        holds(report)
        assert.deepStrictEqual([report.faults, report.crashes], [0, 0])
      }
    ))
})

/** A store that forgets to end sessions. */
const forgetful = SessionStore.layerPort(
  Effect.map(SessionStore.SessionPort, (port) => ({ ...port, revoke: () => Effect.succeed(true) }))
).pipe(Layer.provide(SessionStore.layerMemory))

describe("a seed", () => {
  live("does the same again", () =>
    Effect.gen(function*() {
      const run = Simulator.run({ layer: forgetful, seed: 7, sessions: 1000 })
      const { milliseconds: _, ...first } = yield* run
      const { milliseconds: __, ...second } = yield* run
      assert.isDefined(first.failure)
      assert.deepStrictEqual(first, second)
    }))

  live("of a failure begins with that", () =>
    Effect.gen(function*() {
      const { failure: first } = yield* Simulator.run({ layer: forgetful, seed: 7, sessions: 1000 })
      const again = yield* Simulator.run({ layer: forgetful, seed: first?.seed, sessions: 1 })
      assert.deepStrictEqual(again.failure, first)
      assert.strictEqual(again.episodes, 1)
    }))

  live("is another one each time", () =>
    Effect.gen(function*() {
      const run = Simulator.run({ layer: SessionStore.layerMemory, sessions: 1 })
      assert.notStrictEqual((yield* run).seed, (yield* run).seed)
    }))
})

describe("a failure", () => {
  live(
    "is short, and can be read",
    () =>
      Effect.map(Simulator.run({ layer: forgetful, seed: 7, sessions: 1000 }), ({ failure }) => {
        if (failure === undefined) return assert.fail("Nothing was found")
        assert.strictEqual(failure.invariant, "I2")
        assert.isTrue(failure.reproducible)
        assert.isAtMost(failure.steps, 10)
        const text = Simulator.format(failure)
        assert.match(text, /^I2: r\d+ .*\nseed \d+\n/)
        assert.match(text, / s {2}\S+( \w+)? sends r\d+: /)
        assert.match(text, /create -> Created s1\.v1/)
      })
  )

  live("of the layer is the simulation's", () =>
    Effect.map(
      Effect.flip(Simulator.run({ layer: SessionStore.layerMemoryWith({ maxSessions: 0 }) })),
      ({ reason }) => assert.strictEqual(reason._tag, "InvalidConfig")
    ))
})

describe("in Postgres", () => {
  const layer = PgSessionStore.layer.pipe(Layer.provide(layerClient()), Layer.provide(layerDatabase))
  for (const [name, seed] of seeds) {
    live(
      `sessions keep their promises, from ${name}`,
      () => Effect.map(Effect.orDie(Simulator.run({ layer, seed, sessions: runs(40) })), holds)
    )
  }
})
