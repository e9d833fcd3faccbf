import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Option } from "effect"
import { HttpServerRequest } from "effect/http"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import * as SessionStore from "../src/SessionStore.ts"
import * as Http from "./utils/http.ts"
import * as Shop from "./utils/shop.ts"

const { Account, Cart, add, items } = Shop

const remember = "__Host-remember"

const day = 24 * 60 * 60

const login = (subject: string, options?: { readonly remember?: boolean }) =>
  Cart.use((cart) => cart.login(subject, options))

const subject = Cart.use((cart) => cart.subject)

/** A shop whose visitors are remembered, and one of them who has logged in. */
const openWithMember = Effect.fnUntraced(function*(options: Shop.Options = {}) {
  const shop = yield* Shop.open({ ...options, settings: { remember: true, ...options.settings } })
  const jar = new Http.Jar()
  yield* shop.ask(jar, Effect.andThen(add("tea"), login("alice")))
  shop.probe.log.length = 0
  shop.events.length = 0
  return { shop, jar }
})

/** A browser that was closed: session cookies are gone, the remember cookie is still there. */
const restarted = (jar: Http.Jar): Http.Jar => new Http.Jar([[remember, jar.get(remember) ?? ""]])

for (const placement of ["memory", "cookie"] as const) {
  describe(`the remember cookie, with placement ${placement}`, () => {
    it.live("is set with each save that somebody asks for, and lives for its rolling timeout", () =>
      Effect.gen(function*() {
        const shop = yield* Shop.open({ placement, settings: { remember: true } })
        const jar = new Http.Jar()
        const first = yield* shop.visit(jar, add("tea"))
        assert.deepStrictEqual(Http.names(first), [Shop.cookie, remember])
        assert.match(first.setCookies[0] ?? "", /; Secure; HttpOnly$/)
        assert.match(
          first.setCookies[1] ?? "",
          /; Path=\/; SameSite=Strict; Secure; HttpOnly; Expires=\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT; Max-Age=604800$/
        )
        shop.time.advance(100)
        assert.deepStrictEqual(Http.names(yield* shop.visit(jar, add("milk"))), [Shop.cookie, remember])
        // Neither a touch nor a refresh by time renews it.
        shop.time.advance(61)
        assert.deepStrictEqual(Http.names(yield* shop.visit(jar, items)), [Shop.cookie])
        shop.time.advance(800)
        yield* shop.visit(jar, items)
        shop.time.advance(800)
        yield* shop.visit(jar, items)
        shop.time.advance(800)
        yield* shop.visit(jar, items)
        shop.time.advance(400)
        assert.deepStrictEqual(Http.names(yield* shop.visit(jar, items)), [Shop.cookie])
      }))

    it.live("brings the session back, with data and subject, as a new session", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithMember({ placement })
        shop.time.advance(2 * day)
        const reply = yield* shop.visit(jar, Effect.zip(items, subject))
        assert.deepStrictEqual(reply.exit, Exit.succeed([["tea"], Option.some("alice")]))
        // As the reference: remember cookie first.
        assert.deepStrictEqual(Http.names(reply), [remember, Shop.cookie])
        assert.strictEqual(reply.headers["cache-control"], "no-store")
        assert.include(Shop.eventsOf(shop), "SessionRescued")
        // Its time begins anew.
        const { absolute } = yield* shop.ask(jar, Cart.use((cart) => cart.timeLeft))
        assert.deepStrictEqual(absolute, Option.some(Duration.days(1)))
        assert.deepStrictEqual(Http.names(yield* shop.visit(jar, items)), [])
      }))

    it.live("is not looked at as long as nobody asks for the session", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithMember({ placement })
        const reply = yield* shop.visit(restarted(jar), Effect.void)
        assert.deepStrictEqual([reply.setCookies, shop.probe.log, shop.events], [[], [], []])
      }))

    it.live("builds on what it brought back", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithMember({ placement })
        const browser = restarted(jar)
        yield* shop.ask(browser, add("milk"))
        assert.deepStrictEqual(yield* shop.ask(browser, items), ["tea", "milk"])
        assert.deepStrictEqual(yield* shop.ask(restarted(browser), items), ["tea", "milk"])
      }))

    it.live("opens in the last second of its timeouts, and not in the next", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithMember({ placement })
        shop.time.advance(7 * day)
        assert.deepStrictEqual(yield* shop.ask(restarted(jar), items), ["tea"])
        shop.time.advance(1)
        const reply = yield* shop.visit(restarted(jar), Effect.zip(items, Shop.refusal))
        // What is reported is why the session cookie was refused.
        assert.deepStrictEqual(reply.exit, Exit.succeed([[], Option.some("MissingCookie")]))
        assert.deepStrictEqual(reply.setCookies, [])
      }))

    it.live("ends with its absolute timeout, however often it was renewed", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithMember({ placement })
        for (let week = 0; week < 4; week++) {
          shop.time.advance(7 * day)
          assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea"])
        }
        shop.time.advance(2 * day + 1)
        assert.deepStrictEqual(yield* shop.ask(jar, items), [])
      }))

    it.live("goes with a logout, whether the session was there or had to be brought back", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithMember({ placement })
        const browser = jar.copy()
        const reply = yield* shop.visit(browser, Cart.use((cart) => cart.logout))
        assert.deepStrictEqual(Http.names(reply), [Shop.cookie, remember])
        assert.strictEqual(browser.header, undefined)
        if (placement === "memory") {
          assert.deepStrictEqual(yield* shop.ask(jar, items), [])
          assert.deepStrictEqual(yield* shop.ask(restarted(jar), items), [])
        }
        const again = new Http.Jar()
        yield* shop.ask(again, Effect.andThen(add("tea"), login("alice")))
        const alone = restarted(again)
        yield* shop.ask(alone, Cart.use((cart) => cart.logout))
        assert.strictEqual(alone.header, undefined)
        if (placement === "memory") assert.deepStrictEqual(yield* shop.ask(again, items), [])
      }))

    it.live("is not set for who declines, nor for as long as that session lives", () =>
      Effect.gen(function*() {
        const shop = yield* Shop.open({ placement, settings: { remember: true } })
        const jar = new Http.Jar()
        const reply = yield* shop.visit(jar, Effect.andThen(add("tea"), login("alice", { remember: false })))
        assert.deepStrictEqual(Http.names(reply), [Shop.cookie])
        assert.deepStrictEqual(Http.names(yield* shop.visit(jar, add("milk"))), [Shop.cookie])
        const late = yield* shop.visit(jar, Cart.use((cart) => cart.setRemember(true)))
        assert.deepStrictEqual(Http.names(late), [Shop.cookie])
        yield* shop.ask(jar, Cart.use((cart) => cart.logout))
        assert.deepStrictEqual(Http.names(yield* shop.visit(jar, add("tea"))), [Shop.cookie, remember])
      }))

    it.live("is taken back from who declines later", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithMember({ placement })
        const before = restarted(jar)
        const reply = yield* shop.visit(jar, Cart.use((cart) => cart.setRemember(false)))
        assert.deepStrictEqual(Http.names(reply), [Shop.cookie, remember])
        assert.isUndefined(jar.get(remember))
        assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea"])
        if (placement === "memory") assert.deepStrictEqual(yield* shop.ask(before, items), [])
      }))

    it.live("with \"ask\" is set for who accepts, and from then on", () =>
      Effect.gen(function*() {
        const shop = yield* Shop.open({ placement, settings: { remember: "ask" } })
        const jar = new Http.Jar()
        assert.deepStrictEqual(Http.names(yield* shop.visit(jar, add("tea"))), [Shop.cookie])
        assert.deepStrictEqual(Http.names(yield* shop.visit(jar, login("alice", { remember: true }))), [
          Shop.cookie,
          remember
        ])
        assert.deepStrictEqual(Http.names(yield* shop.visit(jar, add("milk"))), [Shop.cookie, remember])
        const back = restarted(jar)
        assert.deepStrictEqual(yield* shop.ask(back, Effect.zip(items, subject)), [
          ["tea", "milk"],
          Option.some("alice")
        ])
        yield* shop.ask(back, Cart.use((cart) => cart.logout))
        assert.isUndefined(back.header)
      }))

    it.live("is set for who wants it where the setting says no, and not looked at", () =>
      Effect.gen(function*() {
        const shop = yield* Shop.open({ placement })
        const jar = new Http.Jar()
        const reply = yield* shop.visit(jar, Effect.andThen(add("tea"), login("alice", { remember: true })))
        assert.deepStrictEqual(Http.names(reply), [Shop.cookie, remember])
        assert.deepStrictEqual(yield* shop.ask(restarted(jar), items), [])
      }))

    it.live("is not written for a payload that fits into no cookie", () =>
      Effect.gen(function*() {
        const shop = yield* Shop.open({ placement: "cookie", settings: { remember: true, compressionThreshold: 0 } })
        // The session's name is one character shorter: what fits there by a hair does not fit under the other.
        const wrapper = `[[{"items":[""]},"default"]]`.length
        const room = Math.floor((9 * 4096 - remember.length * 9 - 9 - 8 - 110) * 3 / 4) - wrapper
        assert.strictEqual(yield* shop.ask(undefined, Shop.reasonOf(add("x".repeat(room + 1)))), "TooLarge")
        const reply = yield* shop.visit(new Http.Jar(), add("x".repeat(room)))
        assert.lengthOf(reply.setCookies, 18)
      }))

    it.live("that was forged, bound elsewhere or cut opens nothing", () =>
      Effect.gen(function*() {
        const { jar, shop } = yield* openWithMember({ placement })
        const value = jar.get(remember) ?? ""
        for (
          const wrong of [
            value.slice(0, 100),
            `B${value.slice(1)}`,
            `${value.slice(0, 105)}AAAAA${value.slice(110)}`,
            ""
          ]
        ) {
          const reply = yield* shop.visit(new Http.Jar([[remember, wrong]]), items)
          assert.deepStrictEqual([reply.exit, reply.setCookies], [Exit.succeed([]), []], wrong)
        }
        // A session cookie under the other name is no remember cookie, nor the other way round.
        for (const pair of [[remember, Shop.valueOf(jar)], [Shop.cookie, value]] as const) {
          assert.deepStrictEqual(yield* shop.ask(new Http.Jar([pair]), items), [])
        }
      }))
  })
}

describe("the remember cookie, with placement cookie", () => {
  it.live("is not a session's under the other name, least of all of who declined", () =>
    Effect.gen(function*() {
      const settings = { ...SessionConfig.lua, remember: true, rememberSafety: "None" } as const
      const shop = yield* Shop.open({ placement: "cookie", settings })
      const jar = new Http.Jar()
      yield* shop.ask(jar, Effect.andThen(add("tea"), login("alice", { remember: false })))
      const renamed = new Http.Jar([["remember", jar.get("session") ?? ""]])
      assert.deepStrictEqual(yield* shop.ask(renamed, items), [])
    }))

  it.effect("would be, under one key: that is refused when the layer is built", () =>
    Effect.gen(function*() {
      const build = (options: SessionConfig.Options, store: Layer.Layer<SessionStore.SessionStore>) =>
        Effect.exit(SessionHttp.engine.pipe(
          Effect.provide(Layer.provideMerge(
            Layer.merge(SessionHttp.layerServices, store),
            SessionConfig.layer({ secret: Shop.secret, remember: true, rememberSafety: "None", ...options })
          ))
        ))
      const refused = yield* build({}, SessionStore.layerCookie)
      assert.include(String(refused), "rememberSafety: is \"None\" with cookie placement")
      assert.isTrue(Exit.isSuccess(yield* build({}, SessionStore.layerMemory)))
      assert.isTrue(Exit.isSuccess(yield* build({ compatibility: "lua" }, SessionStore.layerCookie)))
    }))

  it.live("that was refused is cleared with all of its chunks, and so is a session", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ placement: "cookie", settings: { remember: true, compressionThreshold: 0 } })
      const jar = new Http.Jar()
      yield* shop.ask(jar, add("x".repeat(9000)))
      shop.time.advance(31 * day)
      jar.set("theme", "dark")
      const browser = jar.copy()
      yield* shop.ask(browser, Cart.use((cart) => cart.logout))
      assert.strictEqual(browser.header, "theme=dark")
      // A new session leaves nothing of what stood there, either.
      yield* shop.ask(jar, add("tea"))
      assert.isUndefined(jar.get(`${Shop.cookie}2`))
      assert.isUndefined(jar.get(`${remember}2`))
    }))
})

describe("the remember cookie, on a server", () => {
  it.live("belongs to the session's row: revoking the handle ends both", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithMember()
      const handle = Option.getOrThrow(yield* shop.ask(jar, Cart.use((cart) => cart.handle)))
      yield* shop.port.revoke(handle)
      assert.deepStrictEqual(yield* shop.ask(jar, items), [])
      assert.deepStrictEqual(yield* shop.ask(restarted(jar), items), [])
    }))

  it.live("keeps the session's handle when it brings it back", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithMember()
      const handle = yield* shop.ask(jar, Cart.use((cart) => cart.handle))
      shop.time.advance(2 * day)
      yield* shop.ask(jar, items)
      assert.deepStrictEqual(yield* shop.ask(jar, Cart.use((cart) => cart.handle)), handle)
    }))

  it.live("gives however many tabs that start at once one session", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithMember()
      const tabs = 8
      yield* Http.gather(shop.probe, "loadRemember", tabs)
      const replies = yield* Effect.forEach(
        Array.from({ length: tabs }, () => restarted(jar)),
        (tab) => shop.visit(tab, items),
        { concurrency: "unbounded" }
      )
      for (const reply of replies) assert.deepStrictEqual(reply.exit, Exit.succeed(["tea"]))
      assert.strictEqual(new Set(replies.flatMap(({ setCookies }) => setCookies)).size, 2)
      const tab = new Http.Jar()
      for (const reply of replies) tab.keep(reply)
      assert.deepStrictEqual(yield* shop.ask(tab, items), ["tea"])
    }))

  it.live("loses no update of tabs that start at once", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithMember()
      const goods = ["milk", "bread", "salt", "eggs"]
      yield* Http.gather(shop.probe, "loadRemember", goods.length)
      const tabs = yield* Effect.forEach(goods, (good) =>
        Effect.gen(function*() {
          const tab = restarted(jar)
          yield* shop.ask(tab, add(good))
          return tab
        }), { concurrency: "unbounded" })
      const found = yield* shop.ask(tabs[0], items)
      assert.deepStrictEqual(found.toSorted(), ["tea", ...goods].toSorted())
    }))

  it.live("whose response was lost leads to what it was replaced by", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithMember()
      const lost = jar.copy()
      yield* shop.ask(jar.copy(), add("milk"))
      // The session has idled out meanwhile: the old remember cookie is all that there is.
      shop.time.advance(2 * day)
      assert.deepStrictEqual(yield* shop.ask(lost, items), ["tea", "milk"])
    }))

  it.live("that was replaced is answered with its successor, beside that of the session", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithMember()
      const newer = jar.copy()
      yield* shop.ask(newer, add("milk"))
      const reply = yield* shop.visit(jar, items)
      assert.deepStrictEqual(Http.names(reply), [Shop.cookie, remember])
      assert.strictEqual(jar.header, newer.header)
    }))

  it.live("is reuse when it comes back after its grace", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithMember({ settings: { onReuse: "revoke" } })
      const thief = restarted(jar)
      yield* shop.ask(jar, add("milk"))
      yield* shop.ask(jar, items)
      yield* Http.eventually(() => shop.probe.log.includes("note done"), () => "the new version was seen")
      shop.time.advance(11)
      shop.events.length = 0
      assert.deepStrictEqual(yield* shop.ask(thief, items), [])
      assert.include(Shop.eventsOf(shop), "SessionReused")
      assert.deepStrictEqual(yield* shop.ask(jar, items), [])
    }))

  it.live("loses against a logout that comes while it brings the session back", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithMember()
      const held = yield* Http.hold(shop.probe, "rescue")
      const tab = restarted(jar)
      const [late] = yield* Effect.all([
        shop.visit(tab, items),
        Effect.andThen(
          held.reached,
          Effect.andThen(shop.ask(jar.copy(), Cart.use((cart) => cart.logout)), held.release)
        )
      ], { concurrency: "unbounded" })
      assert.deepStrictEqual([late.status, late.setCookies], [200, []])
      assert.deepStrictEqual(yield* shop.ask(jar, items), [])
      assert.deepStrictEqual(yield* shop.ask(restarted(jar), items), [])
    }))

  it.live("that was planted before a login opens nothing after it", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ settings: { remember: true } })
      const thief = new Http.Jar()
      yield* shop.ask(thief, add("bait"))
      for (const options of [undefined, { remember: false }]) {
        const victim = thief.copy()
        yield* shop.ask(victim, login("alice", options))
        assert.deepStrictEqual(yield* shop.ask(restarted(thief), Effect.zip(items, subject)), [[], Option.none()])
        assert.deepStrictEqual(yield* shop.ask(thief.copy(), subject), Option.none())
        assert.deepStrictEqual(yield* shop.ask(victim, subject), Option.some("alice"))
        yield* shop.ask(thief, add("bait"))
      }
    }))

  it.live("a store that fails gives a 503 without any cookie", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithMember()
      for (const operation of ["loadRemember", "rescue"] as const) {
        shop.probe.around((name, run) => name === operation ? Effect.die(new Error("no store")) : run)
        const reply = yield* shop.visit(restarted(jar), items)
        assert.deepStrictEqual([reply.status, reply.setCookies], [503, []], operation)
      }
    }))

  it.live("is listed as one session with the other cookie", () =>
    Effect.gen(function*() {
      const { shop } = yield* openWithMember({ settings: { hashSubject: false } })
      const { port } = shop
      const now = Math.floor(shop.time.clock.currentTimeMillisUnsafe() / 1000)
      assert.lengthOf(yield* port.list("default", ["alice"], now), 1)
      assert.lengthOf(yield* port.list("default", ["alice"], now + 2 * day), 1)
      assert.strictEqual(yield* port.revokeAll("default", ["alice"], undefined), 1)
    }))
})

describe("the remember cookie, for several audiences", () => {
  it.live("brings all of them back; a logout of one keeps the others", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithMember()
      yield* shop.ask(jar, Account.use((account) => account.set({ name: "Alice" })))
      const browser = restarted(jar)
      const name = Account.use((account) => Effect.map(account.get, Option.map(({ name }) => name)))
      assert.deepStrictEqual(yield* shop.ask(browser, Effect.zip(items, name)), [["tea"], Option.some("Alice")])
      yield* shop.ask(browser, Cart.use((cart) => cart.logout))
      const again = restarted(browser)
      assert.deepStrictEqual(yield* shop.ask(again, Effect.zip(items, name)), [[], Option.some("Alice")])
    }))
})

describe("a proxy", () => {
  const forwarded = Effect.map(
    Effect.flatMap(HttpServerRequest.HttpServerRequest, SessionHttp.clearRequestCookie),
    ({ headers }) => headers["cookie"]
  )

  it.live("passes on no cookie of the session, and every other", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithMember()
      assert.isUndefined(yield* shop.ask(jar, forwarded))
      assert.isUndefined(yield* shop.ask(undefined, forwarded))
      jar.set("theme", "dark")
      jar.set("__Host-sessions", "mine")
      assert.strictEqual(yield* shop.ask(jar, forwarded), "theme=dark; __Host-sessions=mine")
    }))

  it.live("tells the server behind it about a session that was just brought back", () =>
    Effect.gen(function*() {
      const properties = ["id", "subject", "timeout"] as const
      const { jar, shop } = yield* openWithMember({
        settings: { requestHeaders: properties, responseHeaders: properties }
      })
      const reply = yield* shop.visit(
        restarted(jar),
        Effect.map(
          HttpServerRequest.HttpServerRequest,
          ({ headers }) => [headers["session-subject"], headers["session-timeout"]]
        )
      )
      assert.deepStrictEqual(reply.exit, Exit.succeed(["alice", "900"]))
      assert.deepStrictEqual([reply.headers["session-subject"], reply.headers["session-timeout"]], ["alice", "900"])
    }))
})
