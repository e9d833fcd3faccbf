import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Option } from "effect"
import * as Http from "./utils/http.ts"
import { Account, add, Cart, eventsOf, items, open, openWithCart, valueOf } from "./utils/shop.ts"

const rememberCookie = "__Host-remember"

const settings = { remember: true, rememberSafety: "Low" } as const

/** A jar with the remember cookie alone: the browser was closed, or somebody planted it. */
const remembered = (jar: Http.Jar): Http.Jar => new Http.Jar([[rememberCookie, jar.get(rememberCookie) ?? ""]])

const whoami = Cart.use((cart) => Effect.map(cart.subject, Option.getOrNull))

describe("a session that its remember cookie brought back", () => {
  it.live("leaves the old remember cookie nothing when somebody logs in", () =>
    Effect.gen(function*() {
      for (const message of ["", "after the login's response was seen"]) {
        const shop = yield* open({ settings })
        const attacker = new Http.Jar()
        yield* shop.ask(attacker, add("bait"))
        const planted = remembered(attacker)
        const victim = remembered(attacker)
        yield* shop.ask(victim, Cart.use((cart) => cart.login("alice")))
        if (message !== "") assert.strictEqual(yield* shop.ask(victim, whoami), "alice")
        assert.deepStrictEqual(yield* shop.ask(planted, Effect.zip(whoami, items)), [null, []], message)
        assert.strictEqual(yield* shop.ask(attacker, whoami), null, message)
        assert.deepStrictEqual(yield* shop.ask(victim, Effect.zip(whoami, items)), ["alice", ["bait"]], message)
        assert.strictEqual(yield* shop.ask(remembered(victim), whoami), "alice", message)
      }
    }))

  it.live("is ended by a tab that logs out after another one was quicker to bring it back", () =>
    Effect.gen(function*() {
      const shop = yield* open({ settings })
      const jar = new Http.Jar()
      yield* shop.ask(jar, add("tea"))
      const quicker = remembered(jar)
      const tab = remembered(jar)
      yield* shop.ask(quicker, items)
      yield* shop.ask(tab, Cart.use((cart) => cart.destroy))
      assert.isUndefined(tab.get(rememberCookie))
      assert.deepStrictEqual(yield* shop.ask(quicker, items), [])
      assert.deepStrictEqual(yield* shop.ask(remembered(jar), items), [])
    }))

  it.live("is the same one after a login, by one write", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ settings })
      const handle = yield* shop.ask(jar, Cart.use((cart) => cart.handle))
      const back = remembered(jar)
      shop.probe.log.length = 0
      shop.events.length = 0
      yield* shop.ask(back, Cart.use((cart) => cart.login("alice")))
      assert.deepStrictEqual(Http.writes(shop.probe), ["rescue"])
      assert.deepStrictEqual(eventsOf(shop).slice(-2), ["SessionRescued", "SessionRenewed"])
      assert.deepStrictEqual(yield* shop.ask(back, Cart.use((cart) => cart.handle)), handle)
      assert.deepStrictEqual(yield* shop.ask(back, Effect.zip(whoami, items)), ["alice", ["tea"]])
    }))

  it.live("leaves a request that brings it back too nothing, if the login is quicker", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ settings })
      const [planted, victim] = [remembered(jar), remembered(jar)]
      const held = yield* Http.hold(shop.probe, "rescue")
      const late = yield* Effect.forkChild(shop.visit(planted, add("bait")))
      yield* held.reached
      yield* shop.ask(victim, Cart.use((cart) => cart.login("alice")))
      yield* held.release
      assert.deepStrictEqual((yield* Fiber.join(late)).setCookies, [])
      assert.deepStrictEqual(yield* shop.ask(planted, Effect.zip(whoami, items)), [null, []])
      assert.deepStrictEqual(yield* shop.ask(victim, Effect.zip(whoami, items)), ["alice", ["tea"]])
    }))

  it.live("leaves a request that brings it back too nothing, if the login is slower", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ settings })
      const [planted, victim] = [remembered(jar), remembered(jar)]
      const held = yield* Http.hold(shop.probe, "rescue")
      const late = yield* Effect.forkChild(shop.visit(victim, Cart.use((cart) => cart.login("alice"))))
      yield* held.reached
      yield* shop.ask(planted, add("bait"))
      yield* held.release
      yield* Fiber.join(late)
      assert.include(eventsOf(shop), "SessionConflict")
      for (const copy of [planted, remembered(planted), remembered(jar)]) {
        assert.deepStrictEqual(yield* shop.ask(copy, Effect.zip(whoami, items)), [null, []])
      }
      assert.deepStrictEqual(yield* shop.ask(victim, Effect.zip(whoami, items)), ["alice", ["tea", "bait"]])
      assert.strictEqual(yield* shop.ask(remembered(victim), whoami), "alice")
    }))

  it.live("is forgotten when its user declines to be remembered", () =>
    Effect.gen(function*() {
      const shop = yield* open({ settings })
      const jar = new Http.Jar()
      yield* shop.ask(jar, add("tea"))
      const copy = remembered(jar)
      const back = remembered(jar)
      yield* shop.ask(back, Cart.use((cart) => cart.setRemember(false)))
      assert.deepStrictEqual(yield* shop.ask(back, items), ["tea"])
      assert.isUndefined(back.get(rememberCookie))
      assert.deepStrictEqual(yield* shop.ask(copy, items), [])
    }))
})

describe("a session that was revoked while its remember cookie brought it back", () => {
  it.live.each(
    [
      ["a renewal", Cart.use((cart) => cart.renew), "rescue"],
      ["the wish not to be remembered", Cart.use((cart) => cart.setRemember(false)), "revoke"]
    ] as const
  )("stays revoked in spite of %s", ([, change, operation]) =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ settings })
      const back = remembered(jar)
      const handle = yield* shop.ask(jar, Cart.use((cart) => Effect.map(cart.handle, Option.getOrThrow)))
      const held = yield* Http.hold(shop.probe, operation)
      const late = yield* Effect.forkChild(shop.visit(back, Effect.andThen(add("milk"), change)))
      yield* held.reached
      assert.isTrue(yield* shop.port.revoke(handle))
      yield* held.release
      assert.deepStrictEqual((yield* Fiber.join(late)).setCookies, [])
      assert.strictEqual(eventsOf(shop).at(-1), "SessionGone")
      assert.deepStrictEqual(yield* shop.ask(back, items), [])
    }))
})

describe("who declined to be remembered", () => {
  it.live("is asked again after the session has ended", () =>
    Effect.gen(function*() {
      const shop = yield* open({ settings })
      const jar = new Http.Jar()
      yield* shop.ask(jar, Effect.andThen(add("tea"), Cart.use((cart) => cart.setRemember(false))))
      yield* shop.ask(jar, Cart.use((cart) => cart.login("alice", { remember: true })))
      assert.isUndefined(jar.get(rememberCookie))
      yield* shop.ask(
        jar,
        Effect.andThen(
          Account.use((account) => account.destroy),
          Cart.use((cart) => cart.login("bob", { remember: true }))
        )
      )
      assert.isDefined(jar.get(rememberCookie))
    }))
})

describe("a session of two audiences ends", () => {
  const name = Account.use((account) => account.set({ name: "Alice" }))
  const logoutOfBoth = [Cart.use((cart) => cart.logout), Account.use((account) => account.logout)] as const

  it.live("when two requests at once log out of one each", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ settings })
      yield* shop.ask(jar, name)
      const [ofCart, ofAccount] = [jar.copy(), jar.copy()]
      const held = yield* Http.hold(shop.probe, "supersede")
      const first = yield* Effect.forkChild(shop.visit(ofCart, logoutOfBoth[0]))
      yield* held.reached
      yield* shop.visit(ofAccount, logoutOfBoth[1])
      yield* held.release
      yield* Fiber.join(first)
      assert.strictEqual(eventsOf(shop).at(-1), "SessionEnded")
      assert.strictEqual(valueOf(ofCart), "")
      assert.isUndefined(ofCart.get(rememberCookie))
      assert.deepStrictEqual(yield* shop.ask(ofAccount, Cart.use((cart) => cart.refusal)), Option.some("NotStored"))
    }))

  it.live("when a request that dies has logged out of the only one, and changed another", () =>
    Effect.gen(function*() {
      const { jar, shop } = yield* openWithCart({ settings })
      const copy = jar.copy()
      yield* shop.visit(jar, name.pipe(Effect.andThen(logoutOfBoth[0]), Effect.andThen(Effect.die("boom"))))
      assert.strictEqual(valueOf(jar), "")
      assert.deepStrictEqual(yield* shop.ask(copy, Cart.use((cart) => cart.refusal)), Option.some("NotStored"))
      const back = remembered(copy)
      yield* shop.visit(back, name.pipe(Effect.andThen(logoutOfBoth[0]), Effect.andThen(Effect.die("boom"))))
      assert.deepStrictEqual(yield* shop.ask(back, items), [])
    }))
})
