/**
 * Every setting of a session, its default, and the reason for it.
 *
 * The names are those of lua-resty-session, in camelCase, and so are the defaults
 * unless a setting says otherwise. All settings are checked when the layer is
 * built: one that cannot work, or that is less safe than it looks, is a typed
 * error which names the setting, the problem and what to write instead.
 *
 * @since 0.1.0
 */
import { Array, Config, Context, Duration, Effect, Layer, Predicate, Record, Redacted, Result } from "effect"
import * as validate from "./internal/validate.ts"
import { InvalidConfig, SessionError } from "./SessionError.ts"
import { Flag } from "./SessionState.ts"

/**
 * A property of a session that can be put into a header; see
 * `Options.responseHeaders`.
 *
 * @category models
 * @since 0.1.0
 */
export type Property =
  | "id"
  | "audience"
  | "subject"
  | "timeout"
  | "idling-timeout"
  | "rolling-timeout"
  | "absolute-timeout"

/**
 * The settings as an application writes them: under the names of
 * lua-resty-session, in camelCase. All but one of `secret` and `ikm` can be left
 * out.
 *
 * **Details**
 *
 * "The references" below are lua-resty-session 4.1 and Kong's session plugin,
 * which sits on top of it. Where nothing is said, the default is theirs.
 *
 * Times are rounded down to whole seconds, the unit of the cookie format, except
 * for `commitTimeout`.
 *
 * The references' setting `storage` is not here: where sessions live is the
 * `SessionStore` layer.
 *
 * **Gotchas**
 *
 * A duration written as a bare number is milliseconds, as everywhere in Effect,
 * where the references count seconds. `idlingTimeout: 900` is refused for being
 * less than a second; write `"15 minutes"`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * Text that nobody can guess: what all keys are derived from. Required, unless
   * there is an `ikm`; no default.
   *
   * **Details**
   *
   * At least 32 bytes of UTF-8. It is hashed once with SHA-256 and not stretched, so
   * it has to be random, not memorable: `openssl rand -base64 32`. Text of fewer
   * than eight different characters, a placeholder such as "changeme", and white
   * space at either end are refused.
   *
   * The references take any text, even an empty one, and make up a random secret for
   * each process that has none: its cookies open on no other server and die with
   * it.
   */
  readonly secret?: Redacted.Redacted<string> | undefined
  /**
   * Secrets of the past: cookies made under them still open, new ones are made under
   * `secret`. Default: none.
   *
   * **Details**
   *
   * To rotate, put the new secret into `secret` and the old one in front of this
   * list, and drop it after `absoluteTimeout`. A `secret` may also be the past of an
   * `ikm`. The same demands are made on these as on `secret`.
   *
   * **Gotchas**
   *
   * A cookie that opens under no key costs one key derivation and one MAC for each
   * entry.
   */
  readonly secretFallbacks?: ReadonlyArray<Redacted.Redacted<string>> | undefined
  /**
   * Key material itself, exactly 32 random bytes, in place of `secret`. No default.
   *
   * **Details**
   *
   * Given together with `secret` it is refused, because only one can be the key;
   * the references silently prefer `ikm`.
   */
  readonly ikm?: Redacted.Redacted<Uint8Array> | undefined
  /** As `secretFallbacks`, for `ikm`, and in place of them: giving both is refused. Default: none. */
  readonly ikmFallbacks?: ReadonlyArray<Redacted.Redacted<Uint8Array>> | undefined
  /**
   * What the names of the cookies begin with, for browsers to enforce. Default:
   * `"__Host-"`; the references use none, `""`.
   *
   * **Details**
   *
   * RFC 6265bis, section 4.1.3: a `__Host-` cookie must be `Secure`, have the path
   * `/` and no domain, so that neither a subdomain nor plain HTTP can plant one;
   * `__Secure-` demands `Secure` alone. A setting that contradicts the prefix is
   * refused; the references override it, and so does `compatibility`.
   *
   * **Gotchas**
   *
   * Browsers other than Safari accept `Secure` cookies from `http://localhost`.
   */
  readonly cookiePrefix?: "__Host-" | "__Secure-" | "" | undefined
  /**
   * Name of the session cookie, without the prefix. Default: `"session"`.
   *
   * **Details**
   *
   * A token (RFC 6265, section 4.1.1) of at most 128 characters. Sessions of more
   * than one cookie take the names that follow it with the numbers 2 to 9.
   */
  readonly cookieName?: string | undefined
  /** Path below which browsers send the cookie. Default: `"/"`. No protection between applications on one host. */
  readonly cookiePath?: string | undefined
  /**
   * A domain name, to share the session with all its subdomains, or `"host"` for
   * the host of the request. Default: none, which makes the cookie host-only; `""`
   * and `"localhost"` are none too.
   *
   * **Gotchas**
   *
   * Needs another `cookiePrefix` than `__Host-`. Any subdomain can then read and
   * overwrite the cookie.
   */
  readonly cookieDomain?: string | undefined
  /** Whether scripts cannot read the cookie. Default: `true`. */
  readonly cookieHttpOnly?: boolean | undefined
  /**
   * Whether browsers send the cookie over HTTPS alone. Default: `true`, as in Kong;
   * lua-resty-session leaves it off.
   *
   * **Details**
   *
   * `false` is refused where a browser would drop such a cookie: with a prefix,
   * with `cookieSameSite: "None"`, `cookieSameParty` and `cookiePartitioned`.
   */
  readonly cookieSecure?: boolean | undefined
  /**
   * Whether browsers send the cookie with requests that other sites cause. Default:
   * `"Strict"`, as in Kong; lua-resty-session says `"Lax"`.
   *
   * **Details**
   *
   * `"Strict"` never; `"Lax"` with links followed to here, which sites need whose
   * users arrive by mail, or come back from a single sign-on; `"None"` always;
   * `"Default"` is written as it is, and browsers take it for no value (RFC
   * 6265bis, section 5.6.7), which most treat as Lax.
   */
  readonly cookieSameSite?: "Strict" | "Lax" | "None" | "Default" | undefined
  /** Which cookies Chrome drops last when a site has too many. Default: not said. */
  readonly cookiePriority?: "Low" | "Medium" | "High" | undefined
  /**
   * The attribute `SameParty`, which browsers have given up, for the references'
   * sake. Default: `false`. Needs another `cookieSameSite` than `"Strict"`.
   */
  readonly cookieSameParty?: boolean | undefined
  /** Whether an embedded page has its own session for each site that embeds it (CHIPS). Default: `false`. */
  readonly cookiePartitioned?: boolean | undefined
  /**
   * Whether a second, long-lived cookie brings sessions back. Default: `false`.
   *
   * **Gotchas**
   *
   * Not available in this version: `true` is refused. The other settings that begin
   * with `remember` are checked, and have no effect.
   */
  readonly remember?: boolean | undefined
  /**
   * How costly it is to derive the remember cookie's key: PBKDF2 with 1,000
   * (`"Low"`), 10,000, 100,000 or 1,000,000 (`"Very High"`) iterations, or HKDF
   * (`"None"`). Default: `"Medium"`.
   */
  readonly rememberSafety?: "None" | "Low" | "Medium" | "High" | "Very High" | undefined
  /** As `cookieName`, for the remember cookie, and another one. Default: `"remember"`. */
  readonly rememberCookieName?: string | undefined
  /** As `rollingTimeout`, for the remember cookie. Default: 7 days; zero disables. */
  readonly rememberRollingTimeout?: Duration.Input | undefined
  /** As `absoluteTimeout`, for the remember cookie. Default: 30 days; zero disables. */
  readonly rememberAbsoluteTimeout?: Duration.Input | undefined
  /** The audience of session classes that name none. Default: `"default"`. */
  readonly audience?: string | undefined
  /** The subject of new sessions, until a handler sets one. Default: none. */
  readonly subject?: string | undefined
  /**
   * Whether a save drops the parts of other audiences whose subject differs from
   * that of the part being saved. Default: `false`.
   */
  readonly enforceSameSubject?: boolean | undefined
  /**
   * How long a superseded version is honoured once its successor was seen, for
   * requests that were under way. Default: 10 seconds; at most an hour; zero honours
   * none.
   *
   * **Details**
   *
   * The references count from the save, so that a client whose response was lost is
   * out after ten seconds. Here the time begins when the successor is first
   * presented.
   */
  readonly staleTtl?: Duration.Input | undefined
  /**
   * Longest time between two requests. Default: 15 minutes; zero disables.
   *
   * **Details**
   *
   * OWASP's session management cheat sheet advises 15 to 30 minutes, and 2 to 5
   * where much is at stake. Must not exceed the other two timeouts, which would end
   * the session first.
   */
  readonly idlingTimeout?: Duration.Input | undefined
  /**
   * Longest time without a save. Default: 1 hour; zero disables. A request past
   * three quarters of it saves the session under a new sid, so that a stolen cookie
   * does not stay current.
   */
  readonly rollingTimeout?: Duration.Input | undefined
  /**
   * Longest life, whatever happens: users log in again after it. Default: 24 hours;
   * zero disables.
   *
   * **Gotchas**
   *
   * All three timeouts zero is refused: a cookie that leaked would stay valid for
   * ever.
   */
  readonly absoluteTimeout?: Duration.Input | undefined
  /**
   * Idle time after which a request touches the session, so that not every response
   * sets a cookie. Default: 1 minute; zero touches at every request.
   *
   * **Gotchas**
   *
   * Must be less than `idlingTimeout`: a session in use would otherwise time out.
   */
  readonly touchThreshold?: Duration.Input | undefined
  /**
   * Payloads of more bytes than this are deflated. Default: 1024 bytes; zero never
   * deflates.
   *
   * **Gotchas**
   *
   * The length of a deflated payload tells about its content. Never deflate a secret
   * together with text that the client chooses (CRIME).
   */
  readonly compressionThreshold?: number | undefined
  /**
   * Most bytes that a payload may inflate to; a larger one opens no session.
   * Default: 65,536 bytes; 1,024 to 16,777,216. The references have no limit.
   */
  readonly inflateLimit?: number | undefined
  /**
   * What of the sender a session is bound to: its cookie does not open elsewhere.
   * Default: nothing, `[]`.
   *
   * **Gotchas**
   *
   * Addresses change on mobile networks, and behind a proxy they are the proxy's. A
   * User-Agent changes with every update of the browser.
   */
  readonly bind?: ReadonlyArray<"ip" | "scheme" | "user-agent"> | undefined
  /**
   * Whether a store finds a session by a hash of its sid. Default: `true`; the
   * references store the sid itself.
   *
   * **Details**
   *
   * `false` is refused without `compatibility`: a sid in clear is all that whoever
   * reads the database, or a backup of it, needs to decrypt that session.
   */
  readonly hashStorageKey?: boolean | undefined
  /**
   * Whether a store lists subjects by a keyed hash instead of in clear. Default:
   * `true`; in the references `false`, and the hash has no key, so that subjects can
   * be guessed.
   */
  readonly hashSubject?: boolean | undefined
  /**
   * Whether a store keeps the index of audiences and subjects at all, which listing
   * and ending all sessions of a user needs. Default: `true`; in the references
   * `false`.
   */
  readonly storeMetadata?: boolean | undefined
  /**
   * Properties that are put into response headers named `Session-Id`,
   * `Session-Audience` and so on. Default: none, `[]`.
   */
  readonly responseHeaders?: ReadonlyArray<Property> | undefined
  /**
   * The same for the request that handlers see, for those that pass it on to another
   * server. Default: none, `[]`.
   */
  readonly requestHeaders?: ReadonlyArray<Property> | undefined
  /**
   * Longest time for the store to acknowledge a commit; past it the response is a
   * 503 without a session cookie. Default: 5 seconds; 1 millisecond to 1 minute. Not
   * in the references, which wait as long as their backend's timeouts let them.
   */
  readonly commitTimeout?: Duration.Input | undefined
  /**
   * What becomes of a response whose session was ended meanwhile by another
   * request: it goes out without a session cookie (`"drop"`), or turns into a 409
   * (`"fail"`). Default: `"drop"`. In the references such a save brings the session
   * back to life.
   */
  readonly onGone?: "drop" | "fail" | undefined
  /**
   * What becomes of a session one of whose superseded versions is presented after
   * its grace: nothing (`"ignore"`), or it is revoked (`"revoke"`). Default:
   * `"ignore"`, because lost responses and restored browser tabs look like theft.
   */
  readonly onReuse?: "ignore" | "revoke" | undefined
  /**
   * The reference whose other side shares these sessions, set by the presets `kong`
   * and `lua`. Default: none.
   *
   * **Details**
   *
   * Relaxes what this library demands beyond the references. A weak or repeated
   * key, two keys of which one is ignored, and times that make no sense together are
   * a logged warning. Attributes that contradict the prefix or `SameSite` are
   * overridden as there, and `hashStorageKey: false` is accepted.
   */
  readonly compatibility?: "kong" | "lua" | undefined
}

/**
 * The settings as the library reads them: complete, checked, times in seconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settings {
  /** The primary key first, then the fallbacks: a text to hash, or 32 bytes. */
  readonly keys: readonly [
    Redacted.Redacted<string | Uint8Array>,
    ...Array<Redacted.Redacted<string | Uint8Array>>
  ]
  /** With the prefix. */
  readonly cookieName: string
  /** Whether the name must match to the letter: prefixed names must, others are matched as nginx does, in any case. */
  readonly cookieNameExact: boolean
  readonly cookiePath: string
  /** A domain name, `"host"` for the host of the request, or none. */
  readonly cookieDomain: string | undefined
  readonly cookieHttpOnly: boolean
  readonly cookieSecure: boolean
  readonly cookieSameSite: "Strict" | "Lax" | "None" | "Default"
  readonly cookiePriority: "Low" | "Medium" | "High" | undefined
  readonly cookieSameParty: boolean
  readonly cookiePartitioned: boolean
  readonly remember: boolean
  readonly rememberSafety: "None" | "Low" | "Medium" | "High" | "Very High"
  /** With the prefix. */
  readonly rememberCookieName: string
  /** Seconds; 0 disables. */
  readonly rememberRollingTimeout: number
  /** Seconds; 0 disables. */
  readonly rememberAbsoluteTimeout: number
  readonly audience: string
  readonly subject: string | undefined
  readonly enforceSameSubject: boolean
  /** Seconds. */
  readonly staleTtl: number
  /** Seconds; 0 disables. */
  readonly idlingTimeout: number
  /** Seconds; 0 disables. */
  readonly rollingTimeout: number
  /** Seconds; 0 disables. */
  readonly absoluteTimeout: number
  /** Seconds. */
  readonly touchThreshold: number
  /** Bytes; 0 never deflates. */
  readonly compressionThreshold: number
  /** Bytes. */
  readonly inflateLimit: number
  /** `Flag.BindIp`, `Flag.BindScheme`, `Flag.BindUserAgent`. */
  readonly bindFlags: number
  readonly hashStorageKey: boolean
  readonly hashSubject: boolean
  readonly storeMetadata: boolean
  readonly responseHeaders: ReadonlyArray<Property>
  readonly requestHeaders: ReadonlyArray<Property>
  /** Milliseconds. */
  readonly commitTimeout: number
  readonly onGone: "drop" | "fail"
  readonly onReuse: "ignore" | "revoke"
}

/**
 * The settings, provided by `layer` or `layerConfig`.
 *
 * @category services
 * @since 0.1.0
 */
export class SessionConfig extends Context.Service<SessionConfig, Settings>()("effect-session/SessionConfig") {}

/**
 * The defaults of lua-resty-session 4.1, all of them, to share sessions with
 * programs that use it: `SessionConfig.layer({ ...SessionConfig.lua, secret })`.
 *
 * **Gotchas**
 *
 * They are less safe than ours: no cookie prefix, not `Secure`, `SameSite=Lax`,
 * sids and subjects in clear in the store.
 *
 * **Example** (The reference's cookie)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect, Redacted } from "effect"
 * import * as SessionConfig from "effect-session/SessionConfig"
 *
 * const secret = Redacted.make("Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4")
 * const settings = await Effect.runPromise(SessionConfig.make({ ...SessionConfig.lua, secret }))
 *
 * assert.deepEqual([settings.cookieName, settings.cookieSecure, settings.cookieSameSite], ["session", false, "Lax"])
 * ```
 *
 * @category presets
 * @since 0.1.0
 */
export const lua: Options = {
  cookiePrefix: "",
  cookieName: "session",
  cookiePath: "/",
  cookieDomain: "",
  cookieHttpOnly: true,
  cookieSecure: false,
  cookieSameSite: "Lax",
  cookieSameParty: false,
  cookiePartitioned: false,
  remember: false,
  rememberSafety: "Medium",
  rememberCookieName: "remember",
  rememberRollingTimeout: "7 days",
  rememberAbsoluteTimeout: "30 days",
  audience: "default",
  enforceSameSubject: false,
  staleTtl: "10 seconds",
  idlingTimeout: "15 minutes",
  rollingTimeout: "1 hour",
  absoluteTimeout: "24 hours",
  touchThreshold: "1 minute",
  compressionThreshold: 1024,
  bind: [],
  hashStorageKey: false,
  hashSubject: false,
  storeMetadata: false,
  responseHeaders: [],
  requestHeaders: [],
  compatibility: "lua"
}

/**
 * The defaults of Kong's session plugin, all of them, to share sessions with a
 * Kong: those of `lua`, but `Secure` and `SameSite=Strict`.
 *
 * **Gotchas**
 *
 * Kong makes up a secret when none is configured. Configure the same one on both
 * sides; a short one, which Kong accepts, is a warning here.
 *
 * **Example** (Sharing sessions with a Kong)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect, Redacted } from "effect"
 * import * as SessionConfig from "effect-session/SessionConfig"
 *
 * const secret = Redacted.make("Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4")
 * const settings = await Effect.runPromise(SessionConfig.make({ ...SessionConfig.kong, secret }))
 *
 * assert.deepEqual([settings.cookieName, settings.cookieSecure, settings.cookieSameSite], ["session", true, "Strict"])
 * ```
 *
 * @category presets
 * @since 0.1.0
 */
export const kong: Options = {
  ...lua,
  cookieSecure: true,
  cookieSameSite: "Strict",
  compatibility: "kong"
}

const defaults = {
  secretFallbacks: [],
  ikmFallbacks: [],
  cookiePrefix: "__Host-",
  cookieName: "session",
  cookiePath: "/",
  cookieDomain: "",
  cookieHttpOnly: true,
  cookieSecure: true,
  cookieSameSite: "Strict",
  cookieSameParty: false,
  cookiePartitioned: false,
  remember: false,
  rememberSafety: "Medium",
  rememberCookieName: "remember",
  rememberRollingTimeout: "7 days",
  rememberAbsoluteTimeout: "30 days",
  audience: "default",
  enforceSameSubject: false,
  staleTtl: "10 seconds",
  idlingTimeout: "15 minutes",
  rollingTimeout: "1 hour",
  absoluteTimeout: "24 hours",
  touchThreshold: "1 minute",
  compressionThreshold: 1024,
  inflateLimit: 65_536,
  bind: [],
  hashStorageKey: true,
  hashSubject: true,
  storeMetadata: true,
  responseHeaders: [],
  requestHeaders: [],
  commitTimeout: "5 seconds",
  onGone: "drop",
  onReuse: "ignore"
} satisfies Options

/** Options in which everything that has a default is given. */
type Complete = Options & { readonly [K in keyof typeof defaults]: Exclude<Options[K], undefined> }

const properties = validate.listOf(
  "id",
  "audience",
  "subject",
  "timeout",
  "idling-timeout",
  "rolling-timeout",
  "absolute-timeout"
)

const kinds: { readonly [K in keyof Options]-?: validate.Kind<Exclude<Options[K], undefined>> } = {
  secret: validate.secret,
  secretFallbacks: validate.secrets,
  ikm: validate.key,
  ikmFallbacks: validate.keys,
  cookiePrefix: validate.oneOfOrNone("__Host-", "__Secure-"),
  cookieName: validate.text,
  cookiePath: validate.text,
  cookieDomain: validate.textOrNone,
  cookieHttpOnly: validate.boolean,
  cookieSecure: validate.boolean,
  cookieSameSite: validate.oneOf("Strict", "Lax", "None", "Default"),
  cookiePriority: validate.oneOf("Low", "Medium", "High"),
  cookieSameParty: validate.boolean,
  cookiePartitioned: validate.boolean,
  remember: validate.boolean,
  rememberSafety: validate.oneOf("None", "Low", "Medium", "High", "Very High"),
  rememberCookieName: validate.text,
  rememberRollingTimeout: validate.duration,
  rememberAbsoluteTimeout: validate.duration,
  audience: validate.text,
  subject: validate.text,
  enforceSameSubject: validate.boolean,
  staleTtl: validate.duration,
  idlingTimeout: validate.duration,
  rollingTimeout: validate.duration,
  absoluteTimeout: validate.duration,
  touchThreshold: validate.duration,
  compressionThreshold: validate.integer,
  inflateLimit: validate.integer,
  bind: validate.listOf("ip", "scheme", "user-agent"),
  hashStorageKey: validate.boolean,
  hashSubject: validate.boolean,
  storeMetadata: validate.boolean,
  responseHeaders: properties,
  requestHeaders: properties,
  commitTimeout: validate.duration,
  onGone: validate.oneOf("drop", "fail"),
  onReuse: validate.oneOf("ignore", "revoke"),
  compatibility: validate.oneOf("kong", "lua")
}

/** What a setting has to fulfil beyond being of its kind. */
interface Rule {
  readonly setting: keyof Options
  readonly isBroken: (options: Complete) => boolean
  readonly problem: string
  readonly fix: string
  /** What becomes of it with `compatibility`; refused, if not said. */
  readonly compatible?: "warned" | "accepted"
}

type KeySetting = "secret" | "secretFallbacks" | "ikm" | "ikmFallbacks"

const keysOf = (options: Complete, ...settings: ReadonlyArray<KeySetting>): ReadonlyArray<string | Uint8Array> =>
  settings.flatMap((setting) => Array.ensure<Redacted.Redacted<string | Uint8Array>>(options[setting] ?? []))
    .map(Redacted.value)

const makeOne = "Make one with `openssl rand -base64 32`"

const keyRules: ReadonlyArray<Rule> = [
  {
    setting: "ikm",
    isBroken: (options) => options.secret !== undefined && options.ikm !== undefined,
    problem: "is given beside `secret`, and only one can be the key",
    fix: "Leave one of them out",
    compatible: "warned"
  },
  {
    setting: "ikmFallbacks",
    isBroken: (options) => options.secretFallbacks.length > 0 && options.ikmFallbacks.length > 0,
    problem: "is given beside `secretFallbacks`, and would hide them",
    fix: "Leave one of them out",
    compatible: "warned"
  },
  ...(["secret", "secretFallbacks"] as const).flatMap((setting): ReadonlyArray<Rule> => [
    {
      setting,
      isBroken: (options) => keysOf(options, setting).some((key) => validate.byteLength(key) < 32),
      problem: "has fewer than 32 bytes",
      fix: makeOne,
      compatible: "warned"
    },
    {
      setting,
      isBroken: (options) => keysOf(options, setting).some((key) => /^\s|\s$/.test(String(key))),
      problem: "begins or ends with white space, which files and lists add unseen",
      fix: "Remove it",
      compatible: "warned"
    }
  ]),
  ...(["ikm", "ikmFallbacks"] as const).map((setting): Rule => ({
    setting,
    isBroken: (options) => keysOf(options, setting).some((key) => validate.byteLength(key) !== 32),
    problem: "is not 32 bytes long",
    fix: makeOne
  })),
  ...(["secret", "secretFallbacks", "ikm", "ikmFallbacks"] as const).map((setting): Rule => ({
    setting,
    isBroken: (options) => keysOf(options, setting).some(validate.isGuessable),
    problem: "can be guessed: it has fewer than 8 different characters, or is a placeholder",
    fix: makeOne,
    compatible: "warned"
  })),
  ...([["secret", "secretFallbacks"], ["ikm", "ikmFallbacks"]] as const).map(([primary, setting]): Rule => ({
    setting,
    isBroken: (options) => validate.hasDuplicates(keysOf(options, primary, setting)),
    problem: `repeats a key, or has that of \`${primary}\``,
    fix: "Leave it out: it does nothing, and after a rotation the old key belongs here",
    compatible: "warned"
  }))
]

/** None for the values that the reference leaves out of the cookie too. */
const domainOf = (options: Complete): string | undefined =>
  options.cookieDomain === "" || options.cookieDomain === "localhost" ? undefined : options.cookieDomain

const isSecureForced = (options: Complete): boolean =>
  options.cookiePrefix !== "" || options.cookieSameSite === "None" || options.cookieSameParty

const cookieRules: ReadonlyArray<Rule> = [
  ...(["cookieName", "rememberCookieName"] as const).flatMap((setting): ReadonlyArray<Rule> => [
    {
      setting,
      isBroken: (options) => !validate.isToken(options[setting]),
      problem: "is empty, or has characters that no cookie's name can have",
      fix: "Use letters, digits, \"-\" and \"_\""
    },
    {
      setting,
      isBroken: (options) => options[setting].length > 128,
      problem: "has more than 128 characters",
      fix: "Use a shorter one: every cookie of a session pays for it"
    },
    {
      setting,
      isBroken: (options) => /^__(host|secure)-/i.test(options[setting]),
      problem: "begins with a prefix",
      fix: "Leave the prefix out, and set `cookiePrefix` to it"
    }
  ]),
  {
    setting: "rememberCookieName",
    isBroken: (options) => validate.isSameOrChunk(options.cookieName, options.rememberCookieName),
    problem: "is the name of the session cookie, or of its continuation",
    fix: "Choose a name that differs in more than a number at its end"
  },
  {
    setting: "cookiePath",
    isBroken: (options) => !validate.isCookiePath(options.cookiePath),
    problem: "does not begin with \"/\", or has \";\", controls or characters outside of ASCII",
    fix: "Write \"/\", or a path as URLs spell it"
  },
  {
    setting: "cookieDomain",
    isBroken: (options) => options.cookieDomain.startsWith("."),
    problem: "begins with a dot",
    fix: "Leave the dot out: subdomains are meant anyway"
  },
  {
    setting: "cookieDomain",
    isBroken: (options) => validate.isAddress(options.cookieDomain),
    problem: "is an IP address, for which browsers take no domain",
    fix: "Leave it out"
  },
  {
    setting: "cookieDomain",
    isBroken: (options) => options.cookieDomain !== "" && !validate.isDomainName(options.cookieDomain),
    problem: "is not a domain name",
    fix: "Write the name alone, such as \"example.com\"; international names in their \"xn--\" form"
  },
  {
    setting: "cookiePath",
    isBroken: (options) => options.cookiePrefix === "__Host-" && options.cookiePath !== "/",
    problem: "must be \"/\" with the prefix `__Host-`",
    fix: "Leave it out, or set `cookiePrefix` to \"__Secure-\"",
    compatible: "accepted"
  },
  {
    setting: "cookieDomain",
    isBroken: (options) => options.cookiePrefix === "__Host-" && domainOf(options) !== undefined,
    problem: "cannot be given with the prefix `__Host-`",
    fix: "Leave it out, or set `cookiePrefix` to \"__Secure-\"",
    compatible: "accepted"
  },
  {
    setting: "cookieSecure",
    isBroken: (options) => !options.cookieSecure && options.cookiePrefix !== "",
    problem: "must be true with a `cookiePrefix`",
    fix: "Leave it out; without HTTPS, set `cookiePrefix` to \"\"",
    compatible: "accepted"
  },
  {
    setting: "cookieSecure",
    isBroken: (options) => !options.cookieSecure && isSecureForced(options),
    problem: "must be true with `cookieSameSite: \"None\"` and with `cookieSameParty`",
    fix: "Leave it out",
    compatible: "accepted"
  },
  {
    setting: "cookieSecure",
    isBroken: (options) => !options.cookieSecure && !isSecureForced(options) && options.cookiePartitioned,
    problem: "must be true with `cookiePartitioned`",
    fix: "Leave it out",
    compatible: "warned"
  },
  {
    setting: "cookieSameParty",
    isBroken: (options) => options.cookieSameParty && options.cookieSameSite === "Strict",
    problem: "cannot be true with `cookieSameSite: \"Strict\"`",
    fix: "Leave it out, or set `cookieSameSite` to \"Lax\""
  }
]

const seconds = (input: Duration.Input): number => Math.floor(Duration.toSeconds(input))

const exceeds = (input: Duration.Input, limit: Duration.Input): boolean =>
  seconds(limit) > 0 && seconds(input) > seconds(limit)

const timeRules: ReadonlyArray<Rule> = [
  ...([
    "staleTtl",
    "idlingTimeout",
    "rollingTimeout",
    "absoluteTimeout",
    "touchThreshold",
    "rememberRollingTimeout",
    "rememberAbsoluteTimeout"
  ] as const).flatMap((setting): ReadonlyArray<Rule> => [
    {
      setting,
      isBroken: (options) => !Number.isFinite(seconds(options[setting])) || seconds(options[setting]) < 0,
      problem: "is negative or infinite",
      fix: "Write a duration such as \"15 minutes\", or 0 for none"
    },
    {
      setting,
      isBroken: (options) => seconds(options[setting]) === 0 && Duration.toSeconds(options[setting]) > 0,
      problem: "is less than a second",
      fix: "Write it with its unit, such as \"15 minutes\": a bare number is milliseconds"
    }
  ]),
  {
    setting: "staleTtl",
    isBroken: (options) => exceeds(options.staleTtl, "1 hour"),
    problem: "is longer than an hour",
    fix: "Write the time that requests under way may take, such as \"10 seconds\"",
    compatible: "warned"
  },
  ...([
    ["idlingTimeout", "rollingTimeout"],
    ["idlingTimeout", "absoluteTimeout"],
    ["rollingTimeout", "absoluteTimeout"],
    ["rememberRollingTimeout", "rememberAbsoluteTimeout"]
  ] as const).map(([setting, limit]): Rule => ({
    setting,
    isBroken: (options) => exceeds(options[setting], options[limit]),
    problem: `is longer than \`${limit}\`, which ends the session before`,
    fix: `Set it to at most \`${limit}\`, or one of them to 0, which disables it`,
    compatible: "warned"
  })),
  {
    setting: "absoluteTimeout",
    isBroken: (options) =>
      [options.idlingTimeout, options.rollingTimeout, options.absoluteTimeout].every((timeout) =>
        seconds(timeout) === 0
      ),
    problem: "is 0 like the other timeouts, and sessions would never end",
    fix: "Set at least one of `idlingTimeout`, `rollingTimeout` and `absoluteTimeout`",
    compatible: "warned"
  },
  {
    setting: "touchThreshold",
    isBroken: (options) =>
      seconds(options.idlingTimeout) > 0 && seconds(options.touchThreshold) >= seconds(options.idlingTimeout),
    problem: "is not less than `idlingTimeout`, and sessions in use would time out",
    fix: "Set it to less than `idlingTimeout`",
    compatible: "warned"
  },
  {
    setting: "commitTimeout",
    isBroken: (options) => {
      const millis = Duration.toMillis(options.commitTimeout)
      return millis < 1 || millis > 60_000
    },
    problem: "is not between 1 millisecond and 1 minute",
    fix: "Write the time that a response may wait for the store, such as \"5 seconds\""
  }
]

const otherRules: ReadonlyArray<Rule> = [
  ...(["audience", "subject"] as const).flatMap((setting): ReadonlyArray<Rule> => [
    {
      setting,
      isBroken: (options) => options[setting] === "",
      problem: "is empty",
      fix: "Leave it out"
    },
    {
      setting,
      isBroken: (options) => validate.hasControls(options[setting] ?? ""),
      problem: "has control characters, which no header can carry",
      fix: "Leave them out"
    }
  ]),
  {
    setting: "compressionThreshold",
    isBroken: (options) => options.compressionThreshold < 0,
    problem: "is negative",
    fix: "Write a number of bytes, or 0 to never deflate"
  },
  {
    setting: "inflateLimit",
    isBroken: (options) => options.inflateLimit < 1024 || options.inflateLimit > 16 * 1024 * 1024,
    problem: "is not between 1024 and 16777216",
    fix: "Write the bytes of the largest session that you expect"
  },
  ...(["bind", "responseHeaders", "requestHeaders"] as const).map((setting): Rule => ({
    setting,
    isBroken: (options) => new Set(options[setting]).size < options[setting].length,
    problem: "names something twice",
    fix: "Name it once"
  })),
  {
    setting: "hashStorageKey",
    isBroken: (options) => !options.hashStorageKey && options.compatibility === undefined,
    problem: "must be true: whoever reads a sid in the database can open its session",
    fix: "Leave it out, or set `compatibility` to the program that shares the database"
  },
  {
    setting: "remember",
    isBroken: (options) => options.remember,
    problem: "is not available in this version",
    fix: "Leave it out"
  }
]

const toReason = ({ fix, problem, setting }: Rule): InvalidConfig => new InvalidConfig({ setting, problem, fix })

const rules: ReadonlyArray<Rule> = [...keyRules, ...cookieRules, ...timeRules, ...otherRules]

/** What no type tells in JavaScript: a setting that does not exist, or whose value is of another kind. */
const findMisfit = (options: Options): InvalidConfig | undefined => {
  for (const [setting, value] of Object.entries(options)) {
    if (!Record.has(kinds, setting)) {
      const fix = "See `SessionConfig.Options` for all there are; where sessions live is the layer of `SessionStore`"
      return new InvalidConfig({ setting, problem: "is not a setting", fix })
    }
    if (value !== undefined && !kinds[setting].is(value)) {
      return new InvalidConfig({ setting, problem: `is not ${kinds[setting].name}`, fix: kinds[setting].fix })
    }
  }
  return undefined
}

const bindFlags = { ip: Flag.BindIp, scheme: Flag.BindScheme, "user-agent": Flag.BindUserAgent }

const toSettings = (options: Complete, keys: Settings["keys"]): Settings => {
  const isHost = options.cookiePrefix === "__Host-"
  return {
    keys,
    cookieName: options.cookiePrefix + options.cookieName,
    cookieNameExact: options.cookiePrefix !== "",
    cookiePath: isHost ? "/" : options.cookiePath,
    cookieDomain: isHost ? undefined : domainOf(options),
    cookieHttpOnly: options.cookieHttpOnly,
    cookieSecure: options.cookieSecure || isSecureForced(options),
    cookieSameSite: options.cookieSameSite,
    cookiePriority: options.cookiePriority,
    cookieSameParty: options.cookieSameParty,
    cookiePartitioned: options.cookiePartitioned,
    remember: options.remember,
    rememberSafety: options.rememberSafety,
    rememberCookieName: options.cookiePrefix + options.rememberCookieName,
    rememberRollingTimeout: seconds(options.rememberRollingTimeout),
    rememberAbsoluteTimeout: seconds(options.rememberAbsoluteTimeout),
    audience: options.audience,
    subject: options.subject,
    enforceSameSubject: options.enforceSameSubject,
    staleTtl: seconds(options.staleTtl),
    idlingTimeout: seconds(options.idlingTimeout),
    rollingTimeout: seconds(options.rollingTimeout),
    absoluteTimeout: seconds(options.absoluteTimeout),
    touchThreshold: seconds(options.touchThreshold),
    compressionThreshold: options.compressionThreshold,
    inflateLimit: options.inflateLimit,
    bindFlags: options.bind.reduce((flags, what) => flags | bindFlags[what], 0),
    hashStorageKey: options.hashStorageKey,
    hashSubject: options.hashSubject,
    storeMetadata: options.storeMetadata,
    responseHeaders: options.responseHeaders,
    requestHeaders: options.requestHeaders,
    commitTimeout: Duration.toMillis(options.commitTimeout),
    onGone: options.onGone,
    onReuse: options.onReuse
  }
}

const missingKey = new InvalidConfig({
  setting: "secret",
  problem: "is missing",
  fix: `Set SESSION_SECRET, or give \`secret\`. ${makeOne}`
})

const refuse = (reason: InvalidConfig) => Effect.fail(new SessionError({ reason }))

/**
 * Checks options, and completes them with the defaults.
 *
 * **Details**
 *
 * Fails with reason `InvalidConfig` for the first problem found. What is let
 * through for `compatibility` alone is logged at level Warn. No message contains a
 * key.
 *
 * **Example** (A setting that cannot work)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect, Redacted } from "effect"
 * import * as SessionConfig from "effect-session/SessionConfig"
 *
 * const secret = Redacted.make("Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4")
 * const error = await Effect.runPromise(Effect.flip(SessionConfig.make({ secret, cookiePath: "shop" })))
 *
 * assert.match(error.message, /^cookiePath: does not begin with "\/"/)
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: (options: Options) => Effect.Effect<Settings, SessionError> = Effect.fnUntraced(
  function*(options) {
    const misfit = findMisfit(options)
    if (misfit !== undefined) return yield* refuse(misfit)

    const primary = options.ikm ?? options.secret
    if (primary === undefined) return yield* refuse(missingKey)

    // a given `undefined` would hide a default; that none is left, the type of `filter` does not say
    const complete = { ...defaults, ...Record.filter(options, Predicate.isNotUndefined) } as Complete
    const { compatibility } = complete
    const broken = rules.filter((rule) => rule.isBroken(complete))
    const refused = broken.find((rule) => compatibility === undefined || rule.compatible === undefined)
    if (refused !== undefined) return yield* refuse(toReason(refused))

    const warned = broken.filter((rule) => rule.compatible === "warned")
    yield* Effect.forEach(
      warned,
      (rule) => Effect.logWarning(`Accepted for compatibility with ${compatibility}: ${toReason(rule).message}`),
      { discard: true }
    )
    const { ikmFallbacks, secretFallbacks } = complete
    return toSettings(complete, [primary, ...(ikmFallbacks.length > 0 ? ikmFallbacks : secretFallbacks)])
  }
)

/**
 * Provides the settings, checked and completed as `make` does.
 *
 * **Example** (A shorter life)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect, Redacted } from "effect"
 * import * as SessionConfig from "effect-session/SessionConfig"
 *
 * const Settings = SessionConfig.layer({
 *   secret: Redacted.make("Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4"),
 *   absoluteTimeout: "8 hours"
 * })
 * const settings = await Effect.runPromise(Effect.provide(SessionConfig.SessionConfig, Settings))
 *
 * assert.equal(settings.absoluteTimeout, 8 * 60 * 60)
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<SessionConfig, SessionError> =>
  Layer.effect(SessionConfig, make(options))

const toVariable = (setting: string): string => `SESSION_${setting.replace(/[A-Z]/g, "_$&").toUpperCase()}`

const { compatibility: _, ...readable } = kinds

/** What the environment sets, and nothing else. */
const environment: Config.Config<Options> = Config.map(
  Config.all(Record.map(
    readable,
    (kind, setting) => Config.withDefault<unknown, undefined>(kind.read(toVariable(setting)), undefined)
  )),
  // `Record.map` forgets which setting is of which kind; `kinds` is typed so that the values fit `Options`
  (values) => Record.filter(values, Predicate.isNotUndefined) as Options
)

/** Tells that a value came from the environment, and from which variable. */
const nameVariable = (found: Options) => (error: SessionError): SessionError =>
  error.reason._tag === "InvalidConfig" && Object.hasOwn(found, error.reason.setting)
    ? new SessionError({
      reason: new InvalidConfig({
        setting: error.reason.setting,
        problem: error.reason.problem,
        fix: `${error.reason.fix} (${toVariable(error.reason.setting)})`
      })
    })
    : error

/**
 * Provides the settings, read from the environment through the current
 * `ConfigProvider`: the variables have the names of the settings, in capitals
 * and with `SESSION_` in front, such as `SESSION_COOKIE_NAME`.
 *
 * **Details**
 *
 * What the environment says goes before `options`, which go before the defaults.
 * The key is one thing, whichever way it is given: `SESSION_SECRET` as well as
 * `SESSION_IKM` replaces both `secret` and `ikm` of the options.
 *
 * | settings | are written as |
 * |---|---|
 * | timeouts and other times | a number and its unit: `15 minutes`, `0 seconds` |
 * | booleans | `true`, `false`, `yes`, `no`, `on`, `off`, `1`, `0`, `y`, `n` |
 * | lists | values between commas, blanks around them ignored: `ip, user-agent` |
 * | `SESSION_SECRET` | as it is |
 * | `SESSION_IKM` | 32 bytes in base64 or base64url, with or without padding |
 *
 * Providers take an empty variable for a missing one. `none` stands for an empty
 * list, for no `SESSION_COOKIE_PREFIX` and for no `SESSION_COOKIE_DOMAIN`.
 *
 * A value that cannot be read is a `ConfigError`, one that is refused a
 * `SessionError` with reason `InvalidConfig`; both name the variable.
 *
 * **Gotchas**
 *
 * Neither base64 nor hex has commas, but other secrets may: one with a comma, or
 * with a blank at an end, cannot stand in `SESSION_SECRET_FALLBACKS`.
 *
 * `compatibility` is not read from the environment. It belongs to a preset:
 * `layerConfig(SessionConfig.kong)`.
 *
 * **Example** (Settings from the environment)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { ConfigProvider, Effect, Layer } from "effect"
 * import * as SessionConfig from "effect-session/SessionConfig"
 *
 * const Environment = ConfigProvider.layer(ConfigProvider.fromEnv({
 *   env: {
 *     SESSION_SECRET: "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4",
 *     SESSION_IDLING_TIMEOUT: "5 minutes"
 *   }
 * }))
 * const Settings = SessionConfig.layerConfig({ cookieName: "shop" }).pipe(Layer.provide(Environment))
 * const settings = await Effect.runPromise(Effect.provide(SessionConfig.SessionConfig, Settings))
 *
 * assert.deepEqual([settings.cookieName, settings.idlingTimeout], ["__Host-shop", 300])
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (options: Options = {}): Layer.Layer<SessionConfig, SessionError | Config.ConfigError> =>
  Layer.effect(
    SessionConfig,
    Effect.flatMap(environment, (found) => {
      const replaced = found.secret === undefined && found.ikm === undefined
        ? {}
        : { secret: undefined, ikm: undefined }
      return Effect.mapError(make({ ...options, ...replaced, ...found }), nameVariable(found))
    })
  )
