/**
 * Bytes of a session cookie: layout, chunks, MAC, sealed payload, attributes.
 *
 * Speaks the wire format of lua-resty-session 4 byte for byte.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer, Redacted } from "effect"
import { Crypto } from "./Crypto.ts"
import * as Attributes from "./internal/attributes.ts"
import * as Base64Url from "./internal/base64url.ts"
import * as CookieHeader from "./internal/cookieHeader.ts"
import * as Deflate from "./internal/deflate.ts"
import * as Layout from "./internal/layout.ts"
import { SessionConfig } from "./SessionConfig.ts"
import { TooLarge } from "./SessionError.ts"
import { Flag } from "./SessionState.ts"
import type { Header, Payload, Placement, Refusal } from "./SessionState.ts"

/**
 * A cookie header as presented: its fields, which nothing vouches for before
 * `verify`, and its bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Presented {
  readonly header: Header
  /** The 82 bytes. The sid in them is a bearer secret. */
  readonly bytes: Redacted.Redacted<Uint8Array>
}

/**
 * What the request says of its sender, for `bind`. Absent values do not take part.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sender {
  readonly ip: string | undefined
  readonly scheme: "http" | "https" | undefined
  readonly userAgent: string | undefined
}

/**
 * A sealed version: what goes into the cookie, and with server placement what
 * goes to the store.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sealed extends Presented {
  /** Sealed payload, without the tag, which is in the header. */
  readonly ciphertext: Uint8Array
  /** The cookie's value before it is cut into chunks: header, and with cookie placement payload. */
  readonly value: Redacted.Redacted<string>
}

/**
 * A `Set-Cookie` header in two parts.
 *
 * @category models
 * @since 0.1.0
 */
export interface SetCookie {
  /** With the prefix and the number of the chunk. */
  readonly name: string
  /** Value and attributes: all that follows `name=`. */
  readonly rest: string
}

/**
 * Cookies of one name to bytes and back.
 *
 * **Details**
 *
 * Whatever a client sends has a typed outcome, in time linear to its length: a
 * value, or the `Refusal` that the reference would give. What the program passes
 * must fit: times and offsets that their fields cannot hold, and keys that there
 * are not, die.
 *
 * @category models
 * @since 0.1.0
 */
export interface Codec {
  /**
   * The values of the cookie in a Cookie request header, in the order in
   * which they stand, at most sixteen: browsers send the one with the longest path
   * first, and a planted one must not hide ours.
   */
  readonly find: (cookies: string) => ReadonlyArray<string>

  /** The header in a cookie's value: its first 110 characters, of strict base64url. */
  readonly decode: (value: string) => Presented | Refusal

  /** The index of the key that the MAC verifies under (0 is the primary key), or -1. */
  readonly verify: (presented: Presented, sender: Sender) => Effect.Effect<number>

  /**
   * The ciphertext that belongs to a header, gathered from the value and its
   * chunks. How many there are follows from the header's `dataSize`, so verify it
   * first.
   */
  readonly gather: (presented: Presented, value: string, cookies: string) => Uint8Array | Refusal

  /** Decrypts, inflates and parses a payload. `key` is what `verify` answered. */
  readonly open: (presented: Presented, key: number, ciphertext: Uint8Array) => Effect.Effect<Payload | Refusal>

  /**
   * How many characters of base64url the payload will take where it is placed, or
   * that it does not fit: what `seal` will find.
   */
  readonly measure: (payload: Payload, placement: Placement) => Effect.Effect<number, TooLarge>

  /** Makes a new version, under a new sid and the primary key. */
  readonly seal: (version: {
    readonly payload: Payload
    /** Unix seconds. */
    readonly creationTime: number
    /** Seconds. */
    readonly rollingOffset: number
    /** `Flag.Storage` and `Flag.Forget` are taken from here; the others are the codec's. */
    readonly flags: number
  }, sender: Sender) => Effect.Effect<Sealed, TooLarge>

  /**
   * The same version with another idling offset, in seconds and at most 2^24 - 1,
   * under the key that verified it. Takes the place of the presented one in the
   * cookie; the payload stays as it is.
   */
  readonly touch: (
    presented: Presented,
    key: number,
    idlingOffset: number,
    sender: Sender
  ) => Effect.Effect<Presented>

  /** The version's sid, 32 bytes: a bearer secret. */
  readonly sid: (presented: Presented) => Redacted.Redacted<Uint8Array>

  /** SHA-256 of the version's sid: under what a store of our own finds it. */
  readonly storageKey: (presented: Presented) => Effect.Effect<Uint8Array>

  /**
   * Encrypts a successor's header so that only the holder of `old` can read it, and
   * with it the header of the other cookie, session or remember, that was set beside it.
   */
  readonly sealSuccessor: (
    old: Presented,
    successor: Presented,
    beside?: Presented | undefined
  ) => Effect.Effect<Uint8Array>

  /**
   * What `sealSuccessor` sealed, and the index of the key it was made under; or
   * `undefined` where it does not open.
   */
  readonly openSuccessor: (old: Presented, sealed: Uint8Array) => Effect.Effect<Successor | undefined>

  /** Encrypts 32 bytes, the key of a session's info, so that only the holder of this version can read them. */
  readonly sealInfoKey: (presented: Presented, infoKey: Redacted.Redacted<Uint8Array>) => Effect.Effect<Uint8Array>

  /** What `sealInfoKey` sealed, under the key that verified the version; or `undefined` where it does not open. */
  readonly openInfoKey: (
    presented: Presented,
    key: number,
    sealed: Uint8Array
  ) => Effect.Effect<Redacted.Redacted<Uint8Array> | undefined>

  /**
   * `Set-Cookie` headers for a version; chunks up to `previousChunks` that it no
   * longer needs are cleared. `host` is the request's, for `cookieDomain: "host"`.
   */
  readonly setCookies: (
    sealed: Sealed,
    previousChunks: number,
    host: string | undefined
  ) => ReadonlyArray<SetCookie>

  /** `Set-Cookie` for a header alone: the first chunk, with the rest of its value as presented. */
  readonly setHeader: (presented: Presented, value: string, host: string | undefined) => SetCookie

  /** `Set-Cookie` headers that delete so many chunks, with every attribute they were set with. */
  readonly clearCookies: (chunks: number, host: string | undefined) => ReadonlyArray<SetCookie>

  /** How many cookies a session with this header takes; more than nine are a `CookieSizeLimit`. */
  readonly chunks: (header: Header) => number

  /** The number of the last chunk in a Cookie header, whatever it holds; 1 where there is none. */
  readonly lastChunk: (cookies: string) => number
}

/**
 * What a superseded version leads to.
 *
 * @category models
 * @since 0.1.0
 */
export interface Successor {
  readonly presented: Presented
  /** The index of the key that both headers were made under. */
  readonly key: number
  /** The header of the other cookie that was set with it. */
  readonly beside: Presented | undefined
}

/**
 * The session cookie to bytes and back, and the remember cookie too: it has the same
 * layout, under another name, with a lifetime and a key that is costly to derive.
 *
 * @category services
 * @since 0.1.0
 */
export class CookieCodec extends Context.Service<
  CookieCodec,
  Codec & {
    readonly remember: Codec
    /**
     * A Cookie request header without the session's cookies, and those that remember it
     * where the setting says so; `undefined` if nothing is left. For proxies: a server
     * behind one has no use for a secret.
     */
    readonly strip: (cookies: string) => string | undefined
  }
>()("effect-session/CookieCodec") {}

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
    return Effect.map(ikm, (ikm) => ({ ikm: Redacted.make(ikm), expand: crypto.hkdf(ikm) }))
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
      : Effect.map(deflate(plaintext), (deflated) => deflated.length < plaintext.length ? deflated : plaintext)

  // A payload is measured when it is set, and sealed when it is saved, for one cookie or for two.
  const alreadyPacked = new WeakMap<Payload, Packed>()

  const packed = (payload: Payload): Effect.Effect<Packed> =>
    Effect.suspend(() => {
      const known = alreadyPacked.get(payload)
      if (known !== undefined) return Effect.succeed(known)
      const encoded = utf8.encode(Layout.encodePayload(payload))
      return Effect.map(compress(encoded), (plaintext) => {
        const packed: Packed = {
          plaintext,
          dataSize: Base64Url.encodedLength(plaintext.length),
          flags: plaintext === encoded ? 0 : Flag.Deflate
        }
        alreadyPacked.set(payload, packed)
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
      : Effect.map(crypto.sha256(bound), (hash) => concat(concat(authenticated, bindMarker), hash))
  }

  /** Sets a header's MAC in place. */
  const authenticate = (bytes: Uint8Array, key: number, sender: Sender): Effect.Effect<Presented> => {
    const presented = present(bytes)
    return Effect.flatMap(
      messageOf(bytes, presented.header.flags, sender),
      (message) =>
        Effect.flatMap(
          derive(key, authenticationInfo(bytes), macKeySize),
          (macKey) =>
            Effect.map(crypto.mac(macKey, message), (mac) => {
              Layout.mac(bytes).set(mac)
              return presented
            })
        )
    )
  }

  /** What is to be encrypted, and what the header has to say of it. */
  const pack = (payload: Payload, placement: Placement) =>
    Effect.flatMap(packed(payload), (packed) => {
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
    Effect.flatMap(
      crypto.randomBytes(ivSize),
      (iv) =>
        Effect.flatMap(derive(key, info, keySize), (secret) =>
          Effect.map(
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
    Effect.flatMap(derive(key, info, keySize), (secret) =>
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
      return bytes?.length === Layout.headerSize ? present(bytes) : "UndecodableHeader"
    },

    verify: (presented, sender) => {
      const bytes = Redacted.value(presented.bytes)
      const info = authenticationInfo(bytes)
      const mac = Layout.mac(bytes)
      const firstFrom = (key: number, message: Uint8Array): Effect.Effect<number> =>
        key === keys.length
          ? Effect.succeed(-1)
          : Effect.flatMap(derive(key, info, macKeySize), (macKey) =>
            Effect.flatMap(
              crypto.verifyMac(macKey, message, mac),
              (matches) => matches ? Effect.succeed(key) : firstFrom(key + 1, message)
            ))
      return Effect.flatMap(
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
      return Effect.flatMap(payloadSecret(key, bytes), (secret) =>
        Effect.flatMap(
          crypto.decrypt(
            secret.subarray(0, keySize),
            secret.subarray(keySize),
            concat(ciphertext, Layout.tag(bytes)),
            Layout.additionalData(bytes)
          ),
          (plaintext): Effect.Effect<Payload | Refusal> => {
            if (plaintext === undefined) return Effect.succeed("DecryptionFailed")
            if ((presented.header.flags & Flag.Deflate) === 0) return Effect.succeed(read(plaintext))
            return Effect.map(
              inflate(plaintext, settings.inflateLimit),
              (inflated) => typeof inflated === "string" ? inflated : read(inflated)
            )
          }
        ))
    },

    measure: (payload, placement) => Effect.map(pack(payload, placement), ({ dataSize }) => dataSize),

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
          : Effect.flatMap(
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
        ? Effect.map(
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

const make = Effect.map(prepare, (prepared) => {
  const { cookieName, cookieNameExact, remember: remembers, rememberCookieName } = prepared.settings
  const session = makeCodec(prepared, sessionRole(prepared))
  const remember = makeCodec(prepared, rememberRole(prepared))
  const ofSession = presentedNames(session, cookieName)
  const ofRemember = presentedNames(remember, rememberCookieName)
  return CookieCodec.of({
    ...session,
    remember,
    strip: (cookies) =>
      CookieHeader.without(
        remembers ? [...ofSession(cookies), ...ofRemember(cookies)] : ofSession(cookies),
        cookieNameExact
      )(cookies)
  })
})

/**
 * The codec for the settings at hand.
 *
 * **Details**
 *
 * What does not depend on a request is prepared when the layer is built: the
 * extract step of HKDF for each key, the attributes, the names of the chunks.
 *
 * A payload is encrypted under AES-256-GCM and a header is authenticated under
 * HMAC-SHA256, with keys that HKDF derives from the secret and the version's sid.
 *
 * **Gotchas**
 *
 * With `bind`, a sender of whom nothing is known (a Unix socket, no User-Agent)
 * gets a cookie that is not bound, as in lua-resty-session.
 *
 * **Example** (The cookie of a session)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect, Layer, Redacted } from "effect"
 * import * as CookieCodec from "effect-session/CookieCodec"
 * import * as Crypto from "effect-session/Crypto"
 * import * as SessionConfig from "effect-session/SessionConfig"
 *
 * const sender = { ip: "192.0.2.1", scheme: "https", userAgent: undefined } as const
 *
 * const cookies = Effect.gen(function*() {
 *   const codec = yield* CookieCodec.CookieCodec
 *   const sealed = yield* codec.seal({
 *     payload: [{ audience: "shop", data: { items: ["tea"] }, subject: undefined }],
 *     creationTime: 1795394320,
 *     rollingOffset: 0,
 *     flags: 0
 *   }, sender)
 *   return codec.setCookies(sealed, 1, undefined)
 * })
 *
 * const Codec = CookieCodec.layer.pipe(Layer.provide([
 *   SessionConfig.layer({ secret: Redacted.make("Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4") }),
 *   Crypto.layer
 * ]))
 * const [cookie] = await Effect.runPromise(Effect.provide(cookies, Codec))
 *
 * assert.equal(cookie?.name, "__Host-session")
 * assert.match(cookie.rest, /^[\w-]+; Path=\/; SameSite=Strict; Secure; HttpOnly$/)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<CookieCodec, never, SessionConfig | Crypto> = Layer.effect(CookieCodec, make)
