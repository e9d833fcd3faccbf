/**
 * A page to watch a session on: `npm start`, or `deno task start`.
 *
 * Reads PORT (3000), SESSION_STORE (postgres; or cookie), DATABASE_URL (an embedded
 * Postgres) and the settings of sessions, such as SESSION_SECRET.
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { ByteSize, Config, Console, Effect, Layer, Option, Redacted } from "effect"
import { Base64Url } from "effect/encoding"
import { HttpRouter, HttpServer, HttpServerRequest } from "effect/http"
import { createServer } from "node:http"
import * as PgSessionStore from "../../src/PgSessionStore.ts"
import * as SessionConfig from "../../src/SessionConfig.ts"
import * as SessionHttp from "../../src/SessionHttp.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import * as Database from "../postgres/database.ts"
import { Demo } from "./routes.ts"
import { timeouts } from "./session.ts"

/** Where sessions live. An application has one of the two, and one line. */
const Store = Layer.unwrap(Effect.map(
  Config.Literals(["postgres", "cookie"], "SESSION_STORE").pipe(Config.withDefault("postgres" as const)),
  (store) => store === "cookie" ? SessionStore.layerCookie : Layer.provide(PgSessionStore.layer, Database.layer)
))

const secret = Effect.gen(function*() {
  const given = yield* Config.option(Config.Redacted("SESSION_SECRET"))
  if (Option.isSome(given)) return given.value
  yield* Console.log("There is no SESSION_SECRET: made one up, and sessions end with this process.")
  return Redacted.make(Base64Url.encode(crypto.getRandomValues(new Uint8Array(32))))
})

const Settings = Layer.unwrap(Effect.map(secret, (secret) =>
  SessionConfig.layerConfig({
    ...timeouts,
    secret,
    // For plain HTTP on this machine: Safari takes no `Secure` cookie from it, and a prefix demands one.
    cookieSecure: false,
    cookiePrefix: ""
  })))

const Server = NodeHttpServer.layerConfig(createServer, {
  host: Config.succeed("127.0.0.1"),
  port: Config.Int("PORT").pipe(Config.withDefault(3000))
})

const Ready = Layer.effectDiscard(HttpServer.addressFormattedWith((url) => Console.log(`Listening on ${url}`)))

const Main = HttpRouter.serve(Demo, { disableLogger: true, disableListenLog: true }).pipe(
  Layer.merge(Ready),
  Layer.provide(SessionHttp.layerServices),
  Layer.provide([Store, Settings, Server]),
  Layer.provide(Layer.succeed(HttpServerRequest.MaxBodySize, ByteSize.kibibytes(4)))
)

NodeRuntime.runMain(Layer.launch(Main))
