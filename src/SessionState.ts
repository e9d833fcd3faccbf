/**
 * The rules of a session, pure: what a cookie's header, a clock and the changes
 * recorded by a request mean.
 *
 * Nothing here does anything: no Effect, no clock, no crypto, no HTTP. Times are
 * whole unix seconds. The order of the checks and every boundary are those of
 * lua-resty-session 4.1.5; where this library differs, it says so.
 *
 * @since 0.1.0
 */

/**
 * Bits of the header's flags field. Unknown bits are ignored on open and dropped
 * on save.
 *
 * @category models
 * @since 0.1.0
 */
export const Flag = {
  /** The payload is at a store, and the cookie holds the header alone. */
  Storage: 0x0001,
  /** The user declined to be remembered. Sticky: every save keeps it. */
  Forget: 0x0002,
  /** The payload is deflated. */
  Deflate: 0x0010,
  /** The MAC covers the client's address. */
  BindIp: 0x0100,
  /** The MAC covers the scheme, `http` or `https`. */
  BindScheme: 0x0200,
  /** The MAC covers the User-Agent header. */
  BindUserAgent: 0x0400
} as const

/**
 * What a session cookie's header says of its session, without its secrets.
 *
 * @category models
 * @since 0.1.0
 */
export interface Header {
  /** Always 1. */
  readonly type: number
  /** See `Flag`. */
  readonly flags: number
  /** Unix seconds of the session's first save. */
  readonly creationTime: number
  /** Seconds from the creation to the save that made this version. */
  readonly rollingOffset: number
  /** Characters of base64url that the payload takes. */
  readonly dataSize: number
  /** Seconds from that save to the last touch; 0 after a save. */
  readonly idlingOffset: number
}

/**
 * Any JSON value.
 *
 * @category models
 * @since 0.1.0
 */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }

/**
 * One audience's part of a session.
 *
 * @category models
 * @since 0.1.0
 */
export interface Entry {
  readonly audience: string
  readonly data: Json
  readonly subject: string | undefined
}

/**
 * The payload of a session: an entry for each audience, in order of creation.
 *
 * @category models
 * @since 0.1.0
 */
export type Payload = ReadonlyArray<Entry>

/**
 * Why a presented cookie opened no session, in the reference's words.
 *
 * **Details**
 *
 * The keys are in the order in which the checks are made. Those marked "ours"
 * have no counterpart in lua-resty-session.
 *
 * @category models
 * @since 0.1.0
 */
export const refusals = {
  MissingCookie: "missing session cookie",
  InvalidHeader: "invalid session header",
  UndecodableHeader: "unable to base64url decode session header (invalid input)",
  InvalidType: "invalid session cookie type",
  InvalidFlags: "invalid session flags",
  /** Ours: a creation time more than a minute ahead of the clock. */
  CreatedInFuture: "session created in the future",
  LifetimeExceeded: "session lifetime exceeded",
  AbsoluteTimeout: "session absolute timeout exceeded",
  RollingTimeout: "session rolling timeout exceeded",
  IdlingTimeout: "session idling timeout exceeded",
  InvalidMac: "invalid session message authentication code",
  /** With server placement: the store has no such version. */
  NotStored: "unable to load session",
  /** Ours: a superseded version was presented after its grace window. */
  Reused: "superseded session presented again",
  CookieSizeLimit: "cookie size limit exceeded",
  MissingChunk: "missing session cookie chunk",
  InvalidPayload: "invalid session payload",
  UndecodablePayload: "unable to base64url decode session data (invalid input)",
  DecryptionFailed: "unable to decrypt session data",
  InflateFailed: "unable to inflate session data",
  /** Ours: the inflated payload would exceed `inflateLimit`. */
  InflateLimit: "inflated session data exceeds the limit",
  InvalidJson: "unable to json decode session data",
  /** Ours: JSON, but not an array of `[data, audience, subject?]`; the reference crashes. */
  InvalidShape: "invalid session data",
  MissingAudience: "missing session audience"
} as const

/**
 * The name of a reason for refusal; its text is `refusals[refusal]`.
 *
 * @category models
 * @since 0.1.0
 */
export type Refusal = keyof typeof refusals
