/**
 * A configuration as lua-resty-session takes it: its names, times in seconds, and
 * everything that it leaves out at the reference's default.
 */
import { Effect, Schema } from "effect"
import * as choices from "../internal/choices.ts"
import { RedactedBytes } from "../internal/kinds.ts"
import type * as SessionConfig from "../SessionConfig.ts"
import type { Placement } from "../SessionState.ts"

/** In Lua, `nil` is as good as nothing. */
const setting = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

const boolean = setting(Schema.Boolean)
const text = setting(Schema.String)
const seconds = setting(Schema.Int)

/** Errors of a redacted value do not show it. */
const Secret = Schema.RedactedFromValue(Schema.String)

/** The reference has two spellings of those with two words. */
const Properties = Schema.Array(Schema.Literals([
  ...choices.properties,
  "idling_timeout",
  "rolling_timeout",
  "absolute_timeout"
]))

const spell = (property: typeof Properties.Type[number]): SessionConfig.Property => {
  switch (property) {
    case "idling_timeout":
      return "idling-timeout"
    case "rolling_timeout":
      return "rolling-timeout"
    case "absolute_timeout":
      return "absolute-timeout"
    default:
      return property
  }
}

/** What a backend needs to be reached; none is. */
const backend = setting(Schema.Record(Schema.String, Schema.Json))

const Reference = Schema.Struct({
  secret: setting(Secret),
  secret_fallbacks: setting(Schema.Array(Secret)),
  ikm: setting(RedactedBytes),
  ikm_base64: setting(RedactedBytes),
  ikm_fallbacks: setting(Schema.Array(RedactedBytes)),
  ikm_fallbacks_base64: setting(Schema.Array(RedactedBytes)),
  cookie_prefix: setting(Schema.Literals(["__Host-", "__Secure-", ""])),
  cookie_name: text,
  cookie_path: text,
  cookie_domain: text,
  cookie_http_only: boolean,
  cookie_secure: boolean,
  cookie_priority: setting(Schema.Literals(["Low", "Medium", "High"])),
  cookie_same_site: setting(Schema.Literals(choices.sameSites)),
  cookie_same_party: boolean,
  cookie_partitioned: boolean,
  remember: boolean,
  remember_safety: text,
  remember_cookie_name: text,
  audience: text,
  subject: text,
  enforce_same_subject: boolean,
  stale_ttl: seconds,
  idling_timeout: seconds,
  rolling_timeout: seconds,
  absolute_timeout: seconds,
  remember_rolling_timeout: seconds,
  remember_absolute_timeout: seconds,
  hash_storage_key: boolean,
  hash_subject: boolean,
  store_metadata: boolean,
  touch_threshold: seconds,
  compression_threshold: setting(Schema.Int),
  bind: setting(Schema.Array(Schema.Literals(["ip", "scheme", "user-agent", "user_agent"]))),
  request_headers: setting(Properties),
  response_headers: setting(Properties),
  storage: setting(Schema.Union([Schema.Literal(false), Schema.String])),
  dshm: backend,
  file: backend,
  memcached: backend,
  mysql: backend,
  postgres: backend,
  redis: backend,
  shm: backend
})

type Reference = typeof Reference.Type

const time = (seconds: number | null | undefined) => typeof seconds === "number" ? `${seconds} seconds` as const : null

const toOptions = (config: Reference): SessionConfig.Options => {
  const options: { readonly [S in keyof SessionConfig.Options]: SessionConfig.Options[S] | null } = {
    secret: config.secret,
    secretFallbacks: config.secret_fallbacks,
    ikm: config.ikm ?? config.ikm_base64,
    ikmFallbacks: config.ikm_fallbacks ?? config.ikm_fallbacks_base64,
    cookiePrefix: config.cookie_prefix,
    cookieName: config.cookie_name,
    cookiePath: config.cookie_path,
    cookieDomain: config.cookie_domain,
    cookieHttpOnly: config.cookie_http_only,
    cookieSecure: config.cookie_secure,
    cookiePriority: config.cookie_priority,
    cookieSameSite: config.cookie_same_site,
    cookieSameParty: config.cookie_same_party,
    cookiePartitioned: config.cookie_partitioned,
    remember: config.remember,
    // The reference takes what it does not know for its default.
    rememberSafety: choices.safeties.find((safety) => safety === config.remember_safety),
    rememberCookieName: config.remember_cookie_name,
    audience: config.audience,
    subject: config.subject,
    enforceSameSubject: config.enforce_same_subject,
    staleTtl: time(config.stale_ttl),
    idlingTimeout: time(config.idling_timeout),
    rollingTimeout: time(config.rolling_timeout),
    absoluteTimeout: time(config.absolute_timeout),
    rememberRollingTimeout: time(config.remember_rolling_timeout),
    rememberAbsoluteTimeout: time(config.remember_absolute_timeout),
    hashStorageKey: config.hash_storage_key,
    hashSubject: config.hash_subject,
    storeMetadata: config.store_metadata,
    touchThreshold: time(config.touch_threshold),
    compressionThreshold: config.compression_threshold,
    bind: config.bind?.map((what) => what === "user_agent" ? "user-agent" : what),
    requestHeaders: config.request_headers?.map(spell),
    responseHeaders: config.response_headers?.map(spell)
  }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null))
}

const placementOf = ({ storage }: Reference): Placement =>
  storage === undefined || storage === null || storage === false || storage === "cookie" ? "Cookie" : "Server"

const hasKey = (config: Reference): boolean =>
  [
    config.secret,
    config.secret_fallbacks,
    config.ikm,
    config.ikm_base64,
    config.ikm_fallbacks,
    config.ikm_fallbacks_base64
  ]
    .some((key) => key !== undefined && key !== null)

export interface Decoded {
  /** Without what the reference has defaults for. */
  readonly options: SessionConfig.Options
  readonly placement: Placement
  /** Whether it has any key of its own. */
  readonly hasKey: boolean
}

const decodeReference = Schema.decodeUnknownEffect(Reference)

/** What a configuration means; the error tells which of its names is wrong. */
export const decode = (config: unknown): Effect.Effect<Decoded, Schema.SchemaError> =>
  Effect.map(decodeReference(config, { onExcessProperty: "error" }), (config) => ({
    options: toOptions(config),
    placement: placementOf(config),
    hasKey: hasKey(config)
  }))
