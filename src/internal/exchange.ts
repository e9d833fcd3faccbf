/**
 * The request phase, and what a handler does to a session: the cookie is
 * verified, the payload opened when somebody asks, changes are recorded.
 *
 * An exchange is the state of one request. It knows no HTTP: it takes plain
 * strings, and `commit.ts` turns it into `Set-Cookie` headers, so that the same
 * code serves every kind of server.
 */
import { Effect, Semaphore } from "effect"
import type { CookieCodec, Presented, Sender, SetCookie } from "../CookieCodec.ts"
import type { Crypto } from "../Crypto.ts"
import type { Settings } from "../SessionConfig.ts"
import { AlreadyCommitted, SessionError, StoreFailed } from "../SessionError.ts"
import type { SessionErrorReason } from "../SessionError.ts"
import * as SessionEvents from "../SessionEvents.ts"
import * as SessionState from "../SessionState.ts"
import type { Placement, Port, Superseded } from "../SessionStore.ts"
import { seconds } from "./clock.ts"

/** The services that all exchanges of one configuration share. */
export interface Engine {
  readonly settings: Settings
  readonly codec: CookieCodec["Service"]
  readonly crypto: Crypto["Service"]
  readonly placement: Placement
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
}

/** A recorded change, kept to be replayed if another request was quicker. */
export interface Change {
  readonly audience: string
  readonly kind: "Data" | "Logout"
  /** The entry that takes the place of the present one; `undefined` removes it. */
  readonly apply: (entry: SessionState.Entry | undefined) => Effect.Effect<SessionState.Entry | undefined, SessionError>
}

interface Recorded extends Change {
  /** Whether it changes an entry that was presented. If that is missing in a newer version, it was logged out meanwhile. */
  readonly existed: boolean
}

/** What became of an exchange. */
export interface Outcome {
  readonly cookies: ReadonlyArray<SetCookie>
  /** Whether changes were dropped because another request ended the session. */
  readonly gone: boolean
}

/** One request's session, as far as it got. */
export interface Exchange {
  readonly engine: Engine
  readonly request: Request
  readonly lock: Semaphore.Semaphore
  /** Why there is no session, where there is none. */
  refusal: SessionState.Refusal | undefined
  /** Whether any session cookie was presented. */
  presented: boolean
  /** Whether a handler has asked for the session: its response then depends on the cookie. */
  accessed: boolean
  /** Whether the store failed; the response then sets no cookie that nobody asked for. */
  broken: boolean
  live: Live | undefined
  /** The payload as it was loaded, and the handle with server placement; `undefined` before anybody asked. */
  opened: { readonly payload: SessionState.Payload; readonly handle: string | undefined } | undefined
  /** The payload with this request's changes. */
  working: SessionState.Payload
  changes: ReadonlyArray<Recorded>
  intent: SessionState.Intent
  outcome: Outcome | undefined
}

const empty: SessionState.Payload = []

/** The intent of a request that recorded nothing. */
export const quiet: SessionState.Intent = { changed: false, renewed: false, ended: false }

/** How many superseded versions a request follows to the newest one: as many as a store is asked to remember. */
const maxHops = 32

export const make = (engine: Engine, request: Request): Exchange => ({
  engine,
  request,
  lock: Semaphore.makeUnsafe(1),
  refusal: "MissingCookie",
  presented: false,
  accessed: false,
  broken: false,
  live: undefined,
  opened: undefined,
  working: empty,
  changes: [],
  intent: quiet,
  outcome: undefined
})

export const fail = (reason: SessionErrorReason): Effect.Effect<never, SessionError> =>
  Effect.fail(new SessionError({ reason }))

// -----------------------------------------------------------------------------
// the request phase
// -----------------------------------------------------------------------------

/** Finds the session cookie and verifies its header, nothing more. */
export const authenticate = (self: Exchange): Effect.Effect<void> => {
  const cookies = self.request.cookies
  const values = cookies === undefined ? [] : self.engine.codec.find(cookies)
  if (values.length === 0) return Effect.void
  self.presented = true
  return Effect.flatMap(seconds, (now) => authenticateFrom(self, values, 0, now))
}

const authenticateFrom = (
  self: Exchange,
  values: ReadonlyArray<string>,
  index: number,
  now: number
): Effect.Effect<void> => {
  const value = values[index]
  if (value === undefined) return tellRefusal(self)
  const { codec, placement, settings } = self.engine
  const refused = (refusal: SessionState.Refusal): Effect.Effect<void> => {
    // Where several are refused, the first is the one that a browser meant.
    if (index === 0) self.refusal = refusal
    return authenticateFrom(self, values, index + 1, now)
  }
  const presented = codec.decode(value)
  if (typeof presented === "string") return refused(presented)
  const refusal = SessionState.verify(presented.header, settings, placement._tag, now)
  if (refusal !== undefined) return refused(refusal)
  return Effect.flatMap(codec.verify(presented, self.request.sender), (key) => {
    if (key < 0) return refused("InvalidMac")
    self.refusal = undefined
    self.live = { presented, key, value }
    return Effect.void
  })
}

const tellRefusal = (self: Exchange): Effect.Effect<void> =>
  self.refusal === undefined ? Effect.void : SessionEvents.emit({ _tag: "SessionRefused", reason: self.refusal })

// -----------------------------------------------------------------------------
// opening
// -----------------------------------------------------------------------------

/** Loads and decrypts the payload, once. What does not open is a refusal; only a store can fail. */
const open = (self: Exchange): Effect.Effect<void, SessionError> =>
  self.opened === undefined ? self.lock.withPermit(Effect.suspend(() => openLocked(self))) : Effect.void

/** `open` for those who hold the lock. */
export const openLocked = (self: Exchange): Effect.Effect<void, SessionError> => {
  if (self.opened !== undefined) return Effect.void
  if (self.live === undefined) return settle(self, undefined, empty, undefined)
  const { placement } = self.engine
  return placement._tag === "Cookie"
    ? openCookie(self, self.live)
    : bounded(
      self,
      "load",
      // A store that throws has failed too.
      Effect.catchDefect(
        openStored(self, placement.port, self.live),
        (cause) => fail(new StoreFailed({ operation: "load", cause }))
      )
    )
}

const openCookie = (self: Exchange, live: Live): Effect.Effect<void> => {
  const { codec } = self.engine
  // Cookie placement never forwards: the value and its Cookie header are there.
  const ciphertext = codec.gather(live.presented, live.value ?? "", self.request.cookies ?? "")
  if (typeof ciphertext === "string") return refuse(self, ciphertext)
  return Effect.flatMap(
    codec.open(live.presented, live.key, ciphertext),
    (payload) => typeof payload === "string" ? refuse(self, payload) : settle(self, live, payload, undefined)
  )
}

const openStored = Effect.fnUntraced(function*(self: Exchange, port: Port, live: Live) {
  const { codec } = self.engine
  const now = yield* seconds
  const key = yield* codec.storageKey(live.presented)
  const row = yield* port.load(key, now)
  if (row === undefined) return yield* refuse(self, "NotStored")
  if (row._tag === "Current") {
    if (!row.seen) yield* tellSeen(self, port, key, now)
    return yield* openRow(self, live, row.data, row.handle)
  }
  yield* forward(self, port, live, row, now)
})

/** What stands for a request that presented a superseded version: its newest successor, or nothing after the grace. */
export const forward = Effect.fnUntraced(
  function*(self: Exchange, port: Port, live: Live, superseded: Superseded, now: number) {
    const { graceEnds, handle } = superseded
    if (graceEnds !== undefined && now > graceEnds) {
      yield* SessionEvents.emit({ _tag: "SessionReused", handle })
      if (self.engine.settings.onReuse === "revoke") yield* port.revoke(handle)
      return yield* refuse(self, "Reused")
    }
    yield* SessionEvents.emit({ _tag: "SessionForwarded", handle })
    if (!(yield* follow(self, port, live, superseded, now))) yield* refuse(self, "NotStored")
  }
)

const openRow = (self: Exchange, live: Live, data: Uint8Array, handle: string): Effect.Effect<void> =>
  Math.ceil(data.length * 4 / 3) === live.presented.header.dataSize
    ? Effect.flatMap(
      self.engine.codec.open(live.presented, live.key, data),
      (payload) => typeof payload === "string" ? refuse(self, payload) : settle(self, live, payload, handle)
    )
    : refuse(self, "InvalidPayload")

/** Sets what stands and what was opened. */
export const settle = (
  self: Exchange,
  live: Live | undefined,
  payload: SessionState.Payload,
  handle: string | undefined
): Effect.Effect<void> => {
  self.live = live
  self.opened = { payload, handle }
  self.working = payload
  return Effect.void
}

const refuse = (self: Exchange, refusal: SessionState.Refusal): Effect.Effect<void> => {
  self.refusal = refusal
  return Effect.andThen(settle(self, undefined, empty, undefined), tellRefusal(self))
}

// Nobody waits for the note: if it is lost, the old version is honoured a little longer.
const tellSeen = (self: Exchange, port: Port, key: Uint8Array, now: number): Effect.Effect<unknown> =>
  Effect.forkDetach(
    Effect.ignoreCause(port.touch(key, { deadline: undefined, seen: self.engine.settings.staleTtl }, now), {
      log: "Debug"
    })
  )

/**
 * Walks from a superseded version to the newest one, which then stands for the
 * request; false if the session has ended. Whether the grace is over is the
 * caller's question: a request that began in time may always find its successor.
 */
export const follow = Effect.fnUntraced(
  function*(self: Exchange, port: Port, from: Live, superseded: Superseded, now: number) {
    const { codec, settings } = self.engine
    let old = from.presented
    let sealed = superseded.successor
    for (let hop = 0; hop < maxHops; hop++) {
      const successor = yield* codec.openSuccessor(old, sealed)
      if (successor === undefined) return false
      const { key, presented } = successor
      if (SessionState.verify(presented.header, settings, "Server", now) !== undefined) return false
      const row = yield* port.load(yield* codec.storageKey(presented), now)
      if (row === undefined) return false
      if (row._tag === "Current") {
        yield* openRow(self, { presented, key, value: undefined }, row.data, row.handle)
        return self.live !== undefined
      }
      old = presented
      sealed = row.successor
    }
    return false
  }
)

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

// -----------------------------------------------------------------------------
// recording
// -----------------------------------------------------------------------------

/** The entry of an audience, with what this request has changed so far. */
export const entry = (
  self: Exchange,
  audience: string
): Effect.Effect<SessionState.Entry | undefined, SessionError> => {
  self.accessed = true
  return self.opened === undefined
    ? Effect.map(open(self), () => SessionState.entryOf(self.working, audience))
    : Effect.succeed(SessionState.entryOf(self.working, audience))
}

const record = <A>(self: Exchange, change: () => Effect.Effect<A, SessionError>): Effect.Effect<A, SessionError> =>
  self.lock.withPermit(Effect.suspend(() => {
    self.accessed = true
    // The response may leave while the session is being opened.
    return Effect.flatMap(
      openLocked(self),
      () => self.outcome === undefined ? change() : fail(new AlreadyCommitted())
    )
  }))

/** Puts the entry that a change made into a payload. */
export const put = (
  self: Exchange,
  payload: SessionState.Payload,
  change: Change,
  entry: SessionState.Entry | undefined
): SessionState.Payload => {
  if (entry === undefined) return SessionState.withoutEntry(payload, change.audience)
  const next = SessionState.withEntry(payload, entry)
  return self.engine.settings.enforceSameSubject ? SessionState.sameSubject(next, change.audience) : next
}

/** Records a change and applies it to what this request sees; refused where the result would not fit. */
export const modify = (self: Exchange, change: Change): Effect.Effect<void, SessionError> =>
  record(self, () =>
    Effect.flatMap(change.apply(SessionState.entryOf(self.working, change.audience)), (entry) => {
      const working = put(self, self.working, change, entry)
      return Effect.matchEffect(self.engine.codec.measure(working, self.engine.placement._tag), {
        onFailure: fail,
        onSuccess: () => Effect.sync(() => remember(self, change, working))
      })
    }))

const remember = (self: Exchange, change: Change, working: SessionState.Payload): void => {
  const existed = SessionState.entryOf(self.opened?.payload ?? empty, change.audience) !== undefined &&
    !self.changes.some((earlier) => earlier.kind === "Logout" && earlier.audience === change.audience)
  self.working = working
  self.changes = [...self.changes, { ...change, existed }]
  self.intent = { ...self.intent, changed: true }
}

/** Removes an audience from the session; the last one takes the session with it. */
export const logout = (self: Exchange, audience: string): Effect.Effect<void, SessionError> =>
  record(self, () =>
    Effect.sync(() => {
      const working = SessionState.withoutEntry(self.working, audience)
      if (working.length === 0) end(self)
      else if (working.length < self.working.length) {
        remember(self, { audience, kind: "Logout", apply: () => Effect.undefined }, working)
      }
    }))

/** Ends the session with all its audiences. What is recorded from then on belongs to a new session. */
export const destroy = (self: Exchange): Effect.Effect<void, SessionError> =>
  record(self, () => Effect.sync(() => end(self)))

const end = (self: Exchange): void => {
  self.working = empty
  self.changes = []
  self.intent = { ...quiet, ended: true }
}

/** Asks for a new version that leaves the old one no grace. */
export const renew = (self: Exchange): Effect.Effect<void, SessionError> =>
  record(self, () =>
    Effect.sync(() => {
      self.intent = { ...self.intent, renewed: true }
    }))

/**
 * The handler died or was cut short: its data are not to be trusted, but a
 * logout or a renewal that it asked for still happens.
 */
export const drop = (self: Exchange): void => {
  if (self.outcome !== undefined) return
  self.changes = self.changes.filter((change) => change.kind === "Logout")
  self.working = self.intent.ended ? empty : self.changes.reduce(
    (payload, change) => SessionState.withoutEntry(payload, change.audience),
    self.opened?.payload ?? empty
  )
  self.intent = { ...self.intent, changed: self.changes.length > 0 }
}
