/**
 * Sessions in an `HttpApi`: middleware that provides a session class to handlers,
 * with a cookie security scheme that OpenAPI shows.
 *
 * **Example** (An endpoint with a session)
 *
 * ```ts
 * import { Effect, Layer, Schema } from "effect"
 * import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
 * import * as Session from "effect-session/Session"
 * import * as SessionHttpApi from "effect-session/SessionHttpApi"
 *
 * class Cart extends Session.Service<Cart>()("shop/Cart", {
 *   data: Schema.Struct({ items: Schema.Array(Schema.String) }),
 *   initial: { items: [] }
 * }) {}
 *
 * class CartSession extends SessionHttpApi.Service<CartSession>()("shop/CartSession", { session: Cart }) {}
 *
 * const Shop = HttpApi.make("shop").add(
 *   HttpApiGroup.make("cart").add(
 *     HttpApiEndpoint.get("items", "/items", { success: Schema.Array(Schema.String) }).middleware(CartSession)
 *   )
 * )
 *
 * export const Live = HttpApiBuilder.group(Shop, "cart", (handlers) =>
 *   handlers.handle("items", () => Effect.flatMap(Cart, (cart) => Effect.map(cart.get, ({ items }) => items)))
 * ).pipe(Layer.provide(SessionHttpApi.layer(CartSession)))
 * ```
 *
 * @since 0.1.0
 */
import { Effect, Layer } from "effect"
import type { HttpServerResponse } from "effect/http"
import { HttpApiError, HttpApiMiddleware, HttpApiSecurity } from "effect/http-api"
import * as Session from "./Session.ts"
import type { SessionConfig } from "./SessionConfig.ts"
import { InvalidConfig, SessionError } from "./SessionError.ts"
import * as SessionHttp from "./SessionHttp.ts"
import type { SessionStore } from "./SessionStore.ts"

/**
 * The security scheme of a session class: an API key in its cookie.
 *
 * @category models
 * @since 0.1.0
 */
export type Security = { readonly session: HttpApiSecurity.ApiKey }

/**
 * The type of a middleware class.
 *
 * @category models
 * @since 0.1.0
 */
export type Class<Self, Id extends string, S extends Session.Any, Required extends boolean> =
  & HttpApiMiddleware.ServiceClass<Self, Id, {
    requires: never
    provides: Session.Provides<S>
    error: Required extends true ? typeof HttpApiError.Unauthorized : never
    clientError: never
    requiredForClient: false
    security: Security
  }>
  & { readonly session: S; readonly required: Required }

/**
 * Defines middleware that provides a session class to the handlers of an API.
 *
 * **Details**
 *
 * With `required: true`, endpoints answer a typed `Unauthorized`, status 401, where
 * the client has no session of the class, and their handlers do not run.
 *
 * **Gotchas**
 *
 * What a handler's `SessionError` becomes is known without being declared (503, 409,
 * 500; see `SessionError`), and no endpoint lists it: end such effects with
 * `Effect.orDie`, which keeps the status.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service =
  <Self>() =>
  <const Id extends string, S extends Session.Any, const Required extends boolean = false>(
    id: Id,
    options: { readonly session: S; readonly required?: Required | undefined }
  ): Class<Self, Id, S, Required> => {
    const middleware = HttpApiMiddleware.Service<Self, { provides: Session.Provides<S> }>()(id, {
      error: options.required === true ? HttpApiError.Unauthorized : [],
      security: { session: HttpApiSecurity.apiKey({ in: "cookie", key: options.session.definition.cookieName }) }
    })
    // The error depends on `required`, which TypeScript does not follow through the condition.
    return Object.assign(middleware, { session: options.session, required: options.required ?? false }) as never
  }

/**
 * Runs the middleware of an API, with the two phases of `SessionHttp`.
 *
 * **Gotchas**
 *
 * The cookie that the class names has to be the one that the configuration names;
 * otherwise the API's description would be wrong, and the layer fails.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, Id extends string, S extends Session.Any, Required extends boolean>(
  middleware: Class<Self, Id, S, Required>
): Layer.Layer<Self, SessionError, SessionConfig | SessionStore> =>
  layerWith(middleware).pipe(Layer.provide(SessionHttp.layerServices))

/**
 * As `layer`, with the codec and the crypto from the context.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = <Self, Id extends string, S extends Session.Any, Required extends boolean>(
  middleware: Class<Self, Id, S, Required>
): Layer.Layer<Self, SessionError, SessionHttp.Services> => {
  const { required, session } = middleware
  const exists = Effect.mapError(Session.requiredAny(session), () => new HttpApiError.Unauthorized())
  const build = Effect.flatMap(
    SessionHttp.engine,
    (engine) =>
      engine.settings.cookieName === session.definition.cookieName
        ? Effect.succeed({
          session: (handler: Effect.Effect<HttpServerResponse.HttpServerResponse>) =>
            SessionHttp.run(engine, [session], required ? Effect.andThen(exists, handler) : handler)
        })
        : Effect.fail(new SessionError({ reason: misnamed(session, engine.settings.cookieName) }))
  )
  // The middleware's shape is computed from its class, which is only known to be some class here.
  return Layer.effect(middleware, build as never)
}

const misnamed = (session: Session.Any, cookieName: string): InvalidConfig =>
  new InvalidConfig({
    setting: "cookieName",
    problem: `session ${session.key} says that its cookie is ${session.definition.cookieName}, ` +
      `and the configuration calls it ${cookieName}`,
    fix: `Give the session class cookieName: "${cookieName}", for the API's description`
  })
