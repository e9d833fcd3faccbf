/** This library as the servers and the growth suite run it. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Config, Effect, Layer, Option, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as PgSessionStore from "../../src/PgSessionStore.ts"
import * as Session from "../../src/Session.ts"
import * as SessionConfig from "../../src/SessionConfig.ts"
import * as SessionHttp from "../../src/SessionHttp.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import * as Ours from "../lib/ours.ts"
import { dataOf, empty } from "./contract.ts"

class Account extends Session.Service<Account>()("bench/Account", {
  data: Schema.Struct({ id: Schema.Number, user: Schema.String, text: Schema.String, count: Schema.Number })
}) {}

const login = Effect.gen(function*() {
  const { id } = yield* HttpServerRequest.schemaSearchParams(Schema.Struct({ id: Schema.NumberFromString }))
  const account = yield* Account
  yield* account.set(dataOf(id))
  return HttpServerResponse.empty()
})

const unauthorized = HttpServerResponse.empty({ status: 401 })

const read = Account.use((account) =>
  Effect.map(
    account.get,
    (data) => Option.isNone(data) ? unauthorized : HttpServerResponse.text(data.value.user)
  )
)

const write = Account.use((account) =>
  Effect.flatMap(account.get, (data) =>
    Option.isNone(data) ? Effect.succeed(unauthorized) : Effect.as(
      account.update((stored) => {
        const data = Option.getOrThrow(stored)
        return { ...data, count: data.count + 1 }
      }),
      HttpServerResponse.text(data.value.user)
    ))
)

const data = Account.use((account) =>
  Effect.map(account.get, (data) => HttpServerResponse.jsonUnsafe(Option.getOrNull(data)))
)

const Routes = Layer.merge(
  // As the other servers, it makes each answer anew.
  HttpRouter.add("GET", "/empty", Effect.sync(() => HttpServerResponse.text(empty))),
  HttpRouter.addAll([
    HttpRouter.route("GET", "/login", login),
    HttpRouter.route("GET", "/read", read),
    HttpRouter.route("GET", "/write", write),
    HttpRouter.route("GET", "/data", data)
  ]).pipe(Layer.provide(SessionHttp.layer(Account)))
)

const layerPostgres = PgSessionStore.layer.pipe(
  Layer.provide(PgClient.layerConfig({ url: Config.Redacted("DATABASE_URL") }))
)

const stores = { cookie: SessionStore.layerCookie, memory: SessionStore.layerMemory, postgres: layerPostgres }

const isStore = (name: string): name is keyof typeof stores => Object.hasOwn(stores, name)

/** With the store that a command line names. */
export const layer = (store = "", options: Pick<SessionConfig.Options, "cookieCacheSize"> = {}) =>
  isStore(store)
    ? Routes.pipe(Layer.provide(stores[store]), Layer.provide(SessionConfig.layer({ ...options, secret: Ours.secret })))
    : Layer.effectDiscard(Effect.die(new Error(`There is no store ${store}`)))
