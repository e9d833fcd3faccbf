/** What the benchmarks ask of this library, in one place. */
import { Context, Effect, Layer, Redacted } from "effect"
import type { Scope } from "effect"
import type * as CookieCodec from "../../src/CookieCodec.ts"
import { seconds } from "../../src/internal/clock.ts"
import * as Exchange from "../../src/internal/exchange.ts"
import * as Opening from "../../src/internal/opening.ts"
import * as Recording from "../../src/internal/recording.ts"
import * as SessionConfig from "../../src/SessionConfig.ts"
import type { SessionError } from "../../src/SessionError.ts"
import * as SessionHttp from "../../src/SessionHttp.ts"
import * as SessionState from "../../src/SessionState.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import { secret as text } from "./secret.ts"

/** The key of every benchmark. */
export const secret = Redacted.make(text)

export type Codec = CookieCodec.CookieCodec["Service"]

export const audience = "default"

const nobody: CookieCodec.Sender = { ip: undefined, scheme: undefined, userAgent: undefined }

/** An engine with cookie placement, as `SessionHttp.layer` makes one. */
export const makeEngine = (
  options: SessionConfig.Options
): Effect.Effect<Exchange.Engine, SessionError, Scope.Scope> =>
  Effect.map(
    Layer.build(
      Layer.effect(Context.Service<Exchange.Engine>("bench/Engine"), SessionHttp.engine).pipe(
        Layer.provide(SessionHttp.layerServices),
        Layer.provide(SessionStore.layerCookie),
        Layer.provide(SessionConfig.layer(options))
      )
    ),
    Context.get(Context.Service<Exchange.Engine>("bench/Engine"))
  )

export const payloadOf = (data: SessionState.Json): SessionState.Payload => [{ audience, data, subject: undefined }]

export const seal = (codec: Codec, payload: SessionState.Payload): Effect.Effect<CookieCodec.Sealed> =>
  Effect.flatMap(
    seconds,
    (now) => Effect.orDie(codec.seal({ payload, creationTime: now, rollingOffset: 0, flags: 0 }, nobody))
  )

/** The Cookie header of a browser that got a sealed version. */
export const cookieHeader = (codec: Codec, sealed: CookieCodec.Sealed): string =>
  codec.setCookies(sealed, 1, undefined).map(({ name, rest }) => `${name}=${rest.split(";")[0]}`).join("; ")

const refused = (refusal: string): Effect.Effect<never> => Effect.die(new Error(`Refused: ${refusal}`))

/** The steps of a codec from a Cookie header to the payload. */
export const open = (
  { codec, settings }: Exchange.Engine,
  cookies: string
): Effect.Effect<SessionState.Payload> =>
  Effect.flatMap(seconds, (now) => {
    const value = codec.find(cookies)[0] ?? ""
    const presented = codec.decode(value)
    if (typeof presented === "string") return refused(presented)
    const refusal = SessionState.verify(presented.header, settings, "Cookie", now)
    if (refusal !== undefined) return refused(refusal)
    return Effect.flatMap(codec.verify(presented, nobody), (key) => {
      if (key < 0) return refused("InvalidMac")
      const ciphertext = codec.gather(presented, value, cookies)
      return typeof ciphertext === "string"
        ? refused(ciphertext)
        : Effect.flatMap(
          codec.open(presented, key, ciphertext),
          (payload) => typeof payload === "string" ? refused(payload) : Effect.succeed(payload)
        )
    })
  })

/** What a request that reads its session does with its Cookie header. */
export const read = (
  engine: Exchange.Engine,
  cookies: string,
  name = audience
): Effect.Effect<SessionState.Entry> =>
  Effect.suspend(() => {
    const exchange = Exchange.make(engine, { cookies, sender: nobody, host: undefined, upgrade: false })
    return Effect.flatMap(Opening.authenticate(exchange), () =>
      Effect.flatMap(
        Effect.orDie(Recording.entry(exchange, name)),
        (entry) => entry === undefined ? refused(exchange.refusal ?? "MissingAudience") : Effect.succeed(entry)
      ))
  })
