/**
 * What has to compile, and what must not. `tsc` checks this file; the test at its end sees to it that every refusal
 * names the culprit.
 */
import { assert, assertType, describe, expectTypeOf, it } from "@effect/vitest"
import { Effect, Layer, Redacted, Schema } from "effect"
import type { Option } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import type { HttpServer } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import type { HttpApiClient, HttpApiError } from "effect/http-api"
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import * as Session from "../src/Session.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import type { SessionDataError, SessionError, SessionRequired } from "../src/SessionError.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import * as SessionHttpApi from "../src/SessionHttpApi.ts"
import * as Sessions from "../src/Sessions.ts"
import * as SessionStore from "../src/SessionStore.ts"

const data = Schema.Struct({ items: Schema.Array(Schema.String) })

interface Items {
  readonly items: ReadonlyArray<string>
}

class Cart extends Session.Service<Cart>()("Cart", { data, initial: { items: [] } }) {}

class Wishes extends Session.Service<Wishes>()("Wishes", { data, audience: "wishes" }) {}

class Strict extends Session.Service<Strict>()("Strict", { data, onMismatch: "fail" }) {}

class Migrating extends Session.Service<Migrating>()("Migrating", {
  data,
  onMismatch: (stored) => Schema.decodeUnknownOption(data)(stored)
}) {}

const config = SessionConfig.layer({ secret: Redacted.make("Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4") })

const routes = HttpRouter.add("GET", "/", Effect.as(Effect.andThen(Cart, Wishes), HttpServerResponse.empty()))

const both = SessionHttp.layer(Cart, Wishes)

/** A program that lacks nothing. */
type Program = Effect.Effect<unknown, unknown>

const services = Layer.merge(SessionStore.layerCookie, config)

/** An application that lacks nothing but a server. */
type App = Layer.Layer<never, unknown, HttpServer.HttpServer>

describe("a session class", () => {
  it("reads without an option where it has an initial value, and only there", () => {
    expectTypeOf<Session.Handle<Items, Items>>().toEqualTypeOf<typeof Cart["Service"]>()
    const read = (cart: typeof Cart["Service"], wishes: typeof Wishes["Service"]) => [cart.get, wishes.get] as const
    expectTypeOf<ReturnType<typeof read>>().toEqualTypeOf<
      readonly [Effect.Effect<Items>, Effect.Effect<Option.Option<Items>>]
    >()
  })

  it("reads without errors, but for data that do not fit where it asks for that", () => {
    expectTypeOf<Effect.Error<typeof Cart["Service"]["get"]>>().toBeNever()
    expectTypeOf<Effect.Error<typeof Wishes["Service"]["get"]>>().toBeNever()
    expectTypeOf<Effect.Error<typeof Migrating["Service"]["get"]>>().toBeNever()
    expectTypeOf<Effect.Error<typeof Strict["Service"]["get"]>>().toEqualTypeOf<SessionDataError>()
    expectTypeOf<Effect.Error<typeof Strict["Service"]["exists"]>>().toBeNever()
  })

  it("fails in opening, changing and committing, with a SessionError", () => {
    type Handle = typeof Cart["Service"]
    expectTypeOf<Effect.Error<Handle["open" | "commit" | "renew" | "logout" | "destroy"]>>().toEqualTypeOf<
      SessionError
    >()
    expectTypeOf<Effect.Error<ReturnType<Handle["set" | "update" | "login" | "setSubject"]>>>()
      .toEqualTypeOf<SessionError>()
    expectTypeOf<Effect.Error<ReturnType<typeof Strict["Service"]["update"]>>>()
      .toEqualTypeOf<SessionError | SessionDataError>()
  })

  it("needs itself, and nothing else", () => {
    expectTypeOf(Session.required(Cart)).toEqualTypeOf<
      Effect.Effect<Session.Handle<Items, Items>, SessionRequired, Cart>
    >()
  })

  it("refuses wrong data", () => {
    const change = (cart: typeof Cart["Service"], wishes: typeof Wishes["Service"]) => [
      // @ts-expect-error number
      cart.set({ items: [1] }),
      // @ts-expect-error items
      cart.set({}),
      // @ts-expect-error item
      cart.update(() => ({ item: [] })),
      // @ts-expect-error Option
      wishes.update((wishes) => wishes.items),
      // @ts-expect-error number
      cart.login(1)
    ]
    const define = () => [
      // @ts-expect-error number
      Session.Service<Cart>()("Cart", { data, initial: { items: 1 } }),
      // @ts-expect-error ignore
      Session.Service<Cart>()("Cart", { data, onMismatch: "ignore" }),
      // @ts-expect-error item
      Session.Service<Cart>()("Cart", { data, onMismatch: (stored) => Schema.decodeUnknownOption(other)(stored) }),
      // @ts-expect-error Cart
      Session.Service<Cart>()("Cart", { data: needy })
    ]
    expectTypeOf([change, define]).toBeArray()
  })
})

const other = Schema.Struct({ item: Schema.String })

// Only its type counts: a schema that decodes with the help of a service.
const needy = data as unknown as Schema.Codec<Items, unknown, Cart>

describe("an application", () => {
  const shop = routes.pipe(Layer.provide(both))

  it("is complete with middleware, a store and a configuration", () => {
    const globally = routes.pipe(Layer.provide(SessionHttp.layerGlobal(Cart, Wishes)))
    const apart = routes.pipe(Layer.provide(SessionHttp.layer(Cart)), Layer.provide(SessionHttp.layer(Wishes)))
    assertType<App>(HttpRouter.serve(shop).pipe(Layer.provide(services)))
    assertType<App>(HttpRouter.serve(globally).pipe(Layer.provide(services)))
    assertType<App>(HttpRouter.serve(apart).pipe(Layer.provide(services)))
    assertType<App>(HttpRouter.serve(shop).pipe(Layer.provide(SessionStore.layerMemory), Layer.provide(config)))
  })

  it("does not compile without a store", () => {
    // @ts-expect-error SessionStore
    assertType<App>(HttpRouter.serve(shop).pipe(Layer.provide(config)))
  })

  it("does not compile without a configuration", () => {
    // @ts-expect-error SessionConfig
    assertType<App>(HttpRouter.serve(shop).pipe(Layer.provide(SessionStore.layerCookie)))
  })

  it("does not compile without the middleware of a class", () => {
    const half = routes.pipe(Layer.provide(SessionHttp.layer(Cart)))
    // @ts-expect-error Wishes
    assertType<App>(HttpRouter.serve(half).pipe(Layer.provide(services)))
    // @ts-expect-error Cart
    assertType<App>(HttpRouter.serve(routes).pipe(Layer.provide(services)))
  })

  it("does not compile without a class to give sessions of", () => {
    // @ts-expect-error arguments
    assertType<Layer.Any>(SessionHttp.layer())
  })

  it("has to let the error of a required session pass", () => {
    const guarded = HttpRouter.add("GET", "/", Effect.as(Cart, HttpServerResponse.empty())).pipe(
      Layer.provide(SessionHttp.layerRequired(Cart))
    )
    expectTypeOf<HttpRouter.Request.Only<"Error", Layer.Services<typeof guarded>>>().toEqualTypeOf<SessionRequired>()
  })
})

describe("code that lists or ends sessions", () => {
  const revoking = SessionStore.SessionPort.use((port) => port.revoke("handle"))
  const listing = Sessions.Sessions.use((sessions) => sessions.list(Cart, "alice"))

  it("compiles with a store on the server", () => {
    assertType<Program>(revoking.pipe(Effect.provide(SessionStore.layerMemory)))
    assertType<Program>(listing.pipe(Effect.provide(Layer.provide(Sessions.layer, [SessionStore.layerMemory, config]))))
  })

  it("does not compile with sessions that live in the cookie", () => {
    // @ts-expect-error SessionPort
    assertType<Program>(revoking.pipe(Effect.provide(SessionStore.layerCookie)))
    // @ts-expect-error SessionPort
    assertType<Program>(listing.pipe(Effect.provide(Layer.provide(Sessions.layer, [SessionStore.layerCookie, config]))))
  })
})

describe("an HttpApi", () => {
  class CartSession extends SessionHttpApi.Service<CartSession>()("CartSession", { session: Cart }) {}
  class WishesSession extends SessionHttpApi.Service<WishesSession>()("WishesSession", {
    session: Wishes,
    required: true
  }) {}

  const Api = HttpApi.make("api").add(
    HttpApiGroup.make("shop")
      .add(HttpApiEndpoint.get("cart", "/cart").middleware(CartSession))
      .add(HttpApiEndpoint.get("wishes", "/wishes").middleware(WishesSession))
      .add(HttpApiEndpoint.get("plain", "/plain"))
  )

  it("gives the class to handlers of its endpoints, and to no other", () => {
    const serve = HttpApiBuilder.group(Api, "shop", (handlers) =>
      handlers
        .handle("cart", () => Effect.asVoid(Cart))
        .handle("wishes", () => Effect.asVoid(Wishes))
        .handle("plain", () => Effect.void))
    const wrong = HttpApiBuilder.group(Api, "shop", (handlers) =>
      handlers
        .handle("cart", () => Effect.asVoid(Cart))
        .handle("wishes", () => Effect.asVoid(Wishes))
        .handle("plain", () => Effect.asVoid(Wishes)))
    const middleware = Layer.mergeAll(SessionHttpApi.layer(CartSession), SessionHttpApi.layer(WishesSession))
    type Needs<L extends Layer.Any> = Extract<Layer.Services<L>, HttpRouter.Request<"Requires", unknown>>
    expectTypeOf<Needs<typeof serve>>().toBeNever()
    expectTypeOf<Needs<typeof wrong>>().toEqualTypeOf<HttpRouter.Request<"Requires", Wishes>>()
    expectTypeOf(Layer.provide(middleware, services)).toExtend<Layer.Layer<CartSession | WishesSession, SessionError>>()
    expectTypeOf<Extract<Layer.Services<typeof serve>, CartSession | WishesSession>>()
      .toEqualTypeOf<CartSession | WishesSession>()
  })

  it("shows the client the 401 of endpoints that need a session, and only there", () => {
    const call = (client: HttpApiClient.ForApi<typeof Api>) => [client.shop.cart(), client.shop.wishes()] as const
    type Errors = { [K in 0 | 1]: Extract<Effect.Error<ReturnType<typeof call>[K]>, HttpApiError.Unauthorized> }
    expectTypeOf<Errors[0]>().toBeNever()
    expectTypeOf<Errors[1]>().toEqualTypeOf<HttpApiError.Unauthorized>()
  })
})

describe("what does not compile", () => {
  it(
    "says why: the message names the culprit that stands behind each @ts-expect-error",
    { timeout: 120_000 },
    async () => {
      const root = fileURLToPath(new URL("../", import.meta.url))
      mkdirSync(`${root}.tmp`, { recursive: true })
      const directory = mkdtempSync(`${root}.tmp/types-`)
      try {
        const lines = readFileSync(fileURLToPath(import.meta.url), "utf8").split("\n")
        const expected = lines.flatMap((line, i) => {
          const culprit = /^\s*\/\/ @ts-expect-error (\w+)/.exec(line)?.[1]
          return culprit === undefined ? [] : [{ line: i + 2, culprit }]
        })
        const source = lines.join("\n").replaceAll("// @ts-expect-error", "//").replaceAll("\"../src/", "\"../../src/")
        writeFileSync(`${directory}/refused.ts`, source)
        writeFileSync(
          `${directory}/tsconfig.json`,
          JSON.stringify({ extends: "../../tsconfig.json", include: ["."] })
        )
        const output = await new Promise<string>((resolve) => {
          const tsc = [`${root}node_modules/typescript/bin/tsc`, "-p", directory, "--pretty", "false"]
          const args = "Deno" in globalThis ? ["run", "-A", ...tsc] : tsc
          execFile(process.execPath, args, { cwd: root }, (_error, stdout, stderr) => resolve(stdout + stderr))
        })
        const messages = output.split(/\n(?!\s)/).filter((message) => message.includes("refused.ts"))
        const at = (message: string) => Number(/refused\.ts\((\d+),/.exec(message)?.[1])
        assert.deepStrictEqual([...new Set(messages.map(at))], expected.map(({ line }) => line), output)
        for (const { culprit, line } of expected) {
          assert.isTrue(
            messages.some((message) => at(message) === line && message.includes(culprit)),
            `${culprit} is not named in:\n${messages.filter((message) => at(message) === line).join("\n")}`
          )
        }
      } finally {
        rmSync(directory, { recursive: true })
      }
    }
  )
})
