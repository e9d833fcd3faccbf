/**
 * Every setting of a session, its default, and the reason for it.
 *
 * @since 0.1.0
 */
import { Context } from "effect"
import type { Duration, Redacted } from "effect"

/**
 * A property of a session that can be put into a header; see
 * `Options.responseHeaders`.
 *
 * @category models
 * @since 0.1.0
 */
export type Property =
  | "id"
  | "audience"
  | "subject"
  | "timeout"
  | "idling-timeout"
  | "rolling-timeout"
  | "absolute-timeout"

/**
 * The settings as an application writes them: under the names of
 * lua-resty-session, in camelCase. All but one of `secret` and `ikm` can be left
 * out.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** At least 32 bytes of text that nobody can guess; 256 bits of key material are its SHA-256. */
  readonly secret?: Redacted.Redacted<string> | undefined
  /** Secrets of the past: cookies made under them still open, new ones are made under `secret`. */
  readonly secretFallbacks?: ReadonlyArray<Redacted.Redacted<string>> | undefined
  /** Key material itself, exactly 32 bytes, in place of `secret`. */
  readonly ikm?: Redacted.Redacted<Uint8Array> | undefined
  /** As `secretFallbacks`, and in place of them. */
  readonly ikmFallbacks?: ReadonlyArray<Redacted.Redacted<Uint8Array>> | undefined
  readonly cookiePrefix?: "__Host-" | "__Secure-" | "" | undefined
  readonly cookieName?: string | undefined
  readonly cookiePath?: string | undefined
  /** A domain name, or `"host"` for the host of the request; none makes the cookie host-only. */
  readonly cookieDomain?: string | undefined
  readonly cookieHttpOnly?: boolean | undefined
  readonly cookieSecure?: boolean | undefined
  readonly cookieSameSite?: "Strict" | "Lax" | "None" | "Default" | undefined
  readonly cookiePriority?: "Low" | "Medium" | "High" | undefined
  readonly cookieSameParty?: boolean | undefined
  readonly cookiePartitioned?: boolean | undefined
  /** The audience of session classes that name none. */
  readonly audience?: string | undefined
  /** The subject of new sessions, until a handler sets one. */
  readonly subject?: string | undefined
  readonly enforceSameSubject?: boolean | undefined
  /** How long a superseded version is honoured once its successor was seen. */
  readonly staleTtl?: Duration.Input | undefined
  /** Longest time between two requests; zero disables. */
  readonly idlingTimeout?: Duration.Input | undefined
  /** Longest time without a save; zero disables. */
  readonly rollingTimeout?: Duration.Input | undefined
  /** Longest life, whatever happens; zero disables. */
  readonly absoluteTimeout?: Duration.Input | undefined
  /** Idle time after which a request touches the session. */
  readonly touchThreshold?: Duration.Input | undefined
  /** Payloads of more bytes than this are deflated; zero never deflates. */
  readonly compressionThreshold?: number | undefined
  /** Most bytes that a payload may inflate to. */
  readonly inflateLimit?: number | undefined
  /** What of the sender a session is bound to. */
  readonly bind?: ReadonlyArray<"ip" | "scheme" | "user-agent"> | undefined
  /** Whether a store lists subjects by a keyed hash instead of in clear. */
  readonly hashSubject?: boolean | undefined
  /** Whether a store keeps the index of audiences and subjects at all. */
  readonly storeMetadata?: boolean | undefined
  /** Properties that are put into response headers named `Session-Id`, `Session-Audience` and so on. */
  readonly responseHeaders?: ReadonlyArray<Property> | undefined
  /** The same for the request that handlers see, for those that pass it on to another server. */
  readonly requestHeaders?: ReadonlyArray<Property> | undefined
  /** Longest time for the store to acknowledge a commit. */
  readonly commitTimeout?: Duration.Input | undefined
  /**
   * What becomes of a response whose session was ended meanwhile by another
   * request: it goes out without a session cookie (`"drop"`), or turns into a 409
   * (`"fail"`).
   */
  readonly onGone?: "drop" | "fail" | undefined
  /** What becomes of a session one of whose superseded versions is presented after its grace: nothing, or it is revoked. */
  readonly onReuse?: "ignore" | "revoke" | undefined
  /**
   * The reference whose other side shares these sessions. Relaxes what this library
   * demands beyond it: a short secret, or attributes that contradict the prefix, are
   * a warning.
   */
  readonly compatibility?: "kong" | "lua" | undefined
}

/**
 * The settings as the library reads them: complete, checked, times in seconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  /** The primary key first, then the fallbacks: a text to hash, or 32 bytes. */
  readonly keys: readonly [
    Redacted.Redacted<string | Uint8Array>,
    ...Array<Redacted.Redacted<string | Uint8Array>>
  ]
  /** With the prefix. */
  readonly cookieName: string
  /** Whether the name must match to the letter: prefixed names must, others are matched as nginx does, in any case. */
  readonly cookieNameExact: boolean
  readonly cookiePath: string
  readonly cookieDomain: string | undefined
  readonly cookieHttpOnly: boolean
  readonly cookieSecure: boolean
  readonly cookieSameSite: "Strict" | "Lax" | "None" | "Default"
  readonly cookiePriority: "Low" | "Medium" | "High" | undefined
  readonly cookieSameParty: boolean
  readonly cookiePartitioned: boolean
  readonly audience: string
  readonly subject: string | undefined
  readonly enforceSameSubject: boolean
  /** Seconds. */
  readonly staleTtl: number
  /** Seconds; 0 disables. */
  readonly idlingTimeout: number
  /** Seconds; 0 disables. */
  readonly rollingTimeout: number
  /** Seconds; 0 disables. */
  readonly absoluteTimeout: number
  /** Seconds. */
  readonly touchThreshold: number
  /** Bytes; 0 never deflates. */
  readonly compressionThreshold: number
  /** Bytes. */
  readonly inflateLimit: number
  /** `Flag.BindIp`, `Flag.BindScheme`, `Flag.BindUserAgent`. */
  readonly bindFlags: number
  readonly hashSubject: boolean
  readonly storeMetadata: boolean
  readonly responseHeaders: ReadonlyArray<Property>
  readonly requestHeaders: ReadonlyArray<Property>
  /** Milliseconds. */
  readonly commitTimeout: number
  readonly onGone: "drop" | "fail"
  readonly onReuse: "ignore" | "revoke"
}

/**
 * The settings, provided by `layer` or `layerConfig`.
 *
 * @category services
 * @since 0.1.0
 */
export class SessionConfig extends Context.Service<SessionConfig, Settings>()("effect-session/SessionConfig") {}
