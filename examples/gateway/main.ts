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
import type * as Model from "./model.ts"
import * as Proxy from "./proxy.ts"
import { resolve } from "./resolve.ts"
import * as Sessions from "./sessions.ts"

class InvalidFile extends Data.TaggedError("InvalidFile")<{ readonly file: string; readonly message: string }> {}

const load = Effect.fnUntraced(function*(file: string) {
  const input = yield* Effect.tryPromise({
    try: async (): Promise<unknown> => parse(await readFile(file, "utf8"), { merge: true }),
    catch: (cause) => new InvalidFile({ file, message: String(cause) })
  })
  return yield* Effect.mapError(
    Effect.fromResult(resolve(input)),
    (problems) => new InvalidFile({ file, message: problems.join("\n") })
  )
})

const Server = NodeHttpServer.layerConfig(() => createServer({ requestTimeout: 0, headersTimeout: 60_000 }), {
  host: Config.succeed("127.0.0.1"),
  port: Config.Int("PORT").pipe(Config.withDefault(8000))
})

const listen = Effect.fnUntraced(function*(gateway: Model.Gateway) {
  const { address } = yield* HttpServer.HttpServer
  const port = "port" in address ? address.port : 80
  return HttpServer.serve(Gateway.make(gateway)).pipe(
    Layer.provide(Proxy.layer([...Gateway.servicesOf(gateway)], port)),
    Layer.tap(() => Console.log(`listening on ${port}`))
  )
})

const Main = Layer.unwrap(Effect.gen(function*() {
  const file = yield* Config.NonEmptyString("KONG_CONFIG")
  const gateway = yield* load(file)
  const plugins = yield* Effect.mapError(
    Sessions.decodeAll(gateway),
    ({ message }) => new InvalidFile({ file, message })
  )
  return Layer.unwrap(listen(gateway)).pipe(
    Layer.provide(Server),
    // First of all: who cannot keep sessions does not listen.
    Layer.provide(Sessions.layer(gateway, plugins))
  )
}))

const program = Effect.catchTag(
  Layer.launch(Main),
  "InvalidFile",
  ({ file, message }) =>
    Effect.andThen(Console.error(`KONG_CONFIG ${file} cannot be used:\n${message}`), Effect.sync(() => process.exit(1)))
)

NodeRuntime.runMain(program)
