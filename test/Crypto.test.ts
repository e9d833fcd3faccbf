import { assert, describe, it, layer, onTestFinished, vi } from "@effect/vitest"
import type { Vitest } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer } from "effect"
import { WebCrypto } from "effect/crypto"
import * as fc from "fast-check"
import * as node from "node:crypto"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Crypto from "../src/Crypto.ts"
import * as NodeCrypto from "../src/internal/nodeCrypto.ts"
import { property } from "./utils/codec.ts"

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"))
const base64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"))
const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")
const none = new Uint8Array(0)

const concat = (...parts: ReadonlyArray<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat(parts))

const flip = (bytes: Uint8Array, bit: number): Uint8Array =>
  bytes.map((byte, index) => index === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte)

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength, size: "max" })
/** Of any length up to one that would take long to generate and to shrink byte by byte. */
const long = (maxLength: number): fc.Arbitrary<Uint8Array> =>
  fc.oneof(bytes(100), fc.nat(maxLength).map((length) => Uint8Array.from({ length }, (_, i) => i * i)))

const exactly = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length })

/** A session cookie of lua-resty-session 4.1.5 with the secret "correct horse battery staple 0001". */
const cookie = {
  secret: utf8("correct horse battery staple 0001"),
  ikm: base64("J60odtAC11nOZ3/leVLXn1euEbwr70MA2X0UDoLSMMM="),
  sid: base64("V8z4JEONUvlGS9A+XrRd4pC1b2gYvgaTUAFOkZFmVd8="),
  key: base64("OC1MgwwBO5EO/HQPr4/GfJfQWbxnlBN9Mn6ezVaNohs="),
  iv: base64("kCnslKskJtupT0U0"),
  aad: base64("AQAAV8z4JEONUvlGS9A+XrRd4pC1b2gYvgaTUAFOkZFmVd8QiwNrAAAAAAAqAAA="),
  plaintext: utf8("[[{\"hello\":\"world\"},\"default\"]]"),
  ciphertext: base64("K3AZMTbW/vPr6BeowabShTVNuL118N9lQ5h49zri4g=="),
  tag: base64("WCXSPHhcfphWX/F4C8h8tQ=="),
  macKey: base64("b6QnBU/qnPvL9nj5Nazr5V5/X13iHsXmtzu5EvTbhU8="),
  macMessage: base64("AQAAV8z4JEONUvlGS9A+XrRd4pC1b2gYvgaTUAFOkZFmVd8QiwNrAAAAAAAqAABYJdI8eFx+mFZf8XgLyHy1AAAA"),
  mac: base64("uWbLD1NIJayJmqstc6iBuQ==")
}
const sealed = concat(cookie.ciphertext, cookie.tag)

/** RFC 4231, sections 4.2 to 4.8: key, data, the first 16 bytes of HMAC-SHA256. */
const hmacVectors = [
  ["0b".repeat(20), utf8("Hi There"), "b0344c61d8db38535ca8afceaf0bf12b"],
  [toHex(utf8("Jefe")), utf8("what do ya want for nothing?"), "5bdcc146bf60754e6a042426089575c7"],
  ["aa".repeat(20), hex("dd".repeat(50)), "773ea91e36800e46854db8ebd09181a7"],
  ["0102030405060708090a0b0c0d0e0f10111213141516171819", hex("cd".repeat(50)), "82558a389a443c0ea4cc819899f2083a"],
  ["0c".repeat(20), utf8("Test With Truncation"), "a3b6167473100ee06e0c796c2955552b"],
  [
    "aa".repeat(131),
    utf8("Test Using Larger Than Block-Size Key - Hash Key First"),
    "60e431591ee0b67f0d8a26aacbf5b77f"
  ],
  [
    "aa".repeat(131),
    utf8(
      "This is a test using a larger than block-size key and a larger than block-size data. " +
        "The key needs to be hashed before being used by the HMAC algorithm."
    ),
    "9b09ffa71b942fcb27635fbcd5b0e944"
  ]
] as const

/** PBKDF2-HMAC-SHA256: RFC 7914 section 11, and the passwords of RFC 6070. */
const pbkdf2Vectors = [
  ["password", "salt", 1, "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b"],
  ["password", "salt", 2, "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43"],
  ["password", "salt", 4096, "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"],
  [
    "passwordPASSWORDpassword",
    "saltSALTsaltSALTsaltSALTsaltSALTsalt",
    4096,
    "348c89dbcbd32b2f32d814b8116e84cf2b17347ebc1800181c4e2a1fb8dd53e1c635518c7dac47e9"
  ],
  [
    "passwd",
    "salt",
    1,
    "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc" +
    "49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783"
  ]
] as const

/** Test cases 13, 14, 15 and 16 of "The Galois/Counter Mode of Operation": key, iv, plaintext, aad, ciphertext, tag. */
const gcmKey = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
const gcmPlaintext = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72" +
  "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
const gcmCiphertext = "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa" +
  "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
const gcmVectors = [
  ["00".repeat(32), "00".repeat(12), "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"],
  [
    "00".repeat(32),
    "00".repeat(12),
    "00".repeat(16),
    "",
    "cea7403d4d606b6e074ec5d3baf39d18",
    "d0d1c8a799996bf0265b98b5d48ab919"
  ],
  [gcmKey, "cafebabefacedbaddecaf888", gcmPlaintext, "", gcmCiphertext, "b094dac5d93471bdec1a502270e3cc6c"],
  [
    gcmKey,
    "cafebabefacedbaddecaf888",
    gcmPlaintext.slice(0, 120),
    "feedfacedeadbeeffeedfacedeadbeefabaddad2",
    gcmCiphertext.slice(0, 120),
    "76fc6ece0f4e1768cddf8853bb2d551b"
  ]
] as const

/** What every implementation has to do. */
const suite = (it: Vitest.MethodsNonLive<Crypto.Crypto>) => {
  const use = <A, E>(f: (crypto: Crypto.Crypto["Service"]) => Effect.Effect<A, E>) => Effect.flatMap(Crypto.Crypto, f)

  it.effect("hashes", () =>
    use((crypto) =>
      Effect.gen(function*() {
        assert.strictEqual(
          toHex(yield* crypto.sha256(none)),
          "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )
        assert.strictEqual(
          toHex(yield* crypto.sha256(utf8("abc"))),
          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        assert.deepStrictEqual(yield* crypto.sha256(cookie.secret), cookie.ikm)
      })
    ))

  it.effect.each(hmacVectors)(
    "computes the MAC of %#",
    ([key, data, expected]) =>
      use((crypto) =>
        Effect.gen(function*() {
          const mac = yield* crypto.mac(hex(key), data)
          assert.strictEqual(toHex(mac), expected)
          assert.isTrue(yield* crypto.verifyMac(hex(key), data, mac))
        })
      )
  )

  it.effect("computes the MAC of any length under a key of any length", () =>
    use((crypto) =>
      Effect.gen(function*() {
        for (const keyLength of [1, 31, 32, 63, 64, 65, 200]) {
          for (const length of [0, 1, 55, 56, 63, 64, 65, 959, 960, 961, 1024, 5000]) {
            const [key, message] = [new Uint8Array(keyLength).fill(0x5c), new Uint8Array(length).fill(0x36)]
            assert.strictEqual(
              toHex(yield* crypto.mac(key, message)),
              node.createHmac("sha256", key).update(message).digest("hex").slice(0, 32),
              `${keyLength}, ${length}`
            )
          }
        }
      })
    ))

  it.effect("derives with an empty salt, as in RFC 5869, A.3", () =>
    use((crypto) =>
      Effect.gen(function*() {
        const derive = crypto.hkdf(hex("0b".repeat(22)))
        const okm = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        assert.strictEqual(toHex(yield* derive(none, 42)), okm)
        for (const length of [1, 31, 32, 33, 41]) {
          assert.strictEqual(toHex(yield* derive(none, length)), okm.slice(0, 2 * length))
        }
      })
    ))

  it.effect.each(pbkdf2Vectors)(
    "stretches %#",
    ([password, salt, iterations, expected]) =>
      use((crypto) =>
        Effect.gen(function*() {
          const key = yield* crypto.pbkdf2(utf8(password), utf8(salt), { iterations, length: expected.length / 2 })
          assert.strictEqual(toHex(key), expected)
        })
      )
  )

  it.effect.each(gcmVectors)(
    "encrypts and decrypts %#",
    ([key, iv, plaintext, aad, ciphertext, tag]) =>
      use((crypto) =>
        Effect.gen(function*() {
          const sealed = yield* crypto.encrypt(hex(key), hex(iv), hex(plaintext), hex(aad))
          assert.strictEqual(toHex(sealed), ciphertext + tag)
          assert.deepStrictEqual(yield* crypto.decrypt(hex(key), hex(iv), sealed, hex(aad)), hex(plaintext))
        })
      )
  )

  it.effect("does what lua-resty-session does", () =>
    use((crypto) =>
      Effect.gen(function*() {
        const derive = crypto.hkdf(cookie.ikm)
        assert.deepStrictEqual(
          yield* derive(concat(utf8("encryption:"), cookie.sid), 44),
          concat(cookie.key, cookie.iv)
        )
        assert.deepStrictEqual(yield* derive(concat(utf8("authentication:"), cookie.sid), 32), cookie.macKey)
        assert.deepStrictEqual(yield* crypto.encrypt(cookie.key, cookie.iv, cookie.plaintext, cookie.aad), sealed)
        assert.deepStrictEqual(yield* crypto.decrypt(cookie.key, cookie.iv, sealed, cookie.aad), cookie.plaintext)
        assert.deepStrictEqual(yield* crypto.mac(cookie.macKey, cookie.macMessage), cookie.mac)
        assert.isTrue(yield* crypto.verifyMac(cookie.macKey, cookie.macMessage, cookie.mac))
      })
    ))

  it.effect("decrypts nothing that differs in a bit", () =>
    use((crypto) =>
      Effect.gen(function*() {
        const { aad, iv, key } = cookie
        const attempts = [
          ...Array.from({ length: 8 * sealed.length }, (_, bit) => crypto.decrypt(key, iv, flip(sealed, bit), aad)),
          ...Array.from({ length: 8 * aad.length }, (_, bit) => crypto.decrypt(key, iv, sealed, flip(aad, bit))),
          ...Array.from({ length: 8 * iv.length }, (_, bit) => crypto.decrypt(key, flip(iv, bit), sealed, aad)),
          ...Array.from({ length: 8 * key.length }, (_, bit) => crypto.decrypt(flip(key, bit), iv, sealed, aad))
        ]
        assert.deepStrictEqual(yield* Effect.all(attempts), attempts.map(() => undefined))
      })
    ))

  it.effect("decrypts nothing of another length", () =>
    use((crypto) =>
      Effect.gen(function*() {
        const { aad, iv, key } = cookie
        for (let length = 0; length < sealed.length; length++) {
          assert.isUndefined(yield* crypto.decrypt(key, iv, sealed.subarray(0, length), aad), `${length}`)
        }
        assert.isUndefined(yield* crypto.decrypt(key, iv, concat(sealed, Uint8Array.of(0)), aad))
        assert.isUndefined(yield* crypto.decrypt(key, iv, sealed, aad.subarray(1)))
        assert.isUndefined(yield* crypto.decrypt(key, iv, sealed, none))
      })
    ))

  it.effect("verifies no MAC but the right one", () =>
    use((crypto) =>
      Effect.gen(function*() {
        const { mac, macKey, macMessage } = cookie
        const whole = new Uint8Array(node.createHmac("sha256", macKey).update(macMessage).digest())
        const attempts = [
          ...Array.from({ length: 128 }, (_, bit) => crypto.verifyMac(macKey, macMessage, flip(mac, bit))),
          ...Array.from({ length: 16 }, (_, length) => crypto.verifyMac(macKey, macMessage, mac.subarray(0, length))),
          crypto.verifyMac(macKey, macMessage, whole),
          crypto.verifyMac(macKey, macMessage, whole.subarray(0, 17)),
          crypto.verifyMac(macKey, macMessage.subarray(1), mac),
          crypto.verifyMac(flip(macKey, 0), macMessage, mac)
        ]
        assert.deepStrictEqual(yield* Effect.all(attempts), attempts.map(() => false))
      })
    ))

  it.effect("agrees with node:crypto", () =>
    use((crypto) =>
      property(
        fc.record({
          ikm: bytes(100),
          info: long(1024),
          length: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 8160 })),
          key: exactly(32),
          macKey: long(200).filter((key) => key.length > 0),
          iv: exactly(12),
          data: long(5000),
          aad: bytes(100)
        }),
        ({ aad, data, ikm, info, iv, key, length, macKey }) =>
          Effect.gen(function*() {
            const cipher = node.createCipheriv("aes-256-gcm", key, iv).setAAD(aad)
            const sealed = concat(cipher.update(data), cipher.final(), cipher.getAuthTag())
            const mac = concat(node.createHmac("sha256", macKey).update(data).digest()).subarray(0, 16)
            const okm = new Uint8Array(node.hkdfSync("sha256", ikm, none, info, length))

            assert.deepStrictEqual(yield* crypto.sha256(data), concat(node.createHash("sha256").update(data).digest()))
            assert.deepStrictEqual(yield* crypto.mac(macKey, data), mac)
            assert.isTrue(yield* crypto.verifyMac(macKey, data, mac))
            assert.deepStrictEqual(yield* crypto.hkdf(ikm)(info, length), okm)
            assert.deepStrictEqual(yield* crypto.encrypt(key, iv, data, aad), sealed)
            assert.deepStrictEqual(yield* crypto.decrypt(key, iv, sealed, aad), data)
          })
      )
    ))

  it.effect("agrees with node:crypto on PBKDF2", () =>
    use((crypto) =>
      property(
        fc.record({
          password: bytes(100),
          salt: bytes(100),
          iterations: fc.integer({ min: 1, max: 50 }),
          length: fc.integer({ min: 1, max: 100 })
        }),
        ({ iterations, length, password, salt }) =>
          Effect.gen(function*() {
            assert.deepStrictEqual(
              yield* crypto.pbkdf2(password, salt, { iterations, length }),
              concat(node.pbkdf2Sync(password, salt, iterations, length, "sha256"))
            )
          })
      )
    ))

  it.effect("reads views of larger buffers", () =>
    use((crypto) =>
      Effect.gen(function*() {
        const view = (bytes: Uint8Array) => concat(utf8("before"), bytes, utf8("after")).subarray(6, 6 + bytes.length)
        const [key, iv, aad] = [view(cookie.key), view(cookie.iv), view(cookie.aad)]
        assert.deepStrictEqual(yield* crypto.encrypt(key, iv, view(cookie.plaintext), aad), sealed)
        assert.deepStrictEqual(yield* crypto.decrypt(key, iv, view(sealed), aad), cookie.plaintext)
        assert.deepStrictEqual(yield* crypto.mac(view(cookie.macKey), view(cookie.macMessage)), cookie.mac)
        assert.deepStrictEqual(
          yield* crypto.hkdf(view(cookie.ikm))(view(concat(utf8("authentication:"), cookie.sid)), 32),
          cookie.macKey
        )
      })
    ))

  it.effect("is done with its arguments", () =>
    use((crypto) =>
      Effect.gen(function*() {
        const ikm = cookie.ikm.slice()
        const derive = crypto.hkdf(ikm)
        ikm.fill(0)
        assert.deepStrictEqual(yield* derive(concat(utf8("authentication:"), cookie.sid), 32), cookie.macKey)

        const input = sealed.slice()
        yield* crypto.decrypt(cookie.key, cookie.iv, input, cookie.aad)
        assert.deepStrictEqual(input, sealed)
      })
    ))

  it.effect("answers with arrays that share no memory", () =>
    use((crypto) =>
      Effect.gen(function*() {
        const plaintext = yield* crypto.decrypt(cookie.key, cookie.iv, sealed, cookie.aad)
        const answers = [
          yield* crypto.randomBytes(32),
          yield* crypto.sha256(none),
          yield* crypto.mac(cookie.macKey, none),
          yield* crypto.hkdf(cookie.ikm)(none, 32),
          yield* crypto.hkdf(cookie.ikm)(none, 44),
          yield* crypto.pbkdf2(cookie.ikm, none, { iterations: 1, length: 44 }),
          yield* crypto.encrypt(cookie.key, cookie.iv, cookie.plaintext, cookie.aad),
          plaintext ?? assert.fail("did not decrypt")
        ]
        for (const answer of answers) {
          // A Buffer would do for most, but not where it is sliced.
          assert.strictEqual(Object.getPrototypeOf(answer), Uint8Array.prototype)
          assert.strictEqual(answer.buffer.byteLength, answer.length)
        }
      })
    ))

  it.effect("computes at once as it does in turn", () =>
    use((crypto) =>
      Effect.gen(function*() {
        const derive = crypto.hkdf(cookie.ikm)
        const work = Array.from({ length: 50 }, (_, i) =>
          Effect.gen(function*() {
            const key = yield* derive(Uint8Array.of(i), 44)
            yield* Effect.yieldNow
            const sealed = yield* crypto.encrypt(key.subarray(0, 32), key.subarray(32), cookie.plaintext, none)
            yield* Effect.yieldNow
            return toHex(concat(sealed, yield* crypto.mac(key, sealed)))
          }))
        assert.deepStrictEqual(yield* Effect.all(work, { concurrency: "unbounded" }), yield* Effect.all(work))
      })
    ))

  it.effect("gives as many random bytes as asked for", () =>
    use((crypto) =>
      Effect.gen(function*() {
        for (const size of [0, 1, 31, 32, 4095, 4096, 4097, 70_000, 200_000]) {
          const bytes = yield* crypto.randomBytes(size)
          assert.strictEqual(bytes.length, size)
          // Each of the 256 bytes is missing from 4095 random ones with a probability of 1e-7.
          if (size >= 4095) assert.isAbove(new Set(bytes).size, 240)
        }
      })
    ))

  it.effect("gives no random bytes twice", () =>
    use((crypto) =>
      Effect.gen(function*() {
        const sizes = Array.from({ length: 3000 }, (_, i) => 16 + i % 33)
        const draw = (size: number) => Effect.andThen(Effect.yieldNow, crypto.randomBytes(size))
        const drawn = [
          ...yield* Effect.forEach(sizes, draw),
          ...yield* Effect.forEach(sizes, draw, { concurrency: "unbounded" })
        ]
        const windows = drawn.flatMap((bytes) =>
          Array.from({ length: bytes.length - 7 }, (_, start) => toHex(bytes.subarray(start, start + 8)))
        )
        assert.strictEqual(new Set(windows).size, windows.length)
      })
    ))

  it.effect("lets go of PBKDF2 when interrupted", () =>
    use((crypto) =>
      Effect.gen(function*() {
        const options = { iterations: 300_000, length: 32 }
        const fiber = yield* Effect.forkChild(crypto.pbkdf2(cookie.ikm, cookie.sid, options))
        yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        const exit = yield* Fiber.await(fiber)
        assert.isTrue(Exit.hasInterrupts(exit))
        // What it leaves running does not get in the way of another.
        assert.strictEqual((yield* crypto.pbkdf2(cookie.ikm, cookie.sid, { ...options, iterations: 1 })).length, 32)
      })
    ))
}

/** What the layers do, but the arms alone do not. */
const guarded = (it: Vitest.MethodsNonLive<Crypto.Crypto>) => {
  const mistakes: ReadonlyArray<
    readonly [string, (crypto: Crypto.Crypto["Service"]) => Effect.Effect<unknown>]
  > = [
    ["randomBytes: the size must be a whole number of bytes, not -1", (crypto) => crypto.randomBytes(-1)],
    ["randomBytes: the size must be a whole number of bytes, not 1.5", (crypto) => crypto.randomBytes(1.5)],
    ["randomBytes: the size must be a whole number of bytes, not NaN", (crypto) => crypto.randomBytes(Number.NaN)],
    ["mac: the key must not be empty", (crypto) => crypto.mac(none, none)],
    ["verifyMac: the key must not be empty", (crypto) => crypto.verifyMac(none, none, cookie.mac)],
    ["hkdf: the length must be 1 to 8160 bytes, not 0", (crypto) => crypto.hkdf(cookie.ikm)(none, 0)],
    ["hkdf: the length must be 1 to 8160 bytes, not -1", (crypto) => crypto.hkdf(cookie.ikm)(none, -1)],
    ["hkdf: the length must be 1 to 8160 bytes, not 8161", (crypto) => crypto.hkdf(cookie.ikm)(none, 8161)],
    ["hkdf: the length must be 1 to 8160 bytes, not 32.5", (crypto) => crypto.hkdf(cookie.ikm)(none, 32.5)],
    [
      "hkdf: the info must be at most 1024 bytes, not 1025",
      (crypto) => crypto.hkdf(cookie.ikm)(new Uint8Array(1025), 32)
    ],
    [
      "pbkdf2: the iterations must be 1 to 2^31 - 1, not 0",
      (crypto) => crypto.pbkdf2(none, none, { iterations: 0, length: 1 })
    ],
    [
      "pbkdf2: the iterations must be 1 to 2^31 - 1, not 2147483648",
      (crypto) => crypto.pbkdf2(none, none, { iterations: 2 ** 31, length: 1 })
    ],
    [
      "pbkdf2: the length must be 1 to 2^29 - 1 bytes, not 0",
      (crypto) => crypto.pbkdf2(none, none, { iterations: 1, length: 0 })
    ],
    [
      "pbkdf2: the length must be 1 to 2^29 - 1 bytes, not 536870912",
      (crypto) => crypto.pbkdf2(none, none, { iterations: 1, length: 2 ** 29 })
    ],
    ...[0, 16, 31, 33].flatMap((length) =>
      [
        [
          `encrypt: the key must be 32 bytes, not ${length}`,
          (crypto: Crypto.Crypto["Service"]) => crypto.encrypt(new Uint8Array(length), cookie.iv, none, none)
        ],
        [
          `decrypt: the key must be 32 bytes, not ${length}`,
          (crypto: Crypto.Crypto["Service"]) => crypto.decrypt(new Uint8Array(length), cookie.iv, sealed, none)
        ]
      ] as const
    ),
    ...[0, 11, 13, 16].flatMap((length) =>
      [
        [
          `encrypt: the iv must be 12 bytes, not ${length}`,
          (crypto: Crypto.Crypto["Service"]) => crypto.encrypt(cookie.key, new Uint8Array(length), none, none)
        ],
        [
          `decrypt: the iv must be 12 bytes, not ${length}`,
          (crypto: Crypto.Crypto["Service"]) => crypto.decrypt(cookie.key, new Uint8Array(length), sealed, none)
        ]
      ] as const
    )
  ]

  it.effect.each(mistakes)("dies of %s", ([message, run]) =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(Effect.flatMap(Crypto.Crypto, run))
      assert.isTrue(Exit.hasDies(exit))
      const defect = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(defect, RangeError)
      assert.strictEqual(defect.message, `Crypto.${message}`)
    }))
}

const layers = {
  layerNode: Crypto.layerNode,
  layerWebCrypto: Crypto.layerWebCrypto,
  layer: Crypto.layer
}

for (const [name, implementation] of Object.entries(layers)) {
  layer(implementation)(name, (it) => {
    suite(it)
    guarded(it)
  })
}

// Only one of these is what `layerNode` takes on the runtime at hand.
for (const [i, secret] of NodeCrypto.secrets(node).entries()) {
  for (const [j, hash] of NodeCrypto.hashes(node).entries()) {
    for (const [k, hkdf] of NodeCrypto.hkdfs(node, hash).entries()) {
      const arms = NodeCrypto.make(node, { secret, hash, hkdf })
      layer(Layer.succeed(Crypto.Crypto, arms))(`arms ${i}, ${j} and ${k}`, suite)
    }
  }
}

describe("PBKDF2", () => {
  it.live.each(["layerNode", "layerWebCrypto"] as const)(
    "of %s leaves the event loop alone",
    (name) =>
      Effect.gen(function*() {
        const crypto = yield* Crypto.Crypto
        const stretched = crypto.pbkdf2(cookie.ikm, cookie.sid, { iterations: 1_000_000, length: 32 })
        const winner = yield* Effect.race(Effect.as(stretched, "PBKDF2"), Effect.as(Effect.sleep(1), "the clock"))
        assert.strictEqual(winner, "the clock")
      }).pipe(Effect.provide(layers[name]))
  )

  it.effect("dies where node:crypto fails", () =>
    Effect.gen(function*() {
      const broken: typeof node = Object.assign({ ...node }, {
        pbkdf2: (...args: Parameters<typeof node.pbkdf2>) => args[5](new Error("out of memory"), Buffer.alloc(0))
      })
      const crypto = NodeCrypto.make(broken, NodeCrypto.probe(node))
      const exit = yield* Effect.exit(crypto.pbkdf2(none, none, { iterations: 1, length: 32 }))
      assert.deepStrictEqual(exit, Exit.die(new Error("out of memory")))
    }))
})

describe("random bytes from a pool", () => {
  /** The primitives on a source whose every four bytes are a number of their own, and the memory it last filled. */
  const setup = () => {
    let filled: Uint8Array = none
    let last = 0
    const counting: typeof node = Object.assign({ ...node }, {
      randomFillSync: (bytes: Uint8Array) => {
        filled = bytes
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
        for (let at = 0; at + 4 <= bytes.length; at += 4) view.setUint32(at, ++last)
        return bytes
      }
    })
    const { randomBytes } = NodeCrypto.make(counting, NodeCrypto.probe(node))
    return { randomBytes, filled: () => numbers(filled) }
  }

  const numbers = (bytes: Uint8Array): ReadonlyArray<number> => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return Array.from({ length: bytes.length / 4 }, (_, index) => view.getUint32(4 * index))
  }

  it.effect("hands out each byte once, and keeps none", () =>
    Effect.gen(function*() {
      const { filled, randomBytes } = setup()
      let previous = 0
      for (let i = 0; i < 3000; i++) {
        const taken = numbers(yield* randomBytes(4 * (i % 20)))
        for (const number of taken) {
          assert.isAbove(number, previous)
          previous = number
        }
        const left = new Set(filled())
        assert.isFalse(taken.some((number) => left.has(number)))
      }
      assert.isAbove(previous, 3 * 1024)
    }))

  it.effect("takes more than the pool holds from the source", () =>
    Effect.gen(function*() {
      const { randomBytes } = setup()
      assert.deepStrictEqual(numbers(yield* randomBytes(4)), [1])
      assert.deepStrictEqual(numbers(yield* randomBytes(4100)), Array.from({ length: 1025 }, (_, i) => 1025 + i))
      assert.deepStrictEqual(numbers(yield* randomBytes(4)), [2])
    }))

  it.effect("fails rather than to hand out what was not filled", () =>
    Effect.gen(function*() {
      let failing = false
      const moody: typeof node = Object.assign({ ...node }, {
        randomFillSync: (bytes: Uint8Array) => {
          if (failing) throw new Error("no entropy")
          return bytes.fill(1)
        }
      })
      const { randomBytes } = NodeCrypto.make(moody, NodeCrypto.probe(node))
      yield* randomBytes(4090)
      failing = true
      for (let i = 0; i < 2; i++) {
        assert.deepStrictEqual(yield* Effect.exit(randomBytes(8)), Exit.die(new Error("no entropy")))
      }
      failing = false
      assert.deepStrictEqual(yield* randomBytes(8), new Uint8Array(8).fill(1))
    }))
})

describe("runtimes", () => {
  const sevens = WebCrypto.layer(Object.assign(Object.create(globalThis.crypto), {
    getRandomValues: (bytes: Uint8Array) => bytes.fill(7)
  }))

  const draw = (implementation: Layer.Layer<Crypto.Crypto>) =>
    Effect.flatMap(Crypto.Crypto, (crypto) => crypto.randomBytes(16)).pipe(
      Effect.provide(Layer.provide(implementation, sevens)),
      Effect.map((bytes) => bytes.every((byte) => byte === 7) ? "WebCrypto" : "node:crypto")
    )

  const withoutBuiltins = () => {
    const builtins = vi.spyOn(process, "getBuiltinModule").mockReturnValue(undefined)
    onTestFinished(() => builtins.mockRestore())
  }

  it.effect("with node:crypto", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* draw(Crypto.layerNode), "node:crypto")
      assert.strictEqual(yield* draw(Crypto.layer), "node:crypto")
      assert.strictEqual(yield* draw(Crypto.layerWebCrypto), "WebCrypto")
    }))

  it.effect("without node:crypto", () =>
    Effect.gen(function*() {
      withoutBuiltins()
      assert.strictEqual(yield* draw(Crypto.layer), "WebCrypto")
      assert.strictEqual(yield* draw(Crypto.layerWebCrypto), "WebCrypto")

      const exit = yield* Effect.exit(draw(Crypto.layerNode))
      assert.isTrue(Exit.hasDies(exit))
      assert.match(Exit.isFailure(exit) ? String(Cause.squash(exit.cause)) : "", /layerWebCrypto/)
    }))

  it.effect("without process", () =>
    Effect.gen(function*() {
      vi.stubGlobal("process", undefined)
      const implementation = yield* Effect.ensuring(draw(Crypto.layer), Effect.sync(() => vi.unstubAllGlobals()))
      assert.strictEqual(implementation, "WebCrypto")
    }))

  it.effect.each(
    [
      ["bytes cost more than KeyObjects", { bytes: 4, object: 1, binary: 1, hex: 1, hkdf: 1 }, "objects, hkdfSync"],
      ["bytes cost less than KeyObjects", { bytes: 1, object: 4, binary: 1, hex: 1, hkdf: 100 }, "bytes, binary"],
      ["hashes cost less in hexadecimal", { bytes: 1, object: 1, binary: 2, hex: 1, hkdf: 100 }, "bytes, hex"],
      ["calls cost nearly the same", { bytes: 6, object: 5, binary: 6, hex: 5, hkdf: 15 }, "bytes, binary"],
      // As on Workers.
      ["clock stands still", { bytes: 0, object: 0, binary: 0, hex: 0, hkdf: 0 }, "bytes, binary"]
    ] as const
  )("whose %s", ([, cost, expected]) =>
    Effect.sync(() => {
      let now = 0
      let encoding = ""
      const clock = vi.spyOn(performance, "now").mockImplementation(() => now)
      onTestFinished(() => clock.mockRestore())
      const runtime: typeof node = Object.assign({ ...node }, {
        createCipheriv: (...args: Parameters<typeof node.createCipheriv>) => {
          now += args[1] instanceof Uint8Array ? cost.bytes : cost.object
          return node.createCipheriv(...args)
        },
        hash: (algorithm: string, data: Uint8Array, as: "binary" | "hex") => {
          now += cost[as]
          encoding = as
          return node.hash(algorithm, data, as)
        },
        hkdfSync: (...args: Parameters<typeof node.hkdfSync>) => {
          now += cost.hkdf
          return node.hkdfSync(...args)
        }
      })

      const { hkdf, secret } = NodeCrypto.probe(runtime)
      encoding = "hkdfSync"
      hkdf(cookie.ikm)(none, 32)
      assert.strictEqual(`${secret(cookie.key) instanceof Uint8Array ? "bytes" : "objects"}, ${encoding}`, expected)
    }))
})

describe("imports", () => {
  const root = fileURLToPath(new URL("../src/", import.meta.url))

  /** What a module imports, types aside: those are gone before a bundler sees it. */
  const importsOf = (source: string): ReadonlyArray<string> =>
    Array.from(
      source.matchAll(
        /^(?:import|export)\s(?!type\s)(?:[^"';]*?\sfrom\s)?"([^"]+)"|\b(?:import|require)\(\s*(.+?)\s*\)/gm
      ),
      ([, name, expression]) => name ?? `${expression}`
    )

  const graphOf = (module: string, seen = new Set<string>()): ReadonlySet<string> => {
    if (seen.has(module)) return seen
    seen.add(module)
    if (module.startsWith("/")) {
      for (const name of importsOf(readFileSync(module, "utf8"))) {
        graphOf(name.startsWith(".") ? fileURLToPath(new URL(name, `file://${module}`)) : name, seen)
      }
    }
    return seen
  }

  it("are found, however they are written", () => {
    const source = `
import type * as Types from "./types.ts"
import "./effects.ts"
import * as fs from "node:fs"
import {
  a
} from "./a.ts"
export * from "./b.ts"
export type { C } from "./c.ts"
const lazy = import("node:crypto")
const old = require("node:zlib")
`
    assert.deepStrictEqual(importsOf(source), [
      "./effects.ts",
      "node:fs",
      "./a.ts",
      "./b.ts",
      "\"node:crypto\"",
      "\"node:zlib\""
    ])
  })

  it("leave bundles for browsers and Workers alone", () => {
    const graph = new Set([...graphOf(`${root}Crypto.ts`), ...graphOf(`${root}internal/deflate.ts`)])
    assert.deepStrictEqual(
      Array.from(graph, (module) => module.replace(root, "./")).toSorted(),
      [
        "./Crypto.ts",
        "./internal/deflate.ts",
        "./internal/nodeCrypto.ts",
        "./internal/webCrypto.ts",
        "effect",
        "effect/crypto"
      ]
    )
  })
})
