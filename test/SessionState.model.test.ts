import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as SessionState from "../src/SessionState.ts"
import { runs, seeds } from "./utils/depth.ts"
import { agreement, everything } from "./utils/stateCommands.ts"

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
