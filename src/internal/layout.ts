/**
 * The 82 bytes of a session cookie's header, the room that cookies offer, and the
 * text of a payload: the formats of lua-resty-session 4.
 *
 * All integers are little-endian and unsigned.
 *
 * | offset | size | field                                     |
 * | ------ | ---- | ----------------------------------------- |
 * | 0      | 1    | type                                      |
 * | 1      | 2    | flags                                     |
 * | 3      | 32   | sid                                       |
 * | 35     | 5    | creation time                             |
 * | 40     | 4    | rolling offset                            |
 * | 44     | 3    | characters of payload                     |
 * | 47     | 16   | GCM tag; what stands before it is the AAD |
 * | 63     | 3    | idling offset                             |
 * | 66     | 16   | MAC of what stands before it              |
 */
import type { Header, Json, Payload } from "../SessionState.ts"

export const headerSize = 82
/** Of base64url. */
export const headerCharacters = 110
export const sidSize = 32
/** Where the tag stands, and how much of the header the cipher authenticates. */
const tagOffset = 47
export const tagSize = 16
const idlingOffset = 63
/** Where the MAC stands, and how much of the header it covers. */
const macOffset = 66

/** The largest number of a 24-bit field. */
export const maxUint24 = 2 ** 24 - 1

/** Browsers keep names and values of up to 4096 bytes together. */
const cookieSize = 4096
/** As many chunks as one digit can number. */
export const maxCookies = 9

/** Views of a header's bytes, not copies. */
export const sid = (bytes: Uint8Array): Uint8Array => bytes.subarray(3, 3 + sidSize)
export const additionalData = (bytes: Uint8Array): Uint8Array => bytes.subarray(0, tagOffset)
export const tag = (bytes: Uint8Array): Uint8Array => bytes.subarray(tagOffset, tagOffset + tagSize)
export const authenticated = (bytes: Uint8Array): Uint8Array => bytes.subarray(0, macOffset)
export const mac = (bytes: Uint8Array): Uint8Array => bytes.subarray(macOffset, headerSize)

/** The characters of a cookie's value that hold its MAC: 66 bytes, a multiple of three, stand before it. */
export const macCharacters = (value: string): string => value.slice(macOffset * 4 / 3, headerCharacters)

// Without a `DataView`, which would have to be made for each header.
const number = (bytes: Uint8Array, offset: number, size: number): number => {
  let value = 0
  for (let i = offset + size - 1; i >= offset; i--) value = value * 256 + (bytes[i] ?? 0)
  return value
}

/** The fields of a header. */
export const read = (bytes: Uint8Array): Header => ({
  type: number(bytes, 0, 1),
  flags: number(bytes, 1, 2),
  creationTime: number(bytes, 35, 5),
  rollingOffset: number(bytes, 40, 4),
  dataSize: number(bytes, 44, 3),
  idlingOffset: number(bytes, idlingOffset, 3)
})

// A number that its field cannot hold would come back as another one, under a valid MAC.
const put = (bytes: Uint8Array, offset: number, size: number, value: number): void => {
  let rest = value
  for (let i = offset; i < offset + size; i++) {
    bytes[i] = rest % 256
    rest = Math.floor(rest / 256)
  }
  if (rest !== 0) {
    throw new RangeError(`${value} does not fit into ${size} bytes at offset ${offset} of a session header`)
  }
}

/** The header of a version that was just saved: tag and MAC are still to be set, and nobody has touched it yet. */
export const write = (sid: Uint8Array, fields: Omit<Header, "type" | "idlingOffset">): Uint8Array => {
  const bytes = new Uint8Array(headerSize)
  bytes[0] = 1
  put(bytes, 1, 2, fields.flags)
  bytes.set(sid, 3)
  put(bytes, 35, 5, fields.creationTime)
  put(bytes, 40, 4, fields.rollingOffset)
  put(bytes, 44, 3, fields.dataSize)
  return bytes
}

/** A copy of a header with another idling offset; its MAC is still to be set. */
export const withIdlingOffset = (bytes: Uint8Array, seconds: number): Uint8Array => {
  // `slice` of a `Buffer` shares its memory.
  const copy = new Uint8Array(bytes)
  put(copy, idlingOffset, 3, seconds)
  return copy
}

/** The room that the cookies of one name offer, in characters of their values. */
export interface Room {
  /** Of the first cookie: `name=` has to fit in too. */
  readonly first: number
  /** Of each of the others: `name2=` to `name9=`. */
  readonly next: number
  readonly all: number
}

/** The room of cookies whose name has so many characters. */
export const room = (nameSize: number): Room => {
  const first = cookieSize - nameSize - 1
  const next = first - 1
  return { first, next, all: first + (maxCookies - 1) * next }
}

/** How many cookies a value of so many characters takes; one more than `maxCookies` where it does not fit. */
export const chunkCount = ({ all, first, next }: Room, characters: number): number => {
  if (characters <= first) return 1
  return characters <= all ? 1 + Math.ceil((characters - first) / next) : maxCookies + 1
}

/** JSON as lua-cjson writes it: its two escapes that JSON.stringify lacks occur within strings only. */
export const encodeJson = (json: Json): string =>
  JSON.stringify(json).replaceAll("/", "\\/").replaceAll("\u007f", "\\u007f")

export const encodePayload = (payload: Payload): string =>
  encodeJson(
    payload.map(({ audience, data, subject }) => subject === undefined ? [data, audience] : [data, audience, subject])
  )

const isArray = (json: Json): json is ReadonlyArray<Json> => Array.isArray(json)

const parse = (text: string): Json | undefined => {
  try {
    // What `JSON.parse` returns is JSON, although its type does not say so.
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}

/** A payload's text read; elements that an entry has beyond three are ignored. */
export const decodePayload = (text: string): Payload | "InvalidJson" | "InvalidShape" => {
  const json = parse(text)
  if (json === undefined) return "InvalidJson"
  if (json === null || typeof json !== "object") return "InvalidShape"
  // lua-cjson writes an empty array as `{}`, and reads every object as an array without elements.
  if (!isArray(json)) return []
  const payload: Array<Payload[number]> = []
  for (const entry of json) {
    if (entry === null || typeof entry !== "object" || !isArray(entry)) return "InvalidShape"
    const [data, audience, subject = null] = entry
    if (data === undefined || typeof audience !== "string") return "InvalidShape"
    if (subject !== null && typeof subject !== "string") return "InvalidShape"
    payload.push({ audience, data, subject: subject ?? undefined })
  }
  return payload
}
