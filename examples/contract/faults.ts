/** A store that can be told, while it runs, to be slow or to fail. */
import { Effect, Layer, Ref } from "effect"
import { SessionError, StoreFailed } from "../../src/SessionError.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import { Controls } from "./controls.ts"

export interface Faults {
  /** Milliseconds that every write is held back. */
  readonly delay: number
  /** Whether every operation fails. */
  readonly fail: boolean
}

/** A port with faults in front of another one. */
const faulty = (
  port: SessionStore.Port,
  faults: Ref.Ref<Faults>,
  { pause }: Controls["Service"]
): SessionStore.Port => {
  const unlessFailing = <A>(
    operation: StoreFailed["operation"],
    effect: Effect.Effect<A, SessionError>
  ): Effect.Effect<A, SessionError> =>
    Effect.flatMap(Ref.get(faults), ({ fail }) =>
      fail
        ? Effect.fail(new SessionError({ reason: new StoreFailed({ operation, cause: "STORE_FAIL" }) }))
        : effect)
  const late = <A>(operation: StoreFailed["operation"], effect: Effect.Effect<A, SessionError>) =>
    Effect.flatMap(Ref.get(faults), ({ delay }) => Effect.andThen(pause(delay), unlessFailing(operation, effect)))
  return {
    load: (...args) => unlessFailing("load", port.load(...args)),
    loadRemember: (...args) => unlessFailing("loadRemember", port.loadRemember(...args)),
    loadInfo: (...args) => unlessFailing("loadInfo", port.loadInfo(...args)),
    list: (...args) => unlessFailing("list", port.list(...args)),
    create: (...args) => late("create", port.create(...args)),
    supersede: (...args) => late("supersede", port.supersede(...args)),
    rescue: (...args) => late("rescue", port.rescue(...args)),
    touch: (...args) => late("touch", port.touch(...args)),
    revoke: (...args) => late("revoke", port.revoke(...args)),
    saveInfo: (...args) => late("saveInfo", port.saveInfo(...args)),
    revokeAll: (...args) => late("revokeAll", port.revokeAll(...args))
  }
}

/** Puts faults in front of a store. */
export const layer = <E, R>(
  store: Layer.Layer<SessionStore.SessionStore | SessionStore.SessionPort, E, R>,
  faults: Ref.Ref<Faults>
): Layer.Layer<SessionStore.SessionStore | SessionStore.SessionPort, E, R | Controls> =>
  SessionStore.layerPort(
    Effect.zipWith(SessionStore.SessionPort, Controls, (port, controls) => faulty(port, faults, controls))
  ).pipe(Layer.provide(store))
