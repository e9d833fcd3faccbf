/**
 * base64url without padding, as nginx reads and writes it.
 *
 * Decoders are lenient: they skip what they do not know, or take `+` and `/` too.
 * A cookie has to mean one thing, so decoding is strict here: a character outside
 * the alphabet refuses the whole text. Two liberties are nginx's own: decoding ends
 * at the first `=`, and unused bits of the last character may have any value.
 */
import { Result } from "effect"
import { Base64Url } from "effect/encoding"

interface Arm {
  readonly encode: (bytes: Uint8Array) => string
  /** Of a text that is known to be base64url. */
  readonly decode: (text: string) => Uint8Array
}

/** For every runtime. */
export const portable: Arm = {
  encode: Base64Url.encode,
  decode: (text) => Result.getOrThrow(Base64Url.decode(text))
}

/** Several times as fast. */
const buffered = (buffer: typeof Buffer): Arm => ({
  encode: (bytes) => buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url"),
  decode: (text) => buffer.from(text, "base64url")
})

// Browsers and workers may lack it, whatever the types of Node say.
const native: typeof Buffer | undefined = globalThis.Buffer

const arm = native === undefined ? portable : buffered(native)

const alphabet = /^[\w-]*$/

/** How many characters so many bytes take. */
export const encodedLength = (bytes: number): number => Math.ceil(bytes * 4 / 3)

/** The text of these bytes. */
export const encode: (bytes: Uint8Array) => string = arm.encode

/** `decode` on a given arm. */
export const decodeWith = ({ decode }: Arm) => (text: string): Uint8Array | undefined => {
  const end = text.indexOf("=")
  const encoded = end === -1 ? text : text.slice(0, end)
  return alphabet.test(encoded) && encoded.length % 4 !== 1 ? decode(encoded) : undefined
}

/** The bytes of a text, or `undefined` where it is not base64url. */
export const decode: (text: string) => Uint8Array | undefined = decodeWith(arm)
