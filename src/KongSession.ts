/**
 * Kong's session plugin: its settings, its session, and what it does with the
 * authentication of a request, so that a gateway on Effect and a Kong share live
 * sessions.
 *
 * **Details**
 *
 * The order is the plugin's. Before a request is authenticated, its session is opened;
 * a request that asks to log out is logged out and answered with an empty 200. The consumer
 * that the session names is looked up, and the request is theirs. Authentication
 * inside of it (`Authentication.current`, `authenticate`) is skipped for them, or is
 * held in the session if it finds somebody else. Anonymous requests open no session.
 *
 * What clients send under the names of Kong's headers (`X-Consumer-ID`,
 * `X-Credential-Identifier`, ...) is removed from every request.
 *
 * | in Kong | here |
 * |---|---|
 * | the plugin's `config` | `Settings`, `decode`, `layerConfig` |
 * | `storage: cookie`, `kong` | the caller's choice of a `SessionStore` layer |
 * | the access phase of the plugin | `layer` |
 * | `kong.client.get_consumer`, `get_credential` | `Authentication.current` |
 * | `kong.client.authenticate` | `authenticate`, `Authentication.set` |
 * | `kong.ctx.shared.authenticated_session` | `AuthenticatedSession` |
 *
 * **Example** (A key opens a session)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect, Layer, Option } from "effect"
 * import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
 * import * as KongSession from "effect-session/KongSession"
 * import * as SessionStore from "effect-session/SessionStore"
 *
 * const alice = { id: "b2a5", username: "alice" }
 *
 * const keyAuth = HttpRouter.middleware((handler) =>
 *   Effect.gen(function*() {
 *     const authentication = yield* KongSession.Authentication
 *     if (Option.isSome(yield* authentication.current)) return yield* handler
 *     const { headers } = yield* HttpServerRequest.HttpServerRequest
 *     return headers["apikey"] === "kept secret"
 *       ? yield* KongSession.authenticate(handler, { consumer: alice, credential: { id: "5d0e" } })
 *       : HttpServerResponse.empty({ status: 401 })
 *   })
 * )
 *
 * const Upstream = HttpRouter.add("GET", "/", Effect.map(
 *   HttpServerRequest.HttpServerRequest,
 *   ({ headers }) => HttpServerResponse.text(headers["x-consumer-username"] ?? "nobody")
 * ))
 *
 * const settings = await Effect.runPromise(KongSession.decode({ secret: "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4" }))
 *
 * const App = Upstream.pipe(
 *   Layer.provide(keyAuth.combine(KongSession.middleware(settings)).layer),
 *   Layer.provide(KongSession.layerConsumers([alice])),
 *   Layer.provide(SessionStore.layerCookie),
 *   Layer.provide(KongSession.layerConfig(settings))
 * )
 *
 * const { dispose, handler } = HttpRouter.toWebHandler(App, { disableLogger: true })
 * const ask = (headers: Record<string, string>) => handler(new Request("https://example.com/", { headers }))
 * const first = await ask({ apikey: "kept secret" })
 * const cookie = first.headers.getSetCookie()[0]!.split(";")[0]!
 * const second = await ask({ cookie, "x-consumer-username": "root" })
 * assert.deepEqual([await first.text(), await second.text()], ["alice", "alice"])
 * await dispose()
 * ```
 *
 * @since 0.1.0
 */
import { Context, Duration, Effect, Function, Layer, Option, Schema, SchemaIssue } from "effect"
import type { Scope, Types } from "effect"
import { Headers, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { withClaims } from "./internal/kongClaims.ts"
import * as kongSettings from "./internal/kongSettings.ts"
import * as logoutRequest from "./internal/logoutRequest.ts"
import { nameOf } from "./internal/properties.ts"
import * as Session from "./Session.ts"
import * as SessionConfig from "./SessionConfig.ts"
import { InvalidConfig, SessionError } from "./SessionError.ts"
import * as SessionHttp from "./SessionHttp.ts"
import type { SessionStore } from "./SessionStore.ts"

// -----------------------------------------------------------------------------
// settings
// -----------------------------------------------------------------------------

/**
 * The plugin's `config` as a declarative configuration writes it, decoded to all
 * of its settings.
 *
 * **Details**
 *
 * Names and defaults are the plugin's. Times are seconds. `null` means "not
 * configured", and for the `logout_*` settings "never". The deprecated shorthands
 * (`cookie_lifetime`, `cookie_idletime`, `cookie_discard`, `cookie_samesite`,
 * `cookie_httponly`, `cookie_persistent`) go before the settings they stand for, as
 * in Kong; `cookie_renew` does nothing, as there. A setting that is not one of the
 * plugin's is an error.
 *
 * **Gotchas**
 *
 * `secret` is required. Kong makes up another one at each start when none is
 * configured, and nobody could share that. A reference to a vault is refused:
 * only Kong can follow it.
 *
 * **Example** (A plugin's configuration)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Schema } from "effect"
 * import * as KongSession from "effect-session/KongSession"
 *
 * const settings = Schema.decodeUnknownSync(KongSession.Settings)({
 *   secret: "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4",
 *   storage: "kong",
 *   cookie_samesite: "off"
 * })
 *
 * assert.deepEqual([settings.storage, settings.cookie_same_site, settings.stale_ttl], ["kong", "Lax", 10])
 * ```
 *
 * @category settings
 * @since 0.1.0
 */
export const Settings = kongSettings.Settings

/**
 * The plugin's settings, complete.
 *
 * @category settings
 * @since 0.1.0
 */
export type Settings = typeof Settings.Type

/** The first thing that is wrong, by its place below `config`. */
const toReason = (issue: SchemaIssue.Issue): InvalidConfig => {
  const [first] = SchemaIssue.makeFormatterStandardSchemaV1()(issue).issues
  const [problem = "", ...fix] = (first?.message ?? "").split(". ")
  return new InvalidConfig({ setting: ["config", ...(first?.path ?? [])].join("."), problem, fix: fix.join(". ") })
}

/**
 * Reads the plugin's `config`; what is wrong is an `InvalidConfig` that names the
 * field, such as `config.cookie_same_site`.
 *
 * **Example** (A misspelt value)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import * as KongSession from "effect-session/KongSession"
 *
 * const secret = "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4"
 * const error = await Effect.runPromise(Effect.flip(KongSession.decode({ secret, cookie_same_site: "strict" })))
 *
 * assert.match(error.message, /^config.cookie_same_site: is not one of its values. Write one of "Strict", /)
 * ```
 *
 * @category settings
 * @since 0.1.0
 */
export const decode = (config: unknown): Effect.Effect<Settings, SessionError> =>
  Effect.mapError(
    Schema.decodeUnknownEffect(Settings)(config),
    ({ issue }) => new SessionError({ reason: toReason(issue) })
  )

/**
 * The plugin's settings as those of `SessionConfig`. What the plugin does not
 * expose is as `SessionConfig.kong` has it.
 *
 * **Details**
 *
 * `storage` has no place there: it is the caller's choice of a `SessionStore`
 * layer.
 *
 * @category settings
 * @since 0.1.0
 */
export const toOptions = (settings: Settings): SessionConfig.Options => ({
  ...SessionConfig.kong,
  secret: settings.secret,
  audience: settings.audience,
  idlingTimeout: Duration.seconds(settings.idling_timeout),
  rollingTimeout: Duration.seconds(settings.rolling_timeout),
  absoluteTimeout: Duration.seconds(settings.absolute_timeout),
  staleTtl: Duration.seconds(settings.stale_ttl),
  cookieName: settings.cookie_name,
  cookiePath: settings.cookie_path,
  cookieDomain: settings.cookie_domain ?? "",
  cookieSameSite: settings.cookie_same_site,
  cookieHttpOnly: settings.cookie_http_only,
  cookieSecure: settings.cookie_secure,
  remember: settings.remember,
  rememberCookieName: settings.remember_cookie_name,
  rememberRollingTimeout: Duration.seconds(settings.remember_rolling_timeout),
  rememberAbsoluteTimeout: Duration.seconds(settings.remember_absolute_timeout),
  responseHeaders: settings.response_headers,
  requestHeaders: settings.request_headers,
  hashSubject: settings.hash_subject,
  storeMetadata: settings.store_metadata
})

const nameField = (error: SessionError): SessionError => {
  const { reason } = error
  if (reason._tag !== "InvalidConfig") return error
  const field = reason.setting.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  return new SessionError({ reason: new InvalidConfig({ ...reason, setting: `config.${field}` }) })
}

/**
 * Provides `SessionConfig` from the plugin's settings.
 *
 * **Details**
 *
 * What `SessionConfig` refuses is named as the plugin names it. A short secret,
 * which Kong accepts, is a logged warning.
 *
 * **Example** (The configuration of a Kong)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import * as KongSession from "effect-session/KongSession"
 * import * as SessionConfig from "effect-session/SessionConfig"
 *
 * const program = Effect.flatMap(
 *   KongSession.decode({ secret: "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4", cookie_name: "gate", rolling_timeout: 7200 }),
 *   (settings) => Effect.provide(SessionConfig.SessionConfig, KongSession.layerConfig(settings))
 * )
 * const { cookieName, rollingTimeout } = await Effect.runPromise(program)
 *
 * assert.deepEqual([cookieName, rollingTimeout], ["gate", 7200])
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (settings: Settings): Layer.Layer<SessionConfig.SessionConfig, SessionError> =>
  Layer.effect(SessionConfig.SessionConfig, Effect.mapError(SessionConfig.make(toOptions(settings)), nameField))

// -----------------------------------------------------------------------------
// who a request is from
// -----------------------------------------------------------------------------

/**
 * A consumer, under Kong's names.
 *
 * @category models
 * @since 0.1.0
 */
export interface Consumer {
  readonly id: string
  readonly username?: string | undefined
  readonly custom_id?: string | undefined
}

/**
 * What a consumer was authenticated by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Credential {
  readonly id: string
  /** What upstream is told in place of the id: basic-auth tells the user's name. */
  readonly identifier?: string | undefined
}

/**
 * Who a request is from. Without a credential, the consumer is the anonymous one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Authenticated {
  readonly consumer?: Consumer | undefined
  readonly credential?: Credential | undefined
  readonly groups?: ReadonlyArray<string> | undefined
}

/**
 * Where consumers are looked up by their ids. `none` ends the session that names
 * the consumer; a failure is logged, and the request goes on as nobody's.
 *
 * @category services
 * @since 0.1.0
 */
export class Consumers extends Context.Service<Consumers, {
  readonly byId: (id: string) => Effect.Effect<Option.Option<Consumer>, Error>
}>()("effect-session/KongSession/Consumers") {}

/**
 * Consumers that do not change.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConsumers = (consumers: Iterable<Consumer>): Layer.Layer<Consumers> => {
  const byId = new Map(Array.from(consumers, (consumer) => [consumer.id, consumer]))
  return Layer.succeed(Consumers, { byId: (id) => Effect.sync(() => Option.fromUndefinedOr(byId.get(id))) })
}

/**
 * The plugin's session: an array of the ids of the consumer and the credential,
 * and the groups if there are any. Its subject is the consumer's `username`, or else
 * `custom_id`, or else `id`; its audience the setting's.
 *
 * @category services
 * @since 0.1.0
 */
export class AuthenticatedSession extends Session.Service<AuthenticatedSession>()(
  "effect-session/KongSession/AuthenticatedSession",
  {
    data: Schema.Tuple([Schema.String, Schema.String, Schema.optionalKey(Schema.Array(Schema.String))]),
    cookieName: "session"
  }
) {}

type Handle = AuthenticatedSession["Service"]

/**
 * Who the current request is from, as its session or its authentication said.
 *
 * @category services
 * @since 0.1.0
 */
export class Authentication extends Context.Service<Authentication, {
  /** Who it is from, if anybody said so. Authentication that is not the only one lets these pass. */
  readonly current: Effect.Effect<Option.Option<Authenticated>>
  /**
   * Says who it is from. Unless the session holds this consumer and credential
   * already, it is given them, and renewed: the client gets a cookie. Without a consumer or
   * without a credential, the session stays as it is.
   */
  readonly set: (authenticated: Authenticated) => Effect.Effect<void, SessionError>
}>()("effect-session/KongSession/Authentication") {}

/**
 * Runs a handler for somebody who was just authenticated: `Authentication.set`,
 * and the headers that tell upstream. Who has no credential is told to be
 * anonymous, with `X-Anonymous-Consumer`.
 *
 * @category combinators
 * @since 0.1.0
 */
export const authenticate: {
  (authenticated: Authenticated): <A, E, R>(
    handler: Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | SessionError, R | Authentication | HttpServerRequest.HttpServerRequest>
  <A, E, R>(
    handler: Effect.Effect<A, E, R>,
    authenticated: Authenticated
  ): Effect.Effect<A, E | SessionError, R | Authentication | HttpServerRequest.HttpServerRequest>
} = Function.dual(
  2,
  <A, E, R>(
    handler: Effect.Effect<A, E, R>,
    authenticated: Authenticated
  ): Effect.Effect<A, E | SessionError, R | Authentication | HttpServerRequest.HttpServerRequest> =>
    Effect.andThen(
      Authentication.use(({ set }) => set(authenticated)),
      Effect.updateService(
        handler,
        HttpServerRequest.HttpServerRequest,
        (request) => withClaims(request, authenticated)
      )
    )
)

const isHeld = (session: Handle, consumer: Consumer, credential: Credential): Effect.Effect<boolean, SessionError> =>
  Effect.map(
    // A store that fails is a typed error here, and none of reading.
    Effect.andThen(session.open, session.get),
    Option.exists(([consumerId, credentialId]) => consumerId === consumer.id && credentialId === credential.id)
  )

const hold = Effect.fnUntraced(function*(session: Handle, { consumer, credential, groups }: Authenticated) {
  if (consumer === undefined || credential === undefined) return
  if (yield* isHeld(session, consumer, credential)) return
  yield* session.set(groups === undefined ? [consumer.id, credential.id] : [consumer.id, credential.id, groups])
  // A session that changes hands must not keep its sid.
  yield* session.login(consumer.username ?? consumer.custom_id ?? consumer.id)
})

const makeAuthentication = (session: Handle, found: Option.Option<Authenticated>): Authentication["Service"] => {
  let current = found
  return {
    current: Effect.sync(() => current),
    set: (authenticated) =>
      Effect.suspend(() => {
        current = Option.some(authenticated)
        return hold(session, authenticated)
      })
  }
}

// -----------------------------------------------------------------------------
// the plugin
// -----------------------------------------------------------------------------

/** Whom the session names; it ends if they are no longer there. Data that are not the plugin's are left alone. */
const identify = Effect.fnUntraced(function*(session: Handle, consumers: Consumers["Service"]) {
  const held = yield* session.get
  if (Option.isNone(held)) return Option.none()
  const [id, credential, groups] = held.value
  const consumer = yield* consumers.byId(id)
  if (Option.isNone(consumer)) {
    yield* Effect.orDie(session.logout)
    return Option.none()
  }
  return Option.some<Authenticated>({ consumer: consumer.value, credential: { id: credential }, groups })
})

const identifyOrNone = (session: Handle, consumers: Consumers["Service"]) =>
  Effect.catch(
    identify(session, consumers),
    (error) => Effect.as(Effect.logError("The consumer of a session could not be loaded", error), Option.none())
  )

type Provides = AuthenticatedSession | Authentication

type Request = HttpServerRequest.HttpServerRequest

type Handler<E, R> = Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

const loggedOut = HttpServerResponse.empty({ status: 200 })

const rulesOf = (settings: Settings): logoutRequest.Rules => ({
  methods: settings.logout_methods,
  queryArg: settings.logout_query_arg,
  bodyArg: settings.read_body_for_logout ? settings.logout_post_arg : undefined,
  // As much as Kong keeps in memory.
  bodyLimit: 8192
})

/** The request as upstream is to see it. Properties of a session that nobody vouches for are not passed on. */
const tell = (settings: Settings, request: Request, found: Option.Option<Authenticated>): Request =>
  Option.match(found, {
    onNone: () =>
      withClaims(
        request.modify({ headers: Headers.removeMany(request.headers, settings.request_headers.map(nameOf)) }),
        {}
      ),
    onSome: (authenticated) => withClaims(request, authenticated)
  })

const access = (
  settings: Settings,
  consumers: Consumers["Service"]
) => {
  const rules = rulesOf(settings)
  return Effect.fnUntraced(function*<E, R>(handler: Handler<E, R>) {
    const session = yield* AuthenticatedSession
    const { logout, request } = yield* logoutRequest.ask(
      rules,
      session.exists,
      yield* HttpServerRequest.HttpServerRequest
    )
    if (logout) return yield* Effect.as(Effect.orDie(session.logout), loggedOut)
    const found = yield* identifyOrNone(session, consumers)
    return yield* handler.pipe(
      Effect.provideService(Authentication, makeAuthentication(session, found)),
      Effect.provideService(HttpServerRequest.HttpServerRequest, tell(settings, request, found))
    )
  })
}

/**
 * The plugin as a function of handlers, for servers that find their routes
 * themselves.
 *
 * **Details**
 *
 * What `SessionHttp.layer` is to its routes, it is to each handler: run within
 * `SessionHttp.layer` of the same configuration, both have one exchange.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (settings: Settings): Effect.Effect<
  <E, R>(handler: Handler<E, R>) => Handler<
    E,
    Exclude<R, Provides> | HttpServerRequest.HttpServerRequest | Scope.Scope
  >,
  never,
  SessionHttp.Services | Consumers
> =>
  Effect.zipWith(SessionHttp.engine, Consumers, (engine, consumers) => {
    const enter = access(settings, consumers)
    // The session is provided by `run`, under a key that it only has as text.
    return (handler) => SessionHttp.run(engine, [AuthenticatedSession], enter(handler)) as never
  })

/**
 * The plugin as router middleware, to be combined with authentication that needs
 * it.
 *
 * **Example** (Authentication inside of the session)
 *
 * ```ts
 * import { Effect, Option } from "effect"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 * import * as KongSession from "effect-session/KongSession"
 *
 * const onlyKnown = HttpRouter.middleware((handler) =>
 *   KongSession.Authentication.use(({ current }) => Effect.flatMap(current, Option.match({
 *     onNone: () => Effect.succeed(HttpServerResponse.empty({ status: 403 })),
 *     onSome: () => handler
 *   })))
 * )
 *
 * export const guard = (settings: KongSession.Settings) =>
 *   onlyKnown.combine(KongSession.middleware(settings)).layer
 * ```
 *
 * @category middleware
 * @since 0.1.0
 */
export const middleware = (settings: Settings) =>
  HttpRouter.middleware<{ provides: Provides }>()(
    Effect.map(
      Effect.provide(make(settings), SessionHttp.layerServices),
      (around) => (handler: Handler<Types.unhandled, Provides>) => around(handler)
    )
  )

/**
 * Gives the plugin to the routes that it is provided to.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  settings: Settings
): Layer.Layer<
  HttpRouter.Request.From<"Requires", Provides>,
  never,
  SessionConfig.SessionConfig | SessionStore | Consumers
> => middleware(settings).layer
