import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Schema } from "effect"
import * as Memory from "../src/internal/memory.ts"
import * as Session from "../src/Session.ts"
import * as SessionStore from "../src/SessionStore.ts"
import { sound } from "./fixtures/brokenStacks.ts"
import * as Http from "./utils/http.ts"
import * as Shop from "./utils/shop.ts"

class Visitor extends Session.Service<Visitor>()("Visitor", {
  data: Schema.Struct({ name: Schema.String }),
  initial: { name: "nobody" },
  info: { seen: Schema.Date, count: Schema.Int, note: Schema.String }
}) {}

class Guest extends Session.Service<Guest>()("Guest", {
  data: Schema.Struct({ "@": Schema.String, "@note": Schema.String, "$@note": Schema.String }),
  audience: "guest",
  info: { note: Schema.String }
}) {}

class Tally extends Session.Service<Tally>()("Tally", {
  data: Schema.Array(Schema.Int),
  initial: [],
  audience: "tally",
  info: { note: Schema.String }
}) {}

const open = (options: Shop.Options = {}) =>
  Shop.openWith<Visitor | Guest | Tally>(Layer.provide((options.stack ?? sound).layer(Visitor, Guest, Tally)), options)

const openWithVisitor = Effect.fnUntraced(function*(options: Shop.Options = {}) {
  const shop = yield* open(options)
  const jar = new Http.Jar()
  yield* shop.ask(jar, Visitor.use((visitor) => visitor.set({ name: "Alice" })))
  shop.probe.log.length = 0
  return { shop, jar }
})

const count = Visitor.use((visitor) => visitor.info.get("count"))
const setCount = (n: number) => Visitor.use((visitor) => visitor.info.set("count", n))
const name = Visitor.use((visitor) => Effect.map(visitor.get, ({ name }) => name))

for (const placement of ["memory", "cookie"] as const) {
  describe(`info, with placement ${placement}`, () => {
    it.live("comes back in the types of its schemas, and is gone when it is removed", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithVisitor({ placement })
        const seen = new Date(1_795_400_000_000)
        const before = yield* shop.ask(
          jar,
          Visitor.use(({ info }) =>
            Effect.gen(function*() {
              assert.deepStrictEqual(yield* info.get("seen"), Option.none())
              yield* info.set("seen", seen)
              yield* info.set("count", 1)
              yield* info.set("count", 2)
              return [yield* info.get("seen"), yield* info.get("count")]
            })
          )
        )
        assert.deepStrictEqual(before, [Option.some(seen), Option.some(2)])
        const all = Visitor.use(({ info }) => Effect.all([info.get("seen"), info.get("count"), info.get("note")]))
        assert.deepStrictEqual(yield* shop.ask(jar, all), [Option.some(seen), Option.some(2), Option.none()])
        yield* shop.ask(jar, Visitor.use(({ info }) => info.remove("count")))
        assert.deepStrictEqual(yield* shop.ask(jar, all), [Option.some(seen), Option.none(), Option.none()])
        assert.strictEqual(yield* shop.ask(jar, name), "Alice")
      }))

    it.live("survives saves and renewals of the session, and ends with a logout", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithVisitor({ placement })
        yield* shop.ask(jar, setCount(7))
        yield* shop.ask(jar, Visitor.use((visitor) => visitor.set({ name: "Bob" })))
        yield* shop.ask(jar, Visitor.use((visitor) => visitor.login("bob")))
        assert.deepStrictEqual(yield* shop.ask(jar, Effect.zip(name, count)), ["Bob", Option.some(7)])
        yield* shop.ask(jar, Visitor.use((visitor) => visitor.logout))
        yield* shop.ask(jar, Visitor.use((visitor) => visitor.set({ name: "Carol" })))
        assert.deepStrictEqual(yield* shop.ask(jar, count), Option.none())
      }))

    it.live("is each audience's own, and goes with it", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithVisitor({ placement })
        const guest = { "@": "at", "@note": "mine", "$@note": "mine too" }
        yield* shop.ask(jar, Visitor.use(({ info }) => info.set("note", "visitor's")))
        yield* shop.ask(jar, Guest.use((it) => Effect.andThen(it.set(guest), it.info.set("note", "guest's"))))
        const notes = Effect.all([
          Visitor.use(({ info }) => info.get("note")),
          Guest.use(({ info }) => info.get("note")),
          Guest.use((it) => it.get)
        ])
        assert.deepStrictEqual(yield* shop.ask(jar, notes), [
          Option.some("visitor's"),
          Option.some("guest's"),
          Option.some(guest)
        ])
        yield* shop.ask(jar, Guest.use((it) => it.logout))
        yield* shop.ask(jar, Guest.use((it) => it.set(guest)))
        assert.deepStrictEqual(yield* shop.ask(jar, notes), [
          Option.some("visitor's"),
          Option.none(),
          Option.some(guest)
        ])
      }))

    it.live("makes a session where there is none", () =>
      Effect.gen(function*() {
        const shop = yield* open({ placement })
        const jar = new Http.Jar()
        yield* shop.ask(jar, setCount(1))
        assert.deepStrictEqual(yield* shop.ask(jar, Effect.zip(name, count)), ["nobody", Option.some(1)])
        const reply = yield* shop.visit(new Http.Jar(), Visitor.use(({ info }) => info.remove("count")))
        assert.deepStrictEqual(reply.setCookies, placement === "memory" ? [] : reply.setCookies)
      }))

    it.live("comes back with the remember cookie", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithVisitor({ placement, settings: { remember: true } })
        yield* shop.ask(jar, setCount(3))
        const browser = new Http.Jar([["__Host-remember", jar.get("__Host-remember") ?? ""]])
        assert.deepStrictEqual(yield* shop.ask(browser, count), Option.some(3))
        yield* shop.ask(browser, setCount(4))
        assert.deepStrictEqual(yield* shop.ask(browser, Effect.zip(name, count)), ["Alice", Option.some(4)])
      }))

    it.live("comes back with the remember cookie, also to who logs in at once", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithVisitor({ placement, settings: { remember: true } })
        yield* shop.ask(jar, setCount(3))
        const browser = new Http.Jar([["__Host-remember", jar.get("__Host-remember") ?? ""]])
        yield* shop.ask(browser, Visitor.use((visitor) => visitor.login("alice")))
        assert.deepStrictEqual(yield* shop.ask(browser, Effect.zip(name, count)), ["Alice", Option.some(3)])
        const again = new Http.Jar([["__Host-remember", browser.get("__Host-remember") ?? ""]])
        assert.deepStrictEqual(yield* shop.ask(again, count), Option.some(3))
      }))

    it.live("is dropped with the data of a handler that dies", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithVisitor({ placement })
        yield* shop.visit(jar, Effect.andThen(setCount(1), Effect.die("bug")))
        assert.deepStrictEqual(yield* shop.ask(jar, count), Option.none())
      }))
  })
}

describe("info, on a server", () => {
  it.live("changes without a new cookie", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithVisitor()
      const reply = yield* shop.visit(jar, setCount(1))
      assert.deepStrictEqual([reply.setCookies, Http.writes(shop.probe)], [[], ["saveInfo"]])
      assert.strictEqual(reply.headers["vary"], "Cookie")
    }))

  it.live("is not read before somebody asks", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithVisitor()
      yield* shop.ask(jar, name)
      assert.deepStrictEqual(shop.probe.log, ["load", "load done"])
      yield* shop.ask(jar, Effect.andThen(count, count))
      assert.strictEqual(shop.probe.log.filter((operation) => operation === "loadInfo").length, 1)
    }))

  it.live("is merged per key: of requests at once that set different values, all take effect", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithVisitor()
      yield* Http.gather(shop.probe, "load", 3)
      yield* Effect.all([
        shop.ask(jar.copy(), setCount(1)),
        shop.ask(jar.copy(), Visitor.use(({ info }) => info.set("note", "hello"))),
        shop.ask(jar.copy(), Visitor.use((visitor) => visitor.set({ name: "Bob" })))
      ], { concurrency: "unbounded" })
      const all = Visitor.use(({ info }) => Effect.all([info.get("count"), info.get("note"), name]))
      assert.deepStrictEqual(yield* shop.ask(jar, all), [Option.some(1), Option.some("hello"), "Bob"])
    }))

  it.live("loses against a logout, and brings nothing back", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithVisitor()
      const held = yield* Http.hold(shop.probe, "saveInfo")
      const [late] = yield* Effect.all([
        shop.visit(jar.copy(), setCount(1)),
        Effect.andThen(
          held.reached,
          Effect.andThen(shop.ask(jar.copy(), Visitor.use((visitor) => visitor.destroy)), held.release)
        )
      ], { concurrency: "unbounded" })
      assert.deepStrictEqual([late.status, late.setCookies], [200, []])
      assert.include(Shop.eventsOf(shop), "SessionGone")
      assert.deepStrictEqual(yield* shop.ask(jar, Visitor.use((visitor) => visitor.exists)), false)
    }))

  it.live("a store that fails to write it gives a 503", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithVisitor()
      shop.probe.around((operation, run) => operation === "saveInfo" ? Effect.die(new Error("no store")) : run)
      const reply = yield* shop.visit(jar, setCount(1))
      assert.deepStrictEqual([reply.status, reply.setCookies], [503, []])
    }))

  it.live("of a session that was made when nobody kept any takes one new version", () =>
    Effect.gen(function*() {
      const port = Memory.make(10)
      const stack = {
        ...sound,
        store: (probe: Http.Probe) => SessionStore.layerPort(Effect.succeed(probe.watch(port)))
      }
      const before = yield* Shop.open({ stack })
      const jar = new Http.Jar()
      yield* before.ask(jar, Shop.add("tea"))
      const after = yield* open({ stack })
      const note = (note: string) => Visitor.use(({ info }) => info.set("note", note))
      assert.deepStrictEqual(Http.names(yield* after.visit(jar, note("one"))), [Shop.cookie])
      assert.deepStrictEqual(Http.names(yield* after.visit(jar, note("two"))), [])
      const read = Visitor.use(({ info }) => info.get("note"))
      assert.deepStrictEqual(yield* after.ask(jar, read), Option.some("two"))
      assert.deepStrictEqual(yield* before.ask(jar, Shop.items), ["tea"])
    }))

  it.live("with data that are an array works too, which no cookie can hold", () =>
    Effect.gen(function*() {
      const note = Tally.use((tally) => Effect.andThen(tally.set([1, 2]), tally.info.set("note", "hello")))
      const server = yield* open()
      const jar = new Http.Jar()
      yield* server.ask(jar, note)
      const found = Tally.use((tally) => Effect.zip(tally.get, tally.info.get("note")))
      assert.deepStrictEqual(yield* server.ask(jar, found), [[1, 2], Option.some("hello")])
      const cookie = yield* open({ placement: "cookie" })
      const reply = yield* cookie.visit(new Http.Jar(), Shop.reasonOf(note))
      assert.deepStrictEqual(reply.exit, Exit.succeed("InvalidData"))
    }))
})
