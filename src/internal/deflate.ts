/**
 * Raw deflate, RFC 1951, and inflate with a bound on what comes out.
 *
 * As zlib does it for lua-resty-session: bytes after the final block are ignored, a
 * truncated stream and one in a zlib wrapper fail.
 */
import { Effect } from "effect"
import type * as NodeZlib from "node:zlib"

type Refusal = "InflateFailed" | "InflateLimit"

/** Raw deflate and inflate. */
export interface Deflate {
  readonly deflate: (bytes: Uint8Array) => Effect.Effect<Uint8Array>
  /** What the bytes inflate to, if that is at most `limit` bytes, of which there must be one. */
  readonly inflate: (bytes: Uint8Array, limit: number) => Effect.Effect<Uint8Array | Refusal>
}

/** On a limit that is one: it goes to zlib, and decides how much memory is taken. */
const limited =
  (inflate: (bytes: Uint8Array, limit: number) => Uint8Array | Refusal): Deflate["inflate"] => (bytes, limit) =>
    Number.isSafeInteger(limit) && limit > 0
      ? Effect.sync(() => inflate(bytes, limit))
      : Effect.die(new RangeError(`inflate: the limit must be a positive number of bytes, not ${limit}`))

/** The errors of node:zlib that are about the bytes. */
const refusals: ReadonlyMap<unknown, Refusal> = new Map([
  ["ERR_BUFFER_TOO_LARGE", "InflateLimit"],
  ["Z_BUF_ERROR", "InflateFailed"],
  ["Z_DATA_ERROR", "InflateFailed"]
])

const refusalOf = (error: unknown): Refusal | undefined => {
  if (error instanceof Error && "code" in error) return refusals.get(error.code)
  // Cloudflare's have no code.
  return error instanceof RangeError ? "InflateLimit" : "InflateFailed"
}

/** On node:zlib. */
export const native = (zlib: typeof NodeZlib): Deflate => ({
  deflate: (bytes) =>
    Effect.sync(() => new Uint8Array(zlib.deflateRawSync(bytes, { level: 6, memLevel: 8, windowBits: 15 }))),
  inflate: limited((bytes, limit) => {
    try {
      return new Uint8Array(zlib.inflateRawSync(bytes, { maxOutputLength: limit }))
    } catch (error) {
      const refusal = refusalOf(error)
      if (refusal === undefined) throw error
      return refusal
    }
  })
})

/** A prefix code: how many codes there are of each length, and the symbols in the order of their codes. */
interface Code {
  readonly counts: Uint16Array
  readonly symbols: Uint16Array
}

const longestCode = 15

const at = (array: ArrayLike<number>, index: number): number => array[index] ?? 0

/**
 * The code whose symbols have these lengths, RFC 1951 section 3.2.2. As in zlib, it
 * may leave nothing unused, unless it has but one symbol, of one bit, or none.
 */
const codeOf = (lengths: Uint8Array): Code | undefined => {
  const counts = new Uint16Array(longestCode + 1)
  for (const length of lengths) counts[length] = at(counts, length) + 1
  const used = lengths.length - at(counts, 0)
  counts[0] = 0

  const next = new Uint16Array(longestCode + 1)
  let unused = 1
  for (let length = 1; length <= longestCode; length++) {
    next[length] = at(next, length - 1) + at(counts, length - 1)
    unused = 2 * unused - at(counts, length)
    if (unused < 0) return undefined
  }
  if (unused > 0 && used !== at(counts, 1)) return undefined

  const symbols = new Uint16Array(used)
  for (const [symbol, length] of lengths.entries()) {
    if (length === 0) continue
    symbols[at(next, length)] = symbol
    next[length] = at(next, length) + 1
  }
  return { counts, symbols }
}

const endOfBlock = 256

/** Section 3.2.6. */
const fixedLiterals = new Uint8Array(288).fill(8, 0, 144).fill(9, 144, 256).fill(7, 256, 280).fill(8, 280)
const fixedDistances = new Uint8Array(32).fill(5)

/** In what order the lengths of the code that codes the lengths stand, section 3.2.7. */
const lengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]

const inflatePortable = (input: Uint8Array, limit: number): Uint8Array | Refusal => {
  const end = 8 * input.length
  let position = 0
  let output = new Uint8Array(Math.min(limit, 4 * input.length))
  let size = 0

  // Past the end there are zeros: whoever may have read them has to look whether `position` is past `end`.
  const bits = (count: number): number => {
    let value = 0
    for (let i = 0; i < count; i++, position++) value |= ((at(input, position >>> 3) >>> (position & 7)) & 1) << i
    return value
  }

  /** The next symbol, or -1 where the bits are none. */
  const symbolIn = ({ counts, symbols }: Code): number => {
    let code = 0
    let first = 0
    let index = 0
    for (let length = 1; length <= longestCode; length++) {
      const count = at(counts, length)
      code |= bits(1)
      if (code - first < count) return at(symbols, index + code - first)
      index += count
      first = (first + count) << 1
      code <<= 1
    }
    return -1
  }

  /** What a symbol for a length or a distance stands for, with the extra bits that follow it: section 3.2.5. */
  const scaled = (symbol: number, order: number): number => {
    const extra = (symbol >> order) - 1
    if (extra <= 0) return symbol
    const mantissa = (1 << order) | (symbol & ((1 << order) - 1))
    return (mantissa << extra) + bits(extra)
  }

  const makeRoom = (count: number): boolean => {
    const needed = size + count
    if (needed > output.length) {
      const grown = new Uint8Array(Math.min(limit, Math.max(needed, 2 * output.length)))
      grown.set(output)
      output = grown
    }
    return needed <= output.length
  }

  const stored = (): Refusal | undefined => {
    position = Math.ceil(position / 8) * 8
    const length = bits(16)
    const complement = bits(16)
    const start = position / 8
    position += 8 * length
    if (position > end || length + complement !== 0xffff) return "InflateFailed"
    if (!makeRoom(length)) return "InflateLimit"
    output.set(input.subarray(start, start + length), size)
    size += length
    return undefined
  }

  const compressed = (literals: Code | undefined, distances: Code | undefined): Refusal | undefined => {
    if (literals === undefined || distances === undefined) return "InflateFailed"
    for (;;) {
      const symbol = symbolIn(literals)
      if (symbol < 0 || symbol > 285 || position > end) return "InflateFailed"
      if (symbol === endOfBlock) return undefined
      if (symbol < endOfBlock) {
        if (!makeRoom(1)) return "InflateLimit"
        output[size++] = symbol
        continue
      }
      const length = symbol === 285 ? 258 : 3 + scaled(symbol - 257, 2)
      const code = symbolIn(distances)
      const distance = 1 + scaled(code, 1)
      if (code < 0 || code > 29 || distance > size) return "InflateFailed"
      if (!makeRoom(length)) return "InflateLimit"
      for (let i = 0; i < length; i++, size++) output[size] = at(output, size - distance)
    }
  }

  const dynamic = (): Refusal | undefined => {
    const literals = 257 + bits(5)
    const distances = 1 + bits(5)
    if (literals > 286 || distances > 30) return "InflateFailed"
    const lengthsOfLengths = new Uint8Array(lengthOrder.length)
    for (const symbol of lengthOrder.slice(0, 4 + bits(4))) lengthsOfLengths[symbol] = bits(3)
    const code = codeOf(lengthsOfLengths)
    if (code === undefined) return "InflateFailed"

    const lengths = new Uint8Array(literals + distances)
    for (let i = 0; i < lengths.length;) {
      const symbol = symbolIn(code)
      if (symbol < 0 || (symbol === 16 && i === 0)) return "InflateFailed"
      const length = symbol < 16 ? symbol : symbol === 16 ? at(lengths, i - 1) : 0
      const times = symbol < 16 ? 1 : symbol === 18 ? 11 + bits(7) : 3 + bits(symbol - 14)
      if (i + times > lengths.length) return "InflateFailed"
      lengths.fill(length, i, i + times)
      i += times
    }
    return at(lengths, endOfBlock) === 0
      ? "InflateFailed"
      : compressed(codeOf(lengths.subarray(0, literals)), codeOf(lengths.subarray(literals)))
  }

  const blocks = [stored, () => compressed(codeOf(fixedLiterals), codeOf(fixedDistances)), dynamic]

  for (;;) {
    const final = bits(1)
    const block = blocks[bits(2)]
    const refusal = block === undefined ? "InflateFailed" : block()
    if (refusal !== undefined) return refusal
    if (final === 1) return output.slice(0, size)
  }
}

/**
 * Without node:zlib. `DecompressionStream` would be at hand, but is of no use here:
 * by runtime it fails on bytes after the final block, takes a truncated stream for a
 * whole one, or expands all of a chunk before anyone can stop it.
 */
export const portable: Deflate = {
  deflate: (bytes) =>
    Effect.promise(() =>
      new Response(new Blob([new Uint8Array(bytes)]).stream().pipeThrough(new CompressionStream("deflate-raw")))
        .arrayBuffer()
    ).pipe(Effect.map((buffer) => new Uint8Array(buffer))),
  inflate: limited(inflatePortable)
}

/** On node:zlib where the runtime offers it. */
export const make = (): Deflate => {
  const zlib: typeof NodeZlib | undefined = globalThis.process?.getBuiltinModule?.("node:zlib")
  return zlib === undefined ? portable : native(zlib)
}
