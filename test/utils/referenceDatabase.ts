/** What a store in the tables of a reference asks of its database. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { InvalidConfig, type SessionError, StoreFailed } from "../../src/SessionError.ts"
import { start } from "../../src/testing/checks/sessions.ts"
import { connect } from "./postgres.ts"
import {
  at,
  create,
  layerOf,
  layerPg,
  newStore,
  newTables,
  newVersion,
  portOf,
  type Reference,
  sql,
  toInfo
} from "./reference.ts"

export const referenceDatabase = (reference: Reference): void => {
  const { module, name, settings } = reference

  layer(layerPg)(`${name}: the database`, (it) => {
    it.effect("may belong to a caller whose transaction fails: what was acknowledged stays", () =>
      Effect.gen(function*() {
        const { port } = yield* newStore(reference)
        const client = yield* PgClient.PgClient
        const { key } = yield* create(port)
        yield* client.withTransaction(
          Effect.andThen(
            port.saveInfo(at(key), { set: [toInfo("default", "a", 1)], remove: [] }, start),
            Effect.fail("rolled back")
          )
        ).pipe(Effect.ignore)
        assert.strictEqual((yield* port.loadInfo(at(key), start)).length, 1)
      }))

    it.effect("gets its tables once, however many come at once, and keeps what is there", () =>
      Effect.gen(function*() {
        const tables = newTables()
        const migrate = Effect.scoped(Layer.build(module.layerMigrations(tables)))
        yield* Effect.all(Array.from({ length: 5 }, () => migrate), { concurrency: "unbounded" })
        const port = yield* portOf(module.layerStorage(tables), settings)
        const { key } = yield* create(port)
        yield* migrate
        assert.isDefined(yield* port.load(key, start))
      }))

    it.effect("needs a role that may create tables for that, and none for requests", () =>
      Effect.gen(function*() {
        const tables = newTables()
        yield* Effect.scoped(Layer.build(module.layerMigrations(tables)))
        const restricted = yield* connect({ restricted: true })
        const [role] = yield* restricted<{ readonly name: string }>`SELECT current_user AS name`
        yield* sql(
          `GRANT SELECT, INSERT, UPDATE, DELETE ON ${tables.table}, ${tables.tableMeta} TO ${role?.name ?? ""}`
        )
        const port = yield* Effect.provide(
          portOf(module.layerStorage({ ...tables, reads: restricted }), settings),
          layerOf(restricted)
        )
        const { key } = yield* create(port, { index: [{ audience: "shop", subject: "alice" }] })
        assert.isDefined(yield* port.load(key, start))
        assert.isTrue(yield* port.revoke("unknown", at(key)))
        const forbidden = Effect.provide(
          Effect.scoped(Layer.build(module.layerMigrations(newTables()))),
          layerOf(restricted)
        )
        assert.strictEqual((yield* Effect.flip(forbidden))._tag, "SqlError")
      }))

    it.effect("without the tables fails each operation", () =>
      Effect.gen(function*() {
        const port = yield* portOf(module.layerStorage(newTables()), settings)
        const version = newVersion()
        const failures = [
          port.load(version.key, start),
          port.create({ ...version, handle: crypto.randomUUID(), createdAt: start }, start),
          port.saveInfo(at(version.key), { set: [], remove: [] }, start),
          port.revoke("unknown", at(version.key))
        ]
        for (const failure of failures) {
          assert.instanceOf(
            (yield* Effect.flip(Effect.asVoid<unknown, SessionError, never>(failure))).reason,
            StoreFailed
          )
        }
      }))

    it.effect("knows no table of another name than a table can have", () =>
      Effect.gen(function*() {
        for (
          const [setting, options] of [
            ["table", { table: "x; DROP TABLE sessions" }],
            ["tableMeta", { tableMeta: "\"y\"" }]
          ] as const
        ) {
          for (const layer of [module.layerStorage(options), module.layerWith(options)]) {
            const error = yield* Effect.flip(portOf(layer, settings))
            const reason = error._tag === "SessionError" ? error.reason : undefined
            assert.strictEqual(reason instanceof InvalidConfig && reason.setting, setting)
          }
        }
      }))
  })
}
