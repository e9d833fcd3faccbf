/**
 * A JSON API on Node. Everybody has preferences, members have an account: two
 * session classes, each with its audience, that share one session and its cookie.
 *
 *     export SESSION_SECRET=$(openssl rand -base64 32)
 *     node examples/node-http.ts
 *     curl -b jar -c jar -X PUT --json '{"language": "fr"}' http://127.0.0.1:3000/preferences
 *     curl -b jar -c jar --json '{"name": "Ada"}' http://127.0.0.1:3000/login
 *     curl -b jar -c jar http://127.0.0.1:3000/me
 *     curl -b jar -c jar -X POST http://127.0.0.1:3000/logout
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { ByteSize, Config, DateTime, Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import { Session, SessionConfig, SessionHttp, Sessions, SessionStore } from "../src/index.ts"

const Credentials = Schema.Struct({ name: Schema.NonEmptyString })
const Profile = Schema.Struct({ name: Schema.NonEmptyString, since: Schema.DateTimeUtc })
const Choices = Schema.Struct({ language: Schema.Literals(["en", "fr", "ja"]) })

/** Without `initial`: who has not logged in has no account. */
class Account extends Session.Service<Account>()("api/Account", { audience: "account", data: Profile }) {}

class Preferences extends Session.Service<Preferences>()("api/Preferences", {
  audience: "preferences",
  data: Choices,
  initial: { language: "en" }
}) {}

const login = Effect.gen(function*() {
  // Here a real server would check a password.
  const { name } = yield* HttpServerRequest.schemaBodyJson(Credentials)
  const account = yield* Account
  yield* account.set({ name, since: yield* DateTime.now })
  yield* account.login(name)
  return HttpServerResponse.empty()
})

const logout = Effect.gen(function*() {
  // The part of `Account` goes, that of `Preferences` stays.
  yield* (yield* Account).logout
  return HttpServerResponse.empty()
})

const logoutElsewhere = Effect.gen(function*() {
  const account = yield* Account
  const sessions = yield* Sessions.Sessions
  const subject = yield* Effect.fromOption(yield* account.subject)
  const ended = yield* sessions.revokeAll(Account, subject, { except: yield* account.handle })
  return HttpServerResponse.jsonUnsafe({ ended })
})

const encodeProfile = HttpServerResponse.schemaJson(Schema.toCodecJson(Profile))

const me = Effect.gen(function*() {
  const profile = yield* (yield* Account).get
  // None, and a 404, where what an older server stored no longer fits `Profile`.
  return yield* encodeProfile(yield* Effect.fromOption(profile))
})

const getPreferences = Effect.gen(function*() {
  return HttpServerResponse.jsonUnsafe(yield* (yield* Preferences).get)
})

const setPreferences = Effect.gen(function*() {
  const choices = yield* HttpServerRequest.schemaBodyJson(Choices)
  yield* (yield* Preferences).set(choices)
  return HttpServerResponse.empty()
})

const Public = HttpRouter.addAll([
  HttpRouter.route("POST", "/login", login),
  HttpRouter.route("GET", "/preferences", getPreferences),
  HttpRouter.route("PUT", "/preferences", setPreferences)
]).pipe(Layer.provide(SessionHttp.layer(Account, Preferences)))

/** Without an account these answer 401, and their handlers do not run. */
const Members = HttpRouter.addAll([
  HttpRouter.route("GET", "/me", me),
  HttpRouter.route("POST", "/logout", logout),
  HttpRouter.route("POST", "/logout/elsewhere", logoutElsewhere)
]).pipe(Layer.provide(SessionHttp.layerRequired(Account)))

const Server = NodeHttpServer.layerConfig(createServer, {
  host: Config.succeed("127.0.0.1"),
  port: Config.Int("PORT").pipe(Config.withDefault(3000))
})

HttpRouter.serve(Layer.merge(Public, Members)).pipe(
  Layer.provide(Sessions.layer),
  // Of sessions in cookies alone there would be no list, and the line above would not compile.
  Layer.provide(SessionStore.layerMemory),
  Layer.provide(SessionConfig.layerConfig()),
  Layer.provide(Layer.succeed(HttpServerRequest.MaxBodySize, ByteSize.kibibytes(16))),
  Layer.provide(Server),
  Layer.launch,
  NodeRuntime.runMain
)
