/**
 * A typed client of the API. Its cookies are in a `Ref`, as a browser keeps them in
 * its jar.
 *
 *     BASE_URL=http://127.0.0.1:3000 node examples/http-api/client.ts
 */
import { NodeRuntime } from "@effect/platform-node"
import { Config, Console, Effect, flow, Ref } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import type { Cookies } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import { Shop } from "./api.ts"

const program = Effect.gen(function*() {
  const baseUrl = yield* Config.String("BASE_URL").pipe(Config.withDefault("http://127.0.0.1:3000"))
  const jar = yield* Ref.make<ReadonlyArray<Cookies.Cookie>>([])
  const shop = yield* HttpApiClient.make(Shop, {
    // In this order, not with the option `baseUrl`: the jar has to see the whole URL.
    transformClient: flow(
      HttpClient.mapRequest(HttpClientRequest.prependUrl(baseUrl)),
      HttpClient.withCookiesRef(jar)
    )
  })

  yield* shop.cart.add({ payload: { item: "tea" } })
  yield* shop.account.login({ payload: { name: "Ada" } })
  yield* shop.cart.add({ payload: { item: "cup" } })
  const { name } = yield* shop.account.me()
  yield* Console.log(`${name} has ${(yield* shop.cart.items()).join(" and ")}`)

  yield* shop.account.logout()
  const refused = yield* Effect.flip(shop.account.me())
  yield* Console.log(`Logged out: ${refused._tag}`)
})

NodeRuntime.runMain(Effect.provide(program, FetchHttpClient.layer))
