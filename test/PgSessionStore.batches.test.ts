/** Operations on several sessions at once, which one statement carries out, and stores that mix them up. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import * as PgPort from "../src/internal/pgPort.ts"
import { names, statements } from "../src/internal/pgStatements.ts"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import { StoreFailed } from "../src/SessionError.ts"
import { SessionPort } from "../src/SessionStore.ts"
import type { Port, Version } from "../src/SessionStore.ts"
import {
  create,
  current,
  grace,
  hex,
  lifetime,
  load,
  newEntry,
  newSession,
  newVersion,
  randomBytes,
  show,
  showOutcome,
  start
} from "../src/testing/checks/sessions.ts"
import { catches } from "./utils/catches.ts"
import { connect, countingStream, Database, layerClient, layerDatabase, untilWaiting } from "./utils/postgres.ts"

const tables = names("session")
const texts = statements(tables)

const layerStore = PgSessionStore.layer.pipe(
  Layer.provideMerge(PgSessionStore.layerMigrations({ prefix: "single" })),
  Layer.provideMerge(layerClient({ maxConnections: 4 })),
  Layer.provideMerge(layerDatabase)
)

/** A database that is as new as its tables. */
const layerNew = PgSessionStore.layerMigrations({}).pipe(
  Layer.provide(Layer.fresh(layerClient())),
  Layer.provideMerge(Layer.fresh(layerDatabase))
)

const atOnce = <A, E, R>(effects: ReadonlyArray<Effect.Effect<A, E, R>>) =>
  Effect.all(effects, { concurrency: "unbounded" })

const pick = <A>(values: ReadonlyArray<A>): A => values[Math.floor(Math.random() * values.length)]!

const some = <A>(values: ReadonlyArray<A>): ReadonlyArray<A> => values.filter(() => Math.random() < 0.7)

/** All rows of the tables with this prefix. */
const rowsOf = (prefix: string) =>
  PgClient.PgClient.use((sql) =>
    Effect.forEach(
      ["sessions ORDER BY handle", "superseded ORDER BY key", "subjects ORDER BY handle, audience, subject"],
      (table) => sql.unsafe(`SELECT * FROM ${prefix}_${table}`)
    )
  )

/** What saves, touches and loads of many sessions leave and answer at once is what they do one after another. */
const sameAsOneByOne = (port: Port, single: Port) =>
  Effect.gen(function*() {
    const entries = Array.from({ length: 4 }, newEntry)
    const version = (): Version => newVersion({ index: some(entries), seen: pick([undefined, grace]) })
    const sessions = Array.from({ length: 40 }, () => newSession({ index: some(entries) }))
    for (const session of sessions) for (const store of [port, single]) yield* store.create(session, start)
    const keys = [randomBytes(), ...sessions.map(({ key }) => key)]
    let standing = sessions.map(({ key }) => key)
    for (let now = start + 1; now < start + 6; now++) {
      const saves = standing.map((old) => ({ old, version: version(), successor: randomBytes(126) }))
      const chosen = some(saves)
      const save = (store: Port) =>
        chosen.map(({ old, successor, version }) =>
          Effect.map(store.supersede(old, version, successor, now), showOutcome)
        )
      assert.deepStrictEqual(yield* atOnce(save(port)), yield* Effect.all(save(single)))
      keys.push(...chosen.map(({ version: { key } }) => key))
      standing = saves.map((saved) => chosen.includes(saved) ? saved.version.key : saved.old)

      const touches = some(keys).map((key) => ({
        key,
        touch: { deadline: pick([undefined, now + lifetime]), seen: pick([undefined, grace]) }
      }))
      // When the grace of a superseded version ends is told by those who come behind the touch that began it.
      const touch = (store: Port) =>
        touches.map(({ key, touch }) => Effect.map(store.touch(key, touch, now), ({ _tag }) => _tag))
      assert.deepStrictEqual(yield* atOnce(touch(port)), yield* Effect.all(touch(single)))

      // Some of them twice.
      const read = (store: Port) => [...keys, ...some(keys)].map((key) => Effect.map(store.load(key, now), show))
      const loads = read(port)
      assert.deepStrictEqual(yield* atOnce(loads), yield* Effect.all(loads))
      assert.deepStrictEqual(
        yield* atOnce(keys.map((key) => load(port, key, now))),
        yield* Effect.forEach(keys, (key) => load(single, key, now))
      )
      assert.deepStrictEqual(yield* rowsOf("session"), yield* rowsOf("single"))
    }
  })

/** A session that somebody has locked for long is waited for by those who save and touch it, and by nobody else. */
const nobodyElseWaits = (port: Port) =>
  Effect.gen(function*() {
    const holder = yield* connect({ maxConnections: 1 })
    const [locked, ...others] = yield* Effect.forEach(Array.from({ length: 12 }), () => create(port))
    const fibers = yield* holder.withTransaction(
      Effect.gen(function*() {
        yield* holder.unsafe(`SELECT FROM ${tables.sessions} WHERE handle = $1::uuid FOR UPDATE`, [locked!.handle])
        const save = ({ key }: { readonly key: Uint8Array }) =>
          port.supersede(key, newVersion(), randomBytes(126), start)
        const touch = ({ key }: { readonly key: Uint8Array }) =>
          port.touch(key, { deadline: undefined, seen: grace }, start)
        const late = yield* Effect.forEach([touch, save], (operation) => Effect.forkChild(operation(locked!)))
        const rest = others.slice(0, 6).map(save).concat(others.slice(6).map(touch))
        const answers = yield* Effect.timeoutOrElse(atOnce(rest), {
          duration: "8 seconds",
          orElse: () => Effect.die(new Error("waits for somebody else's session"))
        })
        assert.deepStrictEqual(answers.map(({ _tag }) => _tag), rest.map(() => "Done"))
        for (const fiber of late) assert.isUndefined(fiber.pollUnsafe())
        return late
      })
    )
    const [touched, saved] = yield* Fiber.joinAll(fibers)
    assert.strictEqual(saved?._tag, "Done")
    // Whichever came first.
    assert.oneOf(touched?._tag, ["Done", "Superseded"])
  })

/** Postgres does not read whole tables, although it knows nothing of them yet and keeps to its plan. */
const byIndex = ({ loadAll, replaceAll, touchAll }: typeof texts) =>
  Effect.scoped(Effect.gen(function*() {
    const sql = yield* connect({ maxConnections: 1 })
    yield* sql.unsafe("SET plan_cache_mode = force_generic_plan")
    const none = (count: number) => Array.from({ length: count }, () => "'{}'").join(", ")
    for (
      const [text, values] of [
        [loadAll, `${none(1)}, 1`],
        [replaceAll, `${none(4)}, 1, ${none(5)}`],
        [touchAll, `${none(1)}, 1, ${none(2)}`]
      ]
    ) {
      yield* sql.unsafe(`PREPARE batch AS ${text}`)
      const plan = yield* sql.unsafe<{ readonly "QUERY PLAN": string }>(`EXPLAIN EXECUTE batch (${values})`)
      assert.notMatch(plan.map((line) => line["QUERY PLAN"]).join("\n"), /Seq Scan/)
      yield* sql.unsafe("DEALLOCATE batch")
    }
  }))

/** The client, where one statement is another. */
const changed = (client: PgClient.PgClient, text: string, other: string): PgClient.PgClient => {
  assert.notStrictEqual(text, other)
  const wrapped: PgClient.PgClient = Object.assign(Object.create(client), {
    withoutTransforms: () => wrapped,
    unsafe: (statement: string, params?: ReadonlyArray<unknown>) =>
      client.unsafe(statement === text ? other : statement, params)
  })
  return wrapped
}

const portOf = (client: PgClient.PgClient, prefix = "session"): Port => PgPort.make(client, client, names(prefix))

layer(layerStore, { excludeTestServices: true })("operations on many sessions at once", (it) => {
  it.effect("leave and answer what they do one by one", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      for (let round = 0; round < 5; round++) yield* sameAsOneByOne(yield* SessionPort, portOf(sql, "single"))
    }))

  it.effect("wait for a row only where it is theirs", () => Effect.flatMap(SessionPort, nobodyElseWaits))

  it.effect("use the indexes from the first one on", () => Effect.provide(byIndex(texts), layerNew))

  it.effect("take few statements", () =>
    Effect.gen(function*() {
      const { url } = yield* Database
      const { count, stream } = countingStream(url)
      const port = portOf(yield* connect({ maxConnections: 4, stream }))
      const sessions = yield* Effect.forEach(Array.from({ length: 20 }), () => create(port))
      const counted = Effect.fnUntraced(function*(operation: (key: Uint8Array) => Effect.Effect<unknown, unknown>) {
        // Connections are there, and know the statement.
        for (let round = 0; round < 3; round++) yield* atOnce(sessions.map(({ key }) => operation(key)))
        const before = count.messages
        yield* atOnce(sessions.map(({ key }) => operation(key)))
        return count.messages - before
      })
      assert.isAtMost(yield* counted((key) => port.load(key, start)), 4)
      assert.isAtMost(yield* counted((key) => port.touch(key, { deadline: undefined, seen: undefined }, start)), 4)
    }))

  it.effect("fail where they are refused, and nobody else does", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const sessions = yield* Effect.forEach(Array.from({ length: 12 }), () => create(port))
      // Postgres has no such text.
      const index = [{ audience: "shop", subject: "\0" }]
      const versions = sessions.map((_, number) => newVersion(number === 7 ? { index } : {}))
      const answers = yield* atOnce(sessions.map(({ key }, number) =>
        Effect.match(port.supersede(key, versions[number]!, randomBytes(126), start), {
          onFailure: ({ reason }) => {
            assert.instanceOf(reason, StoreFailed)
            return reason.operation
          },
          onSuccess: ({ _tag }) => _tag
        })
      ))
      assert.deepStrictEqual(
        answers,
        sessions.map((_, number) =>
          number === 7 ? "supersede" : "Done"
        )
      )
      for (const [number, { handle, key, data }] of sessions.entries()) {
        assert.deepStrictEqual(
          yield* load(port, number === 7 ? key : versions[number]!.key),
          number === 7 ? current(handle, { data }, true) : current(handle, versions[number]!, false)
        )
      }
    }))

  it.effect("fail together where nobody knows whether they were carried out", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const port = portOf(yield* connect({ applicationName: "ended", maxConnections: 4 }))
      const sessions = yield* Effect.forEach(Array.from({ length: 8 }), () => create(port))
      const saves = sessions.map(({ key }) => Effect.flip(port.supersede(key, newVersion(), randomBytes(126), start)))
      const holder = yield* connect({ maxConnections: 1 })
      yield* holder.withTransaction(
        Effect.gen(function*() {
          yield* holder.unsafe(`LOCK TABLE ${tables.superseded}`)
          const failures = yield* Effect.forkChild(atOnce(saves))
          yield* untilWaiting(sql, 2)
          yield* sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ended'`
          // Nothing is tried again, or it would wait for the table.
          for (const { reason } of yield* Fiber.join(failures)) assert.instanceOf(reason, StoreFailed)
        })
      )
      for (const session of sessions) {
        assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
      }
    }))

  it.effect("of one session: one save wins, and all touches are noted", () =>
    Effect.gen(function*() {
      const port = yield* SessionPort
      const { handle, key } = yield* create(port)
      const successors = Array.from({ length: 20 }, () => randomBytes(126))
      const outcomes = yield* atOnce(
        successors.map((successor) => Effect.map(port.supersede(key, newVersion(), successor, start), showOutcome))
      )
      const winner = successors[outcomes.indexOf("Done")]!
      assert.lengthOf(outcomes.filter((outcome) => outcome === "Done"), 1)
      for (const outcome of outcomes.filter((outcome) => outcome !== "Done")) {
        assert.deepInclude(outcome, { _tag: "Superseded", handle, successor: hex(winner) })
      }
      const session = yield* create(port)
      const touches = yield* atOnce(Array.from({ length: 20 }, (_, number) =>
        port.touch(session.key, { deadline: start + lifetime + number, seen: undefined }, start)))
      assert.deepStrictEqual(
        touches.map(({ _tag }) =>
          _tag
        ),
        touches.map(() => "Done")
      )
    }))
})

describe("the tests find a store that", () => {
  const differs = /to deeply equal/
  const mistakes: Record<
    string,
    readonly [keyof typeof texts & ("loadAll" | "replaceAll" | "touchAll"), string, string, RegExp]
  > = {
    "waits with others' saves": ["replaceAll", "SKIP LOCKED", "", /waits for somebody else's session/],
    "waits with others' touches": ["touchAll", "SKIP LOCKED", "", /waits for somebody else's session/],
    "lists sessions under each other's subjects": [
      "replaceAll",
      "JOIN done USING (position)",
      "CROSS JOIN done",
      differs
    ],
    "removes only what nobody is listed under": [
      "replaceAll",
      "(listed.handle, audience, subject) NOT IN (SELECT handle, audience, subject FROM entries)",
      "(audience, subject) NOT IN (SELECT audience, subject FROM entries)",
      differs
    ],
    "begins the grace of versions that nobody has seen": ["replaceAll", "grace >= 0 AND", "", differs],
    "extends grace": ["touchAll", "AND grace_ends IS NULL", "", differs],
    "forgets that a version was seen": ["touchAll", "seen OR grace >= 0", "grace >= 0", differs],
    "loses deadlines": ["touchAll", "CASE WHEN until < 0 THEN deadline ELSE until END", "until", differs],
    "takes one session's data for another's": [
      "loadAll",
      "SELECT position::int, handle, data",
      "SELECT 1 + position::int % 2, handle, data",
      differs
    ],
    "forgets what was superseded": ["loadAll", "WHERE NOT old.remember", "WHERE old.remember", differs]
  }
  const unhinted = (text: string): string => text.replaceAll("WHERE position % 1 = 0", "")
  catches(
    "reads whole tables",
    () =>
      byIndex({
        ...texts,
        loadAll: unhinted(texts.loadAll),
        replaceAll: unhinted(texts.replaceAll),
        touchAll: unhinted(texts.touchAll)
      }).pipe(Effect.provide(layerNew)),
    /not to match \/Seq Scan/
  )
  for (const [name, [statement, part, other, complaint]] of Object.entries(mistakes)) {
    catches(
      name,
      () =>
        Effect.gen(function*() {
          const sql = yield* PgClient.PgClient
          const broken = portOf(changed(sql, texts[statement], texts[statement].replace(part, other)))
          yield* sameAsOneByOne(broken, portOf(sql, "single"))
          yield* nobodyElseWaits(broken)
        }).pipe(Effect.provide(layerStore)),
      complaint
    )
  }
})
