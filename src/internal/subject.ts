/** Subjects as an index keeps them. */
import { Effect, Redacted } from "effect"
import { Base64Url } from "effect/encoding"
import type { Crypto } from "../Crypto.ts"
import type { Settings } from "../SessionConfig.ts"

const encoder = new TextEncoder()
const info = encoder.encode("subject:")

/**
 * The spellings of a subject in an index, that of the primary key first: a keyed
 * hash for each configured key, so that a rotation loses nobody; the subject
 * itself where `hashSubject` is off.
 */
export const subjectHashes = (
  settings: Settings,
  crypto: Crypto["Service"]
): Effect.Effect<(subject: string) => Effect.Effect<ReadonlyArray<string>>> =>
  settings.hashSubject
    ? Effect.map(
      Effect.forEach(settings.keys, (key) => subjectKey(crypto, Redacted.value(key))),
      (keys) => (subject) =>
        Effect.forEach(
          keys,
          (key) => Effect.map(crypto.mac(key, encoder.encode(subject)), Base64Url.encode)
        )
    )
    : Effect.succeed((subject) => Effect.succeed([subject]))

const subjectKey = (crypto: Crypto["Service"], key: string | Uint8Array): Effect.Effect<Uint8Array> =>
  Effect.flatMap(
    typeof key === "string" ? crypto.sha256(encoder.encode(key)) : Effect.succeed(key),
    (ikm) => crypto.hkdf(ikm)(info, 32)
  )
