import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as SessionState from "../src/SessionState.ts"
import { control, mutants } from "./fixtures/brokenStates.ts"
import { runs, seeds } from "./utils/depth.ts"
import { agreement, everything } from "./utils/stateSequences.ts"

describe("SessionState does what the model says", () => {
  for (const [name, seed] of seeds) {
    it(`from ${name}`, async () => {
      const seen = new Set<string>()
      await fc.assert(agreement(SessionState, seen), { seed, numRuns: runs(300) })
      // What a fixed seed leads to is known beforehand: all that the model has an opinion on.
      const expected = name === "a fixed seed" ? everything : []
      assert.deepStrictEqual(expected.filter((what) => !seen.has(what)), [])
    })
  }
})

describe("the model finds", () => {
  it.each(mutants)("$name", async ({ kills }) => assert.isTrue(await kills()))

  it("nothing where there is no mistake", async () => assert.isFalse(await control.kills()))
})
