/** What a store in the tables of a reference does, operation by operation, and what its tables hold then. */
import { assert, layer } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { createHash } from "node:crypto"
import * as SessionConfig from "../../src/SessionConfig.ts"
import { StoreFailed } from "../../src/SessionError.ts"
import type { Info } from "../../src/SessionStore.ts"
import { randomBytes, start } from "../../src/testing/checks/sessions.ts"
import {
  at,
  base64url,
  column,
  create,
  day,
  layerPg,
  newRemember,
  newStore,
  newVersion,
  type Reference,
  secret,
  sql,
  staleTtl,
  type Store,
  successor,
  toInfo
} from "./reference.ts"
import type { Metadata, Row } from "./vectors.ts"

const showInfo = (infos: ReadonlyArray<Info>): Record<string, unknown> =>
  Object.fromEntries(infos.map(({ name, value }) => [name, JSON.parse(new TextDecoder().decode(value))]))

const sorted = <A extends { readonly key: string }>(rows: ReadonlyArray<A>): ReadonlyArray<A> =>
  rows.toSorted((one, other) => one.key < other.key ? -1 : 1)

export const referenceSuite = (reference: Reference): void => {
  const { module, name, storage } = reference

  const row = (
    { data, key }: { readonly data: Uint8Array; readonly key: Uint8Array },
    expires: number,
    cookie: "session" | "remember" = "session",
    info?: unknown
  ): Row => ({
    key: base64url(key),
    name: storage === "kong" ? undefined : cookie,
    data: column(data, info),
    expires
  })

  const metadata = (key: Uint8Array, audience: string, subject: string): Metadata => ({
    key: base64url(key),
    audience: base64url(audience),
    subject: base64url(subject)
  })

  const assertTables = Effect.fnUntraced(
    function*({ dump }: Store, rows: ReadonlyArray<Row>, listed: ReadonlyArray<Metadata> = []) {
      assert.deepStrictEqual(yield* dump, { rows: sorted(rows), metadata: sorted(listed) })
    }
  )

  layer(layerPg)(`${name}: rows`, (it) => {
    it.effect("of a session, for as long as its timeouts allow", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const session = yield* create(store.port)
        yield* assertTables(store, [row(session, start + 3600)])
      }))

    it.effect("live 400 days at most, and one second at least", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const forever = yield* create(store.port, { latestDeadline: Infinity })
        const long = yield* create(store.port, { latestDeadline: start + 4000 * day })
        const over = yield* create(store.port, { latestDeadline: start - 5 })
        yield* assertTables(store, [
          row(forever, start + 400 * day),
          row(long, start + 400 * day),
          row(over, start + 1)
        ])
      }))

    it.effect("of a remember cookie, both with metadata", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const remember = newRemember()
        const index = [{ audience: "shop", subject: "alice@example.com" }, { audience: "ä", subject: "bob" }]
        const session = yield* create(store.port, { index: [...index, ...index], remember })
        yield* assertTables(
          store,
          [row(session, start + 3600), row(remember, start + 7 * day, "remember")],
          [session, remember].flatMap(({ key }) =>
            index.map(({ audience, subject }) => metadata(key, audience, subject))
              .toSorted((one, other) => one.audience < other.audience ? -1 : 1)
          )
        )
      }))

    it.effect("with hashSubject hold half the subject's SHA-256", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference, { hashSubject: true })
        const { key } = yield* create(store.port, { index: [{ audience: "shop", subject: "alice" }] })
        const hash = createHash("sha256").update("alice").digest().subarray(0, 16)
        const { metadata } = yield* store.dump
        assert.deepStrictEqual(metadata, [
          { key: base64url(key), audience: base64url("shop"), subject: base64url(hash) }
        ])
        assert.strictEqual((yield* store.port.list("shop", ["alice"], start)).length, 1)
      }))

    it.effect("are never overwritten, and where one is in the way none is made", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const session = yield* create(store.port, { index: [{ audience: "shop", subject: "alice" }] })
        const before = yield* store.dump
        const again = { handle: crypto.randomUUID(), createdAt: start }
        assert.strictEqual(
          yield* store.port.create({ ...newVersion({ key: session.key }), ...again }, start),
          "Collision"
        )
        const remember = { ...newRemember(), key: session.key }
        assert.strictEqual(yield* store.port.create({ ...newVersion({ remember }), ...again }, start), "Collision")
        assert.deepStrictEqual(yield* store.dump, before)
      }))
  })

  layer(layerPg)(`${name}: loads`, (it) => {
    it.effect("a version until it expires, and a remember cookie's too", () =>
      Effect.gen(function*() {
        const { port } = yield* newStore(reference)
        const remember = newRemember()
        const session = yield* create(port, { remember })
        const loaded = yield* port.load(session.key, start + 3600)
        if (loaded?._tag !== "Current") return assert.fail("not there")
        assert.deepStrictEqual(Buffer.from(loaded.data), Buffer.from(session.data))
        assert.isTrue(loaded.seen)
        assert.deepStrictEqual(yield* port.load(session.key, start), loaded)
        assert.isUndefined(yield* port.load(session.key, start + 3601))
        assert.isUndefined(yield* port.load(randomBytes(), start))
        const remembered = yield* port.loadRemember(remember.key, start + 7 * day)
        assert.deepStrictEqual(
          remembered?._tag === "Current" && Buffer.from(remembered.data),
          Buffer.from(remember.data)
        )
        assert.isUndefined(yield* port.loadRemember(remember.key, start + 7 * day + 1))
      }))

    it.effect("nothing where a row holds something else", () =>
      Effect.gen(function*() {
        const { port, tables } = yield* newStore(reference)
        const { key } = yield* create(port)
        for (const data of ["", "[]", "[1]", "{", "null", `["+"]`, `"AAAA"`]) {
          yield* sql(`UPDATE ${tables.table} SET data = $1`, [data])
          assert.isUndefined(yield* port.load(key, start), data)
        }
        yield* sql(`UPDATE ${tables.table} SET data = $1`, [` [ "AAAA" ] `])
        assert.isDefined(yield* port.load(key, start))
      }))
  })

  layer(layerPg)(`${name}: a save`, (it) => {
    it.effect("inserts a row, and lets the old one expire soon", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const old = yield* create(store.port, { index: [{ audience: "shop", subject: "alice" }] })
        const other = yield* create(store.port)
        const next = newVersion({ latestDeadline: start + 3700, index: [{ audience: "shop", subject: "bob" }] })
        assert.deepStrictEqual(yield* store.port.supersede(old.key, next, successor, start + 100), { _tag: "Done" })
        yield* assertTables(
          store,
          [row(old, start + 100 + staleTtl), row(next, start + 3700), row(other, start + 3600)],
          [metadata(old.key, "shop", "alice"), metadata(next.key, "shop", "bob")]
        )
        // Honoured till then, and no successor is told of.
        assert.strictEqual((yield* store.port.load(old.key, start + 110))?._tag, "Current")
        assert.isUndefined(yield* store.port.load(old.key, start + 111))
      }))

    it.effect("from an old row makes another row, and extends nothing", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const old = yield* create(store.port)
        const [one, two] = [newVersion(), newVersion()]
        yield* store.port.supersede(old.key, one, successor, start)
        assert.deepStrictEqual(yield* store.port.supersede(old.key, two, successor, start + 5), { _tag: "Done" })
        yield* assertTables(store, [row(old, start + staleTtl), row(one, start + 3600), row(two, start + 3600)])
      }))

    it.effect("is gone where the old row is expired or never was, and makes nothing", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const old = yield* create(store.port, { remember: newRemember() })
        const before = yield* store.dump
        const next = () => newVersion({ remember: newRemember(), index: [{ audience: "shop", subject: "alice" }] })
        for (const kept of [successor, undefined]) {
          assert.deepStrictEqual(yield* store.port.supersede(old.key, next(), kept, start + 3601), { _tag: "Gone" })
          assert.deepStrictEqual(yield* store.port.supersede(randomBytes(), next(), kept, start), { _tag: "Gone" })
        }
        assert.deepStrictEqual(yield* store.dump, before)
      }))

    it.effect("under a key that is there fails, and changes nothing", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const old = yield* create(store.port)
        const other = yield* create(store.port)
        const before = yield* store.dump
        for (const kept of [successor, undefined]) {
          const save = store.port.supersede(old.key, newVersion({ key: other.key }), kept, start)
          assert.instanceOf((yield* Effect.flip(save)).reason, StoreFailed)
        }
        assert.deepStrictEqual(yield* store.dump, before)
      }))

    it.effect("that renews deletes the old rows", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const planted = newRemember()
        const old = yield* create(store.port, { remember: planted, index: [{ audience: "shop", subject: "alice" }] })
        const next = newVersion({ remember: newRemember(planted.key) })
        assert.deepStrictEqual(yield* store.port.supersede(old.key, next, undefined, start), { _tag: "Done" })
        yield* assertTables(store, [
          row(next, start + 3600),
          ...next.remember === undefined ? [] : [row(next.remember, start + 7 * day, "remember")]
        ])
      }))

    it.effect("replaces the remember cookie that it names, and leaves others alone", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const remember = newRemember()
        const old = yield* create(store.port, { remember })
        const plain = newVersion()
        yield* store.port.supersede(old.key, plain, successor, start)
        const renewed = newRemember(remember.key)
        const next = newVersion({ remember: renewed })
        yield* store.port.supersede(plain.key, next, successor, start + 1)
        yield* assertTables(store, [
          row(old, start + staleTtl),
          row(plain, start + 1 + staleTtl),
          row(next, start + 3600),
          row(remember, start + 1 + staleTtl, "remember"),
          row(renewed, start + 7 * day, "remember")
        ])
      }))

    it.effect("carries the info over, also to the remember cookie", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const info = { default: { "</\"ü": [1, null] } }
        const first = yield* create(store.port)
        yield* sql(`UPDATE ${store.tables.table} SET data = $1`, [column(first.data, info)])
        const second = newVersion()
        yield* store.port.supersede(first.key, second, successor, start)
        const third = newVersion({ remember: newRemember() })
        yield* store.port.supersede(second.key, third, undefined, start)
        yield* assertTables(store, [
          row(first, start + staleTtl, "session", info),
          row(third, start + 3600, "session", info),
          ...third.remember === undefined ? [] : [row(third.remember, start + 7 * day, "remember", info)]
        ])
      }))
  })

  layer(layerPg)(`${name}: a rescue`, (it) => {
    it.effect("makes a session and another remember cookie, with the old one's info", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const remember = newRemember()
        const lost = yield* create(store.port, { remember })
        yield* store.port.saveInfo(at(remember.key), { set: [toInfo("default", "a", 1)], remove: [] }, start)
        const rescued = newVersion({ index: [{ audience: "shop", subject: "alice" }] })
        const again = newRemember()
        assert.deepStrictEqual(
          yield* store.port.rescue(
            remember.key,
            { ...rescued, remember: again, createdAt: start + 4 },
            successor,
            start + 4
          ),
          { _tag: "Done" }
        )
        const info = { default: { a: 1 } }
        yield* assertTables(
          store,
          [
            row(lost, start + 3600),
            row(remember, start + 4 + staleTtl, "remember", info),
            row(rescued, start + 3600, "session", info),
            row(again, start + 7 * day, "remember", info)
          ],
          [metadata(rescued.key, "shop", "alice"), metadata(again.key, "shop", "alice")]
        )
      }))

    it.effect("that renews deletes the old remember cookie's row, and no other", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const remember = newRemember()
        const lost = yield* create(store.port, { remember })
        const other = yield* create(store.port, { remember: newRemember() })
        yield* store.port.saveInfo(at(remember.key), { set: [toInfo("default", "a", 1)], remove: [] }, start)
        const rescued = newVersion({ index: [{ audience: "shop", subject: "alice" }] })
        const again = newRemember()
        const version = { ...rescued, remember: again, createdAt: start + 4 }
        assert.deepStrictEqual(yield* store.port.rescue(remember.key, version, undefined, start + 4), { _tag: "Done" })
        const info = { default: { a: 1 } }
        yield* assertTables(
          store,
          [
            row(lost, start + 3600),
            row(other, start + 3600),
            ...other.remember === undefined ? [] : [row(other.remember, start + 7 * day, "remember")],
            row(rescued, start + 3600, "session", info),
            row(again, start + 7 * day, "remember", info)
          ],
          [metadata(rescued.key, "shop", "alice"), metadata(again.key, "shop", "alice")]
        )
        // Whoever comes second finds nothing.
        assert.deepStrictEqual(yield* store.port.rescue(remember.key, version, undefined, start + 4), { _tag: "Gone" })
      }))

    it.effect("is gone where the remember cookie is, and makes nothing", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const version = { ...newVersion(), remember: newRemember(), createdAt: start }
        assert.deepStrictEqual(yield* store.port.rescue(randomBytes(), version, successor, start), { _tag: "Gone" })
        yield* assertTables(store, [])
      }))
  })

  layer(layerPg)(`${name}: a touch`, (it) => {
    it.effect("says whether the session is there, and writes nothing", () =>
      Effect.gen(function*() {
        const { dump, port } = yield* newStore(reference)
        const { key } = yield* create(port)
        const before = yield* dump
        const touch = { deadline: start + 5000, seen: 10 }
        assert.deepStrictEqual(yield* port.touch(key, touch, start + 3600), { _tag: "Done" })
        assert.deepStrictEqual(yield* port.touch(key, touch, start + 3601), { _tag: "Gone" })
        assert.deepStrictEqual(yield* port.touch(randomBytes(), touch, start), { _tag: "Gone" })
        assert.deepStrictEqual(yield* dump, before)
      }))
  })

  layer(layerPg)(`${name}: info`, (it) => {
    it.effect("is set and removed key by key, in the remember cookie's row too", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const remember = newRemember()
        const session = yield* create(store.port, { remember })
        const here = at(session.key, remember.key)
        const save = (set: ReadonlyArray<Info>, remove: ReadonlyArray<string> = []) =>
          store.port.saveInfo(here, { set, remove }, start)
        assert.deepStrictEqual(yield* store.port.loadInfo(here, start), [])
        assert.strictEqual(yield* save([toInfo("default", "ip", "1.2.3.4"), toInfo("default", "last", 1)]), "Saved")
        assert.strictEqual(
          yield* save([toInfo("default", "last", 7), toInfo("shop", "__proto__", { "ü": [] })]),
          "Saved"
        )
        assert.deepStrictEqual(showInfo(yield* store.port.loadInfo(here, start)), {
          "[\"default\",\"ip\"]": "1.2.3.4",
          "[\"default\",\"last\"]": 7,
          "[\"shop\",\"__proto__\"]": { "ü": [] }
        })
        yield* save([], [`["shop","__proto__"]`, `["nobody","x"]`])
        const info = { default: { ip: "1.2.3.4", last: 7 } }
        yield* assertTables(store, [
          row(session, start + 3600, "session", info),
          row(remember, start + 7 * day, "remember", info)
        ])
        yield* save([], [`["default","ip"]`, `["default","last"]`])
        yield* assertTables(store, [row(session, start + 3600), row(remember, start + 7 * day, "remember")])
      }))

    it.effect("is gone with the session's row, and then the remember cookie's is left alone", () =>
      Effect.gen(function*() {
        const { dump, port } = yield* newStore(reference)
        const remember = newRemember()
        const session = yield* create(port, { remember })
        yield* port.revoke("unknown", at(session.key))
        const before = yield* dump
        const changes = { set: [toInfo("default", "a", 1)], remove: [] }
        assert.strictEqual(yield* port.saveInfo(at(session.key, remember.key), changes, start), "Gone")
        assert.strictEqual(yield* port.saveInfo(at(undefined), changes, start), "Gone")
        assert.strictEqual(yield* port.saveInfo(at(remember.key), changes, start + 8 * day), "Gone")
        assert.deepStrictEqual(yield* port.loadInfo(at(session.key), start), [])
        assert.deepStrictEqual(yield* port.loadInfo(at(undefined), start), [])
        assert.deepStrictEqual(yield* dump, before)
      }))

    it.effect("that nobody could have written fails", () =>
      Effect.gen(function*() {
        const { port, tables } = yield* newStore(reference)
        const { key } = yield* create(port)
        const changes = { set: [toInfo("default", "a", 1)], remove: [] }
        for (
          const data of ["[]", `["AAAA",1]`, `["AAAA","${base64url("[]")}"]`, `["AAAA","${base64url("{\"a\":1}")}"]`]
        ) {
          yield* sql(`UPDATE ${tables.table} SET data = $1`, [data])
          if (data !== "[]") {
            assert.instanceOf((yield* Effect.flip(port.loadInfo(at(key), start))).reason, StoreFailed)
          }
          assert.instanceOf((yield* Effect.flip(port.saveInfo(at(key), changes, start))).reason, StoreFailed)
          assert.deepStrictEqual(yield* sql(`SELECT data FROM ${tables.table}`), [{ data }])
        }
      }))

    it.effect("of twenty requests at once is all kept", () =>
      Effect.gen(function*() {
        const { port } = yield* newStore(reference)
        const remember = newRemember()
        const { key } = yield* create(port, { remember })
        const saves = Array.from({ length: 20 }, (_, index) =>
          port.saveInfo(at(key, remember.key), { set: [toInfo("default", `k${index}`, index)], remove: [] }, start))
        yield* Effect.all(saves, { concurrency: "unbounded" })
        for (const row of [key, remember.key]) {
          assert.strictEqual((yield* port.loadInfo(at(row), start)).length, 20)
        }
      }))
  })

  layer(layerPg)(`${name}: the end`, (it) => {
    it.effect("of the rows of a request's cookies, and of their metadata", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const index = [{ audience: "shop", subject: "alice" }]
        const other = yield* create(store.port)
        const remember = newRemember()
        const { key } = yield* create(store.port, { index, remember })
        assert.isTrue(yield* store.port.revoke("unknown", at(key, remember.key)))
        assert.isFalse(yield* store.port.revoke("unknown", at(key, remember.key)))
        yield* assertTables(store, [row(other, start + 3600)])
      }))

    it.effect("of a row by its handle", () =>
      Effect.gen(function*() {
        const store = yield* newStore(reference)
        const other = yield* create(store.port)
        const { key } = yield* create(store.port)
        const handle = (yield* store.port.load(key, start))?.handle ?? ""
        assert.isFalse(yield* store.port.revoke("unknown"))
        assert.isTrue(yield* store.port.revoke(handle))
        assert.isFalse(yield* store.port.revoke(handle, at(undefined)))
        yield* assertTables(store, [row(other, start + 3600)])
      }))

    it.effect("of all rows of a subject but one", () =>
      Effect.gen(function*() {
        const { port } = yield* newStore(reference)
        const index = [{ audience: "shop", subject: "alice" }]
        const [one, two] = [yield* create(port, { index }), yield* create(port, { index })]
        yield* create(port, { index: [{ audience: "shop", subject: "bob" }] })
        yield* create(port, { index: [{ audience: "blog", subject: "alice" }] })
        const listed = yield* port.list("shop", ["alice"], start)
        const handles = yield* Effect.forEach([one, two], ({ key }) =>
          Effect.map(port.load(key, start), (row) => row?.handle ?? ""))
        assert.deepStrictEqual(
          listed.map(({ handle }) =>
            handle
          ).toSorted(),
          handles.toSorted()
        )
        assert.deepStrictEqual(listed.map(({ deadline }) => deadline), [start + 3600, start + 3600])
        assert.deepStrictEqual(yield* port.list("shop", ["alice"], start + 3601), [])
        assert.strictEqual(yield* port.revokeAll("shop", ["alice"], handles[0]), 1)
        assert.isDefined(yield* port.load(one.key, start))
        assert.isUndefined(yield* port.load(two.key, start))
        assert.strictEqual(yield* port.revokeAll("shop", ["alice", "bob"], undefined), 2)
        assert.strictEqual((yield* port.list("blog", ["alice"], start)).length, 1)
      }))

    it.effect("is seen in what readMetadata lists", () =>
      Effect.gen(function*() {
        for (const hashSubject of [false, true]) {
          const { port, tables } = yield* newStore(reference, { hashSubject })
          const { key } = yield* create(port, { index: [{ audience: "shop", subject: "alice" }] })
          const read = Effect.provide(
            module.readMetadata("shop", "alice", tables),
            SessionConfig.layer({ secret, ...reference.settings, hashSubject })
          )
          assert.deepStrictEqual(
            (yield* read).map(({ expires, key }) => ({ expires, key: Redacted.value(key) })),
            [{ expires: start + 3600, key: base64url(key) }]
          )
          yield* port.revoke("unknown", at(key))
          assert.deepStrictEqual(yield* read, [])
        }
      }))
  })
}
