import { assert, it } from "@effect/vitest"
import { Cause, Effect, Exit } from "effect"
import type { Scope } from "effect"

/** Registers that a check fails on a stack with a mistake, and for the right reason. */
export const catches = (
  mistake: string,
  check: () => Effect.Effect<void, unknown, Scope.Scope>,
  complaint: RegExp
): void =>
  it.live(mistake, () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.scoped(check()))
      assert.match(Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "nothing", complaint)
    }))
