import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Layer, Metric, Option, Schema } from "effect"
import * as Session from "../src/Session.ts"
import type * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import * as Http from "./utils/http.ts"
import * as Shop from "./utils/shop.ts"
import { Account, add, Cart, eventsOf, items, openWithCart, reasonOf, sidOf, valueOf } from "./utils/shop.ts"

const everyPlacement = describe.each(["memory", "cookie"] as const)

everyPlacement("data, with placement %s", (placement) => {
  it.live("what does not fit is refused when it is set, and nothing is lost", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ placement })
      // Random, so that nothing compresses it: more than nine cookies, and more than 24 bits tell.
      const big = Buffer.from(
        Array.from({ length: placement === "cookie" ? 30_000 : 13_000_000 }, () => Math.floor(Math.random() * 256))
      ).toString("base64")
      const reply = yield* shop.visit(jar, Effect.andThen(add("milk"), reasonOf(add(big))))
      assert.deepStrictEqual(reply.exit, Exit.succeed("TooLarge"))
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea", "milk"])
    }))

  it.live("what does not fit the schema is refused", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ placement })
      // What a program without types does.
      const wrong = reasonOf(Cart.use((cart) => cart.set({ items: [1] } as never)))
      assert.strictEqual(yield* shop.ask(jar, wrong), "InvalidData")
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea"])
    }))

  it.live("values come back as they were", () =>
    Effect.gen(function*() {
      class Rich extends Session.Service<Rich>()("Rich", {
        data: Schema.Struct({ at: Schema.Date, tags: Schema.ReadonlySet(Schema.String) })
      }) {}
      const shop = yield* Shop.openWith<Rich>(Layer.provide(SessionHttp.layer(Rich)), { placement })
      const jar = new Http.Jar()
      const value = { at: new Date(1_795_400_000_123), tags: new Set(["ä", "日本"]) }
      yield* shop.ask(jar, Rich.use((rich) => rich.set(value)))
      assert.deepStrictEqual(yield* shop.ask(jar, Rich.use((rich) => rich.get)), Option.some(value))
    }))

  it.live("the session of one class is none of another's", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ placement })
      const why = Account.use((account) => Effect.zip(account.exists, account.refusal))
      assert.deepStrictEqual(yield* shop.ask(jar, why), [false, Option.some("MissingAudience")])
    }))
})

describe("stored data that no longer fit", () => {
  class Old extends Session.Service<Old>()("Old", { data: Schema.Struct({ name: Schema.String }) }) {}
  const fields = { data: Schema.Struct({ first: Schema.String }) }

  /** What a class reads of a session that `Old` wrote. */
  const read = <Self, Id extends string, Data, Stored, Mismatch, A>(
    session: Session.Class<Self, Id, Data, Stored, Mismatch>,
    handler: Shop.Handler<A, Self>
  ) =>
    Effect.gen(function*() {
      const shop = yield* Shop.openWith<Old | Self>(Layer.provide(SessionHttp.layer(Old, session)))
      const jar = new Http.Jar()
      yield* shop.ask(jar, Old.use((old) => old.set({ name: "Alice" })))
      shop.events.length = 0
      return { shop, reply: yield* shop.visit(jar, handler), jar }
    })

  it.live("are given up by default, and an event says so", () =>
    Effect.gen(function*() {
      class New extends Session.Service<New>()("New", { ...fields, initial: { first: "" } }) {}
      const { reply, shop } = yield* read(New, New.use((session) => Effect.zip(session.get, session.exists)))
      assert.deepStrictEqual(reply.exit, Exit.succeed([{ first: "" }, true]))
      assert.deepStrictEqual(shop.events, [{ _tag: "SessionReset", session: "New" }])
    }))

  it.live("are none where the class has no initial value", () =>
    Effect.gen(function*() {
      class New extends Session.Service<New>()("New", fields) {}
      const { reply } = yield* read(New, New.use((session) => session.get))
      assert.deepStrictEqual(reply.exit, Exit.succeed(Option.none()))
    }))

  it.live("are a typed error with onMismatch: \"fail\"", () =>
    Effect.gen(function*() {
      class New extends Session.Service<New>()("New", { ...fields, onMismatch: "fail" }) {}
      const failing = New.use((session) =>
        Effect.zip(
          Effect.map(Effect.flip(session.get), ({ session }) => session),
          Effect.map(Effect.flip(session.update(() => ({ first: "x" }))), ({ _tag }) => _tag)
        )
      )
      const { jar, reply, shop } = yield* read(New, failing)
      assert.deepStrictEqual(reply.exit, Exit.succeed(["New", "SessionError"]))
      assert.deepStrictEqual([reply.setCookies, shop.events], [[], []])
      const fixed = New.use((session) => Effect.andThen(session.set({ first: "Alice" }), session.get))
      assert.deepStrictEqual(yield* shop.ask(jar, fixed), Option.some({ first: "Alice" }))
    }))

  it.live("are what a function makes of them", () =>
    Effect.gen(function*() {
      class New extends Session.Service<New>()("New", {
        ...fields,
        onMismatch: (stored) =>
          Option.map(Schema.decodeUnknownOption(Schema.Struct({ name: Schema.String }))(stored), ({ name }) => ({
            first: name
          }))
      }) {}
      const { reply, shop } = yield* read(New, New.use((session) => session.get))
      assert.deepStrictEqual(reply.exit, Exit.succeed(Option.some({ first: "Alice" })))
      assert.deepStrictEqual(shop.events, [])
    }))

  it.live("Lua's empty table is an empty array where the schema wants one, and only there", () =>
    Effect.gen(function*() {
      class Lua extends Session.Service<Lua>()("Lua", {
        data: Schema.Struct({ items: Schema.Struct({}), options: Schema.Struct({}) })
      }) {}
      class Typed extends Session.Service<Typed>()("Typed", {
        data: Schema.Struct({
          items: Schema.Array(Schema.String),
          options: Schema.Record(Schema.String, Schema.String)
        }),
        onMismatch: "fail"
      }) {}
      const shop = yield* Shop.openWith<Lua | Typed>(Layer.provide(SessionHttp.layer(Lua, Typed)))
      const jar = new Http.Jar()
      yield* shop.ask(jar, Lua.use((lua) => lua.set({ items: {}, options: {} })))
      const typed = Typed.use((typed) => typed.get)
      assert.deepStrictEqual(yield* shop.ask(jar, typed), Option.some({ items: [], options: {} }))
    }))
})

// -----------------------------------------------------------------------------

everyPlacement("a session's life, with placement %s", (placement) => {
  it.live("login and renew give it a new sid, and with a store the old one is dead at once", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ placement })
      const first = jar.copy()
      yield* shop.ask(jar, Cart.use((cart) => cart.login("alice")))
      const second = jar.copy()
      yield* shop.ask(jar, Cart.use((cart) => cart.renew))
      assert.strictEqual(new Set([first, second, jar].map(sidOf)).size, 3)
      const old = [yield* shop.ask(first, items), yield* shop.ask(second, items)]
      assert.deepStrictEqual(old, placement === "cookie" ? [["tea"], ["tea"]] : [[], []])
      assert.deepStrictEqual(
        yield* shop.ask(jar, Effect.zip(items, Cart.use((cart) => cart.subject))),
        [["tea"], Option.some("alice")]
      )
      assert.deepStrictEqual(eventsOf(shop).slice(0, 2), ["SessionRenewed", "SessionRenewed"])
    }))

  it.live("every save gives it a new sid, and keeps its creation time", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ placement })
      const before = sidOf(jar)
      shop.time.advance(30)
      yield* shop.ask(jar, add("milk"))
      assert.notStrictEqual(sidOf(jar), before)
      const { absolute, idling } = yield* shop.ask(jar, Cart.use((cart) => cart.timeLeft))
      assert.deepStrictEqual(
        [absolute, idling],
        [Option.some(Duration.seconds(86_370)), Option.some(Duration.seconds(900))]
      )
    }))

  it.live("renew without a session does nothing", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ placement })
      const reply = yield* shop.visit(undefined, Cart.use((cart) => cart.renew))
      assert.deepStrictEqual([reply.status, reply.setCookies, shop.probe.log], [200, [], []])
    }))

  it.live("logging out of one part keeps the other, and the last one clears the cookie", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ placement })
      yield* shop.ask(jar, Account.use((account) => account.set({ name: "Alice" })))
      const stale = jar.copy()
      const seen = yield* shop.ask(
        jar,
        Effect.gen(function*() {
          const account = yield* Account
          yield* account.logout
          return { name: yield* account.get, exists: yield* account.exists, items: yield* items }
        })
      )
      assert.deepStrictEqual(seen, { name: Option.none(), exists: false, items: ["tea"] })
      const parts = Effect.zip(items, Account.use((account) => account.exists))
      assert.deepStrictEqual(yield* shop.ask(jar, parts), [["tea"], false])

      yield* shop.ask(jar, Cart.use((cart) => cart.logout))
      assert.isUndefined(jar.header)
      assert.include(eventsOf(shop), "SessionEnded")
      if (placement === "memory") assert.deepStrictEqual(yield* shop.ask(stale, parts), [[], false])
    }))

  it.live("destroy ends all parts, and what is set since starts another session", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ placement })
      yield* shop.ask(jar, Account.use((account) => account.set({ name: "Alice" })))
      const before = yield* shop.ask(jar, Cart.use((cart) => cart.handle))
      shop.time.advance(100)
      const stale = jar.copy()
      yield* shop.ask(jar, Effect.andThen(Cart.use((cart) => cart.destroy), add("milk")))
      if (placement === "memory") assert.deepStrictEqual(yield* shop.ask(stale, items), [])
      const after = yield* shop.ask(
        jar,
        Effect.all({
          items,
          account: Account.use((account) => account.exists),
          handle: Cart.use((cart) => cart.handle),
          left: Cart.use((cart) => Effect.map(cart.timeLeft, ({ absolute }) => absolute))
        })
      )
      assert.deepStrictEqual(after.items, ["milk"])
      assert.isFalse(after.account)
      assert.deepStrictEqual(after.left, Option.some(Duration.days(1)))
      if (placement === "cookie") assert.deepStrictEqual([before, after.handle], [Option.none(), Option.none()])
      else assert.isTrue(Option.isSome(before) && Option.isSome(after.handle) && before.value !== after.handle.value)
    }))

  it.live("bound to the user agent, it opens for no other", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ placement, settings: { bind: ["user-agent"] } })
      const jar = new Http.Jar()
      const from = (agent: string) => ({ headers: { "user-agent": agent } })
      yield* shop.visit(jar, add("tea"), from("Firefox"))
      assert.deepStrictEqual((yield* shop.visit(jar, items, from("Firefox"))).exit, Exit.succeed(["tea"]))
      assert.deepStrictEqual(
        (yield* shop.visit(jar, Shop.refusal, from("curl"))).exit,
        Exit.succeed(Option.some("InvalidMac"))
      )
    }))

  it.live("with enforceSameSubject, a part of another subject is dropped", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ placement, settings: { enforceSameSubject: true } })
      const jar = new Http.Jar()
      yield* shop.ask(jar, Effect.andThen(add("tea"), Cart.use((cart) => cart.setSubject("alice"))))
      yield* shop.ask(jar, Account.use((account) => account.login("bob")))
      assert.deepStrictEqual(
        yield* shop.ask(jar, Effect.zip(items, Account.use((account) => account.subject))),
        [[], Option.some("bob")]
      )
    }))

  it.live("destroy alone clears the cookie, and reads see no session", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ placement })
      const seen = yield* shop.ask(
        jar,
        Effect.andThen(Cart.use((cart) => cart.destroy), Effect.zip(items, Cart.use((cart) => cart.exists)))
      )
      assert.deepStrictEqual(seen, [[], false])
      assert.isUndefined(jar.header)
    }))

  it.live("logging out with a refused cookie clears it", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ placement })
      shop.time.advance(901)
      assert.deepStrictEqual(yield* shop.ask(jar, Shop.refusal), Option.some("IdlingTimeout"))
      assert.isDefined(jar.header)
      yield* shop.ask(jar, Cart.use((cart) => cart.logout))
      assert.isUndefined(jar.header)
      assert.deepStrictEqual(Http.writes(shop.probe), [])
    }))

  it.live("a refused cookie is replaced where data are set", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ placement })
      const before = sidOf(jar)
      shop.time.advance(901)
      yield* shop.ask(jar, add("milk"))
      assert.notStrictEqual(sidOf(jar), before)
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["milk"])
    }))

  it.live("time touches it, then saves it", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ placement, settings: { idlingTimeout: "1 hour" } })
      const sid = sidOf(jar)
      shop.time.advance(60)
      assert.deepStrictEqual((yield* shop.visit(jar, Effect.void)).setCookies, [])
      shop.time.advance(1)
      const touched = yield* shop.visit(jar, Effect.void)
      assert.deepStrictEqual([touched.setCookies.length, touched.headers["vary"]], [1, "Cookie"])
      assert.strictEqual(sidOf(jar), sid)
      shop.time.advance(2640)
      assert.strictEqual((yield* shop.visit(jar, Effect.void)).setCookies.length, 1)
      assert.notStrictEqual(sidOf(jar), sid)
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea"])
      assert.deepStrictEqual(eventsOf(shop), ["SessionTouched", "SessionSaved"])
      assert.deepStrictEqual(Http.writes(shop.probe), placement === "cookie" ? [] : ["touch", "supersede"])
    }))

  it.live("a session of several cookies is touched by the first of them, and cleared whole", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ placement, settings: { compressionThreshold: 0 } })
      const jar = new Http.Jar()
      const names = placement === "cookie" ? [Shop.cookie, `${Shop.cookie}2`, `${Shop.cookie}3`] : [Shop.cookie]
      assert.deepStrictEqual(Http.names(yield* shop.visit(jar, add("x".repeat(8000)))), names)
      shop.time.advance(61)
      assert.deepStrictEqual(Http.names(yield* shop.visit(jar, Effect.void)), [Shop.cookie])
      assert.deepStrictEqual((yield* shop.ask(jar, items)).map(({ length }) => length), [8000])
      const smaller = yield* shop.visit(jar, Cart.use((cart) => cart.set({ items: ["tea"] })))
      assert.deepStrictEqual(Http.names(smaller), names)
      assert.strictEqual(jar.header, `${Shop.cookie}=${valueOf(jar)}`)
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea"])
      yield* shop.ask(jar, add("x".repeat(8000)))
      yield* shop.ask(jar, Cart.use((cart) => cart.destroy))
      assert.isUndefined(jar.header)
    }))
})

// -----------------------------------------------------------------------------

describe("superseded versions", () => {
  /** A session whose client has presented the version that replaced the one in `old`. */
  const replaced = Effect.fnUntraced(function*(settings: SessionConfig.Options = {}) {
    const { jar, shop } = yield* openWithCart({ settings })
    const old = jar.copy()
    yield* shop.ask(jar, add("milk"))
    yield* shop.ask(jar, items)
    yield* Http.eventually(() => shop.probe.log.includes("note done"), () => String(shop.probe.log))
    shop.probe.log.length = 0
    shop.events.length = 0
    return { shop, jar, old }
  })

  it.live("lead to their successor as long as nobody has presented it", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      // The response is lost: the client keeps what it has.
      yield* shop.ask(jar.copy(), add("milk"))
      shop.time.advance(600)
      const reply = yield* shop.visit(jar, items)
      assert.deepStrictEqual(reply.exit, Exit.succeed(["tea", "milk"]))
      assert.include(eventsOf(shop), "SessionForwarded")
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea", "milk"])
    }))

  it.live("lead to the newest version over several others", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const newer = jar.copy()
      yield* shop.ask(newer, add("milk"))
      yield* shop.ask(newer, add("bread"))
      const reply = yield* shop.visit(jar, items)
      assert.deepStrictEqual(reply.exit, Exit.succeed(["tea", "milk", "bread"]))
      assert.strictEqual(valueOf(jar), valueOf(newer))
    }))

  it.live("are honoured for the grace, and a request that changes the session builds on the newest", () =>
    Effect.gen(function*() {
      const { jar, old, shop } = yield* replaced()
      shop.time.advance(10)
      yield* shop.ask(old.copy(), add("bread"))
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea", "milk", "bread"])
    }))

  it.live("are refused after the grace, and that is reported", () =>
    Effect.gen(function*() {
      const { jar, old, shop } = yield* replaced()
      shop.time.advance(10)
      assert.deepStrictEqual(yield* shop.ask(old.copy(), items), ["tea", "milk"])
      shop.time.advance(1)
      shop.events.length = 0
      const reply = yield* shop.visit(old, Effect.zip(items, Shop.refusal))
      assert.deepStrictEqual([reply.exit, reply.setCookies], [Exit.succeed([[], Option.some("Reused")]), []])
      const handle = Option.getOrThrow(yield* shop.ask(jar, Cart.use((cart) => cart.handle)))
      assert.deepStrictEqual(shop.events, [
        { _tag: "SessionReused", handle },
        { _tag: "SessionRefused", reason: "Reused" }
      ])
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea", "milk"])
    }))

  it.live("end the session after the grace with onReuse: \"revoke\"", () =>
    Effect.gen(function*() {
      const { jar, old, shop } = yield* replaced({ onReuse: "revoke" })
      shop.time.advance(11)
      yield* shop.ask(old, items)
      assert.deepStrictEqual(yield* shop.ask(jar, items), [])
    }))

  it.live("do not get the successor's cookie after the grace, where nobody asks but a touch is due", () =>
    Effect.gen(function*() {
      const { old, shop } = yield* replaced()
      shop.time.advance(61)
      const reply = yield* shop.visit(old, Effect.void)
      assert.deepStrictEqual([reply.status, reply.setCookies], [200, []])
      assert.include(eventsOf(shop), "SessionReused")
    }))

  it.live("are forwarded within the grace, where nobody asks but a touch is due", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const newer = jar.copy()
      yield* shop.ask(newer, add("milk"))
      shop.time.advance(61)
      // This response is lost too: to have been forwarded is not to have presented the successor.
      yield* shop.visit(jar.copy(), Effect.void)
      shop.time.advance(11)
      yield* shop.visit(jar, Effect.void)
      assert.strictEqual(sidOf(jar), sidOf(newer))
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea", "milk"])
    }))

  it.live("a touch counts as presenting a version", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      const old = jar.copy()
      yield* shop.ask(jar, add("milk"))
      shop.time.advance(61)
      // Its handler never asks: that the client has the new version, only the touch tells.
      assert.strictEqual((yield* shop.visit(jar, Effect.void)).setCookies.length, 1)
      shop.time.advance(11)
      assert.deepStrictEqual(yield* shop.ask(old, items), [])
    }))
})

// -----------------------------------------------------------------------------

describe("events", () => {
  it.live("are counted with their name and reason", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart()
      yield* shop.ask(jar, add("milk"))
      yield* shop.ask(jar, Cart.use((cart) => cart.destroy))
      jar.set(Shop.cookie, "bogus")
      yield* shop.ask(jar, items)
      const counted = Metric.snapshotUnsafe(Context.make(Metric.MetricRegistry, shop.metrics))
        .filter(({ id }) => id === "effect_session_events")
        .map(({ attributes, state }) => [attributes, state])
      assert.deepStrictEqual(counted, [
        [{ event: "SessionCreated" }, { count: 1, incremental: true }],
        [{ event: "SessionSaved" }, { count: 1, incremental: true }],
        [{ event: "SessionEnded" }, { count: 1, incremental: true }],
        [{ event: "SessionRefused", reason: "InvalidHeader" }, { count: 1, incremental: true }]
      ])
    }))

  it.live("carry the handle, which outlives the versions", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open()
      const jar = new Http.Jar()
      yield* shop.ask(jar, add("tea"))
      const handle = Option.getOrThrow(yield* shop.ask(jar, Cart.use((cart) => cart.handle)))
      yield* shop.ask(jar, Cart.use((cart) => cart.renew))
      shop.time.advance(61)
      yield* shop.ask(jar, items)
      yield* shop.ask(jar, Cart.use((cart) => cart.destroy))
      assert.deepStrictEqual(shop.events, [
        { _tag: "SessionCreated", handle },
        { _tag: "SessionRenewed", handle },
        { _tag: "SessionTouched", handle },
        { _tag: "SessionEnded", handle }
      ])
    }))
})
