/**
 * Sessions on an Effect HTTP server: the request phase as router middleware, the
 * response phase as a hook that runs after the handler and before the headers.
 *
 * **Example** (A session on a route)
 *
 * ```ts
 * import { Effect, Layer, Redacted, Schema } from "effect"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 * import * as assert from "node:assert/strict"
 * import * as Session from "effect-session/Session"
 * import * as SessionConfig from "effect-session/SessionConfig"
 * import * as SessionHttp from "effect-session/SessionHttp"
 * import * as SessionStore from "effect-session/SessionStore"
 *
 * class Visits extends Session.Service<Visits>()("Visits", { data: Schema.Number, initial: 0 }) {}
 *
 * const Count = HttpRouter.add("GET", "/", Effect.gen(function*() {
 *   const visits = yield* Visits
 *   yield* visits.update((n) => n + 1)
 *   return HttpServerResponse.text(`visit ${yield* visits.get}`)
 * }))
 *
 * const App = Count.pipe(
 *   Layer.provide(SessionHttp.layer(Visits)),
 *   Layer.provide(SessionStore.layerCookie),
 *   Layer.provide(SessionConfig.layer({ secret: Redacted.make("at least 32 bytes that nobody can guess") }))
 * )
 *
 * const { dispose, handler } = HttpRouter.toWebHandler(App, { disableLogger: true })
 * const first = await handler(new Request("https://example.com/"))
 * const cookie = first.headers.getSetCookie()[0]!.split(";")[0]!
 * const second = await handler(new Request("https://example.com/", { headers: { cookie } }))
 * assert.equal(await second.text(), "visit 2")
 * await dispose()
 * ```
 *
 * @since 0.1.0
 */
import { Cause, Context, Effect, ErrorReporter, Layer, Option, Redacted } from "effect"
import type { Types } from "effect"
import { Cookies, Headers, HttpEffect, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as CookieCodec from "./CookieCodec.ts"
import * as Crypto from "./Crypto.ts"
import { seconds } from "./internal/clock.ts"
import { valueOf } from "./internal/codec.ts"
import { close, commit, idle } from "./internal/commit.ts"
import * as Exchange from "./internal/exchange.ts"
import { noStore } from "./internal/noStore.ts"
import { authenticate } from "./internal/opening.ts"
import * as Properties from "./internal/properties.ts"
import { drop } from "./internal/recording.ts"
import { subjectHashes } from "./internal/subject.ts"
import * as Verified from "./internal/verified.ts"
import * as Session from "./Session.ts"
import { SessionConfig } from "./SessionConfig.ts"
import { InvalidConfig, SessionError } from "./SessionError.ts"
import type { SessionRequired } from "./SessionError.ts"
import { SessionStore } from "./SessionStore.ts"

/**
 * The services behind a session, in full. `layer` provides the last two.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = SessionConfig | SessionStore | CookieCodec.CookieCodec | Crypto.Crypto

type Sessions = readonly [Session.Any, ...Array<Session.Any>]

type Handler<E, R> = Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

/**
 * The engine of this configuration. What runs on it is the same for every kind of
 * middleware.
 *
 * @internal
 */
export const engine: Effect.Effect<Exchange.Engine, never, Services> = Effect.gen(function*() {
  const settings = yield* SessionConfig
  const crypto = yield* Crypto.Crypto
  const codec = yield* CookieCodec.CookieCodec
  const placement = yield* SessionStore
  const { compatibility, remember, rememberSafety } = settings
  if (placement._tag === "Cookie" && remember && rememberSafety === "None" && compatibility === undefined) {
    // Under one key, a session cookie renamed is a remember cookie, and outlives its timeouts.
    return yield* Effect.die(new SessionError({ reason: exchangeable }))
  }
  const ofReference = placement._tag === "Server" && placement.layout === "Reference"
  const hashes = yield* subjectHashes(settings, crypto)
  return {
    settings,
    crypto,
    codec,
    placement,
    verified: settings.cookieCacheSize === 0 ? undefined : Verified.make(settings.cookieCacheSize),
    storageKey: ofReference && !settings.hashStorageKey
      ? (presented) => Effect.sync(() => Redacted.value(codec.sid(presented)))
      : codec.storageKey,
    indexSubject: ofReference
      ? Effect.succeed
      // The primary key's spelling stands first.
      : (subject) => Effect.map(hashes(subject), (spellings) => spellings[0] ?? subject)
  }
})

const exchangeable = new InvalidConfig({
  setting: "rememberSafety",
  problem: "is \"None\" with cookie placement, and a session cookie under the other name would be a remember cookie",
  fix: "Leave it out, or set it to \"Low\""
})

/**
 * The exchange of the current request, and those of middleware further out that
 * has another configuration.
 */
interface Scope {
  readonly exchange: Exchange.Exchange
  readonly outer: Scope | undefined
}

const Current = Context.Service<Scope>("effect-session/SessionHttp/Current")

const find = (current: Scope | undefined, engine: Exchange.Engine): Exchange.Exchange | undefined => {
  if (current === undefined) return undefined
  const { engine: { placement, settings } } = current.exchange
  return settings === engine.settings && placement === engine.placement
    ? current.exchange
    : find(current.outer, engine)
}

const clashes = (current: Scope | undefined, engine: Exchange.Engine): boolean =>
  current !== undefined &&
  (current.exchange.engine.settings.cookieName === engine.settings.cookieName || clashes(current.outer, engine))

// Each would write the whole cookie, and undo what the other one wrote. No layer sees both before a request does.
const clash = Effect.die(
  new SessionError({
    reason: new InvalidConfig({
      setting: "cookieName",
      problem: "two configurations on one route have the same cookie",
      fix: "Provide one SessionConfig and one SessionStore to all layers of SessionHttp, or give the cookies two names"
    })
  })
)

/**
 * Runs a handler with its sessions: both phases around it.
 *
 * **Details**
 *
 * Where the same configuration already serves the request, because it was
 * registered globally and on a route, the sessions join its exchange, and it
 * commits once.
 *
 * @internal
 */
export const run = <E, R>(
  engine: Exchange.Engine,
  sessions: Sessions,
  handler: Handler<E, R>
): Handler<E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.withFiber((fiber) => {
    // A fiber's type does not tell that its context has what the handler requires.
    const context = fiber.context as Context.Context<R | HttpServerRequest.HttpServerRequest>
    const outer = Context.getOrUndefined(context, Current)
    const joined = find(outer, engine)
    if (joined === undefined && clashes(outer, engine)) return clash
    // The router and the API builder provide the request to every middleware.
    const request = Context.getUnsafe(context, HttpServerRequest.HttpServerRequest)
    const exchange = joined ?? Exchange.make(engine, new RequestView(request))
    let services = context
    for (const session of sessions) {
      services = Context.addUnsafe(services, session.key, Session.makeHandle(exchange, session))
    }
    // The whole context, and not what is new: to merge them would copy every service for each request.
    if (joined !== undefined) return watch(joined, Effect.setContext(handler, services))
    services = Context.add(services, Current, { exchange, outer })
    HttpEffect.appendPreResponseHandlerUnsafe(context, respond(exchange, audienceOf(exchange, sessions)))
    return Effect.andThen(
      authenticate(exchange),
      engine.settings.requestHeaders.length === 0
        ? watch(exchange, Effect.setContext(handler, services))
        : Effect.flatMap(
          forward(exchange, audienceOf(exchange, sessions), request),
          (request) =>
            watch(
              exchange,
              Effect.setContext(handler, Context.add(services, HttpServerRequest.HttpServerRequest, request))
            )
        )
    )
  })

const audienceOf = (exchange: Exchange.Exchange, [session]: Sessions): string =>
  session.definition.audience ?? exchange.engine.settings.audience

// The hook sees a response and not what became of the handler. Of an interruption, only what runs on exit is told.
const watch = <E, R>(exchange: Exchange.Exchange, handler: Handler<E, R>): Handler<E, R> =>
  Effect.onExitPrimitive(handler, (exit) => {
    if (exit._tag === "Failure" && exit.cause.reasons.some(isFatal)) drop(exchange)
    return undefined
  })

// A response may be thrown as a defect on purpose: Effect's servers send it.
const isFatal = (reason: Cause.Reason<unknown>): boolean =>
  Cause.isInterruptReason(reason) ||
  (Cause.isDieReason(reason) && !HttpServerResponse.isHttpServerResponse(reason.defect))

// What a client sends under these names is not the session's, and must not look like it.
const forward = (
  exchange: Exchange.Exchange,
  audience: string,
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<HttpServerRequest.HttpServerRequest> => {
  const names = exchange.engine.settings.requestHeaders
  // As with a handler's reads: without the store there is nothing to go on with.
  return Effect.map(Effect.orDie(Properties.headers(exchange, audience, names)), (headers) =>
    request.modify({
      headers: Headers.setAll(Headers.removeMany(request.headers, names.map(Properties.nameOf)), headers)
    }))
}

class RequestView implements Exchange.Request {
  readonly #request: HttpServerRequest.HttpServerRequest

  constructor(request: HttpServerRequest.HttpServerRequest) {
    this.#request = request
  }

  get cookies(): string | undefined {
    return this.#request.headers["cookie"]
  }

  get host(): string | undefined {
    return this.#request.headers["host"]
  }

  get upgrade(): boolean {
    const protocol = this.#request.headers["upgrade"]
    // Some clients offer HTTP/2 with every request; the answer is an ordinary response.
    return protocol !== undefined && protocol.toLowerCase() !== "h2c"
  }

  get sender(): CookieCodec.Sender {
    const request = this.#request
    const ip = Option.getOrUndefined(request.remoteAddress)
    return {
      // A dual-stack socket shows IPv4 clients in IPv6 notation; the reference, as any nginx, does not.
      ip: ip?.startsWith("::ffff:") === true && ip.includes(".") ? ip.slice(7) : ip,
      scheme: request.protocol ?? (isEncrypted(request) ? "https" : "http"),
      userAgent: request.headers["user-agent"]
    }
  }
}

const isEncrypted = (request: HttpServerRequest.HttpServerRequest): boolean => {
  if (/^https:/i.test(request.originalUrl)) return true
  // Node's requests know their socket; Effect's interface does not tell.
  const { socket } = request.source as { readonly socket?: { readonly encrypted?: boolean } }
  return socket?.encrypted === true
}

/**
 * The request without the cookies of its sessions, for proxies: a server behind one
 * has no use for a secret (lua-resty-session's `clear_request_cookie`). Within the routes that
 * have sessions; anywhere else the request stays as it is.
 *
 * **Example** (A proxy's request)
 *
 * ```ts
 * import { Effect } from "effect"
 * import { HttpServerRequest } from "effect/http"
 * import * as SessionHttp from "effect-session/SessionHttp"
 *
 * export const upstreamCookies = Effect.map(
 *   Effect.flatMap(HttpServerRequest.HttpServerRequest, SessionHttp.clearRequestCookie),
 *   ({ headers }) => headers["cookie"]
 * )
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const clearRequestCookie = (
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<HttpServerRequest.HttpServerRequest> =>
  Effect.contextWith((context: Context.Context<never>) => {
    const cookies = request.headers["cookie"]
    const current = Context.getOrUndefined(context, Current)
    if (cookies === undefined || current === undefined) return Effect.succeed(request)
    const left = strip(cookies, current)
    const headers = left === undefined
      ? Headers.remove(request.headers, "cookie")
      : Headers.set(request.headers, "cookie", left)
    return Effect.succeed(request.modify({ headers }))
  })

const strip = (cookies: string | undefined, scope: Scope | undefined): string | undefined =>
  cookies === undefined || scope === undefined
    ? cookies
    : strip(scope.exchange.engine.codec.strip(cookies), scope.outer)

// -----------------------------------------------------------------------------
// the response phase
// -----------------------------------------------------------------------------

/**
 * The hook. It must not fail: where no server middleware is present, a failing
 * hook leaves the client without any answer.
 */
const respond =
  (exchange: Exchange.Exchange, audience: string): HttpEffect.PreResponseHandler => (_request, response) =>
    Effect.catchCause(
      Effect.flatMap(
        seconds,
        (now) =>
          idle(exchange, now) && exchange.engine.settings.responseHeaders.length === 0
            ? unchanged(exchange, response)
            : answer(exchange, audience, response)
      ),
      (cause) => Effect.as(Effect.ignoreCause(tell(cause)), failed(cause))
    )

const unchanged = (
  exchange: Exchange.Exchange,
  response: HttpServerResponse.HttpServerResponse
): Effect.Effect<HttpServerResponse.HttpServerResponse> =>
  Effect.mapEager(close(exchange), () => exchange.accessed ? varyOnCookie(response) : response)

// Users cause conflicts, and nobody has to be woken for them.
const tell = (cause: Cause.Cause<SessionError>): Effect.Effect<void> =>
  Effect.andThen(
    (statusOf(cause) === 409 ? Effect.logDebug : Effect.logError)("The session could not be committed", cause),
    ErrorReporter.report(cause)
  )

const statusOf = (cause: Cause.Cause<SessionError>): number =>
  Option.match(Cause.findErrorOption(cause), { onNone: () => 503, onSome: ({ status }) => status })

// Made anew, not out of the handler's response: a cookie that was set so far must not leave.
const failed = (cause: Cause.Cause<SessionError>): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.empty({ status: statusOf(cause), headers: noStore })

const conflict = HttpServerResponse.empty({ status: 409, headers: noStore })

const answer = Effect.fnUntraced(function*(
  exchange: Exchange.Exchange,
  audience: string,
  response: HttpServerResponse.HttpServerResponse
) {
  const { onGone, responseHeaders } = exchange.engine.settings
  const outcome = yield* commit(exchange)
  if (outcome.gone && onGone === "fail") return conflict
  // After a failure that the handler saw and answered, the store is not asked again.
  const headers = exchange.broken ? {} : yield* Properties.headers(exchange, audience, responseHeaders)
  return decorate(exchange, response, outcome, headers)
})

const decorate = (
  exchange: Exchange.Exchange,
  response: HttpServerResponse.HttpServerResponse,
  outcome: Exchange.Outcome,
  headers: Record<string, string>
): HttpServerResponse.HttpServerResponse => {
  const varied = exchange.accessed || outcome.cookies.length > 0 ? varyOnCookie(response) : response
  if (outcome.cookies.length === 0) return HttpServerResponse.setHeaders(varied, headers)
  return HttpServerResponse.updateCookies(
    // A shared cache that stored this response would hand one user's session to others.
    HttpServerResponse.setHeaders(varied, { ...headers, ...noStore }),
    // By key: a proxy may have several cookies of one name, each under a key of its own.
    ({ cookies }) =>
      Cookies.fromReadonlyRecord({
        ...cookies,
        ...Object.fromEntries(outcome.cookies.map((cookie) => [cookie.name, toCookie(cookie)]))
      })
  )
}

const template = Cookies.makeCookieUnsafe("session", "")

/**
 * The codec writes values and attributes as they go over the wire, in the
 * reference's order and with attributes that `Cookies` does not know. They ride
 * as the encoded value, which is base64url and needs no encoding.
 */
const toCookie = (cookie: CookieCodec.SetCookie): Cookies.Cookie =>
  Object.assign(Object.create(Object.getPrototypeOf(template)), {
    name: cookie.name,
    value: valueOf(cookie),
    valueEncoded: cookie.rest
  })

const varyOnCookie = (response: HttpServerResponse.HttpServerResponse): HttpServerResponse.HttpServerResponse => {
  const vary = response.headers["vary"]
  if (vary === undefined) return HttpServerResponse.setHeader(response, "vary", "Cookie")
  const names = vary.split(",").map((name) => name.trim().toLowerCase())
  return names.includes("cookie") || names.includes("*")
    ? response
    : HttpServerResponse.setHeader(response, "vary", `${vary}, Cookie`)
}

// -----------------------------------------------------------------------------
// layers
// -----------------------------------------------------------------------------

/**
 * The codec and the crypto of the runtime, as `layer` provides them.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerServices: Layer.Layer<CookieCodec.CookieCodec | Crypto.Crypto, never, SessionConfig> = Layer.fresh(
  // An application may have two configurations, and a layer that is shared is built once.
  Layer.provideMerge(CookieCodec.layer, Crypto.layer)
)

type Provided<S extends Sessions> = HttpRouter.Request.From<"Requires", Session.Provides<S[number]>>

/**
 * Gives sessions to the routes that it is provided to.
 *
 * **Details**
 *
 * The classes share one cookie, each with its audience. They may be given together
 * or by several layers: a request has one exchange for each configuration, and
 * commits once.
 *
 * **Gotchas**
 *
 * `HttpRouter.toWebHandler` starts to build its layers, and answers every request with
 * an error if one fails. To learn of wrong settings at the start, build
 * `SessionConfig` first and provide its context.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const S extends Sessions>(
  ...sessions: S
): Layer.Layer<Provided<S>, never, SessionConfig | SessionStore> =>
  layerWith(...sessions).pipe(Layer.provide(layerServices))

/**
 * As `layer`, with the codec and the crypto from the context.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = <const S extends Sessions>(...sessions: S): Layer.Layer<Provided<S>, never, Services> =>
  middleware<S>((engine, handler) => run(engine, sessions, handler))

/**
 * Gives sessions to every route, and runs for requests that match none: where a
 * 404 should refresh a session too.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerGlobal = <const S extends Sessions>(
  ...sessions: S
): Layer.Layer<
  Provided<S> | HttpRouter.Request.From<"GlobalRequires", Session.Provides<S[number]>>,
  never,
  SessionConfig | SessionStore | HttpRouter.HttpRouter
> =>
  // As in `middleware`.
  HttpRouter.middleware(
    Effect.map(engine, (engine) => (handler) => run(engine, sessions, handler)),
    { global: true }
  ).pipe(Layer.provide(layerServices)) as never

/**
 * As `layer` for one class, for routes that need a session of it: without one they
 * fail with `SessionRequired`, a 401, and their handlers do not run.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerRequired = <Self, Id extends string, Data, Stored, Mismatch, Values>(
  session: Session.Class<Self, Id, Data, Stored, Mismatch, Values>
): Layer.Layer<
  HttpRouter.Request.From<"Requires", Self>,
  never,
  SessionConfig | SessionStore | HttpRouter.Request.From<"Error", SessionRequired>
> =>
  middleware<readonly [typeof session], SessionRequired>((engine, handler) =>
    run(engine, [session], Effect.andThen(Session.requiredAny(session), handler))
  ).pipe(Layer.provide(layerServices))

/**
 * Middleware that gives sessions to routes.
 *
 * @internal
 */
// A class is only known to be some class here, and TypeScript cannot see what the router computes from it.
export const middleware = <S extends Sessions, E = never>(
  run: (
    engine: Exchange.Engine,
    handler: Handler<Types.unhandled, never>
  ) => Handler<Types.unhandled | E, unknown>
): Layer.Layer<Provided<S>, never, Services | HttpRouter.Request.From<"Error", E>> =>
  HttpRouter.middleware(Effect.map(engine, (engine) => (handler) => run(engine, handler))).layer as never
