/** This library: `effect.ts cookie|memory|postgres`, on NodeHttpServer or Deno.serve. */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Config, Context, Effect, Layer, Option, Schema } from "effect"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import * as PgSessionStore from "../../src/PgSessionStore.ts"
import * as Session from "../../src/Session.ts"
import * as SessionConfig from "../../src/SessionConfig.ts"
import * as SessionHttp from "../../src/SessionHttp.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import * as Ours from "../lib/ours.ts"
import { dataOf, empty, listening } from "./contract.ts"

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
  HttpRouter.add("GET", "/empty", Effect.succeed(HttpServerResponse.text(empty))),
  HttpRouter.addAll([
    HttpRouter.route("GET", "/login", login),
    HttpRouter.route("GET", "/read", read),
    HttpRouter.route("GET", "/write", write),
    HttpRouter.route("GET", "/data", data)
  ]).pipe(Layer.provide(SessionHttp.layer(Account)))
)

const url = Config.Redacted("DATABASE_URL")
const pool = (options: Omit<PgClient.PgPoolConfig, "url">) =>
  Layer.unwrap(Effect.map(url, (url) => PgClient.layer({ url, ...options })))

/** The two pools of docs/bench-pg.md. */
const layerPostgres = Layer.unwrap(
  Effect.map(
    Layer.build(Layer.fresh(pool({ multiplex: true, maxConnections: 2 }))),
    (reads) => PgSessionStore.layerWith({ reads: Context.get(reads, PgClient.PgClient) })
  )
).pipe(Layer.provide(pool({ maxConnections: 16 })))

const stores = { cookie: SessionStore.layerCookie, memory: SessionStore.layerMemory, postgres: layerPostgres }

const store = process.argv[2] as keyof typeof stores
if (stores[store] === undefined) throw new Error(`There is no store ${store}`)

const App = Routes.pipe(
  Layer.provide(stores[store]),
  Layer.provide(SessionConfig.layer({ secret: Ours.secret }))
)

/** As much of Deno as is used here, for compilers that only know Node. */
declare const Deno: {
  readonly serve: (
    options: { readonly hostname: string; readonly port: number; readonly onListen: (address: unknown) => void },
    handler: (request: Request) => Promise<Response>
  ) => unknown
}

if ("Deno" in globalThis) {
  const { handler } = HttpRouter.toWebHandler(App, { disableLogger: true })
  Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: listening }, handler)
} else {
  const Server = HttpRouter.serve(App, { disableListenLog: true, disableLogger: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
    Layer.tap((context) => Effect.sync(() => listening(Context.get(context, HttpServer.HttpServer).address)))
  )
  NodeRuntime.runMain(Layer.launch(Server))
}
