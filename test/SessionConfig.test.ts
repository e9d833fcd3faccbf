import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Duration, Effect, Layer, Logger, Redacted } from "effect"
import { Buffer } from "node:buffer"
import { inspect } from "node:util"
import * as SessionConfig from "../src/SessionConfig.ts"
import { InvalidConfig, SessionError } from "../src/SessionError.ts"

const text = "uY3fQ9vLr7Tz1Kc5Xw8Bn2Md6Gh4Js0P"
const oldText = "Ae4mAf2Lh9dBs6cYr1Tu8oXv5Jn0kZ3q"
const secret = Redacted.make(text)
const oldSecret = Redacted.make(oldText)
const bytes = Uint8Array.from({ length: 32 }, (_, i) => 7 * i + 1)
const oldBytes = Uint8Array.from({ length: 32 }, (_, i) => 5 * i + 2)
const ikm = Redacted.make(bytes)
const oldIkm = Redacted.make(oldBytes)

const { make } = SessionConfig

/** For what TypeScript would not let through. */
const untyped = (options: object): SessionConfig.Options => options

const refuse = Effect.fnUntraced(function*(options: SessionConfig.Options) {
  const error = yield* Effect.flip(make(options))
  assert.instanceOf(error, SessionError)
  assert.instanceOf(error.reason, InvalidConfig)
  return error.reason
})

/** The settings, and what was logged at level Warn while they were made. */
const makeLogged = Effect.fnUntraced(function*(options: SessionConfig.Options) {
  const warnings: Array<string> = []
  const logger = Logger.make(({ logLevel, message }) => {
    assert.strictEqual(logLevel, "Warn")
    warnings.push(String(message))
  })
  const settings = yield* make(options).pipe(Effect.provide(Logger.layer([logger])))
  return { settings, warnings }
})

const reveal = (settings: SessionConfig.Settings) =>
  settings.keys.map((key) => Redacted.value<string | Uint8Array>(key))

/** To compare settings: all `Redacted` are alike to an assertion. */
const plain = (settings: SessionConfig.Settings) => ({ ...settings, keys: reveal(settings) })

const assertSame = (actual: SessionConfig.Settings, expected: SessionConfig.Settings) =>
  assert.deepStrictEqual(plain(actual), plain(expected))

/** Every setting but `compatibility`, as a variable says it and as the options do. */
const environment = {
  secret: ["SESSION_SECRET", text, secret],
  secretFallbacks: ["SESSION_SECRET_FALLBACKS", `${oldText}, ${oldText.toLowerCase()}`, [
    oldSecret,
    Redacted.make(oldText.toLowerCase())
  ]],
  ikm: ["SESSION_IKM", Buffer.from(bytes).toString("base64"), ikm],
  ikmFallbacks: ["SESSION_IKM_FALLBACKS", Buffer.from(oldBytes).toString("base64url"), [oldIkm]],
  cookiePrefix: ["SESSION_COOKIE_PREFIX", "__Secure-", "__Secure-"],
  cookieName: ["SESSION_COOKIE_NAME", "sid", "sid"],
  cookiePath: ["SESSION_COOKIE_PATH", "/shop", "/shop"],
  cookieDomain: ["SESSION_COOKIE_DOMAIN", "example.com", "example.com"],
  cookieHttpOnly: ["SESSION_COOKIE_HTTP_ONLY", "no", false],
  cookieSecure: ["SESSION_COOKIE_SECURE", "true", true],
  cookieSameSite: ["SESSION_COOKIE_SAME_SITE", "Strict", "Strict"],
  cookiePriority: ["SESSION_COOKIE_PRIORITY", "High", "High"],
  cookieSameParty: ["SESSION_COOKIE_SAME_PARTY", "1", true],
  cookiePartitioned: ["SESSION_COOKIE_PARTITIONED", "on", true],
  remember: ["SESSION_REMEMBER", "on", true],
  rememberSafety: ["SESSION_REMEMBER_SAFETY", "Very High", "Very High"],
  rememberCookieName: ["SESSION_REMEMBER_COOKIE_NAME", "keep", "keep"],
  rememberRollingTimeout: ["SESSION_REMEMBER_ROLLING_TIMEOUT", "1 day", "1 day"],
  rememberAbsoluteTimeout: ["SESSION_REMEMBER_ABSOLUTE_TIMEOUT", "10 days", "10 days"],
  audience: ["SESSION_AUDIENCE", "shop", "shop"],
  subject: ["SESSION_SUBJECT", "alice", "alice"],
  enforceSameSubject: ["SESSION_ENFORCE_SAME_SUBJECT", "yes", true],
  staleTtl: ["SESSION_STALE_TTL", "5 seconds", "5 seconds"],
  idlingTimeout: ["SESSION_IDLING_TIMEOUT", "5 minutes", "5 minutes"],
  rollingTimeout: ["SESSION_ROLLING_TIMEOUT", "30 minutes", "30 minutes"],
  absoluteTimeout: ["SESSION_ABSOLUTE_TIMEOUT", "0 seconds", 0],
  touchThreshold: ["SESSION_TOUCH_THRESHOLD", "30 seconds", "30 seconds"],
  compressionThreshold: ["SESSION_COMPRESSION_THRESHOLD", "0", 0],
  inflateLimit: ["SESSION_INFLATE_LIMIT", "1024", 1024],
  bind: ["SESSION_BIND", "scheme, user-agent", ["scheme", "user-agent"]],
  hashStorageKey: ["SESSION_HASH_STORAGE_KEY", "true", true],
  hashSubject: ["SESSION_HASH_SUBJECT", "y", true],
  storeMetadata: ["SESSION_STORE_METADATA", "true", true],
  responseHeaders: ["SESSION_RESPONSE_HEADERS", "timeout,idling-timeout", ["timeout", "idling-timeout"]],
  requestHeaders: ["SESSION_REQUEST_HEADERS", "subject", ["subject"]],
  cookieCacheSize: ["SESSION_COOKIE_CACHE_SIZE", "0", 0],
  commitTimeout: ["SESSION_COMMIT_TIMEOUT", "500 millis", "500 millis"],
  onGone: ["SESSION_ON_GONE", "fail", "fail"],
  onReuse: ["SESSION_ON_REUSE", "revoke", "revoke"]
} satisfies {
  readonly [S in Exclude<keyof SessionConfig.Options, "compatibility">]-?: readonly [
    variable: string,
    text: string,
    value: SessionConfig.Options[S]
  ]
}

const makeFromEnv = (env: Record<string, string>, options?: SessionConfig.Options) =>
  Effect.provide(
    SessionConfig.SessionConfig,
    SessionConfig.layerConfig(options).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env }))))
  )

describe("SessionConfig", () => {
  describe("defaults", () => {
    it.effect("are all the settings but the secret", () =>
      Effect.gen(function*() {
        const { settings, warnings } = yield* makeLogged({ secret })
        assert.deepStrictEqual(plain(settings), {
          keys: [text],
          cookieName: "__Host-session",
          cookieNameExact: true,
          cookiePath: "/",
          cookieDomain: undefined,
          cookieHttpOnly: true,
          cookieSecure: true,
          cookieSameSite: "Strict",
          cookiePriority: undefined,
          cookieSameParty: false,
          cookiePartitioned: false,
          remember: false,
          rememberSafety: "Medium",
          rememberCookieName: "__Host-remember",
          rememberRollingTimeout: 604_800,
          rememberAbsoluteTimeout: 2_592_000,
          audience: "default",
          subject: undefined,
          enforceSameSubject: false,
          staleTtl: 10,
          idlingTimeout: 900,
          rollingTimeout: 3600,
          absoluteTimeout: 86_400,
          touchThreshold: 60,
          compressionThreshold: 1024,
          inflateLimit: 65_536,
          bindFlags: 0,
          hashStorageKey: true,
          hashSubject: true,
          storeMetadata: true,
          responseHeaders: [],
          requestHeaders: [],
          cookieCacheSize: 4_194_304,
          commitTimeout: 5000,
          onGone: "drop",
          onReuse: "ignore",
          compatibility: undefined
        })
        assert.deepStrictEqual(warnings, [])
      }))

    it.effect("stand in for an explicit undefined", () =>
      Effect.gen(function*() {
        const settings = yield* make({ secret, cookiePrefix: undefined, idlingTimeout: undefined, ikm: undefined })
        assertSame(settings, yield* make({ secret }))
      }))
  })

  describe("settings", () => {
    it.effect("are what was given", () =>
      Effect.gen(function*() {
        const settings = yield* make({
          secret,
          secretFallbacks: [oldSecret],
          cookiePrefix: "",
          cookieName: "sid",
          cookiePath: "/shop",
          cookieDomain: "example.com",
          cookieHttpOnly: false,
          cookieSecure: false,
          cookieSameSite: "Lax",
          cookiePriority: "High",
          rememberSafety: "Very High",
          rememberCookieName: "keep",
          rememberRollingTimeout: "1 day",
          rememberAbsoluteTimeout: "2 days",
          audience: "shop",
          subject: "alice",
          enforceSameSubject: true,
          staleTtl: 0,
          idlingTimeout: Duration.minutes(5),
          rollingTimeout: { minutes: 30, seconds: undefined },
          absoluteTimeout: [7200, 0],
          touchThreshold: 30_000n * 1_000_000n,
          compressionThreshold: 0,
          inflateLimit: 1024,
          bind: ["ip", "scheme", "user-agent"],
          hashSubject: false,
          storeMetadata: false,
          responseHeaders: ["timeout"],
          requestHeaders: ["subject", "audience"],
          cookieCacheSize: 0,
          commitTimeout: 1,
          onGone: "fail",
          onReuse: "revoke"
        })
        assert.deepStrictEqual(plain(settings), {
          keys: [text, oldText],
          cookieName: "sid",
          cookieNameExact: false,
          cookiePath: "/shop",
          cookieDomain: "example.com",
          cookieHttpOnly: false,
          cookieSecure: false,
          cookieSameSite: "Lax",
          cookiePriority: "High",
          cookieSameParty: false,
          cookiePartitioned: false,
          remember: false,
          rememberSafety: "Very High",
          rememberCookieName: "keep",
          rememberRollingTimeout: 86_400,
          rememberAbsoluteTimeout: 172_800,
          audience: "shop",
          subject: "alice",
          enforceSameSubject: true,
          staleTtl: 0,
          idlingTimeout: 300,
          rollingTimeout: 1800,
          absoluteTimeout: 7200,
          touchThreshold: 30,
          compressionThreshold: 0,
          inflateLimit: 1024,
          bindFlags: 0x0700,
          hashStorageKey: true,
          hashSubject: false,
          storeMetadata: false,
          responseHeaders: ["timeout"],
          requestHeaders: ["subject", "audience"],
          cookieCacheSize: 0,
          commitTimeout: 1,
          onGone: "fail",
          onReuse: "revoke",
          compatibility: undefined
        })
      }))

    it.effect("the primary key comes first, and a secret may be the past of an ikm", () =>
      Effect.gen(function*() {
        assert.deepStrictEqual(reveal(yield* make({ ikm, ikmFallbacks: [oldIkm] })), [bytes, oldBytes])
        assert.deepStrictEqual(reveal(yield* make({ ikm, secretFallbacks: [oldSecret] })), [bytes, oldText])
        assert.deepStrictEqual(reveal(yield* make({ secret, ikmFallbacks: [oldIkm] })), [text, oldBytes])
        assert.deepStrictEqual(reveal(yield* make({ secret, secretFallbacks: [oldSecret], ikmFallbacks: [] })), [
          text,
          oldText
        ])
      }))

    it.effect("a secret of 32 bytes may have fewer characters", () =>
      Effect.gen(function*() {
        const umlauts = "äöüÄÖÜßéàâçèêëîï"
        assert.strictEqual(umlauts.length, 16)
        assert.deepStrictEqual(reveal(yield* make({ secret: Redacted.make(umlauts) })), [umlauts])
      }))

    it.effect("times are rounded down to seconds, except for commitTimeout", () =>
      Effect.gen(function*() {
        const settings = yield* make({ secret, idlingTimeout: "899.9 seconds", staleTtl: 1999, commitTimeout: 1500 })
        assert.deepStrictEqual([settings.idlingTimeout, settings.staleTtl, settings.commitTimeout], [899, 1, 1500])
      }))

    it.effect("zero disables a timeout, and lifts its limit on the others", () =>
      Effect.gen(function*() {
        const settings = yield* make({ secret, rollingTimeout: 0, absoluteTimeout: 0, idlingTimeout: "30 days" })
        assert.deepStrictEqual(
          [settings.idlingTimeout, settings.rollingTimeout, settings.absoluteTimeout],
          [2_592_000, 0, 0]
        )
      }))

    it.effect("timeouts may be equal", () =>
      Effect.gen(function*() {
        const settings = yield* make({
          secret,
          idlingTimeout: "1 hour",
          rollingTimeout: "1 hour",
          absoluteTimeout: "1 hour"
        })
        assert.strictEqual(settings.idlingTimeout, 3600)
      }))

    for (const cookieDomain of ["", "localhost"]) {
      it.effect(`cookieDomain ${JSON.stringify(cookieDomain)} is none, and goes with every prefix`, () =>
        Effect.gen(function*() {
          assert.strictEqual((yield* make({ secret, cookieDomain })).cookieDomain, undefined)
          assert.strictEqual((yield* make({ secret, cookieDomain, cookiePrefix: "" })).cookieDomain, undefined)
        }))
    }

    for (const cookieDomain of ["host", "example.com", "a-b.EXAMPLE.co.uk", "xn--bcher-kva.example", "intranet"]) {
      it.effect(`cookieDomain "${cookieDomain}" is accepted`, () =>
        Effect.gen(function*() {
          const settings = yield* make({ secret, cookiePrefix: "__Secure-", cookieDomain })
          assert.strictEqual(settings.cookieDomain, cookieDomain)
          assert.strictEqual(settings.cookieName, "__Secure-session")
        }))
    }

    it.effect("SameSite=None keeps the cookie Secure", () =>
      Effect.gen(function*() {
        const settings = yield* make({ secret, cookiePrefix: "", cookieSameSite: "None", cookiePartitioned: true })
        assert.strictEqual(settings.cookieSecure, true)
      }))

    it.effect("bind sets one flag each", () =>
      Effect.gen(function*() {
        assert.strictEqual((yield* make({ secret, bind: ["ip"] })).bindFlags, 0x0100)
        assert.strictEqual((yield* make({ secret, bind: ["scheme"] })).bindFlags, 0x0200)
        assert.strictEqual((yield* make({ secret, bind: ["user-agent"] })).bindFlags, 0x0400)
      }))
  })

  describe("refuses", () => {
    interface Refusal {
      readonly options: SessionConfig.Options
      readonly setting: string
      readonly problem: string
      readonly fix: string
      /** What `compatibility` does about it; nothing, if not said. */
      readonly compatible?: "warned" | "accepted"
    }

    const openssl = "openssl rand -base64 32"
    const short = Redacted.make("0123456789abcdefghijklmnopqrstu")
    const repeated = Redacted.make("z".repeat(40))
    const placeholder = Redacted.make("ChangeMe-before-production-please!")
    const prefix = { cookiePrefix: "" } as const

    const refusals: Record<string, Refusal> = {
      "a missing secret": { options: {}, setting: "secret", problem: "missing", fix: openssl },
      "an empty secret": {
        options: { secret: Redacted.make("") },
        setting: "secret",
        problem: "fewer than 32 bytes",
        fix: openssl,
        compatible: "warned"
      },
      "a secret of 31 bytes": {
        options: { secret: short },
        setting: "secret",
        problem: "fewer than 32 bytes",
        fix: openssl,
        compatible: "warned"
      },
      "a secret of one repeated character": {
        options: { secret: repeated },
        setting: "secret",
        problem: "can be guessed",
        fix: openssl,
        compatible: "warned"
      },
      "a secret of one repeated word": {
        options: { secret: Redacted.make("password".repeat(5)) },
        setting: "secret",
        problem: "can be guessed",
        fix: openssl,
        compatible: "warned"
      },
      "a placeholder": {
        options: { secret: placeholder },
        setting: "secret",
        problem: "placeholder",
        fix: openssl,
        compatible: "warned"
      },
      "a secret that ends with a line break": {
        options: { secret: Redacted.make(`${text}\n`) },
        setting: "secret",
        problem: "white space",
        fix: "Remove it",
        compatible: "warned"
      },
      "a short fallback": {
        options: { secret, secretFallbacks: [oldSecret, short] },
        setting: "secretFallbacks",
        problem: "fewer than 32 bytes",
        fix: openssl,
        compatible: "warned"
      },
      "a guessable fallback": {
        options: { secret, secretFallbacks: [repeated] },
        setting: "secretFallbacks",
        problem: "can be guessed",
        fix: openssl,
        compatible: "warned"
      },
      "a fallback with white space": {
        options: { secret, secretFallbacks: [Redacted.make(` ${oldText}`)] },
        setting: "secretFallbacks",
        problem: "white space",
        fix: "Remove it",
        compatible: "warned"
      },
      "a fallback that is the secret": {
        options: { secret, secretFallbacks: [Redacted.make(text)] },
        setting: "secretFallbacks",
        problem: "repeats a key",
        fix: "Leave it out",
        compatible: "warned"
      },
      "a fallback that is there twice": {
        options: { secret, secretFallbacks: [oldSecret, Redacted.make(oldText)] },
        setting: "secretFallbacks",
        problem: "repeats a key",
        fix: "Leave it out",
        compatible: "warned"
      },
      "a secret and an ikm": {
        options: { secret, ikm },
        setting: "ikm",
        problem: "beside `secret`",
        fix: "Leave one",
        compatible: "warned"
      },
      "fallbacks of both sorts": {
        options: { secret, secretFallbacks: [oldSecret], ikmFallbacks: [oldIkm] },
        setting: "ikmFallbacks",
        problem: "beside `secretFallbacks`",
        fix: "Leave one",
        compatible: "warned"
      },
      "an ikm of 31 bytes": {
        options: { ikm: Redacted.make(bytes.slice(1)) },
        setting: "ikm",
        problem: "not 32 bytes",
        fix: openssl
      },
      "an ikm of 33 bytes": {
        options: { ikm: Redacted.make(Uint8Array.of(0, ...bytes)) },
        setting: "ikm",
        problem: "not 32 bytes",
        fix: openssl
      },
      "an ikm of zeros": {
        options: { ikm: Redacted.make(new Uint8Array(32)) },
        setting: "ikm",
        problem: "can be guessed",
        fix: openssl,
        compatible: "warned"
      },
      "a short ikm among the fallbacks": {
        options: { ikm, ikmFallbacks: [oldIkm, Redacted.make(bytes.slice(1))] },
        setting: "ikmFallbacks",
        problem: "not 32 bytes",
        fix: openssl
      },
      "a fallback that is the ikm": {
        options: { ikm, ikmFallbacks: [Redacted.make(bytes.slice())] },
        setting: "ikmFallbacks",
        problem: "repeats a key",
        fix: "Leave it out",
        compatible: "warned"
      },
      "an empty cookieName": {
        options: { secret, cookieName: "" },
        setting: "cookieName",
        problem: "empty",
        fix: "letters"
      },
      "a cookieName with an equals sign": {
        options: { secret, cookieName: "a=b" },
        setting: "cookieName",
        problem: "characters",
        fix: "letters"
      },
      "a cookieName with a line break": {
        options: { secret, cookieName: "session\r\nSet-Cookie: a" },
        setting: "cookieName",
        problem: "characters",
        fix: "letters"
      },
      "a cookieName outside of ASCII": {
        options: { secret, cookieName: "séance" },
        setting: "cookieName",
        problem: "characters",
        fix: "letters"
      },
      "a cookieName of 129 characters": {
        options: { secret, cookieName: "n".repeat(129) },
        setting: "cookieName",
        problem: "128",
        fix: "shorter"
      },
      "a prefix inside of the cookieName": {
        options: { secret, cookieName: "__Host-session" },
        setting: "cookieName",
        problem: "prefix",
        fix: "`cookiePrefix`"
      },
      "a prefix in other letters": {
        options: { secret, cookieName: "__secure-session" },
        setting: "cookieName",
        problem: "prefix",
        fix: "`cookiePrefix`"
      },
      "a prefix inside of the rememberCookieName": {
        options: { secret, rememberCookieName: "__Host-remember" },
        setting: "rememberCookieName",
        problem: "prefix",
        fix: "`cookiePrefix`"
      },
      "one name for both cookies": {
        options: { secret, rememberCookieName: "Session" },
        setting: "rememberCookieName",
        problem: "session cookie",
        fix: "Choose"
      },
      "a remember cookie in the session's chunks": {
        options: { secret, rememberCookieName: "session2" },
        setting: "rememberCookieName",
        problem: "session cookie",
        fix: "Choose"
      },
      "a session cookie in the remember cookie's chunks": {
        options: { secret, cookieName: "remember9" },
        setting: "rememberCookieName",
        problem: "session cookie",
        fix: "Choose"
      },
      "a relative cookiePath": {
        options: { secret, cookiePath: "shop" },
        setting: "cookiePath",
        problem: "begin with \"/\"",
        fix: "Write \"/\""
      },
      "a cookiePath with a further attribute": {
        options: { secret, cookiePath: "/; Domain=example.com" },
        setting: "cookiePath",
        problem: "\";\"",
        fix: "Write \"/\""
      },
      "a cookiePath with a line break": {
        options: { secret, cookiePath: "/\n" },
        setting: "cookiePath",
        problem: "controls",
        fix: "Write \"/\""
      },
      "a cookiePath outside of ASCII": {
        options: { secret, ...prefix, cookiePath: "/büro" },
        setting: "cookiePath",
        problem: "ASCII",
        fix: "as URLs spell it"
      },
      "a cookieDomain with a leading dot": {
        options: { secret, ...prefix, cookieDomain: ".example.com" },
        setting: "cookieDomain",
        problem: "dot",
        fix: "Leave the dot out"
      },
      "an IPv4 address as cookieDomain": {
        options: { secret, ...prefix, cookieDomain: "127.0.0.1" },
        setting: "cookieDomain",
        problem: "IP address",
        fix: "Leave it out"
      },
      "an IPv6 address as cookieDomain": {
        options: { secret, ...prefix, cookieDomain: "[2001:db8::1]" },
        setting: "cookieDomain",
        problem: "IP address",
        fix: "Leave it out"
      },
      "a URL as cookieDomain": {
        options: { secret, ...prefix, cookieDomain: "https://example.com" },
        setting: "cookieDomain",
        problem: "not a domain name",
        fix: "\"example.com\""
      },
      "a port in cookieDomain": {
        options: { secret, ...prefix, cookieDomain: "example.com:8080" },
        setting: "cookieDomain",
        problem: "not a domain name",
        fix: "\"example.com\""
      },
      "a further attribute in cookieDomain": {
        options: { secret, ...prefix, cookieDomain: "example.com; Path=/" },
        setting: "cookieDomain",
        problem: "not a domain name",
        fix: "\"example.com\""
      },
      "a line break in cookieDomain": {
        options: { secret, ...prefix, cookieDomain: "example.com\n" },
        setting: "cookieDomain",
        problem: "not a domain name",
        fix: "\"example.com\""
      },
      "a label of 64 characters": {
        options: { secret, ...prefix, cookieDomain: `${"a".repeat(64)}.com` },
        setting: "cookieDomain",
        problem: "not a domain name",
        fix: "\"example.com\""
      },
      "a path with __Host-": {
        options: { secret, cookiePath: "/shop" },
        setting: "cookiePath",
        problem: "`__Host-`",
        fix: "\"__Secure-\"",
        compatible: "accepted"
      },
      "a domain with __Host-": {
        options: { secret, cookieDomain: "host" },
        setting: "cookieDomain",
        problem: "`__Host-`",
        fix: "\"__Secure-\"",
        compatible: "accepted"
      },
      "no Secure with __Host-": {
        options: { secret, cookieSecure: false },
        setting: "cookieSecure",
        problem: "`cookiePrefix`",
        fix: "`cookiePrefix` to \"\"",
        compatible: "accepted"
      },
      "no Secure with __Secure-": {
        options: { secret, cookiePrefix: "__Secure-", cookieSecure: false },
        setting: "cookieSecure",
        problem: "`cookiePrefix`",
        fix: "`cookiePrefix` to \"\"",
        compatible: "accepted"
      },
      "no Secure with SameSite=None": {
        options: { secret, ...prefix, cookieSecure: false, cookieSameSite: "None" },
        setting: "cookieSecure",
        problem: "\"None\"",
        fix: "Leave it out",
        compatible: "accepted"
      },
      "no Secure with SameParty": {
        options: { secret, ...prefix, cookieSecure: false, cookieSameSite: "Lax", cookieSameParty: true },
        setting: "cookieSecure",
        problem: "`cookieSameParty`",
        fix: "Leave it out",
        compatible: "accepted"
      },
      "no Secure with Partitioned": {
        options: { secret, ...prefix, cookieSecure: false, cookiePartitioned: true },
        setting: "cookieSecure",
        problem: "`cookiePartitioned`",
        fix: "Leave it out",
        compatible: "warned"
      },
      "SameParty with SameSite=Strict": {
        options: { secret, cookieSameParty: true },
        setting: "cookieSameParty",
        problem: "\"Strict\"",
        fix: "\"Lax\""
      },
      "an empty audience": { options: { secret, audience: "" }, setting: "audience", problem: "empty", fix: "Leave" },
      "an empty subject": { options: { secret, subject: "" }, setting: "subject", problem: "empty", fix: "Leave" },
      "a line break in the audience": {
        options: { secret, audience: "a\r\nb" },
        setting: "audience",
        problem: "control",
        fix: "Leave"
      },
      "a control in the subject": {
        options: { secret, subject: "a\u0085b" },
        setting: "subject",
        problem: "control",
        fix: "Leave"
      },
      "an idling timeout beyond the rolling one": {
        options: { secret, idlingTimeout: "61 minutes" },
        setting: "idlingTimeout",
        problem: "longer than `rollingTimeout`",
        fix: "at most `rollingTimeout`",
        compatible: "warned"
      },
      "an idling timeout beyond the absolute one": {
        options: { secret, idlingTimeout: "25 hours", rollingTimeout: 0 },
        setting: "idlingTimeout",
        problem: "longer than `absoluteTimeout`",
        fix: "at most `absoluteTimeout`",
        compatible: "warned"
      },
      "a rolling timeout beyond the absolute one": {
        options: { secret, rollingTimeout: "25 hours" },
        setting: "rollingTimeout",
        problem: "longer than `absoluteTimeout`",
        fix: "at most `absoluteTimeout`",
        compatible: "warned"
      },
      "a rolling timeout of the remember cookie beyond its absolute one": {
        options: { secret, rememberRollingTimeout: "31 days" },
        setting: "rememberRollingTimeout",
        problem: "longer than `rememberAbsoluteTimeout`",
        fix: "at most `rememberAbsoluteTimeout`",
        compatible: "warned"
      },
      "no timeout at all": {
        options: { secret, idlingTimeout: 0, rollingTimeout: 0, absoluteTimeout: 0 },
        setting: "absoluteTimeout",
        problem: "never end",
        fix: "at least one",
        compatible: "warned"
      },
      "a touchThreshold that never comes": {
        options: { secret, idlingTimeout: "1 minute" },
        setting: "touchThreshold",
        problem: "not less than `idlingTimeout`",
        fix: "less than",
        compatible: "warned"
      },
      "a staleTtl beyond an hour": {
        options: { secret, staleTtl: "3601 seconds" },
        setting: "staleTtl",
        problem: "an hour",
        fix: "10 seconds",
        compatible: "warned"
      },
      "a negative cookieCacheSize": {
        options: { secret, cookieCacheSize: -1 },
        setting: "cookieCacheSize",
        problem: "not between 0 and",
        fix: "0 to remember no cookie"
      },
      "a cookieCacheSize beyond a GiB": {
        options: { secret, cookieCacheSize: 1024 ** 3 + 1 },
        setting: "cookieCacheSize",
        problem: "not between 0 and",
        fix: "0 to remember no cookie"
      },
      "a commitTimeout of zero": {
        options: { secret, commitTimeout: 0 },
        setting: "commitTimeout",
        problem: "between",
        fix: "5 seconds"
      },
      "a commitTimeout beyond a minute": {
        options: { secret, commitTimeout: 60_001 },
        setting: "commitTimeout",
        problem: "between",
        fix: "5 seconds"
      },
      "a commitTimeout without end": {
        options: { secret, commitTimeout: "Infinity" },
        setting: "commitTimeout",
        problem: "between",
        fix: "5 seconds"
      },
      "a negative compressionThreshold": {
        options: { secret, compressionThreshold: -1 },
        setting: "compressionThreshold",
        problem: "negative",
        fix: "0 to never deflate"
      },
      "half a byte": {
        options: { secret, compressionThreshold: 0.5 },
        setting: "compressionThreshold",
        problem: "whole number",
        fix: "without a fraction"
      },
      "an inflateLimit below 1 KiB": {
        options: { secret, inflateLimit: 1023 },
        setting: "inflateLimit",
        problem: "between 1024 and",
        fix: "bytes"
      },
      "an inflateLimit above 16 MiB": {
        options: { secret, inflateLimit: 16_777_217 },
        setting: "inflateLimit",
        problem: "and 16777216",
        fix: "bytes"
      },
      "an infinite inflateLimit": {
        options: { secret, inflateLimit: Infinity },
        setting: "inflateLimit",
        problem: "whole number",
        fix: "Write"
      },
      "duplicates in bind": {
        options: { secret, bind: ["ip", "ip"] },
        setting: "bind",
        problem: "twice",
        fix: "once"
      },
      "duplicates in responseHeaders": {
        options: { secret, responseHeaders: ["id", "id"] },
        setting: "responseHeaders",
        problem: "twice",
        fix: "once"
      },
      "sids in clear": {
        options: { secret, hashStorageKey: false },
        setting: "hashStorageKey",
        problem: "must be true",
        fix: "`compatibility`",
        compatible: "accepted"
      }
    }

    for (
      const setting of [
        "staleTtl",
        "idlingTimeout",
        "rollingTimeout",
        "absoluteTimeout",
        "touchThreshold",
        "rememberRollingTimeout",
        "rememberAbsoluteTimeout"
      ] as const
    ) {
      refusals[`an infinite ${setting}`] = {
        options: { secret, [setting]: Infinity },
        setting,
        problem: "infinite",
        fix: "\"15 minutes\""
      }
      refusals[`a negative ${setting}`] = {
        options: { secret, [setting]: "-1 seconds" },
        setting,
        problem: "negative",
        fix: "\"15 minutes\""
      }
      refusals[`seconds as a bare number for ${setting}`] = {
        options: { secret, [setting]: 900 },
        setting,
        problem: "less than a second",
        fix: "a bare number is milliseconds"
      }
    }

    const values: ReadonlyArray<string> = [text, oldText, short, repeated, placeholder].map((key) =>
      typeof key === "string" ? key : Redacted.value(key)
    )

    for (const [name, { compatible, fix, options, problem, setting }] of Object.entries(refusals)) {
      it.effect(name, () =>
        Effect.gen(function*() {
          const reason = yield* refuse(options)
          assert.strictEqual(reason.setting, setting)
          assert.include(reason.problem, problem)
          assert.include(reason.fix, fix)
          assert.strictEqual(reason.message, `${setting}: ${reason.problem}. ${reason.fix}`)
          for (const value of values) assert.notInclude(inspect(reason, { depth: Infinity }), value)
        }))

      it.effect(`${name}, with compatibility: ${compatible ?? "refused too"}`, () =>
        Effect.gen(function*() {
          const reason = yield* refuse(options)
          if (compatible === undefined) {
            assert.deepStrictEqual(yield* refuse({ ...options, compatibility: "lua" }), reason)
            return
          }
          const { warnings } = yield* makeLogged({ ...options, compatibility: "kong" })
          const warning = `Accepted for compatibility with kong: ${reason.message}`
          assert.strictEqual(warnings.includes(warning), compatible === "warned")
          for (const value of values) assert.notInclude(warnings.join(), value)
        }))
    }
  })

  describe("refuses what types would not let through", () => {
    const wiped = Redacted.make(text)
    Redacted.wipeUnsafe(wiped)

    const misfits: ReadonlyArray<readonly [setting: string, value: unknown, problem: string, fix: string]> = [
      ["secret", text, "is not a string in a Redacted", "Redacted.make"],
      ["secret", Redacted.make(12345), "is not a string in a Redacted", "Redacted.make"],
      ["secret", wiped, "is not a string in a Redacted", "Redacted.make"],
      ["secret", null, "is not a string in a Redacted", "Redacted.make"],
      ["secretFallbacks", secret, "is not a list", "[Redacted.make(text)]"],
      ["secretFallbacks", [text], "is not a list", "[Redacted.make(text)]"],
      ["secretFallbacks", Object.assign([], { length: 1 }), "is not a list", "[Redacted.make(text)]"],
      ["ikm", bytes, "is not a Uint8Array in a Redacted", "Redacted.make"],
      ["ikm", Redacted.make("a".repeat(32)), "is not a Uint8Array in a Redacted", "Redacted.make"],
      ["ikmFallbacks", [bytes], "is not a list", "[Redacted.make(bytes)]"],
      ["cookiePrefix", "__host-", "is not one of its values", "\"__Host-\", \"__Secure-\""],
      ["cookieName", 1, "is not a string", "Write a string"],
      ["cookiePath", null, "is not a string", "Write a string"],
      ["cookieDomain", null, "is not a string", "Write a string"],
      ["cookieHttpOnly", "true", "is not a boolean", "true or false"],
      ["cookieSecure", 1, "is not a boolean", "true or false"],
      ["cookieSameSite", "strict", "is not one of its values", "\"Strict\", \"Lax\", \"None\", \"Default\""],
      ["cookiePriority", "Highest", "is not one of its values", "\"Low\", \"Medium\", \"High\""],
      ["cookieSameParty", "yes", "is not a boolean", "true or false"],
      ["cookiePartitioned", null, "is not a boolean", "true or false"],
      ["remember", "yes", "is not a boolean or \"ask\"", "true, false or \"ask\""],
      ["rememberSafety", "VeryHigh", "is not one of its values", "\"Very High\""],
      ["rememberCookieName", {}, "is not a string", "Write a string"],
      ["audience", ["a"], "is not a string", "Write a string"],
      ["subject", 42, "is not a string", "Write a string"],
      ["enforceSameSubject", 0, "is not a boolean", "true or false"],
      ["idlingTimeout", "15 min", "is not a duration", "\"15 minutes\""],
      ["idlingTimeout", "900", "is not a duration", "\"15 minutes\""],
      // each of these is zero to `Duration`, and would disable the timeout
      ["idlingTimeout", Number.NaN, "is not a duration", "\"15 minutes\""],
      ["rollingTimeout", {}, "is not a duration", "\"15 minutes\""],
      ["rollingTimeout", { hour: 1 }, "is not a duration", "\"15 minutes\""],
      ["rollingTimeout", { hours: Number.NaN }, "is not a duration", "\"15 minutes\""],
      ["absoluteTimeout", [Number.NaN, 0], "is not a duration", "\"15 minutes\""],
      ["absoluteTimeout", null, "is not a duration", "\"15 minutes\""],
      ["rememberRollingTimeout", new Date(0), "is not a duration", "\"15 minutes\""],
      ["rememberAbsoluteTimeout", true, "is not a duration", "\"15 minutes\""],
      ["staleTtl", [1], "is not a duration", "\"15 minutes\""],
      ["touchThreshold", Symbol("minute"), "is not a duration", "\"15 minutes\""],
      ["cookieCacheSize", 0.5, "is not a whole number", "Write a number"],
      ["commitTimeout", () => 5000, "is not a duration", "\"15 minutes\""],
      ["compressionThreshold", "1024", "is not a whole number", "Write a number"],
      ["inflateLimit", 65_536n, "is not a whole number", "Write a number"],
      ["bind", "ip", "is not a list of its values", "\"ip\", \"scheme\", \"user-agent\""],
      ["bind", ["user_agent"], "is not a list of its values", "\"user-agent\""],
      ["hashStorageKey", "no", "is not a boolean", "true or false"],
      ["hashSubject", null, "is not a boolean", "true or false"],
      ["storeMetadata", 1, "is not a boolean", "true or false"],
      ["responseHeaders", ["Session-Id"], "is not a list of its values", "\"id\""],
      ["requestHeaders", { id: true }, "is not a list of its values", "\"id\""],
      ["onGone", "ignore", "is not one of its values", "\"drop\", \"fail\""],
      ["onReuse", "drop", "is not one of its values", "\"ignore\", \"revoke\""],
      ["compatibility", "Kong", "is not one of its values", "\"kong\", \"lua\""],
      ["cookie_name", "session", "is not a setting", "SessionConfig.Options"],
      ["constructor", "session", "is not a setting", "SessionConfig.Options"],
      ["storage", "cookie", "is not a setting", "SessionStore"]
    ]

    for (const [setting, value, problem, fix] of misfits) {
      it.effect(`${setting}: ${inspect(value)}`, () =>
        Effect.gen(function*() {
          const reason = yield* refuse(untyped({ secret, [setting]: value }))
          assert.strictEqual(reason.setting, setting)
          assert.include(reason.problem, problem)
          assert.include(reason.fix, fix)
          assert.notInclude(inspect(reason, { depth: Infinity }), text)
        }))
    }

    it.effect("no options at all", () =>
      Effect.gen(function*() {
        // what a JavaScript caller may do
        const none: unknown = undefined
        const reason = yield* refuse(none as SessionConfig.Options)
        assert.strictEqual(reason.setting, "options")
      }))

    it("a test for every setting", () => {
      const tested = new Set(misfits.map(([setting]) => setting))
      assert.deepStrictEqual(Object.keys(environment).filter((setting) => !tested.has(setting)), [])
    })
  })

  describe("presets", () => {
    /** The defaults of lua-resty-session 4.1, as the library has them after its `init`; absent ones are `nil`. */
    const luaDefaults = {
      cookieName: "session",
      cookieNameExact: false,
      cookiePath: "/",
      cookieDomain: undefined,
      cookieHttpOnly: true,
      cookieSecure: false,
      cookieSameSite: "Lax",
      cookiePriority: undefined,
      cookieSameParty: false,
      cookiePartitioned: false,
      remember: false,
      rememberSafety: "Medium",
      rememberCookieName: "remember",
      rememberRollingTimeout: 604_800,
      rememberAbsoluteTimeout: 2_592_000,
      audience: "default",
      subject: undefined,
      enforceSameSubject: false,
      staleTtl: 10,
      idlingTimeout: 900,
      rollingTimeout: 3600,
      absoluteTimeout: 86_400,
      touchThreshold: 60,
      compressionThreshold: 1024,
      bindFlags: 0,
      hashStorageKey: false,
      hashSubject: false,
      storeMetadata: false,
      responseHeaders: [],
      requestHeaders: []
    }

    /** What the references do not have. */
    const ours = {
      inflateLimit: 65_536,
      cookieCacheSize: 4_194_304,
      commitTimeout: 5000,
      onGone: "drop",
      onReuse: "ignore"
    }

    it.effect("lua is lua-resty-session", () =>
      Effect.gen(function*() {
        const { settings, warnings } = yield* makeLogged({ ...SessionConfig.lua, secret })
        assert.deepStrictEqual<unknown>(plain(settings), {
          ...luaDefaults,
          ...ours,
          keys: [text],
          compatibility: "lua"
        })
        assert.deepStrictEqual(warnings, [])
      }))

    it.effect("kong is Kong's session plugin", () =>
      Effect.gen(function*() {
        const { settings, warnings } = yield* makeLogged({ ...SessionConfig.kong, secret })
        assert.deepStrictEqual<unknown>(plain(settings), {
          ...luaDefaults,
          ...ours,
          keys: [text],
          cookieSecure: true,
          cookieSameSite: "Strict",
          compatibility: "kong"
        })
        assert.deepStrictEqual(warnings, [])
      }))

    it("name the reference, and bring no secret", () => {
      assert.strictEqual(SessionConfig.lua.compatibility, "lua")
      assert.strictEqual(SessionConfig.kong.compatibility, "kong")
      for (const setting of ["secret", "secretFallbacks", "ikm", "ikmFallbacks"]) {
        assert.notProperty(SessionConfig.lua, setting)
        assert.notProperty(SessionConfig.kong, setting)
      }
    })

    it.effect("warn about a short secret", () =>
      Effect.gen(function*() {
        const { settings, warnings } = yield* makeLogged({
          ...SessionConfig.kong,
          secret: Redacted.make("kong secret")
        })
        assert.deepStrictEqual(reveal(settings), ["kong secret"])
        assert.deepStrictEqual(warnings, [
          "Accepted for compatibility with kong: secret: has fewer than 32 bytes. Make one with `openssl rand -base64 32`"
        ])
      }))

    it.effect("warn when the layer is built, and not when it is used", () =>
      Effect.gen(function*() {
        let count = 0
        const logger = Logger.make(() => {
          count += 1
        })
        const context = yield* Layer.build(SessionConfig.layer({ ...SessionConfig.lua, secret: Redacted.make("") }))
          .pipe(
            Effect.provide(Logger.layer([logger]))
          )
        const built = count
        assert.isAbove(built, 0)
        yield* SessionConfig.SessionConfig.pipe(Effect.provide(context), Effect.provide(Logger.layer([logger])))
        assert.strictEqual(count, built)
      }))

    it.effect("warn about nothing that is refused anyway", () =>
      Effect.gen(function*() {
        const warnings: Array<unknown> = []
        const logger = Logger.make(({ message }) => warnings.push(message))
        const options = { ...SessionConfig.lua, secret: Redacted.make("short"), cookieName: "" }
        const error = yield* Effect.flip(make(options)).pipe(Effect.provide(Logger.layer([logger])))
        assert.include(error.message, "cookieName")
        assert.deepStrictEqual(warnings, [])
      }))

    it.effect("the first of the problems that are refused is told", () =>
      Effect.gen(function*() {
        const reason = yield* refuse({
          ...SessionConfig.lua,
          secret: Redacted.make("short"),
          cookiePath: "shop",
          bind: ["ip", "ip"]
        })
        assert.strictEqual(reason.setting, "cookiePath")
      }))
  })

  describe("compatibility overrides contradictions as the reference does", () => {
    const cases: ReadonlyArray<
      readonly [name: string, options: SessionConfig.Options, expected: Partial<SessionConfig.Settings>]
    > = [
      ["__Host- is Secure, for / and without a domain", {
        cookiePrefix: "__Host-",
        cookieDomain: "example.com",
        cookiePath: "/x",
        cookieSecure: false
      }, {
        cookieName: "__Host-session",
        rememberCookieName: "__Host-remember",
        cookieNameExact: true,
        cookieDomain: undefined,
        cookiePath: "/",
        cookieSecure: true
      }],
      ["__Secure- is Secure", { cookiePrefix: "__Secure-", cookieDomain: "example.com", cookiePath: "/x" }, {
        cookieName: "__Secure-session",
        cookieDomain: "example.com",
        cookiePath: "/x",
        cookieSecure: true
      }],
      ["SameSite=None is Secure", { cookieSameSite: "None" }, { cookieSameSite: "None", cookieSecure: true }],
      ["SameParty is Secure", { cookieSameParty: true }, { cookieSameParty: true, cookieSecure: true }],
      ["Partitioned is not", { cookiePartitioned: true }, { cookiePartitioned: true, cookieSecure: false }],
      ["Default is written as it is", { cookieSameSite: "Default" }, {
        cookieSameSite: "Default",
        cookieSecure: false
      }],
      ["localhost is no domain", { cookieDomain: "localhost" }, { cookieDomain: undefined }],
      ["timeouts of ten years", { idlingTimeout: "3650 days", rollingTimeout: "3650 days", absoluteTimeout: 0 }, {
        idlingTimeout: 315_360_000,
        rollingTimeout: 315_360_000,
        absoluteTimeout: 0
      }]
    ]

    for (const [name, options, expected] of cases) {
      it.effect(name, () =>
        Effect.gen(function*() {
          const settings = yield* make({ ...SessionConfig.lua, secret, ...options })
          assert.deepInclude(settings, expected)
        }))
    }

    it.effect("an ikm wins over a secret, and so do its fallbacks", () =>
      Effect.gen(function*() {
        const { settings } = yield* makeLogged({
          ...SessionConfig.lua,
          secret,
          ikm,
          secretFallbacks: [oldSecret],
          ikmFallbacks: [oldIkm]
        })
        assert.deepStrictEqual(reveal(settings), [bytes, oldBytes])
      }))
  })

  describe("redaction", () => {
    it.effect("no rendering of the settings shows a key", () =>
      Effect.gen(function*() {
        const first = yield* make({ secret, secretFallbacks: [oldSecret] })
        const second = yield* make({ ikm: Redacted.make(Buffer.from(text)), ikmFallbacks: [oldIkm] })
        for (const settings of [first, second]) {
          const renderings = [
            inspect(settings, { depth: Infinity, showHidden: true }),
            JSON.stringify(settings),
            settings.keys.join()
          ]
          for (const rendering of renderings) {
            assert.include(rendering, "<redacted>")
            assert.notInclude(rendering, text)
            assert.notInclude(rendering, oldText)
            assert.notInclude(rendering, oldBytes.join())
            assert.notInclude(rendering, "117, 89, 51")
          }
        }
      }))
  })

  describe("layer", () => {
    it.effect("provides what make makes", () =>
      Effect.gen(function*() {
        const options = { secret, cookieName: "sid" }
        const settings = yield* Effect.provide(SessionConfig.SessionConfig, SessionConfig.layer(options))
        assertSame(settings, yield* make(options))
      }))

    it.effect("fails as make does", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Layer.build(SessionConfig.layer({})))
        assert.deepStrictEqual(error, yield* Effect.flip(make({})))
      }))
  })

  describe("layerConfig", () => {
    for (const [setting, [variable, written, value]] of Object.entries(environment)) {
      it.effect(`${variable} is ${setting}, and goes before the options`, () =>
        Effect.gen(function*() {
          const base = { ...SessionConfig.lua, secret: Redacted.make("Gv5Xk2Rz8Wq1Jt6Nc9Hb4Mf7Ls0Pd3Ya") }
          const settings = yield* makeFromEnv({ [variable]: written }, base)
          // with an ikm of the environment, a secret of the options is out of the way
          const given = setting === "ikm" ? { ...base, secret: undefined } : base
          assertSame(settings, yield* make({ ...given, [setting]: value }))
          assert.notDeepEqual(plain(settings), plain(yield* make(base)))
        }))
    }

    it.effect("compatibility is not for the environment", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(makeFromEnv({ SESSION_SECRET: "kong secret", SESSION_COMPATIBILITY: "kong" }))
        assert.include(error.message, "secret: has fewer than 32 bytes")
      }))

    it.effect("goes before the options, which go before the defaults", () =>
      Effect.gen(function*() {
        const settings = yield* makeFromEnv({ SESSION_SECRET: text, SESSION_COOKIE_NAME: "env" }, {
          secret: oldSecret,
          cookieName: "options",
          audience: "options"
        })
        assertSame(settings, yield* make({ secret, cookieName: "env", audience: "options" }))
      }))

    it.effect("an ikm in the environment replaces a secret of the options, and a secret an ikm", () =>
      Effect.gen(function*() {
        const base64 = Buffer.from(bytes).toString("base64")
        assert.deepStrictEqual(reveal(yield* makeFromEnv({ SESSION_IKM: base64 }, { secret: oldSecret })), [bytes])
        assert.deepStrictEqual(reveal(yield* makeFromEnv({ SESSION_SECRET: text }, { ikm: oldIkm })), [text])
      }))

    it.effect("and so do the fallbacks", () =>
      Effect.gen(function*() {
        const settings = yield* makeFromEnv({ SESSION_SECRET: text, SESSION_SECRET_FALLBACKS: oldText }, {
          ikmFallbacks: [oldIkm]
        })
        assert.deepStrictEqual(reveal(settings), [text, oldText])
      }))

    it.effect("both in the environment are refused", () =>
      Effect.gen(function*() {
        const base64 = Buffer.from(bytes).toString("base64")
        const error = yield* Effect.flip(makeFromEnv({ SESSION_SECRET: text, SESSION_IKM: base64 }))
        assert.include(error.message, "SESSION_IKM")
      }))

    it.effect("an ikm may be written in either alphabet, with or without padding", () =>
      Effect.gen(function*() {
        // has "+", "/" and padding in base64
        const key = Uint8Array.from({ length: 32 }, (_, i) => 248 + (i % 8))
        const base64 = Buffer.from(key).toString("base64")
        assert.match(base64, /\+.*\/.*=$/)
        for (
          const written of [base64, base64.replace("=", ""), Buffer.from(key).toString("base64url"), ` ${base64}\n`]
        ) {
          const settings = yield* makeFromEnv({ SESSION_IKM: written })
          assert.deepStrictEqual(reveal(settings), [key])
        }
      }))

    it.effect("none empties what the options fill", () =>
      Effect.gen(function*() {
        const settings = yield* makeFromEnv({
          SESSION_COOKIE_PREFIX: "none",
          SESSION_COOKIE_DOMAIN: "none",
          SESSION_BIND: "none",
          SESSION_REQUEST_HEADERS: "none",
          SESSION_SECRET_FALLBACKS: "none"
        }, {
          secret,
          secretFallbacks: [oldSecret],
          cookiePrefix: "__Secure-",
          cookieDomain: "example.com",
          bind: ["ip"],
          requestHeaders: ["id"]
        })
        assertSame(settings, yield* make({ secret, cookiePrefix: "" }))
      }))

    it.effect("an empty variable is a missing one, and with a provider that keeps it the same as none", () =>
      Effect.gen(function*() {
        const env = { SESSION_SECRET: text, SESSION_COOKIE_PREFIX: "", SESSION_BIND: "" }
        assertSame(yield* makeFromEnv(env), yield* make({ secret }))

        const kept = SessionConfig.layerConfig({ bind: ["ip"] }).pipe(
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env, preserveEmptyStrings: true })))
        )
        const settings = yield* Effect.provide(SessionConfig.SessionConfig, kept)
        assertSame(settings, yield* make({ secret, cookiePrefix: "" }))
      }))

    it.effect("a missing secret names the variable and how to make one", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(makeFromEnv({}))
        assert.instanceOf(error, SessionError)
        assert.strictEqual(
          error.message,
          "secret: is missing. Set SESSION_SECRET, or give `secret`. Make one with `openssl rand -base64 32`"
        )
      }))

    const malformed: Record<string, string> = {
      SESSION_IKM: `${text}$`,
      SESSION_IKM_FALLBACKS: `${Buffer.from(oldBytes).toString("base64")}, ${text}$`,
      SESSION_COOKIE_PREFIX: "__host-",
      SESSION_COOKIE_HTTP_ONLY: "maybe",
      SESSION_COOKIE_SAME_SITE: "strict",
      SESSION_REMEMBER_SAFETY: "Highest",
      SESSION_IDLING_TIMEOUT: "900",
      SESSION_STALE_TTL: "ten seconds",
      SESSION_COMMIT_TIMEOUT: "5s",
      SESSION_COMPRESSION_THRESHOLD: "1k",
      SESSION_INFLATE_LIMIT: "65536.5",
      SESSION_BIND: "ip,user_agent",
      SESSION_RESPONSE_HEADERS: "Session-Id",
      SESSION_ON_GONE: "ignore"
    }

    for (const [variable, written] of Object.entries(malformed)) {
      it.effect(`${variable}=${written} is a ConfigError that names it`, () =>
        Effect.gen(function*() {
          const error = yield* Effect.flip(makeFromEnv({ [variable]: written }, { secret: oldSecret }))
          assert.instanceOf(error, Config.ConfigError)
          assert.include(error.message, variable)
          assert.notInclude(inspect(error, { depth: Infinity, showHidden: true }), text)
          assert.notInclude(String(error), text)
        }))
    }

    it.effect("a refused value names the variable", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(makeFromEnv({ SESSION_SECRET: text, SESSION_COOKIE_NAME: "a b" }))
        assert.instanceOf(error, SessionError)
        assert.instanceOf(error.reason, InvalidConfig)
        assert.strictEqual(error.reason.setting, "cookieName")
        assert.include(error.message, "SESSION_COOKIE_NAME")
      }))

    it.effect("a refused value of the options names none", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(makeFromEnv({ SESSION_SECRET: text }, { cookieName: "a b" }))
        assert.strictEqual(error.message, (yield* Effect.flip(make({ secret, cookieName: "a b" }))).message)
      }))

    it.effect("a fragment of a secret that has a comma is refused", () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(makeFromEnv({
          SESSION_SECRET: text,
          SESSION_SECRET_FALLBACKS: "correct horse, battery staple 0001"
        }))
        assert.include(error.message, "secretFallbacks: has fewer than 32 bytes")
        assert.include(error.message, "SESSION_SECRET_FALLBACKS")
        assert.notInclude(error.message, "horse")
      }))

    it.effect("takes a preset", () =>
      Effect.gen(function*() {
        const settings = yield* makeFromEnv({ SESSION_SECRET: text }, SessionConfig.kong)
        assertSame(settings, yield* make({ ...SessionConfig.kong, secret }))
      }))

    it.effect("a provider that fails is a ConfigError", () =>
      Effect.gen(function*() {
        const failing = ConfigProvider.make(() =>
          Effect.fail(new ConfigProvider.SourceError({ message: "the vault is sealed" }))
        )
        const error = yield* Effect.flip(
          Effect.provide(
            SessionConfig.SessionConfig,
            SessionConfig.layerConfig({ secret }).pipe(Layer.provide(ConfigProvider.layer(failing)))
          )
        )
        assert.instanceOf(error, Config.ConfigError)
        assert.include(error.message, "the vault is sealed")
      }))
  })
})
