/** The part of Kong's declarative format that the gateway understands, entity by entity, and nothing beside it. */
import { Effect, Result, Schema, SchemaIssue } from "effect"

const Flag = (byDefault: boolean) => Schema.Boolean.pipe(Schema.withDecodingDefaultKey(Effect.succeed(byDefault)))
const optional = Schema.optionalKey
// Whatever is told upstream has to fit into a header.
const Text = Schema.NonEmptyString.check(Schema.isPattern(/^\P{Cc}+$/u, { message: "has control characters" }))
const Secret = Schema.RedactedFromValue(Schema.NonEmptyString)
const Uuid = Schema.String.check(
  Schema.isPattern(/^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i, { message: "is no UUID" })
)
const Integer = (minimum: number, maximum: number) =>
  Schema.Int.check(Schema.isBetween({ minimum, maximum }, { message: `is not between ${minimum} and ${maximum}` }))
const Timeout = Integer(1, 2 ** 31 - 2).pipe(Schema.withDecodingDefaultKey(Effect.succeed(60_000)))

/** One of these, and a message that says which there are. */
const oneOf = <const L extends ReadonlyArray<string | number>>(...literals: L) =>
  Schema.Literals(literals).annotate({ message: `is not supported; it may be ${literals.join(" or ")}` })

/** What any entity may carry; none of it changes how requests are answered. */
const common = {
  id: optional(Uuid),
  tags: optional(Schema.Array(Schema.String)),
  created_at: optional(Schema.Int),
  updated_at: optional(Schema.Int),
  _comment: optional(Schema.String),
  _ignore: optional(Schema.Array(Schema.Unknown))
}

const path = Schema.String.check(
  Schema.isPattern(/^\//, { message: "is not supported; only paths that begin with / are, no regular expressions" }),
  Schema.isPattern(/^(?!.*\/\/)/, { message: "must not have empty segments" })
)

const host = Schema.String.check(
  Schema.isPattern(/^(\*\.[^*:]+|[^*:]+\.\*|[^*:]+)(:\d+)?$/, {
    message: "is no host, nor one with a wildcard label at an end"
  })
)

const headerName = Schema.String.check(Schema.isPattern(/^[\w-]+$/, { message: "is no header name" }))

const protocols = <const L extends ReadonlyArray<string>>(...names: L) =>
  Schema.Array(oneOf(...names)).check(
    Schema.makeFilter(
      (given: ReadonlyArray<string>) =>
        given.includes("http") || "must include http, which is all that the gateway speaks"
    )
  )

const Plugin = Schema.Struct({
  ...common,
  name: Text,
  instance_name: optional(Text),
  service: optional(Text),
  route: optional(Text),
  consumer: optional(Text),
  // In a file that Kong exports a plugin has all that it could be used with.
  protocols: optional(protocols("http", "https", "grpc", "grpcs", "tcp", "tls", "tls_passthrough", "udp", "ws", "wss")),
  enabled: Flag(true),
  // of each plugin's own schema
  config: Schema.Record(Schema.String, Schema.Unknown).pipe(Schema.withDecodingDefaultKey(Effect.succeed({})))
})
export type Plugin = typeof Plugin.Type

const plugins = optional(Schema.Array(Plugin))

const Route = Schema.Struct({
  ...common,
  name: optional(Text),
  service: optional(Text),
  protocols: optional(protocols("http", "https")),
  methods: optional(Schema.Array(
    Schema.String.check(Schema.isPattern(/^[A-Z]+$/, { message: "is no method in capital letters" }))
  )),
  hosts: optional(Schema.Array(host)),
  paths: optional(Schema.Array(path)),
  strip_path: Flag(true),
  preserve_host: Flag(false),
  path_handling: optional(oneOf("v0")),
  regex_priority: optional(oneOf(0)),
  https_redirect_status_code: optional(oneOf(426)),
  // Bodies are never buffered; nobody can tell from what arrives.
  request_buffering: optional(Schema.Boolean),
  response_buffering: optional(Schema.Boolean),
  plugins
}).check(
  Schema.makeFilter(({ hosts, methods, paths }) =>
    [hosts, methods, paths].some((given) => given !== undefined && given.length > 0) ||
    "must set one of methods, hosts, paths"
  )
)
export type Route = typeof Route.Type

const routes = optional(Schema.Array(Route))

const Service = Schema.Struct({
  ...common,
  name: optional(Text),
  url: optional(Text),
  protocol: optional(oneOf("http", "https")),
  host: optional(Text),
  port: optional(Integer(0, 65_535)),
  path: optional(path),
  retries: Integer(0, 32_767).pipe(Schema.withDecodingDefaultKey(Effect.succeed(5))),
  connect_timeout: Timeout,
  write_timeout: Timeout,
  read_timeout: Timeout,
  enabled: Flag(true),
  routes,
  plugins
})
export type Service = typeof Service.Type

const consumer = optional(Text)
const KeyAuthCredential = Schema.Struct({ ...common, consumer, key: Secret })
const BasicAuthCredential = Schema.Struct({ ...common, consumer, username: Text, password: Secret })
const Acl = Schema.Struct({ ...common, consumer, group: Text })

const credentials = {
  keyauth_credentials: optional(Schema.Array(KeyAuthCredential)),
  basicauth_credentials: optional(Schema.Array(BasicAuthCredential)),
  acls: optional(Schema.Array(Acl))
}

/** Credentials and groups, which stand in a consumer or at the top and name theirs. */
export type Credentials = Schema.Struct<typeof credentials>["Type"]

const Consumer = Schema.Struct({
  ...common,
  username: optional(Text),
  custom_id: optional(Text),
  ...credentials,
  plugins
}).check(
  Schema.makeFilter(({ custom_id, username }) =>
    custom_id !== undefined || username !== undefined || "must have a username or a custom_id"
  )
)
export type Consumer = typeof Consumer.Type

/** A whole file. */
export const Declarative = Schema.Struct({
  _format_version: oneOf("1.1", "2.1", "3.0"),
  // `false` says that passwords are hashed already.
  _transform: optional(
    Schema.Literals([true]).annotate({ message: "is not supported; passwords are read as plain text" })
  ),
  _comment: common._comment,
  _ignore: common._ignore,
  services: optional(Schema.Array(Service)),
  routes,
  consumers: optional(Schema.Array(Consumer)),
  ...credentials,
  plugins
})
export type Declarative = typeof Declarative.Type

/** The `config` of the plugin key-auth. */
export const KeyAuth = Schema.Struct({
  key_names: Schema.Array(headerName).check(Schema.isMinLength(1, { message: "must name one at least" })).pipe(
    Schema.withDecodingDefaultKey(Effect.succeed(["apikey"]))
  ),
  key_in_header: Flag(true),
  key_in_query: Flag(true),
  key_in_body: Flag(false),
  hide_credentials: Flag(false),
  anonymous: optional(Text),
  run_on_preflight: Flag(true),
  realm: optional(Schema.String)
})
export type KeyAuth = typeof KeyAuth.Type

/** The `config` of the plugin basic-auth. */
export const BasicAuth = Schema.Struct({
  hide_credentials: Flag(false),
  anonymous: optional(Text),
  realm: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("service")))
})
export type BasicAuth = typeof BasicAuth.Type

/** The `config` of the plugin request-termination. */
export const Termination = Schema.Struct({
  status_code: Integer(200, 599).pipe(Schema.withDecodingDefaultKey(Effect.succeed(503))),
  message: optional(Schema.String),
  content_type: optional(Schema.String),
  body: optional(Schema.String),
  echo: optional(Schema.Literals([false]).annotate({ message: "is not supported" })),
  trigger: optional(headerName)
}).check(
  Schema.makeFilter(({ body, content_type, message }) => {
    if (message && (content_type || body)) return "message cannot be used with content_type or body"
    return !content_type || Boolean(body) || "content_type requires a body"
  })
)
export type Termination = typeof Termination.Type

/** As one writes it: `services[0].routes[1].plugins[0].config.foo`. */
export const pathOf = (keys: ReadonlyArray<PropertyKey>): string =>
  keys.reduce<string>(
    (path, key) => typeof key === "number" ? `${path}[${key}]` : path === "" ? String(key) : `${path}.${String(key)}`,
    ""
  )

const format = SchemaIssue.makeFormatterStandardSchemaV1({
  leafHook: (issue) => {
    switch (issue._tag) {
      case "UnexpectedKey":
        return "is not supported"
      case "MissingKey":
        return "is missing"
      default:
        return SchemaIssue.defaultLeafHook(issue)
    }
  }
})

/** Decodes what stands at a place in the file; all that is wrong with it, one line each. */
export const decode = <S extends Schema.ConstraintDecoder<unknown>>(
  schema: S,
  value: unknown,
  at: ReadonlyArray<PropertyKey>
): Result.Result<S["Type"], ReadonlyArray<string>> =>
  Result.mapError(
    Schema.decodeUnknownResult(schema, { errors: "all", onExcessProperty: "error" })(value),
    ({ issue }) =>
      format(issue).issues.map(({ message, path }) => {
        const keys = (path ?? []).map((segment) => typeof segment === "object" ? segment.key : segment)
        // Filters write about the entity they check; the schema's own messages are sentences.
        return `${pathOf([...at, ...keys]) || "the file"}${message.startsWith("Expected") ? ": " : " "}${message}`
      })
  )
