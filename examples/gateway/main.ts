/**
 * A small gateway that Kong's declarative files configure, with sessions as Kong's plugin keeps them.
 *
 *     KONG_CONFIG=examples/gateway/kong.yaml PORT=8000 npm run -s gateway
 *
 * DATABASE_URL is for sessions with `storage: kong`; without it they live in an embedded Postgres.
 * What is in the file and not supported is named, and the gateway does not start.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Console, Data, Effect, Layer } from "effect"
import { HttpServer } from "effect/http"
import { readFile } from "node:fs/promises"
import { createServer } from "node:http"
import { parse } from "yaml"
import * as Gateway from "./gateway.ts"
import * as Proxy from "./proxy.ts"
import { resolve } from "./resolve.ts"

class InvalidFile extends Data.Error<{ readonly message: string }> {}

const load = Effect.fnUntraced(function*(path: string) {
  const input = yield* Effect.tryPromise({
    try: async (): Promise<unknown> => parse(await readFile(path, "utf8")),
    catch: (cause) => new InvalidFile({ message: `KONG_CONFIG: ${path}: ${String(cause)}` })
  })
  return yield* Effect.mapError(
    Effect.fromResult(resolve(input)),
    (problems) =>
      new InvalidFile({ message: `KONG_CONFIG: ${path}\n${problems.map((line) => `  ${line}`).join("\n")}` })
  )
})

const Server = NodeHttpServer.layerConfig(() => createServer({ requestTimeout: 0, headersTimeout: 60_000 }), {
  host: Config.succeed("127.0.0.1"),
  port: Config.Int("PORT").pipe(Config.withDefault(8000))
})

const Main = Layer.unwrap(Effect.gen(function*() {
  const gateway = yield* load(yield* Config.NonEmptyString("KONG_CONFIG"))
  const serve = HttpServer.serve(Gateway.make(gateway))
  return Layer.unwrap(Effect.gen(function*() {
    const { address } = yield* HttpServer.HttpServer
    const port = "port" in address ? address.port : 80
    return Layer.effectDiscard(Console.log(`listening on ${port}`)).pipe(
      Layer.provide(serve),
      Layer.provide(Proxy.layer([...Gateway.servicesOf(gateway)], port))
    )
  })).pipe(Layer.provide(Server))
}))

NodeRuntime.runMain(Layer.launch(Main))
