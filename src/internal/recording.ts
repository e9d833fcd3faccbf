/**
 * What a handler does to a session is recorded: changes, kept to be replayed if another
 * request was quicker, and intents.
 */
import { Effect } from "effect"
import { AlreadyCommitted } from "../SessionError.ts"
import type { SessionError } from "../SessionError.ts"
import * as SessionState from "../SessionState.ts"
import { type Change, empty, type Exchange, fail, locked, noInfo, quiet } from "./exchange.ts"
import { isOpen, open, openLocked } from "./opening.ts"

/** The entry of an audience, with what this request has changed so far. */
export const entry = (
  self: Exchange,
  audience: string
): Effect.Effect<SessionState.Entry | undefined, SessionError> => {
  self.accessed = true
  return isOpen(self)
    ? Effect.succeed(SessionState.entryOf(self.working, audience))
    : Effect.map(open(self), () => SessionState.entryOf(self.working, audience))
}

/** Runs a change of what is recorded, once the session is open and as long as the response has not left. */
export const record = <A>(
  self: Exchange,
  change: () => Effect.Effect<A, SessionError>
): Effect.Effect<A, SessionError> =>
  locked(
    self,
    Effect.suspend(() => {
      self.accessed = true
      // The response may leave while the session is being opened.
      return Effect.flatMap(
        openLocked(self),
        () => self.outcome === undefined ? change() : fail(new AlreadyCommitted())
      )
    })
  )

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
  self.infoChanges = noInfo
  self.intent = { ...quiet, ended: true }
}

/** Asks for a new version that leaves the old one no grace. */
export const renew = (self: Exchange): Effect.Effect<void, SessionError> =>
  record(self, () =>
    Effect.sync(() => {
      self.intent = { ...self.intent, renewed: true }
    }))

/** Says whether the user wants to be remembered. */
export const setRemember = (self: Exchange, remember: boolean): Effect.Effect<void, SessionError> =>
  record(self, () =>
    Effect.sync(() => {
      self.intent = { ...self.intent, remember }
    }))

/**
 * The handler died or was cut short: its data are not to be trusted, but a
 * logout or a renewal that it asked for still happens.
 */
export const drop = (self: Exchange): void => {
  if (self.outcome !== undefined) return
  self.changes = self.changes.filter((change) => change.kind === "Logout")
  self.infoChanges = noInfo
  self.working = self.intent.ended ? empty : self.changes.reduce(
    (payload, change) => SessionState.withoutEntry(payload, change.audience),
    self.opened?.payload ?? empty
  )
  self.intent = { ...self.intent, changed: self.changes.length > 0, remember: undefined }
}
