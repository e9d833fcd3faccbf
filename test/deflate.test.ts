import { assert, describe, it, onTestFinished, vi } from "@effect/vitest"
import { Effect, Exit } from "effect"
import * as fc from "fast-check"
import * as zlib from "node:zlib"
import * as Deflate from "../src/internal/deflate.ts"
import { property } from "./utils/codec.ts"

const utf8 = new TextEncoder()

const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(parts))

const text = utf8.encode(
  JSON.stringify(Array.from({ length: 200 }, (_, id) => ({ id, name: `user ${id}`, admin: id < 3 })))
)

const noise = globalThis.crypto.getRandomValues.bind(globalThis.crypto)

const mebibyte = (): Uint8Array => {
  const bytes = new Uint8Array(2 ** 20)
  for (let start = 0; start < bytes.length; start += 65_536) noise(bytes.subarray(start, start + 65_536))
  return bytes
}

/** Bytes that deflate well, badly, and not at all. */
const sources = fc.oneof(
  fc.uint8Array({ maxLength: 2000 }),
  fc.uint8Array({ maxLength: 2000, max: 3 }),
  fc.tuple(fc.uint8Array({ maxLength: 50 }), fc.nat(200)).map(([bytes, times]) =>
    concat(...Array.from({ length: times }, () => bytes))
  )
)

/** Streams as any zlib may write them: stored, fixed and dynamic blocks, any window. */
const streams = fc.tuple(
  sources,
  fc.record({
    level: fc.nat(9),
    memLevel: fc.integer({ min: 1, max: 9 }),
    windowBits: fc.integer({ min: 9, max: 15 }),
    strategy: fc.constantFrom(
      zlib.constants.Z_DEFAULT_STRATEGY,
      zlib.constants.Z_FILTERED,
      zlib.constants.Z_HUFFMAN_ONLY,
      zlib.constants.Z_RLE,
      zlib.constants.Z_FIXED
    )
  })
).map(([source, options]) => ({ source, stream: new Uint8Array(zlib.deflateRawSync(source, options)) }))

const suite = (name: string, { deflate, inflate }: Deflate.Deflate) =>
  describe(`${name} deflate`, () => {
    it.effect("deflates to what zlib inflates", () =>
      property(sources, (source) =>
        Effect.map(deflate(source), (deflated) => {
          assert.deepStrictEqual(new Uint8Array(zlib.inflateRawSync(deflated)), source)
          assert.strictEqual(Object.getPrototypeOf(deflated), Uint8Array.prototype)
        })))

    it.effect("makes text smaller", () =>
      Effect.map(deflate(text), (deflated) => assert.isBelow(deflated.length, text.length / 4)))

    it.effect("inflates what zlib deflates", () =>
      property(streams, ({ source, stream }) =>
        Effect.map(inflate(stream, 100_000), (inflated) => {
          assert.deepStrictEqual(inflated, source)
          assert.strictEqual(Object.getPrototypeOf(inflated), Uint8Array.prototype)
        })))

    it.effect("takes nothing in and out", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(yield* inflate(yield* deflate(new Uint8Array(0)), 1), new Uint8Array(0))
      }))

    it.effect("takes a megabyte of noise in and out", () =>
      Effect.gen(function*() {
        const bytes = mebibyte()
        const deflated = yield* deflate(bytes)
        assert.isAbove(deflated.length, bytes.length)
        const inflated = yield* inflate(deflated, bytes.length)
        assert.isTrue(typeof inflated !== "string" && Buffer.from(inflated).equals(bytes))
        assert.strictEqual(yield* inflate(deflated, bytes.length - 1), "InflateLimit")
      }))

    it.effect("leaves its input as it is", () =>
      Effect.gen(function*() {
        const input = text.slice()
        const deflated = yield* deflate(input)
        const copy = deflated.slice()
        yield* inflate(deflated, text.length)
        assert.deepStrictEqual(input, text)
        assert.deepStrictEqual(deflated, copy)
      }))

    it.effect("inflates up to the limit and no further", () =>
      property(streams, ({ source, stream }) =>
        Effect.gen(function*() {
          const limit = Math.max(1, source.length)
          assert.deepStrictEqual(yield* inflate(stream, limit), source)
          if (source.length > 1) assert.strictEqual(yield* inflate(stream, limit - 1), "InflateLimit")
        })))

    it.effect("dies of a limit that is none", () =>
      Effect.gen(function*() {
        const deflated = yield* deflate(text)
        for (const limit of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
          assert.isTrue(Exit.hasDies(yield* Effect.exit(inflate(deflated, limit))), `${limit}`)
        }
      }))

    it.effect("stops a bomb before it takes memory", () =>
      Effect.gen(function*() {
        // Flushed, so that it can be repeated: each 1 kB of it inflates to a megabyte.
        const charge = zlib.deflateRawSync(new Uint8Array(2 ** 20), { finishFlush: zlib.constants.Z_FULL_FLUSH })
        const bomb = concat(...Array.from({ length: 512 }, () => charge), zlib.deflateRawSync(new Uint8Array(0)))
        const before = process.memoryUsage().rss
        assert.strictEqual(yield* inflate(bomb, 2 ** 20), "InflateLimit")
        assert.isBelow(process.memoryUsage().rss - before, 128 * 2 ** 20)
      }))

    it.effect("ignores what follows the final block", () =>
      Effect.gen(function*() {
        const deflated = yield* deflate(text)
        for (const trailing of [Uint8Array.of(0), utf8.encode("garbage"), noise(new Uint8Array(50_000)), deflated]) {
          assert.deepStrictEqual(yield* inflate(concat(deflated, trailing), text.length), text)
        }
      }))

    it.effect("fails on a stream that is cut short anywhere", () =>
      Effect.gen(function*() {
        const short = text.subarray(0, 300)
        for (const level of [0, 1, 6]) {
          const stream = new Uint8Array(zlib.deflateRawSync(short, { level }))
          for (let length = 0; length < stream.length; length++) {
            assert.strictEqual(
              yield* inflate(stream.subarray(0, length), 10_000),
              "InflateFailed",
              `${level} ${length}`
            )
          }
        }
      }))

    it.effect("fails on a stream in a wrapper", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* inflate(zlib.deflateSync(text), 100_000), "InflateFailed")
        assert.strictEqual(yield* inflate(zlib.gzipSync(text), 100_000), "InflateFailed")
      }))
  })

suite("native", Deflate.native(zlib))
suite("portable", Deflate.portable)

/** A number as a stream has it: from its lowest bit. */
const number = (value: number, size: number): string =>
  Array.from({ length: size }, (_, bit) => (value >> bit) & 1).join("")

const stream = (bits: string): Uint8Array =>
  Uint8Array.from(
    { length: Math.ceil(bits.length / 8) },
    (_, byte) =>
      Array.from(bits.slice(byte * 8, byte * 8 + 8)).reduce((value, bit, index) => value | (Number(bit) << index), 0)
  )

/** A final block with a code of its own, up to where the lengths of that code stand. */
const dynamic = (literals: number, distances: number, lengths: Readonly<Record<number, number>>): string =>
  [
    number(5, 3),
    number(literals - 257, 5),
    number(distances - 1, 5),
    number(15, 4),
    ...[16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15].map((symbol) =>
      number(lengths[symbol] ?? 0, 3)
    )
  ].join("")

// Codes that most of the blocks write their lengths in: 18 is "0", 0 is "10", 1 is "11".
const usual = { 0: 2, 1: 2, 18: 1 }
const zeros = (times: number): string => `0${number(times - 11, 7)}`
const zero = "10"
const one = "11"
/** Literals: the byte 0 is "0", the end of the block "1". */
const twoLiterals = [one, zeros(138), zeros(117), one].join("")

// With lengths of two as well: 18 is "0", 2 is "10", 0 is "110", 1 is "111".
const more = { 0: 3, 1: 3, 2: 2, 18: 1 }
/** Literals: "a" is "0", the end of the block "10", three bytes again "11". */
const threeLiterals = [zeros(97), "111", zeros(138), zeros(20), "10", "10"].join("")

const wellFormed = [
  ["two literals", "\0", [dynamic(257, 1, usual), twoLiterals, one, "01"]],
  ["a distance code of one symbol", "aaaa", [dynamic(258, 1, more), threeLiterals, "111", "0", "110", "10"]],
  ["no distance code", "a", [dynamic(258, 1, more), threeLiterals, "110", "0", "10"]],
  ["a literal code of one symbol", "", [dynamic(257, 1, usual), zeros(138), zeros(118), one, zero, "0"]]
] as const

/** By what zlib says of them. Each would inflate if it were not for that. */
const malformed = [
  ["invalid block type", [number(7, 3)]],
  ["invalid stored block lengths", [number(1, 8), number(1, 16), number(1, 16), number(0, 8)]],
  ["invalid literal/length code", [number(3, 3), "10010001", "11000110", number(0, 6), "00000", "0000000"]],
  ["invalid literal/length code", [dynamic(257, 1, usual), zeros(138), zeros(118), one, zero, "1", "0".repeat(15)]],
  ["invalid distance code", [dynamic(258, 1, more), threeLiterals, "111", "0", "111", "0".repeat(14), "10"]],
  ["invalid distance too far back", [number(3, 3), "10010001", "0000001", "00001", "0000000"]],
  ["too many length or distance symbols", [dynamic(287, 1, usual), twoLiterals, zeros(30), one, "1"]],
  ["too many length or distance symbols", [dynamic(257, 31, usual), twoLiterals, one, zeros(30), "1"]],
  ["invalid bit length repeat", [dynamic(257, 1, usual), twoLiterals, zeros(11), "1"]],
  [
    "invalid bit length repeat",
    // 0 is "00", 1 is "01", 16 is "10", 18 is "11"
    [
      dynamic(257, 1, { 0: 2, 1: 2, 16: 2, 18: 2 }),
      "1000",
      `11${number(127, 7)}`,
      `11${number(103, 7)}`,
      "01",
      "01",
      "01",
      "1"
    ]
  ],
  ["invalid code lengths set", [dynamic(257, 1, { ...usual, 17: 2 }), twoLiterals, one, "1"]],
  [
    "invalid code lengths set",
    // 0 is "00", 1 is "01", 18 is "10"
    [dynamic(257, 1, { 0: 2, 1: 2, 18: 2 }), "01", `10${number(127, 7)}`, `10${number(106, 7)}`, "01", "01", "1"]
  ],
  // 1 is "0", and "1" is nothing
  [
    "invalid code lengths set",
    [dynamic(257, 1, { 1: 1 }), "0", `1${"0".repeat(14)}`.repeat(255), "0", "0", "1"]
  ],
  ["invalid code -- missing end-of-block", [
    dynamic(257, 1, usual),
    one,
    one,
    zeros(138),
    zeros(117),
    one,
    "0000000000"
  ]],
  ["invalid literal/lengths set", [dynamic(258, 1, usual), twoLiterals, one, one, "1"]],
  // 18 is "0", 0 is "10", 2 is "11"
  ["invalid literal/lengths set", [dynamic(257, 1, { 0: 2, 2: 2, 18: 1 }), twoLiterals, zero, "01"]],
  ["invalid distances set", [dynamic(257, 1, more), "111", zeros(138), zeros(117), "111", "10", "1"]]
] as const

describe("native and portable", () => {
  it.effect.each(wellFormed)("inflate %s", ([, text, parts]) =>
    Effect.gen(function*() {
      const bytes = stream(parts.join(""))
      assert.deepStrictEqual(yield* Deflate.native(zlib).inflate(bytes, 4), utf8.encode(text))
      assert.deepStrictEqual(yield* Deflate.portable.inflate(bytes, 4), utf8.encode(text))
    }))

  it.effect.each(malformed)("fail with %s", ([reason, parts]) =>
    Effect.gen(function*() {
      const bytes = stream(parts.join(""))
      assert.throws(() => zlib.inflateRawSync(bytes), reason)
      assert.strictEqual(yield* Deflate.native(zlib).inflate(bytes, 4), "InflateFailed")
      assert.strictEqual(yield* Deflate.portable.inflate(bytes, 4), "InflateFailed")
    }))

  it.effect("fail with a distance that no window has", () =>
    Effect.gen(function*() {
      // A distance of 32,769, when there are as many bytes to go back to.
      const bytes = concat(
        stream([number(0, 8), number(65_535, 16), number(0, 16)].join("")),
        new Uint8Array(65_535),
        stream([number(3, 3), "0000001", "11110", number(0, 14), "0000000"].join(""))
      )
      assert.throws(() => zlib.inflateRawSync(bytes), "invalid distance code")
      assert.strictEqual(yield* Deflate.native(zlib).inflate(bytes, 100_000), "InflateFailed")
      assert.strictEqual(yield* Deflate.portable.inflate(bytes, 100_000), "InflateFailed")
    }))

  const mutations = fc.oneof(
    fc.record({ kind: fc.constant("flip"), at: fc.nat(), bit: fc.nat(7) }),
    // The codes stand at the beginning: most of what can be wrong is wrong there.
    fc.record({ kind: fc.constant("flip"), at: fc.nat(80), bit: fc.nat(7) }),
    fc.record({ kind: fc.constant("cut"), at: fc.nat(), bit: fc.constant(0) })
  )

  const damaged = fc.tuple(streams, fc.array(mutations, { minLength: 1, maxLength: 3 })).map((
    [{ stream }, mutations]
  ) =>
    mutations.reduce((stream, { at, bit, kind }) => {
      const index = at % (stream.length + 1)
      return kind === "cut" ? stream.slice(0, index) : stream.map((byte, i) => i === index ? byte ^ (1 << bit) : byte)
    }, stream)
  )

  it.effect("agree on damaged streams", () =>
    property(
      fc.oneof(damaged, fc.uint8Array({ maxLength: 100 })),
      (stream) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(
            yield* Deflate.portable.inflate(stream, 2 ** 24),
            yield* Deflate.native(zlib).inflate(stream, 2 ** 24)
          )
        }),
      { numRuns: 2000 }
    ))
})

describe("errors of zlib", () => {
  const failing = (error: Error) =>
    Deflate.native(Object.assign({ ...zlib }, {
      inflateRawSync: () => {
        throw error
      }
    })).inflate(text, 1000)

  it.effect("without a code, as Cloudflare has them", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* failing(new RangeError("Memory limit exceeded")), "InflateLimit")
      assert.strictEqual(yield* failing(new Error("unexpected end of file")), "InflateFailed")
    }))

  it.effect("that are not about the bytes are defects", () =>
    Effect.gen(function*() {
      const error = Object.assign(new Error("insufficient memory"), { code: "Z_MEM_ERROR" })
      assert.deepStrictEqual(yield* Effect.exit(failing(error)), Exit.die(error))
    }))
})

describe("make", () => {
  it("takes node:zlib where there is one", () => {
    assert.notStrictEqual(Deflate.make(), Deflate.portable)
  })

  it("does without it elsewhere", () => {
    const builtins = vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined)
    onTestFinished(() => builtins.mockRestore())
    assert.strictEqual(Deflate.make(), Deflate.portable)
  })
})
