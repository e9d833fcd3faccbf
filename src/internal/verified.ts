/**
 * Cookies that were verified not long ago, by their exact text: a browser sends the
 * same one again and again, and to verify it once is enough.
 *
 * Only what a key of ours has authenticated gets in, so nobody fills it with rubbish.
 * What changes with time is not remembered: timeouts are checked on every hit, and the
 * store is asked as ever. What it answers has to be what it answered before, for the
 * payload to be known without decrypting it, and so has what further cookies bring.
 */
import type { Redacted } from "effect"
import type { Presented } from "../CookieCodec.ts"
import type { Json, Payload } from "../SessionState.ts"
import { macCharacters } from "./layout.ts"

/** A cookie that verified, or that was made here. */
export interface Verified {
  readonly presented: Presented
  /** The index of the key that verified it. */
  readonly key: number
  /** What its version holds, as far as that is known. */
  readonly contents: Contents | undefined
}

/** What a version holds. */
export interface Contents {
  /** Frozen, since requests share it. */
  readonly payload: Payload
  /** The bytes that the store has to answer, or further cookies to bring, for this to be what it holds. */
  readonly data: Uint8Array | undefined
  readonly infoKey: Redacted.Redacted<Uint8Array> | undefined
}

export interface VerifiedCookies {
  /** The cookie with this text. `now` is in seconds. */
  readonly get: (text: string, now: number) => Verified | undefined
  readonly set: (text: string, verified: Verified, now: number) => void
  readonly delete: (text: string) => void
}

/** Seconds that a cookie is remembered at least, unless others need the room, and no more than twice that. */
const generation = 30

/** What an entry takes beside its text and its payload: two header objects, their bytes, the MAC, a place in a table. */
const overhead = 650

interface Entry {
  readonly text: string
  readonly verified: Verified
  readonly bytes: number
}

/** About how many bytes of memory a value takes. */
const sizeOf = (json: Json): number => {
  if (typeof json === "string") return 16 + 2 * json.length
  if (typeof json !== "object" || json === null) return 8
  let bytes = 32
  for (const [key, value] of Object.entries(json)) bytes += 16 + 2 * key.length + sizeOf(value)
  return bytes
}

const isArray = (json: Json): json is ReadonlyArray<Json> => Array.isArray(json)

/** A copy that nobody can change: what it is made of may be a handler's own. */
const frozen = (json: Json): Json => {
  if (typeof json !== "object" || json === null) return json
  if (isArray(json)) return Object.freeze(json.map(frozen))
  const copy: Record<string, Json> = {}
  // Not an assignment, which "__proto__" would make something else of.
  for (const [key, value] of Object.entries(json)) {
    Object.defineProperty(copy, key, { value: frozen(value), enumerable: true })
  }
  return Object.freeze(copy)
}

// A text that was cut out of a Cookie header keeps all of that in memory; cut out of a new one, only itself.
const own = (text: string): string => ` ${text}`.slice(1)

const frozenContents = ({ data, infoKey, payload }: Contents): Contents => ({
  // A driver's bytes, or a decoder's, may be a part of some larger memory.
  data: data && new Uint8Array(data),
  infoKey,
  payload: Object.freeze(
    payload.map(({ audience, data, subject }) => Object.freeze({ audience, data: frozen(data), subject }))
  )
})

const sizeOfContents = ({ data, payload }: Contents): number =>
  payload.reduce(
    (bytes, entry) => bytes + 64 + sizeOf(entry.data) + sizeOf(entry.audience) + sizeOf(entry.subject ?? null),
    100 + (data?.length ?? 0)
  )

/**
 * Remembers within so many bytes. There are two generations: what is asked for moves
 * to the younger one, and when that is full, or old, it takes the place of the older
 * one. So there is no list to keep, no timer, and nothing to walk over.
 *
 * A cookie is found by its MAC, which takes less time than to hash all of a long text;
 * then all of the text has to be the same.
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

  const put = (mac: string, entry: Entry): void => {
    bytes += entry.bytes - (young.get(mac)?.bytes ?? 0)
    young.set(mac, entry)
    if (bytes <= maxBytes / 2) return
    old = young
    young = new Map()
    bytes = 0
  }

  return {
    get: (text, now) => {
      age(now)
      const mac = macCharacters(text)
      const entry = young.get(mac)
      if (entry !== undefined) return entry.text === text ? entry.verified : undefined
      const older = old.get(mac)
      if (older?.text !== text) return undefined
      old.delete(mac)
      put(mac, older)
      return older.verified
    },

    set: (text, verified, now) => {
      age(now)
      const { contents } = verified
      const size = overhead + text.length + (contents === undefined ? 0 : sizeOfContents(contents))
      const mac = own(macCharacters(text))
      old.delete(mac)
      // One that alone takes the half would only drive out the others.
      if (size > maxBytes / 2) return
      put(mac, {
        text: own(text),
        verified: contents === undefined ? verified : { ...verified, contents: frozenContents(contents) },
        bytes: size
      })
    },

    delete: (text) => {
      const mac = macCharacters(text)
      bytes -= young.get(mac)?.bytes ?? 0
      young.delete(mac)
      old.delete(mac)
    }
  }
}
