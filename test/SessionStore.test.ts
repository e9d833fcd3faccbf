import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option } from "effect"
import { InvalidConfig, SessionError } from "../src/SessionError.ts"
import * as SessionStore from "../src/SessionStore.ts"
import { brokenStores } from "./fixtures/brokenStores.ts"
import { foundBy } from "./fixtures/foundBy.ts"
import {
  create,
  current,
  grace,
  handles,
  list,
  load,
  newEntry,
  newSession,
  randomBytes,
  replace,
  start,
  superseded,
  touch
} from "./utils/storeSessions.ts"
import { checks, storeSuite } from "./utils/storeSuite.ts"

storeSuite("layerMemory", SessionStore.layerMemory)

describe("storeSuite finds a store in which", () => {
  // `Object.entries` forgets the keys' type, which `foundBy` has.
  const names = Object.keys(foundBy) as Array<keyof typeof brokenStores>
  for (const name of names) {
    it.effect(name, () =>
      Effect.gen(function*() {
        const port = brokenStores[name](yield* SessionStore.SessionPort)
        for (const finder of foundBy[name]) {
          const check = checks.find((check) => check.name === finder)
          assert.isDefined(check, `no check is called "${finder}"`)
          const found = yield* Effect.match(check.run(port), { onFailure: () => true, onSuccess: () => false })
          assert.isTrue(found, `"${finder}" holds`)
        }
      }).pipe(Effect.provide(SessionStore.layerMemory)))
  }
})

describe("layerMemoryWith", () => {
  const withStore = <A, E>(maxSessions: number, use: (port: SessionStore.Port) => Effect.Effect<A, E>) =>
    SessionStore.SessionPort.use(use).pipe(Effect.provide(SessionStore.layerMemoryWith({ maxSessions })))

  it.effect("ends the session that was not seen for the longest time when there is one too many", () =>
    withStore(
      3,
      Effect.fnUntraced(function*(port) {
        const entry = newEntry()
        const make = () => create(port, { index: [entry] })
        const touched = yield* make()
        const saved = yield* make()
        const loaded = yield* make()
        yield* touch(port, touched.key, undefined)
        const next = yield* replace(port, saved.key, { index: [entry] })
        // That nobody wrote is no sight: `loaded` goes first.
        yield* load(port, loaded.key)
        const fourth = yield* make()
        assert.isUndefined(yield* load(port, loaded.key))
        assert.sameMembers([...handles(yield* list(port, entry))], [touched.handle, saved.handle, fourth.handle])
        yield* make()
        assert.isUndefined(yield* load(port, touched.key))
        assert.strictEqual((yield* load(port, next.key))?._tag, "Current")
        yield* make()
        assert.isUndefined(yield* load(port, next.key))
        assert.isUndefined(yield* load(port, saved.key))
        assert.lengthOf(yield* list(port, entry), 3)
        assert.isFalse(yield* port.revoke(saved.handle))
      })
    ))

  it.effect("holds the newest session if it may hold one", () =>
    withStore(
      1,
      Effect.fnUntraced(function*(port) {
        const first = yield* create(port)
        const second = yield* create(port)
        assert.isUndefined(yield* load(port, first.key))
        assert.deepStrictEqual(yield* load(port, second.key), current(second.handle, second, true))
      })
    ))

  it.effect("a session that was revoked makes room", () =>
    withStore(
      2,
      Effect.fnUntraced(function*(port) {
        const first = yield* create(port)
        const second = yield* create(port)
        yield* port.revoke(second.handle)
        yield* create(port)
        assert.strictEqual((yield* load(port, first.key))?._tag, "Current")
      })
    ))

  it.effect("expired sessions make room, so that none is ended that lives, however busy the others are", () =>
    withStore(
      40,
      Effect.fnUntraced(function*(port) {
        const rounds = 200
        const deadline = start + rounds
        const idle = yield* create(port, { deadline })
        const busy = yield* Effect.forEach(Array.from({ length: 10 }), () => create(port, { deadline }))
        const newest = new Map(busy.map(({ handle, key }) => [handle, key]))
        for (let round = 1; round <= rounds; round++) {
          const now = start + round
          yield* create(port, { deadline: now + 4 }, now)
          for (const [handle, key] of newest) {
            yield* touch(port, key, grace, now)
            if (round % 3 === 0) newest.set(handle, (yield* replace(port, key, { deadline }, now)).key)
          }
        }
        assert.deepStrictEqual(yield* load(port, idle.key, deadline), current(idle.handle, idle, true))
      })
    ))

  it.effect("remembers 32 superseded versions of a session, and forgets the oldest", () =>
    withStore(
      10,
      Effect.fnUntraced(function*(port) {
        const { handle, key } = yield* create(port)
        const second = yield* replace(port, key)
        const third = yield* replace(port, second.key)
        let last = third.key
        for (let made = 3; made <= 32; made++) last = (yield* replace(port, last)).key
        assert.strictEqual((yield* load(port, key))?._tag, "Superseded")
        yield* replace(port, last)
        assert.isUndefined(yield* load(port, key))
        assert.deepStrictEqual(yield* load(port, second.key), superseded(handle, third.successor))
        // Nothing is left of the key.
        yield* create(port, { key })
        assert.isTrue(yield* port.revoke(handle))
        assert.strictEqual((yield* load(port, key))?._tag, "Current")
      })
    ))

  it.effect("refuses to give a session the key that it has", () =>
    withStore(
      10,
      Effect.fnUntraced(function*(port) {
        const session = yield* create(port)
        const exit = yield* Effect.exit(port.supersede(session.key, session, randomBytes(126), start))
        assert.isTrue(Exit.isFailure(exit))
        assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
      })
    ))

  it.effect("each build is a store of its own", () =>
    Effect.gen(function*() {
      const session = newSession()
      const layer = SessionStore.layerMemoryWith({})
      const make = SessionStore.SessionPort.use((port) => port.create(session, start))
      assert.strictEqual(yield* Effect.provide(make, layer), "Created")
      assert.strictEqual(yield* Effect.provide(make, layer), "Created")
    }))

  for (const maxSessions of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    it.effect(`refuses a maxSessions of ${maxSessions}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(Effect.scoped(Layer.build(SessionStore.layerMemoryWith({ maxSessions }))))
        assert.instanceOf(error, SessionError)
        assert.instanceOf(error.reason, InvalidConfig)
        assert.include(error.message, `maxSessions: ${maxSessions} `)
      }))
  }
})

describe("layerCookie", () => {
  it.effect("places sessions in the cookie, and provides no port", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* SessionStore.SessionStore, { _tag: "Cookie" })
      assert.isTrue(Option.isNone(yield* Effect.serviceOption(SessionStore.SessionPort)))
    }).pipe(Effect.provide(SessionStore.layerCookie)))
})

describe("layerPort", () => {
  it.effect("provides one port, as the placement and by itself", () =>
    Effect.gen(function*() {
      const placement = yield* SessionStore.SessionStore
      assert.deepStrictEqual(placement, { _tag: "Server", port: yield* SessionStore.SessionPort, layout: "Own" })
    }).pipe(Effect.provide(SessionStore.layerMemory)))

  it.effect("holds what the port has acquired until the layer is released", () =>
    Effect.gen(function*() {
      const events: Array<string> = []
      const layer = SessionStore.layerPort(
        Effect.acquireRelease(
          Effect.as(Effect.sync(() => events.push("acquired")), yield* SessionStore.SessionPort),
          () => Effect.sync(() => events.push("released"))
        )
      )
      yield* Effect.provide(Effect.sync(() => events.push("used")), layer)
      assert.deepStrictEqual(events, ["acquired", "used", "released"])
    }).pipe(Effect.provide(SessionStore.layerMemory)))

  it.effect("fails as the port does", () =>
    Effect.gen(function*() {
      const layer = SessionStore.layerPort(Effect.fail("no database"))
      assert.strictEqual(yield* Effect.flip(Effect.scoped(Layer.build(layer))), "no database")
    }))
})
