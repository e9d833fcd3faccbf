import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Data, Effect, Layer, Option, Redacted, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "effect/http"
import { SqlClient } from "effect/sql"
import { readFileSync } from "node:fs"
import * as KongSession from "../src/KongSession.ts"
import * as KongSessionStore from "../src/KongSessionStore.ts"
import * as Session from "../src/Session.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import * as SessionStore from "../src/SessionStore.ts"
import * as Http from "./utils/http.ts"
import { layerClient, layerDatabase } from "./utils/postgres.ts"

const secret = "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4"

const messageOf = (config: unknown): Effect.Effect<string, KongSession.Settings> =>
  Effect.map(Effect.flip(KongSession.decode(config)), (error) => error.message)

// -----------------------------------------------------------------------------

describe("KongSession.Settings", () => {
  it.effect("has the plugin's defaults", () =>
    Effect.gen(function*() {
      const { secret: key, ...rest } = yield* KongSession.decode({ secret })
      assert.strictEqual(Redacted.value(key), secret)
      assert.deepStrictEqual(rest, {
        storage: "cookie",
        audience: "default",
        idling_timeout: 900,
        rolling_timeout: 3600,
        absolute_timeout: 86400,
        stale_ttl: 10,
        cookie_name: "session",
        cookie_path: "/",
        cookie_domain: undefined,
        cookie_same_site: "Strict",
        cookie_http_only: true,
        cookie_secure: true,
        remember: false,
        remember_cookie_name: "remember",
        remember_rolling_timeout: 604800,
        remember_absolute_timeout: 2592000,
        response_headers: [],
        request_headers: [],
        read_body_for_logout: false,
        logout_methods: ["POST", "DELETE"],
        logout_query_arg: "session_logout",
        logout_post_arg: "session_logout",
        hash_subject: false,
        store_metadata: false
      })
    }))

  const everything = {
    secret,
    storage: "kong",
    audience: "shop",
    idling_timeout: 60.5,
    rolling_timeout: 120,
    absolute_timeout: 0,
    stale_ttl: 5,
    cookie_name: "gate",
    cookie_path: "/shop",
    cookie_domain: "example.com",
    cookie_same_site: "None",
    cookie_http_only: false,
    cookie_secure: true,
    remember: true,
    remember_cookie_name: "gate_remember",
    remember_rolling_timeout: 1000,
    remember_absolute_timeout: 2000,
    response_headers: ["id", "timeout"],
    request_headers: ["subject"],
    read_body_for_logout: true,
    logout_methods: ["GET"],
    logout_query_arg: "bye",
    logout_post_arg: "adieu",
    hash_subject: true,
    store_metadata: true
  }

  it.effect("reads every setting, and writes it again", () =>
    Effect.gen(function*() {
      const settings = yield* KongSession.decode(everything)
      assert.deepStrictEqual<object>({ ...settings, secret: Redacted.value(settings.secret) }, everything)
      assert.deepStrictEqual(yield* Schema.encodeEffect(KongSession.Settings)(settings), everything)
    }))

  it.effect("writes what is not there, too", () =>
    Effect.gen(function*() {
      const settings = yield* KongSession.decode({ secret, logout_query_arg: null, logout_post_arg: null })
      const written = yield* Schema.encodeEffect(KongSession.Settings)(settings)
      assert.deepStrictEqual(yield* KongSession.decode(written), settings)
    }))

  it.effect("makes them those of SessionConfig", () =>
    Effect.gen(function*() {
      const settings = yield* SessionConfig.make(KongSession.toOptions(yield* KongSession.decode(everything)))
      const reference = yield* SessionConfig.make({ ...SessionConfig.kong, secret: Redacted.make(secret) })
      assert.deepStrictEqual({ ...settings, keys: [] }, {
        ...reference,
        keys: [],
        audience: "shop",
        idlingTimeout: 60,
        rollingTimeout: 120,
        absoluteTimeout: 0,
        staleTtl: 5,
        cookieName: "gate",
        cookiePath: "/shop",
        cookieDomain: "example.com",
        cookieSameSite: "None",
        cookieHttpOnly: false,
        remember: true,
        rememberCookieName: "gate_remember",
        rememberRollingTimeout: 1000,
        rememberAbsoluteTimeout: 2000,
        responseHeaders: ["id", "timeout"],
        requestHeaders: ["subject"],
        hashSubject: true,
        storeMetadata: true
      })
      assert.deepStrictEqual(
        yield* SessionConfig.make(KongSession.toOptions(yield* KongSession.decode({ secret }))),
        reference
      )
    }))

  const read: ReadonlyArray<readonly [object, Partial<KongSession.Settings>]> = [
    [{ cookie_lifetime: 60 }, { rolling_timeout: 60 }],
    [{ cookie_lifetime: 60, rolling_timeout: 61 }, { rolling_timeout: 60 }],
    [{ cookie_idletime: 60 }, { idling_timeout: 60 }],
    [{ cookie_idletime: null }, { idling_timeout: 0 }],
    [{ cookie_renew: 60 }, { rolling_timeout: 3600 }],
    [{ cookie_discard: 60 }, { stale_ttl: 60 }],
    [{ cookie_samesite: "Lax" }, { cookie_same_site: "Lax" }],
    [{ cookie_samesite: "off" }, { cookie_same_site: "Lax" }],
    [{ cookie_samesite: "None", cookie_same_site: "Lax" }, { cookie_same_site: "None" }],
    [{ cookie_httponly: false }, { cookie_http_only: false }],
    [{ cookie_persistent: true }, { remember: true }],
    [{ cookie_domain: null, response_headers: null }, { cookie_domain: undefined, response_headers: [] }],
    [{ cookie_same_site: null, stale_ttl: null }, { cookie_same_site: "Strict", stale_ttl: 10 }],
    [{ cookie_lifetime: null, rolling_timeout: 60 }, { rolling_timeout: 60 }],
    [{ logout_methods: null }, { logout_methods: [] }],
    [{ logout_methods: [] }, { logout_methods: [] }],
    [{ logout_query_arg: null }, { logout_query_arg: undefined, logout_post_arg: "session_logout" }],
    [{ logout_post_arg: null }, { logout_query_arg: "session_logout", logout_post_arg: undefined }],
    [{ logout_methods: ["GET", "GET"] }, { logout_methods: ["GET"] }],
    [{ request_headers: ["id", "id"] }, { request_headers: ["id"] }]
  ]
  it.effect.each(read)("reads %o", ([config, expected]) =>
    Effect.gen(function*() {
      const settings = yield* KongSession.decode({ secret, ...config })
      assert.deepStrictEqual(settings, {
        ...(yield* KongSession.decode({ secret })),
        ...expected,
        secret: settings.secret
      })
    }))

  const refused: ReadonlyArray<readonly [unknown, string]> = [
    [{}, "config.secret: is missing, and Kong makes up another one at each start. Configure one"],
    [{ secret: null }, "config.secret: is missing, "],
    [{ secret: 12345678 }, "config.secret: is not a string. Write a string"],
    [{ secret: "{vault://env/session-secret}" }, "config.secret: is a reference to a vault, "],
    [null, "config: is not an object. "],
    ["secret", "config: is not an object. "],
    [{ secret, cookie_samesite: "Off" }, "config.cookie_samesite: is not one of its values. Write one of \"Strict\", "],
    [
      { secret, cookie_same_site: "off" },
      "config.cookie_same_site: is not one of its values. Write one of \"Strict\", "
    ],
    [{ secret, storage: "redis" }, "config.storage: is not one of its values. Write one of \"cookie\", \"kong\""],
    [
      { secret, cookie_samsite: "Lax" },
      "config.cookie_samsite: is not a setting of Kong's session plugin. Leave it out"
    ],
    [{ secret, cookie_prefix: "__Host-" }, "config.cookie_prefix: is not a setting of Kong's session plugin."],
    [{ secret, constructor: 1 }, "config.constructor: is not a setting of Kong's session plugin."],
    [{ secret, idling_timeout: "900" }, "config.idling_timeout: is not a number. Write seconds, without quotes"],
    [{ secret, idling_timeout: -1 }, "config.idling_timeout: is negative, infinite or less than a second."],
    [{ secret, stale_ttl: 0.5 }, "config.stale_ttl: is negative, infinite or less than a second."],
    [{ secret, rolling_timeout: Infinity }, "config.rolling_timeout: is negative, infinite or less than a second."],
    [{ secret, rolling_timeout: Number.NaN }, "config.rolling_timeout: is negative, infinite or less than a second."],
    [{ secret, cookie_renew: "1" }, "config.cookie_renew: is not a number."],
    [{ secret, cookie_secure: "true" }, "config.cookie_secure: is not a boolean. Write true or false"],
    [{ secret, logout_methods: "GET" }, "config.logout_methods: is not a list of its values."],
    [
      { secret, logout_methods: ["POST", "PUT"] },
      "config.logout_methods.1: is not one of its values. Write one of \"GET\", "
    ],
    [{ secret, response_headers: ["sid"] }, "config.response_headers.0: is not one of its values."],
    [{ secret, logout_query_arg: true }, "config.logout_query_arg: is not a string."]
  ]
  it.effect.each(refused)("refuses %o", ([config, expected]) =>
    Effect.gen(function*() {
      const text = yield* messageOf(config)
      assert.isTrue(text.startsWith(expected), text)
      assert.notInclude(text, "12345678")
      assert.notInclude(text, secret)
    }))

  it.effect("names the field of a whole configuration", () =>
    Effect.gen(function*() {
      const Kong = Schema.Struct({ plugins: Schema.Array(Schema.Struct({ config: KongSession.Settings })) })
      const bad = { plugins: [{ config: { secret } }, { config: { secret, storage: "redis" } }] }
      const error = yield* Effect.flip(Schema.decodeUnknownEffect(Kong)(bad))
      assert.include(error.message, "[\"plugins\"][1][\"config\"][\"storage\"]")
    }))

  it.effect("names the field that SessionConfig refuses", () =>
    Effect.gen(function*() {
      const settings = yield* KongSession.decode({ secret, cookie_name: "a b" })
      const error = yield* Effect.flip(Effect.scoped(Layer.build(KongSession.layerConfig(settings))))
      assert.isTrue(error.message.startsWith("config.cookie_name: is empty, or has characters"), error.message)
    }))

  it.effect("takes a short secret, as Kong does", () =>
    Effect.gen(function*() {
      const settings = yield* KongSession.decode({ secret: "kong secret" })
      const context = yield* Effect.scoped(Layer.build(KongSession.layerConfig(settings)))
      assert.strictEqual(Context.get(context, SessionConfig.SessionConfig).cookieName, "session")
    }))
})

// -----------------------------------------------------------------------------
// a gateway
// -----------------------------------------------------------------------------

const bob = { id: "b2a5fe20-1b0e-4c0f-8b5b-8a1d0e3a6c11", username: "bob", custom_id: "42" }
const eve = { id: "e0000000-0000-4000-8000-000000000000", custom_id: "7" }
const zoe = { id: "20000000-0000-4000-8000-000000000000" }
const guest = { id: "90000000-0000-4000-8000-000000000000", username: "guest" }
const consumers = [bob, eve, zoe, guest]

const keys: ReadonlyMap<string, KongSession.Authenticated> = new Map<string, KongSession.Authenticated>([
  ["bob's", { consumer: bob, credential: { id: "5d0ecf6e-6a37-4b6f-9f04-2ec1a0a3a1b9" } }],
  ["bob's other", { consumer: bob, credential: { id: "c0", identifier: "bob@example.com" } }],
  ["eve's", { consumer: eve, credential: { id: "c1" }, groups: ["admins", "users"] }],
  ["zoe's", { consumer: zoe, credential: { id: "c2" } }],
  ["nobody's", { credential: { id: "c3" } }]
])

/** As Kong's key-auth with an anonymous consumer: skipped for who is authenticated already. */
const keyAuth = HttpRouter.middleware((handler) =>
  Effect.gen(function*() {
    const { current } = yield* KongSession.Authentication
    const before = Option.getOrUndefined(yield* current)
    const { headers } = yield* HttpServerRequest.HttpServerRequest
    if (before?.credential !== undefined && headers["insist"] === undefined) return yield* handler
    return yield* KongSession.authenticate(handler, keys.get(headers["apikey"] ?? "") ?? { consumer: guest })
  })
)

const claimNames = [
  "x-consumer-id",
  "x-consumer-custom-id",
  "x-consumer-username",
  "x-credential-identifier",
  "x-authenticated-groups",
  "x-anonymous-consumer"
]

/** What upstream is told, and the session's headers. */
const Upstream = HttpRouter.add(
  "*",
  "/",
  (request) =>
    Effect.map(request.text, (text) =>
      HttpServerResponse.jsonUnsafe({
        text,
        headers: Object.fromEntries(
          Object.entries(request.headers).filter(([name]) => claimNames.includes(name) || name.startsWith("session-"))
        )
      }))
)

class Unreachable extends Data.TaggedError("Unreachable")<{}> {
  [HttpServerRespondable.symbol]() {
    return Effect.succeed(HttpServerResponse.empty({ status: 502 }))
  }
}

const Broken = HttpRouter.add("GET", "/broken", Effect.fail(new Unreachable()))

const Leave = HttpRouter.add(
  "GET",
  "/leave",
  KongSession.AuthenticatedSession.use((session) =>
    Effect.andThen(session.logout, Effect.map(session.get, (data) => HttpServerResponse.text(data._tag)))
  )
)

const Holds = HttpRouter.add(
  "GET",
  "/data",
  KongSession.AuthenticatedSession.use((session) =>
    Effect.map(
      Effect.zip(session.get, session.subject),
      ([data, subject]) => HttpServerResponse.jsonUnsafe([Option.getOrNull(data), Option.getOrNull(subject)])
    )
  )
)

interface Recorded {
  readonly config: { readonly [name: string]: unknown }
  readonly steps: ReadonlyArray<{
    readonly set_cookie: ReadonlyArray<string>
    readonly kong_calls?: ReadonlyArray<{
      readonly entity: { readonly session_id: string; readonly data: string; readonly expires: number }
    }>
  }>
}

/** What a Kong did first: its settings, its cookie, and its row if it has one. */
const load = (name: string) => {
  const { config: { storage: _, ...config }, steps }: Recorded = JSON.parse(
    readFileSync(new URL(`vectors/${name}.json`, import.meta.url), "utf8")
  )
  const [, cookie = ""] = /^session=([^;]+)/.exec(steps[0]?.set_cookie[0] ?? "") ?? []
  return { config, cookie, row: steps[0]?.kong_calls?.[0]?.entity }
}

interface Setting {
  readonly server?: Http.Server
  readonly config?: object
  readonly storage?: "cookie" | "memory"
  /** A store in place of that. */
  readonly store?: Layer.Layer<SessionStore.SessionStore, unknown, SessionConfig.SessionConfig>
}

interface Ask {
  readonly method?: string
  readonly key?: string
  readonly headers?: { readonly [name: string]: string }
  readonly body?: string
}

const [node = Http.upgradingServer] = Http.servers

const open = Effect.fnUntraced(function*({ config, server = node, storage = "memory", store }: Setting = {}) {
  const settings = yield* KongSession.decode({ secret, ...config })
  const probe = Http.makeProbe()
  const surroundings = Http.makeSurroundings()
  const known = new Map<string, KongSession.Consumer | "unreachable">(
    consumers.map((consumer) => [consumer.id, consumer])
  )
  const lookups: Array<string> = []
  const app = Layer.mergeAll(Upstream, Broken, Leave, Holds).pipe(
    Layer.provide(keyAuth.combine(KongSession.middleware(settings)).layer),
    Layer.provide(Layer.succeed(KongSession.Consumers, {
      byId: (id) =>
        Effect.suspend(() => {
          lookups.push(id)
          const found = known.get(id)
          return found === "unreachable"
            ? Effect.fail(new Error("unreachable"))
            : Effect.succeed(Option.fromUndefinedOr(found))
        })
    })),
    Layer.provide(store ?? (storage === "cookie" ? SessionStore.layerCookie : probe.layer)),
    Layer.provide(KongSession.layerConfig(settings))
  )
  const port = yield* server.start(app, surroundings)
  const jar = new Http.Jar()
  const ask = (path: string, { body, headers, key, method = "GET" }: Ask = {}, from = jar) =>
    Effect.promise(async () => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        method,
        headers: {
          ...(from.header === undefined ? {} : { cookie: from.header }),
          ...(key === undefined ? {} : { apikey: key }),
          ...headers
        },
        ...(body === undefined ? {} : { body })
      })
      const reply = {
        status: response.status,
        headers: Object.fromEntries(response.headers),
        setCookies: response.headers.getSetCookie(),
        body: await response.text()
      }
      from.keep(reply)
      return reply
    })
  const told = (path: string, message?: Ask, from = jar) =>
    Effect.map(ask(path, message, from), ({ body }): unknown => JSON.parse(body).headers)
  return { ask, told, jar, known, lookups, probe, time: surroundings.time, reported: surroundings.reported }
})

const bobs = {
  "x-consumer-id": bob.id,
  "x-consumer-custom-id": "42",
  "x-consumer-username": "bob",
  "x-credential-identifier": "5d0ecf6e-6a37-4b6f-9f04-2ec1a0a3a1b9"
}

const guests = { "x-consumer-id": guest.id, "x-consumer-username": "guest", "x-anonymous-consumer": "true" }

const sidOf = (jar: Http.Jar): string => jar.get("session")?.slice(0, 60) ?? "none"

describe.each(
  Http.servers.flatMap((server) =>
    (["memory", "cookie"] as const).map((storage) => ({ name: server.name, server, storage }))
  )
)("a gateway on $name, $storage", (where) => {
  it.live("authentication opens a session that lets the next request in", () =>
    Effect.gen(function*() {
      const { ask, jar, told } = yield* open(where)
      const first = yield* ask("/", { key: "bob's" })
      assert.strictEqual(first.setCookies.length, 1)
      assert.match(first.setCookies[0] ?? "", /^session=[\w-]+; Path=\/; SameSite=Strict; Secure; HttpOnly$/)
      assert.strictEqual(first.headers["cache-control"], "no-store")
      const second = yield* ask("/")
      assert.deepStrictEqual(second.setCookies, [])
      assert.deepStrictEqual([JSON.parse(first.body).headers, JSON.parse(second.body).headers], [bobs, bobs])
      assert.deepStrictEqual(JSON.parse((yield* ask("/data")).body), [
        [bob.id, "5d0ecf6e-6a37-4b6f-9f04-2ec1a0a3a1b9"],
        "bob"
      ])
      const sid = sidOf(jar)
      assert.deepStrictEqual(yield* told("/", { key: "bob's", headers: { insist: "1" } }), bobs)
      assert.strictEqual(sidOf(jar), sid)
    }))

  it.live("anonymous requests open none", () =>
    Effect.gen(function*() {
      const { ask, probe, told } = yield* open(where)
      assert.deepStrictEqual(yield* told("/"), guests)
      assert.deepStrictEqual((yield* ask("/", { key: "wrong" })).setCookies, [])
      assert.deepStrictEqual((yield* ask("/", { key: "nobody's" })).setCookies, [])
      assert.deepStrictEqual(probe.log, [])
    }))

  it.live("the cookie is as it is configured", () =>
    Effect.gen(function*() {
      const config = { cookie_name: "gate", cookie_same_site: "Lax", cookie_secure: false, cookie_http_only: false }
      const { ask, told } = yield* open({ ...where, config })
      const { setCookies } = yield* ask("/", { key: "bob's" })
      assert.match(setCookies.join(), /^gate=[\w-]+; Path=\/; SameSite=Lax$/)
      assert.deepStrictEqual(yield* told("/"), bobs)
    }))

  it.live("groups go into the session and to upstream", () =>
    Effect.gen(function*() {
      const { ask, told } = yield* open(where)
      const eves = {
        "x-consumer-id": eve.id,
        "x-consumer-custom-id": "7",
        "x-credential-identifier": "c1",
        "x-authenticated-groups": "admins, users"
      }
      assert.deepStrictEqual(yield* told("/", { key: "eve's" }), eves)
      assert.deepStrictEqual(yield* told("/"), eves)
      assert.deepStrictEqual(JSON.parse((yield* ask("/data")).body), [[eve.id, "c1", ["admins", "users"]], "7"])
    }))

  it.live("a credential may tell upstream something else than its id", () =>
    Effect.gen(function*() {
      const { told } = yield* open(where)
      const key = "bob's other"
      assert.deepStrictEqual(yield* told("/", { key }), { ...bobs, "x-credential-identifier": "bob@example.com" })
    }))

  it.live("the subject of who has no names is the id", () =>
    Effect.gen(function*() {
      const { ask } = yield* open(where)
      yield* ask("/", { key: "zoe's" })
      assert.deepStrictEqual(JSON.parse((yield* ask("/data")).body), [[zoe.id, "c2"], zoe.id])
    }))

  it.live("what clients claim is removed", () =>
    Effect.gen(function*() {
      const { ask, told } = yield* open(where)
      const claims = Object.fromEntries(claimNames.map((name) => [name, "root"]))
      const seen = yield* told("/", { headers: { ...claims, "X-Consumer-Username": "root" } })
      assert.deepStrictEqual(seen, guests)
      yield* ask("/", { key: "zoe's" })
      assert.deepStrictEqual(yield* told("/", { headers: claims }), {
        "x-consumer-id": zoe.id,
        "x-credential-identifier": "c2"
      })
    }))

  it.live.each(["bob's other", "eve's"])(
    "somebody else takes the session over under a new sid: %s",
    (key) =>
      Effect.gen(function*() {
        const { ask, jar, probe, told } = yield* open(where)
        yield* ask("/", { key: "bob's" })
        const before = jar.copy()
        const { setCookies } = yield* ask("/", { key, headers: { insist: "1" } })
        assert.strictEqual(setCookies.length, 1)
        assert.notStrictEqual(sidOf(jar), sidOf(before))
        const [data] = JSON.parse((yield* ask("/data")).body)
        assert.strictEqual(data[1], keys.get(key)?.credential?.id)
        if (where.storage === "cookie") return
        assert.deepStrictEqual(Http.writes(probe), ["create", "supersede"])
        // Renewed: the old sid is dead at once.
        assert.deepStrictEqual(yield* told("/", {}, before), guests)
      })
  )

  it.live("logs out by the query before anything else happens", () =>
    Effect.gen(function*() {
      const { ask, jar, lookups, told } = yield* open(where)
      yield* ask("/", { key: "bob's" })
      lookups.length = 0
      const { body, setCookies, status } = yield* ask("/?session_logout=1", { method: "POST", key: "bob's" })
      assert.deepStrictEqual([status, body, lookups], [200, "", []])
      assert.match(setCookies.join(), /^session=; Path=\/; SameSite=Strict; Secure; HttpOnly; .*Max-Age=0$/)
      assert.strictEqual(jar.get("session"), undefined)
      assert.deepStrictEqual(yield* told("/"), guests)
    }))

  it.live.each([true, false])(
    "logs out by the body, if it is read: %s",
    (read_body_for_logout) =>
      Effect.gen(function*() {
        const { ask, told } = yield* open({ ...where, config: { read_body_for_logout } })
        yield* ask("/", { key: "bob's" })
        const headers = { "content-type": "application/x-www-form-urlencoded" }
        const other = yield* ask("/", { method: "POST", body: "a=1", headers })
        assert.strictEqual(JSON.parse(other.body).text, "a=1")
        yield* ask("/", { method: "POST", body: "session_logout=1", headers })
        assert.deepStrictEqual(yield* told("/"), read_body_for_logout ? guests : bobs)
      })
  )

  it.live("a consumer who is gone is logged out, and the request goes on", () =>
    Effect.gen(function*() {
      const { ask, jar, known } = yield* open({ ...where, config: { request_headers: ["subject"] } })
      yield* ask("/", { key: "bob's" })
      const before = jar.copy()
      assert.deepStrictEqual(JSON.parse((yield* ask("/")).body).headers, { ...bobs, "session-subject": "bob" })
      known.delete(bob.id)
      const reply = yield* ask("/")
      assert.deepStrictEqual(JSON.parse(reply.body).headers, guests)
      assert.match(reply.setCookies.join(), /^session=; .*Max-Age=0$/)
      known.set(bob.id, bob)
      if (where.storage === "memory") {
        assert.deepStrictEqual(JSON.parse((yield* ask("/", {}, before)).body).headers, guests)
      }
    }))
})

describe("KongSession.layer", () => {
  it.live("without consumers to ask, the request is nobody's and the session stays", () =>
    Effect.gen(function*() {
      const { ask, known, told } = yield* open({ config: { request_headers: ["subject"] } })
      yield* ask("/", { key: "bob's" })
      known.set(bob.id, "unreachable")
      assert.deepStrictEqual(yield* told("/", { headers: { "session-subject": "root" } }), guests)
      known.set(bob.id, bob)
      assert.deepStrictEqual(yield* told("/"), { ...bobs, "session-subject": "bob" })
    }))

  it.live("authentication that fails upstream is kept all the same", () =>
    Effect.gen(function*() {
      const { ask, told } = yield* open()
      const { setCookies, status } = yield* ask("/broken", { key: "bob's" })
      assert.deepStrictEqual([status, setCookies.length], [502, 1])
      assert.deepStrictEqual(yield* told("/"), bobs)
    }))

  it.live("a handler that logs out wins", () =>
    Effect.gen(function*() {
      const { ask, jar, told } = yield* open()
      assert.strictEqual((yield* ask("/leave", { key: "bob's" })).body, "None")
      assert.strictEqual(jar.get("session"), undefined)
      yield* ask("/", { key: "bob's" })
      yield* ask("/leave")
      assert.deepStrictEqual(yield* told("/"), guests)
    }))

  it.live("a store that fails is a 503, and nobody's cookie", () =>
    Effect.gen(function*() {
      const { ask, probe } = yield* open()
      probe.around(() => Effect.die(new Error("down")))
      const { setCookies, status } = yield* ask("/", { key: "bob's" })
      assert.deepStrictEqual([status, setCookies], [503, []])
      probe.around((_, run) => run)
      yield* ask("/", { key: "bob's" })
      probe.around((operation, run) => operation === "revoke" ? Effect.die(new Error("down")) : run)
      assert.strictEqual((yield* ask("/?session_logout", { method: "POST" })).status, 503)
      probe.around((operation, run) => operation === "load" ? Effect.die(new Error("down")) : run)
      assert.strictEqual((yield* ask("/")).status, 503)
    }))

  it.live("the session is refreshed", () =>
    Effect.gen(function*() {
      const { ask, probe, time, told } = yield* open()
      yield* ask("/", { key: "bob's" })
      for (const _ of Array.from({ length: 3 })) {
        time.advance(800)
        assert.strictEqual((yield* ask("/")).setCookies.length, 1)
      }
      time.advance(400)
      yield* ask("/")
      assert.deepStrictEqual(Http.writes(probe), ["create", "touch", "touch", "touch", "supersede"])
      time.advance(901)
      assert.deepStrictEqual(yield* told("/"), guests)
    }))

  it.live("headers tell upstream and the client about the session", () =>
    Effect.gen(function*() {
      const config = {
        request_headers: ["audience", "subject"],
        response_headers: ["absolute-timeout"],
        audience: "shop"
      }
      const { ask, told } = yield* open({ config })
      yield* ask("/", { key: "bob's" })
      const { headers } = yield* ask("/")
      assert.strictEqual(headers["session-absolute-timeout"], "86400")
      assert.deepStrictEqual(yield* told("/", { headers: { "session-audience": "x" } }), {
        ...bobs,
        "session-audience": "shop",
        "session-subject": "bob"
      })
    }))

  it.live("remember is the plugin's setting", () =>
    Effect.gen(function*() {
      const { ask, jar, told } = yield* open({ config: { remember: true } })
      const { setCookies } = yield* ask("/", { key: "bob's" })
      assert.deepStrictEqual(setCookies.map((each) => each.slice(0, each.indexOf("="))).toSorted(), [
        "remember",
        "session"
      ])
      assert.match(setCookies.join(), /remember=[^,]*; Expires=[^;]*; Max-Age=604800/)
      const later = new Http.Jar([["remember", jar.get("remember") ?? ""]])
      assert.deepStrictEqual(yield* told("/", {}, later), bobs)
    }))

  it.live("stands without authentication inside of it", () =>
    Effect.gen(function*() {
      const settings = yield* KongSession.decode({ secret })
      const enter = KongSession.authenticate(Effect.succeed(HttpServerResponse.empty()), keys.get("bob's") ?? {})
      const app = Layer.merge(Upstream, HttpRouter.add("GET", "/enter", enter)).pipe(
        Layer.provide(KongSession.layer(settings)),
        Layer.provide(KongSession.layerConsumers(consumers)),
        Layer.provide(SessionStore.layerCookie),
        Layer.provide(KongSession.layerConfig(settings))
      )
      const send = Http.sendTo(yield* Http.makeWebHandler(app, Http.makeSurroundings()))
      const jar = new Http.Jar()
      assert.deepStrictEqual(JSON.parse((yield* send("/", { jar })).body).headers, {})
      yield* send("/enter", { jar })
      assert.deepStrictEqual(JSON.parse((yield* send("/", { jar })).body).headers, bobs)
    }))

  it.live("names in any language reach upstream as bytes of UTF-8", () =>
    Effect.gen(function*() {
      const { ask, known } = yield* open()
      yield* ask("/", { key: "zoe's" })
      known.set(zoe.id, { id: zoe.id, username: "Zoë", custom_id: "a\nb" })
      const { headers } = JSON.parse((yield* ask("/")).body)
      assert.strictEqual(Buffer.from(headers["x-consumer-username"], "latin1").toString(), "Zoë")
      assert.strictEqual(headers["x-consumer-custom-id"], undefined)
    }))

  it.live("data that are not the plugin's are left alone", () =>
    Effect.gen(function*() {
      class Cart extends Session.Service<Cart>()("Cart", { data: Schema.Array(Schema.Int) }) {}
      const fill = Cart.use((cart) => Effect.as(cart.set([1, 2]), HttpServerResponse.empty()))
      const app = HttpRouter.add("GET", "/", fill).pipe(
        Layer.provide(SessionHttp.layer(Cart)),
        Layer.provide(SessionStore.layerCookie),
        Layer.provide(KongSession.layerConfig(yield* KongSession.decode({ secret })))
      )
      const { ask, jar, told } = yield* open({ storage: "cookie" })
      const handler = yield* Http.makeWebHandler(app, Http.makeSurroundings())
      const { setCookies: [cookie = ""] } = yield* Http.sendTo(handler)("/")
      jar.set("session", cookie.slice("session=".length, cookie.indexOf(";")))
      assert.deepStrictEqual(yield* told("/"), guests)
      assert.deepStrictEqual((yield* ask("/")).setCookies, [])
    }))
})

describe("cookies that Kong made", () => {
  describe.each(["k405-kong-cookie", "k415-kong-cookie"])("%s", (name) => {
    it.live("lets its user in", () =>
      Effect.gen(function*() {
        const { config, cookie } = load(name)
        const { ask, jar, known, told } = yield* open({ config, storage: "cookie" })
        jar.set("session", cookie)
        assert.deepStrictEqual(yield* told("/"), bobs)
        assert.deepStrictEqual((yield* ask("/", { key: "bob's", headers: { insist: "1" } })).setCookies, [])
        known.delete(bob.id)
        assert.deepStrictEqual(yield* told("/"), guests)
        assert.strictEqual(jar.get("session"), undefined)
      }))
  })
})

layer(layerClient().pipe(Layer.provideMerge(layerDatabase)), { excludeTestServices: true })("Kong's tables", (it) => {
  const openTables = Effect.fnUntraced(function*(config: object) {
    const client = yield* Effect.context<SqlClient.SqlClient>()
    const sql = Context.get(client, SqlClient.SqlClient)
    const gateway = yield* open({
      config: { ...config, storage: "kong" },
      store: Layer.provide(KongSessionStore.layer, Layer.succeedContext(client))
    })
    const rows = Effect.map(sql`SELECT session_id, expires FROM sessions`, (rows) => rows.length)
    return { ...gateway, sql, rows }
  })

  it.effect("what is saved is found at once, and gone after the logout", () =>
    Effect.gen(function*() {
      const { ask, jar, known, rows, time, told } = yield* openTables({ secret })
      // Kong's trigger goes by the database's clock.
      time.advance(Math.floor(Date.now() / 1000) - 1_795_400_000)
      yield* ask("/", { key: "bob's" })
      assert.deepStrictEqual(yield* told("/"), bobs)
      assert.strictEqual(jar.get("session")?.length, 110)
      assert.strictEqual(yield* rows, 1)
      const before = jar.copy()
      yield* ask("/?session_logout", { method: "POST" })
      assert.deepStrictEqual([yield* rows, yield* told("/", {}, before)], [0, guests])
      yield* ask("/", { key: "bob's" })
      known.delete(bob.id)
      assert.deepStrictEqual(yield* told("/"), guests)
      assert.strictEqual(yield* rows, 0)
    }))

  it.effect.each(["k405-kong-storage", "k415-kong-storage"])(
    "%s lets its user in, with groups",
    (name) =>
      Effect.gen(function*() {
        const { config, cookie, row } = load(name)
        const { jar, known, rows, sql, told } = yield* openTables(config)
        yield* sql`INSERT INTO sessions ${sql.insert({ id: "00000000-0000-4000-8000-000000000001", ...row })}`
        jar.set("session", cookie)
        assert.deepStrictEqual(yield* told("/"), { ...bobs, "x-authenticated-groups": "admins" })
        known.delete(bob.id)
        assert.deepStrictEqual(yield* told("/"), guests)
        assert.strictEqual(yield* rows, 0)
      })
  )
})
