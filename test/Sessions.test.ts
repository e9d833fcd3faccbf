import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as Session from "../src/Session.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionEvents from "../src/SessionEvents.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import { layer as layerSessions, Sessions } from "../src/Sessions.ts"
import * as SessionStore from "../src/SessionStore.ts"

class Account extends Session.Service<Account>()("test/Account", { data: Schema.Struct({}), initial: {} }) {}

class Admin extends Session.Service<Admin>()("test/Admin", {
  data: Schema.Struct({}),
  initial: {},
  audience: "admin"
}) {}

const first = Redacted.make("the first of two secrets that nobody can guess")
const second = Redacted.make("the second of two secrets that nobody can guess")

const login = <Self, Id extends string>(session: Session.Class<Self, Id, {}, {}, never>) =>
  Effect.gen(function*() {
    const account = yield* session
    yield* account.login("alice")
    yield* account.commit
    return HttpServerResponse.text(Option.getOrThrow(yield* account.handle))
  })

const Routes = HttpRouter.addAll([
  HttpRouter.route("POST", "/login", login(Account)),
  HttpRouter.route("POST", "/admin", login(Admin)),
  HttpRouter.route("GET", "/me", Effect.as(Session.required(Account), HttpServerResponse.empty()))
])

/** A server with these settings over a store, and what its operator can do. */
const start = (store: SessionStore.Port, options: SessionConfig.Options) =>
  Effect.gen(function*() {
    const services = Layer.merge(SessionStore.layerPort(Effect.succeed(store)), SessionConfig.layer(options))
    const { handler } = yield* Effect.acquireRelease(
      Effect.sync(() =>
        HttpRouter.toWebHandler(
          Routes.pipe(Layer.provide(SessionHttp.layer(Account, Admin)), Layer.provide(services)),
          { disableLogger: true }
        )
      ),
      ({ dispose }) => Effect.promise(dispose)
    )
    const call = (method: string, path: string, cookie = "") =>
      Effect.promise(() => handler(new Request(`https://example.com${path}`, { method, headers: { cookie } })))
    return {
      sessions: yield* Effect.provide(Sessions, Layer.provide(layerSessions, services)),
      login: (path: string) =>
        Effect.flatMap(call("POST", path), (response) =>
          Effect.map(Effect.promise(() => response.text()), (handle) => ({
            handle,
            cookie: response.headers.getSetCookie()[0]?.split(";")[0] ?? ""
          }))),
      isLive: (cookie: string) => Effect.map(call("GET", "/me", cookie), ({ status }) => status === 204)
    }
  })

const memory = Effect.provide(SessionStore.SessionPort, SessionStore.layerMemory)

describe("Sessions", () => {
  it.effect("lists the sessions of a subject, with its audience", () =>
    Effect.gen(function*() {
      const { login, sessions } = yield* start(yield* memory, { secret: first })
      const phone = yield* login("/login")
      const laptop = yield* login("/login")
      const admin = yield* login("/admin")
      const handles = (listed: ReadonlyArray<SessionStore.Listed>) => listed.map(({ handle }) => handle).toSorted()
      assert.deepStrictEqual(
        handles(yield* sessions.list(Account, "alice")),
        [phone.handle, laptop.handle].toSorted()
      )
      assert.deepStrictEqual(handles(yield* sessions.list(Admin, "alice")), [admin.handle])
      assert.deepStrictEqual(yield* sessions.list(Account, "bob"), [])
    }))

  it.effect("ends one by its handle, and tells the listener", () =>
    Effect.gen(function*() {
      const events: Array<SessionEvents.SessionEvent> = []
      const { isLive, login, sessions } = yield* start(yield* memory, { secret: first })
      const phone = yield* login("/login")
      const laptop = yield* login("/login")
      const ended = sessions.revoke(phone.handle).pipe(
        Effect.provideService(SessionEvents.listener, (event) => Effect.sync(() => events.push(event)))
      )
      assert.isTrue(yield* ended)
      assert.isFalse(yield* ended)
      assert.deepStrictEqual(events, [{ _tag: "SessionEnded", handle: phone.handle }])
      assert.isFalse(yield* isLive(phone.cookie))
      assert.isTrue(yield* isLive(laptop.cookie))
    }))

  it.effect("ends all of a subject but one", () =>
    Effect.gen(function*() {
      const { isLive, login, sessions } = yield* start(yield* memory, { secret: first })
      const phone = yield* login("/login")
      const laptop = yield* login("/login")
      assert.strictEqual(yield* sessions.revokeAll(Account, "alice", { except: Option.some(phone.handle) }), 1)
      assert.isTrue(yield* isLive(phone.cookie))
      assert.isFalse(yield* isLive(laptop.cookie))
      assert.strictEqual(yield* sessions.revokeAll(Account, "alice"), 1)
      assert.isFalse(yield* isLive(phone.cookie))
    }))

  it.effect("finds under a new key what was listed under an old one", () =>
    Effect.gen(function*() {
      const port = yield* memory
      const before = yield* start(port, { secret: first })
      const phone = yield* before.login("/login")
      const forgetful = yield* start(port, { secret: second })
      assert.deepStrictEqual(yield* forgetful.sessions.list(Account, "alice"), [])
      const rotated = yield* start(port, { secret: second, secretFallbacks: [first] })
      assert.strictEqual((yield* rotated.sessions.list(Account, "alice")).length, 1)
      assert.strictEqual(yield* rotated.sessions.revokeAll(Account, "alice"), 1)
      assert.isFalse(yield* rotated.isLive(phone.cookie))
    }))

  it.effect("keeps subjects out of the index in clear, unless told otherwise", () =>
    Effect.gen(function*() {
      const port = yield* memory
      const hashed = yield* start(port, { secret: first })
      yield* hashed.login("/login")
      assert.deepStrictEqual(yield* port.list("default", ["alice"], 0), [])
      const clear = yield* start(port, { secret: first, hashSubject: false })
      yield* clear.login("/login")
      assert.strictEqual((yield* port.list("default", ["alice"], 0)).length, 1)
    }))
})
