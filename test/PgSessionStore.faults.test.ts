/** What a store does when its database does not do what it should. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Result } from "effect"
import { SqlError } from "effect/sql"
import { createConnection } from "node:net"
import type { Duplex } from "node:stream"
import { makeServer } from "../examples/postgres/embedded.ts"
import type { PostgresServer } from "../examples/postgres/embedded.ts"
import { names } from "../src/internal/pgStatements.ts"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import { StoreFailed } from "../src/SessionError.ts"
import type { SessionError } from "../src/SessionError.ts"
import { SessionPort } from "../src/SessionStore.ts"
import type { Port } from "../src/SessionStore.ts"
import {
  create,
  current,
  grace,
  handles,
  hex,
  list,
  load,
  locate,
  newEntry,
  newRescue,
  newSession,
  newVersion,
  randomBytes,
  replace,
  saveInfo,
  start
} from "../src/testing/checks/sessions.ts"
import {
  connect,
  countingStream,
  Database,
  layerClient,
  layerDatabase,
  layerDatabaseOn,
  untilWaiting
} from "./utils/postgres.ts"

const { info, sessions: table } = names("session")

/** The store of a client with these settings. */
const storeWith = (options: Parameters<typeof connect>[0]) =>
  Effect.flatMap(connect(options), (client) =>
    SessionPort.pipe(
      Effect.provide(PgSessionStore.layerStorage({})),
      Effect.provide(PgClient.layerFrom(Effect.succeed(client)))
    ))

/** What the database said, by way of a typed failure of the store. */
const failure = Effect.fnUntraced(function*<A>(operation: Effect.Effect<A, SessionError>) {
  const result = yield* Effect.result(operation)
  if (Result.isSuccess(result)) return assert.fail(`answered ${JSON.stringify(result.success)}`)
  const { reason } = result.failure
  assert.instanceOf(reason, StoreFailed)
  assert.instanceOf(reason.cause, SqlError.SqlError)
  return reason.cause.reason
})

/** Something that happens while another connection holds what a statement locks. */
const holding = <A, E, R>(statement: string, use: Effect.Effect<A, E, R>) =>
  Effect.scoped(
    Effect.flatMap(
      connect({ maxConnections: 1 }),
      (holder) => holder.withTransaction(Effect.andThen(holder.unsafe(statement), use))
    )
  )

/** Ends all connections of a client with that name, and returns when they are gone. */
const terminate = (applicationName: string) =>
  PgClient.PgClient.use((sql) =>
    sql`SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = ${applicationName}`
  )

const reads = (port: Port): ReadonlyArray<Effect.Effect<unknown, SessionError>> => [
  port.load(randomBytes(), start),
  port.loadRemember(randomBytes(), start),
  port.loadInfo(locate(crypto.randomUUID()), start),
  port.list("audience", ["subject"], start)
]

const writes = (
  port: Port,
  { handle, key, remember }: Session
): ReadonlyArray<Effect.Effect<unknown, SessionError>> => [
  port.create(newSession(), start),
  port.supersede(key, newVersion(), randomBytes(126), start),
  port.supersede(key, newVersion(), undefined, start),
  port.rescue(remember?.key ?? randomBytes(), newRescue(), randomBytes(126), start),
  port.touch(key, { deadline: start, seen: undefined }, start),
  port.touch(key, { deadline: start, seen: grace }, start),
  saveInfo(port, handle, { a: "1" }),
  port.revoke(handle),
  port.revokeAll("audience", ["subject"], undefined)
]

type Session = Parameters<Port["create"]>[0]

const layerStore = PgSessionStore.layer.pipe(
  Layer.provideMerge(layerClient()),
  Layer.provideMerge(layerDatabase)
)

layer(layerStore, { excludeTestServices: true })("PgSessionStore", (it) => {
  it.effect("goes on with new connections when idle ones are ended", () =>
    Effect.gen(function*() {
      const port = yield* storeWith({ applicationName: "idle", maxConnections: 4 })
      const { handle, key } = yield* create(port)
      let last = key
      for (let round = 0; round < 5; round++) {
        const loads = Array.from<Effect.Effect<unknown, SessionError>>({ length: 8 }).fill(load(port, last))
        yield* Effect.all(loads, { concurrency: "unbounded" })
        yield* terminate("idle")
        // What the server said has to arrive first.
        yield* Effect.sleep(50)
        last = (yield* replace(port, last)).key
      }
      assert.isTrue(yield* port.revoke(handle))
    }))

  it.effect("does not repeat a write whose connection breaks while it runs", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const port = yield* storeWith({ applicationName: "writing", maxConnections: 2 })
      const session = yield* create(port, { index: [{ audience: "audience", subject: "subject" }] })
      for (const write of writes(port, session)) {
        const reason = yield* holding(
          `LOCK TABLE ${table}, ${info} IN SHARE MODE`,
          Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(failure(write))
            yield* untilWaiting(sql, 1)
            yield* terminate("writing")
            return yield* Fiber.join(fiber)
          })
        )
        assert.strictEqual(reason._tag, "ConnectionError")
      }
      assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
      assert.deepStrictEqual(yield* sql`SELECT count(*)::int AS rows FROM ${sql(table)}`, [{ rows: 1 }])
      yield* port.revoke(session.handle)
    }))

  it.effect("repeats a read whose connection breaks while it runs", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const port = yield* storeWith({ applicationName: "reading", maxConnections: 2 })
      for (const read of reads(port)) {
        const fiber = yield* holding(
          `LOCK TABLE ${table}`,
          Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(read)
            yield* untilWaiting(sql, 1)
            yield* terminate("reading")
            yield* untilWaiting(sql, 1)
            return fiber
          })
        )
        yield* Fiber.join(fiber)
      }
    }))

  it.effect("repeats what Postgres rolled back because of a deadlock", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      // Each looks for a deadlock once, when it has waited so long; the first to find one gives way.
      const { count, stream } = countingStream((yield* Database).url)
      const port = yield* storeWith({ stream, maxConnections: 1, startupParameters: { deadlock_timeout: "2s" } })
      const entry = newEntry()
      const [one, other] = (yield* Effect.forEach([1, 2], () => create(port, { index: [entry] })))
        .toSorted((one, other) => one.handle < other.handle ? -1 : 1)
      const holder = yield* connect({ maxConnections: 1, startupParameters: { deadlock_timeout: "1min" } })
      const lock = (session: Session | undefined) =>
        holder`SELECT FROM ${holder(table)} WHERE handle = ${session?.handle ?? ""}::uuid FOR UPDATE`
      const before = count.messages
      const ending = yield* holder.withTransaction(Effect.gen(function*() {
        yield* lock(other)
        const ending = yield* Effect.forkScoped(port.revokeAll(entry.audience, [entry.subject], undefined))
        yield* untilWaiting(sql, 1)
        yield* lock(one)
        return ending
      }))
      assert.strictEqual(yield* Fiber.join(ending), 2)
      assert.strictEqual(count.messages - before, 2)
    }))

  it.effect("tries a few times to connect, and then fails", () =>
    Effect.gen(function*() {
      const session = newSession()
      const { count, stream } = countingStream(new URL("postgres://127.0.0.1:1"))
      const port = yield* storeWith({ stream, maxConnections: 1 })
      for (const operation of [...reads(port), ...writes(port, session)]) {
        const before = count.connections
        assert.strictEqual((yield* failure(operation))._tag, "ConnectionError")
        assert.strictEqual(count.connections - before, 4)
      }
    }))

  it.effect("carries out what found a connection after all", () =>
    Effect.gen(function*() {
      const { hostname, port: number } = (yield* Database).url
      let refusals = 2
      const stream = (): Duplex => createConnection(refusals-- > 0 ? 1 : Number(number), hostname)
      const port = yield* storeWith({ stream, maxConnections: 1 })
      const session = yield* create(port)
      assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
    }))

  it.effect("does not insist where it is not let in", () =>
    Effect.gen(function*() {
      const { url } = yield* Database
      const { count, stream } = countingStream(url)
      const port = yield* storeWith({ stream, maxConnections: 1, username: "nobody" })
      assert.strictEqual((yield* failure(port.load(randomBytes(), start)))._tag, "AuthenticationError")
      assert.strictEqual(count.connections, 1)
    }))

  it.effect("fails while the server takes no more connections, and not afterwards", () =>
    Effect.gen(function*() {
      const sql = yield* PgClient.PgClient
      const { restrictedUrl } = yield* Database
      const role = sql(restrictedUrl.username)
      yield* sql`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}`
      const port = yield* storeWith({ restricted: true })
      yield* sql`ALTER ROLE ${role} CONNECTION LIMIT 0`
      assert.strictEqual((yield* failure(port.load(randomBytes(), start))).operation, "connect")
      yield* sql`ALTER ROLE ${role} CONNECTION LIMIT -1`
      assert.isUndefined(yield* load(port, randomBytes()))
    }))

  it.effect("carries out nothing for a caller who did not wait for a connection", () =>
    Effect.gen(function*() {
      const client = yield* connect({ maxConnections: 1 })
      const port = yield* SessionPort.pipe(
        Effect.provide(PgSessionStore.layerStorage({})),
        Effect.provide(PgClient.layerFrom(Effect.succeed(client)))
      )
      const session = yield* create(port)
      yield* Effect.scoped(Effect.gen(function*() {
        yield* client.reserve
        for (const operation of [...reads(port), ...writes(port, session)]) {
          const answer = Effect.timeoutOrElse(operation, { duration: 20, orElse: () => Effect.succeed("too late") })
          assert.strictEqual(yield* answer, "too late")
        }
      }))
      assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
      assert.isTrue(yield* port.revoke(session.handle))
    }))

  it.effect("fails where a statement takes too long, and carries nothing out then", () =>
    Effect.gen(function*() {
      for (
        const [setting, tag] of [["statement_timeout", "StatementTimeoutError"], ["lock_timeout", "LockTimeoutError"]]
      ) {
        const port = yield* storeWith({ maxConnections: 1, startupParameters: { [setting ?? ""]: "50ms" } })
        const entry = { audience: "audience", subject: "subject" }
        const session = yield* create(port, { index: [entry] })
        for (const read of reads(port)) {
          assert.strictEqual((yield* holding(`LOCK TABLE ${table}`, failure(read)))._tag, tag)
        }
        for (const write of writes(port, session)) {
          assert.strictEqual((yield* holding(`LOCK TABLE ${table}, ${info} IN SHARE MODE`, failure(write)))._tag, tag)
        }
        assert.deepStrictEqual(yield* load(port, session.key), current(session.handle, session, true))
        assert.deepStrictEqual(handles(yield* list(port, entry)), [session.handle])
        assert.isTrue(yield* port.revoke(session.handle))
      }
    }))
})

class Server extends Context.Service<Server, PostgresServer>()("test/Server") {}

/** A server that a test may stop. */
const layerServer = Layer.effect(
  Server,
  Effect.acquireRelease(
    Effect.promise(async () => {
      const server = await makeServer()
      await server.start()
      return server
    }),
    ({ remove }) => Effect.promise(remove)
  )
)

const layerStopping = PgSessionStore.layer.pipe(
  Layer.provideMerge(layerClient({ maxConnections: 8 })),
  Layer.provideMerge(Layer.unwrap(Server.useSync(({ url }) => layerDatabaseOn(Effect.succeed(url))))),
  Layer.provideMerge(layerServer)
)

layer(layerStopping, { excludeTestServices: true })("a Postgres that stops and comes back", (it) => {
  interface Attempt {
    readonly key: Uint8Array
    readonly successor: Uint8Array
  }

  /** Makes versions until it is told to stop; each that was acknowledged, and what led to it. */
  const write = Effect.fnUntraced(function*(port: Port, progress: { stopped: boolean; done: number; failed: number }) {
    const { handle, key } = yield* create(port)
    const acknowledged: Array<Attempt> = [{ key, successor: new Uint8Array() }]
    /** Of which nobody knows whether they happened. */
    const open = new Map<string, Attempt>()
    while (!progress.stopped) {
      const last = acknowledged.at(-1) ?? assert.fail("has the first one")
      const version = newVersion()
      const attempt = { key: version.key, successor: randomBytes(126) }
      const result = yield* Effect.result(port.supersede(last.key, version, attempt.successor, start))
      if (Result.isFailure(result)) {
        assert.instanceOf(result.failure.reason, StoreFailed)
        open.set(hex(attempt.successor), attempt)
        progress.failed++
        yield* Effect.sleep(20)
      } else if (result.success._tag === "Done") {
        acknowledged.push(attempt)
        progress.done++
      } else {
        assert.strictEqual(result.success._tag, "Superseded")
        const happened = "successor" in result.success ? open.get(hex(result.success.successor)) : undefined
        acknowledged.push(happened ?? assert.fail("superseded by nobody"))
      }
    }
    return { handle, acknowledged }
  })

  const crash = Effect.gen(function*() {
    const sql = yield* PgClient.PgClient
    const [row] = yield* sql<{ readonly pid: number }>`
      SELECT split_part(pg_read_file('postmaster.pid'), ${"\n"}, 1)::int AS pid`
    const pid = row?.pid ?? assert.fail("has a process")
    process.kill(pid, "SIGQUIT")
    const gone = Effect.sync(() => {
      try {
        return !process.kill(pid, 0)
      } catch {
        return true
      }
    })
    yield* Effect.repeat(Effect.delay(gone, 10), { until: (gone) => gone })
  })

  const stops = {
    "is shut down": Effect.flatMap(Server, ({ stop }) => Effect.promise(stop)),
    crashes: crash
  }

  for (const [name, stop] of Object.entries(stops)) {
    it.effect(`and ${name}, fails until then, and has lost nothing that it acknowledged`, () =>
      Effect.gen(function*() {
        const port = yield* SessionPort
        const { start: startServer } = yield* Server
        const entry = newEntry()
        const before = yield* create(port, { index: [entry] })
        const progress = { stopped: false, done: 0, failed: 0 }
        const writers = yield* Effect.forkScoped(
          Effect.all(Array.from({ length: 8 }, () => write(port, progress)), { concurrency: "unbounded" })
        )
        const until = (condition: () => boolean) =>
          Effect.repeat(Effect.delay(Effect.sync(condition), 5), { until: (met) => met })
        yield* until(() => progress.done > 200)
        yield* stop
        for (const operation of [...reads(port), ...writes(port, before)]) {
          assert.strictEqual((yield* failure(operation))._tag, "ConnectionError")
        }
        yield* until(() => progress.failed > 50)
        yield* Effect.promise(startServer)
        const resumed = progress.done
        yield* until(() => progress.done > resumed + 200)
        progress.stopped = true
        for (const { acknowledged, handle } of yield* Fiber.join(writers)) {
          for (const [position, { key }] of acknowledged.entries()) {
            const row = yield* port.load(key, start)
            const next = acknowledged[position + 1]
            assert.strictEqual(row?.handle, handle)
            assert.deepStrictEqual(
              row?._tag === "Superseded" ? hex(row.successor) : undefined,
              next && hex(next.successor)
            )
          }
        }
        assert.deepStrictEqual(yield* load(port, before.key), current(before.handle, before, true))
        assert.deepStrictEqual(handles(yield* list(port, entry)), [before.handle])
      }))
  }
})
