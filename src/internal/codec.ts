/**
 * How a version becomes a cookie and back: keys derived from its sid, the payload
 * sealed, the header authenticated, the value cut into chunks.
 */
import { Effect, Redacted } from "effect"
import type { Codec, CookieCodec, Presented, Sender, SetCookie, Successor } from "../CookieCodec.ts"
import { Crypto } from "../Crypto.ts"
import { SessionConfig } from "../SessionConfig.ts"
import { TooLarge } from "../SessionError.ts"
import { Flag } from "../SessionState.ts"
import type { Header, Payload, Placement, Refusal } from "../SessionState.ts"
import * as Attributes from "./attributes.ts"
import * as Base64Url from "./base64url.ts"
import * as CookieHeader from "./cookieHeader.ts"
import * as Deflate from "./deflate.ts"
import * as Layout from "./layout.ts"

/** As many cookies of one name as a request is searched for. */
const maxCandidates = 16

/** The parts of key material derived for AES-256-GCM. */
const keySize = 32
const ivSize = 12

const macKeySize = 32

/** What a random iv and the tag add to what is sealed. */
const sealedOverhead = ivSize + Layout.tagSize

const infoKeySize = 32

/** Bytes that `sealInfoKey` answers. */
export const sealedInfoKeySize: number = infoKeySize + sealedOverhead

/**
 * lua-resty-session's `remember_safety`: rounds of PBKDF2 that the remember cookie's key
 * takes, or HKDF.
 */
const iterations = { "None": undefined, "Low": 1_000, "Medium": 10_000, "High": 100_000, "Very High": 1_000_000 }

/** RFC 6265bis, section 5.5: what browsers cut longer lifetimes to. */
const longestLifetime = 400 * 24 * 60 * 60

const utf8 = new TextEncoder()

// A byte order mark is no JSON, and the decoder would hide it.
const text = new TextDecoder("utf-8", { ignoreBOM: true })

const concat = (head: Uint8Array, tail: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(head.length + tail.length)
  bytes.set(head)
  bytes.set(tail, head.length)
  return bytes
}

/** HKDF's `info` for a purpose: its name, then the raw sid of the version whose header this is. */
const infoFor = (purpose: string): (header: Uint8Array) => Uint8Array => {
  const prefix = utf8.encode(`${purpose}:`)
  return (header) => concat(prefix, Layout.sid(header))
}

const encryptionInfo = infoFor("encryption")
const authenticationInfo = infoFor("authentication")
const successorInfo = infoFor("successor")
const infoKeyInfo = infoFor("info")

// HTTP headers are bytes, which JavaScript shows as characters up to 255; the reference hashes the bytes.
const latin1 = (header: string): Uint8Array => {
  const bytes = new Uint8Array(header.length)
  for (let i = 0; i < header.length; i++) bytes[i] = header.charCodeAt(i)
  return bytes
}

const bindFlags = Flag.BindIp | Flag.BindScheme | Flag.BindUserAgent

/** What of the sender the flags bind to. Where nothing of it is known, there is nothing to hash. */
const boundTo = (flags: number, sender: Sender): Uint8Array | undefined => {
  const values = [
    (flags & Flag.BindIp) === 0 ? undefined : sender.ip,
    (flags & Flag.BindScheme) === 0 ? undefined : sender.scheme,
    (flags & Flag.BindUserAgent) === 0 ? undefined : sender.userAgent
  ].filter((value) => value !== undefined && value !== "")
  return values.length === 0 ? undefined : latin1(values.join("|"))
}

const bindMarker = utf8.encode("#")

const notBase64Url = /[^\w-]+/g

/** Of a cookie and its further chunks. */
const namesOf = (name: string): ReadonlyArray<string> => [
  name,
  ...Array.from({ length: Layout.maxCookies - 1 }, (_, i) => `${name}${i + 2}`)
]

const present = (bytes: Uint8Array): Presented => ({ header: Layout.read(bytes), bytes: Redacted.make(bytes) })

const noKey = (key: number): Effect.Effect<never> => Effect.die(new RangeError(`There is no session key ${key}`))

/** A payload as it is encrypted. */
interface Packed {
  /** Deflated, or not. */
  readonly plaintext: Uint8Array
  /** Characters of base64url. */
  readonly dataSize: number
  /** `Flag.Deflate`, or none. */
  readonly flags: number
}

/** What the two cookies have in common: everything that does not depend on a name. */
const prepare = Effect.gen(function*() {
  const crypto = yield* Crypto
  const settings = yield* SessionConfig
  const { deflate, inflate } = Deflate.make()

  const keys = yield* Effect.forEach(settings.keys, (key) => {
    const secret = Redacted.value(key)
    const ikm = typeof secret === "string" ? crypto.sha256(utf8.encode(secret)) : Effect.succeed(secret)
    return Effect.mapEager(ikm, (ikm) => ({ ikm: Redacted.make(ikm), expand: crypto.hkdf(ikm) }))
  })

  const derive = (key: number, info: Uint8Array, length: number): Effect.Effect<Uint8Array> =>
    keys[key]?.expand(info, length) ?? noKey(key)

  const stretch = (key: number, salt: Uint8Array, iterations: number, length: number): Effect.Effect<Uint8Array> => {
    const ikm = keys[key]?.ikm
    return ikm === undefined ? noKey(key) : crypto.pbkdf2(Redacted.value(ikm), salt, { iterations, length })
  }

  const compress = (plaintext: Uint8Array): Effect.Effect<Uint8Array> =>
    // What inflates to more than the limit would never open again.
    settings.compressionThreshold === 0 || plaintext.length <= settings.compressionThreshold ||
      plaintext.length > settings.inflateLimit
      ? Effect.succeed(plaintext)
      : Effect.mapEager(deflate(plaintext), (deflated) => deflated.length < plaintext.length ? deflated : plaintext)

  // A payload is measured when it is set, and sealed when it is saved, for one cookie or for two: mostly at once. To
  // look one up among all that wait would take longer than to pack it again.
  let last: { readonly payload: Payload; readonly packed: Packed } | undefined

  const packed = (payload: Payload): Effect.Effect<Packed> =>
    Effect.suspend(() => {
      if (last?.payload === payload) return Effect.succeed(last.packed)
      const encoded = utf8.encode(Layout.encodePayload(payload))
      return Effect.mapEager(compress(encoded), (plaintext) => {
        const packed: Packed = {
          plaintext,
          dataSize: Base64Url.encodedLength(plaintext.length),
          flags: plaintext === encoded ? 0 : Flag.Deflate
        }
        last = { payload, packed }
        return packed
      })
    })

  return { crypto, settings, keys, derive, stretch, packed, inflate }
})

type Prepared = Effect.Success<typeof prepare>

/** What tells the two cookies apart. */
interface Role {
  /** With the prefix. */
  readonly name: string
  /** The key and the iv of a payload: 44 bytes. */
  readonly payloadSecret: (key: number, bytes: Uint8Array) => Effect.Effect<Uint8Array>
  /** Attributes that depend on the version. */
  readonly lifetime: (header: Header) => string
}

const sessionRole = ({ derive, settings }: Prepared): Role => ({
  name: settings.cookieName,
  payloadSecret: (key, bytes) => derive(key, encryptionInfo(bytes), keySize + ivSize),
  lifetime: () => ""
})

const rememberRole = ({ derive, settings, stretch }: Prepared): Role => {
  const rounds = iterations[settings.rememberSafety]
  const { rememberRollingTimeout: timeout } = settings
  const age = timeout === 0 ? longestLifetime : Math.min(timeout, longestLifetime)
  return {
    name: settings.rememberCookieName,
    payloadSecret: (key, bytes) =>
      rounds === undefined
        ? derive(key, encryptionInfo(bytes), keySize + ivSize)
        : stretch(key, encryptionInfo(bytes), rounds, keySize + ivSize),
    // From the session's first save, as the reference counts.
    lifetime: ({ creationTime }) => `; Expires=${new Date((creationTime + age) * 1000).toUTCString()}; Max-Age=${age}`
  }
}

const makeCodec = (prepared: Prepared, { lifetime, name, payloadSecret }: Role): Codec => {
  const { crypto, derive, inflate, keys, packed, settings } = prepared
  const names = namesOf(name)
  const named = (name: string) => CookieHeader.named(name, settings.cookieNameExact)
  const session = named(name)
  const furtherChunks = names.slice(1).map(named)
  const room = Layout.room(name.length)
  // What is saved has to fit into the cookie that brings it back, too.
  const measured = settings.remember
    ? Layout.room(Math.max(settings.cookieName.length, settings.rememberCookieName.length))
    : room
  const attributesFor = Attributes.make(settings)

  /** What a MAC covers. The flags in the header decide what it is bound to, not the settings. */
  const messageOf = (bytes: Uint8Array, flags: number, sender: Sender): Effect.Effect<Uint8Array> => {
    const authenticated = Layout.authenticated(bytes)
    const bound = (flags & bindFlags) === 0 ? undefined : boundTo(flags, sender)
    return bound === undefined
      ? Effect.succeed(authenticated)
      : Effect.mapEager(crypto.sha256(bound), (hash) => concat(concat(authenticated, bindMarker), hash))
  }

  /** Sets a header's MAC in place. */
  const authenticate = (bytes: Uint8Array, key: number, sender: Sender): Effect.Effect<Presented> => {
    const presented = present(bytes)
    return Effect.flatMapEager(
      messageOf(bytes, presented.header.flags, sender),
      (message) =>
        Effect.flatMapEager(
          derive(key, authenticationInfo(bytes), macKeySize),
          (macKey) =>
            Effect.mapEager(crypto.mac(macKey, message), (mac) => {
              Layout.mac(bytes).set(mac)
              return presented
            })
        )
    )
  }

  /** What is to be encrypted, and what the header has to say of it. */
  const pack = (payload: Payload, placement: Placement) =>
    Effect.flatMapEager(packed(payload), (packed) => {
      const limit = placement === "Cookie" ? measured.all - Layout.headerCharacters : Layout.maxUint24
      return packed.dataSize <= limit
        ? Effect.succeed(packed)
        : Effect.fail(new TooLarge({ size: packed.dataSize, limit }))
    })

  const read = (plaintext: Uint8Array): Payload | Refusal => Layout.decodePayload(text.decode(plaintext))

  const chunks = (header: Header): number =>
    (header.flags & Flag.Storage) === 0 ? Layout.chunkCount(room, Layout.headerCharacters + header.dataSize) : 1

  /** Encrypts under a key that only this version yields. An iv of its own: several things are sealed for one version. */
  const sealFor = (
    presented: Presented,
    key: number,
    info: Uint8Array,
    plaintext: Uint8Array
  ): Effect.Effect<Uint8Array> =>
    Effect.flatMapEager(
      crypto.randomBytes(ivSize),
      (iv) =>
        Effect.flatMapEager(derive(key, info, keySize), (secret) =>
          Effect.mapEager(
            crypto.encrypt(secret, iv, plaintext, Layout.additionalData(Redacted.value(presented.bytes))),
            (sealed) => concat(iv, sealed)
          ))
    )

  const openFor = (
    presented: Presented,
    key: number,
    info: Uint8Array,
    sealed: Uint8Array
  ): Effect.Effect<Uint8Array | undefined> =>
    Effect.flatMapEager(derive(key, info, keySize), (secret) =>
      crypto.decrypt(
        secret,
        sealed.subarray(0, ivSize),
        sealed.subarray(ivSize),
        Layout.additionalData(Redacted.value(presented.bytes))
      ))

  return {
    find: (cookies) => session.all(cookies, maxCandidates),

    decode: (value) => {
      if (value.length < Layout.headerCharacters) return "InvalidHeader"
      const bytes = Base64Url.decode(value.slice(0, Layout.headerCharacters))
      // A copy: what is decoded may be a part of some larger memory, and this may be remembered for a while.
      return bytes?.length === Layout.headerSize ? present(new Uint8Array(bytes)) : "UndecodableHeader"
    },

    verify: (presented, sender) => {
      const bytes = Redacted.value(presented.bytes)
      const info = authenticationInfo(bytes)
      const mac = Layout.mac(bytes)
      const firstFrom = (key: number, message: Uint8Array): Effect.Effect<number> =>
        key === keys.length
          ? Effect.succeed(-1)
          : Effect.flatMapEager(derive(key, info, macKeySize), (macKey) =>
            Effect.flatMapEager(
              crypto.verifyMac(macKey, message, mac),
              (matches) => matches ? Effect.succeed(key) : firstFrom(key + 1, message)
            ))
      return Effect.flatMapEager(
        messageOf(bytes, presented.header.flags, sender),
        (message) => firstFrom(0, message)
      )
    },

    gather: ({ header }, value, cookies) => {
      const count = Layout.chunkCount(room, Layout.headerCharacters + header.dataSize)
      if (count > Layout.maxCookies) return "CookieSizeLimit"
      // One cookie may hold anything between header and payload. A size of 0 takes the whole value, and is refused below.
      let encoded = count === 1 ? value.slice(-header.dataSize) : value.slice(Layout.headerCharacters)
      for (const chunk of furtherChunks.slice(0, count - 1)) {
        const part = chunk.first(cookies)
        if (part === undefined) return "MissingChunk"
        encoded += part
      }
      return encoded.length === header.dataSize ? Base64Url.decode(encoded) ?? "UndecodablePayload" : "InvalidPayload"
    },

    open: (presented, key, ciphertext) => {
      const bytes = Redacted.value(presented.bytes)
      return Effect.flatMapEager(payloadSecret(key, bytes), (secret) =>
        Effect.flatMapEager(
          crypto.decrypt(
            secret.subarray(0, keySize),
            secret.subarray(keySize),
            concat(ciphertext, Layout.tag(bytes)),
            Layout.additionalData(bytes)
          ),
          (plaintext): Effect.Effect<Payload | Refusal> => {
            if (plaintext === undefined) return Effect.succeed("DecryptionFailed")
            if ((presented.header.flags & Flag.Deflate) === 0) return Effect.succeed(read(plaintext))
            return Effect.mapEager(
              inflate(plaintext, settings.inflateLimit),
              (inflated) => typeof inflated === "string" ? inflated : read(inflated)
            )
          }
        ))
    },

    measure: (payload, placement) => Effect.mapEager(pack(payload, placement), ({ dataSize }) => dataSize),

    seal: Effect.fnUntraced(function*({ creationTime, flags, payload, rollingOffset }, sender) {
      const stored = flags & Flag.Storage
      const { dataSize, flags: deflated, plaintext } = yield* pack(payload, stored === 0 ? "Cookie" : "Server")
      const bytes = Layout.write(yield* crypto.randomBytes(Layout.sidSize), {
        flags: stored | (flags & Flag.Forget) | deflated | settings.bindFlags,
        creationTime,
        rollingOffset,
        dataSize
      })
      const secret = yield* payloadSecret(0, bytes)
      const sealed = yield* crypto.encrypt(
        secret.subarray(0, keySize),
        secret.subarray(keySize),
        plaintext,
        Layout.additionalData(bytes)
      )
      const ciphertext = sealed.subarray(0, plaintext.length)
      Layout.tag(bytes).set(sealed.subarray(plaintext.length))
      const { header, bytes: redacted } = yield* authenticate(bytes, 0, sender)
      const value = Base64Url.encode(bytes) + (stored === 0 ? Base64Url.encode(ciphertext) : "")
      return { header, bytes: redacted, ciphertext, value: Redacted.make(value) }
    }),

    touch: (presented, key, idlingOffset, sender) =>
      Effect.suspend(() =>
        authenticate(Layout.withIdlingOffset(Redacted.value(presented.bytes), idlingOffset), key, sender)
      ),

    sid: ({ bytes }) => Redacted.make(Layout.sid(Redacted.value(bytes))),

    storageKey: (presented) => crypto.sha256(Layout.sid(Redacted.value(presented.bytes))),

    sealSuccessor: (old, successor, beside) => {
      const header = Redacted.value(successor.bytes)
      return sealFor(
        old,
        0,
        successorInfo(Redacted.value(old.bytes)),
        beside === undefined ? header : concat(header, Redacted.value(beside.bytes))
      )
    },

    openSuccessor: (old, sealed) => {
      const info = successorInfo(Redacted.value(old.bytes))
      const firstFrom = (key: number): Effect.Effect<Successor | undefined> =>
        key === keys.length
          ? Effect.undefined
          : Effect.flatMapEager(
            openFor(old, key, info, sealed),
            (opened) => opened === undefined ? firstFrom(key + 1) : Effect.succeed(toSuccessor(opened, key))
          )
      const headers = (sealed.length - sealedOverhead) / Layout.headerSize
      return headers === 1 || headers === 2 ? firstFrom(0) : Effect.undefined
    },

    sealInfoKey: (presented, infoKey) =>
      sealFor(presented, 0, infoKeyInfo(Redacted.value(presented.bytes)), Redacted.value(infoKey)),

    openInfoKey: (presented, key, sealed) =>
      sealed.length === sealedInfoKeySize
        ? Effect.mapEager(
          openFor(presented, key, infoKeyInfo(Redacted.value(presented.bytes)), sealed),
          (infoKey) => infoKey && Redacted.make(infoKey)
        )
        : Effect.undefined,

    setCookies: ({ header, value }, previousChunks, host) => {
      const characters = Redacted.value(value)
      const { clear, set } = attributesFor(host)
      const count = Layout.chunkCount(room, characters.length)
      return names.slice(0, Math.max(count, previousChunks)).map((name, i) => {
        const from = i === 0 ? 0 : room.first + (i - 1) * room.next
        return {
          name,
          rest: i < count ? characters.slice(from, room.first + i * room.next) + set + lifetime(header) : clear
        }
      })
    },

    setHeader: ({ bytes, header }, value, host) => {
      const size = (header.flags & Flag.Storage) === 0 ? header.dataSize : 0
      const payload = value.slice(Math.max(Layout.headerCharacters, value.length - size))
      // The client wrote this part and nothing has vouched for it: it must not become an attribute, or a header.
      const characters = payload.replace(notBase64Url, "")
      return {
        name,
        rest: Base64Url.encode(Redacted.value(bytes)) + characters + attributesFor(host).set + lifetime(header)
      }
    },

    clearCookies: (chunks, host) => {
      const { clear } = attributesFor(host)
      return names.slice(0, chunks).map((name) => ({ name, rest: clear }))
    },

    chunks,

    lastChunk: (cookies) => furtherChunks.findLastIndex((chunk) => chunk.first(cookies) !== undefined) + 2
  }
}

/** What the client will send back. */
export const valueOf = ({ rest }: SetCookie): string => rest.slice(0, rest.indexOf(";"))

const toSuccessor = (headers: Uint8Array, key: number): Successor => ({
  presented: present(headers.slice(0, Layout.headerSize)),
  key,
  beside: headers.length > Layout.headerSize ? present(headers.slice(Layout.headerSize)) : undefined
})

/** The cookies of a Cookie header that are a codec's: what stands under its name, and the chunks that it speaks of. */
const presentedNames = (codec: Codec, name: string) => (cookies: string): ReadonlyArray<string> => {
  const headers = codec.find(cookies).map(codec.decode).filter((presented) => typeof presented !== "string")
  return namesOf(name).slice(0, Math.max(1, ...headers.map(({ header }) => codec.chunks(header))))
}

/** The codec of both cookies. */
export const make: Effect.Effect<CookieCodec["Service"], never, Crypto | SessionConfig> = Effect.map(
  prepare,
  (prepared) => {
    const { cookieName, cookieNameExact, remember: remembers, rememberCookieName } = prepared.settings
    const session = makeCodec(prepared, sessionRole(prepared))
    const remember = makeCodec(prepared, rememberRole(prepared))
    const ofSession = presentedNames(session, cookieName)
    const ofRemember = presentedNames(remember, rememberCookieName)
    return {
      ...session,
      remember,
      strip: (cookies) =>
        CookieHeader.without(
          remembers ? [...ofSession(cookies), ...ofRemember(cookies)] : ofSession(cookies),
          cookieNameExact
        )(cookies)
    }
  }
)
