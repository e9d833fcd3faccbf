/** What holds of requests that meet in the tables of a reference, and what does not. */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { SessionError } from "../../src/SessionError.ts"
import { start } from "../../src/testing/checks/sessions.ts"
import { connect, untilWaiting } from "./postgres.ts"
import {
  at,
  base64url,
  create,
  layerPg,
  newRemember,
  newStore,
  newVersion,
  type Reference,
  type Store,
  successor
} from "./reference.ts"

export const referenceRaces = (reference: Reference): void =>
  // Who waits for others looks again after a while: a real one.
  layer(layerPg, { excludeTestServices: true })(`${reference.name}: requests at once`, (it) => {
    const logout = (table: string, column: string) => `DELETE FROM ${table} WHERE ${column} = $1`
    const lock = (table: string, column: string) => `SELECT FROM ${table} WHERE ${column} = $1 FOR UPDATE`

    /** Runs something that has to wait for a row until a transaction has ended. */
    const waitFor = Effect.fnUntraced(function*(
      { tables }: Store,
      hold: (table: string, column: string) => string,
      key: Uint8Array,
      meanwhile: Effect.Effect<unknown, SessionError>
    ) {
      const client = yield* connect()
      // Within a transaction the activity is always what it was at first.
      const watcher = yield* connect()
      const fiber = yield* client.withTransaction(
        Effect.gen(function*() {
          yield* client.unsafe(hold(tables.table, reference.key), [base64url(key)])
          const fiber = yield* Effect.forkChild(meanwhile)
          yield* untilWaiting(watcher, 1)
          return fiber
        })
      )
      yield* Fiber.join(fiber)
    })

    it.effect("that replace one row each leave one: no single successor, but none is lost", () =>
      Effect.gen(function*() {
        const { dump, port } = yield* newStore(reference)
        const old = yield* create(port)
        const versions = Array.from({ length: 20 }, () => newVersion())
        const answers = yield* Effect.all(
          versions.map((version) => port.supersede(old.key, version, successor, start)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(answers, versions.map(() => ({ _tag: "Done" as const })))
        assert.deepStrictEqual(
          (yield* dump).rows.map(({ key }) => key),
          [old, ...versions].map(({ key }) => base64url(key)).toSorted()
        )
      }))

    it.effect("that renew one row: one does, the others find nothing", () =>
      Effect.gen(function*() {
        const { dump, port } = yield* newStore(reference)
        const old = yield* create(port)
        const answers = yield* Effect.all(
          Array.from({ length: 20 }, () => port.supersede(old.key, newVersion(), undefined, start)),
          { concurrency: "unbounded" }
        )
        assert.strictEqual(answers.filter(({ _tag }) => _tag === "Done").length, 1)
        assert.strictEqual((yield* dump).rows.length, 1)
      }))

    it.effect("a save that waits for a logout finds nothing, and makes nothing", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const old = yield* create(store.port)
        const index = [{ audience: "shop", subject: "alice" }]
        const save = Effect.map(
          store.port.supersede(old.key, newVersion({ index, remember: newRemember() }), successor, start),
          (answer) => assert.deepStrictEqual(answer, { _tag: "Gone" })
        )
        yield* waitFor(store, logout, old.key, save)
        assert.deepStrictEqual(yield* store.dump, { rows: [], metadata: [] })
      }))

    it.effect("a logout that waits for a save ends the old row alone: here it does not win", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const old = yield* create(store.port)
        const next = newVersion()
        yield* waitFor(store, lock, old.key, store.port.supersede(old.key, next, successor, start))
        assert.isTrue(yield* store.port.revoke("unknown", at(old.key)))
        assert.isUndefined(yield* store.port.load(old.key, start))
        assert.isDefined(yield* store.port.load(next.key, start))
      }))

    it.effect("a logout among saves: who was told of success has a row, and the old one is gone", () =>
      Effect.gen(function*() {
        for (let round = 0; round < 5; round++) {
          const { dump, port } = yield* newStore(reference)
          const remember = newRemember()
          const old = yield* create(port, { remember })
          const versions = Array.from({ length: 20 }, () => newVersion({ remember: newRemember(remember.key) }))
          const [answers, ended] = yield* Effect.all([
            Effect.all(versions.map((version) => port.supersede(old.key, version, successor, start)), {
              concurrency: "unbounded"
            }),
            Effect.delay(port.revoke("unknown", at(old.key, remember.key)), 0)
          ], { concurrency: "unbounded" })
          assert.isTrue(ended)
          const won = versions.filter((_, index) => answers[index]?._tag === "Done")
          assert.deepStrictEqual(
            (yield* dump).rows.map(({ key }) => key),
            won.flatMap(({ key, remember }) => remember === undefined ? [key] : [key, remember.key])
              .map(base64url).toSorted()
          )
          assert.deepStrictEqual(yield* port.supersede(old.key, newVersion(), successor, start), { _tag: "Gone" })
        }
      }))
  })
