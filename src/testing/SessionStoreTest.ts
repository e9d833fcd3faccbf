/**
 * Every promise of a store's port, as checks that can be run against any store.
 *
 * **Example** (In vitest, one line)
 *
 * ```ts no-run
 * import * as SessionStore from "effect-session/SessionStore"
 * import { SessionStoreTest } from "effect-session/testing"
 *
 * SessionStoreTest.suite({ layer: SessionStore.layerMemory })
 * ```
 *
 * @since 0.1.0
 */
import { Cause, Context, Effect, Exit, Layer, Scope } from "effect"
import { SessionPort } from "../SessionStore.ts"
import type { Port } from "../SessionStore.ts"
import { checks as all } from "./checks/all.ts"
import type { AssertionError } from "./checks/assert.ts"

/**
 * One promise.
 *
 * **Details**
 *
 * A check makes its own sessions under random keys, handles and audiences, and tells the
 * store what time it is, decades ahead: a store may be shared by all of them and keep
 * what they leave. It fails with the assertion that does not hold; an operation that
 * fails or throws is a defect.
 *
 * @category models
 * @since 0.1.0
 */
export interface Check {
  readonly name: string
  readonly run: (port: Port) => Effect.Effect<void, AssertionError>
}

/**
 * All checks: what each operation answers in every state of a session, what it leaves
 * behind, races of twenty at once, and random sequences compared with a naive model.
 *
 * **Gotchas**
 *
 * The last of them, the random sequences, needs the package `fast-check`, an optional peer.
 * Where it is not installed, that check dies and says so; all others need nothing.
 *
 * @category checks
 * @since 0.1.0
 */
export const checks: ReadonlyArray<Check> = all

/**
 * What the checks found.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  /** Names of the checks that hold. */
  readonly passed: ReadonlyArray<string>
  readonly failed: ReadonlyArray<{
    readonly name: string
    /** What does not hold, or what was thrown. */
    readonly message: string
  }>
}

/**
 * Runs every check against a store, one after the other, and reports.
 *
 * **Details**
 *
 * Fails only where the layer does: what a check finds is in the report, and
 * `format` makes text of it.
 *
 * **Example** (A store that forgets to end sessions)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as SessionStore from "effect-session/SessionStore"
 * import { SessionStoreTest } from "effect-session/testing"
 * import * as assert from "node:assert/strict"
 *
 * const forgetful = SessionStore.layerPort(
 *   Effect.map(SessionStore.SessionPort, (port) => ({ ...port, revoke: () => Effect.succeed(true) }))
 * ).pipe(Layer.provide(SessionStore.layerMemory))
 *
 * const report = await Effect.runPromise(SessionStoreTest.check({ layer: forgetful }))
 * assert.ok(report.failed.some(({ name }) => name === "revoke, of a version that is current"))
 * ```
 *
 * @category checks
 * @since 0.1.0
 */
export const check = <E, R>(options: {
  readonly layer: Layer.Layer<SessionPort, E, R>
}): Effect.Effect<Report, E, R> =>
  Effect.provide(
    SessionPort.use((port) =>
      Effect.map(
        Effect.forEach(checks, ({ name, run }) => Effect.map(Effect.exit(run(port)), (exit) => ({ name, exit }))),
        (results) => ({
          passed: results.flatMap(({ exit, name }) => Exit.isSuccess(exit) ? [name] : []),
          failed: results.flatMap(({ exit, name }) =>
            Exit.isFailure(exit) ? [{ name, message: Cause.pretty(exit.cause) }] : []
          )
        })
      )
    ),
    options.layer
  )

/**
 * A report as text, a line for each check that failed and what it says, and a line that counts.
 *
 * @category formatting
 * @since 0.1.0
 */
export const format = ({ failed, passed }: Report): string =>
  [
    ...failed.map(({ message, name }) => `✗ ${name}\n${message.replace(/^/gm, "    ")}`),
    `${passed.length} of ${passed.length + failed.length} checks hold`
  ].join("\n")

// Only where vitest runs this file: to import it anywhere else, or where it is not installed, fails.
const vitest = "__vitest_worker__" in globalThis ? await import("vitest") : undefined

/**
 * Makes a vitest suite of the checks: a test each, all against one store, which is built
 * before the first and released after the last.
 *
 * **Gotchas**
 *
 * Throws outside of vitest: use `check` there.
 *
 * @category checks
 * @since 0.1.0
 */
export const suite = <E>(options: {
  readonly layer: Layer.Layer<SessionPort, E>
  /** What the suite is called. Default: "SessionStore". */
  readonly name?: string | undefined
}): void => {
  if (vitest === undefined) {
    throw new Error("SessionStoreTest.suite runs in vitest; use SessionStoreTest.check elsewhere")
  }
  const { afterAll, beforeAll, describe, it } = vitest
  describe(options.name ?? "SessionStore", () => {
    const scope = Scope.makeUnsafe()
    const built = { port: Effect.die(new Error("The store was not built")) as Effect.Effect<Port> }
    const onStore = (run: Check["run"]) => (): Promise<void> => Effect.runPromise(Effect.flatMap(built.port, run))
    beforeAll(async () => {
      const context = await Effect.runPromise(Layer.buildWithScope(options.layer, scope))
      built.port = Effect.succeed(Context.get(context, SessionPort))
    })
    afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))
    for (const { name, run } of checks) it(name, onStore(run))
  })
}
