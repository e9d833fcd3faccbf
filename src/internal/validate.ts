/**
 * The settings as values at run time: of which kind each is, and which rules it
 * has to follow.
 */
import { Array, Duration, Predicate, Redacted } from "effect"
import { InvalidConfig } from "../SessionError.ts"
import * as choices from "./choices.ts"
import * as kind from "./kinds.ts"

const properties = kind.listOf(...choices.properties)

/** Every setting, in the order in which they are checked. */
export const kinds = {
  secret: kind.secret,
  secretFallbacks: kind.secrets,
  ikm: kind.key,
  ikmFallbacks: kind.keys,
  cookiePrefix: kind.oneOfOrNone("__Host-", "__Secure-"),
  cookieName: kind.text,
  cookiePath: kind.text,
  cookieDomain: kind.textOrNone,
  cookieHttpOnly: kind.boolean,
  cookieSecure: kind.boolean,
  cookieSameSite: kind.oneOf(...choices.sameSites),
  cookiePriority: kind.oneOf("Low", "Medium", "High"),
  cookieSameParty: kind.boolean,
  cookiePartitioned: kind.boolean,
  remember: kind.booleanOr("ask"),
  rememberSafety: kind.oneOf(...choices.safeties),
  rememberCookieName: kind.text,
  rememberRollingTimeout: kind.duration,
  rememberAbsoluteTimeout: kind.duration,
  audience: kind.text,
  subject: kind.text,
  enforceSameSubject: kind.boolean,
  staleTtl: kind.duration,
  idlingTimeout: kind.duration,
  rollingTimeout: kind.duration,
  absoluteTimeout: kind.duration,
  touchThreshold: kind.duration,
  compressionThreshold: kind.integer,
  inflateLimit: kind.integer,
  bind: kind.listOf("ip", "scheme", "user-agent"),
  hashStorageKey: kind.boolean,
  hashSubject: kind.boolean,
  storeMetadata: kind.boolean,
  responseHeaders: properties,
  requestHeaders: properties,
  cookieCacheSize: kind.integer,
  commitTimeout: kind.duration,
  onGone: kind.oneOf("drop", "fail"),
  onReuse: kind.oneOf("ignore", "revoke"),
  compatibility: kind.oneOf("kong", "lua")
}

type Kinds = typeof kinds

type Value<S extends keyof Kinds> = Kinds[S] extends kind.Kind<infer A> ? A : never

/** Without a default. */
type Bare = "secret" | "ikm" | "cookiePriority" | "subject" | "compatibility"

export type Defaults = { readonly [S in Exclude<keyof Kinds, Bare>]: Value<S> }

/** Options completed with the defaults. */
export type Complete = Defaults & { readonly [S in Bare]?: Value<S> | undefined }

/** What a setting has to fulfil beyond being of its kind. */
interface Rule {
  readonly setting: keyof Kinds
  readonly isBroken: (options: Complete) => boolean
  readonly problem: string
  readonly fix: string
  /** What becomes of it with `compatibility`; refused, if not said. */
  readonly compatible?: "warned" | "accepted"
}

const byteLength = (key: string | Uint8Array): number =>
  Predicate.isString(key) ? new TextEncoder().encode(key).length : key.length

/**
 * Whether a key was hardly made at random. Of 32 random bytes, or of their hex
 * or base64, fewer than eight different ones are never seen.
 */
const isGuessable = (key: string | Uint8Array): boolean =>
  new Set<string | number>(key).size < 8 ||
  (Predicate.isString(key) && /change.?me|placeholder|replace.?me|your.?secret/i.test(key))

/** Compares in no constant time: both sides are configuration. */
const hasDuplicates = (keys: ReadonlyArray<string | Uint8Array>): boolean =>
  new Set(keys.map(String)).size < keys.length

type KeySetting = "secret" | "secretFallbacks" | "ikm" | "ikmFallbacks"

const keysOf = (options: Complete, ...settings: ReadonlyArray<KeySetting>): ReadonlyArray<string | Uint8Array> =>
  settings.flatMap((setting) => Array.ensure<Redacted.Redacted<string | Uint8Array>>(options[setting] ?? []))
    .map(Redacted.value)

const makeOne = "Make one with `openssl rand -base64 32`"

export const missingKey = {
  setting: "secret",
  problem: "is missing",
  fix: `Set SESSION_SECRET, or give \`secret\`. ${makeOne}`
}

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
      isBroken: (options) => keysOf(options, setting).some((key) => byteLength(key) < 32),
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
    isBroken: (options) => keysOf(options, setting).some((key) => byteLength(key) !== 32),
    problem: "is not 32 bytes long",
    fix: makeOne
  })),
  ...(["secret", "secretFallbacks", "ikm", "ikmFallbacks"] as const).map((setting): Rule => ({
    setting,
    isBroken: (options) => keysOf(options, setting).some(isGuessable),
    problem: "can be guessed: it has fewer than 8 different characters, or is a placeholder",
    fix: makeOne,
    compatible: "warned"
  })),
  ...([["secret", "secretFallbacks"], ["ikm", "ikmFallbacks"]] as const).map(([primary, setting]): Rule => ({
    setting,
    isBroken: (options) => hasDuplicates(keysOf(options, primary, setting)),
    problem: `repeats a key, or has that of \`${primary}\``,
    fix: "Leave it out: it does nothing, and after a rotation the old key belongs here",
    compatible: "warned"
  }))
]

/** RFC 6265, section 4.1.1: the characters of a cookie's name. */
const isToken = (name: string): boolean => /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(name)

/** Whether two cookies would meet: servers compare names in any case, and long sessions number their cookies 2 to 9. */
const isSameOrChunk = (name: string, other: string): boolean => {
  const [a, b] = [name.toLowerCase(), other.toLowerCase()]
  return a === b || a.replace(/[2-9]$/, "") === b || b.replace(/[2-9]$/, "") === a
}

/** RFC 6265, section 4.1.1: any ASCII character but controls and ";". */
const isCookiePath = (path: string): boolean => /^\/[\x20-\x3a\x3c-\x7e]*$/.test(path)

/** Whether an IP address stands where a name should; URLs take any host whose last label is a number for IPv4. */
const isAddress = (domain: string): boolean => /^\[?[\da-f]*:[\da-f:.]*\]?$|(^|\.)(\d+|0x[\da-f]*)$/i.test(domain)

const isDomainName = (domain: string): boolean =>
  domain.length <= 253 && domain.split(".").every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(label))

/** None for the values that the reference leaves out of the cookie too. */
export const domainOf = (options: Complete): string | undefined =>
  options.cookieDomain === "" || options.cookieDomain === "localhost" ? undefined : options.cookieDomain

export const isSecureForced = (options: Complete): boolean =>
  options.cookiePrefix !== "" || options.cookieSameSite === "None" || options.cookieSameParty

const cookieRules: ReadonlyArray<Rule> = [
  ...(["cookieName", "rememberCookieName"] as const).flatMap((setting): ReadonlyArray<Rule> => [
    {
      setting,
      isBroken: (options) => !isToken(options[setting]),
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
    isBroken: (options) => isSameOrChunk(options.cookieName, options.rememberCookieName),
    problem: "is the name of the session cookie, or of its continuation",
    fix: "Choose a name that differs in more than a number at its end"
  },
  {
    setting: "cookiePath",
    isBroken: (options) => !isCookiePath(options.cookiePath),
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
    isBroken: (options) => isAddress(options.cookieDomain),
    problem: "is an IP address, for which browsers take no domain",
    fix: "Leave it out"
  },
  {
    setting: "cookieDomain",
    isBroken: (options) => options.cookieDomain !== "" && !isDomainName(options.cookieDomain),
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

export const seconds = (input: Duration.Input): number => Math.floor(Duration.toSeconds(input))

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

const hasControls = (value: string): boolean => /\p{Cc}/u.test(value)

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
      isBroken: (options) => hasControls(options[setting] ?? ""),
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
  {
    setting: "cookieCacheSize",
    isBroken: (options) => options.cookieCacheSize < 0 || options.cookieCacheSize > 1024 ** 3,
    problem: "is not between 0 and 1073741824",
    fix: "Write a number of bytes, or 0 to remember no cookie"
  },
  ...(["bind", "responseHeaders", "requestHeaders"] as const).map((setting): Rule => ({
    setting,
    isBroken: (options) => new Set(options[setting]).size < options[setting].length,
    problem: "names something twice",
    fix: "Name it once"
  })),
  {
    setting: "hashStorageKey",
    isBroken: (options) => !options.hashStorageKey,
    problem: "must be true: whoever reads a sid in the database can open its session",
    fix: "Leave it out, or set `compatibility` to the program that shares the database",
    compatible: "accepted"
  }
]

const rules: ReadonlyArray<Rule> = [...keyRules, ...cookieRules, ...timeRules, ...otherRules]

const toReason = ({ fix, problem, setting }: Rule): InvalidConfig => new InvalidConfig({ setting, problem, fix })

/** What is wrong with options by the rules: the first problem that must not be, and those that `compatibility` excuses. */
export const check = (options: Complete): {
  readonly refused: InvalidConfig | undefined
  readonly warned: ReadonlyArray<InvalidConfig>
} => {
  const broken = rules.filter((rule) => rule.isBroken(options))
  const refused = broken.find((rule) => options.compatibility === undefined || rule.compatible === undefined)
  return {
    refused: refused === undefined ? undefined : toReason(refused),
    warned: broken.filter((rule) => rule.compatible === "warned").map(toReason)
  }
}

const kindOf: ReadonlyMap<string, kind.Kind<unknown>> = new Map(Object.entries(kinds))

/** What types tell, but not to JavaScript: a setting that does not exist, or whose value is of another kind. */
export const findMisfit = (options: unknown): InvalidConfig | undefined => {
  if (!Predicate.isObject(options)) {
    return new InvalidConfig({ setting: "options", problem: "is not an object", fix: "Write { secret }" })
  }
  for (const [setting, value] of Object.entries(options)) {
    const kind = kindOf.get(setting)
    if (kind === undefined) {
      const fix = "See `SessionConfig.Options` for all there are; where sessions live is the layer of `SessionStore`"
      return new InvalidConfig({ setting, problem: "is not a setting", fix })
    }
    if (value !== undefined && !kind.is(value)) {
      return new InvalidConfig({ setting, problem: `is not ${kind.name}`, fix: kind.fix })
    }
  }
  return undefined
}
