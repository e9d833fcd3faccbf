/**
 * The primitives on WebCrypto, by way of `effect/crypto`.
 */
import { Effect, Layer } from "effect"
import { Aead, Digest, Kdf, Mac, SecureRandom } from "effect/crypto"

const macSize = 16

/** What `make` is built on, from the `WebCrypto` reference. */
export const services = Layer.mergeAll(
  Aead.layerWebCrypto,
  Digest.layerWebCrypto,
  Kdf.layerWebCrypto,
  Mac.layerWebCrypto
).pipe(Layer.provideMerge(SecureRandom.layerWebCrypto))

/** The primitives. Lengths are taken to be right: what else is wrong with an argument is a defect. */
export const make = Effect.gen(function*() {
  const aead = yield* Aead.Aead
  const digest = yield* Digest.Digest
  const kdf = yield* Kdf.Kdf
  const hmac = yield* Mac.Mac
  const random = yield* SecureRandom.SecureRandom

  const mac = (key: Uint8Array, message: Uint8Array): Effect.Effect<Uint8Array> =>
    Mac.key(Mac.hmacSha256, key).pipe(
      Effect.flatMap((key) => hmac.sign(key, message)),
      Effect.map((bytes) => bytes.slice(0, macSize)),
      Effect.orDie
    )

  return {
    randomBytes: random.randomBytes,
    sha256: (data: Uint8Array) => digest.digest(Digest.sha256, data),
    mac,
    verifyMac: (key: Uint8Array, message: Uint8Array, presented: Uint8Array) =>
      Effect.map(mac(key, message), (expected) => Mac.timingSafeEqual(expected, presented)),
    hkdf: (ikm: Uint8Array) => {
      const secret = ikm.slice()
      return (info: Uint8Array, length: number) =>
        Effect.orDie(kdf.derive(Kdf.hkdfSha256, secret, { salt: new Uint8Array(0), info, length }))
    },
    pbkdf2: (
      password: Uint8Array,
      salt: Uint8Array,
      { iterations, length }: { readonly iterations: number; readonly length: number }
    ) => Effect.orDie(kdf.derive(Kdf.pbkdf2({ hash: Digest.sha256, iterations }), password, { salt, length })),
    encrypt: (key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array, aad: Uint8Array) =>
      Aead.key(Aead.aes256Gcm, key).pipe(
        Effect.flatMap((key) => aead.encrypt(key, plaintext, { nonce: iv, aad })),
        Effect.orDie
      ),
    decrypt: (key: Uint8Array, iv: Uint8Array, ciphertextAndTag: Uint8Array, aad: Uint8Array) =>
      Aead.key(Aead.aes256Gcm, key).pipe(
        Effect.flatMap((key) => aead.decrypt(key, ciphertextAndTag, { nonce: iv, aad })),
        Effect.catchReason("CryptoError", "DecryptionFailed", () => Effect.undefined),
        Effect.orDie
      )
  }
})
