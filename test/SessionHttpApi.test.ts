import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Option, Schema } from "effect"
import type { Scope } from "effect"
import { FetchHttpClient } from "effect/http"
import type { HttpRouter } from "effect/http"
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiClient,
  HttpApiEndpoint,
  HttpApiError,
  HttpApiGroup,
  OpenApi
} from "effect/http-api"
import * as Session from "../src/Session.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import type { SessionError } from "../src/SessionError.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import * as SessionHttpApi from "../src/SessionHttpApi.ts"
import * as SessionStore from "../src/SessionStore.ts"
import * as Http from "./utils/http.ts"
import { Account, add, Cart, cookie, items, secret } from "./utils/shop.ts"

class CartSession extends SessionHttpApi.Service<CartSession>()("CartSession", { session: Cart }) {}

class AccountSession extends SessionHttpApi.Service<AccountSession>()("AccountSession", {
  session: Account,
  required: true
}) {}

/** As `AccountSession`, for the endpoint that makes the session. */
class Named extends SessionHttpApi.Service<Named>()("Named", { session: Account }) {}

// oxlint-disable-next-line unicorn/throw-new-error -- a class is made, nothing is thrown
class SoldOut extends Schema.TaggedError<SoldOut>()("SoldOut", { item: Schema.String }, { httpApiStatus: 409 }) {}

const Items = Schema.Array(Schema.String)

const Api = HttpApi.make("shop").add(
  HttpApiGroup.make("shop")
    .add(HttpApiEndpoint.get("open", "/open", { success: Schema.String }))
    .add(HttpApiEndpoint.get("items", "/items", { success: Items }).middleware(CartSession))
    .add(
      HttpApiEndpoint.post("add", "/items/:item", {
        params: { item: Schema.NonEmptyString },
        success: Items,
        error: SoldOut
      }).middleware(CartSession)
    )
    .add(
      HttpApiEndpoint.post("login", "/login/:name", { params: { name: Schema.String }, success: Items })
        .middleware(CartSession)
        .middleware(Named)
    )
    .add(HttpApiEndpoint.get("name", "/name", { success: Schema.String }).middleware(AccountSession))
)

let named = 0

const Handlers = HttpApiBuilder.group(Api, "shop", (handlers) =>
  handlers
    .handle("open", () => Effect.succeed("to everybody"))
    .handle("items", () => items)
    .handle("add", ({ params: { item } }) =>
      add(item).pipe(
        Effect.orDie,
        Effect.andThen(item === "rare" ? Effect.fail(new SoldOut({ item })) : items)
      ))
    .handle("login", ({ params: { name } }) =>
      Effect.orDie(Effect.gen(function*() {
        const account = yield* Account
        yield* account.set({ name })
        yield* account.login(name)
        yield* add("welcome gift")
        return yield* items
      })))
    .handle("name", () =>
      Effect.gen(function*() {
        named++
        const account = yield* Account
        return Option.getOrThrow(yield* account.get).name
      })))

const layerMiddleware = Layer.mergeAll(
  SessionHttpApi.layer(CartSession),
  SessionHttpApi.layer(AccountSession),
  SessionHttpApi.layer(Named)
)

/** The API, with a typed client that keeps cookies. */
const serve = Effect.fnUntraced(function*(
  around: Layer.Layer<
    never,
    never,
    HttpRouter.HttpRouter | SessionStore.SessionStore | SessionConfig.SessionConfig
  > = Layer.empty
) {
  const probe = Http.makeProbe()
  const surroundings = Http.makeSurroundings()
  const handler = yield* Http.makeWebHandler(
    HttpApiBuilder.layer(Api).pipe(
      Layer.provide(Handlers),
      Layer.provide(layerMiddleware),
      Layer.merge(around),
      Layer.provide(probe.layer),
      Layer.provide(SessionConfig.layer({ secret }))
    ),
    surroundings
  )
  const jar = new Http.Jar()
  const replies: Array<Http.Reply> = []
  const fetch: typeof globalThis.fetch = async (input, init) => {
    const request = new Request(input, init)
    if (jar.header !== undefined) request.headers.set("cookie", jar.header)
    const response = await handler(request)
    const reply: Http.Reply = {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      setCookies: response.headers.getSetCookie(),
      body: ""
    }
    jar.keep(reply)
    replies.push(reply)
    return response
  }
  const client = yield* HttpApiClient.make(Api, { baseUrl: "https://shop.example" }).pipe(
    Effect.provide(FetchHttpClient.layer.pipe(Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch))))
  )
  return { ...surroundings, client: client.shop, jar, probe, replies }
})

describe("SessionHttpApi", () => {
  it.live("handlers have the session, and what they change is committed", () =>
    Effect.gen(function*() {
      const { client, jar, probe, replies } = yield* serve()
      assert.deepStrictEqual(yield* client.items(), [])
      assert.deepStrictEqual([replies[0]?.setCookies, replies[0]?.headers["vary"]], [[], "Cookie"])
      assert.deepStrictEqual(yield* client.add({ params: { item: "tea" } }), ["tea"])
      assert.deepStrictEqual(yield* client.items(), ["tea"])
      assert.isDefined(jar.get(cookie))
      assert.deepStrictEqual(Http.writes(probe), ["create"])
    }))

  it.live("a typed error reaches the client, and what its handler changed is committed", () =>
    Effect.gen(function*() {
      const { client, replies } = yield* serve()
      const error = yield* Effect.flip(client.add({ params: { item: "rare" } }))
      assert.deepStrictEqual(error, new SoldOut({ item: "rare" }))
      assert.deepStrictEqual([replies[0]?.status, replies[0]?.setCookies.length], [409, 1])
      assert.deepStrictEqual(yield* client.items(), ["rare"])
    }))

  it.live("required answers a typed Unauthorized, and the handler does not run", () =>
    Effect.gen(function*() {
      const { client, replies } = yield* serve()
      const before = named
      assert.deepStrictEqual(yield* Effect.flip(client.name()), new HttpApiError.Unauthorized())
      // A session that has no part of the class is none.
      yield* client.add({ params: { item: "tea" } })
      assert.deepStrictEqual(yield* Effect.flip(client.name()), new HttpApiError.Unauthorized())
      assert.deepStrictEqual(replies.map(({ status }) => status), [401, 200, 401])
      assert.strictEqual(named, before)
      yield* client.login({ params: { name: "Alice" } })
      assert.strictEqual(yield* client.name(), "Alice")
      assert.strictEqual(named, before + 1)
    }))

  it.live("a session that has timed out is none", () =>
    Effect.gen(function*() {
      const { client, events, time } = yield* serve()
      yield* client.login({ params: { name: "Alice" } })
      time.advance(901)
      assert.deepStrictEqual(yield* Effect.flip(client.name()), new HttpApiError.Unauthorized())
      assert.deepStrictEqual(events.at(-1), { _tag: "SessionRefused", reason: "IdlingTimeout" })
    }))

  it.live("two sessions on one endpoint share an exchange", () =>
    Effect.gen(function*() {
      const { client, probe, replies } = yield* serve()
      yield* client.add({ params: { item: "tea" } })
      assert.deepStrictEqual(yield* client.login({ params: { name: "Alice" } }), ["tea", "welcome gift"])
      assert.deepStrictEqual(Http.writes(probe), ["create", "supersede"])
      assert.deepStrictEqual(replies.map((reply) => Http.names(reply)), [[cookie], [cookie]])
    }))

  it.live("joins the exchange of global middleware", () =>
    Effect.gen(function*() {
      const { client, probe, replies } = yield* serve(SessionHttp.layerGlobal(Cart, Account))
      yield* client.add({ params: { item: "tea" } })
      yield* client.add({ params: { item: "milk" } })
      assert.deepStrictEqual(Http.writes(probe), ["create", "supersede"])
      assert.deepStrictEqual(replies.map((reply) => Http.names(reply)), [[cookie], [cookie]])
      assert.deepStrictEqual(yield* client.items(), ["tea", "milk"])
    }))

  describe("the API's description", () => {
    const { components, paths } = OpenApi.fromApi(Api)

    it("shows the cookie as the security scheme of endpoints with a session, and of no other", () => {
      assert.deepStrictEqual(components.securitySchemes, {
        session: { type: "apiKey", in: "cookie", name: cookie }
      })
      assert.deepStrictEqual(paths["/items"]?.get?.security, [{ session: [] }])
      assert.deepStrictEqual(paths["/name"]?.get?.security, [{ session: [] }])
      assert.deepStrictEqual(paths["/open"]?.get?.security, [])
    })

    it("shows the 401 of endpoints that need a session, and of no other", () => {
      assert.property(paths["/name"]?.get?.responses, "401")
      assert.notProperty(paths["/items"]?.get?.responses, "401")
    })
  })

  describe("a class that misnames its cookie", () => {
    const build = (settings: SessionConfig.Options): Effect.Effect<unknown, SessionError, Scope.Scope> =>
      Layer.build(SessionHttpApi.layer(CartSession)).pipe(
        Effect.provide(SessionStore.layerCookie),
        Effect.provide(SessionConfig.layer({ secret, ...settings }))
      )

    it.effect("fails the layer, which says what to write instead", () =>
      Effect.gen(function*() {
        const { reason } = yield* Effect.flip(build({ cookieName: "cart" }))
        assert.strictEqual(reason._tag === "InvalidConfig" ? reason.setting : reason._tag, "cookieName")
        assert.include(reason.message, "Cart")
        assert.include(reason.message, cookie)
        assert.include(reason.message, "Give the session class cookieName: \"__Host-cart\"")
      }))

    it.effect("works when it is given that name", () =>
      Effect.gen(function*() {
        class Renamed extends Session.Service<Renamed>()("Renamed", {
          data: Schema.String,
          cookieName: "__Host-cart"
        }) {}
        class RenamedSession extends SessionHttpApi.Service<RenamedSession>()("RenamedSession", { session: Renamed }) {}
        const exit = yield* Layer.build(SessionHttpApi.layer(RenamedSession)).pipe(
          Effect.provide(SessionStore.layerCookie),
          Effect.provide(SessionConfig.layer({ secret, cookieName: "cart" })),
          Effect.exit
        )
        assert.isTrue(Exit.isSuccess(exit), Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "")
      }))
  })
})
