/**
 * A simulation of the whole protocol on a store of your own: browsers, an attacker,
 * a network that loses things, servers that crash, in virtual time.
 *
 * Nothing in it is left to itself. One seed decides what happens in which order, and
 * the same seed does it again. What fails is made short, and told.
 *
 * @since 0.1.0
 */
import { Clock, Effect } from "effect"
import type { Layer } from "effect"
import { allFaults } from "../internal/simActors.ts"
import * as Application from "../internal/simApp.ts"
import * as Run from "../internal/simRun.ts"
import type { SessionPort, SessionStore } from "../SessionStore.ts"

/**
 * What goes wrong in a simulation.
 *
 * **Details**
 *
 * - `store`: operations fail before or after they were carried out, or are not answered.
 * - `network`: responses are lost, clients go away. That they are late and overtake
 *   each other is no fault.
 * - `crash`: a server goes down between any two operations of the store.
 * - `attack`: cookies are planted, stolen, replayed, changed and made up.
 *
 * @category models
 * @since 0.1.0
 */
export type Fault = "store" | "network" | "crash" | "attack"

/**
 * What a simulation checks after each step.
 *
 * **Details**
 *
 * | invariant | |
 * | --------- | ------------------------------------------------------------------------------------------------ |
 * | `I1`      | a cookie leaves when the store has acknowledged its version, and every response leaves in time   |
 * | `I2`      | what was ended stays ended, and who is too late loses its cookie, not that of a newer session    |
 * | `I3`      | no change is lost that was answered well, none happens twice, and a reader sees the newest       |
 * | `I4`      | a version has one successor, and whoever presents it is told that one                            |
 * | `I5`      | no id is taken from a client or used twice, and a cookie from before a login opens nothing       |
 * | `I6`      | the store is given nothing that can be read, or opens a session                                  |
 * | `I7`      | who only reads writes nothing                                                                    |
 * | `I8`      | without a fault there is no 5xx                                                                  |
 * | `I9`      | what sets or depends on a cookie tells caches so                                                 |
 * | `Grace`   | a replaced version is honoured until its successor was presented and `staleTtl` is over          |
 * | `Times`   | timeouts end a session in the second after they were reached, and nothing else ends it           |
 *
 * @category models
 * @since 0.1.0
 */
export type Invariant = "I1" | "I2" | "I3" | "I4" | "I5" | "I6" | "I7" | "I8" | "I9" | "Grace" | "Times"

/**
 * What broke, and how to see it again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Failure {
  readonly invariant: Invariant
  /** What was seen, in a sentence. */
  readonly message: string
  /** `run` with this seed begins with the episode that failed. */
  readonly seed: number
  /** Who sent what and what was stored, one line each, of the shortest script that was found to fail. */
  readonly trace: ReadonlyArray<string>
  /** Steps of that script. */
  readonly steps: number
  /** Whether the episode failed again when it was repeated: not so with a store that is not deterministic. */
  readonly reproducible: boolean
}

/**
 * What a simulation was, as numbers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly seed: number
  /** Sessions that were created. */
  readonly sessions: number
  readonly requests: number
  /** Operations that the store carried out. */
  readonly operations: number
  /** Of those that failed, or of which the caller was told so. */
  readonly faults: number
  readonly crashes: number
  /** Short histories, each with its own users, that there were one after the other. */
  readonly episodes: number
  readonly milliseconds: number
  readonly failure: Failure | undefined
}

/**
 * Simulates sessions on a store, until one of the invariants breaks or there have
 * been enough.
 *
 * **When to use**
 *
 * Use in a test of your own store, behind `SessionStoreTest`: that one checks each
 * promise of the port for itself, this one what they add up to.
 *
 * **Details**
 *
 * `SessionHttp` runs behind a web handler, with virtual time and with randomness from
 * the seed. Each operation of the store waits until it is its turn, and they are
 * carried out one at a time: the store may take real time for them. Settings vary
 * from episode to episode.
 *
 * The simulation fails when the layer does. It does not fail when an invariant
 * breaks: look at `failure`.
 *
 * **Gotchas**
 *
 * Give it a store with nothing else in it. Virtual time is that of the years from 2027
 * on, and what an episode leaves behind is ended by its handle. An episode that was
 * interrupted leaves rows, and the seed that made them finds their keys in use.
 *
 * Operations do not run at the same time, so that races within a store are not
 * found here but by `SessionStoreTest`.
 *
 * **Example** (A store that keeps its promises, and one that does not)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as SessionStore from "effect-session/SessionStore"
 * import { Simulator } from "effect-session/testing"
 * import * as assert from "node:assert/strict"
 *
 * const sound = await Effect.runPromise(
 *   Simulator.run({ layer: SessionStore.layerMemory, seed: 1, sessions: 20 })
 * )
 * assert.equal(sound.failure, undefined)
 *
 * const forgetful = SessionStore.layerPort(
 *   Effect.map(SessionStore.SessionPort, (port) => ({ ...port, revoke: () => Effect.succeed(true) }))
 * ).pipe(Layer.provide(SessionStore.layerMemory))
 *
 * const { failure } = await Effect.runPromise(Simulator.run({ layer: forgetful, seed: 1, sessions: 200 }))
 * assert.equal(failure?.invariant, "I2")
 * assert.ok(failure.trace.length > 0)
 * ```
 *
 * @category running
 * @since 0.1.0
 */
export const run = <E, R>(options: {
  /** A server-side store, such as `SessionStore.layerMemory`. */
  readonly layer: Layer.Layer<SessionStore | SessionPort, E, R>
  /** 32 bits. Random by default; the report has it. */
  readonly seed?: number | undefined
  /** At least so many; 1000 by default. */
  readonly sessions?: number | undefined
  /** All of them by default. */
  readonly faults?: ReadonlyArray<Fault> | undefined
}): Effect.Effect<Report, E, R> =>
  Effect.gen(function*() {
    const { faults = allFaults, layer, sessions = 1000 } = options
    const seed = (options.seed ?? globalThis.crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) >>> 0
    const before = yield* Clock.currentTimeMillis
    const outcome = yield* Run.run({ seed, sessions, faults, stack: Application.sound }).pipe(
      Effect.provide(layer),
      Effect.scoped
    )
    const after = yield* Clock.currentTimeMillis
    return { seed, ...outcome, milliseconds: after - before }
  })

/**
 * A failure as text: the invariant, the seed, the trace.
 *
 * @category formatting
 * @since 0.1.0
 */
export const format = ({ invariant, message, reproducible, seed, trace }: Failure): string =>
  [
    `${invariant}: ${message}`,
    `seed ${seed}${reproducible ? "" : ", which did not fail again"}`,
    ...trace
  ].join("\n")
