/**
 * Bytes of a session cookie: layout, chunks, MAC, sealed payload, attributes.
 *
 * Speaks the wire format of lua-resty-session 4 byte for byte.
 *
 * @since 0.1.0
 */
import { Context, Layer } from "effect"
import type { Effect, Redacted } from "effect"
import type { Crypto } from "./Crypto.ts"
import { make } from "./internal/codec.ts"
import type { SessionConfig } from "./SessionConfig.ts"
import type { TooLarge } from "./SessionError.ts"
import type { Header, Payload, Placement, Refusal } from "./SessionState.ts"

/**
 * A cookie header as presented: its fields, which nothing vouches for before
 * `verify`, and its bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Presented {
  readonly header: Header
  /** The 82 bytes. The sid in them is a bearer secret. */
  readonly bytes: Redacted.Redacted<Uint8Array>
}

/**
 * What the request says of its sender, for `bind`. Absent values do not take part.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sender {
  readonly ip: string | undefined
  readonly scheme: "http" | "https" | undefined
  readonly userAgent: string | undefined
}

/**
 * A sealed version: what goes into the cookie, and with server placement what
 * goes to the store.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sealed extends Presented {
  /** Sealed payload, without the tag, which is in the header. */
  readonly ciphertext: Uint8Array
  /** The cookie's value before it is cut into chunks: header, and with cookie placement payload. */
  readonly value: Redacted.Redacted<string>
}

/**
 * A `Set-Cookie` header in two parts.
 *
 * @category models
 * @since 0.1.0
 */
export interface SetCookie {
  /** With the prefix and the number of the chunk. */
  readonly name: string
  /** Value and attributes: all that follows `name=`. */
  readonly rest: string
}

/**
 * Cookies of one name to bytes and back.
 *
 * **Details**
 *
 * Whatever a client sends has a typed outcome, in time linear to its length: a
 * value, or the `Refusal` that the reference would give. What the program passes
 * must fit: times and offsets that their fields cannot hold, and keys that there
 * are not, die.
 *
 * @category models
 * @since 0.1.0
 */
export interface Codec {
  /**
   * The values of the cookie in a Cookie request header, in the order in
   * which they stand, at most sixteen: browsers send the one with the longest path
   * first, and a planted one must not hide ours.
   */
  readonly find: (cookies: string) => ReadonlyArray<string>

  /** The header in a cookie's value: its first 110 characters, of strict base64url. */
  readonly decode: (value: string) => Presented | Refusal

  /** The index of the key that the MAC verifies under (0 is the primary key), or -1. */
  readonly verify: (presented: Presented, sender: Sender) => Effect.Effect<number>

  /**
   * The ciphertext that belongs to a header, gathered from the value and its
   * chunks. How many there are follows from the header's `dataSize`, so verify it
   * first.
   */
  readonly gather: (presented: Presented, value: string, cookies: string) => Uint8Array | Refusal

  /** Decrypts, inflates and parses a payload. `key` is what `verify` answered. */
  readonly open: (presented: Presented, key: number, ciphertext: Uint8Array) => Effect.Effect<Payload | Refusal>

  /**
   * How many characters of base64url the payload will take where it is placed, or
   * that it does not fit: what `seal` will find.
   */
  readonly measure: (payload: Payload, placement: Placement) => Effect.Effect<number, TooLarge>

  /** Makes a new version, under a new sid and the primary key. */
  readonly seal: (version: {
    readonly payload: Payload
    /** Unix seconds. */
    readonly creationTime: number
    /** Seconds. */
    readonly rollingOffset: number
    /** `Flag.Storage` and `Flag.Forget` are taken from here; the others are the codec's. */
    readonly flags: number
  }, sender: Sender) => Effect.Effect<Sealed, TooLarge>

  /**
   * The same version with another idling offset, in seconds and at most 2^24 - 1,
   * under the key that verified it. Takes the place of the presented one in the
   * cookie; the payload stays as it is.
   */
  readonly touch: (
    presented: Presented,
    key: number,
    idlingOffset: number,
    sender: Sender
  ) => Effect.Effect<Presented>

  /** The version's sid, 32 bytes: a bearer secret. */
  readonly sid: (presented: Presented) => Redacted.Redacted<Uint8Array>

  /** SHA-256 of the version's sid: under what a store of our own finds it. */
  readonly storageKey: (presented: Presented) => Effect.Effect<Uint8Array>

  /**
   * Encrypts a successor's header so that only the holder of `old` can read it, and
   * with it the header of the other cookie, session or remember, that was set beside it.
   */
  readonly sealSuccessor: (
    old: Presented,
    successor: Presented,
    beside?: Presented | undefined
  ) => Effect.Effect<Uint8Array>

  /**
   * What `sealSuccessor` sealed, and the index of the key it was made under; or
   * `undefined` where it does not open.
   */
  readonly openSuccessor: (old: Presented, sealed: Uint8Array) => Effect.Effect<Successor | undefined>

  /** Encrypts 32 bytes, the key of a session's info, so that only the holder of this version can read them. */
  readonly sealInfoKey: (presented: Presented, infoKey: Redacted.Redacted<Uint8Array>) => Effect.Effect<Uint8Array>

  /** What `sealInfoKey` sealed, under the key that verified the version; or `undefined` where it does not open. */
  readonly openInfoKey: (
    presented: Presented,
    key: number,
    sealed: Uint8Array
  ) => Effect.Effect<Redacted.Redacted<Uint8Array> | undefined>

  /**
   * `Set-Cookie` headers for a version; chunks up to `previousChunks` that it no
   * longer needs are cleared. `host` is the request's, for `cookieDomain: "host"`.
   */
  readonly setCookies: (
    sealed: Sealed,
    previousChunks: number,
    host: string | undefined
  ) => ReadonlyArray<SetCookie>

  /** `Set-Cookie` for a header alone: the first chunk, with the rest of its value as presented. */
  readonly setHeader: (presented: Presented, value: string, host: string | undefined) => SetCookie

  /** `Set-Cookie` headers that delete so many chunks, with every attribute they were set with. */
  readonly clearCookies: (chunks: number, host: string | undefined) => ReadonlyArray<SetCookie>

  /** How many cookies a session with this header takes; more than nine are a `CookieSizeLimit`. */
  readonly chunks: (header: Header) => number

  /** The number of the last chunk in a Cookie header, whatever it holds; 1 where there is none. */
  readonly lastChunk: (cookies: string) => number
}

/**
 * What a superseded version leads to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Successor {
  readonly presented: Presented
  /** The index of the key that both headers were made under. */
  readonly key: number
  /** The header of the other cookie that was set with it. */
  readonly beside: Presented | undefined
}

/**
 * The session cookie to bytes and back, and the remember cookie too: it has the same
 * layout, under another name, with a lifetime and a key that is costly to derive.
 *
 * @category services
 * @since 0.1.0
 */
export class CookieCodec extends Context.Service<
  CookieCodec,
  Codec & {
    readonly remember: Codec
    /**
     * A Cookie request header without the session's cookies, and those that remember it
     * where the setting says so; `undefined` if nothing is left. For proxies: a server
     * behind one has no use for a secret.
     */
    readonly strip: (cookies: string) => string | undefined
  }
>()("effect-session/CookieCodec") {}

/**
 * The codec for the settings at hand.
 *
 * **Details**
 *
 * What does not depend on a request is prepared when the layer is built: the
 * extract step of HKDF for each key, the attributes, the names of the chunks.
 *
 * A payload is encrypted under AES-256-GCM and a header is authenticated under
 * HMAC-SHA256, with keys that HKDF derives from the secret and the version's sid.
 *
 * **Gotchas**
 *
 * With `bind`, a sender of whom nothing is known (a Unix socket, no User-Agent)
 * gets a cookie that is not bound, as in lua-resty-session.
 *
 * **Example** (The cookie of a session)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect, Layer, Redacted } from "effect"
 * import * as CookieCodec from "effect-session/CookieCodec"
 * import * as Crypto from "effect-session/Crypto"
 * import * as SessionConfig from "effect-session/SessionConfig"
 *
 * const sender = { ip: "192.0.2.1", scheme: "https", userAgent: undefined } as const
 *
 * const cookies = Effect.gen(function*() {
 *   const codec = yield* CookieCodec.CookieCodec
 *   const sealed = yield* codec.seal({
 *     payload: [{ audience: "shop", data: { items: ["tea"] }, subject: undefined }],
 *     creationTime: 1795394320,
 *     rollingOffset: 0,
 *     flags: 0
 *   }, sender)
 *   return codec.setCookies(sealed, 1, undefined)
 * })
 *
 * const Codec = CookieCodec.layer.pipe(Layer.provide([
 *   SessionConfig.layer({ secret: Redacted.make("Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4") }),
 *   Crypto.layer
 * ]))
 * const [cookie] = await Effect.runPromise(Effect.provide(cookies, Codec))
 *
 * assert.equal(cookie?.name, "__Host-session")
 * assert.match(cookie.rest, /^[\w-]+; Path=\/; SameSite=Strict; Secure; HttpOnly$/)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<CookieCodec, never, SessionConfig | Crypto> = Layer.effect(CookieCodec, make)
