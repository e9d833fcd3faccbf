/**
 * Bytes of a session cookie: layout, chunks, MAC, sealed payload, attributes.
 *
 * Speaks the wire format of lua-resty-session 4 byte for byte.
 *
 * @since 0.1.0
 */
import { Context } from "effect"
import type { Effect, Redacted } from "effect"
import type { TooLarge } from "./SessionError.ts"
import type { Header, Payload, Refusal } from "./SessionState.ts"

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
 * Cookies to bytes and back.
 *
 * @category services
 * @since 0.1.0
 */
export class CookieCodec extends Context.Service<CookieCodec, {
  /**
   * The values of the session cookie in a Cookie request header, in the order in
   * which they stand, at most sixteen: browsers send the one with the longest path
   * first, and a planted one must not hide ours.
   */
  readonly find: (cookies: string) => ReadonlyArray<string>

  /** The header in a cookie's value. */
  readonly decode: (value: string) => Presented | Refusal

  /** The index of the key that the MAC verifies under (0 is the primary key), or -1. */
  readonly verify: (presented: Presented, sender: Sender) => Effect.Effect<number>

  /** The ciphertext that belongs to a header, gathered from the value and its chunks. */
  readonly gather: (presented: Presented, value: string, cookies: string) => Uint8Array | Refusal

  /** Decrypts, inflates and parses a payload. `key` is what `verify` answered. */
  readonly open: (presented: Presented, key: number, ciphertext: Uint8Array) => Effect.Effect<Payload | Refusal>

  /** Makes a new version, under a new sid and the primary key. */
  readonly seal: (version: {
    readonly payload: Payload
    readonly creationTime: number
    readonly rollingOffset: number
    /** `Flag.Storage` and `Flag.Forget` are taken from here; the others are the codec's. */
    readonly flags: number
  }, sender: Sender) => Effect.Effect<Sealed, TooLarge>

  /** The same version with another idling offset, under the key that verified it. */
  readonly touch: (
    presented: Presented,
    key: number,
    idlingOffset: number,
    sender: Sender
  ) => Effect.Effect<Presented>

  /** SHA-256 of the version's sid: under what a store finds it. */
  readonly storageKey: (presented: Presented) => Effect.Effect<Uint8Array>

  /** Encrypts a successor's header so that only the holder of `old` can read it. */
  readonly sealSuccessor: (old: Presented, successor: Presented) => Effect.Effect<Uint8Array>

  /** What `sealSuccessor` sealed, or `undefined` where it does not open. */
  readonly openSuccessor: (
    old: Presented,
    sealed: Uint8Array
  ) => Effect.Effect<{ readonly presented: Presented; readonly key: number } | undefined>

  /** `Set-Cookie` headers for a whole value; chunks up to `previousChunks` that it no longer needs are cleared. */
  readonly setCookies: (
    value: Redacted.Redacted<string>,
    previousChunks: number,
    host: string | undefined
  ) => ReadonlyArray<SetCookie>

  /** `Set-Cookie` for a touched header: the first chunk alone, with the rest of its value as presented. */
  readonly setHeader: (touched: Presented, value: string, host: string | undefined) => SetCookie

  /** `Set-Cookie` headers that delete a session of so many chunks, with every attribute it was set with. */
  readonly clearCookies: (chunks: number, host: string | undefined) => ReadonlyArray<SetCookie>

  /** How many cookies a session with this header takes; more than nine are a `CookieSizeLimit`. */
  readonly chunks: (header: Header) => number
}>()("effect-session/CookieCodec") {}
