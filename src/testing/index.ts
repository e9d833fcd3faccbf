/**
 * For authors of stores: `import { SessionStoreTest } from "effect-session/testing"`.
 *
 * @since 0.1.0
 */

/**
 * A store with faults in front of another one.
 *
 * @since 0.1.0
 */
export * as FaultyStore from "./FaultyStore.ts"

/**
 * Every promise of a store's port, as checks that can be run against any store.
 *
 * @since 0.1.0
 */
export * as SessionStoreTest from "./SessionStoreTest.ts"

/**
 * A simulation of the whole protocol on any store.
 *
 * @since 0.1.0
 */
export * as Simulator from "./Simulator.ts"
