import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import * as Http from "./utils/http.ts"
import { Account, add, Cart, items, open } from "./utils/shop.ts"

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
