import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Schema, Stream } from "effect"
import { HttpEffect, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as Session from "../src/Session.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import type { SessionError } from "../src/SessionError.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import * as SessionStore from "../src/SessionStore.ts"
import { commitsTwice, sound } from "./fixtures/brokenStacks.ts"
import type { Stack } from "./fixtures/brokenStacks.ts"
import * as Http from "./utils/http.ts"
import * as Shop from "./utils/shop.ts"
import { Account, add, Cart, eventsOf, items, openWithCart, reasonOf, valueOf } from "./utils/shop.ts"

const everyPlacement = describe.each(["memory", "cookie"] as const)

// -----------------------------------------------------------------------------

/** Two classes in two layers on one route share one exchange: both changes, one write. */
const commitsOnce = Effect.fnUntraced(function*(stack: Stack) {
  const shop = yield* Shop.openWith<Cart | Account>(
    (routes) => routes.pipe(Layer.provide(stack.layer(Cart)), Layer.provide(stack.layer(Account))),
    { stack }
  )
  const jar = new Http.Jar()
  yield* shop.ask(jar, Effect.andThen(add("tea"), Account.use((account) => account.set({ name: "Alice" }))))
  assert.deepStrictEqual(Http.writes(shop.probe), ["create"])
  const name = Account.use((account) => account.get)
  assert.deepStrictEqual(yield* shop.ask(jar, Effect.zip(items, name)), [["tea"], Option.some({ name: "Alice" })])
})

describe("registration", () => {
  it.live("two classes in two layers on one route commit once", () => commitsOnce(sound))

  it.live("and the check catches a stack that commits twice", () =>
    Effect.map(Effect.exit(commitsOnce(commitsTwice)), (exit) => assert.isTrue(Exit.isFailure(exit))))

  it.live("globally and on a route, a session commits once", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.openWith<Cart>((routes) =>
        Layer.merge(routes.pipe(Layer.provide(SessionHttp.layer(Cart))), SessionHttp.layerGlobal(Cart, Account))
      )
      const jar = new Http.Jar()
      yield* shop.ask(jar, add("tea"))
      yield* shop.ask(jar, add("milk"))
      assert.deepStrictEqual(Http.writes(shop.probe), ["create", "supersede"])
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea", "milk"])
    }))

  it.live("a route without the layer knows no session", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.openWith<Cart>((routes) =>
        Layer.merge(
          routes.pipe(Layer.provide(SessionHttp.layer(Cart))),
          HttpRouter.add(
            "GET",
            "/plain",
            Effect.map(Effect.serviceOption(Cart), (cart) => HttpServerResponse.text(cart._tag))
          )
        )
      )
      const jar = new Http.Jar()
      yield* shop.ask(jar, add("tea"))
      shop.time.advance(61)
      const reply = yield* shop.send("/plain", { jar })
      assert.deepStrictEqual([reply.body, reply.setCookies, reply.headers["vary"]], ["None", [], undefined])
    }))

  it.live("two configurations side by side have their own cookies", () =>
    Effect.gen(function*() {
      class Admin extends Session.Service<Admin>()("Admin", { data: Schema.String, initial: "" }) {}
      const admins = SessionHttp.layer(Admin).pipe(
        Layer.provide(SessionStore.layerCookie),
        Layer.provide(SessionConfig.layer({ secret: Shop.secret, cookieName: "admin" }))
      )
      const shop = yield* Shop.openWith<Cart | Admin>((routes) =>
        routes.pipe(Layer.provide(SessionHttp.layer(Cart)), Layer.provide(Layer.orDie(admins)))
      )
      const jar = new Http.Jar()
      const admin = Admin.use((admin) => admin.get)
      const reply = yield* shop.visit(jar, Effect.andThen(add("tea"), Admin.use((admin) => admin.set("root"))))
      assert.deepStrictEqual(Http.names(reply).toSorted(), ["__Host-admin", Shop.cookie])
      assert.deepStrictEqual(Http.writes(shop.probe), ["create"])
      assert.deepStrictEqual(yield* shop.ask(jar, Effect.zip(items, admin)), [["tea"], "root"])
      yield* shop.ask(jar, Cart.use((cart) => cart.logout))
      assert.deepStrictEqual(yield* shop.ask(jar, Effect.zip(items, admin)), [[], "root"])
    }))

  it.live("two configurations of one cookie are told apart from one, loudly", () =>
    Effect.gen(function*() {
      class Admin extends Session.Service<Admin>()("Admin", { data: Schema.String, initial: "" }) {}
      const again = SessionHttp.layer(Admin).pipe(
        Layer.provide(SessionStore.layerCookie),
        Layer.provide(Layer.orDie(SessionConfig.layer({ secret: Shop.secret })))
      )
      const shop = yield* Shop.openWith<Cart | Admin>((routes) =>
        routes.pipe(Layer.provide(SessionHttp.layer(Cart)), Layer.provide(again))
      )
      const { setCookies, status } = yield* shop.send("/visits/1")
      assert.deepStrictEqual([status, setCookies], [500, []])
    }))

  it.live.each([true, false])(
    "where the store of one configuration fails, so does the response, outside: %s",
    (outside) =>
      Effect.gen(function*() {
        class Admin extends Session.Service<Admin>()("Admin", { data: Schema.String, initial: "" }) {}
        const carts = SessionHttp.layer(Cart)
        const admins = SessionHttp.layer(Admin).pipe(
          Layer.provide(SessionStore.layerCookie),
          Layer.provide(SessionConfig.layer({ secret: Shop.secret, cookieName: "admin" })),
          Layer.orDie
        )
        const shop = yield* Shop.openWith<Cart | Admin>((routes) =>
          outside
            ? routes.pipe(Layer.provide(admins), Layer.provide(carts))
            : routes.pipe(Layer.provide(carts), Layer.provide(admins))
        )
        shop.probe.around(() => Effect.die(new Error("down")))
        const both = Effect.andThen(add("tea"), Admin.use((admin) => admin.set("root")))
        const reply = yield* shop.visit(undefined, both)
        assert.strictEqual(reply.status, 503)
        assert.notInclude(Http.names(reply), Shop.cookie)
      })
  )

  it.live("a handler that is cut short by other middleware drops its data", () =>
    Effect.gen(function*() {
      const hurried = HttpRouter.middleware((handler) =>
        Effect.timeoutOrElse(handler, {
          duration: "20 millis",
          orElse: () => Effect.succeed(HttpServerResponse.text("too slow", { status: 504 }))
        })
      ).layer
      const shop = yield* Shop.openWith<Cart>((routes) =>
        routes.pipe(Layer.provide(SessionHttp.layer(Cart)), Layer.provide(hurried))
      )
      const jar = new Http.Jar()
      const { setCookies, status } = yield* shop.visit(jar, Effect.andThen(add("tea"), Effect.never))
      assert.deepStrictEqual([status, setCookies], [504, []])
      assert.deepStrictEqual(Http.writes(shop.probe), [])
    }))

  it.live.each([false, true])(
    "a defect drops the data, whoever makes a page of it, registered globally too: %s",
    (globally) =>
      Effect.gen(function*() {
        const page = HttpRouter.middleware((handler) =>
          Effect.catchDefect(handler, () => Effect.succeed(HttpServerResponse.text("sorry", { status: 500 })))
        ).layer
        const shop = yield* Shop.openWith<Cart>((routes) =>
          Layer.merge(
            routes.pipe(Layer.provide(SessionHttp.layer(Cart)), Layer.provide(page)),
            globally ? SessionHttp.layerGlobal(Cart) : Layer.empty
          )
        )
        const reply = yield* shop.visit(undefined, Effect.andThen(add("tea"), Effect.die(new Error("a bug"))))
        assert.deepStrictEqual([reply.status, reply.body, reply.setCookies], [500, "sorry", []])
        assert.deepStrictEqual(Http.writes(shop.probe), [])
      })
  )

  it.live("a response that is thrown as a defect commits", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open()
      const jar = new Http.Jar()
      const thrown = Effect.die(HttpServerResponse.text("stop", { status: 403 }))
      const { setCookies, status } = yield* shop.visit(jar, Effect.andThen(add("tea"), thrown))
      assert.deepStrictEqual([status, setCookies.length], [403, 1])
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea"])
    }))
})

// -----------------------------------------------------------------------------

describe("reading is free", () => {
  it.live("a request that never asks loads nothing and says nothing", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const reply = yield* shop.visit(jar, Effect.void)
      assert.deepStrictEqual(shop.probe.log, [])
      assert.deepStrictEqual([reply.setCookies, reply.headers["vary"]], [[], undefined])
    }))

  it.live("a request without cookies loads nothing and writes nothing", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open()
      const reply = yield* shop.visit(undefined, Effect.zip(items, Cart.use((cart) => cart.exists)))
      assert.deepStrictEqual(reply.exit, Exit.succeed([[], false]))
      assert.deepStrictEqual([shop.probe.log, reply.setCookies, eventsOf(shop)], [[], [], []])
    }))

  const bogus: { readonly [name: string]: (value: string) => string } = {
    "is empty": () => "",
    "is not base64url": (value) => `!${value.slice(1)}`,
    "is too short": (value) => value.slice(0, 109),
    "has another MAC": (value) => value.slice(0, 100) + (value[100] === "A" ? "B" : "A") + value.slice(101),
    "has another sid": (value) => value.slice(0, 10) + (value[10] === "A" ? "B" : "A") + value.slice(11),
    "is of cookie placement": (value) => `AQAA${value.slice(4)}`
  }
  it.live.each(Object.keys(bogus))(
    "a cookie that %s loads nothing and writes nothing",
    (name) =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithCart()
        jar.set(Shop.cookie, bogus[name]?.(valueOf(jar)) ?? assert.fail())
        const reply = yield* shop.visit(jar, Effect.zip(items, Cart.use((cart) => cart.exists)))
        assert.deepStrictEqual(reply.exit, Exit.succeed([[], false]))
        assert.deepStrictEqual([shop.probe.log, reply.setCookies], [[], []])
        assert.deepStrictEqual(eventsOf(shop), ["SessionRefused"])
      })
  )

  it.live("a planted cookie does not hide the session", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const value = valueOf(jar)
      const planted = { cookie: `${Shop.cookie}=planted; ${Shop.cookie}=${value}` }
      const reply = yield* shop.visit(undefined, items, { headers: planted })
      assert.deepStrictEqual(reply.exit, Exit.succeed(["tea"]))
    }))

  it.live("of several cookies that are refused, the first says why", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      shop.time.advance(901)
      const headers = { cookie: `${Shop.cookie}=${valueOf(jar)}; ${Shop.cookie}=planted` }
      const reply = yield* shop.visit(undefined, Shop.refusal, { headers })
      assert.deepStrictEqual(reply.exit, Exit.succeed(Option.some("IdlingTimeout")))
      assert.deepStrictEqual(shop.events, [{ _tag: "SessionRefused", reason: "IdlingTimeout" }])
    }))

  it.live("a read loads once and writes nothing", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      // So that all of them ask before any has its answer.
      shop.probe.around((_operation, run) => Effect.delay(run, "5 millis"))
      const reads = Effect.all([items, items, Cart.use((cart) => cart.exists), Account.use((account) => account.get)], {
        concurrency: "unbounded"
      })
      const reply = yield* shop.visit(jar, reads)
      assert.deepStrictEqual(reply.exit, Exit.succeed([["tea"], ["tea"], true, Option.none()]))
      assert.deepStrictEqual([shop.probe.log, reply.setCookies], [["load", "load done"], []])
    }))

  it.live("an unknown version is refused, and nothing is written", () =>
    Effect.gen(function*() {
      const { jar } = yield* openWithCart()
      const other = yield* Shop.open()
      const reply = yield* other.visit(jar, Shop.refusal)
      assert.deepStrictEqual(reply.exit, Exit.succeed(Option.some("NotStored")))
      assert.deepStrictEqual([Http.writes(other.probe), reply.setCookies], [[], []])
      assert.deepStrictEqual(other.events, [{ _tag: "SessionRefused", reason: "NotStored" }])
    }))

  it.live.each(
    [
      ["InvalidPayload", "is cut short", (data: Uint8Array) => data.slice(1)],
      ["DecryptionFailed", "was changed", (data: Uint8Array) => data.map((byte) => byte ^ 1)]
    ] as const
  )("a row is refused with %s where it %s", ([refusal, , damage]) =>
    Effect.gen(function*() {
      const stack: Stack = {
        ...sound,
        store: ({ layer }) =>
          SessionStore.layerPort(Effect.map(SessionStore.SessionPort, (port): SessionStore.Port => ({
            ...port,
            load: (key, now) =>
              Effect.map(
                port.load(key, now),
                (row) => row?._tag === "Current" ? { ...row, data: damage(row.data) } : row
              )
          }))).pipe(Layer.provide(layer))
      }
      const { jar, shop } = yield* openWithCart({ stack })
      assert.deepStrictEqual(yield* shop.ask(jar, Effect.zip(items, Shop.refusal)), [[], Option.some(refusal)])
    }))

  it.live("that a new version was seen is noted once", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      yield* shop.ask(jar, add("milk"))
      shop.probe.log.length = 0
      yield* shop.ask(jar, items)
      yield* Http.eventually(() => shop.probe.log.includes("note done"), () => String(shop.probe.log))
      yield* shop.ask(jar, items)
      assert.deepStrictEqual(shop.probe.log.filter((event) => event === "note").length, 1)
      assert.deepStrictEqual(Http.writes(shop.probe), [])
    }))

  it.live("a read that was interrupted does not poison later ones", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const gate = yield* Http.hold(shop.probe, "load")
      const interrupted = Effect.gen(function*() {
        const reading = yield* Effect.forkChild(items)
        yield* gate.reached
        yield* Fiber.interrupt(reading)
        return yield* items
      })
      assert.deepStrictEqual(yield* shop.ask(jar, interrupted), ["tea"])
    }))

  it.live("a read beside one that is interrupted goes on", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const gate = yield* Http.hold(shop.probe, "load")
      const both = Effect.gen(function*() {
        const first = yield* Effect.forkChild(items)
        const second = yield* Effect.forkChild(items)
        yield* gate.reached
        yield* Fiber.interrupt(first)
        return yield* Fiber.join(second)
      })
      assert.deepStrictEqual(yield* shop.ask(jar, both), ["tea"])
    }))
})

// -----------------------------------------------------------------------------

describe("headers", () => {
  const text = (headers: Record<string, string> = {}) => HttpServerResponse.text("", { headers })

  everyPlacement("with placement %s, a response varies with the cookie", (placement) => {
    it.live.each([
      ["where the data were read", items],
      ["where it was asked whether there is a session", Cart.use((cart) => cart.exists)],
      ["where it was asked why there is none", Shop.refusal],
      ["where it was required", Effect.exit(Session.required(Account))]
    ] as ReadonlyArray<readonly [string, Shop.Handler<unknown>]>)("%s", ([, handler]) =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithCart({ placement })
        const known = yield* shop.visit(jar, handler)
        const unknown = yield* shop.visit(undefined, handler)
        assert.deepStrictEqual([known.headers["vary"], unknown.headers["vary"]], ["Cookie", "Cookie"])
      }))
  })

  it.live.each(
    [
      ["Accept-Encoding", "Accept-Encoding, Cookie"],
      ["accept, cookie", "accept, cookie"],
      ["*", "*"],
      ["X-Cookie", "X-Cookie, Cookie"]
    ] as const
  )("Vary: %s is kept", ([vary, expected]) =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const handler = Effect.as(items, text({ vary }))
      assert.strictEqual((yield* shop.visit(jar, handler)).headers["vary"], expected)
      shop.time.advance(61)
      assert.strictEqual((yield* shop.visit(jar, handler)).headers["vary"], expected)
    }))

  it.live("a response that sets the cookie is not stored, whatever the handler says", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const cached = text({ "cache-control": "public, s-maxage=3600" })
      const setting = yield* shop.visit(jar, Effect.as(add("milk"), cached))
      assert.strictEqual(setting.headers["cache-control"], "no-store")
      const clearing = yield* shop.visit(jar.copy(), Effect.as(Cart.use((cart) => cart.destroy), cached))
      assert.strictEqual(clearing.headers["cache-control"], "no-store")
      const quiet = yield* shop.visit(jar, Effect.as(items, cached))
      assert.strictEqual(quiet.headers["cache-control"], "public, s-maxage=3600")
    }))

  everyPlacement("with placement %s,", (placement) => {
    it.live("a deletion repeats the attributes of what it deletes", () =>
      Effect.gen(function*() {
        const settings: SessionConfig.Options = {
          cookiePrefix: "__Secure-",
          cookieDomain: "shop.example",
          cookiePath: "/visits",
          cookieSameSite: "None",
          cookiePriority: "High",
          cookiePartitioned: true
        }
        const shop = yield* Shop.open({ placement, settings })
        const jar = new Http.Jar()
        const set = yield* shop.visit(jar, add("tea"))
        const clear = yield* shop.visit(jar, Cart.use((cart) => cart.logout))
        const attributes = (setCookie = "") => setCookie.slice(setCookie.indexOf(";"))
        assert.include(
          attributes(set.setCookies[0]),
          "; Domain=shop.example; Path=/visits; SameSite=None; Priority=High"
        )
        assert.deepStrictEqual(clear.setCookies, [
          `__Secure-session=${attributes(set.setCookies[0])}; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0`
        ])
      }))

    it.live("a handler's own cookies go out beside the session's", () =>
      Effect.gen(function*() {
        const shop = yield* Shop.open({ placement })
        const jar = new Http.Jar()
        const themed = HttpServerResponse.setCookieUnsafe(HttpServerResponse.text(""), "theme", "a b", { path: "/" })
        const own = "theme=a%20b; Path=/"
        assert.deepStrictEqual((yield* shop.visit(jar, Effect.as(add("tea"), themed))).setCookies[0], own)
        assert.deepStrictEqual((yield* shop.visit(jar, Effect.as(items, themed))).setCookies, [own])
        const { setCookies } = yield* shop.visit(jar, Effect.as(Cart.use((cart) => cart.logout), themed))
        assert.deepStrictEqual([setCookies.length, setCookies[0]], [2, own])
      }))

    it.live("properties go into response headers", () =>
      Effect.gen(function*() {
        const shop = yield* Shop.open({
          placement,
          settings: { responseHeaders: ["id", "audience", "subject", "timeout", "absolute-timeout"] }
        })
        const jar = new Http.Jar()
        const none = yield* shop.visit(jar, Effect.void)
        assert.isFalse(Object.keys(none.headers).some((name) => name.startsWith("session-")))
        yield* shop.ask(jar, Effect.andThen(add("tea"), Cart.use((cart) => cart.login("alice"))))
        shop.time.advance(30)
        const { headers } = yield* shop.visit(jar, Effect.void)
        assert.deepInclude(headers, {
          "session-audience": "default",
          "session-subject": "alice",
          "session-timeout": "870",
          "session-absolute-timeout": "86370"
        })
        const handle = yield* shop.ask(jar, Cart.use((cart) => cart.handle))
        assert.strictEqual(headers["session-id"], Option.getOrUndefined(handle))
        const ended = yield* shop.visit(jar, Cart.use((cart) => cart.destroy))
        assert.isFalse(Object.keys(ended.headers).some((name) => name.startsWith("session-")))
      }))

    it.live("properties go into the request that handlers see, and a client's own do not", () =>
      Effect.gen(function*() {
        const shop = yield* Shop.open({ placement, settings: { requestHeaders: ["subject", "audience"] } })
        const jar = new Http.Jar()
        const seen = Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) => [
          headers["session-subject"],
          headers["session-audience"],
          headers["session-id"]
        ])
        const spoofed = { headers: { "Session-Subject": "root", "session-audience": "root", "session-id": "kept" } }
        assert.deepStrictEqual(
          (yield* shop.visit(jar, seen, spoofed)).exit,
          Exit.succeed([undefined, undefined, "kept"])
        )
        yield* shop.ask(jar, Cart.use((cart) => cart.login("alice")))
        assert.deepStrictEqual((yield* shop.visit(jar, seen, spoofed)).exit, Exit.succeed(["alice", "default", "kept"]))
      }))
  })
})

// -----------------------------------------------------------------------------

describe("committing", () => {
  it.live("commit acknowledges before the handler goes on, and the response sets the cookie", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open()
      const jar = new Http.Jar()
      const committed = Effect.gen(function*() {
        yield* add("tea")
        yield* Cart.use((cart) => cart.commit)
        const log = [...shop.probe.log]
        const handle = yield* Cart.use((cart) => cart.handle)
        return { log, handle, items: yield* items }
      })
      const reply = yield* shop.visit(jar, committed)
      const { handle, items: read, log } = Exit.getSuccess(reply.exit).pipe(Option.getOrThrow)
      assert.deepStrictEqual([log, read, Option.isSome(handle)], [["create", "create done"], ["tea"], true])
      assert.deepStrictEqual(Http.names(reply), [Shop.cookie])
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea"])
    }))

  it.live("committing twice, or twice at once, is committing once", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open()
      const commit = Cart.use((cart) => cart.commit)
      const twice = Effect.all([commit, commit], { concurrency: "unbounded" })
      const reply = yield* shop.visit(undefined, Effect.andThen(Effect.andThen(add("tea"), twice), commit))
      assert.deepStrictEqual([Http.names(reply), Http.writes(shop.probe)], [[Shop.cookie], ["create"]])
    }))

  const changes: { readonly [name: string]: Effect.Effect<void, SessionError, Cart> } = {
    set: Cart.use((cart) => cart.set({ items: [] })),
    update: add("late"),
    login: Cart.use((cart) => cart.login("alice")),
    setSubject: Cart.use((cart) => cart.setSubject("alice")),
    renew: Cart.use((cart) => cart.renew),
    logout: Cart.use((cart) => cart.logout),
    destroy: Cart.use((cart) => cart.destroy)
  }
  it.live.each(Object.keys(changes))(
    "%s after the commit fails, and is not recorded",
    (name) =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithCart()
        const late = reasonOf(changes[name] ?? assert.fail())
        const handler = Effect.andThen(Effect.andThen(add("milk"), Cart.use((cart) => cart.commit)), late)
        assert.strictEqual(yield* shop.ask(jar, handler), "AlreadyCommitted")
        assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea", "milk"])
      })
  )

  it.live("a change in a later hook fails", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const late = yield* Deferred.make<string>()
      const handler = Cart.use((cart) =>
        HttpEffect.appendPreResponseHandler((_request, response) =>
          Effect.as(
            Effect.flatMap(reasonOf(cart.set({ items: [] })), (reason) => Deferred.succeed(late, reason)),
            response
          )
        )
      )
      yield* shop.ask(jar, handler)
      assert.strictEqual(yield* Deferred.await(late), "AlreadyCommitted")
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea"])
    }))

  it.live("a change in the stream of a response fails, and what it reads is what was committed", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const handler = Cart.use((cart) =>
        Effect.as(
          add("milk"),
          HttpServerResponse.stream(Stream.encodeText(Stream.fromEffect(
            Effect.zipWith(reasonOf(cart.set({ items: [] })), cart.get, (reason, { items }) => `${reason} ${items}`)
          )))
        )
      )
      const { body } = yield* shop.visit(jar, handler)
      assert.strictEqual(body, "AlreadyCommitted tea,milk")
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea", "milk"])
    }))

  it.live("a commit that fails is typed, is not tried again, and leaves the client its cookie", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ settings: { commitTimeout: "50 millis" } })
      shop.probe.around((operation, run) => operation === "supersede" ? Effect.never : run)
      const reply = yield* shop.visit(jar, Effect.andThen(add("milk"), reasonOf(Cart.use((cart) => cart.commit))))
      assert.deepStrictEqual([reply.status, reply.exit], [200, Exit.succeed("StoreFailed")])
      assert.deepStrictEqual([reply.setCookies, Http.writes(shop.probe)], [[], ["supersede"]])
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea"])
    }))

  it.live("a store that fails to open is typed where the handler asks for it", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      shop.time.advance(61)
      shop.probe.around(() => Effect.die(new Error("down")))
      const reply = yield* shop.visit(jar, reasonOf(Cart.use((cart) => cart.open)))
      assert.deepStrictEqual([reply.status, reply.exit, reply.setCookies], [200, Exit.succeed("StoreFailed"), []])
    }))

  it.live("a defect drops the data of the request, and carries out a renewal that was asked for", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const old = jar.copy()
      const dies = Effect.die(new Error("a bug"))
      const reply = yield* shop.visit(
        jar,
        Effect.andThen(Effect.andThen(add("milk"), Cart.use((cart) => cart.renew)), dies)
      )
      assert.deepStrictEqual([reply.status, Http.names(reply)], [500, [Shop.cookie]])
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea"])
      assert.deepStrictEqual(yield* shop.ask(old, items), [])
    }))

  it.live("a defect does not undo a logout, and drops what was set since", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const old = jar.copy()
      const ends = Effect.andThen(Cart.use((cart) => cart.destroy), add("milk"))
      const reply = yield* shop.visit(jar, Effect.andThen(ends, Effect.die(new Error("a bug"))))
      assert.deepStrictEqual([reply.status, Http.names(reply)], [500, [Shop.cookie]])
      assert.isUndefined(jar.header)
      assert.deepStrictEqual(yield* shop.ask(old, items), [])
    }))

  it.live("a defect keeps the logout of one part, and drops the data of the other", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      yield* shop.ask(jar, Account.use((account) => account.set({ name: "Alice" })))
      const leaves = Effect.andThen(add("milk"), Account.use((account) => account.logout))
      yield* shop.visit(jar, Effect.andThen(leaves, Effect.die(new Error("a bug"))))
      assert.deepStrictEqual(
        yield* shop.ask(jar, Effect.zip(items, Account.use((account) => account.exists))),
        [["tea"], false]
      )
    }))
})

// -----------------------------------------------------------------------------

describe("sessions that were ended meanwhile", () => {
  const overtaken = Effect.fnUntraced(function*(settings: SessionConfig.Options, handler: Shop.Handler<unknown>) {
    const { jar, shop } = yield* openWithCart({ settings })
    const gate = yield* Http.hold(shop.probe, "supersede")
    const running = yield* Effect.forkChild(shop.visit(jar, handler))
    yield* gate.reached
    yield* shop.ask(jar.copy(), Cart.use((cart) => cart.destroy))
    yield* gate.release
    return yield* Fiber.join(running)
  })

  it.live("by default the response goes out without a session cookie", () =>
    Effect.gen(function*() {
      const reply = yield* overtaken({}, Effect.as(add("late"), HttpServerResponse.text("as ever")))
      assert.deepStrictEqual([reply.status, reply.body, reply.setCookies], [200, "as ever", []])
    }))

  it.live("with onGone: \"fail\" it turns into a 409", () =>
    Effect.gen(function*() {
      const own = HttpServerResponse.setCookieUnsafe(HttpServerResponse.text("as ever"), "theme", "dark")
      const reply = yield* overtaken({ onGone: "fail" }, Effect.as(add("late"), own))
      assert.deepStrictEqual([reply.status, reply.body, reply.setCookies], [409, "", []])
      assert.strictEqual(reply.headers["cache-control"], "no-store")
    }))

  it.live("a commit that was asked for fails with Gone", () =>
    Effect.gen(function*() {
      const commit = reasonOf(Cart.use((cart) => cart.commit))
      const reply = yield* overtaken({}, Effect.andThen(add("late"), commit))
      assert.deepStrictEqual([reply.exit, reply.setCookies], [Exit.succeed("Gone"), []])
    }))

  it.live("a SessionError that nobody handles has its own status", () =>
    Effect.gen(function*() {
      const reply = yield* overtaken({}, Effect.andThen(add("late"), Cart.use((cart) => cart.commit)))
      assert.deepStrictEqual([reply.status, reply.setCookies], [409, []])
    }))
})

// -----------------------------------------------------------------------------

describe("required", () => {
  it.live("fails where the client has no session of the class, and yields it where there is one", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const name = Effect.flatMap(Session.required(Account), (account) => account.get)
      const refused = yield* shop.visit(jar, name)
      assert.deepStrictEqual([refused.status, refused.body], [401, ""])
      assert.strictEqual(refused.headers["cache-control"], "no-store")
      yield* shop.ask(jar, Account.use((account) => account.set({ name: "Alice" })))
      assert.deepStrictEqual(yield* shop.ask(jar, name), Option.some({ name: "Alice" }))
    }))

  it.live("as a layer, keeps the handler from running", () =>
    Effect.gen(function*() {
      let ran = 0
      const count = Effect.sync(() => {
        ran++
      })
      const guarded = HttpRouter.add("GET", "/guarded", Effect.as(count, HttpServerResponse.text("in"))).pipe(
        Layer.provide(SessionHttp.layerRequired(Cart))
      )
      const shop = yield* Shop.openWith<Cart>((routes) =>
        Layer.merge(routes.pipe(Layer.provide(SessionHttp.layer(Cart))), guarded)
      )
      const jar = new Http.Jar()
      const refused = yield* shop.send("/guarded", { jar })
      assert.deepStrictEqual([refused.status, refused.headers["vary"], ran], [401, "Cookie", 0])
      yield* shop.ask(jar, add("tea"))
      const served = yield* shop.send("/guarded", { jar })
      assert.deepStrictEqual([served.status, served.body, ran], [200, "in", 1])
    }))
})

// -----------------------------------------------------------------------------

describe("protocol upgrades", () => {
  /** The text of an unmasked frame that is shorter than 126 bytes. */
  const frameText = (bytes: string): string => bytes.slice(2, 2 + bytes.charCodeAt(1))

  const handshake = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="
  }

  /** Sends the text that an effect yields over the upgraded connection, and waits for the other side. */
  const upgrading = <E>(log: Array<string>, greeting: Effect.Effect<string, E, Cart>) =>
    HttpRouter.add(
      "GET",
      "/socket",
      Effect.gen(function*() {
        // The request's scope closes when its hook has run.
        yield* Effect.addFinalizer(() => Effect.sync(() => log.push("over")))
        const text = yield* greeting
        const request = yield* HttpServerRequest.HttpServerRequest
        const socket = yield* request.upgrade
        const { pull } = yield* socket.reader
        const { write } = yield* socket.writer
        yield* write(text)
        yield* Effect.ignore(pull)
        return HttpServerResponse.empty()
      })
    )

  const connect = Effect.fnUntraced(function*<E>(
    placement: "memory" | "cookie",
    greeting: Effect.Effect<string, E, Cart>
  ) {
    const probe = Http.makeProbe()
    const surroundings = Http.makeSurroundings()
    const start = HttpRouter.add("GET", "/start", Effect.as(add("tea"), HttpServerResponse.empty()))
    const read = HttpRouter.add("GET", "/read", Effect.map(items, (items) => HttpServerResponse.text(String(items))))
    const app = Layer.mergeAll(start, read, upgrading(probe.log, greeting)).pipe(
      Layer.provide(SessionHttp.layer(Cart)),
      Layer.provide(placement === "cookie" ? SessionStore.layerCookie : probe.layer),
      Layer.provide(SessionConfig.layer({ secret: Shop.secret }))
    )
    const port = yield* Http.upgradingServer.start(app, surroundings)
    const jar = new Http.Jar()
    const plain = yield* Http.connectTo(port)
    yield* plain.write(Http.requestText("GET /start", jar))
    jar.keep(yield* plain.reply())
    surroundings.time.advance(61)
    probe.log.length = 0
    const connection = yield* Http.connectTo(port)
    yield* connection.write(Http.requestText("GET /socket", jar, handshake))
    yield* connection.until((received) => received.includes("\r\n\r\n"))
    const head = yield* connection.reply()
    return { connection, head, jar, plain, probe, surroundings }
  })

  const greetingOf = Effect.fnUntraced(function*(connection: Http.Connection) {
    yield* connection.until((received) => received.length > 2)
    return frameText(connection.received())
  })

  it.live.each(["memory", "cookie"] as const)(
    "read the session and do not refresh it, placement %s",
    (placement) =>
      Effect.gen(function*() {
        const { connection, head, probe } = yield* connect(placement, Effect.map(items, String))
        assert.deepStrictEqual([head.status, head.setCookies], [101, []])
        assert.strictEqual(yield* greetingOf(connection), "tea")
        yield* connection.abort
        yield* Http.eventually(() => probe.log.includes("over"), () => String(probe.log))
        assert.deepStrictEqual(Http.writes(probe), [])
      })
  )

  it.live("commit to a store before they upgrade, and the old cookie leads to the new version", () =>
    Effect.gen(function*() {
      const committed = Effect.as(Effect.andThen(add("milk"), Cart.use((cart) => cart.commit)), "committed")
      const { connection, head, jar, plain, probe } = yield* connect("memory", committed)
      assert.strictEqual(head.status, 101)
      assert.strictEqual(yield* greetingOf(connection), "committed")
      assert.deepStrictEqual(Http.writes(probe), ["supersede"])
      yield* plain.write(Http.requestText("GET /read", jar))
      assert.strictEqual((yield* plain.reply()).body, "tea,milk")
    }))

  it.live("commit what was changed when they end, where there is a store", () =>
    Effect.gen(function*() {
      const { connection, jar, plain, probe } = yield* connect("memory", Effect.as(add("milk"), "changed"))
      assert.strictEqual(yield* greetingOf(connection), "changed")
      assert.deepStrictEqual(Http.writes(probe), [])
      yield* connection.abort
      yield* Http.eventually(() => probe.log.includes("over"), () => String(probe.log))
      assert.deepStrictEqual(Http.writes(probe), ["supersede"])
      yield* plain.write(Http.requestText("GET /read", jar))
      assert.strictEqual((yield* plain.reply()).body, "tea,milk")
    }))

  it.live("report what was changed and cannot be delivered", () =>
    Effect.gen(function*() {
      const { connection, probe, surroundings } = yield* connect("cookie", Effect.as(add("milk"), "changed"))
      assert.strictEqual(yield* greetingOf(connection), "changed")
      yield* connection.abort
      yield* Http.eventually(() => probe.log.includes("over"), () => String(probe.log))
      assert.include(String(surroundings.reported[0]), "An upgraded request cannot set a cookie")
    }))

  it.live.each(
    [
      ["cookie", "a change with cookie placement", add("milk")],
      ["memory", "a renewal", Cart.use((cart) => cart.renew)],
      ["memory", "a new session", Effect.andThen(Cart.use((cart) => cart.destroy), add("milk"))]
    ] as const
  )("%s cannot deliver %s", ([placement, , change]) =>
    Effect.gen(function*() {
      const commit = Effect.andThen(change, reasonOf(Cart.use((cart) => cart.commit)))
      const { connection, jar, plain } = yield* connect(placement, commit)
      assert.strictEqual(yield* greetingOf(connection), "Undeliverable")
      yield* plain.write(Http.requestText("GET /read", jar))
      assert.strictEqual((yield* plain.reply()).body, "tea")
    }))
})
