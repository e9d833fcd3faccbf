import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as fc from "fast-check"
import type { Sealed, Sender } from "../src/CookieCodec.ts"
import type * as SessionConfig from "../src/SessionConfig.ts"
import type { Json, Payload } from "../src/SessionState.ts"
import { type Codec, cookieHeader, json, makeCodec, nobody, open, property, sent } from "./utils/codec.ts"
import { runs, seeds } from "./utils/depth.ts"

type Cookie = "session" | "remember"

const both = ["session", "remember"] as const

const codecsOf = (options: SessionConfig.Options = {}) =>
  Effect.map(
    makeCodec({ rememberSafety: "Low", ...options }),
    (codec): Record<Cookie, Codec> => ({ session: codec, remember: codec.remember })
  )

const payloadOf = (data: Json): Payload => [{ audience: "default", data, subject: undefined }]

const seal = (codec: Codec, payload: Payload) =>
  codec.seal({ payload, creationTime: 1_795_394_320, rollingOffset: 0, flags: 0 }, nobody)

const payloadIn = Effect.fnUntraced(function*(codec: Codec, cookies: string, sender: Sender = nobody) {
  const opened = yield* open(codec, cookies, sender)
  return typeof opened === "string" ? opened : opened.payload
})

// -----------------------------------------------------------------------------
// values
// -----------------------------------------------------------------------------

/** Any string of JavaScript: halves of surrogate pairs too, which are no Unicode. */
const anyString = fc.oneof(
  fc.array(fc.oneof(fc.nat(0xffff), fc.integer({ min: 0xd800, max: 0xdfff })), { maxLength: 20 })
    .map((units) => String.fromCharCode(...units)),
  fc.string({ unit: "grapheme" })
)

const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, Number.MAX_VALUE, Number.MIN_VALUE, 1e21, 1e-7)
).map((number) => number === 0 ? 0 : number)

/** JSON as odd as it comes. */
const oddJson: fc.Arbitrary<Json> = fc.letrec<{ readonly json: Json }>((tie) => ({
  json: fc.oneof(
    { depthSize: "medium", withCrossShrink: true },
    anyString,
    number,
    json,
    fc.array(tie("json"), { maxLength: 5 }),
    // What a parser makes of it: keys that objects have are its own.
    fc.array(fc.tuple(fc.oneof(anyString, fc.constantFrom("__proto__", "constructor", "")), tie("json")), {
      maxLength: 5
    })
      .map((entries): Json =>
        JSON.parse(`{${entries.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join()}}`)
      ),
    fc.integer({ min: 1, max: 200 }).map((depth): Json => JSON.parse("[".repeat(depth) + "]".repeat(depth)))
  )
})).json

const oddPayload: fc.Arbitrary<Payload> = fc.array(
  fc.record({ audience: anyString, data: oddJson, subject: fc.option(anyString, { nil: undefined }) }),
  { minLength: 1, maxLength: 4 }
)

const sender: fc.Arbitrary<Sender> = fc.record({
  ip: fc.constantFrom(undefined, "", "192.0.2.1", "2001:db8::1"),
  scheme: fc.constantFrom(undefined, "http", "https"),
  userAgent: fc.oneof(
    fc.constantFrom(undefined, ""),
    fc.string({ unit: fc.nat(255).map((c) => String.fromCharCode(c)) })
  )
})

// -----------------------------------------------------------------------------
// sizes
// -----------------------------------------------------------------------------

/** Text of so many bytes that nothing compresses, and that JSON takes as it is. */
const noise = (size: number, seed: number): string => {
  let state = seed >>> 0
  let text = ""
  while (text.length < size) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    text += "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[state >>> 26]
  }
  return text
}

/** A payload whose JSON takes so many bytes: 16 for `[["","default"]]`. */
const ofSize = (size: number, seed: number): Payload => payloadOf(noise(size - 16, seed))

/** Bytes that so many cookies hold: of the first `name=` and the header go off, of the others `name2=`. */
const roomOf = (cookie: Cookie, cookies: number): number =>
  Math.floor((4096 * cookies - (cookie.length + 1) - (cookies - 1) * (cookie.length + 2) - 110) * 3 / 4)

const size = (cookie: Cookie): fc.Arbitrary<number> =>
  fc.tuple(
    fc.constantFrom(
      1024,
      2983,
      4096,
      65_536,
      ...Array.from({ length: 9 }, (_, i) => roomOf(cookie, i + 1))
    ),
    fc.integer({ min: -2, max: 2 })
  ).map(([size, delta]) => size + delta)

// -----------------------------------------------------------------------------

describe.each(seeds)("what was sealed, from %s", (_, seed) => {
  describe.each(both)("in a %s cookie", (cookie) => {
    it.effect("opens as it was, whatever it was", () =>
      Effect.gen(function*() {
        const variants = [
          yield* codecsOf(),
          yield* codecsOf({ compressionThreshold: 0 }),
          yield* codecsOf({ compressionThreshold: 1 }),
          yield* codecsOf({ bind: ["ip", "scheme", "user-agent"] })
        ]
        yield* property(
          fc.record({ payload: oddPayload, sender, variant: fc.nat(variants.length - 1), touch: fc.nat(2 ** 24 - 1) }),
          Effect.fnUntraced(function*({ payload, sender, touch, variant }) {
            const codec = variants[variant]![cookie]
            const sealed = yield* codec.seal({ payload, creationTime: 1, rollingOffset: 2, flags: 0 }, sender)
            const cookies = codec.setCookies(sealed, 1, undefined)
            assert.deepStrictEqual(yield* payloadIn(codec, cookieHeader(cookies), sender), payload)
            const plain = yield* seal(variants[1]![cookie], payload)
            assert.isAtMost(sealed.ciphertext.length, plain.ciphertext.length)
            // So does a version that was touched.
            const [first, ...chunks] = cookies
            const touched = yield* codec.touch(sealed, 0, touch, sender)
            const header = codec.setHeader(touched, first!.rest.split(";")[0]!, undefined)
            assert.deepStrictEqual(yield* payloadIn(codec, cookieHeader([header, ...chunks]), sender), payload)
          }),
          {
            seed,
            numRuns: runs(150),
            examples: [[{ payload: payloadOf("\ud800"), sender: nobody, variant: 0, touch: 0 }]]
          }
        )
      }))

    it.effect("takes as many cookies as it needs, up to nine, and no byte more", () =>
      Effect.gen(function*() {
        const plain = (yield* codecsOf({ compressionThreshold: 0 }))[cookie]
        const deflating = (yield* codecsOf())[cookie]
        yield* property(
          size(cookie),
          Effect.fnUntraced(function*(size) {
            const payload = ofSize(size, seed)
            const count = Array.from({ length: 9 }, (_, i) => i + 1).find((count) => size <= roomOf(cookie, count))
            const sealed = yield* Effect.option(seal(plain, payload))
            assert.strictEqual(sealed._tag, count === undefined ? "None" : "Some", `${size}`)
            const deflated = yield* Effect.option(seal(deflating, payload))
            if (deflated._tag === "Some") {
              assert.deepStrictEqual(yield* payloadIn(deflating, sent(deflating, deflated.value)), payload)
            }
            if (sealed._tag === "None") return
            assert.strictEqual(sealed.value.ciphertext.length, size)
            const cookies = plain.setCookies(sealed.value, 1, undefined)
            assert.strictEqual(cookies.length, count)
            assert.strictEqual(plain.chunks(sealed.value.header), count)
            assert.deepStrictEqual(yield* payloadIn(plain, cookieHeader(cookies)), payload)
          }),
          { seed, numRuns: runs(60) }
        )
      }))

    it.effect("does not open with any bit changed", () =>
      Effect.gen(function*() {
        const codec = (yield* codecsOf({ compressionThreshold: 0 }))[cookie]
        const sealed = yield* seal(codec, ofSize(3000, seed))
        const bytes = Buffer.concat([Redacted.value(sealed.bytes), sealed.ciphertext])
        yield* property(
          // One in the header as often as one in the payload, which is much longer.
          fc.array(fc.oneof(fc.nat(8 * 82 - 1), fc.nat(8 * bytes.length - 1)), { minLength: 1, maxLength: 3 }),
          Effect.fnUntraced(function*(bits) {
            const changed = Buffer.from(bytes)
            // The same bit twice would be none.
            for (const bit of new Set(bits)) changed[bit >> 3]! ^= 1 << (bit & 7)
            const value = changed.subarray(0, 82).toString("base64url") + changed.subarray(82).toString("base64url")
            const cookies = cookieHeader(codec.setCookies({ ...sealed, value: Redacted.make(value) }, 1, undefined))
            assert.isString(yield* payloadIn(codec, cookies), `${bits}`)
          }),
          { seed, numRuns: runs(200) }
        )
      }))

    it.effect("does not open when it was cut", () =>
      Effect.gen(function*() {
        const codec = (yield* codecsOf({ compressionThreshold: 0 }))[cookie]
        for (const bytes of [20, 2983, 27_000]) {
          const cookies = codec.setCookies(yield* seal(codec, ofSize(bytes, seed)), 1, undefined)
          const header = cookieHeader(cookies)
          // Behind the last character but one of a chunk a whole one would begin.
          yield* property(
            fc.integer({ min: 1, max: header.length - 1 }),
            Effect.fnUntraced(function*(length) {
              assert.isString(yield* payloadIn(codec, header.slice(0, length)), `${length} of ${header.length}`)
            }),
            { seed, numRuns: runs(100), examples: [[1], [header.length - 1], [header.length - 4]] }
          )
        }
      }))

    it.effect("opens if the first chunk of each name is the right one, and else does not", () =>
      Effect.gen(function*() {
        const codec = (yield* codecsOf({ compressionThreshold: 0 }))[cookie]
        const payload = ofSize(roomOf(cookie, 4), seed)
        const chunks = codec.setCookies(yield* seal(codec, payload), 1, undefined)
        assert.strictEqual(chunks.length, 4)
        const seen = new Set<string>()
        const index = fc.nat(3)
        const right = index.map((i) => [i, i] as const)
        const sequences = fc.oneof(
          // All of them, mixed up, with something more in between.
          fc.tuple(
            fc.shuffledSubarray([0, 1, 2, 3], { minLength: 4 }),
            fc.array(fc.tuple(fc.tuple(index, index), fc.nat(4)))
          )
            .map(([all, more]) =>
              more.reduce<ReadonlyArray<readonly [number, number]>>(
                (sequence, [pair, at]) => sequence.toSpliced(at, 0, pair),
                all.map((i) => [i, i] as const)
              )
            ),
          fc.array(fc.oneof(right, fc.tuple(index, index)), { maxLength: 8 })
        )
        yield* property(
          sequences,
          Effect.fnUntraced(function*(sequence) {
            const cookies = cookieHeader(
              sequence.map(([name, value]) => ({ name: chunks[name]!.name, rest: chunks[value]!.rest }))
            )
            const valueOf = (name: number) => sequence.find((pair) => pair[0] === name)?.[1]
            const opens = [0, 1, 2, 3].every((name) => valueOf(name) === name)
            const outcome = yield* payloadIn(codec, cookies)
            seen.add(typeof outcome === "string" ? outcome : "opened")
            if (opens) assert.deepStrictEqual(outcome, payload)
            else assert.isString(outcome, cookies)
          }),
          { seed, numRuns: runs(300) }
        )
        assert.includeMembers([...seen], ["opened", "MissingCookie", "MissingChunk", "DecryptionFailed"])
      }))

    it.effect("opens nowhere else", () =>
      Effect.gen(function*() {
        const codecs = yield* codecsOf()
        const codec = codecs[cookie]
        const other = codecs[cookie === "session" ? "remember" : "session"]
        const elsewhere = (yield* codecsOf({ secret: Redacted.make("another horse, another staple 02") }))[cookie]
        const bound = (yield* codecsOf({ bind: ["ip"] }))[cookie]
        yield* property(
          oddPayload,
          Effect.fnUntraced(function*(payload) {
            const sealed = yield* seal(codec, payload)
            assert.strictEqual(yield* payloadIn(elsewhere, sent(codec, sealed)), "InvalidMac")
            // Under the other name, with the other key, a session is not to be had for as long as a remember cookie lives.
            assert.strictEqual(yield* payloadIn(other, sent(other, sealed)), "DecryptionFailed")
            const mine = { ...nobody, ip: "192.0.2.1" }
            const toOne: Sealed = yield* bound.seal({ payload, creationTime: 1, rollingOffset: 0, flags: 0 }, mine)
            assert.deepStrictEqual(yield* payloadIn(bound, sent(bound, toOne), mine), payload)
            assert.strictEqual(yield* payloadIn(bound, sent(bound, toOne), { ...mine, ip: "192.0.2.2" }), "InvalidMac")
            assert.strictEqual(yield* payloadIn(bound, sent(bound, toOne)), "InvalidMac")
          }),
          { seed, numRuns: runs(50) }
        )
      }))
  })

  it.effect("beside a version opens with it, and no other bytes do", () =>
    Effect.gen(function*() {
      const { remember, session } = yield* codecsOf()
      const payload = payloadOf(1)
      const infoKey = Redacted.make(new Uint8Array(32).fill(7))
      for (const [codec, beside] of [[session, remember], [remember, session]] as const) {
        const old = yield* seal(codec, payload)
        const stranger = yield* seal(codec, payload)
        const next = yield* seal(codec, payload)
        const other = yield* seal(beside, payload)
        const info = yield* codec.sealInfoKey(old, infoKey)
        const successor = yield* codec.sealSuccessor(old, next, other)
        assert.deepStrictEqual(Redacted.value((yield* codec.openInfoKey(old, 0, info))!), Redacted.value(infoKey))
        const opened = yield* codec.openSuccessor(old, successor)
        assert.deepStrictEqual(Redacted.value(opened!.presented.bytes), Redacted.value(next.bytes))
        assert.deepStrictEqual(Redacted.value(opened!.beside!.bytes), Redacted.value(other.bytes))
        assert.isUndefined(yield* codec.openInfoKey(stranger, 0, info))
        assert.isUndefined(yield* codec.openSuccessor(stranger, successor))
        assert.isUndefined(yield* codec.openSuccessor(old, info))
        assert.isUndefined(yield* codec.openInfoKey(old, 0, successor))
        for (const sealed of [info, successor]) {
          const changed = fc.oneof(
            fc.nat(8 * sealed.length - 1).map((bit) => {
              const copy = new Uint8Array(sealed)
              copy[bit >> 3]! ^= 1 << (bit & 7)
              return copy
            }),
            fc.nat(sealed.length - 1).map((length) => sealed.slice(0, length)),
            fc.uint8Array({ minLength: 1, maxLength: 9 }).map((more) => new Uint8Array([...sealed, ...more])),
            fc.uint8Array({ maxLength: 300 })
          )
          yield* property(
            changed,
            Effect.fnUntraced(function*(bytes) {
              assert.isUndefined(yield* codec.openInfoKey(old, 0, bytes))
              assert.isUndefined(yield* codec.openSuccessor(old, bytes))
            }),
            { seed, numRuns: runs(100) }
          )
        }
      }
    }))
})
