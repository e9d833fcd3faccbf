import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { Session, SessionConfig, SessionHttp, SessionStore } from "../src/index.ts"

class Visits extends Session.Service<Visits>()("hello/Visits", { data: Schema.Int, initial: 0 }) {}

const hello = Effect.gen(function*() {
  const visits = yield* Visits
  yield* visits.update((n) => n + 1)
  return HttpServerResponse.text(`Visit number ${yield* visits.get}\n`)
})

const Hello = HttpRouter.add("GET", "/", hello).pipe(Layer.provide(SessionHttp.layer(Visits)))
const Sessions = Layer.merge(SessionStore.layerCookie, SessionConfig.layerConfig())
const port = Config.Int("PORT").pipe(Config.withDefault(3000))
const Server = NodeHttpServer.layerConfig(createServer, { host: Config.succeed("127.0.0.1"), port })
NodeRuntime.runMain(Layer.launch(HttpRouter.serve(Hello).pipe(Layer.provide([Sessions, Server]))))
