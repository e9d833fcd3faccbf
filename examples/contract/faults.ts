/** A store that can be told, while it runs, to be slow or to fail. */
import { Effect, Layer, Ref } from "effect"
import type * as SessionStore from "../../src/SessionStore.ts"
import * as FaultyStore from "../../src/testing/FaultyStore.ts"
import { Controls } from "./controls.ts"

export interface Faults {
  /** Milliseconds that every write is held back. */
  readonly delay: number
  /** Whether every operation fails. */
  readonly fail: boolean
}

const reads: ReadonlyArray<FaultyStore.Operation> = ["load", "loadRemember", "loadInfo", "list"]

/** What is set now: a write asks once more when its delay is over. */
const around = (faults: Ref.Ref<Faults>, { pause }: Controls["Service"]): FaultyStore.Around => (operation, run) => {
  const unlessFailing = Effect.flatMap(
    Ref.get(faults),
    ({ fail }) => fail ? FaultyStore.failBefore(operation)(operation, run) : run
  )
  return reads.includes(operation)
    ? unlessFailing
    : Effect.flatMap(Ref.get(faults), ({ delay }) => Effect.andThen(pause(delay), unlessFailing))
}

/** Puts faults in front of a store. */
export const layer = <E, R>(
  store: Layer.Layer<SessionStore.SessionStore | SessionStore.SessionPort, E, R>,
  faults: Ref.Ref<Faults>
): Layer.Layer<SessionStore.SessionStore | SessionStore.SessionPort, E, R | Controls> =>
  Layer.unwrap(
    Controls.useSync((controls) => FaultyStore.layer({ layer: store, around: around(faults, controls) }))
  )
