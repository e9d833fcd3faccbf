/**
 * What goes over the wire: invariant by invariant, on real sockets, against each kind of server.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Data, Deferred, Effect, Exit, Layer, Redacted, Schema, Stream } from "effect"
import { HttpRouter, HttpServerRespondable, HttpServerResponse, HttpStaticServer } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiError, HttpApiGroup } from "effect/http-api"
import { randomBytes } from "node:crypto"
import { fileURLToPath } from "node:url"
import * as Session from "../src/Session.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import { SessionError, StoreFailed } from "../src/SessionError.ts"
import * as SessionHttpApi from "../src/SessionHttpApi.ts"
import * as SessionStore from "../src/SessionStore.ts"
import type { Around } from "../src/testing/FaultyStore.ts"
import * as Stacks from "./fixtures/brokenStacks.ts"
import type { Stack } from "./fixtures/brokenStacks.ts"
import { catches } from "./utils/catches.ts"
import * as Http from "./utils/http.ts"

// -----------------------------------------------------------------------------
// the application
// -----------------------------------------------------------------------------

class Visits extends Session.Service<Visits>()("Visits", { data: Schema.Number, initial: 0 }) {}

class Notes extends Session.Service<Notes>()("Notes", { data: Schema.String, initial: "", audience: "notes" }) {}

const visit = Visits.use((visits) => visits.update((n) => n + 1))

/** The failure of a handler, which knows its response. */
class Full extends Data.TaggedError("Full")<{}> {
  [HttpServerRespondable.symbol]() {
    return Effect.succeed(HttpServerResponse.empty({ status: 507 }))
  }
}

/** Takes three cookies, since nothing can compress it. */
const long = randomBytes(7000).toString("base64url")

/** Records changes, and then does not end. */
const slow = <E>(log: Array<string>, change: Effect.Effect<void, E, Visits>) =>
  Effect.gen(function*() {
    yield* Effect.addFinalizer(() => Effect.sync(() => log.push("over")))
    yield* visit
    yield* change
    log.push("waiting")
    return yield* Effect.never
  })

const makeRoutes = (log: Array<string>) =>
  HttpRouter.addAll([
    HttpRouter.route("GET", "/text", Effect.as(visit, HttpServerResponse.text("text"))),
    HttpRouter.route("GET", "/json", Effect.as(visit, HttpServerResponse.jsonUnsafe({ json: true }))),
    HttpRouter.route("GET", "/empty", Effect.as(visit, HttpServerResponse.empty())),
    HttpRouter.route("GET", "/found", Effect.as(visit, HttpServerResponse.redirect("/text"))),
    HttpRouter.route("GET", "/see-other", Effect.as(visit, HttpServerResponse.redirect("/text", { status: 303 }))),
    HttpRouter.route("GET", "/file", Effect.andThen(visit, Effect.orDie(HttpServerResponse.file(thisFile)))),
    HttpRouter.route("GET", "/stream", Effect.as(visit, HttpServerResponse.stream(slowly(log)))),
    HttpRouter.route(
      "GET",
      "/events",
      Effect.as(
        visit,
        HttpServerResponse.stream(Stream.encodeText(Stream.make("data: one\n\n", "data: two\n\n")), {
          contentType: "text/event-stream"
        })
      )
    ),
    HttpRouter.route("GET", "/failure", Effect.andThen(visit, Effect.fail(new Full()))),
    HttpRouter.route("GET", "/defect", Effect.andThen(visit, Effect.die(new Error("a defect")))),
    HttpRouter.route("GET", "/own-cookie", Effect.as(visit, ownCookie)),
    HttpRouter.route("GET", "/slow/update", slow(log, Effect.void)),
    HttpRouter.route("GET", "/slow/logout", slow(log, Visits.use((visits) => visits.logout))),
    HttpRouter.route("GET", "/slow/renew", slow(log, Visits.use((visits) => visits.renew))),
    HttpRouter.route(
      "GET",
      "/notes",
      Effect.as(Notes.use((notes) => notes.set(long)), HttpServerResponse.text("noted"))
    ),
    HttpRouter.route(
      "GET",
      "/notes/length",
      Notes.use((notes) => Effect.map(notes.get, ({ length }) => HttpServerResponse.text(`${length}`)))
    ),
    HttpRouter.route(
      "GET",
      "/count",
      Visits.use((visits) => Effect.map(visits.get, (n) => HttpServerResponse.text(`${n}`)))
    )
  ])

const thisFile = fileURLToPath(import.meta.url)

const ownCookie = HttpServerResponse.setCookieUnsafe(HttpServerResponse.text("own"), "theme", "dark")

const slowly = (log: Array<string>) =>
  Stream.make("one\n", "two\n").pipe(
    Stream.tap(() =>
      Effect.sync(() => {
        log.push("chunk")
      })
    ),
    Stream.encodeText
  )

class VisitsSession extends SessionHttpApi.Service<VisitsSession>()("VisitsSession", { session: Visits }) {}

const Api = HttpApi.make("api").add(
  HttpApiGroup.make("visits").add(
    HttpApiEndpoint.get("success", "/api/success", { success: Schema.Number }),
    HttpApiEndpoint.get("error", "/api/error", { error: HttpApiError.Gone }),
    HttpApiEndpoint.get("schema", "/api/schema", { query: { page: Schema.Literal("1") } })
  ).middleware(VisitsSession)
)

const apiRoutes = HttpApiBuilder.layer(Api).pipe(
  Layer.provide(
    HttpApiBuilder.group(Api, "visits", (handlers) =>
      handlers
        .handle("success", () => Effect.orDie(Effect.as(visit, 1)))
        .handle("error", () => Effect.andThen(Effect.orDie(visit), Effect.fail(new HttpApiError.Gone())))
        .handle("schema", () => Effect.orDie(visit)))
  ),
  Layer.provide(SessionHttpApi.layer(VisitsSession))
)

/** Answers in place of the handler, further out than the session. */
const layerOuter =
  HttpRouter.middleware((handler) => Effect.as(handler, HttpServerResponse.text("made further out", { status: 418 })))
    .layer

const secret = Redacted.make("Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4")

type Registered = "per route" | "globally" | "both"

interface Options {
  readonly stack?: Stack
  readonly registered?: Registered
  readonly placement?: "cookie" | "memory"
  readonly settings?: SessionConfig.Options
}

const makeApp = (
  probe: Http.Probe,
  { placement = "memory", registered = "per route", settings, stack = Stacks.sound }: Options
): Http.App => {
  const own = Layer.mergeAll(
    makeRoutes(probe.log).pipe(HttpRouter.provideRequest(NodeHttpServer.layerHttpServices)),
    HttpRouter.add("GET", "/outer", Effect.as(visit, HttpServerResponse.empty())).pipe(Layer.provide(layerOuter)),
    HttpStaticServer.layer({ root: fileURLToPath(new URL("fixtures", import.meta.url)), prefix: "/static" })
  )
  const served = registered === "globally"
    ? own.pipe(Layer.provide(stack.layerGlobal(Visits, Notes)))
    : registered === "per route"
    ? own.pipe(Layer.provide(stack.layer(Visits, Notes)))
    : Layer.merge(own.pipe(Layer.provide(stack.layer(Visits, Notes))), stack.layerGlobal(Visits, Notes))
  return Layer.merge(served, apiRoutes).pipe(
    Layer.provide(placement === "memory" ? stack.store(probe) : SessionStore.layerCookie),
    Layer.provide(SessionConfig.layer({ secret, ...settings, ...stack.settings }))
  )
}

// -----------------------------------------------------------------------------
// kinds of responses
// -----------------------------------------------------------------------------

interface Kind {
  readonly name: string
  readonly path: string
  readonly method?: "HEAD"
  readonly status: number
  /** What becomes of the change that the handler makes, if there is one. */
  readonly change: "committed" | "dropped" | "none"
  /** Whether only global middleware sees it. */
  readonly unmatched?: boolean
  readonly ownCookie?: string
}

const kinds: ReadonlyArray<Kind> = [
  { name: "text", path: "/text", status: 200, change: "committed" },
  { name: "JSON", path: "/json", status: 200, change: "committed" },
  { name: "an empty 204", path: "/empty", status: 204, change: "committed" },
  { name: "a redirect 302", path: "/found", status: 302, change: "committed" },
  { name: "a redirect 303", path: "/see-other", status: 303, change: "committed" },
  { name: "HEAD", path: "/text", method: "HEAD", status: 200, change: "committed" },
  { name: "a file", path: "/file", status: 200, change: "committed" },
  { name: "the static server", path: "/static/brokenStacks.ts", status: 200, change: "none" },
  { name: "a stream", path: "/stream", status: 200, change: "committed" },
  { name: "server-sent events", path: "/events", status: 200, change: "committed" },
  {
    name: "a handler with a cookie of its own",
    path: "/own-cookie",
    status: 200,
    change: "committed",
    ownCookie: "theme"
  },
  { name: "a typed failure", path: "/failure", status: 507, change: "committed" },
  { name: "a defect", path: "/defect", status: 500, change: "dropped" },
  { name: "a response of outer middleware", path: "/outer", status: 418, change: "committed" },
  { name: "HttpApi, success", path: "/api/success", status: 200, change: "committed" },
  { name: "HttpApi, typed error", path: "/api/error", status: 410, change: "committed" },
  { name: "HttpApi, schema error", path: "/api/schema?page=x", status: 400, change: "none" },
  { name: "no route", path: "/nowhere", status: 404, change: "none", unmatched: true }
]

const session = "__Host-session"

const ask = Effect.fnUntraced(function*(
  connection: Http.Connection,
  path: string,
  jar: Http.Jar,
  method: "GET" | "HEAD" = "GET"
) {
  yield* connection.write(Http.requestText(`${method} ${path}`, jar))
  const reply = yield* connection.reply(method)
  jar.keep(reply)
  return reply
})

/** A jar for a request of this kind: one whose response has to set the session cookie. */
const jarFor = Effect.fnUntraced(function*(kind: Kind, connection: Http.Connection, { time }: Http.Surroundings) {
  const jar = new Http.Jar()
  if (kind.change === "committed") return jar
  yield* ask(connection, "/text", jar)
  // Time asks for a touch, whatever the handler does.
  time.advance(61)
  return jar
})

// -----------------------------------------------------------------------------
// the checks
// -----------------------------------------------------------------------------

/** I1: Set-Cookie arrives on this kind of response, once for each cookie, and the cookie opens the session. */
const setsCookieOnce = Effect.fnUntraced(function*(server: Http.Server, kind: Kind, options: Options = {}) {
  const surroundings = Http.makeSurroundings()
  const port = yield* server.start(makeApp(Http.makeProbe(), options), surroundings)
  const connection = yield* Http.connectTo(port)
  const expected = kind.ownCookie === undefined ? [session] : [kind.ownCookie, session]
  const count = (jar: Http.Jar) => Effect.map(ask(connection, "/count", jar), ({ body }) => body)

  const fresh = new Http.Jar()
  const first = yield* ask(connection, kind.path, fresh, kind.method)
  assert.strictEqual(first.status, kind.status)
  assert.strictEqual(first.setCookies.length, kind.change === "committed" ? expected.length : 0)
  assert.deepStrictEqual(Http.names(first), kind.change === "committed" ? expected : [])
  assert.strictEqual(yield* count(fresh), kind.change === "committed" ? "1" : "0")

  const known = new Http.Jar()
  yield* ask(connection, "/text", known)
  surroundings.time.advance(61)
  const second = yield* ask(connection, kind.path, known, kind.method)
  assert.strictEqual(second.status, kind.status)
  assert.deepStrictEqual(Http.names(second), expected)
  assert.strictEqual(second.headers["cache-control"], "no-store")
  assert.strictEqual(yield* count(known), kind.change === "committed" ? "2" : "1")
})

/** A session of several cookies: each of them once, and together they open it. */
const setsEveryChunkOnce = Effect.fnUntraced(function*(server: Http.Server, options: Options = {}) {
  const app = makeApp(Http.makeProbe(), { placement: "cookie", ...options })
  const connection = yield* Http.connectTo(yield* server.start(app, Http.makeSurroundings()))
  const jar = new Http.Jar()
  const reply = yield* ask(connection, "/notes", jar)
  assert.deepStrictEqual(Http.names(reply), [session, `${session}2`, `${session}3`])
  const { body } = yield* ask(connection, "/notes/length", jar)
  assert.strictEqual(body, `${long.length}`)
})

/** I1: no byte of the response leaves before the store has acknowledged the write. */
const commitsBeforeTheFlush = Effect.fnUntraced(function*(server: Http.Server, kind: Kind, options: Options = {}) {
  const probe = Http.makeProbe()
  const surroundings = Http.makeSurroundings()
  const registered = kind.unmatched === true ? "globally" : "per route"
  const port = yield* server.start(makeApp(probe, { registered, ...options }), surroundings)
  const connection = yield* Http.connectTo(port, { log: probe.log })
  const jar = yield* jarFor(kind, connection, surroundings)

  probe.around((operation, run) => Http.isWrite(operation) ? Effect.delay(run, "150 millis") : run)
  probe.log.length = 0
  const reply = yield* ask(connection, kind.path, jar, kind.method)
  assert.include(Http.names(reply), session)
  const acknowledged = probe.log.findIndex((event) => /^(create|supersede|touch) done$/.test(event))
  assert.isAtLeast(probe.log.indexOf("bytes"), acknowledged, `bytes before the acknowledgement: ${probe.log}`)
  assert.isAtLeast(acknowledged, 0, `bytes without an acknowledgement: ${probe.log}`)
  assert.isFalse(probe.log.slice(0, acknowledged).includes("chunk"), `a chunk before the acknowledgement: ${probe.log}`)
})

/** How a store fails, until it is released. */
const failures = {
  "a typed failure": () => (operation) =>
    Effect.fail(
      new SessionError({
        reason: new StoreFailed({ operation: operation === "note" ? "touch" : operation, cause: "no connection" })
      })
    ),
  "a defect": () => () => Effect.die(new Error("the driver threw")),
  // Not `never`: a stack that waits for it could not be shut down.
  "no answer": (released) => (_operation, run) => Effect.andThen(released, run)
} satisfies { readonly [name: string]: (released: Effect.Effect<void>) => Around }

type Failure = keyof typeof failures

/** I1: where the store fails, a clean 503, and a connection that goes on. */
const failsCleanly = Effect.fnUntraced(function*(
  server: Http.Server,
  kinds: ReadonlyArray<Kind>,
  failure: Failure,
  { disableLogger, patience = 10_000, ...options }: Options & {
    readonly disableLogger: boolean
    readonly patience?: number
  }
) {
  const probe = Http.makeProbe()
  const surroundings = Http.makeSurroundings()
  const app = makeApp(probe, {
    registered: "globally",
    ...options,
    settings: { commitTimeout: "100 millis", ...options.settings }
  })
  const port = yield* server.start(app, surroundings, disableLogger)
  const connection = yield* Http.connectTo(port, { patience })
  const released = yield* Effect.acquireRelease(Deferred.make<void>(), (it) => Deferred.succeed(it, undefined))
  const failing = failures[failure](Deferred.await(released))
  for (const kind of kinds) {
    const jar = yield* jarFor(kind, connection, surroundings)
    const before = jar.header
    surroundings.reported.length = 0
    probe.around((operation, run) => Http.isWrite(operation) ? failing(operation, run) : run)
    const reply = yield* ask(connection, kind.path, jar, kind.method)
    assert.strictEqual(reply.status, 503, kind.name)
    assert.deepStrictEqual(reply.setCookies, [], kind.name)
    assert.strictEqual(reply.headers["cache-control"], "no-store", kind.name)
    assert.strictEqual(reply.body, "", kind.name)
    assert.isAtLeast(surroundings.reported.length, 1, `${kind.name}: not reported`)

    probe.around((_operation, run) => run)
    assert.strictEqual(jar.header, before, kind.name)
    const next = yield* ask(connection, "/text", jar)
    assert.deepStrictEqual([next.status, next.body, Http.names(next)], [200, "text", [session]], kind.name)
  }
})

/** Where the store fails to load, so does the read: a 503, one attempt, and a connection that goes on. */
const readsFailCleanly = Effect.fnUntraced(function*(server: Http.Server, failure: Failure, due: "touch" | "save") {
  const probe = Http.makeProbe()
  const surroundings = Http.makeSurroundings()
  const settings: SessionConfig.Options = { commitTimeout: "100 millis", idlingTimeout: "1 hour" }
  const port = yield* server.start(makeApp(probe, { settings }), surroundings)
  const connection = yield* Http.connectTo(port)
  const released = yield* Effect.acquireRelease(Deferred.make<void>(), (it) => Deferred.succeed(it, undefined))
  const jar = new Http.Jar()
  yield* ask(connection, "/text", jar)
  surroundings.time.advance(due === "touch" ? 61 : 2701)

  probe.log.length = 0
  const failing = failures[failure](Deferred.await(released))
  probe.around((operation, run) => operation === "load" ? failing(operation, run) : run)
  const reply = yield* ask(connection, "/count", jar)
  assert.deepStrictEqual([reply.status, reply.setCookies, reply.body], [503, [], ""])
  assert.strictEqual(reply.headers["cache-control"], "no-store")
  assert.isAtLeast(surroundings.reported.length, 1, "not reported")
  assert.deepStrictEqual(probe.log, ["load"])

  probe.around((_operation, run) => run)
  const next = yield* ask(connection, "/count", jar)
  assert.deepStrictEqual([next.status, next.body, Http.names(next)], [200, "1", [session]])
})

/** HTTP/2 clients send each cookie in a header of its own, and proxies pass them on. */
const readsEveryCookieHeader = Effect.fnUntraced(function*(server: Http.Server) {
  const connection = yield* Http.connectTo(yield* server.start(makeApp(Http.makeProbe(), {}), Http.makeSurroundings()))
  const jar = new Http.Jar()
  yield* ask(connection, "/text", jar)
  yield* connection.write(
    Http.requestText("GET /count", new Http.Jar([["theme", "dark"]])).replace(
      "Cookie:",
      `Cookie: ${jar.header}\r\nCookie:`
    )
  )
  assert.strictEqual((yield* connection.reply()).body, "1")
})

/** A client that offers HTTP/2 and gets HTTP/1.1 gets its cookie, too. */
const setsTheCookieOfAnOffer = Effect.fnUntraced(function*(server: Http.Server, options: Options) {
  const connection = yield* Http.connectTo(
    yield* server.start(makeApp(Http.makeProbe(), options), Http.makeSurroundings())
  )
  const offer = { "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__" }
  yield* connection.write(Http.requestText("GET /text", undefined, offer))
  const reply = yield* connection.reply()
  assert.deepStrictEqual([reply.status, Http.names(reply)], [200, [session]])
})

/** A client that goes away drops the data, and nothing else that was asked for. */
const survivesTheClient = Effect.fnUntraced(function*(server: Http.Server, change: "update" | "logout" | "renew") {
  const probe = Http.makeProbe()
  const port = yield* server.start(makeApp(probe, {}), Http.makeSurroundings())
  const jar = new Http.Jar()
  const staying = yield* Http.connectTo(port)
  yield* ask(staying, "/text", jar)

  const leaving = yield* Http.connectTo(port)
  probe.log.length = 0
  yield* leaving.write(Http.requestText(`GET /slow/${change}`, jar))
  yield* Http.eventually(() => probe.log.includes("waiting"), () => `the handler runs: ${probe.log}`)
  yield* leaving.abort
  yield* Http.eventually(() => probe.log.includes("over"), () => `the handler ends: ${probe.log}`)

  assert.deepStrictEqual(Http.writes(probe), { update: [], logout: ["revoke"], renew: ["supersede"] }[change])
  const { body } = yield* ask(staying, "/count", jar)
  assert.strictEqual(body, change === "update" ? "1" : "0")
})

// -----------------------------------------------------------------------------

describe.each(Http.servers)("$name", (server) => {
  describe.each(["memory", "cookie"] as const)("placement %s", (placement) => {
    describe.each(["per route", "globally", "both"] as const)("registered %s", (registered) => {
      it.live.each(kinds.filter((kind) => kind.unmatched !== true || registered !== "per route"))(
        "sets the cookie once on $name",
        (kind) => setsCookieOnce(server, kind, { placement, registered })
      )
    })
  })

  it.live.each(["per route", "globally", "both"] as const)(
    "sets every cookie of a long session once, registered %s",
    (registered) => setsEveryChunkOnce(server, { registered })
  )

  it.live.each(kinds)("commits before the flush of $name", (kind) => commitsBeforeTheFlush(server, kind))

  describe.each(["a typed failure", "a defect", "no answer"] as const)("a store with %s", (failure) => {
    it.live.each([true, false])(
      "fails cleanly, disableLogger: %s",
      (disableLogger) => failsCleanly(server, kinds, failure, { disableLogger })
    )

    it.live.each(["touch", "save"] as const)(
      "fails a read cleanly, where a %s is due",
      (due) => readsFailCleanly(server, failure, due)
    )
  })

  it.live("reads every Cookie header", () => readsEveryCookieHeader(server))

  it.live.each(["memory", "cookie"] as const)(
    "sets the cookie where the client offers HTTP/2, placement %s",
    (placement) => setsTheCookieOfAnOffer(server, { placement })
  )

  it.live.each(["update", "logout", "renew"] as const)(
    "a client that goes away: %s",
    (change) => survivesTheClient(server, change)
  )
})

// -----------------------------------------------------------------------------

const kindNamed = (name: string): Kind => kinds.find((kind) => kind.name === name) ?? assert.fail(`no kind ${name}`)

describe.each(Http.servers)("the checks catch, on $name,", (server) => {
  const text = kindNamed("text")
  const fails = (stack: Stack, failure: Failure, kind = text) => () =>
    failsCleanly(server, [kind], failure, {
      stack,
      registered: "per route",
      disableLogger: true,
      patience: 1000
    })

  catches(
    "a cookie that leaves before the write",
    () => commitsBeforeTheFlush(server, text, { stack: Stacks.acknowledgesEarly }),
    /bytes without an acknowledgement/
  )
  catches(
    "a write that fails when the cookie has left",
    fails(Stacks.acknowledgesEarly, "a typed failure"),
    /200 to equal 503/
  )
  catches("a store that is waited for for ever", fails(Stacks.waitsForEver, "no answer"), /Hung/)
  catches("a hook that fails", fails(Stacks.failsInTheHook, "a typed failure"), /Hung/)
  catches(
    "a handler's cookie on a failure",
    fails(Stacks.answersAnyway, "a typed failure", kindNamed("a handler with a cookie of its own")),
    /theme=dark/
  )
  catches("a cookie set twice", () => setsCookieOnce(server, text, { stack: Stacks.setsTwice }), /2 to equal 1/)
  it.live.each(
    kinds.filter(({ name }) => ["a typed failure", "a defect", "a response of outer middleware"].includes(name))
  )(
    "a wrapped handler, on $name",
    Effect.fnUntraced(function*(kind) {
      const exit = yield* Effect.exit(setsCookieOnce(server, kind, { stack: Stacks.wrapsTheHandler }))
      assert.isTrue(Exit.isFailure(exit))
    })
  )
})
