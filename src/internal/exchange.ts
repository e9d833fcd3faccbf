/**
 * An exchange is the state of one request's session: what was presented, what was
 * opened, what was recorded.
 *
 * It knows no HTTP: `opening.ts` reads plain strings, `recording.ts` takes what a
 * handler does, and `commit.ts` turns it into `Set-Cookie` headers, so that the same
 * code serves every kind of server.
 */
import { Effect, Semaphore } from "effect"
import type { Redacted } from "effect"
import type { CookieCodec, Presented, Sender, SetCookie } from "../CookieCodec.ts"
import type { Crypto } from "../Crypto.ts"
import type { Settings } from "../SessionConfig.ts"
import { SessionError, StoreFailed } from "../SessionError.ts"
import type { SessionErrorReason } from "../SessionError.ts"
import type * as SessionState from "../SessionState.ts"
import type { Placement } from "../SessionStore.ts"
import type { Contents, VerifiedCookies } from "./verified.ts"

/** The services that all exchanges of one configuration share. */
export interface Engine {
  readonly settings: Settings
  readonly codec: CookieCodec["Service"]
  readonly crypto: Crypto["Service"]
  readonly placement: Placement
  /** Under what the store finds a version. */
  readonly storageKey: (presented: Presented) => Effect.Effect<Uint8Array>
  /** `undefined` where `cookieCacheSize` is 0. */
  readonly verified: VerifiedCookies | undefined
  /** A subject as the index keeps it. */
  readonly indexSubject: (subject: string) => Effect.Effect<string>
}

/** What an exchange needs to know of its request. */
export interface Request {
  readonly cookies: string | undefined
  readonly sender: Sender
  readonly host: string | undefined
  /** Whether the response will be a protocol upgrade, which cannot carry a cookie. */
  readonly upgrade: boolean
}

/** The version of a session that stands for a request. */
export interface Live {
  readonly presented: Presented
  /** The index of the key that verified it. */
  readonly key: number
  /** The cookie's value; `undefined` for a version that the request did not present but was forwarded to. */
  readonly value: string | undefined
  /** What it holds, where that is remembered. */
  readonly contents?: Contents | undefined
}

/** A recorded change, kept to be replayed if another request was quicker. */
export interface Change {
  readonly audience: string
  readonly kind: "Data" | "Logout"
  /** The entry that takes the place of the present one; `undefined` removes it. */
  readonly apply: (entry: SessionState.Entry | undefined) => Effect.Effect<SessionState.Entry | undefined, SessionError>
}

/** A change, and what was there before it. */
export interface Recorded extends Change {
  /** Whether it changes an entry that was presented. If that is missing in a newer version, it was logged out meanwhile. */
  readonly existed: boolean
}

/** A change of the session's info; `undefined` removes the value. */
export interface InfoChange {
  readonly audience: string
  readonly key: string
  readonly value: SessionState.Json | undefined
}

/** What became of an exchange. */
export interface Outcome {
  readonly cookies: ReadonlyArray<SetCookie>
  /** Whether changes were dropped because another request ended the session. */
  readonly gone: boolean
}

/** A session as it was loaded. */
export interface Opened {
  readonly payload: SessionState.Payload
  /** With server placement. */
  readonly handle: string | undefined
  /** What the session's info is encrypted under, if it has any. */
  readonly infoKey: Redacted.Redacted<Uint8Array> | undefined
}

/** One request's session, as far as it got. */
export interface Exchange {
  readonly engine: Engine
  readonly request: Request
  /** Made by whoever needs it first: most requests only read. */
  lock: Semaphore.Semaphore | undefined
  /** Why there is no session, where there is none. */
  refusal: SessionState.Refusal | undefined
  /** Whether any session cookie was presented. */
  presented: boolean
  /** Whether a handler has asked for the session: its response then depends on the cookie. */
  accessed: boolean
  /** Whether the store failed; the response then sets no cookie that nobody asked for. */
  broken: boolean
  live: Live | undefined
  /**
   * The remember cookie that stands, as far as anybody asked: it is looked at where the session cookie was refused, and
   * where a save renews it.
   */
  remember: Live | undefined
  /** Whether the remember cookie has been looked for. */
  rememberSought: boolean
  /** Whether the payload was brought back by the remember cookie. */
  rescued: boolean
  /** What was loaded; `undefined` before anybody asked. */
  opened: Opened | undefined
  /** Under what the store has the version that was presented, if it does not know yet that it was. */
  unseen: Uint8Array | undefined
  /** The payload with this request's changes. */
  working: SessionState.Payload
  changes: ReadonlyArray<Recorded>
  /** The session's info as it was loaded; `undefined` before anybody asked. */
  info: ReadonlyArray<InfoChange> | undefined
  infoChanges: ReadonlyArray<InfoChange>
  /** Whether a session class of this request keeps info: versions made from now on carry a key for it. */
  keepsInfo: boolean
  intent: SessionState.Intent
  outcome: Outcome | undefined
}

export const empty: SessionState.Payload = []

/** The intent of a request that recorded nothing. */
export const quiet: SessionState.Intent = {
  changed: false,
  renewed: false,
  ended: false,
  remember: undefined
}

/** The info of a request that changed none. */
export const noInfo: ReadonlyArray<InfoChange> = []

export const make = (engine: Engine, request: Request): Exchange => ({
  engine,
  request,
  lock: undefined,
  refusal: "MissingCookie",
  presented: false,
  accessed: false,
  broken: false,
  live: undefined,
  remember: undefined,
  rememberSought: false,
  rescued: false,
  opened: undefined,
  unseen: undefined,
  working: empty,
  changes: [],
  info: undefined,
  infoChanges: noInfo,
  keepsInfo: false,
  intent: quiet,
  outcome: undefined
})

export const fail = (reason: SessionErrorReason): Effect.Effect<never, SessionError> =>
  Effect.fail(new SessionError({ reason }))

/** One after another: what opens the session, records a change or commits. */
export const locked = <A, E>(self: Exchange, effect: Effect.Effect<A, E>): Effect.Effect<A, E> => {
  self.lock ??= Semaphore.makeUnsafe(1)
  return self.lock.withPermit(effect)
}

/** Sets what stands and what was opened. */
export const settle = (
  self: Exchange,
  live: Live | undefined,
  opened: Opened
): void => {
  self.live = live
  self.rescued = false
  self.opened = opened
  self.working = opened.payload
}

/** The header of the session that stands; one that a remember cookie brought back begins now. */
export const headerOf = ({ live, rescued }: Exchange, now: number): SessionState.Header | undefined => {
  if (live !== undefined || !rescued) return live?.presented.header
  return { type: 1, flags: 0, creationTime: now, rollingOffset: 0, dataSize: 0, idlingOffset: 0 }
}

/** Of a request without a session. */
export const nobody: Opened = { payload: empty, handle: undefined, infoKey: undefined }

/**
 * A store answers in time, or has failed. Whether a write that timed out
 * happened is unknown; the client keeps its old cookie, which leads to the new
 * version if there is one.
 */
export const bounded = <A>(
  self: Exchange,
  operation: StoreFailed["operation"],
  effect: Effect.Effect<A, SessionError>
): Effect.Effect<A, SessionError> =>
  effect.pipe(
    Effect.timeoutOrElse({
      duration: self.engine.settings.commitTimeout,
      orElse: () => fail(new StoreFailed({ operation, cause: "no answer within commitTimeout" }))
    }),
    Effect.tapError(() =>
      Effect.sync(() => {
        self.broken = true
      })
    )
  )
