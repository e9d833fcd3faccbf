/**
 * Runs what was recorded of the reference through the request path of this library:
 * the same requests, at the same times, with the sids that it happened to choose.
 */
import { Clock, Effect, Layer } from "effect"
import * as CookieCodec from "../../src/CookieCodec.ts"
import * as Crypto from "../../src/Crypto.ts"
import { commit } from "../../src/internal/commit.ts"
import * as Exchange from "../../src/internal/exchange.ts"
import * as Info from "../../src/internal/info.ts"
import * as Layout from "../../src/internal/layout.ts"
import * as Opening from "../../src/internal/opening.ts"
import * as Recording from "../../src/internal/recording.ts"
import * as SessionConfig from "../../src/SessionConfig.ts"
import * as SessionHttp from "../../src/SessionHttp.ts"
import type * as SessionState from "../../src/SessionState.ts"
import type * as SessionStore from "../../src/SessionStore.ts"
import { clockAt } from "./time.ts"
import type { Step } from "./vectors.ts"

/** How a step went here. */
export interface Replayed {
  /** What the session holds for the audience, or why there is none. */
  readonly entry: SessionState.Entry | SessionState.Refusal
  /** `Set-Cookie` headers, in order. */
  readonly setCookies: ReadonlyArray<string>
  /** As the request to an upstream would have it. */
  readonly strippedCookies: string | undefined
}

/** Crypto whose sids are given, one after the other; everything else that is random is. */
const withSids = (sids: ReadonlyArray<Uint8Array>): Layer.Layer<Crypto.Crypto> => {
  const left = [...sids]
  return Layer.effect(
    Crypto.Crypto,
    Effect.map(Crypto.Crypto, (crypto) =>
      Crypto.Crypto.of({
        ...crypto,
        randomBytes: (size) => {
          const sid = size === Layout.sidSize ? left.shift() : undefined
          return sid === undefined ? crypto.randomBytes(size) : Effect.succeed(sid)
        }
      }))
  ).pipe(Layer.provide(Crypto.layerNode))
}

const sidsOf = (step: Step): ReadonlyArray<Uint8Array> =>
  [step.meta, step.rememberMeta].flatMap((meta) => meta === undefined ? [] : [Buffer.from(meta.sid, "base64")])

/** What the handler of a step did. */
const carryOut = Effect.fnUntraced(function*(exchange: Exchange.Exchange, step: Step) {
  const did = (method: string): boolean => step.ops.some(([name]) => name === method)
  const { audience } = exchange.engine.settings
  if (step.entry === "logout") yield* Recording.logout(exchange, audience)
  if (step.entry === "destroy") yield* Recording.destroy(exchange)
  for (const [method, value, json] of step.ops) {
    if (method === "set_remember") yield* Recording.setRemember(exchange, value === true)
    // With cookie placement it is in the plaintext.
    if (method === "info:set" && exchange.engine.placement._tag === "Server") {
      yield* Info.set(exchange, "replay", { audience, key: String(value), value: json })
    }
  }
  if (did("save")) {
    const payload = Layout.decodePayload(step.plaintext)
    for (const entry of typeof payload === "string" ? [] : payload) {
      yield* Recording.modify(exchange, { audience: entry.audience, kind: "Data", apply: () => Effect.succeed(entry) })
    }
  }
  return exchange.rescued || did("save") || did("info:save") || did("refresh") || did("touch") ||
      step.entry === "start" ||
      step.entry === "logout" ||
      step.entry === "destroy"
    ? (yield* commit(exchange)).cookies
    : []
})

/** Runs a step. The store outlives it, as a database does. */
export const replay = (step: Step, store: Layer.Layer<SessionStore.SessionStore>) =>
  Effect.gen(function*() {
    const engine = yield* SessionHttp.engine
    const exchange = Exchange.make(engine, {
      cookies: step.entry === "new" || step.cookies === "" ? undefined : step.cookies,
      sender: step.sender,
      host: undefined,
      upgrade: false
    })
    yield* Opening.authenticate(exchange)
    const entry = yield* Recording.entry(exchange, engine.settings.audience)
    const { refusal } = exchange
    const setCookies = yield* carryOut(exchange, step)
    const replayed: Replayed = {
      entry: entry ?? refusal ?? "MissingAudience",
      setCookies: setCookies.map(({ name, rest }) => `${name}=${rest}`),
      strippedCookies: engine.codec.strip(step.cookies)
    }
    return replayed
  }).pipe(
    Effect.provide(
      CookieCodec.layer.pipe(
        Layer.provideMerge(
          Layer.mergeAll(
            SessionConfig.layer(step.options),
            withSids(sidsOf(step)),
            store,
            Layer.succeed(Clock.Clock, clockAt(step.now))
          )
        )
      )
    )
  )
