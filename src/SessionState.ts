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
  /** Of a remember cookie, which nobody touches. */
  InvalidIdlingOffset: "invalid session idling offset",
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

/**
 * Seconds that a creation time may lie ahead of the clock: servers' clocks
 * differ a little.
 */
const clockSkew = 60

/** The rolling offset has 32 bits; the reference refuses to open past it. */
const maxLifetime = 2 ** 32 - 1

/** The idling offset has 24 bits. */
const maxIdlingOffset = 2 ** 24 - 1

/** RFC 6265bis, section 5.5: no cookie outlives 400 days, and so no row needs to. */
const maxRowLifetime = 400 * 24 * 60 * 60

/**
 * The settings that decide how long a session lives, in seconds; 0 disables.
 *
 * @category models
 * @since 0.1.0
 */
export interface Timeouts {
  readonly idlingTimeout: number
  readonly rollingTimeout: number
  readonly absoluteTimeout: number
}

/**
 * Where payloads live; a cookie made for the other placement is refused.
 *
 * @category models
 * @since 0.1.0
 */
export type Placement = "Cookie" | "Server"

const absoluteElapsed = (header: Header, now: number): number => now - header.creationTime

const rollingElapsed = (header: Header, now: number): number => absoluteElapsed(header, now) - header.rollingOffset

const idlingElapsed = (header: Header, now: number): number => rollingElapsed(header, now) - header.idlingOffset

const exceeds = (elapsed: number, timeout: number): boolean => timeout > 0 && elapsed > timeout

/**
 * Whether a header may open a session now; all checks that need no key, in the
 * reference's order.
 *
 * **Details**
 *
 * A timeout is exceeded when more seconds than it have passed: exactly as many
 * are still valid. These checks come before the MAC, as in lua-resty-session, so
 * a forged cookie that is also expired reports the timeout; nothing else is ever
 * learned from an unverified header.
 *
 * **Example** (The last valid second)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import * as SessionState from "effect-session/SessionState"
 *
 * const header = { type: 1, flags: 0, creationTime: 1000, rollingOffset: 0, dataSize: 42, idlingOffset: 0 }
 * const timeouts = { idlingTimeout: 900, rollingTimeout: 3600, absoluteTimeout: 86400 }
 *
 * assert.equal(SessionState.verify(header, timeouts, "Cookie", 1900), undefined)
 * assert.equal(SessionState.verify(header, timeouts, "Cookie", 1901), "IdlingTimeout")
 * ```
 *
 * @category verdicts
 * @since 0.1.0
 */
export const verify = (
  header: Header,
  timeouts: Timeouts,
  placement: Placement,
  now: number
): Refusal | undefined => {
  if (header.type !== 1) return "InvalidType"
  if (((header.flags & Flag.Storage) !== 0) !== (placement === "Server")) return "InvalidFlags"
  const elapsed = absoluteElapsed(header, now)
  if (elapsed < -clockSkew) return "CreatedInFuture"
  if (elapsed > maxLifetime) return "LifetimeExceeded"
  if (exceeds(elapsed, timeouts.absoluteTimeout)) return "AbsoluteTimeout"
  if (exceeds(rollingElapsed(header, now), timeouts.rollingTimeout)) return "RollingTimeout"
  if (exceeds(idlingElapsed(header, now), timeouts.idlingTimeout)) return "IdlingTimeout"
  return undefined
}

/**
 * The settings that decide how long a remember cookie lives, in seconds; 0 disables.
 *
 * @category models
 * @since 0.1.0
 */
export interface RememberTimeouts {
  readonly rememberRollingTimeout: number
  readonly rememberAbsoluteTimeout: number
}

const rememberTimeouts = (settings: RememberTimeouts): Timeouts => ({
  idlingTimeout: 0,
  rollingTimeout: settings.rememberRollingTimeout,
  absoluteTimeout: settings.rememberAbsoluteTimeout
})

/**
 * `verify` for the header of a remember cookie: it has timeouts of its own, and does
 * not idle.
 *
 * @category verdicts
 * @since 0.1.0
 */
export const verifyRemember = (
  header: Header,
  settings: RememberTimeouts,
  placement: Placement,
  now: number
): Refusal | undefined =>
  verify(header, rememberTimeouts(settings), placement, now) ?? (
    header.idlingOffset !== 0
      ? "InvalidIdlingOffset"
      // Of who declined to be remembered there is no remember cookie: this was a session's.
      : (header.flags & Flag.Forget) === 0
      ? undefined
      : "InvalidFlags"
  )

/**
 * Seconds left on each timeout; `undefined` where it is disabled. `next` is the
 * smallest of them.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimeLeft {
  readonly idling: number | undefined
  readonly rolling: number | undefined
  readonly absolute: number | undefined
  readonly next: number | undefined
}

const left = (timeout: number, elapsed: number): number | undefined => timeout > 0 ? timeout - elapsed : undefined

/**
 * The seconds left on each timeout of a session.
 *
 * @category getters
 * @since 0.1.0
 */
export const timeLeft = (header: Header, timeouts: Timeouts, now: number): TimeLeft => {
  const idling = left(timeouts.idlingTimeout, idlingElapsed(header, now))
  const rolling = left(timeouts.rollingTimeout, rollingElapsed(header, now))
  const absolute = left(timeouts.absoluteTimeout, absoluteElapsed(header, now))
  const next = Math.min(idling ?? Infinity, rolling ?? Infinity, absolute ?? Infinity)
  return { idling, rolling, absolute, next: next === Infinity ? undefined : next }
}

/**
 * What time alone asks of a session: nothing, a touch (the cookie tells that it
 * was used), or a save (a new version).
 *
 * **Details**
 *
 * A save is due when more than three quarters of the rolling timeout, rounded
 * up, have passed; a touch, when the session has been idle for more than
 * `touchThreshold` seconds.
 *
 * @category planning
 * @since 0.1.0
 */
export const due = (
  header: Header,
  settings: Timeouts & { readonly touchThreshold: number },
  now: number
): "Nothing" | "Touch" | "Save" => {
  if (settings.rollingTimeout > 0 && rollingElapsed(header, now) > Math.ceil(settings.rollingTimeout * 0.75)) {
    return "Save"
  }
  return settings.idlingTimeout > 0 && idlingElapsed(header, now) > settings.touchThreshold ? "Touch" : "Nothing"
}

/**
 * The entry of an audience. Where a payload has several, the first counts.
 *
 * @category payloads
 * @since 0.1.0
 */
export const entryOf = (payload: Payload, audience: string): Entry | undefined =>
  payload.find((entry) => entry.audience === audience)

/**
 * The payload with this entry in place of its audience's, or behind the others.
 *
 * @category payloads
 * @since 0.1.0
 */
export const withEntry = (payload: Payload, entry: Entry): Payload =>
  entryOf(payload, entry.audience) === undefined
    ? [...payload, entry]
    : payload.map((other) => other.audience === entry.audience ? entry : other)

/**
 * The payload without an audience.
 *
 * @category payloads
 * @since 0.1.0
 */
export const withoutEntry = (payload: Payload, audience: string): Payload =>
  payload.filter((entry) => entry.audience !== audience)

/**
 * The payload without the entries whose subject is not that of `audience`: what
 * `enforceSameSubject` asks for. No subject differs from every subject.
 *
 * @category payloads
 * @since 0.1.0
 */
export const sameSubject = (payload: Payload, audience: string): Payload => {
  const current = entryOf(payload, audience)
  return current === undefined ? payload : payload.filter((entry) => entry.subject === current.subject)
}

/**
 * What a request recorded, as far as the plan depends on it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Intent {
  /** Data or a subject was written, or an audience was logged out while others stay. */
  readonly changed: boolean
  /** The old version has to die at once: login, re-authentication, change of privilege. */
  readonly renewed: boolean
  /** The session was destroyed, or its last audience was logged out. What was written since belongs to a new session. */
  readonly ended: boolean
  /** Whether the user wants to be remembered; `undefined` where nobody said, and the setting counts. */
  readonly remember: boolean | undefined
}

/**
 * The settings that a plan depends on.
 *
 * @category models
 * @since 0.1.0
 */
export interface PlanSettings extends Timeouts, RememberTimeouts {
  /** Seconds. */
  readonly touchThreshold: number
  /** Whether sessions are remembered unless somebody declines; `"ask"`: once somebody accepted. */
  readonly remember: boolean | "ask"
}

/**
 * A version of the remember cookie that goes with one of the session cookie: the same
 * payload, with times of its own.
 *
 * @category models
 * @since 0.1.0
 */
export interface Remember {
  /** Unix seconds of the first save of this remember cookie. */
  readonly creationTime: number
  /** Seconds. */
  readonly rollingOffset: number
  /** `Storage`, or none. */
  readonly flags: number
  /** Unix seconds until which a store keeps the version. */
  readonly deadline: number
}

/**
 * What the response phase has to do.
 *
 * @category models
 * @since 0.1.0
 */
export type Plan =
  /** Nothing. */
  | { readonly _tag: "Keep" }
  /** Tell the store, if there is one, then set the cookie with this idling offset. */
  | { readonly _tag: "Touch"; readonly idlingOffset: number; readonly deadline: number }
  /** Seal a version, store it, then set its cookie. */
  | {
    readonly _tag: "Save"
    readonly payload: Payload
    /** Unix seconds. */
    readonly creationTime: number
    /** Seconds. */
    readonly rollingOffset: number
    /** The flags that the state decides: `Storage` and `Forget`. */
    readonly flags: number
    /** Unix seconds until which a store keeps the version. */
    readonly deadline: number
    /** Unix seconds past which no touch moves the deadline. */
    readonly latestDeadline: number
    /**
     * `Create` the first version of a session; `Supersede` the presented one, with grace; `Renew` it, which kills the
     * old one; or `Rescue`, which brings back the session of a remember cookie, with grace for that, or
     * `RescueAndRenew` it, which kills the old remember cookie.
     */
    readonly how: "Create" | "Supersede" | "Renew" | "Rescue" | "RescueAndRenew"
    /** Set a remember cookie too. */
    readonly remember: Remember | undefined
    /** End the session that stood first: none of its cookies leads to the new one. */
    readonly revoke: boolean
  }
  /** End the session at the store, if it is there, then clear the cookies. */
  | { readonly _tag: "End"; readonly revoke: boolean }

const keep: Plan = { _tag: "Keep" }

const ends = (since: number, timeout: number): number => timeout > 0 ? since + timeout : Infinity

const latestDeadline = (creationTime: number, savedAt: number, timeouts: Timeouts, now: number): number =>
  Math.min(
    now + maxRowLifetime,
    ends(creationTime, timeouts.absoluteTimeout),
    ends(savedAt, timeouts.rollingTimeout)
  )

const deadline = (creationTime: number, savedAt: number, timeouts: Timeouts, now: number): number =>
  Math.min(latestDeadline(creationTime, savedAt, timeouts, now), ends(now, timeouts.idlingTimeout))

/**
 * Whether `plan` needs the payload: it does where a version is going to be made.
 *
 * @category planning
 * @since 0.1.0
 */
export const needsPayload = (
  header: Header | undefined,
  intent: Intent,
  settings: Timeouts & { readonly touchThreshold: number },
  now: number
): boolean => saves(intent) || (header !== undefined && due(header, settings, now) === "Save")

/** Whether a request asked for a save, in one way or another. */
const saves = ({ changed, remember, renewed }: Intent): boolean => changed || renewed || remember !== undefined

/**
 * The plan of the response phase: a pure function of the session that was
 * presented, what the request recorded, the settings and the clock.
 *
 * **Details**
 *
 * A refresh that is due (a save or a touch, see `due`) happens on the way. With
 * `refresh: false`, for requests whose response can set no cookie, it does not.
 *
 * A save that somebody asked for renews the remember cookie, if the session has one; a
 * refresh does not. Who once declined to be remembered is not, as long as the session
 * lives: the flag `Forget` goes with it.
 *
 * **Example** (A new session, then a quiet request)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import * as SessionState from "effect-session/SessionState"
 *
 * const settings = {
 *   idlingTimeout: 900,
 *   rollingTimeout: 3600,
 *   absoluteTimeout: 86400,
 *   touchThreshold: 60,
 *   remember: false,
 *   rememberRollingTimeout: 604800,
 *   rememberAbsoluteTimeout: 2592000
 * }
 * const quiet = { changed: false, renewed: false, ended: false, remember: undefined }
 * const nobody = {
 *   header: undefined,
 *   remember: undefined,
 *   rescued: false,
 *   presented: false,
 *   payload: [],
 *   intent: quiet,
 *   placement: "Cookie",
 *   refresh: true
 * } as const
 *
 * const saved = SessionState.plan({
 *   ...nobody,
 *   payload: [{ audience: "shop", data: { items: ["tea"] }, subject: undefined }],
 *   intent: { ...quiet, changed: true }
 * }, settings, 1000)
 * assert.ok(saved._tag === "Save" && saved.how === "Create" && saved.creationTime === 1000)
 *
 * const header = { type: 1, flags: 0, creationTime: 1000, rollingOffset: 0, dataSize: 42, idlingOffset: 0 }
 * const next = SessionState.plan({ ...nobody, header, presented: true, payload: saved.payload }, settings, 1061)
 * assert.equal(next._tag, "Touch")
 * ```
 *
 * @category planning
 * @since 0.1.0
 */
export const plan = (
  state: {
    /** The header of the session that stands: presented, authentic, and not refused. */
    readonly header: Header | undefined
    /** The header of the remember cookie that stands. */
    readonly remember: Header | undefined
    /** Whether the payload was brought back by the remember cookie, because the session cookie was refused. */
    readonly rescued: boolean
    /** Whether any session cookie was presented, even one that was refused. */
    readonly presented: boolean
    /** The payload with the request's changes; only read where `needsPayload` says so. */
    readonly payload: Payload
    readonly intent: Intent
    readonly placement: Placement
    readonly refresh: boolean
  },
  settings: PlanSettings,
  now: number
): Plan => {
  const { header, intent, payload, rescued } = state
  const storage = state.placement === "Server" ? Flag.Storage : 0
  const stands = header !== undefined || rescued
  // The wish to be forgotten ends with the session that it was said of.
  const forget = intent.remember === false || (!intent.ended && ((header?.flags ?? 0) & Flag.Forget) !== 0)
  const flags = storage | (forget ? Flag.Forget : 0)

  /** `of` is the header of the remember cookie that is renewed. */
  const remember = (of: Header | undefined): Remember | undefined => {
    const remembered = settings.remember === true || (settings.remember === "ask" && of !== undefined)
    if (forget || !(intent.remember ?? remembered)) return undefined
    const creationTime = of?.creationTime ?? now
    const savedAt = Math.max(now, creationTime)
    return {
      creationTime,
      rollingOffset: savedAt - creationTime,
      flags: storage,
      deadline: latestDeadline(creationTime, savedAt, rememberTimeouts(settings), savedAt)
    }
  }
  const start = (how: "Create" | "Rescue" | "RescueAndRenew", of: Header | undefined, revoke: boolean): Plan => ({
    _tag: "Save",
    payload,
    creationTime: now,
    rollingOffset: 0,
    flags,
    deadline: deadline(now, now, settings, now),
    latestDeadline: latestDeadline(now, now, settings, now),
    how,
    remember: remember(of),
    revoke
  })
  // Of two audiences, another request may have logged out of the other one.
  if (intent.ended || (stands && intent.changed && payload.length === 0)) {
    if (payload.length > 0) return start("Create", undefined, stands)
    // A refused cookie is cleared too: who asked to log out should not keep one.
    return state.presented ? { _tag: "End", revoke: stands } : keep
  }
  if (header === undefined) {
    if (payload.length === 0) return keep
    if (!rescued) return intent.changed ? start("Create", undefined, false) : keep
    // A rescue makes another remember cookie. Who declines to be remembered gets a session that nothing brings back.
    if (intent.remember === false) return start("Create", state.remember, true)
    if (intent.renewed) return start("RescueAndRenew", state.remember, false)
    return state.refresh || saves(intent) ? start("Rescue", state.remember, false) : keep
  }
  const todo = saves(intent) ? "Save" : state.refresh ? due(header, settings, now) : "Nothing"
  switch (todo) {
    case "Nothing":
      return keep
    case "Touch":
      return {
        _tag: "Touch",
        idlingOffset: Math.min(rollingElapsed(header, now), maxIdlingOffset),
        deadline: deadline(header.creationTime, header.creationTime + header.rollingOffset, settings, now)
      }
    case "Save": {
      // A clock that is behind must not make a negative offset, nor a row that is gone while its cookie still opens.
      const savedAt = Math.max(now, header.creationTime)
      return {
        _tag: "Save",
        payload,
        creationTime: header.creationTime,
        rollingOffset: savedAt - header.creationTime,
        flags,
        deadline: deadline(header.creationTime, savedAt, settings, savedAt),
        latestDeadline: latestDeadline(header.creationTime, savedAt, settings, savedAt),
        // The remember cookie of a session that is not to be remembered any more must not live on.
        how: intent.renewed || intent.remember === false ? "Renew" : "Supersede",
        remember: saves(intent) ? remember(state.remember) : undefined,
        revoke: false
      }
    }
  }
}
