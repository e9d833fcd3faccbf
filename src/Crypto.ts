/**
 * The primitives that sessions are made of, behind an interface that can be read
 * at a glance.
 *
 * @since 0.1.0
 */
import type { Effect } from "effect"
import { Context } from "effect"

/**
 * Random bytes, SHA-256, HMAC, HKDF, PBKDF2 and AES-256-GCM.
 *
 * **Details**
 *
 * Every operation is total: wrong lengths are a programmer's mistake and die; a
 * tag or a MAC that does not verify is a value.
 *
 * @category services
 * @since 0.1.0
 */
export class Crypto extends Context.Service<Crypto, {
  /** `size` bytes that nobody can predict, and that are handed out once. */
  readonly randomBytes: (size: number) => Effect.Effect<Uint8Array>

  /** SHA-256: 32 bytes. */
  readonly sha256: (data: Uint8Array) => Effect.Effect<Uint8Array>

  /** HMAC-SHA256, its first 16 bytes. */
  readonly mac: (key: Uint8Array, message: Uint8Array) => Effect.Effect<Uint8Array>

  /** Whether `mac` is the MAC of `message`, compared in constant time. */
  readonly verifyMac: (key: Uint8Array, message: Uint8Array, mac: Uint8Array) => Effect.Effect<boolean>

  /**
   * HKDF-SHA256 with an empty salt, RFC 5869, in its two steps: extract from the
   * key material once, expand for each `info`.
   */
  readonly hkdf: (ikm: Uint8Array) => (info: Uint8Array, length: number) => Effect.Effect<Uint8Array>

  /** PBKDF2-HMAC-SHA256, off the event loop. */
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
