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
import { Config, Context, Duration, Effect, Layer, Record } from "effect"
import type { Redacted } from "effect"
import type { Kind } from "./internal/kinds.ts"
import * as validate from "./internal/validate.ts"
import { InvalidConfig, SessionError } from "./SessionError.ts"
import { Flag } from "./SessionState.ts"

/**
 * A property of a session that can be put into a header; see
 * `Options.responseHeaders`.
 *
 * **Details**
 *
 * `id` is the session's public handle, which only server placement has. With
 * `hashStorageKey: false`, as in the presets, it is the sid, as in the references.
 * The timeouts are the seconds left; `timeout` is the shortest of them. A property
 * without a value sets no header.
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
   * `"Default"` is written as it is, and browsers take it for no value, which most
   * treat as Lax (RFC 6265bis, section 4.1.2.7).
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
   * Whether a second, long-lived cookie brings sessions back that have ended by their
   * timeouts, or with the browser: yes, no, or for who asks for it. Default: `false`.
   *
   * **Details**
   *
   * With `true` it is set with each save that a handler asks for, unless the user
   * declines; with `"ask"`, which the references do not have, from the moment on that
   * the user accepts (`login(subject, { remember: true })`, `setRemember(true)`). It is
   * looked at only where the session cookie is refused, and with `false` never. What it
   * brings back is a new session with the data of the last save, under the same
   * handle; it is replaced itself, and with server placement its old version is
   * superseded like a session's. Where the same request renews the session, with a
   * login say, it gets another handle, and the old remember cookie is dead at once. A
   * logout ends both.
   *
   * **Gotchas**
   *
   * OWASP's session management cheat sheet advises against it where much is at stake.
   * Ask for the password again before what matters: a session that was brought back
   * says so in no other way than by its age.
   */
  readonly remember?: boolean | "ask" | undefined
  /**
   * How costly it is to derive the remember cookie's key: PBKDF2 with 1,000
   * (`"Low"`), 10,000, 100,000 or 1,000,000 (`"Very High"`) iterations, or HKDF
   * (`"None"`). Default: `"Medium"`. It is derived off the event loop, and only for a
   * cookie whose MAC verifies.
   *
   * **Gotchas**
   *
   * The cookie does not say under which of these it was made: remember cookies made
   * under another one do not open. Against a secret of 32 random bytes PBKDF2 adds
   * nothing; it is there for the references, which take any text for a secret.
   *
   * With `"None"` both cookies have one key. With cookie placement, whoever holds a
   * session cookie can then present it under the remember cookie's name, and it lives
   * as long as one.
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
   * Default: 65,536 bytes; 1,024 to 16,777,216.
   *
   * **Gotchas**
   *
   * The references have no limit, and the presets leave this one in place: raise it
   * where the other side keeps more than that in a session.
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
   * Bytes of memory for cookies that were verified within the last minute, so that the
   * same one is not verified, and with cookie placement not decrypted, again and again.
   * Default: 4,194,304 bytes, for some 4,000 sessions of 100 bytes; 0 remembers none;
   * at most 1,073,741,824. Not in the references.
   *
   * **Details**
   *
   * By their exact text, and timeouts are checked every time. A server-side store is
   * asked as ever, so that a session that was ended is not found here. Cookies that are
   * bound to their sender are not remembered. Each layer of `SessionHttp` has its own.
   */
  readonly cookieCacheSize?: number | undefined
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
  /** Whether remember cookies are looked for; with `"ask"`, one is only set for who asked. */
  readonly remember: boolean | "ask"
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
  /** Bytes; 0 remembers none. */
  readonly cookieCacheSize: number
  /** Milliseconds. */
  readonly commitTimeout: number
  readonly onGone: "drop" | "fail"
  readonly onReuse: "ignore" | "revoke"
  readonly compatibility: "kong" | "lua" | undefined
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

const defaults: validate.Defaults = {
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
  cookieCacheSize: 4 * 1024 * 1024,
  commitTimeout: "5 seconds",
  onGone: "drop",
  onReuse: "ignore"
}

/** What is written and what is accepted are told apart in two places, and have to agree. */
const kinds: { readonly [S in keyof Options]-?: Kind<Exclude<Options[S], undefined>> } = validate.kinds

/** An `undefined` that is given would hide a default, or what was given elsewhere. */
const definedOf = (options: Options): Options =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))

const bindFlags = { ip: Flag.BindIp, scheme: Flag.BindScheme, "user-agent": Flag.BindUserAgent }

const toSettings = (options: validate.Complete, keys: Settings["keys"]): Settings => {
  const isHost = options.cookiePrefix === "__Host-"
  return {
    keys,
    cookieName: options.cookiePrefix + options.cookieName,
    cookieNameExact: options.cookiePrefix !== "",
    cookiePath: isHost ? "/" : options.cookiePath,
    cookieDomain: isHost ? undefined : validate.domainOf(options),
    cookieHttpOnly: options.cookieHttpOnly,
    cookieSecure: options.cookieSecure || validate.isSecureForced(options),
    cookieSameSite: options.cookieSameSite,
    cookiePriority: options.cookiePriority,
    cookieSameParty: options.cookieSameParty,
    cookiePartitioned: options.cookiePartitioned,
    remember: options.remember,
    rememberSafety: options.rememberSafety,
    rememberCookieName: options.cookiePrefix + options.rememberCookieName,
    rememberRollingTimeout: validate.seconds(options.rememberRollingTimeout),
    rememberAbsoluteTimeout: validate.seconds(options.rememberAbsoluteTimeout),
    audience: options.audience,
    subject: options.subject,
    enforceSameSubject: options.enforceSameSubject,
    staleTtl: validate.seconds(options.staleTtl),
    idlingTimeout: validate.seconds(options.idlingTimeout),
    rollingTimeout: validate.seconds(options.rollingTimeout),
    absoluteTimeout: validate.seconds(options.absoluteTimeout),
    touchThreshold: validate.seconds(options.touchThreshold),
    compressionThreshold: options.compressionThreshold,
    inflateLimit: options.inflateLimit,
    bindFlags: options.bind.reduce((flags, what) => flags | bindFlags[what], 0),
    hashStorageKey: options.hashStorageKey,
    hashSubject: options.hashSubject,
    storeMetadata: options.storeMetadata,
    responseHeaders: options.responseHeaders,
    requestHeaders: options.requestHeaders,
    cookieCacheSize: options.cookieCacheSize,
    commitTimeout: Duration.toMillis(options.commitTimeout),
    onGone: options.onGone,
    onReuse: options.onReuse,
    compatibility: options.compatibility
  }
}

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
    const misfit = validate.findMisfit(options)
    if (misfit !== undefined) return yield* refuse(misfit)

    const primary = options.ikm ?? options.secret
    if (primary === undefined) return yield* refuse(new InvalidConfig(validate.missingKey))

    // the type of `definedOf` cannot say that no `undefined` is left
    const complete = { ...defaults, ...definedOf(options) } as validate.Complete
    const { refused, warned } = validate.check(complete)
    if (refused !== undefined) return yield* refuse(refused)

    yield* Effect.forEach(
      warned,
      ({ message }) => Effect.logWarning(`Accepted for compatibility with ${complete.compatibility}: ${message}`),
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
const readEnvironment = (): Config.Config<Options> =>
  Config.map(
    Config.all(Record.map(
      readable,
      (kind: Kind<unknown>, setting) => Config.withDefault(kind.read(toVariable(setting)), undefined)
    )),
    // `Record.map` forgets which setting is of which kind; the type of `kinds` says that they are those of `Options`
    (values) => definedOf(values as Options)
  )

/** Settings that say one thing in two ways: the environment's way replaces that of the options. */
const replace = (found: Options, ways: ReadonlyArray<keyof Options>): Options =>
  ways.some((setting) => found[setting] !== undefined)
    ? Object.fromEntries(ways.map((setting) => [setting, undefined]))
    : {}

/** Tells that a value came from the environment, and from which variable. */
const nameVariable = (found: Options) => (error: SessionError): SessionError =>
  error.reason._tag === "InvalidConfig" && Object.hasOwn(found, error.reason.setting)
    ? new SessionError({
      reason: new InvalidConfig({
        setting: error.reason.setting,
        problem: error.reason.problem,
        fix: `${error.reason.fix} (read from ${toVariable(error.reason.setting)})`
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
 * `SESSION_IKM` replaces both `secret` and `ikm` of the options. So it is with the
 * fallbacks.
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
    Effect.flatMap(Effect.suspend(readEnvironment), (found) =>
      make({
        ...options,
        ...replace(found, ["secret", "ikm"]),
        ...replace(found, ["secretFallbacks", "ikmFallbacks"]),
        ...found
      }).pipe(Effect.mapError(nameVariable(found))))
  )
