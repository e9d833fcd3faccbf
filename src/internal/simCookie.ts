/** What anybody can read in a session cookie: its first 82 bytes, after the table in the wire format's description. */
import { Option, Result } from "effect"
import { Base64Url } from "effect/encoding"

export interface SetCookie {
  readonly name: string
  readonly value: string
  readonly deleted: boolean
}

export interface Glance {
  /** As a string of as many characters as it has bytes. */
  readonly sid: string
  readonly sidBytes: Uint8Array
  readonly createdAt: number
  readonly savedAt: number
  readonly usedAt: number
  readonly touched: boolean
}

export const parseSetCookie = (header: string): SetCookie => {
  const [pair = "", ...attributes] = header.split("; ")
  const equals = pair.indexOf("=")
  return {
    name: pair.slice(0, equals),
    value: pair.slice(equals + 1),
    deleted: attributes.includes("Max-Age=0")
  }
}

/** Bytes as a string of as many characters. */
export const textOf = (bytes: Uint8Array): string => {
  let text = ""
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

const uint = (bytes: Uint8Array, offset: number, size: number): number => {
  let value = 0
  for (let i = size - 1; i >= 0; i--) value = value * 256 + (bytes[offset + i] ?? 0)
  return value
}

/** What a cookie's value says, or nothing where it is no such value. */
export const glance = (value: string): Glance | undefined => {
  const bytes = Option.getOrUndefined(Result.getSuccess(Base64Url.decode(value.slice(0, 110))))
  if (bytes === undefined || bytes.length !== 82) return undefined
  const sidBytes = bytes.slice(3, 35)
  const createdAt = uint(bytes, 35, 5)
  const savedAt = createdAt + uint(bytes, 40, 4)
  const idle = uint(bytes, 63, 3)
  return { sid: textOf(sidBytes), sidBytes, createdAt, savedAt, usedAt: savedAt + idle, touched: idle > 0 }
}
