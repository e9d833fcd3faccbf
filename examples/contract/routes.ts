/** Every promise of the library behind a plain route. All answer JSON. */
import { Context, Data, Effect, Option, Ref, Schedule, Schema, Stream } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerRespondable, HttpServerResponse } from "effect/http"
import * as Session from "../../src/Session.ts"
import type { Sessions } from "../../src/Sessions.ts"
import { Controls } from "./controls.ts"
import type { Faults } from "./faults.ts"

/** A user, and a value for each key that was set. */
export class State extends Session.Service<State>()("contract/State", {
  data: Schema.Record(Schema.String, Schema.String),
  initial: {}
}) {}

/** What the routes need beside the session. */
export class Store extends Context.Service<Store, {
  readonly faults: Ref.Ref<Faults>
  /** How many sessions the store holds. */
  readonly rows: Effect.Effect<number>
  /** None with cookie placement, which can neither list nor revoke. */
  readonly sessions: Option.Option<Sessions["Service"]>
}>()("contract/Store") {}

const json = (body: unknown, status = 200) => HttpServerResponse.jsonUnsafe(body, { status })

const notLoggedIn = json({ error: "not logged in" }, 401)

const unsupported = json({ error: "cookie placement cannot list or revoke" }, 501)

class Failed extends Data.TaggedError("Failed") {
  [HttpServerRespondable.symbol]() {
    return Effect.succeed(json({ error: "a typed failure, as asked" }, 422))
  }
}

const query = Effect.map(HttpServerRequest.ParsedSearchParams, (params) => ({
  /** A parameter as text; the first, where it is given twice. */
  text: (name: string): string => [params[name] ?? ""].flat()[0] ?? "",
  number: (name: string): number => Number([params[name] ?? 0].flat()[0])
}))

/** As many milliseconds as the parameter `ms` says. */
const pause = Effect.flatMap(query, ({ number }) => Controls.use(({ pause }) => pause(number("ms"))))

const describe = Effect.gen(function*() {
  const state = yield* State
  return {
    user: Option.getOrNull(yield* state.subject),
    data: yield* state.get,
    handle: Option.getOrNull(yield* state.handle)
  }
})

const login = Effect.gen(function*() {
  const { text } = yield* query
  const state = yield* State
  yield* state.login(text("user"))
  return text("user")
})

/** Runs with the sessions of the user who asks; 401 without a login, 501 without a store. */
const withSessions = <E, R>(
  f: (user: string, sessions: Sessions["Service"]) => Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
) =>
  Effect.gen(function*() {
    const state = yield* State
    const user = yield* state.subject
    const { sessions } = yield* Store
    if (Option.isNone(user)) return notLoggedIn
    return Option.isNone(sessions) ? unsupported : yield* f(user.value, sessions.value)
  })

const ticks = Stream.fromSchedule(Schedule.spaced("20 millis")).pipe(
  Stream.take(5),
  Stream.map((n) => `${JSON.stringify({ n })}\n`),
  Stream.encodeText
)

const routes = [
  HttpRouter.route("POST", "/login", Effect.map(login, (user) => json({ user }))),

  HttpRouter.route("GET", "/redirect-login", Effect.as(login, HttpServerResponse.redirect("/me"))),

  HttpRouter.route(
    "GET",
    "/me",
    Effect.map(describe, (me) => me.user === null ? notLoggedIn : json(me))
  ),

  HttpRouter.route(
    "POST",
    "/set",
    Effect.gen(function*() {
      const { text } = yield* query
      const state = yield* State
      yield* state.get
      yield* pause
      yield* state.update((data) => ({ ...data, [text("k")]: text("v") }))
      return json({ data: yield* state.get })
    })
  ),

  HttpRouter.route(
    "GET",
    "/read",
    Effect.gen(function*() {
      const me = yield* describe
      yield* pause
      return json(me)
    })
  ),

  HttpRouter.route(
    "POST",
    "/renew",
    Effect.gen(function*() {
      const state = yield* State
      yield* state.get
      yield* pause
      yield* state.renew
      return json({ renewed: true })
    })
  ),

  HttpRouter.route(
    "POST",
    "/logout",
    Effect.gen(function*() {
      const state = yield* State
      yield* state.get
      yield* pause
      yield* state.logout
      return json({ loggedOut: true })
    })
  ),

  HttpRouter.route(
    "GET",
    "/stream",
    Effect.gen(function*() {
      const state = yield* State
      yield* state.update((data) => ({ ...data, streamed: "yes" }))
      yield* state.commit
      return HttpServerResponse.stream(ticks, { contentType: "application/x-ndjson" })
    })
  ),

  HttpRouter.route(
    "GET",
    "/fail",
    Effect.gen(function*() {
      const { text } = yield* query
      const state = yield* State
      yield* state.update((data) => ({ ...data, [text("k")]: "set before the failure" }))
      switch (text("kind")) {
        case "typed":
          return yield* new Failed()
        case "defect":
          return yield* Effect.die(new Error("a defect, as asked"))
        case "interrupt":
          return yield* Effect.interrupt
        default:
          return json({ error: "kind is typed, defect or interrupt" }, 400)
      }
    })
  ),

  HttpRouter.route(
    "GET",
    "/sessions",
    withSessions((user, sessions) => Effect.map(sessions.list(State, user), (list) => json({ sessions: list })))
  ),

  HttpRouter.route(
    "POST",
    "/revoke",
    withSessions(Effect.fnUntraced(function*(user, sessions) {
      const { text } = yield* query
      const own = yield* sessions.list(State, user)
      // A handle is public: only that it is one's own makes it a permission.
      if (!own.some(({ handle }) => handle === text("handle"))) return json({ revoked: false }, 404)
      return json({ revoked: yield* sessions.revoke(text("handle")) })
    }))
  ),

  HttpRouter.route(
    "POST",
    "/revoke-all",
    withSessions((user, sessions) => Effect.map(sessions.revokeAll(State, user), (revoked) => json({ revoked })))
  ),

  HttpRouter.route("GET", "/_rows", Effect.flatMap(Store, ({ rows }) => Effect.map(rows, (rows) => json({ rows })))),

  HttpRouter.route(
    "POST",
    "/_fault",
    Effect.gen(function*() {
      const { number, text } = yield* query
      const { faults } = yield* Store
      const set = { delay: number("delay"), fail: text("fail") === "1" || text("fail") === "true" }
      yield* Ref.set(faults, set)
      return json(set)
    })
  ),

  HttpRouter.route(
    "GET",
    "/_paused",
    Effect.map(Controls.use(({ paused }) => paused), (paused) => json({ paused }))
  ),

  HttpRouter.route("POST", "/_resume", Effect.as(Controls.use(({ resume }) => resume), json({ resumed: true }))),

  HttpRouter.route(
    "POST",
    "/_clock",
    Effect.gen(function*() {
      const ahead = (yield* query).number("ahead")
      yield* Controls.use(({ advance }) => advance(ahead))
      return json({ ahead })
    })
  )
] as const

export const layer = HttpRouter.addAll(routes)
