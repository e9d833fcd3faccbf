/**
 * A store with faults in front of another one: slow, failing before or after it has
 * done what it was asked, or out of reach.
 *
 * **Example** (What a client sees when the store fails)
 *
 * ```ts
 * import { Effect } from "effect"
 * import * as SessionStore from "effect-session/SessionStore"
 * import { FaultyStore } from "effect-session/testing"
 * import * as assert from "node:assert/strict"
 *
 * const store = FaultyStore.layer({
 *   layer: SessionStore.layerMemory,
 *   around: FaultyStore.failAfter("revoke")
 * })
 *
 * const program = SessionStore.SessionPort.use((port) => Effect.flip(port.revoke("somebody")))
 * const error = await Effect.runPromise(Effect.provide(program, store))
 * assert.equal(error.message, "The session store failed to revoke")
 * ```
 *
 * @since 0.1.0
 */
import { Effect, Layer } from "effect"
import type { Duration } from "effect"
import { SessionError, StoreFailed } from "../SessionError.ts"
import { layerPort, SessionPort } from "../SessionStore.ts"
import type { Port, SessionStore } from "../SessionStore.ts"

/**
 * An operation of the port. `note` is the touch that only tells that a version was seen,
 * for which nobody waits.
 *
 * @category models
 * @since 0.1.0
 */
export type Operation = keyof Port | "note"

/**
 * What happens around each operation: `run` carries it out, as often as it is run.
 *
 * @category models
 * @since 0.1.0
 */
export type Around = <A>(operation: Operation, run: Effect.Effect<A, SessionError>) => Effect.Effect<A, SessionError>

/**
 * A port with something around each of its operations.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (port: Port, around: Around): Port => ({
  load: (...args) => around("load", port.load(...args)),
  loadRemember: (...args) => around("loadRemember", port.loadRemember(...args)),
  create: (...args) => around("create", port.create(...args)),
  supersede: (...args) => around("supersede", port.supersede(...args)),
  rescue: (...args) => around("rescue", port.rescue(...args)),
  touch: (key, touch, now) => around(touch.deadline === undefined ? "note" : "touch", port.touch(key, touch, now)),
  revoke: (...args) => around("revoke", port.revoke(...args)),
  loadInfo: (...args) => around("loadInfo", port.loadInfo(...args)),
  saveInfo: (...args) => around("saveInfo", port.saveInfo(...args)),
  list: (...args) => around("list", port.list(...args)),
  revokeAll: (...args) => around("revokeAll", port.revokeAll(...args))
})

/**
 * A store with something around each of its operations.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R>(options: {
  readonly layer: Layer.Layer<SessionStore | SessionPort, E, R>
  readonly around: Around
}): Layer.Layer<SessionStore | SessionPort, E, R> =>
  layerPort(Effect.map(SessionPort, (port) => make(port, options.around))).pipe(Layer.provide(options.layer))

const failure = (operation: Operation): Effect.Effect<never, SessionError> =>
  Effect.fail(
    new SessionError({
      reason: new StoreFailed({ operation: operation === "note" ? "touch" : operation, cause: "an injected fault" })
    })
  )

/**
 * These operations fail, and nothing was done.
 *
 * @category faults
 * @since 0.1.0
 */
export const failBefore = (...operations: ReadonlyArray<Operation>): Around => (operation, run) =>
  operations.includes(operation) ? failure(operation) : run

/**
 * These operations are carried out, and then fail: the acknowledgement was lost.
 *
 * @category faults
 * @since 0.1.0
 */
export const failAfter = (...operations: ReadonlyArray<Operation>): Around => (operation, run) =>
  operations.includes(operation) ? Effect.andThen(run, failure(operation)) : run

/**
 * These operations are carried out late.
 *
 * @category faults
 * @since 0.1.0
 */
export const delay = (duration: Duration.Input, ...operations: ReadonlyArray<Operation>): Around => (operation, run) =>
  operations.includes(operation) ? Effect.delay(run, duration) : run

/**
 * As long as `down` says so, no operation is answered: the store is out of reach.
 *
 * @category faults
 * @since 0.1.0
 */
export const partition = (down: () => boolean): Around => (_operation, run) =>
  Effect.suspend(() => down() ? Effect.never : run)

/**
 * One fault around another: the first is the outer one.
 *
 * @category faults
 * @since 0.1.0
 */
export const all = (...faults: ReadonlyArray<Around>): Around => (operation, run) =>
  faults.reduceRight((run, around) => around(operation, run), run)
