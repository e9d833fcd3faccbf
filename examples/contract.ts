/**
 * A server for black-box checks: every promise of the library behind a plain
 * route, with a store that can be told to be slow or to fail.
 *
 *     PORT=3000 SESSION_SECRET=$(openssl rand -base64 32) SESSION_STORE=memory node examples/contract.ts
 *
 * SESSION_STORE is cookie, memory or postgres, which is the database of DATABASE_URL,
 * or an embedded one. STORE_DELAY_MS holds every write back, and STORE_FAIL=1 makes
 * every operation fail; POST /_fault?delay=150&fail=1 changes both.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Console, Context, Effect, Layer, Option, Ref } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import * as Sessions from "../src/Sessions.ts"
import * as SessionStore from "../src/SessionStore.ts"
import * as Controls from "./contract/controls.ts"
import * as Faults from "./contract/faults.ts"
import * as Routes from "./contract/routes.ts"
import { layerMemory, layerPostgres, Rows } from "./contract/stores.ts"

const environment = Config.all({
  port: Config.Int("PORT").pipe(Config.withDefault(3000)),
  store: Config.Literals(["cookie", "memory", "postgres"], "SESSION_STORE").pipe(Config.withDefault("memory" as const)),
  delay: Config.Int("STORE_DELAY_MS").pipe(Config.withDefault(0)),
  fail: Config.Boolean("STORE_FAIL").pipe(Config.withDefault(false))
})

// Plain HTTP: browsers and test clients would not send a Secure cookie back, nor accept one with a prefix.
const layerConfig = SessionConfig.layerConfig({ cookieSecure: false, cookiePrefix: "" })

const layerCookie = (faults: Ref.Ref<Faults.Faults>) =>
  Layer.succeed(Routes.Store, { faults, rows: Effect.succeed(0), sessions: Option.none() })

const layerServer = <E>(
  faults: Ref.Ref<Faults.Faults>,
  store: Layer.Layer<SessionStore.SessionStore | SessionStore.SessionPort | Rows, E>
) =>
  Layer.effect(
    Routes.Store,
    Effect.gen(function*() {
      return { faults, rows: yield* Rows, sessions: Option.some(yield* Sessions.Sessions) }
    })
  ).pipe(
    Layer.provide(Sessions.layer),
    Layer.provideMerge(Faults.layer(store, faults)),
    Layer.provide(store)
  )

const Server = Effect.gen(function*() {
  const { delay, fail, port, store } = yield* environment
  const faults = yield* Ref.make<Faults.Faults>({ delay, fail })
  const stores = store === "cookie"
    ? Layer.merge(layerCookie(faults), SessionStore.layerCookie)
    : layerServer(faults, store === "memory" ? layerMemory : layerPostgres)
  return HttpRouter.serve(Routes.layer.pipe(Layer.provide(SessionHttp.layer(Routes.State))), {
    disableListenLog: true,
    disableLogger: true
  }).pipe(
    Layer.provide(stores),
    Layer.provide(layerConfig),
    Layer.provide(Controls.layer),
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" })),
    // With port 0, the system's choice.
    Layer.tap((context) => {
      const { address } = Context.get(context, HttpServer.HttpServer)
      return Console.log(`listening on ${"port" in address ? address.port : port}`)
    })
  )
}).pipe(Layer.unwrap)

NodeRuntime.runMain(Layer.launch(Server))
