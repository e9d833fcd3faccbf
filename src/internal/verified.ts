/**
 * Cookies that were verified not long ago, by their exact text: a browser sends the
 * same one again and again, and to verify it once is enough.
 *
 * Only what a key of ours has authenticated gets in, so nobody fills it with rubbish.
 * What changes with time is not remembered: timeouts are checked on every hit, and the
 * store is asked as ever.
 */
import type { Presented } from "../CookieCodec.ts"
import type { Json, Payload } from "../SessionState.ts"

/** A cookie that verified. */
export interface Verified {
  readonly presented: Presented
  /** The index of the key that verified it. */
  readonly key: number
  /** What it holds, where that has been asked and it is all in this one cookie; frozen, since requests share it. */
  readonly payload: Payload | undefined
}

export interface VerifiedCookies {
  /** The cookie with this text. `now` is in seconds. */
  readonly get: (text: string, now: number) => Verified | undefined
  readonly set: (text: string, verified: Verified, now: number) => void
  readonly delete: (text: string) => void
}

/** Seconds that a cookie is remembered at least, unless others need the room, and no more than twice that. */
const generation = 30

/** What an entry takes beside its text and its payload: two header objects, their bytes, a place in a table. */
const overhead = 600

interface Entry {
  readonly verified: Verified
  readonly bytes: number
}

/** Freezes a value with all that it holds, and says about how many bytes of memory that is. */
const freeze = (json: Json): number => {
  if (typeof json === "string") return 16 + 2 * json.length
  if (typeof json !== "object" || json === null) return 8
  let bytes = 32
  for (const [key, value] of Object.entries(json)) bytes += 16 + 2 * key.length + freeze(value)
  Object.freeze(json)
  return bytes
}

const freezePayload = (payload: Payload): number => {
  let bytes = 32
  for (const entry of payload) {
    bytes += 64 + freeze(entry.data) + freeze(entry.audience) + freeze(entry.subject ?? null)
    Object.freeze(entry)
  }
  Object.freeze(payload)
  return bytes
}

/**
 * Remembers within so many bytes. There are two generations: what is asked for moves
 * to the younger one, and when that is full, or old, it takes the place of the older
 * one. So there is no list to keep, no timer, and nothing to walk over.
 */
export const make = (maxBytes: number): VerifiedCookies => {
  let young = new Map<string, Entry>()
  let old = new Map<string, Entry>()
  let bytes = 0
  let since = 0

  const age = (now: number): void => {
    if (now < since + generation && now >= since) return
    // A clock that has been set back, or a pause so long that the older ones are too old too.
    old = now >= since && now < since + 2 * generation ? young : new Map()
    young = new Map()
    bytes = 0
    since = now
  }

  const put = (text: string, entry: Entry): void => {
    bytes += entry.bytes - (young.get(text)?.bytes ?? 0)
    young.set(text, entry)
    if (bytes <= maxBytes / 2) return
    old = young
    young = new Map()
    bytes = 0
  }

  return {
    get: (text, now) => {
      age(now)
      const entry = young.get(text)
      if (entry !== undefined) return entry.verified
      const older = old.get(text)
      if (older === undefined) return undefined
      old.delete(text)
      put(text, older)
      return older.verified
    },

    set: (text, verified, now) => {
      age(now)
      const size = overhead + text.length + (verified.payload === undefined ? 0 : freezePayload(verified.payload))
      old.delete(text)
      // One that alone takes the half would only drive out the others.
      if (size <= maxBytes / 2) put(text, { verified, bytes: size })
    },

    delete: (text) => {
      bytes -= young.get(text)?.bytes ?? 0
      young.delete(text)
      old.delete(text)
    }
  }
}
