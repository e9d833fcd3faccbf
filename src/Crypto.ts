/**
 * The primitives that sessions are made of, behind an interface that can be read
 * at a glance.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"
import * as NodeCrypto from "./internal/nodeCrypto.ts"
import * as WebCrypto from "./internal/webCrypto.ts"

/**
 * Random bytes, SHA-256, HMAC, HKDF, PBKDF2 and AES-256-GCM.
 *
 * **Details**
 *
 * Every operation is total: wrong lengths are a programmer's mistake and die; a
 * tag or a MAC that does not verify is a value.
 *
 * **Example** (Sealing under a derived key)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { Crypto, layer } from "effect-session/Crypto"
 * import * as assert from "node:assert/strict"
 *
 * const program = Effect.gen(function*() {
 *   const crypto = yield* Crypto
 *   const utf8 = new TextEncoder()
 *   const derive = crypto.hkdf(yield* crypto.randomBytes(32))
 *   const key = yield* derive(utf8.encode("encryption:1"), 32)
 *   const iv = yield* crypto.randomBytes(12)
 *   const aad = utf8.encode("header")
 *
 *   const sealed = yield* crypto.encrypt(key, iv, utf8.encode("payload"), aad)
 *   const opened = yield* crypto.decrypt(key, iv, sealed, aad)
 *   const forged = yield* crypto.decrypt(key, iv, sealed, utf8.encode("another header"))
 *   return [new TextDecoder().decode(opened), forged]
 * })
 *
 * assert.deepEqual(await Effect.runPromise(Effect.provide(program, layer)), ["payload", undefined])
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export class Crypto extends Context.Service<Crypto, {
  /** `size` bytes that nobody can predict, and that are handed out once. */
  readonly randomBytes: (size: number) => Effect.Effect<Uint8Array>

  /** SHA-256: 32 bytes. */
  readonly sha256: (data: Uint8Array) => Effect.Effect<Uint8Array>

  /** HMAC-SHA256 under a key that is not empty, its first 16 bytes. */
  readonly mac: (key: Uint8Array, message: Uint8Array) => Effect.Effect<Uint8Array>

  /** Whether `mac` is the MAC of `message`, compared in constant time. */
  readonly verifyMac: (key: Uint8Array, message: Uint8Array, mac: Uint8Array) => Effect.Effect<boolean>

  /**
   * HKDF-SHA256 with an empty salt, RFC 5869, in its two steps: extract from the
   * key material once, expand for each `info` of up to 1024 bytes to between 1 and
   * 8160 bytes.
   */
  readonly hkdf: (ikm: Uint8Array) => (info: Uint8Array, length: number) => Effect.Effect<Uint8Array>

  /** PBKDF2-HMAC-SHA256, off the event loop. Interrupting it leaves it to run to its end unheard. */
  readonly pbkdf2: (
    password: Uint8Array,
    salt: Uint8Array,
    options: { readonly iterations: number; readonly length: number }
  ) => Effect.Effect<Uint8Array>

  /** AES-256-GCM with a 32-byte key and a 12-byte iv: the ciphertext, then its 16-byte tag. */
  readonly encrypt: (
    key: Uint8Array,
    iv: Uint8Array,
    plaintext: Uint8Array,
    aad: Uint8Array
  ) => Effect.Effect<Uint8Array>

  /** The plaintext, or `undefined` where the tag does not verify. */
  readonly decrypt: (
    key: Uint8Array,
    iv: Uint8Array,
    ciphertextAndTag: Uint8Array,
    aad: Uint8Array
  ) => Effect.Effect<Uint8Array | undefined>
}>()("effect-session/Crypto") {}

const mistake = (message: string): Effect.Effect<never> => Effect.die(new RangeError(`Crypto.${message}`))

const within = (n: number, least: number, most: number): boolean => Number.isInteger(n) && n >= least && n <= most

const macMistake = (method: string, key: Uint8Array): Effect.Effect<never> | undefined =>
  key.length === 0 ? mistake(`${method}: the key must not be empty`) : undefined

const cipherMistake = (method: string, key: Uint8Array, iv: Uint8Array): Effect.Effect<never> | undefined => {
  if (key.length !== 32) return mistake(`${method}: the key must be 32 bytes, not ${key.length}`)
  return iv.length === 12 ? undefined : mistake(`${method}: the iv must be 12 bytes, not ${iv.length}`)
}

// Each runtime has its own idea of a wrong length, from an exception to an abort of the process: none gets to see one.
const checked = (crypto: Crypto["Service"]): Crypto["Service"] => ({
  randomBytes: (size) =>
    within(size, 0, Number.MAX_SAFE_INTEGER)
      ? crypto.randomBytes(size)
      : mistake(`randomBytes: the size must be a whole number of bytes, not ${size}`),
  sha256: crypto.sha256,
  mac: (key, message) => macMistake("mac", key) ?? crypto.mac(key, message),
  verifyMac: (key, message, mac) => macMistake("verifyMac", key) ?? crypto.verifyMac(key, message, mac),
  hkdf: (ikm) => {
    const expand = crypto.hkdf(ikm)
    return (info, length) => {
      if (!within(length, 1, 8160)) return mistake(`hkdf: the length must be 1 to 8160 bytes, not ${length}`)
      return info.length > 1024
        ? mistake(`hkdf: the info must be at most 1024 bytes, not ${info.length}`)
        : expand(info, length)
    }
  },
  pbkdf2: (password, salt, options) => {
    const { iterations, length } = options
    if (!within(iterations, 1, 2 ** 31 - 1)) {
      return mistake(`pbkdf2: the iterations must be 1 to 2^31 - 1, not ${iterations}`)
    }
    return within(length, 1, 2 ** 29 - 1)
      ? crypto.pbkdf2(password, salt, options)
      : mistake(`pbkdf2: the length must be 1 to 2^29 - 1 bytes, not ${length}`)
  },
  encrypt: (key, iv, plaintext, aad) => cipherMistake("encrypt", key, iv) ?? crypto.encrypt(key, iv, plaintext, aad),
  decrypt: (key, iv, ciphertextAndTag, aad) =>
    cipherMistake("decrypt", key, iv) ?? crypto.decrypt(key, iv, ciphertextAndTag, aad)
})

/**
 * The primitives on node:crypto, synchronous but for PBKDF2: Node, Deno, Bun.
 *
 * **When to use**
 *
 * Use it to be sure of the faster of the two: opening a cookie takes a fifth to a
 * tenth of the time that it takes on WebCrypto.
 *
 * **Details**
 *
 * node:crypto offers several calls for the same thing, and which of them is the
 * fastest differs between runtimes and their versions. Building the layer takes
 * some milliseconds to find out.
 *
 * What is a function of its arguments is computed when it is called, and its effect
 * has succeeded: run twice, it gives the same array.
 *
 * **Gotchas**
 *
 * Building the layer dies where `process.getBuiltinModule` does not offer
 * node:crypto, as in browsers.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerNode: Layer.Layer<Crypto> = Layer.effect(
  Crypto,
  Effect.suspend(() => {
    const crypto = NodeCrypto.load()
    return crypto === undefined
      ? Effect.die(
        new Error("Crypto.layerNode: this runtime has no node:crypto; provide Crypto.layerWebCrypto instead")
      )
      : Effect.succeed(checked(NodeCrypto.make(crypto, NodeCrypto.probe(crypto))))
  })
)

/**
 * The primitives on WebCrypto: every runtime, browsers and Workers included.
 *
 * **Details**
 *
 * Runs on the `WebCrypto` reference of `effect/crypto`, which is
 * `globalThis.crypto` unless `WebCrypto.layer` says otherwise.
 *
 * **Gotchas**
 *
 * Browsers have `crypto.subtle` in secure contexts only: without it everything but
 * `randomBytes` dies.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWebCrypto: Layer.Layer<Crypto> = Layer.effect(
  Crypto,
  Effect.map(WebCrypto.make, checked)
).pipe(Layer.provide(WebCrypto.services))

/**
 * `layerNode` where the runtime offers node:crypto, `layerWebCrypto` elsewhere.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Crypto> = Layer.suspend(() =>
  NodeCrypto.load() === undefined ? layerWebCrypto : layerNode
)
