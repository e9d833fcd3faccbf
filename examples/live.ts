/**
 * Event streams and WebSockets that end with their session, on Node. Sessions live in
 * Postgres: that of DATABASE_URL, or an embedded one.
 *
 *     export SESSION_SECRET=$(openssl rand -base64 32)
 *     node examples/live.ts
 *     curl -c jar -X POST 'http://127.0.0.1:3000/login?user=Ada'
 *     curl -b jar -N http://127.0.0.1:3000/events
 *     curl -b jar -X POST http://127.0.0.1:3000/logout   # meanwhile, in another terminal
 */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Config, Console, DateTime, Effect, Layer, Schema, Stream } from "effect"
import { Sse } from "effect/encoding"
import { HttpRouter, HttpServer, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Socket } from "effect/socket"
import { createServer } from "node:http"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import * as Session from "../src/Session.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import * as Sessions from "../src/Sessions.ts"
import * as Database from "./postgres/database.ts"

class Account extends Session.Service<Account>()("live/Account", {
  data: Schema.Struct({ streams: Schema.Int }),
  initial: { streams: 0 }
}) {}

const login = Effect.gen(function*() {
  // Here a real server would check a password.
  const { user } = yield* HttpServerRequest.schemaSearchParams(Schema.Struct({ user: Schema.NonEmptyString }))
  const account = yield* Account
  yield* account.login(user)
  return HttpServerResponse.empty()
})

const logout = Effect.gen(function*() {
  const account = yield* Session.required(Account)
  yield* account.logout
  return HttpServerResponse.empty()
})

const revokeOthers = Effect.gen(function*() {
  const account = yield* Session.required(Account)
  const sessions = yield* Sessions.Sessions
  const subject = yield* Effect.fromOption(yield* account.subject)
  const ended = yield* sessions.revokeAll(Account, subject, { except: yield* account.handle })
  return HttpServerResponse.jsonUnsafe({ ended })
})

/** The end of a session, however it comes: a logout in another window, a revocation by another server, a timeout. */
const endOf = Effect.fnUntraced(function*(account: Account["Service"]) {
  const lifetime = yield* PgSessionStore.SessionLifetime
  return lifetime.ended(yield* Effect.fromOption(yield* account.handle))
})

const ticks = Stream.tick("1 second").pipe(
  Stream.mapEffect(() => DateTime.now),
  Stream.map((now): Sse.Event => ({ _tag: "Event", event: "tick", id: undefined, data: DateTime.formatIso(now) })),
  Stream.pipeThroughChannel(Sse.encode()),
  Stream.encodeText
)

const events = Effect.gen(function*() {
  const account = yield* Session.required(Account)
  yield* account.update(({ streams }) => ({ streams: streams + 1 }))
  // The headers leave before the first event. What a stream changes itself fails with `AlreadyCommitted`.
  yield* account.commit
  const ended = yield* endOf(account)
  // A browser asks again when a stream has ended. Without a session that is a 401, and it stops.
  return HttpServerResponse.stream(Stream.interruptWhen(ticks, ended), {
    contentType: "text/event-stream",
    headers: { "cache-control": "no-store" }
  })
})

/** Of the codes that applications may use (RFC 6455, section 7.4.2), the one that looks like a 401. */
const sessionEnded = new Socket.CloseEvent(4401, "The session has ended")

const echo = Effect.gen(function*() {
  // Any page may open a socket here. `SameSite=Strict`, the default, keeps the session out of those of other sites.
  const account = yield* Session.required(Account)
  // Nothing can be committed later: the response phase comes when the socket has closed.
  yield* account.commit
  const ended = yield* endOf(account)
  const request = yield* HttpServerRequest.HttpServerRequest
  const socket = yield* request.upgrade
  const { pull } = yield* socket.reader
  const { write, writeAll } = yield* socket.writer
  yield* Effect.raceFirst(
    Effect.forever(Effect.flatMap(pull, writeAll)),
    Effect.andThen(ended, write(sessionEnded))
  )
  return HttpServerResponse.empty()
}).pipe(
  // The client has closed it.
  Effect.catchReason("SocketError", "SocketCloseError", () => Effect.succeed(HttpServerResponse.empty()))
)

const Routes = HttpRouter.addAll([
  HttpRouter.route("POST", "/login", login),
  HttpRouter.route("POST", "/logout", logout),
  HttpRouter.route("POST", "/revoke-others", revokeOthers),
  HttpRouter.route("GET", "/events", events),
  HttpRouter.route("GET", "/socket", echo)
]).pipe(Layer.provide(SessionHttp.layer(Account)))

const Store = Layer.mergeAll(
  PgSessionStore.layer,
  PgSessionStore.layerLifetime({}),
  PgSessionStore.layerCleanup({})
).pipe(Layer.provide(Database.layer))

// Plain HTTP: clients would not send a `Secure` cookie back, nor accept one with a prefix. With HTTPS, leave both out.
const Settings = SessionConfig.layerConfig({ cookiePrefix: "", cookieSecure: false })

const Server = NodeHttpServer.layerConfig(createServer, {
  host: Config.succeed("127.0.0.1"),
  port: Config.Int("PORT").pipe(Config.withDefault(3000)),
  // Streams and sockets do not end by themselves when the server is told to.
  gracefulShutdownTimeout: Config.succeed("1 second"),
  // By default, a message may be of 100 MiB.
  websocket: Config.succeed({ maxPayload: 16_384 })
})

const Ready = Layer.effectDiscard(HttpServer.addressFormattedWith((url) => Console.log(`Listening on ${url}`)))

HttpRouter.serve(Routes, { disableListenLog: true }).pipe(
  Layer.merge(Ready),
  Layer.provide(Sessions.layer),
  Layer.provide([Store, Settings, Server]),
  Layer.launch,
  NodeRuntime.runMain
)
