/**
 * A codec to test with, and the request phase as far as it is the codec's.
 */
import { Context, Effect, Layer, Redacted } from "effect"
import * as fc from "fast-check"
import * as CookieCodec from "../../src/CookieCodec.ts"
import * as Crypto from "../../src/Crypto.ts"
import * as SessionConfig from "../../src/SessionConfig.ts"
import type { InvalidConfig } from "../../src/SessionError.ts"
import * as SessionState from "../../src/SessionState.ts"

export type Codec = Context.Service.Shape<typeof CookieCodec.CookieCodec>

/** A sender of whom nothing is known. */
export const nobody: CookieCodec.Sender = { ip: undefined, scheme: undefined, userAgent: undefined }

export const secret = Redacted.make("correct horse battery staple 0001")

/** The codec for these settings, on top of the reference's defaults. */
export const makeCodec = (
  options: SessionConfig.Options = {},
  crypto: Layer.Layer<Crypto.Crypto> = Crypto.layerNode
): Effect.Effect<Codec, InvalidConfig> =>
  Effect.map(
    Layer.build(Layer.provide(CookieCodec.layer, [SessionConfig.layer({ ...SessionConfig.lua, secret, ...options }), crypto])),
    Context.get(CookieCodec.CookieCodec)
  ).pipe(Effect.scoped)

/** Crypto whose sids are given, so that what it seals can be told beforehand. */
export const withSid = (sid: Uint8Array, crypto: Layer.Layer<Crypto.Crypto> = Crypto.layerNode): Layer.Layer<Crypto.Crypto> =>
  Layer.effect(
    Crypto.Crypto,
    Effect.map(Crypto.Crypto, (crypto) => Crypto.Crypto.of({ ...crypto, randomBytes: () => Effect.succeed(sid) }))
  ).pipe(Layer.provide(crypto))

/** A Cookie request header with these cookies, as a browser that got them sends it. */
export const cookieHeader = (cookies: ReadonlyArray<CookieCodec.SetCookie>): string =>
  cookies.map(({ name, rest }) => `${name}=${rest.split(";")[0]}`).join("; ")

/** A sealed version, as a browser sends it. */
export const sent = (codec: Codec, { value }: CookieCodec.Sealed): string =>
  cookieHeader(codec.setCookies(value, 1, undefined))

export interface Opened {
  readonly presented: CookieCodec.Presented
  readonly key: number
  readonly value: string
  readonly payload: SessionState.Payload
}

/** What the first session cookie in a Cookie header holds, or why it is refused. */
export const open = Effect.fnUntraced(function*(
  codec: Codec,
  cookies: string,
  sender: CookieCodec.Sender = nobody,
  check: (header: SessionState.Header) => SessionState.Refusal | undefined = () => undefined
): Effect.fn.Return<Opened | SessionState.Refusal> {
  const [value] = codec.find(cookies)
  if (value === undefined) return "MissingCookie"
  const presented = codec.decode(value)
  if (typeof presented === "string") return presented
  const refusal = check(presented.header)
  if (refusal !== undefined) return refusal
  const key = yield* codec.verify(presented, sender)
  if (key === -1) return "InvalidMac"
  const ciphertext = codec.gather(presented, value, cookies)
  if (typeof ciphertext === "string") return ciphertext
  const payload = yield* codec.open(presented, key, ciphertext)
  return typeof payload === "string" ? payload : { presented, key, value, payload }
})

/** Checks a property with fast-check. */
export const property = <A, E>(
  arbitrary: fc.Arbitrary<A>,
  check: (value: A) => Effect.Effect<void, E>,
  parameters?: fc.Parameters<[A]>
): Effect.Effect<void> =>
  Effect.promise(() =>
    fc.assert(fc.asyncProperty(arbitrary, (value) => Effect.runPromise(check(value))), parameters)
  )

/** JSON that a session can hold, and that survives its encoding. */
export const json: fc.Arbitrary<SessionState.Json> = fc.letrec<{ readonly json: SessionState.Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.string({ unit: "binary" }),
    // JSON has no negative zero.
    fc.double({ noNaN: true, noDefaultInfinity: true }).map((number) => number === 0 ? 0 : number),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie("json"), { maxLength: 4 }),
    fc.dictionary(fc.string(), tie("json"), { maxKeys: 4, noNullPrototype: true })
  )
})).json

/** Payloads of sessions, with one audience or several. */
export const payload: fc.Arbitrary<SessionState.Payload> = fc.array(
  fc.record({
    audience: fc.string(),
    data: json,
    subject: fc.option(fc.string(), { nil: undefined })
  }),
  { minLength: 1, maxLength: 3 }
)
