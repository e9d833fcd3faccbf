/** What the checks of a store assert with: the one place that says so. */
import { assert, chai } from "@effect/vitest"

export { assert }

/** What an assertion that does not hold throws. */
export const AssertionError = chai.AssertionError
export type AssertionError = InstanceType<typeof chai.AssertionError>
