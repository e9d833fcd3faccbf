/**
 * Invariants I2 to I5, which hold for every interleaving: here the interleavings that break session libraries, made by
 * holding the store. Each check also has to fail on a stack that writes whatever it is given.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Option } from "effect"
import { sound, upserts } from "./fixtures/brokenStacks.ts"
import type { Stack } from "./fixtures/brokenStacks.ts"
import { catches } from "./utils/catches.ts"
import * as Http from "./utils/http.ts"
import * as Shop from "./utils/shop.ts"

/** A rolling timeout whose last quarter begins before the session has idled away. */
const settings = { idlingTimeout: "1 hour", hashSubject: false } as const

const renewalIsDue = 2701

const touchIsDue = 61

const range = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => i)

/** How a session ends while another request of it is under way. */
const endings = {
  "a logout": (shop, jar) => shop.ask(jar, Shop.Cart.use((cart) => cart.logout)),
  "a revoke by handle": (shop, jar) =>
    Effect.flatMap(
      shop.ask(jar.copy(), Shop.Cart.use((cart) => cart.handle)),
      (handle) => shop.port.revoke(Option.getOrThrow(handle))
    ),
  "a revoke by subject": (shop) => shop.port.revokeAll("default", ["alice"], undefined)
} satisfies { readonly [name: string]: (shop: Shop.Shop, jar: Http.Jar) => Effect.Effect<unknown, unknown> }

/** What the late request does, how old its session is, and where in the store it is overtaken. */
const lateRequests = {
  "a slow write": { handler: Shop.add("late"), age: 0, held: "supersede" },
  "a slow read, with a renewal by time": { handler: Shop.items, age: renewalIsDue, held: "supersede" },
  "a slow touch": { handler: Shop.items, age: touchIsDue, held: "touch" },
  "a slow renewal": { handler: Shop.Cart.use((cart) => cart.renew), age: 0, held: "supersede" }
} as const

/** I2: after a revoke is acknowledged, no request, however late, brings the session back. */
const logoutWins = Effect.fnUntraced(function*(
  stack: Stack,
  ending: keyof typeof endings,
  late: keyof typeof lateRequests
) {
  const shop = yield* Shop.open({ stack, settings })
  const jar = new Http.Jar()
  yield* shop.ask(jar, Effect.andThen(Shop.add("tea"), Shop.Cart.use((cart) => cart.setSubject("alice"))))
  const { age, handler, held } = lateRequests[late]
  shop.time.advance(age)

  const gate = yield* Http.hold(shop.probe, held)
  const other = jar.copy()
  const running = yield* Effect.forkChild(shop.visit(jar, handler))
  yield* gate.reached
  yield* endings[ending](shop, other)
  yield* gate.release
  const reply = yield* Fiber.join(running)

  assert.strictEqual(reply.status, 200)
  assert.deepStrictEqual(reply.setCookies, [], "the late response sets a cookie")
  assert.deepStrictEqual(yield* shop.ask(jar.copy(), Shop.items), [], "the session is back")
  assert.strictEqual(shop.events.filter(({ _tag }) => _tag === "SessionGone").length, 1)
})

/** I3: requests that update at once all take effect. */
const bothUpdatesSurvive = Effect.fnUntraced(function*(stack: Stack, count: number) {
  const shop = yield* Shop.open({ stack, settings })
  const jar = new Http.Jar()
  yield* shop.ask(jar, Shop.add("tea"))

  yield* Http.gather(shop.probe, "load", count)
  const replies = yield* Effect.forEach(range(count), (i) => shop.visit(jar.copy(), Shop.add(`item ${i}`)), {
    concurrency: "unbounded"
  })
  yield* Effect.forEach(replies, (reply) => {
    assert.strictEqual(reply.status, 200)
    const racer = jar.copy()
    racer.keep(reply)
    return Effect.map(
      shop.ask(racer, Shop.items),
      (items) =>
        assert.deepStrictEqual(items.toSorted(), [...range(count).map((i) => `item ${i}`), "tea"], "an update was lost")
    )
  })
})

/** I4: requests that refresh one version at once make one successor, and answer with the same cookie. */
const oneSuccessor = Effect.fnUntraced(function*(stack: Stack, count: number) {
  const shop = yield* Shop.open({ stack, settings })
  const jar = new Http.Jar()
  yield* shop.ask(jar, Shop.add("tea"))
  shop.time.advance(renewalIsDue)

  yield* Http.gather(shop.probe, "load", count)
  const replies = yield* Effect.forEach(range(count), () => shop.visit(jar.copy(), Shop.items), {
    concurrency: "unbounded"
  })
  const cookies = new Set(replies.flatMap(({ setCookies }) => setCookies))
  assert.strictEqual(cookies.size, 1, "several successors")
  assert.isTrue(replies.every(({ setCookies }) => setCookies.length === 1), "a racer without a cookie")
  jar.keep(replies[0] ?? assert.fail())
  assert.deepStrictEqual(yield* shop.ask(jar, Shop.items), ["tea"])
  assert.strictEqual(shop.events.filter(({ _tag }) => _tag === "SessionSaved").length, 1)
})

/** I5: of explicit renewals at once, one yields a cookie, and the version that all began with is dead. */
const oneLiveCookie = Effect.fnUntraced(function*(stack: Stack, count: number) {
  const shop = yield* Shop.open({ stack, settings })
  const jar = new Http.Jar()
  yield* shop.ask(jar, Shop.add("tea"))

  yield* Http.gather(shop.probe, "load", count)
  const replies = yield* Effect.forEach(
    range(count),
    () => shop.visit(jar.copy(), Shop.Cart.use((cart) => cart.renew)),
    {
      concurrency: "unbounded"
    }
  )
  assert.deepStrictEqual(yield* shop.ask(jar.copy(), Shop.items), [], "the old cookie lives")
  const winners = replies.filter(({ setCookies }) => setCookies.length > 0)
  assert.strictEqual(winners.length, 1, "several cookies live")
  jar.keep(winners[0] ?? assert.fail())
  assert.deepStrictEqual(yield* shop.ask(jar, Shop.items), ["tea"])
})

/** What somebody who planted a cookie does with the session, before or while its victim logs in. */
const attacks = {
  "waits": () => Effect.void,
  "changed it before": (shop, planted) => shop.ask(planted, Shop.add("poison"))
} satisfies { readonly [name: string]: (shop: Shop.Shop, planted: Http.Jar) => Effect.Effect<void> }

/** I5: a cookie that was planted before a login never becomes a logged-in one. */
const loginShakesOff = Effect.fnUntraced(function*(stack: Stack, attack: keyof typeof attacks) {
  const shop = yield* Shop.open({ stack, settings })
  const planted = new Http.Jar()
  yield* shop.ask(planted, Shop.add("bait"))
  const victim = planted.copy()
  yield* attacks[attack](shop, planted)
  // A request of the attacker is under way: it has read the session, and will change it.
  const gate = yield* Http.hold(shop.probe, "supersede")
  const running = yield* Effect.forkChild(shop.visit(planted, Shop.add("poison")))
  yield* gate.reached
  yield* shop.ask(victim, Shop.Cart.use((cart) => cart.login("alice")))
  yield* gate.release
  const raced = yield* Fiber.join(running)

  const subject = Shop.Cart.use((cart) => cart.subject)
  assert.deepStrictEqual(raced.setCookies, [], "the attacker's request answers with a cookie")
  assert.deepStrictEqual(yield* shop.ask(planted, subject), Option.none(), "the planted cookie is logged in")
  assert.deepStrictEqual(yield* shop.ask(victim, subject), Option.some("alice"))
})

describe("races", () => {
  describe.each(Object.keys(endings) as ReadonlyArray<keyof typeof endings>)("%s wins over", (ending) => {
    it.live.each(Object.keys(lateRequests) as ReadonlyArray<keyof typeof lateRequests>)(
      "%s",
      (late) => logoutWins(sound, ending, late)
    )
  })

  it.live("a late response does not clear the cookie of a newer login", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ settings })
      const jar = new Http.Jar()
      yield* shop.ask(jar, Shop.add("tea"))
      const gate = yield* Http.hold(shop.probe, "supersede")
      const running = yield* Effect.forkChild(shop.visit(jar.copy(), Shop.add("late")))
      yield* gate.reached
      yield* shop.ask(jar, Shop.Cart.use((cart) => cart.destroy))
      yield* shop.ask(jar, Shop.Cart.use((cart) => cart.login("alice")))
      yield* gate.release
      // One browser: what arrives last is what it keeps.
      jar.keep(yield* Fiber.join(running))
      assert.deepStrictEqual(yield* shop.ask(jar, Shop.Cart.use((cart) => cart.subject)), Option.some("alice"))
    }))

  it.live.each([2, 8])("%i updates at once all take effect", (count) => bothUpdatesSurvive(sound, count))

  it.live("a blind set beside an update is the last writer's", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ settings })
      const jar = new Http.Jar()
      yield* shop.ask(jar, Shop.add("tea"))
      const gate = yield* Http.hold(shop.probe, "supersede")
      const running = yield* Effect.forkChild(
        shop.visit(jar.copy(), Shop.Cart.use((cart) => cart.set({ items: ["coffee"] })))
      )
      yield* gate.reached
      yield* shop.ask(jar, Shop.add("milk"))
      yield* gate.release
      yield* Fiber.join(running)
      assert.deepStrictEqual(yield* shop.ask(jar, Shop.items), ["coffee"])
    }))

  it.live("an update of a part that was logged out meanwhile is dropped, and the rest stays", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ settings })
      const jar = new Http.Jar()
      const name = Shop.Account.use((account) => account.set({ name: "Alice" }))
      yield* shop.ask(jar, Effect.andThen(Shop.add("tea"), name))
      const gate = yield* Http.hold(shop.probe, "supersede")
      const running = yield* Effect.forkChild(shop.visit(jar.copy(), name))
      yield* gate.reached
      yield* shop.ask(jar, Shop.Account.use((account) => account.logout))
      yield* gate.release
      const late = yield* Fiber.join(running)
      assert.deepStrictEqual([late.status, late.setCookies], [200, []])
      assert.isFalse(yield* shop.ask(jar, Shop.Account.use((account) => account.exists)))
      assert.deepStrictEqual(yield* shop.ask(jar, Shop.items), ["tea"])
    }))

  it.live("a part that is new survives an update of another", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ settings })
      const jar = new Http.Jar()
      yield* shop.ask(jar, Shop.add("tea"))
      const gate = yield* Http.hold(shop.probe, "supersede")
      const name = Shop.Account.use((account) => account.set({ name: "Alice" }))
      const running = yield* Effect.forkChild(shop.visit(jar.copy(), name))
      yield* gate.reached
      yield* shop.ask(jar, Shop.add("milk"))
      yield* gate.release
      jar.keep(yield* Fiber.join(running))
      assert.deepStrictEqual(yield* shop.ask(jar, Shop.items), ["tea", "milk"])
      assert.isTrue(yield* shop.ask(jar, Shop.Account.use((account) => account.exists)))
    }))

  it.live("20 refreshes at once make one successor", () => oneSuccessor(sound, 20))

  it.live("20 explicit renewals at once leave one live cookie", () => oneLiveCookie(sound, 20))

  it.live.each(Object.keys(attacks) as ReadonlyArray<keyof typeof attacks>)(
    "a planted cookie never becomes a logged-in one: the attacker %s",
    (attack) => loginShakesOff(sound, attack)
  )

  it.live("an old cookie leads to the newest version, over many in between", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ settings })
      const jar = new Http.Jar()
      yield* shop.ask(jar, Shop.add("tea"))
      const tab = jar.copy()
      for (const index of range(20)) yield* shop.ask(tab, Shop.add(`biscuit ${index}`))
      assert.lengthOf(yield* shop.ask(jar, Shop.items), 21)
    }))

  it.live("an update that keeps losing is a conflict, and its response sets no cookie", () =>
    Effect.gen(function*() {
      const shop = yield* Shop.open({ settings })
      const jar = new Http.Jar()
      yield* shop.ask(jar, Shop.add("tea"))
      const rival = jar.copy()
      let racing = false
      shop.probe.around((operation, run) => {
        if (operation !== "supersede" || racing) return run
        racing = true
        return Effect.suspend(() => shop.ask(rival, Shop.add("rival"))).pipe(
          Effect.andThen(Effect.sync(() => {
            racing = false
          })),
          Effect.andThen(run)
        )
      })
      const { exit, setCookies, status } = yield* shop.visit(
        jar,
        Effect.andThen(Shop.add("loser"), Effect.flip(Shop.Cart.use((cart) => cart.commit)))
      )
      assert.strictEqual(Exit.isSuccess(exit) ? exit.value.reason._tag : "", "Conflict")
      assert.deepStrictEqual([status, setCookies], [200, []])
      const unhandled = yield* shop.visit(rival.copy(), Shop.add("loser"))
      assert.deepStrictEqual([unhandled.status, unhandled.setCookies], [409, []])
    }))
})

describe("the checks catch, in a store that writes whatever it is given,", () => {
  catches("a session that is back", () => logoutWins(upserts, "a logout", "a slow write"), /sets a cookie/)
  catches(
    "a renewal by time that brings it back",
    () => logoutWins(upserts, "a logout", "a slow read, with a renewal by time"),
    /sets a cookie/
  )
  catches("a lost update", () => bothUpdatesSurvive(upserts, 2), /an update was lost/)
  catches("several successors", () => oneSuccessor(upserts, 20), /several successors/)
  catches("an old cookie that lives", () => oneLiveCookie(upserts, 20), /the old cookie lives/)
  catches("a planted cookie", () => loginShakesOff(upserts, "waits"), /answers with a cookie/)
})
