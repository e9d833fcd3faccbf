import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { deflateRawSync } from "node:zlib"
import type { SetCookie } from "../src/CookieCodec.ts"
import * as CookieHeader from "../src/internal/cookieHeader.ts"
import { Flag, type Payload, type Refusal, refusals } from "../src/SessionState.ts"
import {
  type Codec,
  cookieHeader,
  forge,
  json,
  makeCodec,
  nobody,
  open,
  property,
  sent,
  toSealed
} from "./utils/codec.ts"

const small: Payload = [{ audience: "default", data: { hello: "world" }, subject: "alice" }]
const large: Payload = [{ audience: "default", data: "x".repeat(27_000), subject: undefined }]

const setup = Effect.gen(function*() {
  const codec = yield* makeCodec({ compressionThreshold: 0 })
  const seal = (payload: Payload) =>
    codec.seal({ payload, creationTime: 1_795_394_320, rollingOffset: 0, flags: 0 }, nobody)
  const one = yield* seal(small)
  const nine = yield* seal(large)
  return { codec, one: sent(codec, one), nine: codec.setCookies(nine, 1, undefined) }
})

/** Whatever stands in the header: a refusal that has a name, or a payload that was sealed before. */
const assertTyped = (outcome: Payload | Refusal, cookies: string) => {
  if (typeof outcome === "string") return assert.property(refusals, outcome)
  const text = JSON.stringify(outcome)
  assert.isTrue(text === JSON.stringify(small) || text === JSON.stringify(large), cookies.slice(0, 500))
}

/** What becomes of every candidate in a header. */
const outcomes = Effect.fnUntraced(function*(codec: Codec, cookies: string) {
  const results: Array<Payload | Refusal> = []
  for (const value of codec.find(cookies)) {
    // As if it were the only one, with the chunks of them all.
    const opened = yield* open(codec, `session=${value}; ${cookies}`)
    results.push(typeof opened === "string" ? opened : opened.payload)
  }
  return results
})

/** A text with a few places changed: cut, doubled, overwritten, or moved. */
const mutated = (text: string): fc.Arbitrary<string> =>
  fc.array(
    fc.record({
      at: fc.nat(text.length),
      length: fc.oneof(fc.nat(3), fc.nat(text.length)),
      by: fc.oneof(
        fc.constant(""),
        fc.string({ unit: "binary", maxLength: 4 }),
        fc.constantFrom(";", "=", "; session=", "; session2=", "+", "/", " ", "\0", "\r\n", "A", "-", "_")
      ),
      move: fc.boolean()
    }),
    { minLength: 1, maxLength: 4 }
  ).map((changes) =>
    changes.reduce((text, { at, by, length, move }) =>
      text.slice(0, at) + by + text.slice(at + length) + (move ? text.slice(at, at + length) : ""), text)
  )

const bytes = (size: number): fc.Arbitrary<string> =>
  fc.uint8Array({ maxLength: size }).map((bytes) => Buffer.from(bytes).toString("latin1"))

describe("any Cookie header", () => {
  it.effect("of any bytes gets a typed verdict", () =>
    Effect.gen(function*() {
      const { codec, one } = yield* setup
      const fragment = fc.oneof(
        bytes(20),
        fc.string({ unit: "binary" }),
        fc.constantFrom(
          "session",
          "SESSION",
          "session2",
          "=",
          ";",
          "; ",
          " ",
          "\"",
          ",",
          "__proto__",
          "constructor",
          one,
          one.slice(8)
        )
      )
      yield* property(
        fc.array(fragment, { maxLength: 12 }).map((fragments) => `session=${fragments.join("")}`),
        (cookies) =>
          Effect.map(outcomes(codec, cookies), (all) => {
            assert.isTrue(all.length >= 1 && all.length <= 16)
            all.forEach((outcome) => assertTyped(outcome, cookies))
          }),
        { numRuns: 500 }
      )
    }))

  it.effect("made of a valid one opens that, or nothing", () =>
    Effect.gen(function*() {
      const { codec, nine, one } = yield* setup
      const seen = new Set<string>()
      for (const valid of [one, cookieHeader(nine.slice(0, 2)), cookieHeader(nine)]) {
        yield* property(
          mutated(valid),
          (cookies) =>
            Effect.map(outcomes(codec, cookies), (all) =>
              all.forEach((outcome) => {
                seen.add(typeof outcome === "string" ? outcome : "opened")
                assertTyped(outcome, cookies)
              })),
          { numRuns: 300 }
        )
      }
      // That mutations get past each stage, and not all die at the first.
      const expected = [
        "opened",
        "InvalidHeader",
        "UndecodableHeader",
        "InvalidMac",
        "MissingChunk",
        "InvalidPayload",
        "DecryptionFailed"
      ]
      assert.deepStrictEqual(expected.filter((outcome) => !seen.has(outcome)), [])
    }))

  it.effect("with names that objects have is like any other", () =>
    Effect.gen(function*() {
      const { codec, one } = yield* setup
      const names = ["__proto__", "constructor", "hasOwnProperty", "toString", "__defineGetter__"]
      const cookies = `${names.map((name) => `${name}=${name}`).join("; ")}; ${one}`
      assert.deepStrictEqual(yield* outcomes(codec, cookies), [small])
      for (const name of names) {
        const odd = yield* makeCodec({ cookieName: name })
        assert.deepStrictEqual(odd.find(cookies), [name])
        assert.deepStrictEqual(odd.find(one), [])
      }
      assert.notProperty({}, "session")
    }))

  it.effect("with ten thousand cookies is searched to its end", () =>
    Effect.gen(function*() {
      const { codec, one } = yield* setup
      const others = Array.from({ length: 10_000 }, (_, i) => `cookie${i}=${i}`).join("; ")
      assert.deepStrictEqual(yield* outcomes(codec, `${others}; ${one}`), [small])
      const same = Array.from({ length: 10_000 }, (_, i) => `session=${i}`).join("; ")
      assert.strictEqual(codec.find(same).length, 16)
    }))
})

describe("chunks", () => {
  const without = (cookies: ReadonlyArray<SetCookie>, i: number) => cookies.filter((_, j) => j !== i)

  it.effect("have to be there, all of them", () =>
    Effect.gen(function*() {
      const { codec, nine } = yield* setup
      assert.deepStrictEqual(yield* outcomes(codec, cookieHeader(nine)), [large])
      assert.deepStrictEqual(yield* outcomes(codec, cookieHeader(nine.toReversed())), [large])
      assert.deepStrictEqual(yield* outcomes(codec, cookieHeader(without(nine, 0))), [])
      for (let i = 1; i < 9; i++) {
        assert.deepStrictEqual(yield* outcomes(codec, cookieHeader(without(nine, i))), ["MissingChunk"], `${i}`)
      }
    }))

  it.effect("count once: the first of several", () =>
    Effect.gen(function*() {
      const { codec, nine } = yield* setup
      for (const [i, chunk] of nine.entries()) {
        if (i === 0) continue
        const planted = { name: chunk.name, rest: "planted; Path=/" }
        assert.deepStrictEqual(yield* outcomes(codec, cookieHeader([...nine, chunk])), [large])
        assert.deepStrictEqual(yield* outcomes(codec, cookieHeader([...nine, planted])), [large])
        assert.deepStrictEqual(yield* outcomes(codec, cookieHeader([planted, ...nine])), ["InvalidPayload"])
      }
    }))

  it.effect("do not open in each other's place", () =>
    Effect.gen(function*() {
      const { codec, nine } = yield* setup
      yield* property(
        fc.shuffledSubarray(nine.slice(1).map(({ rest }) => rest), { minLength: 8 }),
        Effect.fnUntraced(function*(rests) {
          const shuffled = nine.map(({ name, rest }, i) => ({ name, rest: rests[i - 1] ?? rest }))
          const inOrder = shuffled.every(({ rest }, i) => rest === nine[i]?.rest)
          assert.deepStrictEqual(yield* outcomes(codec, cookieHeader(shuffled)), [inOrder ? large : "DecryptionFailed"])
        }),
        { numRuns: 50 }
      )
    }))

  it.effect("are never more than nine, whatever size a valid header claims", () =>
    Effect.gen(function*() {
      const { codec } = yield* setup
      const cookies = Array.from({ length: 30 }, (_, i) => `session${i}=${"A".repeat(100)}`).join("; ")
      yield* property(fc.oneof(fc.nat(40_000), fc.nat(2 ** 24 - 1)), (dataSize) =>
        Effect.map(open(codec, `session=${forge(Buffer.from("[]"), { dataSize })}; ${cookies}`), (opened) => {
          // Of three characters, those in place of the payload; of more, some of the header too.
          const expected = dataSize === 3
            ? []
            : dataSize > 36_674
            ? "CookieSizeLimit"
            : dataSize === 0 || dataSize > 113
            ? "InvalidPayload"
            : dataSize % 4 === 1
            ? "UndecodablePayload"
            : "DecryptionFailed"
          assert.deepStrictEqual(typeof opened === "string" ? opened : opened.payload, expected)
        }), { examples: [[0], [1], [2], [3], [4], [113], [114], [36_674], [36_675], [2 ** 24 - 1]] })
    }))
})

describe("any plaintext under a valid seal", () => {
  const openPlaintext = (codec: Codec, plaintext: Uint8Array, flags = 0) =>
    open(codec, cookieHeader(codec.setCookies(toSealed(codec, forge(plaintext, { flags })), 1, undefined)))

  it.effect("of any bytes gets a typed verdict", () =>
    Effect.gen(function*() {
      const { codec } = yield* setup
      yield* property(
        fc.uint8Array({ minLength: 1, maxLength: 300 }),
        Effect.fnUntraced(function*(plaintext) {
          for (const flags of [0, Flag.Deflate]) {
            const opened = yield* openPlaintext(codec, plaintext, flags)
            if (typeof opened === "string") {
              assert.include(["InvalidJson", "InvalidShape", "InflateFailed", "InflateLimit"], opened)
            } else {
              assert.isArray(opened.payload)
            }
          }
        }),
        { numRuns: 300 }
      )
    }))

  it.effect("of any JSON is a payload or has an invalid shape", () =>
    Effect.gen(function*() {
      const { codec } = yield* setup
      const seen = new Set<string>()
      const entry = fc.oneof(
        json,
        fc.tuple(json, fc.oneof(fc.string(), json)),
        fc.tuple(json, fc.string(), fc.oneof(fc.string(), json))
      )
      yield* property(
        fc.oneof(json, fc.array(entry, { maxLength: 3 })),
        Effect.fnUntraced(function*(value) {
          const opened = yield* openPlaintext(codec, Buffer.from(JSON.stringify(value)))
          seen.add(typeof opened === "string" ? opened : "opened")
          if (typeof opened === "string") return assert.strictEqual(opened, "InvalidShape")
          for (const { audience, subject } of opened.payload) {
            assert.isString(audience)
            assert.isTrue(subject === undefined || typeof subject === "string")
          }
        }),
        { numRuns: 300 }
      )
      assert.deepStrictEqual([...seen].toSorted(), ["InvalidShape", "opened"])
    }))

  it.effect("may be nested as deep as it fits", () =>
    Effect.gen(function*() {
      const { codec } = yield* setup
      const text = `[[${"[".repeat(30_000)}${"]".repeat(30_000)},"default"]]`
      const opened = yield* openPlaintext(codec, deflateRawSync(text), Flag.Deflate)
      assert.isObject(opened)
      assert.strictEqual(yield* openPlaintext(codec, deflateRawSync("[".repeat(60_000)), Flag.Deflate), "InvalidJson")
    }))

  it.effect("inflates no further than the limit", () =>
    Effect.gen(function*() {
      const { codec } = yield* setup
      const bomb = deflateRawSync(Buffer.alloc(20_000_000))
      assert.isBelow(bomb.length, 27_505)
      assert.strictEqual(yield* openPlaintext(codec, bomb, Flag.Deflate), "InflateLimit")
    }))
})

describe("the search looks at each character a bounded number of times", () => {
  /** How many characters of strings are looked at meanwhile. */
  const looks = (run: () => void): number => {
    const { charCodeAt, indexOf, slice } = String.prototype
    let looks = 0
    Object.assign(String.prototype, {
      charCodeAt(this: string, at: number) {
        looks++
        return charCodeAt.call(this, at)
      },
      indexOf(this: string, text: string, from = 0) {
        const found = indexOf.call(this, text, from)
        looks += (found === -1 ? this.length : found + text.length) - from
        return found
      },
      slice(this: string, start?: number, end?: number) {
        const part = slice.call(this, start, end)
        looks += part.length
        return part
      }
    })
    try {
      run()
    } finally {
      Object.assign(String.prototype, { charCodeAt, indexOf, slice })
    }
    return looks
  }

  const patterns = [
    ";",
    " ",
    "; ",
    "=",
    "session",
    "session=",
    "session= ",
    "xsession=",
    " session=session=",
    "session=;",
    "session=v; ",
    "SESSION",
    "sessio=1; ",
    "session2=; ",
    "__proto__=1; ",
    "\u00e9"
  ]

  it.each(patterns)("of a megabyte of %j", (pattern) => {
    const cookies = pattern.repeat(Math.ceil((1 << 20) / pattern.length))
    for (const exact of [true, false]) {
      const named = CookieHeader.named("session", exact)
      for (
        const search of [
          () => named.all(cookies, 16),
          () => named.all(`a=b; ${cookies}`, 16),
          () => named.first(cookies)
        ]
      ) {
        // Five a character, and the sixteen values.
        assert.isBelow(looks(search), 5 * cookies.length + 16 * pattern.length)
      }
    }
  })

  it.effect("of chunks and values of a megabyte", () =>
    Effect.gen(function*() {
      const { codec, nine } = yield* setup
      const value = "A".repeat(1 << 20)
      assert.strictEqual(yield* open(codec, `session=${value}`), "InvalidMac")
      const cookies = `${cookieHeader(nine.slice(0, 8))}; session9=${value}`
      assert.strictEqual(yield* open(codec, cookies), "InvalidPayload")
      const presented = codec.decode(nine[0]?.rest ?? "")
      if (typeof presented === "string") return assert.fail(presented)
      // Each of the eight further chunks is looked for on its own.
      const steps = looks(() => assert.strictEqual(codec.gather(presented, value, cookies), "InvalidPayload"))
      assert.isBelow(steps, 8 * 5 * cookies.length + value.length)
    }))
})
