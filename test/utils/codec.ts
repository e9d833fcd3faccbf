/**
 * A codec to test with, and the request phase as far as it is the codec's.
 */
import { Context, Effect, Layer, Redacted } from "effect"
import * as fc from "fast-check"
import { createCipheriv, createHash, createHmac, hkdfSync, randomBytes } from "node:crypto"
import * as CookieCodec from "../../src/CookieCodec.ts"
import * as Crypto from "../../src/Crypto.ts"
import * as SessionConfig from "../../src/SessionConfig.ts"
import type { SessionError } from "../../src/SessionError.ts"
import type * as SessionState from "../../src/SessionState.ts"

/** The codec of the session cookie, or of the remember cookie. */
export type Codec = CookieCodec.Codec

/** A sender of whom nothing is known. */
export const nobody: CookieCodec.Sender = { ip: undefined, scheme: undefined, userAgent: undefined }

export const secret = Redacted.make("correct horse battery staple 0001")

/** The codec for these settings, on top of the reference's defaults. */
export const makeCodec = (
  options: SessionConfig.Options = {},
  crypto: Layer.Layer<Crypto.Crypto> = Crypto.layerNode
): Effect.Effect<CookieCodec.CookieCodec["Service"], SessionError> =>
  Effect.map(
    Layer.build(
      Layer.provide(CookieCodec.layer, [SessionConfig.layer({ ...SessionConfig.lua, secret, ...options }), crypto])
    ),
    Context.get(CookieCodec.CookieCodec)
  ).pipe(Effect.scoped)

/** Crypto whose sids are given, so that what it seals can be told beforehand. */
export const withSid = (
  sid: Uint8Array,
  crypto: Layer.Layer<Crypto.Crypto> = Crypto.layerNode
): Layer.Layer<Crypto.Crypto> =>
  Layer.effect(
    Crypto.Crypto,
    Effect.map(Crypto.Crypto, (crypto) => Crypto.Crypto.of({ ...crypto, randomBytes: () => Effect.succeed(sid) }))
  ).pipe(Layer.provide(crypto))

/** A Cookie request header with these cookies, as a browser that got them sends it. */
export const cookieHeader = (cookies: ReadonlyArray<CookieCodec.SetCookie>): string =>
  cookies.map(({ name, rest }) => `${name}=${rest.split(";")[0]}`).join("; ")

/** A sealed version, as a browser sends it. */
export const sent = (codec: Codec, sealed: CookieCodec.Sealed): string =>
  cookieHeader(codec.setCookies(sealed, 1, undefined))

/** A cookie's whole value as a sealed version, to be set. */
export const toSealed = (codec: Codec, value: string): CookieCodec.Sealed => {
  const presented = codec.decode(value)
  if (typeof presented === "string") throw new Error(presented)
  return { ...presented, ciphertext: new Uint8Array(), value: Redacted.make(value) }
}

export interface Opened {
  readonly presented: CookieCodec.Presented
  readonly key: number
  readonly value: string
  readonly payload: SessionState.Payload
}

/** What the first session cookie in a Cookie header holds, or why it is refused. `load` finds what a store holds. */
export const open = Effect.fnUntraced(function*(
  codec: Codec,
  cookies: string,
  sender: CookieCodec.Sender = nobody,
  check: (header: SessionState.Header) => SessionState.Refusal | undefined = () => undefined,
  load?: (presented: CookieCodec.Presented) => Effect.Effect<Uint8Array | SessionState.Refusal>
): Effect.fn.Return<Opened | SessionState.Refusal> {
  const [value] = codec.find(cookies)
  if (value === undefined) return "MissingCookie"
  const presented = codec.decode(value)
  if (typeof presented === "string") return presented
  const refusal = check(presented.header)
  if (refusal !== undefined) return refusal
  const key = yield* codec.verify(presented, sender)
  if (key === -1) return "InvalidMac"
  const ciphertext = load === undefined ? codec.gather(presented, value, cookies) : yield* load(presented)
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
  Effect.promise(() => fc.assert(fc.asyncProperty(arbitrary, (value) => Effect.runPromise(check(value))), parameters))

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

/**
 * A cookie value with this plaintext, valid MAC and tag included, whatever the plaintext and the fields are. Written
 * on its own from the format, so that codec and tests cannot be wrong in the same way.
 */
export const forge = (
  plaintext: Uint8Array,
  fields: { readonly flags?: number; readonly dataSize?: number; readonly creationTime?: number } = {}
): string => {
  const ikm = createHash("sha256").update(Redacted.value(secret)).digest()
  const sid = randomBytes(32)
  const derive = (purpose: string, length: number) =>
    Buffer.from(hkdfSync("sha256", ikm, "", Buffer.concat([Buffer.from(purpose), sid]), length))
  const header = Buffer.alloc(47)
  header.writeUInt8(1, 0)
  header.writeUInt16LE(fields.flags ?? 0, 1)
  sid.copy(header, 3)
  header.writeUIntLE(fields.creationTime ?? 1_795_394_320, 35, 5)
  header.writeUIntLE(fields.dataSize ?? Math.ceil(plaintext.length * 4 / 3), 44, 3)
  const key = derive("encryption:", 44)
  const cipher = createCipheriv("aes-256-gcm", key.subarray(0, 32), key.subarray(32)).setAAD(header)
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()])
  const message = Buffer.concat([header, cipher.getAuthTag(), Buffer.alloc(3)])
  const mac = createHmac("sha256", derive("authentication:", 32)).update(message).digest().subarray(0, 16)
  return Buffer.concat([message, mac]).toString("base64url") + ciphertext.toString("base64url")
}
