/** What the simulator is worth: it finds every deliberate fault, and nothing where there is none. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { kill } from "./fixtures/kill.ts"
import { controls, mutants } from "./fixtures/mutants.ts"

describe("finds", () => {
  for (const { fault, name, stack } of mutants) {
    it.live(`${name}: ${fault}`, () =>
      Effect.map(kill(stack, 1), ({ failure }) => {
        assert.isDefined(failure)
        assert.isTrue(failure?.reproducible)
      }), 120_000)
  }
})

describe("does not find", () => {
  for (const { fault, name, stack } of controls) {
    it.live(
      `${name}: ${fault}`,
      () => Effect.map(kill(stack, 1, 1500), ({ failure }) => assert.strictEqual(failure, undefined)),
      120_000
    )
  }
})
