/**
 * The primitives on node:crypto, by the calls that are fastest on the runtime at
 * hand.
 *
 * What a call costs differs several times over between runtimes, and between
 * versions of one. A cipher whose key is passed as bytes takes four times as long as
 * one with a KeyObject on Node 24, and two thirds on Node 22 and Deno. `hkdfSync`
 * takes twice as long as HMACs of one-shot hashes on Node, and a fifth on Deno. So
 * there are arms which give the same bytes, and a probe that picks.
 */
import { Effect } from "effect"
import type * as NodeCrypto from "node:crypto"

type Module = typeof NodeCrypto

/** What node:crypto gets a key as. */
type Secret = (key: Uint8Array) => Uint8Array | NodeCrypto.KeyObject

/** SHA-256: writes the first `size` bytes of it. */
type Hash = (data: Uint8Array, bytes: Uint8Array, offset: number, size: number) => void

/** HMAC-SHA256: the first `size` bytes of it. */
type Hmac = (key: Uint8Array, message: Uint8Array, size: number) => Uint8Array

/** HKDF-SHA256 with an empty salt. */
type Hkdf = (ikm: Uint8Array) => (info: Uint8Array, length: number) => Uint8Array

/** One way to do it all. */
export interface Arms {
  readonly secret: Secret
  readonly hash: Hash
  readonly hkdf: Hkdf
}

const algorithm = "aes-256-gcm"
const tagSize = 16
const hashSize = 32
const blockSize = 64
const macSize = 16
const poolSize = 4096

/** Longer messages are hashed from memory of their own. */
const scratchSize = 1024

/** The longest `info` of HKDF. */
const maxInfo = 1024

const none = new Uint8Array(0)

/** node:crypto, where the runtime offers it: an import would keep the package out of bundles for browsers and workers. */
export const load = (): Module | undefined => globalThis.process?.getBuiltinModule?.("node:crypto")

/** Memory of its own, and none of the methods of Buffer, whose `slice` shares it. Deno answers with parts of a pool. */
const plain = (bytes: Uint8Array): Uint8Array =>
  bytes.buffer.byteLength === bytes.length ? new Uint8Array(bytes.buffer) : new Uint8Array(bytes)

/** Ways to pass a key. */
export const secrets = (crypto: Module): readonly [Secret, Secret] => [
  (key) => key,
  (key) => crypto.createSecretKey(key)
]

const digit = (code: number): number => code < 0x3a ? code - 0x30 : code - 0x57

/** Ways to hash. As text, because a Buffer costs more than the hash. */
export const hashes = (crypto: Module): readonly [Hash, Hash] => [
  (data, bytes, offset, size) => {
    const text = crypto.hash("sha256", data, "binary")
    for (let i = 0; i < size; i++) bytes[offset + i] = text.charCodeAt(i)
  },
  (data, bytes, offset, size) => {
    const text = crypto.hash("sha256", data, "hex")
    for (let i = 0; i < size; i++) {
      bytes[offset + i] = digit(text.charCodeAt(2 * i)) * 16 + digit(text.charCodeAt(2 * i + 1))
    }
  }
]

const sha256 = (hash: Hash, data: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(hashSize)
  hash(data, bytes, 0, hashSize)
  return bytes
}

/**
 * What the two hashes of an HMAC are taken of: a padded key with the message, and with
 * the inner hash. RFC 2104 on one-shot hashes, without an object whose life has to be
 * tracked, takes a third to a half of the time of `createHmac` on Node and Deno.
 */
interface Pads {
  readonly inner: Uint8Array
  readonly outer: Uint8Array
}

const padsFor = (messageSize: number): Pads => ({
  inner: new Uint8Array(blockSize + messageSize),
  outer: new Uint8Array(blockSize + hashSize)
})

const setKey = (hash: Hash, { inner, outer }: Pads, key: Uint8Array): void => {
  const start = key.length > blockSize ? sha256(hash, key) : key
  for (let i = 0; i < blockSize; i++) {
    const byte = start[i] ?? 0
    inner[i] = byte ^ 0x36
    outer[i] = byte ^ 0x5c
  }
}

/** Of a message of so many bytes, which stands behind the inner pad. */
const hmac = (
  hash: Hash,
  { inner, outer }: Pads,
  messageSize: number,
  bytes: Uint8Array,
  offset: number,
  size: number
): void => {
  hash(inner.subarray(0, blockSize + messageSize), outer, blockSize, hashSize)
  hash(outer, bytes, offset, size)
}

/** Under keys that differ each time. */
const hmacOf = (hash: Hash): Hmac => {
  const scratch = padsFor(scratchSize)
  return (key, message, size) => {
    const pads = message.length > scratchSize ? padsFor(message.length) : scratch
    setKey(hash, pads, key)
    pads.inner.set(message, blockSize)
    const bytes = new Uint8Array(size)
    hmac(hash, pads, message.length, bytes, 0, size)
    return bytes
  }
}

/** RFC 5869: extracts once, and keeps the padded key that it expands with. */
const hkdfOf = (hash: Hash): Hkdf => (ikm) => {
  const pads = padsFor(hashSize + maxInfo + 1)
  setKey(hash, pads, hmacOf(hash)(new Uint8Array(hashSize), ikm, hashSize))
  const { inner } = pads
  return (info, length) => {
    const okm = new Uint8Array(length)
    let previous = 0
    for (let start = 0, counter = 1; start < length; start += hashSize, counter++) {
      inner.set(info, blockSize + previous)
      inner[blockSize + previous + info.length] = counter
      // Each block is a part of the message of the next one.
      hmac(hash, pads, previous + info.length + 1, inner, blockSize, hashSize)
      okm.set(inner.subarray(blockSize, blockSize + Math.min(hashSize, length - start)), start)
      previous = hashSize
    }
    return okm
  }
}

/** Ways to derive keys. */
export const hkdfs = (crypto: Module, hash: Hash): readonly [Hkdf, Hkdf] => [
  hkdfOf(hash),
  (ikm) => {
    const key = crypto.createSecretKey(ikm)
    return (info, length) => new Uint8Array(crypto.hkdfSync("sha256", key, none, info, length))
  }
]

// Cloudflare's node:crypto fails on empty input, which has no effect anyway.
const feed = (
  cipher: NodeCrypto.CipherGCM | NodeCrypto.DecipherGCM,
  input: Uint8Array,
  aad: Uint8Array
): Uint8Array => {
  if (aad.length > 0) cipher.setAAD(aad)
  return input.length > 0 ? cipher.update(input) : none
}

const encrypt = (
  crypto: Module,
  key: ReturnType<Secret>,
  iv: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array
): Uint8Array => {
  const sealing = crypto.createCipheriv(algorithm, key, iv, { authTagLength: tagSize })
  const ciphertext = feed(sealing, plaintext, aad)
  sealing.final()
  const sealed = new Uint8Array(ciphertext.length + tagSize)
  sealed.set(ciphertext)
  sealed.set(sealing.getAuthTag(), ciphertext.length)
  return sealed
}

// All that can go wrong at the end is the tag, and node:crypto has no other way to say so than to throw.
const verifies = (opening: NodeCrypto.DecipherGCM): boolean => {
  try {
    opening.final()
    return true
  } catch {
    return false
  }
}

const decrypt = (
  crypto: Module,
  key: ReturnType<Secret>,
  iv: Uint8Array,
  sealed: Uint8Array,
  aad: Uint8Array
): Uint8Array | undefined => {
  const end = sealed.length - tagSize
  if (end < 0) return undefined
  const opening = crypto.createDecipheriv(algorithm, key, iv, { authTagLength: tagSize })
  opening.setAuthTag(sealed.subarray(end))
  const plaintext = feed(opening, sealed.subarray(0, end), aad)
  return verifies(opening) ? plain(plaintext) : undefined
}

/** Random bytes from a pool: a call into native code for 32 of them costs thirty times as much. */
const pooled = (crypto: Module): (size: number) => Uint8Array => {
  const pool = new Uint8Array(poolSize)
  let used = poolSize
  return (size) => {
    if (size > poolSize) return crypto.randomFillSync(new Uint8Array(size))
    if (used + size > poolSize) {
      crypto.randomFillSync(pool)
      used = 0
    }
    const taken = pool.subarray(used, used + size)
    used += size
    const bytes = taken.slice()
    taken.fill(0)
    return bytes
  }
}

/** The primitives on given arms. Lengths are taken to be right. */
export const make = (crypto: Module, { hash, hkdf, secret }: Arms) => {
  const randomBytes = pooled(crypto)
  const hmac = hmacOf(hash)
  // But for random bytes, these are functions of their arguments: computed at once, they take no turn of a fiber.
  return {
    randomBytes: (size: number) => Effect.sync(() => randomBytes(size)),
    sha256: (data: Uint8Array) => Effect.succeed(sha256(hash, data)),
    mac: (key: Uint8Array, message: Uint8Array) => Effect.succeed(hmac(key, message, macSize)),
    verifyMac: (key: Uint8Array, message: Uint8Array, mac: Uint8Array) =>
      Effect.succeed(mac.length === macSize && crypto.timingSafeEqual(hmac(key, message, macSize), mac)),
    hkdf: (ikm: Uint8Array) => {
      const expand = hkdf(ikm)
      return (info: Uint8Array, length: number) => Effect.succeed(expand(info, length))
    },
    pbkdf2: (
      password: Uint8Array,
      salt: Uint8Array,
      { iterations, length }: { readonly iterations: number; readonly length: number }
    ) =>
      Effect.callback<Uint8Array>((resume) => {
        crypto.pbkdf2(
          password,
          salt,
          iterations,
          length,
          "sha256",
          (error, key) => resume(error ? Effect.die(error) : Effect.succeed(plain(key)))
        )
      }),
    encrypt: (key: Uint8Array, iv: Uint8Array, plaintext: Uint8Array, aad: Uint8Array) =>
      Effect.succeed(encrypt(crypto, secret(key), iv, plaintext, aad)),
    decrypt: (key: Uint8Array, iv: Uint8Array, ciphertextAndTag: Uint8Array, aad: Uint8Array) =>
      Effect.succeed(decrypt(crypto, secret(key), iv, ciphertextAndTag, aad))
  }
}

const timed = (run: () => unknown): number => {
  const start = performance.now()
  for (let i = 0; i < 4; i++) run()
  return performance.now() - start
}

/**
 * The second arm where it is more than `lead` times as fast. By the quickest of some
 * short rounds, because whatever else the machine does only adds to the others. Where
 * the clock stands still, as on Workers, it is the first.
 */
const quicker = <Arm>([first, second]: readonly [Arm, Arm], lead: number, run: (arm: Arm) => unknown): Arm => {
  let ofFirst = Number.POSITIVE_INFINITY
  let ofSecond = Number.POSITIVE_INFINITY
  for (let round = 0; round < 8; round++) {
    ofFirst = Math.min(ofFirst, timed(() => run(first)))
    ofSecond = Math.min(ofSecond, timed(() => run(second)))
  }
  return lead * ofSecond < ofFirst ? second : first
}

/** The arms that are fastest here and now; takes a few milliseconds. */
export const probe = (crypto: Module): Arms => {
  // Nothing is sealed with these: only the time is of interest, and on Workers there are no random bytes yet.
  const key = new Uint8Array(32)
  const iv = new Uint8Array(12)
  const message = new Uint8Array(64)
  const hash = quicker(hashes(crypto), 1.25, (hash) => sha256(hash, message))
  return {
    hash,
    secret: quicker(secrets(crypto), 1.25, (secret) => encrypt(crypto, secret(key), iv, message, none)),
    // Code of ours is not compiled yet when it is timed, and is going to be about twice as fast.
    hkdf: quicker(hkdfs(crypto, hash), 2, (hkdf) => {
      const expand = hkdf(key)
      // As for a cookie: a key and an iv for its payload, and a key for its MAC.
      return [expand(message, 44), expand(message, 32)]
    })
  }
}
