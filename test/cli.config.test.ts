import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as Reference from "../src/cli/referenceConfig.ts"
import * as SessionConfig from "../src/SessionConfig.ts"

const ikm = Uint8Array.from({ length: 32 }, (_, index) => index * 7)
const base64 = Buffer.from(ikm).toString("base64")

/** Every setting of lua-resty-session, at a value that is not its default, and what it means here. */
const settings: { readonly [name: string]: readonly [value: unknown, means: SessionConfig.Options] } = {
  cookie_prefix: ["__Secure-", { cookiePrefix: "__Secure-" }],
  cookie_name: ["shop", { cookieName: "shop" }],
  cookie_path: ["/shop", { cookiePath: "/shop" }],
  cookie_domain: ["example.com", { cookieDomain: "example.com" }],
  cookie_http_only: [false, { cookieHttpOnly: false }],
  cookie_secure: [true, { cookieSecure: true }],
  cookie_priority: ["High", { cookiePriority: "High" }],
  cookie_same_site: ["Strict", { cookieSameSite: "Strict" }],
  cookie_same_party: [true, { cookieSameParty: true }],
  cookie_partitioned: [true, { cookiePartitioned: true }],
  remember: [true, { remember: true }],
  remember_safety: ["Very High", { rememberSafety: "Very High" }],
  remember_cookie_name: ["again", { rememberCookieName: "again" }],
  remember_rolling_timeout: [5, { rememberRollingTimeout: "5 seconds" }],
  remember_absolute_timeout: [6, { rememberAbsoluteTimeout: "6 seconds" }],
  audience: ["till", { audience: "till" }],
  subject: ["alice", { subject: "alice" }],
  enforce_same_subject: [true, { enforceSameSubject: true }],
  stale_ttl: [1, { staleTtl: "1 seconds" }],
  idling_timeout: [0, { idlingTimeout: "0 seconds" }],
  rolling_timeout: [3, { rollingTimeout: "3 seconds" }],
  absolute_timeout: [4, { absoluteTimeout: "4 seconds" }],
  hash_storage_key: [true, { hashStorageKey: true }],
  hash_subject: [true, { hashSubject: true }],
  store_metadata: [true, { storeMetadata: true }],
  touch_threshold: [7, { touchThreshold: "7 seconds" }],
  compression_threshold: [0, { compressionThreshold: 0 }],
  bind: [["ip", "user_agent"], { bind: ["ip", "user-agent"] }],
  request_headers: [["id", "idling_timeout"], { requestHeaders: ["id", "idling-timeout"] }],
  response_headers: [["subject", "rolling_timeout", "absolute_timeout"], {
    responseHeaders: ["subject", "rolling-timeout", "absolute-timeout"]
  }]
}

const refusal = (config: unknown) =>
  Effect.map(Effect.flip(Reference.decode(config)), ({ message }) => message.replaceAll(/\s+/g, " "))

describe("a configuration of lua-resty-session", () => {
  it.effect.each(Object.entries(settings))("has %s", ([name, [value, means]]) =>
    Effect.gen(function*() {
      const { options } = yield* Reference.decode({ [name]: value })
      assert.deepStrictEqual(options, means)
      // nil is the default
      assert.deepStrictEqual((yield* Reference.decode({ [name]: null })).options, {})
      assert.match(yield* refusal({ [name]: { no: "such value" } }), new RegExp(`at \\["${name}"\\]`))
    }))

  it.effect("takes a safety that it does not know for the default", () =>
    Effect.map(Reference.decode({ remember_safety: "Some" }), ({ options }) => assert.deepStrictEqual(options, {})))

  it.effect("has keys, as text or in base64, and says whether it has any", () =>
    Effect.gen(function*() {
      const { hasKey, options } = yield* Reference.decode({
        secret: "a",
        secret_fallbacks: ["b"],
        ikm: base64,
        ikm_fallbacks: [base64.replaceAll("=", "").replaceAll("+", "-").replaceAll("/", "_")]
      })
      assert.isTrue(hasKey)
      assert.deepStrictEqual(options.secret === undefined ? undefined : Redacted.value(options.secret), "a")
      assert.deepStrictEqual(options.secretFallbacks?.map(Redacted.value), ["b"])
      assert.deepStrictEqual(options.ikm === undefined ? undefined : Redacted.value(options.ikm), ikm)
      assert.deepStrictEqual(options.ikmFallbacks?.map(Redacted.value), [ikm])
      const other = yield* Reference.decode({ ikm_base64: base64, ikm_fallbacks_base64: [base64] })
      assert.deepStrictEqual(other.options.ikmFallbacks?.map(Redacted.value), [ikm])
      assert.deepStrictEqual(other.options.ikm === undefined ? undefined : Redacted.value(other.options.ikm), ikm)
      assert.isFalse((yield* Reference.decode({ secret: null, cookie_name: "a" })).hasKey)
    }))

  it.effect("says where the payload is", () =>
    Effect.gen(function*() {
      const places = yield* Effect.forEach(
        [{}, { storage: null }, { storage: false }, { storage: "cookie" }, { storage: "redis", redis: { port: 6379 } }],
        (config) => Effect.map(Reference.decode(config), ({ placement }) => placement)
      )
      assert.deepStrictEqual(places, ["Cookie", "Cookie", "Cookie", "Cookie", "Server"])
      assert.match(yield* refusal({ storage: true }), /at \["storage"\]/)
    }))

  it.effect("has no other names", () =>
    Effect.gen(function*() {
      assert.match(yield* refusal({ cookieName: "a" }), /excess property at \["cookieName"\]/)
      assert.match(yield* refusal("secret"), /Expected object/)
    }))

  it.effect("is refused without a word of its keys", () =>
    Effect.gen(function*() {
      const wrong = [
        { secret: 12345 },
        { secret_fallbacks: "hunter2" },
        { secret_fallbacks: ["a", { b: "hunter2" }] },
        { ikm: "hunter2!" },
        { ikm: ["hunter2"] },
        { ikm_fallbacks: [base64, "hunter2!"] },
        { secret: "hunter2", cookie_nam: "a" }
      ]
      const messages = yield* Effect.forEach(wrong, refusal)
      assert.notMatch(messages.join(), /hunter2|12345/)
      assert.deepStrictEqual(messages.map((message) => /at (\S+)$/.exec(message)?.[1]), [
        "[\"secret\"]",
        "[\"secret_fallbacks\"]",
        "[\"secret_fallbacks\"][1]",
        "[\"ikm\"]",
        "[\"ikm\"]",
        "[\"ikm_fallbacks\"][1]",
        "[\"cookie_nam\"]"
      ])
    }))

  it.effect("completed with the reference's defaults is what our presets say", () =>
    Effect.gen(function*() {
      const { options } = yield* Reference.decode({ secret: "a".repeat(3) })
      const ours = yield* SessionConfig.make({ ...SessionConfig.lua, ...options })
      assert.deepStrictEqual(
        [ours.cookieName, ours.idlingTimeout, ours.rollingTimeout, ours.absoluteTimeout, ours.cookieSameSite],
        ["session", 900, 3600, 86400, "Lax"]
      )
    }))
})
