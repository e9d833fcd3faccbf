/**
 * The settings of Kong's session plugin, as a declarative configuration writes
 * them, in three steps: a record whose names are known; its fields, each of its
 * kind; the settings, with the deprecated shorthands resolved and the defaults in.
 */
import { Effect, Redacted, Schema, SchemaTransformation } from "effect"
import * as choices from "./choices.ts"
import * as kind from "./kinds.ts"

type Named = Pick<kind.Kind<unknown>, "name" | "fix">

/** The message of a misfit: what is wrong, and what to write instead. */
const says = ({ fix, name }: Named): { readonly message: string } => ({ message: `is not ${name}. ${fix}` })

const number = Schema.Number.annotate(says({ name: "a number", fix: "Write seconds, without quotes" }))

const seconds = number.check(
  Schema.makeFilter((seconds) => seconds === 0 || seconds >= 1 && Number.isFinite(seconds), {
    message: "is negative, infinite or less than a second. Write seconds, or 0 for none"
  })
)

const text = Schema.String.annotate(says(kind.text))

const boolean = Schema.Boolean.annotate(says(kind.boolean))

const oneOf = <const L extends ReadonlyArray<string>>(...values: L) =>
  Schema.Literals(values).annotate(says(kind.oneOf(...values)))

const setOf = <const L extends ReadonlyArray<string>>(...values: L) =>
  Schema.Array(oneOf(...values)).annotate(says(kind.listOf(...values)))

const properties = setOf(...choices.properties)

const methods = setOf("GET", "POST", "DELETE")

const missingSecret =
  "is missing, and Kong makes up another one at each start. Configure one, the same as in Kong: `openssl rand -base64 32`"

const isReference = (secret: Redacted.Redacted<string>): boolean => /^\{vault:\/\/.*\}$/.test(Redacted.value(secret))

const secret = Schema.RedactedFromValue(text).check(
  Schema.makeFilter((secret) => !isReference(secret), {
    message: "is a reference to a vault, which only Kong follows. Write the secret itself"
  })
)

/** Decoded: under Kong's names, complete. */
const Decoded = Schema.Struct({
  secret: Schema.Redacted(Schema.String),
  storage: Schema.Literals(["cookie", "kong"]),
  audience: Schema.String,
  idling_timeout: Schema.Finite,
  rolling_timeout: Schema.Finite,
  absolute_timeout: Schema.Finite,
  stale_ttl: Schema.Finite,
  cookie_name: Schema.String,
  cookie_path: Schema.String,
  cookie_domain: Schema.UndefinedOr(Schema.String),
  cookie_same_site: Schema.Literals(choices.sameSites),
  cookie_http_only: Schema.Boolean,
  cookie_secure: Schema.Boolean,
  remember: Schema.Boolean,
  remember_cookie_name: Schema.String,
  remember_rolling_timeout: Schema.Finite,
  remember_absolute_timeout: Schema.Finite,
  response_headers: properties,
  request_headers: properties,
  read_body_for_logout: Schema.Boolean,
  logout_methods: methods,
  logout_query_arg: Schema.UndefinedOr(Schema.String),
  logout_post_arg: Schema.UndefinedOr(Schema.String),
  hash_subject: Schema.Boolean,
  store_metadata: Schema.Boolean
})

const orDefault = <S extends Schema.Codec<unknown, unknown>>(schema: S, value: S["Encoded"]) =>
  schema.pipe(Schema.withDecodingDefaultKey(Effect.succeed(value)))

const fields = {
  secret: secret.annotateKey({ messageMissingKey: missingSecret }),
  storage: orDefault(oneOf("cookie", "kong"), "cookie"),
  audience: orDefault(text, "default"),
  idling_timeout: orDefault(seconds, 900),
  rolling_timeout: orDefault(seconds, 3600),
  absolute_timeout: orDefault(seconds, 86_400),
  stale_ttl: orDefault(seconds, 10),
  cookie_name: orDefault(text, "session"),
  cookie_path: orDefault(text, "/"),
  cookie_domain: Schema.optionalKey(text),
  cookie_same_site: orDefault(oneOf(...choices.sameSites), "Strict"),
  cookie_http_only: orDefault(boolean, true),
  cookie_secure: orDefault(boolean, true),
  remember: orDefault(boolean, false),
  remember_cookie_name: orDefault(text, "remember"),
  remember_rolling_timeout: orDefault(seconds, 604_800),
  remember_absolute_timeout: orDefault(seconds, 2_592_000),
  response_headers: orDefault(properties, []),
  request_headers: orDefault(properties, []),
  read_body_for_logout: orDefault(boolean, false),
  logout_methods: orDefault(methods, ["POST", "DELETE"]),
  logout_query_arg: orDefault(Schema.NullOr(text).annotate(says(kind.text)), "session_logout"),
  logout_post_arg: orDefault(Schema.NullOr(text).annotate(says(kind.text)), "session_logout"),
  hash_subject: orDefault(boolean, false),
  store_metadata: orDefault(boolean, false),
  cookie_lifetime: Schema.optionalKey(seconds),
  cookie_idletime: Schema.optionalKey(seconds),
  cookie_renew: Schema.optionalKey(number),
  cookie_discard: Schema.optionalKey(seconds),
  cookie_samesite: Schema.optionalKey(oneOf(...choices.sameSites, "off")),
  cookie_httponly: Schema.optionalKey(boolean),
  cookie_persistent: Schema.optionalKey(boolean)
}

const Fields = Schema.Struct(fields)

const known: ReadonlySet<string> = new Set(Object.keys(fields))

const unknown = "is not a setting of Kong's session plugin. Leave it out"

const Raw = Schema.Record(Schema.String, Schema.Unknown).annotate({ message: "is not an object. Write { secret }" })
  .check(
    Schema.makeFilter((config: { readonly [name: string]: unknown }) =>
      Object.keys(config).filter((name) => !known.has(name)).map((name) => ({ path: [name], issue: unknown }))
    )
  )

/** What `null` means where it means more than "not configured". */
const nulls: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ["cookie_idletime", 0],
  ["logout_methods", []],
  ["logout_query_arg", null],
  ["logout_post_arg", null]
])

const withoutNulls = (config: { readonly [name: string]: unknown }) =>
  Object.fromEntries(
    Object.entries(config)
      .filter(([name, value]) => value !== null || nulls.has(name))
      .map(([name, value]) => [name, value === null ? nulls.get(name) : value])
  )

const unique = <A>(values: ReadonlyArray<A>): ReadonlyArray<A> => [...new Set(values)]

// As there, a shorthand goes before the setting that it stands for.
const resolve = (config: typeof Fields.Type): typeof Decoded.Type => {
  const {
    cookie_discard,
    cookie_httponly,
    cookie_idletime,
    cookie_lifetime,
    cookie_persistent,
    cookie_renew: _,
    cookie_samesite,
    ...rest
  } = config
  return {
    ...rest,
    cookie_domain: rest.cookie_domain,
    response_headers: unique(rest.response_headers),
    request_headers: unique(rest.request_headers),
    logout_methods: unique(rest.logout_methods),
    logout_query_arg: rest.logout_query_arg ?? undefined,
    logout_post_arg: rest.logout_post_arg ?? undefined,
    rolling_timeout: cookie_lifetime ?? rest.rolling_timeout,
    idling_timeout: cookie_idletime ?? rest.idling_timeout,
    stale_ttl: cookie_discard ?? rest.stale_ttl,
    cookie_same_site: cookie_samesite === "off" ? "Lax" : cookie_samesite ?? rest.cookie_same_site,
    cookie_http_only: cookie_httponly ?? rest.cookie_http_only,
    remember: cookie_persistent ?? rest.remember
  }
}

const write = ({ cookie_domain, ...rest }: typeof Decoded.Type): typeof Fields.Type => ({
  ...rest,
  ...(cookie_domain === undefined ? {} : { cookie_domain }),
  logout_query_arg: rest.logout_query_arg ?? null,
  logout_post_arg: rest.logout_post_arg ?? null
})

/** From the plugin's `config`. */
export const Settings = Raw.pipe(
  Schema.decodeTo(
    Fields,
    SchemaTransformation.transform<typeof Fields.Encoded, { readonly [name: string]: unknown }>({
      // Which names and kinds are there is what the fields check.
      decode: (config) => withoutNulls(config) as typeof Fields.Encoded,
      encode: (fields) => ({ ...fields })
    })
  ),
  Schema.decodeTo(Decoded, SchemaTransformation.transform({ decode: resolve, encode: write }))
)
