/** This library: its codec alone, and all that a request does. */
import { Effect, Scope } from "effect"
import type { Sealed } from "../../src/CookieCodec.ts"
import type * as Exchange from "../../src/internal/exchange.ts"
import * as Ours from "../lib/ours.ts"
import type { Contender } from "./contender.ts"

// The scope lives as long as the process.
const makeEngine = (compressionThreshold: number): Promise<Exchange.Engine> =>
  Effect.runPromise(
    Effect.flatMap(
      Scope.make(),
      (scope) => Scope.provide(Ours.makeEngine({ secret: Ours.secret, compressionThreshold }), scope)
    )
  )

const contender = async <Opened>(
  compressionThreshold: number,
  open: (engine: Exchange.Engine, cookies: string) => Effect.Effect<Opened>,
  data: (opened: Opened) => unknown
): Promise<Contender<Sealed, Opened>> => {
  const engine = await makeEngine(compressionThreshold)
  return {
    seal: (data) =>
      Effect.runPromise(Effect.forEach(data, (data) => Ours.seal(engine.codec, Ours.payloadOf({ ...data })))),
    sent: (sealed) => Ours.cookieHeader(engine.codec, sealed),
    open: (sent) => Effect.runPromise(Effect.forEach(sent, (cookies) => open(engine, cookies))),
    data
  }
}

/** Peers do not compress; neither do these two. */
export const codec = () => contender(0, Ours.open, ([entry]) => entry?.data)
export const request = () => contender(0, Ours.read, ({ data }) => data)

/** With the usual threshold of 1 KB. */
export const compressing = () => contender(1024, Ours.open, ([entry]) => entry?.data)
