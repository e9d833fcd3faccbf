import { assert, describe, it, vi } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as fc from "fast-check"
import { createDecipheriv, createHash, hkdfSync } from "node:crypto"
import { inspect } from "node:util"
import { deflateRawSync } from "node:zlib"
import type * as CookieCodec from "../src/CookieCodec.ts"
import * as Crypto from "../src/Crypto.ts"
import * as Attributes from "../src/internal/attributes.ts"
import * as Base64Url from "../src/internal/base64url.ts"
import * as CookieHeader from "../src/internal/cookieHeader.ts"
import * as Layout from "../src/internal/layout.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import { Flag, type Payload } from "../src/SessionState.ts"
import {
  type Codec,
  cookieHeader,
  forge,
  makeCodec,
  nobody,
  open,
  payload,
  property,
  secret,
  sent,
  withSid
} from "./utils/codec.ts"

const now = 1_795_394_320

/** A payload whose text has exactly so many bytes. */
const payloadOf = (bytes: number): Payload => [
  { audience: "default", data: "x".repeat(bytes - `[["","default"]]`.length), subject: undefined }
]

const version = (payload: Payload, flags = 0) => ({ payload, creationTime: now, rollingOffset: 0, flags })

const hello: Payload = [{ audience: "default", data: { hello: "world" }, subject: undefined }]

const bytesOf = ({ bytes }: CookieCodec.Presented): Uint8Array => new Uint8Array(Redacted.value(bytes))

/** What is presented when these bytes are sent in place of a header. */
const presentBytes = (codec: Codec, bytes: Uint8Array): CookieCodec.Presented => {
  const presented = codec.decode(Base64Url.encode(bytes))
  if (typeof presented === "string") return assert.fail(presented)
  return presented
}

const flip = (bytes: Uint8Array, bit: number): Uint8Array =>
  bytes.map((byte, i) => i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte)

describe("base64url", () => {
  const bytes = fc.uint8Array({ maxLength: 300 })
  const decodePortable = Base64Url.decodeWith(Base64Url.portable)

  it("is the same with and without Buffer", () => {
    fc.assert(fc.property(bytes, (bytes) => {
      const text = Base64Url.encode(bytes)
      assert.strictEqual(text, Buffer.from(bytes).toString("base64url"))
      assert.strictEqual(Base64Url.portable.encode(bytes), text)
      assert.strictEqual(text.length, Base64Url.encodedLength(bytes.length))
      assert.deepStrictEqual(Uint8Array.from(Base64Url.decode(text) ?? []), bytes)
      assert.deepStrictEqual(Uint8Array.from(decodePortable(text) ?? []), bytes)
    }))
  })

  it("does without Buffer where there is none", async () => {
    vi.stubGlobal("Buffer", undefined)
    vi.resetModules()
    try {
      const fresh = await import("../src/internal/base64url.ts")
      assert.strictEqual(fresh.encode, fresh.portable.encode)
      assert.deepStrictEqual(fresh.decode("AQID"), Uint8Array.of(1, 2, 3))
    } finally {
      vi.unstubAllGlobals()
    }
  })

  it("refuses every character outside the alphabet", () => {
    for (const decode of [Base64Url.decode, decodePortable]) {
      for (let code = 0; code < 0x10000; code++) {
        const character = String.fromCharCode(code)
        assert.strictEqual(
          decode(`AA${character}A`) !== undefined,
          /[A-Za-z0-9_=-]/.test(character),
          `U+${code.toString(16)}`
        )
      }
    }
  })

  it("ends at the first =, and knows no length of 1 modulo 4", () => {
    for (const decode of [Base64Url.decode, decodePortable]) {
      assert.deepStrictEqual([...decode("AQI=!!") ?? []], [1, 2])
      assert.strictEqual(decode("=")?.length, 0)
      assert.strictEqual(decode("AQIDB"), undefined)
      assert.strictEqual(decode("AQIDB==="), undefined)
    }
  })

  it("ignores the unused bits of the last character", () => {
    for (const decode of [Base64Url.decode, decodePortable]) {
      assert.deepStrictEqual([...decode("AR") ?? []], [1])
      assert.deepStrictEqual([...decode("AQJ") ?? []], [1, 2])
    }
  })
})

describe("layout", () => {
  it("reads the header that the reference wrote", () => {
    const bytes = Buffer.from(
      "010000" + "57ccf824438d52f9464bd03e5eb45de290b56f6818be069350014e91916655df" + "108b036b00" + "00000000" +
        "2a0000" +
        "5825d23c785c7e98565ff1780bc87cb5" + "000000" + "b966cb0f534825ac899aab2d73a881b9",
      "hex"
    )
    assert.deepStrictEqual(Layout.read(bytes), {
      type: 1,
      flags: 0,
      creationTime: 1795394320,
      rollingOffset: 0,
      dataSize: 42,
      idlingOffset: 0
    })
    assert.strictEqual(Buffer.from(Layout.sid(bytes)).toString("hex"), bytes.toString("hex", 3, 35))
    assert.strictEqual(Buffer.from(Layout.tag(bytes)).toString("hex"), "5825d23c785c7e98565ff1780bc87cb5")
    assert.strictEqual(Buffer.from(Layout.mac(bytes)).toString("hex"), "b966cb0f534825ac899aab2d73a881b9")
  })

  it("puts each field where it belongs", () => {
    const bytes = Layout.withIdlingOffset(
      Layout.write(new Uint8Array(32).fill(0xee), {
        flags: Flag.Deflate | Flag.BindScheme,
        creationTime: 0x0504030201,
        rollingOffset: 0x0d0c0b0a,
        dataSize: 0x1c1b1a
      }),
      0x2c2b2a
    )
    assert.strictEqual(
      Buffer.from(bytes).toString("hex"),
      "01" + "1002" + "ee".repeat(32) + "0102030405" + "0a0b0c0d" + "1a1b1c" + "00".repeat(16) + "2a2b2c" +
        "00".repeat(16)
    )
  })

  it("reads what it wrote, up to the largest number of each field", () => {
    const fields = fc.record({
      flags: fc.nat(0xffff),
      creationTime: fc.maxSafeNat().map((n) => n % 2 ** 40),
      rollingOffset: fc.maxSafeNat().map((n) => n % 2 ** 32),
      dataSize: fc.nat(2 ** 24 - 1)
    })
    fc.assert(
      fc.property(fields, fc.nat(2 ** 24 - 1), (fields, idlingOffset) => {
        const bytes = Layout.withIdlingOffset(Layout.write(new Uint8Array(32), fields), idlingOffset)
        assert.deepStrictEqual(Layout.read(bytes), { type: 1, ...fields, idlingOffset })
      }),
      {
        examples: [[
          { flags: 0xffff, creationTime: 2 ** 40 - 1, rollingOffset: 2 ** 32 - 1, dataSize: 2 ** 24 - 1 },
          2 ** 24 - 1
        ]]
      }
    )
  })

  it("dies rather than wrap a number around", () => {
    const fields = { flags: 0, creationTime: now, rollingOffset: 0, dataSize: 0 }
    const sid = new Uint8Array(32)
    assert.throws(() => Layout.write(sid, { ...fields, creationTime: 2 ** 40 }), RangeError)
    assert.throws(() => Layout.write(sid, { ...fields, rollingOffset: 2 ** 32 }), RangeError)
    assert.throws(() => Layout.write(sid, { ...fields, rollingOffset: -1 }), RangeError)
    assert.throws(() => Layout.write(sid, { ...fields, rollingOffset: Number.NaN }), RangeError)
    assert.throws(() => Layout.withIdlingOffset(Layout.write(sid, fields), 2 ** 24), RangeError)
  })

  it("counts chunks as the reference does", () => {
    // As its loop does it, in full cookies: `name=` and the digits of the others are added one by one.
    const reference = (nameSize: number, dataSize: number): number => {
      let needed = nameSize + 1 + 110 + dataSize
      for (let count = 1; count <= 9; count++) {
        if (needed > 4096 * 9) return 10
        if (needed <= 4096 * count) return count
        needed += nameSize + 2
      }
      return 10
    }
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.nat(40000), (nameSize, dataSize) => {
        assert.strictEqual(
          Layout.chunkCount(Layout.room(nameSize), Layout.headerCharacters + dataSize),
          reference(nameSize, dataSize)
        )
      }),
      {
        numRuns: 2000,
        examples: [[7, 3978], [7, 3979], [7, 8065], [7, 8066], [7, 36674], [7, 36675], [1, 36734], [1, 36735]]
      }
    )
  })

  it("escapes as lua-cjson does", () => {
    const data = { "a/b": "\u007f/\\/\"\b\f\n\r\t\u0001\u001f\u0080é漢😀" }
    const text = Layout.encodePayload([{ audience: "x/y", data, subject: "s" }])
    assert.strictEqual(
      text,
      `[[{"a\\/b":"\\u007f\\/\\\\\\/\\"\\b\\f\\n\\r\\t\\u0001\\u001f\u0080é漢😀"},"x\\/y","s"]]`
    )
    assert.deepStrictEqual(JSON.parse(text), [[data, "x/y", "s"]])
  })

  it("tells a payload from other JSON", () => {
    const entry = { audience: "default", data: { k: 1 }, subject: undefined }
    const expected: Record<string, Payload | string> = {
      "[[{\"k\":1},\"default\"]]": [entry],
      " [ [ {\"k\":1} , \"default\" , null ] ] ": [entry],
      "[[{\"k\":1},\"default\",\"alice\",7]]": [{ ...entry, subject: "alice" }],
      "[[null,\"\"]]": [{ audience: "", data: null, subject: undefined }],
      "[]": [],
      "{}": [],
      "{\"1\":[{},\"default\"]}": [],
      "": "InvalidJson",
      "[[{},\"default\"]": "InvalidJson",
      "[[NaN,\"default\"]]": "InvalidJson",
      "\ufeff[]": "InvalidJson",
      "null": "InvalidShape",
      "\"x\"": "InvalidShape",
      "1": "InvalidShape",
      "[null]": "InvalidShape",
      "[1]": "InvalidShape",
      "[{}]": "InvalidShape",
      "[[]]": "InvalidShape",
      "[[{}]]": "InvalidShape",
      "[[{},1]]": "InvalidShape",
      "[[{},\"default\",1]]": "InvalidShape",
      "[[{},\"default\"],\"x\"]": "InvalidShape"
    }
    for (const [text, payload] of Object.entries(expected)) {
      assert.deepStrictEqual(Layout.decodePayload(text), payload, text)
    }
  })
})

describe("cookieHeader", () => {
  const find = (header: string, name = "session", exact = false) => CookieHeader.named(name, exact).all(header, 16)

  it("finds a cookie wherever it stands", () => {
    for (const exact of [true, false]) {
      assert.deepStrictEqual(find("session=v", "session", exact), ["v"])
      assert.deepStrictEqual(find("a=1; session=v; b=2", "session", exact), ["v"])
      assert.deepStrictEqual(find("a=1;session=v;b=2", "session", exact), ["v"])
      assert.deepStrictEqual(find("   session=   v  ;", "session", exact), ["v  "])
      assert.deepStrictEqual(find("session=", "session", exact), [""])
      assert.deepStrictEqual(find("session=;;session=a=b", "session", exact), ["", "a=b"])
      assert.deepStrictEqual(find("session=\"v\"", "session", exact), ["\"v\""])
      assert.deepStrictEqual(find("session=%41", "session", exact), ["%41"])
    }
  })

  it("is not taken in by what only looks like it", () => {
    for (const exact of [true, false]) {
      for (
        const header of [
          "",
          ";",
          "=session",
          "session",
          "session ; x=1",
          "session2=v",
          "xsession=v",
          "x=session=v",
          "x=; y=1session=v",
          "\tsession=v",
          "\u00a0session=v",
          "ſession=v",
          "a=1, session=v"
        ]
      ) {
        assert.deepStrictEqual(find(header, "session", exact), [], header)
      }
    }
  })

  it("matches any case, or the exact name", () => {
    assert.deepStrictEqual(find("SESSION=1; Session=2; session=3"), ["1", "2", "3"])
    assert.deepStrictEqual(find("__HOST-Session=1; __Host-session=2", "__Host-session", true), ["2"])
    // Only ASCII has cases: this is the sign of the kelvin, whose lower case is a k.
    assert.deepStrictEqual(find("\u212aey=1; Key=2", "key"), ["2"])
    // One bit away from a letter's other case.
    assert.deepStrictEqual(find("x@=1; x`=2", "x`"), ["2"])
  })

  it("keeps the order, and sixteen at most", () => {
    const header = Array.from({ length: 20 }, (_, i) => `session=${i}`).join("; ")
    for (const exact of [true, false]) {
      assert.deepStrictEqual(find(header, "session", exact), Array.from({ length: 16 }, (_, i) => `${i}`))
    }
  })

  it("agrees with a parser that splits", () => {
    const split = (header: string, name: string, exact: boolean): Array<string> =>
      header.split(";").map((cookie) => cookie.replace(/^ +/, "")).filter((cookie) =>
        exact ? cookie.startsWith(`${name}=`) : cookie.toLowerCase().startsWith(`${name}=`)
      ).map((cookie) => cookie.slice(name.length + 1).replace(/^ +/, "")).slice(0, 16)
    const fragments = ["session", "SESSION", "=", ";", " ", "; ", "session=", "2", "x", "__proto__=1", "\"", ",", "é"]
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...fragments), { maxLength: 40 }), fc.boolean(), (parts, exact) => {
        const header = parts.join("")
        assert.deepStrictEqual(find(header, "session", exact), split(header, "session", exact))
        assert.strictEqual(CookieHeader.named("session", exact).first(header), split(header, "session", exact)[0])
      }),
      { numRuns: 2000 }
    )
  })
})

describe("attributes", () => {
  const make = (options: SessionConfig.Options, host?: string) =>
    Effect.map(SessionConfig.SessionConfig, (settings) => Attributes.make(settings)(host)).pipe(
      Effect.provide(SessionConfig.layer({ ...SessionConfig.lua, secret, ...options }))
    )

  it.effect("writes them in the reference's order", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* make({})).set, "; Path=/; SameSite=Lax; HttpOnly")
      assert.strictEqual(
        (yield* make({
          cookieDomain: "example.com",
          cookiePath: "/app",
          cookieSameSite: "None",
          cookiePriority: "High",
          cookiePartitioned: true,
          cookieSecure: true
        })).set,
        "; Domain=example.com; Path=/app; SameSite=None; Priority=High; Partitioned; Secure; HttpOnly"
      )
      assert.strictEqual(
        (yield* make({ cookieSameParty: true, cookieSecure: true, cookieHttpOnly: false })).set,
        "; Path=/; SameSite=Lax; SameParty; Secure"
      )
    }))

  it.effect("clears with the attributes that it sets with", () =>
    Effect.gen(function*() {
      for (
        const options of [{}, { cookieDomain: "host" }, { cookieDomain: "example.com", cookiePriority: "Low" }] as const
      ) {
        const { clear, set } = yield* make(options, "www.example.com")
        assert.strictEqual(clear, `${set}; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0`)
      }
    }))

  it.effect("has no domain for localhost", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* make({ cookieDomain: "localhost" })).set, "; Path=/; SameSite=Lax; HttpOnly")
      assert.strictEqual((yield* make({ cookieDomain: "" })).set, "; Path=/; SameSite=Lax; HttpOnly")
    }))

  it.effect("takes the request's host, if it is a host name", () =>
    Effect.gen(function*() {
      const label = "a".repeat(63)
      const domains: Record<string, string | undefined> = {
        "example.com": "example.com",
        "WWW.Example.COM:8443": "www.example.com",
        "xn--bcher-kva.example": "xn--bcher-kva.example",
        "intranet": "intranet",
        [`${label}.example`]: `${label}.example`,
        [`a${label}.example`]: undefined,
        [`${label}.`.repeat(4) + "example"]: undefined,
        "localhost:3000": undefined,
        "127.0.0.1": undefined,
        "127.0.0.1:80": undefined,
        "[::1]:80": undefined,
        "::1": undefined,
        "1": undefined,
        "": undefined,
        ".example.com": undefined,
        "example.com.": undefined,
        "example..com": undefined,
        "-a.example": undefined,
        "a-.example": undefined,
        "example.com:": undefined,
        "example.com:123456": undefined,
        "example.com; Path=/x": undefined,
        "example.com\r\nSet-Cookie: a=b": undefined,
        "example.com\n": undefined,
        "exämple.com": undefined
      }
      for (const [host, domain] of Object.entries(domains)) {
        const { set } = yield* make({ cookieDomain: "host" }, host)
        assert.strictEqual(
          set,
          `${domain === undefined ? "" : `; Domain=${domain}`}; Path=/; SameSite=Lax; HttpOnly`,
          host
        )
      }
      assert.strictEqual((yield* make({ cookieDomain: "host" })).set, "; Path=/; SameSite=Lax; HttpOnly")
    }))
})

describe("CookieCodec", () => {
  it.effect("opens what it sealed", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      yield* property(
        fc.record({
          payload,
          creationTime: fc.maxSafeNat().map((n) => n % 2 ** 40),
          rollingOffset: fc.maxSafeNat().map((n) => n % 2 ** 32),
          flags: fc.constantFrom(0, Flag.Forget)
        }),
        Effect.fnUntraced(function*(version) {
          const sealed = yield* codec.seal(version, nobody)
          const opened = yield* open(codec, sent(codec, sealed))
          if (typeof opened === "string") return assert.fail(opened)
          assert.deepStrictEqual(opened.payload, version.payload)
          assert.strictEqual(opened.key, 0)
          assert.deepStrictEqual(opened.presented.header, sealed.header)
          assert.deepStrictEqual(
            { ...opened.presented.header, flags: opened.presented.header.flags & ~Flag.Deflate },
            {
              type: 1,
              flags: version.flags,
              creationTime: version.creationTime,
              rollingOffset: version.rollingOffset,
              dataSize: Math.ceil(sealed.ciphertext.length * 4 / 3),
              idlingOffset: 0
            }
          )
        })
      )
    }))

  it.effect("seals the reference's cookie from the reference's sid", () =>
    Effect.gen(function*() {
      const sid = Buffer.from("57ccf824438d52f9464bd03e5eb45de290b56f6818be069350014e91916655df", "hex")
      const cookie =
        "AQAAV8z4JEONUvlGS9A-XrRd4pC1b2gYvgaTUAFOkZFmVd8QiwNrAAAAAAAqAABYJdI8eFx-mFZf8XgLyHy1AAAAuWbLD1NIJayJmqstc6iBuQ" +
        "K3AZMTbW_vPr6BeowabShTVNuL118N9lQ5h49zri4g"
      for (const crypto of [Crypto.layerNode, Crypto.layerWebCrypto]) {
        const codec = yield* makeCodec({}, withSid(sid, crypto))
        const sealed = yield* codec.seal(version(hello), nobody)
        assert.strictEqual(Redacted.value(sealed.value), cookie)
        assert.deepStrictEqual(codec.setCookies(sealed, 1, undefined), [{
          name: "session",
          rest: `${cookie}; Path=/; SameSite=Lax; HttpOnly`
        }])
      }
    }))

  it.effect("seals alike with either Crypto, and each opens the other's", () =>
    Effect.gen(function*() {
      const sid = new Uint8Array(32).fill(7)
      const options = { compressionThreshold: 0, bind: ["ip", "user-agent"] } as const
      const node = yield* makeCodec(options, withSid(sid, Crypto.layerNode))
      const web = yield* makeCodec(options, withSid(sid, Crypto.layerWebCrypto))
      const sender = { ip: "192.0.2.1", scheme: "https", userAgent: "Browser/1" } as const
      yield* property(
        payload,
        Effect.fnUntraced(function*(payload) {
          const [one, other] = [yield* node.seal(version(payload), sender), yield* web.seal(version(payload), sender)]
          assert.strictEqual(Redacted.value(one.value), Redacted.value(other.value))
          const opened = yield* open(web, sent(node, one), sender)
          assert.deepStrictEqual(typeof opened === "string" ? opened : opened.payload, payload)
        }),
        { numRuns: 20 }
      )
    }))

  it.effect("drops the flags that are not the caller's", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      const sealed = yield* codec.seal(version(hello, 0xffff & ~Flag.Storage), nobody)
      assert.strictEqual(sealed.header.flags, Flag.Forget)
    }))

  it.effect("takes a new sid for every version", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      const seal = codec.seal(version(hello), nobody)
      assert.notDeepEqual(Layout.sid(bytesOf(yield* seal)), Layout.sid(bytesOf(yield* seal)))
    }))

  it.effect("refuses a header with any bit flipped", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      const bytes = bytesOf(yield* codec.seal(version(hello), nobody))
      assert.strictEqual(yield* codec.verify(presentBytes(codec, bytes), nobody), 0)
      for (let bit = 0; bit < 82 * 8; bit++) {
        assert.strictEqual(yield* codec.verify(presentBytes(codec, flip(bytes, bit)), nobody), -1, `bit ${bit}`)
      }
    }))

  it.effect("refuses a payload with any bit flipped", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      const sealed = yield* codec.seal(version(hello), nobody)
      assert.deepStrictEqual(yield* codec.open(sealed, 0, sealed.ciphertext), hello)
      for (let bit = 0; bit < sealed.ciphertext.length * 8; bit++) {
        assert.strictEqual(yield* codec.open(sealed, 0, flip(sealed.ciphertext, bit)), "DecryptionFailed", `bit ${bit}`)
      }
      assert.strictEqual(yield* codec.open(sealed, 0, sealed.ciphertext.subarray(1)), "DecryptionFailed")
      assert.strictEqual(yield* codec.open(sealed, 0, new Uint8Array(0)), "DecryptionFailed")
    }))

  it.effect("tells apart what is wrong with a header's text", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      const value = Redacted.value((yield* codec.seal(version(hello), nobody)).value)
      assert.strictEqual(codec.decode(""), "InvalidHeader")
      assert.strictEqual(codec.decode(value.slice(0, 109)), "InvalidHeader")
      assert.isObject(codec.decode(value.slice(0, 110)))
      for (const character of "+/=!\" \t\u0141") {
        for (const at of [0, 3, 50, 109]) {
          assert.strictEqual(codec.decode(value.slice(0, at) + character + value.slice(at + 1)), "UndecodableHeader")
        }
      }
      // Four bits of the last character are unused.
      const [last = ""] = value.slice(109)
      const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
      const other = alphabet[alphabet.indexOf(last) ^ 1]
      const presented = codec.decode(value.slice(0, 109) + other)
      if (typeof presented === "string") return assert.fail(presented)
      assert.strictEqual(yield* codec.verify(presented, nobody), 0)
    }))

  describe("sizes", () => {
    const plain = { compressionThreshold: 0 }

    it.effect("cuts into as many cookies as needed, each of 4096 bytes at most", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec(plain)
        const counts: Record<number, number> = { 18: 1, 1024: 1, 2983: 1, 2984: 2, 4096: 2, 6048: 2, 6049: 3, 27505: 9 }
        for (const [size, count] of Object.entries(counts)) {
          const sealed = yield* codec.seal(version(payloadOf(Number(size))), nobody)
          assert.strictEqual(sealed.ciphertext.length, Number(size))
          const cookies = codec.setCookies(sealed, 1, undefined)
          assert.strictEqual(cookies.length, count, size)
          assert.strictEqual(codec.chunks(sealed.header), count)
          cookies.forEach(({ name, rest }, i) => {
            const length = `${name}=${rest.split(";")[0]}`.length
            assert.strictEqual(name, i === 0 ? "session" : `session${i + 1}`)
            assert.isTrue(i === count - 1 ? length <= 4096 : length === 4096)
            assert.isTrue(rest.endsWith("; Path=/; SameSite=Lax; HttpOnly"))
          })
          const opened = yield* open(codec, cookieHeader(cookies))
          assert.deepStrictEqual(typeof opened === "string" ? opened : opened.payload, payloadOf(Number(size)))
        }
      }))

    it.effect("refuses what nine cookies cannot hold", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec(plain)
        const error = yield* Effect.flip(codec.seal(version(payloadOf(27506)), nobody))
        assert.strictEqual(error._tag, "TooLarge")
        assert.deepStrictEqual([error.size, error.limit], [36675, 36674])
      }))

    it.effect("measures what it would seal", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        yield* property(
          fc.tuple(payload, fc.constantFrom("Cookie" as const, "Server" as const)),
          Effect.fnUntraced(function*([payload, placement]) {
            const sealed = yield* codec.seal(version(payload, placement === "Server" ? Flag.Storage : 0), nobody)
            assert.strictEqual(yield* codec.measure(payload, placement), sealed.header.dataSize)
          })
        )
        const uncompressed = yield* makeCodec(plain)
        assert.strictEqual(yield* uncompressed.measure(payloadOf(27505), "Cookie"), 36674)
        const error = yield* Effect.flip(uncompressed.measure(payloadOf(27506), "Cookie"))
        assert.deepStrictEqual([error.size, error.limit], [36675, 36674])
        assert.strictEqual(yield* uncompressed.measure(payloadOf(27506), "Server"), 36675)
      }))

    it.effect("counts what is left after deflate", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        const sealed = yield* codec.seal(version(payloadOf(60_000)), nobody)
        assert.strictEqual(codec.chunks(sealed.header), 1)
      }))

    it.effect("with server placement holds 24 bits of base64url, and the cookie is the header alone", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec(plain)
        const largest = Math.floor((2 ** 24 - 1) * 3 / 4)
        const sealed = yield* codec.seal(version(payloadOf(largest), Flag.Storage), nobody)
        assert.strictEqual(sealed.header.dataSize, 2 ** 24 - 1)
        assert.strictEqual(Redacted.value(sealed.value).length, 110)
        assert.strictEqual(codec.chunks(sealed.header), 1)
        assert.deepStrictEqual(yield* codec.open(sealed, 0, sealed.ciphertext), payloadOf(largest))
        const error = yield* Effect.flip(codec.seal(version(payloadOf(largest + 1), Flag.Storage), nobody))
        assert.deepStrictEqual([error.size, error.limit], [2 ** 24, 2 ** 24 - 1])
      }))

    it.effect("deflates above the threshold, if that helps", () =>
      Effect.gen(function*() {
        const deflated = Effect.fnUntraced(function*(codec: Codec, payload: Payload) {
          const sealed = yield* codec.seal(version(payload), nobody)
          const opened = yield* codec.open(sealed, 0, sealed.ciphertext)
          assert.deepStrictEqual(opened, payload)
          return (sealed.header.flags & Flag.Deflate) !== 0
        })
        const codec = yield* makeCodec()
        assert.isFalse(yield* deflated(codec, payloadOf(1024)))
        assert.isTrue(yield* deflated(codec, payloadOf(1025)))
        assert.isFalse(yield* deflated(yield* makeCodec(plain), payloadOf(5000)))
        // Two bytes that deflate would add to.
        assert.isFalse(yield* deflated(yield* makeCodec({ compressionThreshold: 1 }), payloadOf(18)))
      }))

    it.effect("inflates up to the limit, and deflates no more than that", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec({ inflateLimit: 5000 })
        const stricter = yield* makeCodec({ inflateLimit: 4999 })
        const largest = yield* codec.seal(version(payloadOf(5000)), nobody)
        assert.strictEqual(largest.header.flags, Flag.Deflate)
        assert.deepStrictEqual(yield* codec.open(largest, 0, largest.ciphertext), payloadOf(5000))
        assert.strictEqual(yield* stricter.open(largest, 0, largest.ciphertext), "InflateLimit")
        const larger = yield* codec.seal(version(payloadOf(5001)), nobody)
        assert.strictEqual(larger.header.flags, 0)
        assert.deepStrictEqual(yield* codec.open(larger, 0, larger.ciphertext), payloadOf(5001))
      }))
  })

  describe("gather", () => {
    const sealed = Effect.gen(function*() {
      const codec = yield* makeCodec({ compressionThreshold: 0 })
      const { header, bytes, ciphertext, value } = yield* codec.seal(version(payloadOf(5000)), nobody)
      const whole = Redacted.value(value)
      return { codec, presented: { header, bytes }, ciphertext: [...ciphertext], whole }
    })

    it.effect("does not mind where a value was cut", () =>
      Effect.gen(function*() {
        const { ciphertext, codec, presented, whole } = yield* sealed
        for (const cut of [110, 111, 4000, whole.length]) {
          const gathered = codec.gather(presented, whole.slice(0, cut), `session2=${whole.slice(cut)}`)
          assert.deepStrictEqual(typeof gathered === "string" ? gathered : [...gathered], ciphertext)
        }
      }))

    it.effect("takes the first of several chunks with one name", () =>
      Effect.gen(function*() {
        const { ciphertext, codec, presented, whole } = yield* sealed
        const [first, second] = [whole.slice(0, 4088), whole.slice(4088)]
        const gathered = codec.gather(presented, first, `session2=${second}; session2=x; session3=y`)
        assert.deepStrictEqual(typeof gathered === "string" ? gathered : [...gathered], ciphertext)
        assert.strictEqual(codec.gather(presented, first, `session2=x; session2=${second}`), "InvalidPayload")
      }))

    it.effect("says what is missing or wrong", () =>
      Effect.gen(function*() {
        const { codec, presented, whole } = yield* sealed
        assert.strictEqual(codec.gather(presented, whole, ""), "MissingChunk")
        assert.strictEqual(codec.gather(presented, whole, "session2=x"), "InvalidPayload")
        assert.strictEqual(codec.gather(presented, `${whole.slice(0, -1)}+`, "session2="), "UndecodablePayload")
        const header = (dataSize: number) => ({ ...presented, header: { ...presented.header, dataSize } })
        assert.strictEqual(codec.gather(header(36675), whole, ""), "CookieSizeLimit")
        assert.strictEqual(codec.gather(header(2 ** 24 - 1), whole, ""), "CookieSizeLimit")
        assert.strictEqual(codec.gather(header(0), whole, ""), "InvalidPayload")
        assert.strictEqual(codec.gather(header(200), whole.slice(0, 150), ""), "InvalidPayload")
      }))
  })

  describe("keys", () => {
    const [first, second, third] = ["first", "second", "third"].map((name) =>
      Redacted.make(`${name} secret of at least 32 bytes`)
    )

    it.effect("verifies under every configured key, and seals under the first", () =>
      Effect.gen(function*() {
        const old = yield* makeCodec({ secret: first })
        const rotated = yield* makeCodec({ secret: third, secretFallbacks: [second!, first!] })
        const after = yield* makeCodec({ secret: third })
        const sealed = yield* old.seal(version(hello), nobody)
        assert.strictEqual(yield* rotated.verify(sealed, nobody), 2)
        assert.strictEqual(yield* after.verify(sealed, nobody), -1)
        assert.deepStrictEqual(yield* rotated.open(sealed, 2, sealed.ciphertext), hello)
        assert.strictEqual(yield* rotated.open(sealed, 0, sealed.ciphertext), "DecryptionFailed")
        const renewed = yield* rotated.seal(version(hello), nobody)
        assert.strictEqual(yield* after.verify(renewed, nobody), 0)
      }))

    it.effect("touches under the key that verified", () =>
      Effect.gen(function*() {
        const old = yield* makeCodec({ secret: first })
        const rotated = yield* makeCodec({ secret: third, secretFallbacks: [first!] })
        const sealed = yield* old.seal(version(hello), nobody)
        const touched = yield* rotated.touch(sealed, 1, 30, nobody)
        assert.strictEqual(yield* old.verify(touched, nobody), 0)
        assert.strictEqual(yield* rotated.verify(touched, nobody), 1)
      }))

    it.effect("takes key material in place of a secret", () =>
      Effect.gen(function*() {
        const ikm = createHash("sha256").update(Redacted.value(secret)).digest()
        const sealed = yield* (yield* makeCodec()).seal(version(hello), nobody)
        const codec = yield* makeCodec({ secret: undefined, ikm: Redacted.make(new Uint8Array(ikm)) })
        assert.strictEqual(yield* codec.verify(sealed, nobody), 0)
      }))

    it.effect("dies of a key that there is not", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        const sealed = yield* codec.seal(version(hello), nobody)
        const exit = yield* Effect.exit(codec.open(sealed, 1, sealed.ciphertext))
        assert.isTrue(exit._tag === "Failure" && exit.cause.reasons.every((reason) => reason._tag === "Die"))
      }))
  })

  describe("touch", () => {
    it.effect("changes the idling offset and the MAC, nothing else", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        const sealed = yield* codec.seal(version(hello), nobody)
        const before = bytesOf(sealed)
        const touched = yield* codec.touch(sealed, 0, 70000, nobody)
        assert.deepStrictEqual(touched.header, { ...sealed.header, idlingOffset: 70000 })
        const after = bytesOf(touched)
        assert.deepStrictEqual(after.subarray(0, 63), before.subarray(0, 63))
        assert.notDeepEqual(after.subarray(66), before.subarray(66))
        assert.deepStrictEqual(bytesOf(sealed), before)
        const { name, rest } = codec.setHeader(touched, Redacted.value(sealed.value), undefined)
        const opened = yield* open(codec, `${name}=${rest.split(";")[0]}`)
        assert.deepStrictEqual(typeof opened === "string" ? opened : opened.payload, hello)
        assert.isTrue(rest.endsWith("; Path=/; SameSite=Lax; HttpOnly"))
      }))

    it.effect("sends no more of a value than the payload", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        const sealed = yield* codec.seal(version(hello), nobody)
        const touched = yield* codec.touch(sealed, 0, 61, nobody)
        const [header, payload] = [Base64Url.encode(bytesOf(touched)), Redacted.value(sealed.value).slice(110)]
        const rest = (behindHeader: string) =>
          codec.setHeader(touched, Redacted.value(sealed.value).slice(0, 110) + behindHeader, undefined).rest
        assert.strictEqual(rest(payload), `${header}${payload}; Path=/; SameSite=Lax; HttpOnly`)
        assert.strictEqual(rest(`junk${payload}`), `${header}${payload}; Path=/; SameSite=Lax; HttpOnly`)
        assert.strictEqual(rest("cut"), `${header}cut; Path=/; SameSite=Lax; HttpOnly`)
        assert.strictEqual(rest(""), `${header}; Path=/; SameSite=Lax; HttpOnly`)
      }))

    it.effect("sends the first chunk alone", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec({ compressionThreshold: 0 })
        const sealed = yield* codec.seal(version(payloadOf(5000)), nobody)
        const [first, second] = codec.setCookies(sealed, 1, undefined)
        const value = first!.rest.split(";")[0]!
        const touched = yield* codec.touch(sealed, 0, 61, nobody)
        const cookie = codec.setHeader(touched, value, undefined)
        assert.strictEqual(cookie.rest.length, first!.rest.length)
        const opened = yield* open(codec, cookieHeader([cookie, second!]))
        assert.deepStrictEqual(typeof opened === "string" ? opened : opened.payload, payloadOf(5000))
      }))

    it.effect("sends a stored session's header alone, whatever came behind it", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        const sealed = yield* codec.seal(version(hello, Flag.Storage), nobody)
        const touched = yield* codec.touch(sealed, 0, 61, nobody)
        assert.strictEqual(
          codec.setHeader(touched, `${Redacted.value(sealed.value)}behind`, undefined).rest,
          `${Base64Url.encode(bytesOf(touched))}; Path=/; SameSite=Lax; HttpOnly`
        )
      }))

    it.effect("does not let the client write attributes or headers", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec({ compressionThreshold: 0 })
        for (const size of [100, 5000]) {
          const sealed = yield* codec.seal(version(payloadOf(size)), nobody)
          const touched = yield* codec.touch(sealed, 0, 61, nobody)
          yield* property(fc.string({ unit: "binary", maxLength: 300 }), (junk) =>
            Effect.sync(() => {
              const value = Redacted.value(sealed.value).slice(0, 110) + junk
              const { rest } = codec.setHeader(touched, value, undefined)
              assert.match(rest, /^[\w-]{110,}; Path=\/; SameSite=Lax; HttpOnly$/)
            }))
        }
      }))
  })

  describe("bind", () => {
    const alice = { ip: "192.0.2.1", scheme: "https", userAgent: "Browser/1" } as const

    it.effect("holds for the sender it was made for", () =>
      Effect.gen(function*() {
        const strangers = [{ ...alice, ip: "192.0.2.2" }, { ...alice, scheme: "http" }, {
          ...alice,
          userAgent: "Other/1"
        }] as const
        for (const [i, bind] of (["ip", "scheme", "user-agent"] as const).entries()) {
          const codec = yield* makeCodec({ bind: [bind] })
          const sealed = yield* codec.seal(version(hello), alice)
          assert.strictEqual(sealed.header.flags, [Flag.BindIp, Flag.BindScheme, Flag.BindUserAgent][i])
          assert.strictEqual(yield* codec.verify(sealed, alice), 0)
          for (const [j, stranger] of strangers.entries()) {
            assert.strictEqual(yield* codec.verify(sealed, stranger), i === j ? -1 : 0)
          }
          assert.strictEqual(yield* codec.verify(sealed, nobody), -1)
        }
      }))

    it.effect("is decided by the cookie's flags, on verify and on touch", () =>
      Effect.gen(function*() {
        const bound = yield* makeCodec({ bind: ["ip"] })
        const unbound = yield* makeCodec()
        const sealed = yield* bound.seal(version(hello), alice)
        assert.strictEqual(yield* unbound.verify(sealed, alice), 0)
        assert.strictEqual(yield* unbound.verify(sealed, nobody), -1)
        const touched = yield* unbound.touch(sealed, 0, 61, alice)
        assert.strictEqual(yield* bound.verify(touched, alice), 0)
        assert.strictEqual(yield* bound.verify(touched, nobody), -1)
        const free = yield* unbound.seal(version(hello), alice)
        assert.strictEqual(yield* bound.verify(free, nobody), 0)
      }))

    it.effect("binds to nothing where nothing is known, as the reference does", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec({ bind: ["ip", "user-agent"] })
        const sealed = yield* codec.seal(version(hello), { ...nobody, userAgent: "" })
        assert.strictEqual(sealed.header.flags, Flag.BindIp | Flag.BindUserAgent)
        assert.strictEqual(yield* codec.verify(sealed, nobody), 0)
        assert.strictEqual(yield* codec.verify(sealed, alice), -1)
      }))

    it.effect("hashes a header's bytes, not its characters", () =>
      Effect.gen(function*() {
        const hashed: Array<string> = []
        const spy = Layer.effect(
          Crypto.Crypto,
          Effect.map(Crypto.Crypto, (crypto) =>
            Crypto.Crypto.of({
              ...crypto,
              sha256: (data) => {
                hashed.push(Buffer.from(data).toString("hex"))
                return crypto.sha256(data)
              }
            }))
        ).pipe(Layer.provide(Crypto.layerNode))
        const codec = yield* makeCodec({ bind: ["ip", "scheme", "user-agent"] }, spy)
        hashed.length = 0
        yield* codec.seal(version(hello), { ip: "::1", scheme: "http", userAgent: "\u00e9" })
        assert.deepStrictEqual(hashed, [Buffer.from("::1|http|\u00e9", "latin1").toString("hex")])
      }))
  })

  describe("successors", () => {
    it.effect("opens with the old version alone", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        const seal = codec.seal(version(hello, Flag.Storage), nobody)
        const [old, successor, other] = [yield* seal, yield* seal, yield* seal]
        const sealed = yield* codec.sealSuccessor(old, successor)
        const opened = yield* codec.openSuccessor(old, sealed)
        assert.strictEqual(opened?.key, 0)
        assert.deepStrictEqual(opened && bytesOf(opened.presented), bytesOf(successor))
        assert.deepStrictEqual(opened?.presented.header, successor.header)
        assert.strictEqual(yield* codec.openSuccessor(other, sealed), undefined)
        assert.isFalse(Buffer.from(sealed).includes(Buffer.from(Layout.sid(bytesOf(successor)))))
      }))

    it.effect("are under a key of their own: HKDF of the primary key with `successor:` and the old sid", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        const seal = codec.seal(version(hello, Flag.Storage), nobody)
        const [old, successor] = [yield* seal, yield* seal]
        const sealed = yield* codec.sealSuccessor(old, successor)
        const ikm = createHash("sha256").update(Redacted.value(secret)).digest()
        const info = Buffer.concat([Buffer.from("successor:"), bytesOf(old).subarray(3, 35)])
        const key = new Uint8Array(hkdfSync("sha256", ikm, "", info, 32))
        const opening = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, 12))
          .setAAD(bytesOf(old).subarray(0, 47))
          .setAuthTag(sealed.subarray(94))
        const opened = Buffer.concat([opening.update(sealed.subarray(12, 94)), opening.final()])
        assert.strictEqual(opened.toString("hex"), Buffer.from(bytesOf(successor)).toString("hex"))
      }))

    it.effect("survives a touch of the old version: only what never changes is authenticated", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        const seal = codec.seal(version(hello, Flag.Storage), nobody)
        const [old, successor] = [yield* seal, yield* seal]
        const sealed = yield* codec.sealSuccessor(old, successor)
        const touched = yield* codec.touch(old, 0, 61, nobody)
        assert.isDefined(yield* codec.openSuccessor(touched, sealed))
      }))

    it.effect("never encrypts two successors under one key and iv", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        const seal = codec.seal(version(hello, Flag.Storage), nobody)
        const [old, one, other] = [yield* seal, yield* seal, yield* seal]
        const [a, b] = [yield* codec.sealSuccessor(old, one), yield* codec.sealSuccessor(old, other)]
        // Under one key stream, the type and the creation time would give equal ciphertext.
        assert.notDeepEqual(a.subarray(12, 15), b.subarray(12, 15))
      }))

    it.effect("opens after a rotation, and says under which key", () =>
      Effect.gen(function*() {
        const previous = Redacted.make("the previous secret, rotated out since")
        const before = yield* makeCodec({ secret: previous })
        const after = yield* makeCodec({ secretFallbacks: [previous] })
        const seal = before.seal(version(hello, Flag.Storage), nobody)
        const [old, successor] = [yield* seal, yield* seal]
        const opened = yield* after.openSuccessor(old, yield* before.sealSuccessor(old, successor))
        assert.strictEqual(opened?.key, 1)
        assert.strictEqual(opened && (yield* after.verify(opened.presented, nobody)), 1)
        const none = yield* makeCodec()
        assert.strictEqual(yield* none.openSuccessor(old, yield* before.sealSuccessor(old, successor)), undefined)
      }))

    it.effect("opens nothing else", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        const seal = codec.seal(version(hello, Flag.Storage), nobody)
        const [old, successor] = [yield* seal, yield* seal]
        const sealed = yield* codec.sealSuccessor(old, successor)
        for (let bit = 0; bit < sealed.length * 8; bit++) {
          assert.strictEqual(yield* codec.openSuccessor(old, flip(sealed, bit)), undefined, `bit ${bit}`)
        }
        yield* property(fc.uint8Array({ maxLength: 200 }), (bytes) =>
          Effect.map(codec.openSuccessor(old, bytes), (opened) => assert.strictEqual(opened, undefined)))
      }))
  })

  it.effect("finds a version at the store under the hash of its sid", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      const sealed = yield* codec.seal(version(hello, Flag.Storage), nobody)
      const expected = createHash("sha256").update(bytesOf(sealed).subarray(3, 35)).digest("hex")
      assert.strictEqual(Buffer.from(yield* codec.storageKey(sealed)).toString("hex"), expected)
    }))

  it.effect("knows a prefixed name to the letter, since browsers vouch for that alone", () =>
    Effect.gen(function*() {
      const plain = yield* makeCodec()
      assert.deepStrictEqual(plain.find("SESSION=1; session=2"), ["1", "2"])
      const prefixed = yield* makeCodec({ cookiePrefix: "__Secure-" })
      assert.deepStrictEqual(prefixed.find("__SECURE-session=1; __Secure-session=2; session=3"), ["2"])
    }))

  it.effect("gives every candidate, so that a planted cookie hides none", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      const value = Redacted.value((yield* codec.seal(version(hello), nobody)).value)
      assert.deepStrictEqual(codec.find(`session=planted; a=b; session=${value}; session=`), ["planted", value, ""])
    }))

  describe("set and clear", () => {
    const expired = "; Path=/; SameSite=Lax; HttpOnly; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0"

    it.effect("clears the chunks that a smaller version leaves over", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        const sealed = yield* codec.seal(version(hello), nobody)
        for (const previous of [3, 9, 10]) {
          const [first, ...others] = codec.setCookies(sealed, previous, undefined)
          assert.strictEqual(first?.name, "session")
          assert.isTrue(first?.rest.startsWith(Redacted.value(sealed.value)))
          assert.deepStrictEqual(
            others,
            Array.from({ length: Math.min(previous, 9) - 1 }, (_, i) => ({ name: `session${i + 2}`, rest: expired }))
          )
        }
      }))

    it.effect("clears every chunk", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec()
        assert.deepStrictEqual(codec.clearCookies(1, undefined), [{ name: "session", rest: expired }])
        assert.deepStrictEqual(codec.clearCookies(10, undefined).map(({ name }) => name), [
          "session",
          ...[2, 3, 4, 5, 6, 7, 8, 9].map((i) => `session${i}`)
        ])
        assert.isTrue(codec.clearCookies(9, undefined).every(({ rest }) => rest === expired))
      }))

    it.effect("uses the request's host if the settings say so", () =>
      Effect.gen(function*() {
        const codec = yield* makeCodec({ cookieDomain: "host" })
        const sealed = yield* codec.seal(version(hello), nobody)
        const all = [
          ...codec.setCookies(sealed, 2, "www.example.com:8080"),
          codec.setHeader(sealed, Redacted.value(sealed.value), "www.example.com:8080"),
          ...codec.clearCookies(2, "www.example.com:8080")
        ]
        assert.strictEqual(all.length, 5)
        assert.isTrue(
          all.every(({ rest }) => rest.includes("; Domain=www.example.com; Path=/; SameSite=Lax; HttpOnly"))
        )
      }))
  })

  it.effect("shows no secret", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      const sealed = yield* codec.seal(version(hello), nobody)
      const presented = codec.decode(Redacted.value(sealed.value))
      for (
        const shown of [
          inspect({ sealed, presented }, { depth: 9 }),
          JSON.stringify({ ...sealed, presented }),
          String(sealed.bytes)
        ]
      ) {
        assert.isFalse(shown.includes(Redacted.value(sealed.value).slice(0, 110)))
        assert.isFalse(shown.includes(`${Layout.sid(bytesOf(sealed))}`))
        assert.match(shown, /redacted/i)
      }
    }))

  it.effect("opens a deflate stream that has something behind it, but none that is cut", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      const stream = deflateRawSync(Layout.encodePayload(hello))
      const longer = yield* open(
        codec,
        `session=${forge(Buffer.concat([stream, Buffer.from("behind")]), { flags: Flag.Deflate })}`
      )
      assert.deepStrictEqual(typeof longer === "string" ? longer : longer.payload, hello)
      const cut = yield* open(codec, `session=${forge(stream.subarray(0, -2), { flags: Flag.Deflate })}`)
      assert.strictEqual(cut, "InflateFailed")
    }))

  it.effect("takes no byte order mark for JSON", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      assert.strictEqual(yield* open(codec, `session=${forge(Buffer.from("\ufeff[]"))}`), "InvalidJson")
    }))

  it.effect("reads invalid UTF-8 as replacement characters", () =>
    Effect.gen(function*() {
      const codec = yield* makeCodec()
      const opened = yield* open(codec, `session=${forge(Buffer.from("[[\"\xff\",\"default\"]]", "latin1"))}`)
      assert.deepStrictEqual(typeof opened === "string" ? opened : opened.payload[0]?.data, "\ufffd")
    }))
})
