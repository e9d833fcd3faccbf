/** What can be told of a session cookie without giving away what is secret in it. */
import { Clock, Effect } from "effect"
import { Hex } from "effect/encoding"
import { HttpServerRequest } from "effect/http"
import { CookieCodec } from "../../src/CookieCodec.ts"
import { SessionConfig } from "../../src/SessionConfig.ts"
import * as SessionState from "../../src/SessionState.ts"

export interface CookieFacts {
  /** The `Set-Cookie` header that made it, with dots in place of the value. */
  readonly setCookie: string
  /** How many cookies it takes; browsers keep no more than 4096 bytes in one. */
  readonly chunks: number
  /** Bytes of ciphertext in the cookie; none with a store, which keeps them. */
  readonly payload: number
  /** The beginning of the sid's hash: it shows that the sid changed, and opens nothing. */
  readonly fingerprint: string
  /** Unix seconds of the first save. */
  readonly createdAt: number
  /** Unix seconds of the save that made this version. */
  readonly savedAt: number
  /** What the passing of time alone makes of the session in this request. */
  readonly due: "Nothing" | "Touch" | "Save"
}

/** The facts of the cookie that a request presents, where its session exists. */
export const cookieFacts = Effect.gen(function*() {
  const codec = yield* CookieCodec
  const settings = yield* SessionConfig
  const request = yield* HttpServerRequest.HttpServerRequest
  const [value] = codec.find(request.headers["cookie"] ?? "")
  const presented = value === undefined ? "MissingCookie" : codec.decode(value)
  if (typeof presented === "string") return undefined

  const { header } = presented
  const hash = yield* codec.storageKey(presented)
  const now = yield* Clock.currentTimeMillis
  const facts: CookieFacts = {
    // The page shows the attributes, and never the value.
    setCookie: [codec.setHeader(presented, "", undefined)]
      .map(({ name, rest }) => `${name}=…${rest.slice(rest.indexOf(";"))}`)
      .join(),
    chunks: codec.chunks(header),
    payload: (header.flags & SessionState.Flag.Storage) === 0 ? Math.floor(header.dataSize * 3 / 4) : 0,
    fingerprint: Hex.encode(hash).slice(0, 8),
    createdAt: header.creationTime,
    savedAt: header.creationTime + header.rollingOffset,
    due: SessionState.due(header, settings, Math.floor(now / 1000))
  }
  return facts
})
