import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { SessionError } from "../src/SessionError.ts"
import * as SessionStore from "../src/SessionStore.ts"
import {
  create,
  load,
  locate,
  newRescue,
  newSession,
  newVersion,
  randomBytes,
  start
} from "../src/testing/checks/sessions.ts"
import * as FaultyStore from "../src/testing/FaultyStore.ts"
import { sound } from "./fixtures/brokenStacks.ts"
import * as Http from "./utils/http.ts"
import * as Shop from "./utils/shop.ts"
import { add, items } from "./utils/shop.ts"

/** A store in memory, with a fault in front and without. */
const withFault = <A, E>(
  around: FaultyStore.Around,
  use: (faulty: SessionStore.Port, port: SessionStore.Port) => Effect.Effect<A, E>
) =>
  SessionStore.SessionPort.use((port) => use(FaultyStore.make(port, around), port)).pipe(
    Effect.provide(SessionStore.layerMemory)
  )

/** Every operation once, on what does not exist: the order is that of the port. */
const each = (
  port: SessionStore.Port
): ReadonlyArray<readonly [FaultyStore.Operation, Effect.Effect<unknown, SessionError>]> => {
  const at = locate("nobody")
  return [
    ["load", port.load(randomBytes(), start)],
    ["loadRemember", port.loadRemember(randomBytes(), start)],
    ["create", port.create(newSession(), start)],
    ["supersede", port.supersede(randomBytes(), newVersion(), undefined, start)],
    ["rescue", port.rescue(randomBytes(), newRescue(), randomBytes(), start)],
    ["touch", port.touch(randomBytes(), { deadline: start + 9, seen: undefined }, start)],
    ["note", port.touch(randomBytes(), { deadline: undefined, seen: 1 }, start)],
    ["revoke", port.revoke("nobody")],
    ["loadInfo", port.loadInfo(at, start)],
    ["saveInfo", port.saveInfo(at, { set: [], remove: [] }, start)],
    ["list", port.list("shop", ["alice"], start)],
    ["revokeAll", port.revokeAll("shop", ["alice"], undefined)]
  ]
}

const everyOperation = [
  "load",
  "loadRemember",
  "create",
  "supersede",
  "rescue",
  "touch",
  "note",
  "revoke",
  "loadInfo",
  "saveInfo",
  "list",
  "revokeAll"
] as const

describe("make", () => {
  it.effect("tells each operation by its name, and passes on what it is given and what it answers", () => {
    const seen: Array<FaultyStore.Operation> = []
    const watch: FaultyStore.Around = (operation, run) => Effect.tap(run, () => Effect.sync(() => seen.push(operation)))
    return withFault(
      watch,
      Effect.fnUntraced(function*(faulty, port) {
        for (const [, operation] of each(faulty)) yield* operation
        assert.deepStrictEqual(seen, [...everyOperation])
        const { handle, key } = yield* create(faulty)
        assert.deepStrictEqual(yield* load(faulty, key), yield* load(port, key))
        assert.isTrue(yield* faulty.revoke(handle))
        assert.isUndefined(yield* load(port, key))
      })
    )
  })

  it.effect("carries an operation out as often as it is run", () =>
    withFault(
      (_operation, run) => Effect.andThen(run, run),
      Effect.fnUntraced(function*(faulty, port) {
        const session = newSession()
        assert.strictEqual(yield* faulty.create(session, start), "Collision")
        assert.strictEqual((yield* load(port, session.key))?._tag, "Current")
      })
    ))
})

describe("faults", () => {
  it.effect("failBefore leaves nothing done", () =>
    withFault(
      FaultyStore.failBefore("create"),
      Effect.fnUntraced(function*(faulty, port) {
        const session = newSession()
        const error = yield* Effect.flip(faulty.create(session, start))
        assert.strictEqual(error.message, "The session store failed to create")
        assert.isUndefined(yield* load(port, session.key))
      })
    ))

  it.effect("failAfter leaves done what was asked", () =>
    withFault(
      FaultyStore.failAfter("create"),
      Effect.fnUntraced(function*(faulty, port) {
        const session = newSession()
        const error = yield* Effect.flip(faulty.create(session, start))
        assert.strictEqual(error.message, "The session store failed to create")
        assert.strictEqual((yield* load(port, session.key))?._tag, "Current")
      })
    ))

  it.effect.each([FaultyStore.failBefore, FaultyStore.failAfter])(
    "%o fails the operations that are named",
    (fail) =>
      Effect.forEach(
        everyOperation,
        (named) =>
          withFault(fail(named), (faulty) =>
            Effect.forEach(each(faulty), ([operation, run]) =>
              Effect.map(Effect.result(run), ({ _tag }) =>
                assert.strictEqual(_tag, operation === named ? "Failure" : "Success", `${operation}, named ${named}`))))
      )
  )

  it.effect("a note that fails is a touch that fails", () =>
    withFault(
      FaultyStore.failBefore("note"),
      Effect.fnUntraced(function*(faulty) {
        const error = yield* Effect.flip(faulty.touch(randomBytes(), { deadline: undefined, seen: 1 }, start))
        assert.strictEqual(error.message, "The session store failed to touch")
      })
    ))

  it.effect("delay does it when the time is over, and others at once", () =>
    withFault(
      FaultyStore.delay("3 seconds", "create"),
      Effect.fnUntraced(function*(faulty, port) {
        const session = newSession()
        const late = yield* Effect.forkChild(faulty.create(session, start))
        yield* TestClock.adjust("2999 millis")
        assert.isUndefined(yield* load(faulty, session.key))
        yield* TestClock.adjust("1 millis")
        assert.strictEqual(yield* Fiber.join(late), "Created")
        assert.strictEqual((yield* load(port, session.key))?._tag, "Current")
      })
    ))

  it.effect("partition answers nothing as long as the store is out of reach", () => {
    let down = true
    return withFault(
      FaultyStore.partition(() => down),
      Effect.fnUntraced(function*(faulty, port) {
        const { key } = yield* create(port)
        for (const [operation, run] of each(faulty)) {
          const waiting = yield* Effect.forkChild(run)
          yield* TestClock.adjust("1 hour")
          assert.isUndefined(waiting.pollUnsafe(), operation)
          yield* Fiber.interrupt(waiting)
        }
        down = false
        assert.strictEqual((yield* load(faulty, key))?._tag, "Current")
      })
    )
  })

  it.effect("all puts the first around the second", () => {
    const order: Array<string> = []
    const say = (name: string): FaultyStore.Around => (_operation, run) =>
      Effect.suspend(() => {
        order.push(name)
        return Effect.tap(run, () => Effect.sync(() => order.push(`${name} done`)))
      })
    return withFault(
      FaultyStore.all(say("outer"), FaultyStore.failBefore("list"), say("inner")),
      Effect.fnUntraced(function*(faulty) {
        yield* faulty.revoke("nobody")
        assert.deepStrictEqual(order, ["outer", "inner", "inner done", "outer done"])
        order.length = 0
        yield* Effect.flip(faulty.list("shop", [], start))
        assert.deepStrictEqual(order, ["outer"])
      })
    )
  })

  it.effect("all of none is no fault", () => withFault(FaultyStore.all(), (faulty) => create(faulty)))
})

describe("layer", () => {
  it.effect("is the placement and the port, with the fault, and fails as the store's layer does", () =>
    Effect.gen(function*() {
      const around = FaultyStore.failBefore("list")
      const layer = FaultyStore.layer({ layer: SessionStore.layerMemory, around })
      const [placement, port] = yield* Effect.provide(
        Effect.all([SessionStore.SessionStore, SessionStore.SessionPort]),
        layer
      )
      assert.deepStrictEqual(placement, { _tag: "Server", port, layout: "Own" })
      assert.instanceOf(yield* Effect.flip(port.list("shop", [], start)), SessionError)
      const broken = FaultyStore.layer({ layer: SessionStore.layerPort(Effect.fail("no database")), around })
      assert.strictEqual(yield* Effect.flip(Effect.scoped(Layer.build(broken))), "no database")
    }))
})

/** A shop whose store is in memory behind a fault that can be changed. */
const openShop = (fault: { around: FaultyStore.Around }) =>
  Shop.open({
    stack: {
      ...sound,
      store: () =>
        FaultyStore.layer({
          layer: SessionStore.layerMemory,
          around: (operation, run) => fault.around(operation, run)
        })
    },
    settings: { commitTimeout: "100 millis" }
  })

const none: FaultyStore.Around = (_operation, run) => run

describe("a session on a store with faults", () => {
  const writes = ["create", "supersede"] as const
  it.live.each([
    { name: "failBefore", around: FaultyStore.failBefore(...writes), kept: ["tea"] },
    { name: "failAfter", around: FaultyStore.failAfter(...writes), kept: ["tea", "milk"] },
    { name: "delay", around: FaultyStore.delay("1 hour", ...writes), kept: ["tea"] },
    { name: "partition", around: FaultyStore.partition(() => true), kept: ["tea"] }
  ])(
    "$name: a 503 without a cookie, and the old one still leads to what is stored",
    ({ around, kept }) =>
      Effect.gen(function*() {
        const fault = { around: none }
        const shop = yield* openShop(fault)
        const jar = new Http.Jar()
        yield* shop.ask(jar, add("tea"))
        const before = jar.header
        for (const visitor of [jar, new Http.Jar()]) {
          fault.around = around
          const { setCookies, status } = yield* shop.visit(visitor, add("milk"))
          assert.deepStrictEqual([status, setCookies], [503, []])
        }
        assert.strictEqual(jar.header, before)
        fault.around = none
        assert.deepStrictEqual(yield* shop.ask(jar, items), kept)
      })
  )

  it.live("a store that is slow answers late, and with the cookie", () =>
    Effect.gen(function*() {
      const reached = yield* Deferred.make<void>()
      const fault: { around: FaultyStore.Around } = {
        around: FaultyStore.all(
          (operation, run) => operation === "create" ? Effect.andThen(Deferred.succeed(reached, undefined), run) : run,
          FaultyStore.delay("20 millis", "create")
        )
      }
      const shop = yield* openShop(fault)
      const jar = new Http.Jar()
      yield* shop.ask(jar, add("tea"))
      yield* Deferred.await(reached)
      assert.deepStrictEqual(yield* shop.ask(jar, items), ["tea"])
    }))
})
