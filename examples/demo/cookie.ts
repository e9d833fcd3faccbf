/** What can be told of a session cookie without giving away what is secret in it. */
import { Clock, Effect, Redacted } from "effect"
import { Hex } from "effect/encoding"
import { HttpServerRequest } from "effect/http"
import { CookieCodec } from "../../src/CookieCodec.ts"
import { SessionConfig } from "../../src/SessionConfig.ts"
import * as SessionState from "../../src/SessionState.ts"

export interface CookieFacts {
  /** The `Set-Cookie` header that made it, with dots for the value. */
  readonly setCookie: string
  /** Of the value, in all its chunks. */
  readonly characters: number
  readonly chunks: number
  /** The beginning of the sid's SHA-256: it shows when the sid changes, and opens nothing. */
  readonly fingerprint: string
  readonly header: SessionState.Header
  /** What this request does to the session by the mere passing of time. */
  readonly due: ReturnType<typeof SessionState.due>
}

/** The facts of the cookie that came with this request; for sessions that exist. */
export const cookieFacts = Effect.gen(function*() {
  const codec = yield* CookieCodec
  const settings = yield* SessionConfig
  const request = yield* HttpServerRequest.HttpServerRequest
  const [value] = codec.find(request.headers["cookie"] ?? "")
  const presented = value === undefined ? "MissingCookie" : codec.decode(value)
  if (typeof presented === "string") return undefined
  const { header } = presented
  const hash = yield* codec.storageKey(presented)
  const now = Math.floor((yield* Clock.currentTimeMillis) / 1000)
  const facts: CookieFacts = {
    setCookie: codec.setCookies(Redacted.make("…"), 1, undefined).map(({ name, rest }) => `${name}=${rest}`).join(),
    characters: 110 + header.dataSize,
    chunks: codec.chunks(header),
    fingerprint: Hex.encode(hash).slice(0, 8),
    header,
    due: SessionState.due(header, settings, now)
  }
  return facts
})
