/**
 * The server of the API, which describes itself at `/openapi.json`.
 *
 *     SESSION_SECRET=$(openssl rand -base64 32) node examples/http-api/server.ts
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer } from "effect"
import { HttpRouter } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { createServer } from "node:http"
import * as SessionConfig from "../../src/SessionConfig.ts"
import * as SessionHttpApi from "../../src/SessionHttpApi.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import { Account, AccountSession, Cart, CartSession, Member, Shop } from "./api.ts"

// A session that cannot be changed is no answer that clients could handle: as a defect it is a plain 5xx.
const CartHandlers = HttpApiBuilder.group(Shop, "cart", (handlers) =>
  handlers.handleAll({
    items: Effect.fnUntraced(function*() {
      const cart = yield* Cart
      return (yield* cart.get).items
    }),
    add: Effect.fnUntraced(function*({ payload }) {
      const cart = yield* Cart
      yield* cart.update(({ items }) => ({ items: [...items, payload.item] }))
      return (yield* cart.get).items
    }, Effect.orDie)
  }))

const AccountHandlers = HttpApiBuilder.group(Shop, "account", (handlers) =>
  handlers.handleAll({
    login: Effect.fnUntraced(function*({ payload }) {
      // Here a real server would check a password.
      const account = yield* Account
      yield* account.set(payload)
      yield* account.login(payload.name)
    }, Effect.orDie),
    me: Effect.fnUntraced(function*() {
      const account = yield* Account
      return yield* Effect.fromOption(yield* account.get)
    }, Effect.orDie),
    logout: Effect.fnUntraced(function*() {
      const account = yield* Account
      yield* account.logout
    }, Effect.orDie)
  }))

const Sessions = Layer.mergeAll(
  SessionHttpApi.layer(CartSession),
  SessionHttpApi.layer(AccountSession),
  SessionHttpApi.layer(Member)
).pipe(
  Layer.provide(SessionStore.layerMemory),
  // For plain HTTP, over which clients send no `Secure` cookie. With HTTPS, leave both out.
  Layer.provide(SessionConfig.layerConfig({ cookiePrefix: "", cookieSecure: false }))
)

const Api = HttpApiBuilder.layer(Shop, { openapiPath: "/openapi.json" }).pipe(
  Layer.provide([CartHandlers, AccountHandlers]),
  Layer.provide(Sessions)
)

const Server = NodeHttpServer.layerConfig(createServer, {
  host: Config.succeed("127.0.0.1"),
  port: Config.Int("PORT").pipe(Config.withDefault(3000))
})

NodeRuntime.runMain(Layer.launch(HttpRouter.serve(Api).pipe(Layer.provide(Server))))
