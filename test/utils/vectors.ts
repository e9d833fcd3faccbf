/**
 * Cookies that lua-resty-session 4.1.5 made, and what it made of cookies, recorded
 * from the running library.
 *
 * **Details**
 *
 * One file per scenario. What a file leaves out follows from the rest of it: a
 * step's plaintext, meta and tables are those of the step before, `"cookie": true`
 * stands for every cookie set so far, and large arguments of `set_data` are in the
 * plaintext.
 */
import { Redacted, Schema } from "effect"
import { createHash } from "node:crypto"
import { readdirSync, readFileSync } from "node:fs"
import type { Sender } from "../../src/CookieCodec.ts"
import { properties, safeties, sameSites } from "../../src/internal/choices.ts"
import type * as SessionConfig from "../../src/SessionConfig.ts"
import type { Refusal } from "../../src/SessionState.ts"

const Property = Schema.Literals(properties)

/** The settings under the reference's names; times in seconds. */
const Config = Schema.Struct({
  secret: Schema.optionalKey(Schema.String),
  secret_fallbacks: Schema.optionalKey(Schema.Array(Schema.String)),
  ikm_base64: Schema.optionalKey(Schema.String),
  cookie_prefix: Schema.optionalKey(Schema.Literals(["__Host-", "__Secure-"])),
  cookie_name: Schema.optionalKey(Schema.String),
  cookie_path: Schema.optionalKey(Schema.String),
  cookie_domain: Schema.optionalKey(Schema.String),
  cookie_http_only: Schema.optionalKey(Schema.Boolean),
  cookie_secure: Schema.optionalKey(Schema.Boolean),
  cookie_same_site: Schema.optionalKey(Schema.Literals(sameSites)),
  audience: Schema.optionalKey(Schema.String),
  subject: Schema.optionalKey(Schema.String),
  idling_timeout: Schema.optionalKey(Schema.Int),
  rolling_timeout: Schema.optionalKey(Schema.Int),
  absolute_timeout: Schema.optionalKey(Schema.Int),
  remember: Schema.optionalKey(Schema.Boolean),
  remember_safety: Schema.optionalKey(Schema.Literals(safeties)),
  remember_cookie_name: Schema.optionalKey(Schema.String),
  remember_rolling_timeout: Schema.optionalKey(Schema.Int),
  remember_absolute_timeout: Schema.optionalKey(Schema.Int),
  compression_threshold: Schema.optionalKey(Schema.Int),
  bind: Schema.optionalKey(Schema.Array(Schema.Literals(["ip", "scheme", "user-agent"]))),
  request_headers: Schema.optionalKey(Schema.Array(Property)),
  response_headers: Schema.optionalKey(Schema.Array(Property)),
  stale_ttl: Schema.optionalKey(Schema.Int),
  hash_subject: Schema.optionalKey(Schema.Boolean),
  store_metadata: Schema.optionalKey(Schema.Boolean),
  /** `false`: in the cookie. */
  storage: Schema.optionalKey(Schema.Literals(["postgres", "kong", "shm", false]))
})

type Config = typeof Config.Type

const seconds = (timeout: number | undefined) => timeout === undefined ? undefined : `${timeout} seconds` as const

const toOptions = (config: Config, defaults: SessionConfig.Options): SessionConfig.Options => {
  const options: SessionConfig.Options = {
    secret: config.secret === undefined ? undefined : Redacted.make(config.secret),
    secretFallbacks: config.secret_fallbacks?.map((secret) => Redacted.make(secret)),
    ikm: config.ikm_base64 === undefined
      ? undefined
      : Redacted.make(Uint8Array.from(Buffer.from(config.ikm_base64, "base64"))),
    cookiePrefix: config.cookie_prefix,
    cookieName: config.cookie_name,
    cookiePath: config.cookie_path,
    cookieDomain: config.cookie_domain,
    cookieHttpOnly: config.cookie_http_only,
    cookieSecure: config.cookie_secure,
    cookieSameSite: config.cookie_same_site,
    audience: config.audience,
    subject: config.subject,
    idlingTimeout: seconds(config.idling_timeout),
    rollingTimeout: seconds(config.rolling_timeout),
    absoluteTimeout: seconds(config.absolute_timeout),
    remember: config.remember,
    rememberSafety: config.remember_safety,
    rememberCookieName: config.remember_cookie_name,
    rememberRollingTimeout: seconds(config.remember_rolling_timeout),
    rememberAbsoluteTimeout: seconds(config.remember_absolute_timeout),
    staleTtl: seconds(config.stale_ttl),
    hashSubject: config.hash_subject,
    storeMetadata: config.store_metadata,
    compressionThreshold: config.compression_threshold,
    bind: config.bind,
    requestHeaders: config.request_headers,
    responseHeaders: config.response_headers
  }
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  return { ...defaults, ...Object.fromEntries(given) }
}

const Meta = Schema.Struct({
  /** base64, padded. */
  sid: Schema.String,
  flags: Schema.Int,
  creation_time: Schema.Int,
  rolling_offset: Schema.Int,
  data_size: Schema.Int,
  idling_offset: Schema.Int
})

const Id = Schema.Struct({ id: Schema.String })

/** What Kong's storage asks of `kong.db`; a `ttl` in seconds from the step's `now`. */
const KongCall = Schema.Union([
  Schema.Struct({
    fn: Schema.Literal("kong.db.sessions:insert"),
    entity: Schema.Struct({ session_id: Schema.String, data: Schema.String, expires: Schema.Int }),
    opts: Schema.Struct({ ttl: Schema.Int })
  }),
  Schema.Struct({
    fn: Schema.Literal("kong.db.sessions:update"),
    pk: Id,
    entity: Schema.Struct({ expires: Schema.Int }),
    opts: Schema.Struct({ ttl: Schema.Int })
  }),
  Schema.Struct({ fn: Schema.Literal("kong.db.sessions:delete"), pk: Id }),
  Schema.Struct({
    fn: Schema.Literal("kong.db.session_metadatas:insert"),
    entity: Schema.Struct({
      session: Id,
      sid: Schema.String,
      audience: Schema.String,
      subject: Schema.String
    })
  })
])

const File = Schema.Struct({
  id: Schema.String,
  description: Schema.String,
  library: Schema.String,
  config: Config,
  steps: Schema.Array(Schema.Struct({
    label: Schema.String,
    now: Schema.Int,
    entry: Schema.Literals(["new", "open", "start", "logout", "destroy"]),
    config: Schema.optionalKey(Config),
    ops: Schema.optionalKey(Schema.Array(Schema.Array(Schema.Json))),
    request: Schema.Struct({
      cookie: Schema.optionalKey(Schema.Union([Schema.Literal(true), Schema.String])),
      user_agent: Schema.optionalKey(Schema.String),
      scheme: Schema.Literals(["http", "https"]),
      remote_addr: Schema.String
    }),
    set_cookie: Schema.optionalKey(Schema.Array(Schema.String)),
    exists: Schema.optionalKey(Schema.Boolean),
    err: Schema.optionalKey(Schema.String),
    op_errs: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
    plaintext: Schema.optionalKey(Schema.String),
    meta: Schema.optionalKey(Schema.NullOr(Meta)),
    /** Where a remember cookie was set. */
    remember_meta: Schema.optionalKey(Meta),
    info_json: Schema.optionalKey(Schema.String),
    rows: Schema.optionalKey(Schema.Array(Schema.Struct({
      sid: Schema.String,
      name: Schema.String,
      data: Schema.String,
      exp: Schema.Int
    }))),
    rows_meta: Schema.optionalKey(Schema.Array(Schema.Struct({
      aud: Schema.String,
      sub: Schema.String,
      sid: Schema.String
    }))),
    kong_calls: Schema.optionalKey(Schema.Array(KongCall)),
    session_response_headers: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
    session_request_headers: Schema.optionalKey(Schema.Record(Schema.String, Schema.String))
  }))
})

const OpenFile = Schema.Struct({
  library: Schema.String,
  cases: Schema.Array(Schema.Struct({
    name: Schema.String,
    now: Schema.Int,
    config: Config,
    cookie_header: Schema.NullOr(Schema.String),
    exists: Schema.optionalKey(Schema.Boolean),
    err: Schema.optionalKey(Schema.String),
    data_json: Schema.optionalKey(Schema.String),
    crash: Schema.optionalKey(Schema.String)
  }))
})

/** A row of `sessions`. */
export interface Row {
  /** Its columns are called `sid` and `session_id`. */
  readonly key: string
  /** The cookie's; Kong's table has none. */
  readonly name: string | undefined
  readonly data: string
  /** Unix seconds. */
  readonly expires: number
}

/** A row of `sessions_meta` or `session_metadatas`. */
export interface Metadata {
  readonly key: string
  readonly audience: string
  readonly subject: string
}

/** Whole tables, each sorted by the keys. */
export interface Tables {
  readonly rows: ReadonlyArray<Row>
  readonly metadata: ReadonlyArray<Metadata>
}

/** One request, and how the reference answered it. */
export interface Step {
  /** The scenario's id and the step's label. */
  readonly name: string
  /** Unix seconds. */
  readonly now: number
  readonly options: SessionConfig.Options
  /** Where the payload lives: in the cookie, in one of the tables, or in the memory of the reference. */
  readonly storage: "cookie" | "postgres" | "kong" | "shm"
  /** How the session was entered: made new, or opened in one of several ways. */
  readonly entry: "new" | "open" | "start" | "logout" | "destroy"
  /** Calls on the session, each a method's name and its arguments. */
  readonly ops: ReadonlyArray<ReadonlyArray<Schema.Json>>
  /** The Cookie request header, or "" for none. */
  readonly cookies: string
  readonly sender: Sender
  /** `Set-Cookie` headers, in order. */
  readonly setCookies: ReadonlyArray<string>
  /** Whether a session was opened; `undefined` where none was asked for. */
  readonly exists: boolean | undefined
  /** Why not. */
  readonly error: string | undefined
  /** Errors of the calls, by method. */
  readonly opErrors: Record<string, string>
  /** The session's payload in the end, before deflate. */
  readonly plaintext: string
  readonly meta: typeof Meta.Type | undefined
  /** Of the remember cookie that the step set, if any. */
  readonly rememberMeta: typeof Meta.Type | undefined
  /** The info store in the end, JSON: of each audience, key and value. */
  readonly info: string | undefined
  /** The tables before and after the step. */
  readonly before: Tables
  readonly after: Tables
  readonly responseHeaders: Record<string, string> | undefined
  readonly requestHeaders: Record<string, string> | undefined
}

/** An odd cookie, and the reference's verdict on it. */
export interface OpenCase {
  readonly name: string
  /** Unix seconds. */
  readonly now: number
  readonly options: SessionConfig.Options
  readonly placement: "Cookie" | "Server"
  readonly cookies: string
  readonly exists: boolean
  /** Why there is no session, or how the library crashed. */
  readonly error: string | undefined
  /** JSON. */
  readonly data: string | undefined
}

/** Where this library differs from the reference on purpose. */
export const differences: ReadonlyArray<{
  readonly case: string
  readonly reference: string
  readonly ours: Refusal | "opens"
  readonly why: string
}> = [
  {
    case: "plaintext: NaN literal",
    reference: "opens, with a number that JSON does not have",
    ours: "InvalidJson",
    why: "RFC 8259 has no NaN, and a re-save would fail"
  },
  ...["string", "null", "array of null"].map((plaintext) => ({
    case: `plaintext: ${plaintext}`,
    reference: "crashes",
    ours: "InvalidShape" as const,
    why: "bad input is a typed outcome"
  })),
  {
    case: "e07-timeouts: created in the future (clock behind): accepted",
    reference: "opens",
    ours: "CreatedInFuture",
    why: "nobody's clock is a hundred seconds ahead, and such a session would outlive its timeouts"
  },
  {
    case: "w-bind-415-to-405: opened by 4.0.5",
    reference: "refuses the MAC, for 4.0.5 knows no binding",
    ours: "opens",
    why: "a cookie's flags say what it is bound to, as from 4.1.0 on"
  }
]

/** Where the tables differ after a step on purpose. */
export const rowDifferences: ReadonlyArray<{
  readonly case: string
  readonly ours: (theirs: Tables) => Tables
  readonly why: string
}> = [
  {
    case: "p06-pg-ttl: save at +6000 with rolling_timeout 90000 and absolute 86400: ttl",
    ours: ({ metadata, rows }) => ({
      metadata,
      rows: rows.map((row) =>
        row.expires === 1_795_406_000 + 90_000 ? { ...row, expires: 1_795_400_000 + 86_400 } : row
      )
    }),
    why: "the absolute timeout counts from the session's creation; the reference adds its age instead of subtracting it"
  },
  {
    case: "p14-pg-metadata-multi: second",
    ours: ({ metadata, rows }) => ({
      rows,
      metadata: metadata.map((listed) =>
        ["alice", "bob"].includes(listed.subject)
          ? { ...listed, subject: createHash("sha256").update(listed.subject).digest().toString("base64url", 0, 16) }
          : listed
      )
    }),
    why: "with two audiences the reference writes subjects as they are, whatever hash_subject says, and unescaped"
  }
]

const directory = new URL("../vectors/", import.meta.url)

const openBehaviour = "x-open-behaviour.json"

const read = <S extends Schema.Decoder<unknown>>(schema: S, name: string): S["Type"] =>
  Schema.decodeUnknownSync(schema)(JSON.parse(readFileSync(new URL(name, directory), "utf8")), {
    onExcessProperty: "error"
  })

/** What a browser keeps of these `Set-Cookie` headers; a cleared cookie is gone. */
const keep = (jar: ReadonlyMap<string, string>, setCookies: ReadonlyArray<string>): ReadonlyMap<string, string> => {
  const kept = new Map(jar)
  for (const setCookie of setCookies) {
    const [, name = "", value = ""] = /^([^=]*)=([^;]*)/.exec(setCookie) ?? []
    if (value === "") kept.delete(name)
    else kept.set(name, value)
  }
  return kept
}

const byKey = (one: { readonly key: string }, other: { readonly key: string }): number =>
  one.key < other.key ? -1 : one.key > other.key ? 1 : 0

export const noTables: Tables = { rows: [], metadata: [] }

type Recorded = (typeof File.Type)["steps"][number]

/** The tables after a step of Postgres storage. */
const luaTables = (before: Tables, { rows, rows_meta }: Recorded): Tables => ({
  rows: rows?.map(({ data, exp, name, sid }) => ({ key: sid, name, data, expires: exp })).toSorted(byKey) ??
    before.rows,
  metadata: rows_meta?.map(({ aud, sid, sub }) => ({ key: sid, audience: aud, subject: sub })).toSorted(byKey) ??
    before.metadata
})

/**
 * Carries out what Kong's storage asked of `kong.db`. That was a stub, whose ids count the rows as they come: those
 * of a file start with the smallest one mentioned.
 */
const kongTables = (file: typeof File.Type): (before: Tables, step: Recorded) => Tables => {
  const calls = file.steps.flatMap(({ kong_calls = [] }) => kong_calls)
  const inserted = calls.flatMap((call) => call.fn === "kong.db.sessions:insert" ? [call.entity.session_id] : [])
  const ids = calls.flatMap((call) => {
    if ("pk" in call) return [call.pk.id]
    return call.fn === "kong.db.session_metadatas:insert" ? [call.entity.session.id] : []
  })
  const number = (id: string) => Number.parseInt(id.slice(-12), 16)
  const first = Math.min(...ids.map(number))
  const keyOf = (id: string) => inserted[number(id) - first]
  const expiry = (now: number, expires: number, ttl: number) => {
    // Two columns say the same.
    if (expires !== now + ttl) throw new Error(`expires ${expires}, but ttl ${ttl} at ${now}`)
    return expires
  }
  return (before, { kong_calls = [], now }) => {
    const rows = new Map(before.rows.map((row) => [row.key, row]))
    let metadata = Array.from(before.metadata)
    for (const call of kong_calls) {
      if (call.fn === "kong.db.session_metadatas:insert") {
        const { audience, session, sid, subject } = call.entity
        if (keyOf(session.id) !== sid) throw new Error(`${session.id} is not the row of ${sid}`)
        metadata.push({ key: sid, audience, subject })
      } else if (call.fn === "kong.db.sessions:insert") {
        const { data, expires, session_id: key } = call.entity
        rows.set(key, { key, name: undefined, data, expires: expiry(now, expires, call.opts.ttl) })
      } else {
        const row = rows.get(keyOf(call.pk.id) ?? "")
        if (row === undefined) throw new Error(`no row ${call.pk.id}`)
        if (call.fn === "kong.db.sessions:update") {
          rows.set(row.key, { ...row, expires: expiry(now, call.entity.expires, call.opts.ttl) })
        } else {
          rows.delete(row.key)
          metadata = metadata.filter(({ key }) => key !== row.key)
        }
      }
    }
    return { rows: [...rows.values()].toSorted(byKey), metadata: metadata.toSorted(byKey) }
  }
}

const stepsOf = (file: typeof File.Type, defaults: SessionConfig.Options): ReadonlyArray<Step> => {
  const steps: Array<Step> = []
  let jar: ReadonlyMap<string, string> = new Map()
  let plaintext = ""
  let meta: typeof Meta.Type | null = null
  let before = noTables
  const kong = kongTables(file)
  for (const step of file.steps) {
    plaintext = step.plaintext ?? plaintext
    meta = step.meta === undefined ? meta : step.meta
    const config = step.config ?? file.config
    const after = config.storage === "kong" ? kong(before, step) : luaTables(before, step)
    const { cookie = "", remote_addr: ip, scheme, user_agent: userAgent } = step.request
    steps.push({
      name: `${file.id}: ${step.label}`,
      now: step.now,
      options: toOptions(config, defaults),
      storage: config.storage || "cookie",
      entry: step.entry,
      ops: step.ops ?? [],
      cookies: cookie === true ? Array.from(jar, ([name, value]) => `${name}=${value}`).join("; ") : cookie,
      sender: { ip, scheme, userAgent },
      setCookies: step.set_cookie ?? [],
      exists: step.exists,
      error: step.err,
      opErrors: step.op_errs ?? {},
      plaintext,
      meta: meta ?? undefined,
      rememberMeta: step.remember_meta,
      info: step.info_json,
      before,
      after,
      responseHeaders: step.session_response_headers,
      requestHeaders: step.session_request_headers
    })
    jar = keep(jar, step.set_cookie ?? [])
    before = after
  }
  return steps
}

/** Every step of every scenario. `defaults` is what a configuration leaves to the reference: `SessionConfig.lua`. */
export const steps = (defaults: SessionConfig.Options): ReadonlyArray<Step> =>
  readdirSync(directory).filter((name) => name !== openBehaviour).toSorted()
    .flatMap((name) => stepsOf(read(File, name), defaults))

/** Every odd cookie. */
export const openCases = (defaults: SessionConfig.Options): ReadonlyArray<OpenCase> =>
  read(OpenFile, openBehaviour).cases.map((recorded) => ({
    name: recorded.name,
    now: recorded.now,
    options: toOptions(recorded.config, defaults),
    placement: recorded.config.storage === undefined ? "Cookie" : "Server",
    cookies: recorded.cookie_header ?? "",
    exists: recorded.exists ?? false,
    error: recorded.crash ?? recorded.err,
    data: recorded.data_json
  }))
