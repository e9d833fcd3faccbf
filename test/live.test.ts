/** Streams and sockets over real connections and a real Postgres: they end with their session, and with no other. */
import { PgClient } from "@effect/sql-pg/PgClient"
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Schedule, Schema, Stream } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import * as Session from "../src/Session.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import * as Http from "./utils/http.ts"
import { Database, layerClient, layerDatabase } from "./utils/postgres.ts"
import { makeClient, serve } from "./utils/process.ts"
import type { Client, Server } from "./utils/process.ts"

const secret = "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4"

// -----------------------------------------------------------------------------
// WebSocket frames, RFC 6455, section 5.2
// -----------------------------------------------------------------------------

const handshake = {
  "Connection": "Upgrade",
  "Upgrade": "websocket",
  "Sec-WebSocket-Version": "13",
  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="
}

const textFrame = 0x81
const closeFrame = 0x88

/** A client's frame of up to 125 bytes, under a mask of zeros. */
const frame = (kind: number, payload: string): string =>
  String.fromCharCode(kind, 0x80 | payload.length, 0, 0, 0, 0) + payload

interface Frame {
  readonly kind: number
  readonly payload: string
}

/** A server's frames of up to 125 bytes, as far as they have arrived. */
const framesOf = (bytes: string): ReadonlyArray<Frame> => {
  const end = 2 + bytes.charCodeAt(1)
  return bytes.length < 2 || bytes.length < end
    ? []
    : [{ kind: bytes.charCodeAt(0), payload: bytes.slice(2, end) }, ...framesOf(bytes.slice(end))]
}

const codeOf = ({ payload }: Frame): number => payload.charCodeAt(0) * 256 + payload.charCodeAt(1)

const hasClose = (bytes: string): boolean => framesOf(bytes).some(({ kind }) => kind === closeFrame)

// -----------------------------------------------------------------------------
// connections that stay open
// -----------------------------------------------------------------------------

interface Live {
  /** Waits until the server has ended it, and answers how. */
  readonly ended: Effect.Effect<unknown, Http.Hung>
  /** Waits for a sign of life. */
  readonly alive: Effect.Effect<void, Http.Hung>
}

const connect = (url: string) => Http.connectTo(Number(new URL(url).port))

const headOf = (received: string): string => received.slice(0, received.indexOf("\r\n\r\n"))

const countTicks = (received: string): number => received.split("event: tick").length - 1

const openEvents = Effect.fnUntraced(function*({ url }: Server, { jar }: Client) {
  const { received, reply, until, write } = yield* connect(url)
  yield* write(Http.requestText("GET /events", jar))
  yield* until((received) => countTicks(received) > 0)
  const setCookies = headOf(received()).split("\r\n").flatMap((line) => /^set-cookie: (.*)$/i.exec(line)?.[1] ?? [])
  jar.keep({ status: 200, headers: {}, setCookies, body: "" })
  const live: Live = {
    // A response whose last chunk is missing would not be one.
    ended: Effect.map(reply(), ({ status }) => status),
    alive: Effect.suspend(() => {
      const before = countTicks(received())
      return until((received) => countTicks(received) > before)
    })
  }
  return live
})

const openSocket = Effect.fnUntraced(function*({ url }: Server, { jar }: Client) {
  const connection = yield* connect(url)
  yield* connection.write(Http.requestText("GET /socket", jar, handshake))
  yield* connection.until((received) => received.includes("\r\n\r\n"))
  const { status } = yield* connection.reply()
  assert.strictEqual(status, 101)
  // As any client does, and a server waits for (RFC 6455, section 5.5.1).
  yield* Effect.forkScoped(Effect.andThen(connection.until(hasClose), connection.write(frame(closeFrame, ""))))
  const live: Live = {
    ended: Effect.map(
      connection.until(hasClose),
      () => framesOf(connection.received()).filter(({ kind }) => kind === closeFrame).map(codeOf)
    ),
    alive: Effect.suspend(() => {
      const text = crypto.randomUUID()
      return Effect.andThen(
        connection.write(frame(textFrame, text)),
        connection.until((received) => framesOf(received).some(({ payload }) => payload === text))
      )
    })
  }
  return { ...live, connection }
})

/** An event stream and a WebSocket of one session. */
const open = Effect.fnUntraced(function*(server: Server, client: Client) {
  const events = yield* openEvents(server, client)
  const socket = yield* openSocket(server, client)
  return {
    ended: Effect.all([events.ended, socket.ended]),
    alive: Effect.all([events.alive, socket.alive], { discard: true })
  }
})

/** A stream that was finished, and a socket that was closed with the code of the example. */
const bothEnded: [unknown, unknown] = [200, [4401]]

const start = (env: Record<string, string> = {}): Effect.Effect<Server, never, Database> =>
  Database.use(({ url }) =>
    Effect.promise(() => serve("examples/live.ts", { env: { SESSION_SECRET: secret, DATABASE_URL: url.href, ...env } }))
  )

const post = ({ send }: Client, path: string) => Effect.promise(() => send(path, { method: "POST" }))

const login = Effect.fnUntraced(function*({ url }: Server, user: string) {
  const client = makeClient(url)
  const { status } = yield* post(client, `/login?user=${user}`)
  assert.strictEqual(status, 204)
  return client
})

/** The same browser, at this server. */
const at = ({ url }: Server, { jar }: Client): Client => makeClient(url, jar.copy())

layer(layerDatabase, { excludeTestServices: true })("live.ts", (it) => {
  it.effect("sets the cookie in the header block of a stream, before the first event", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const ada = yield* login(server, "Ada")
      const { received, until, write } = yield* connect(server.url)
      yield* write(Http.requestText("GET /events", ada.jar))
      yield* until((received) => received.includes("data: "))
      const head = headOf(received())
      assert.match(head, /^HTTP\/1\.1 200 OK\r\n/)
      assert.match(head, /\r\ncontent-type: text\/event-stream\r\n/i)
      assert.match(head, /\r\ncache-control: no-store\r\n/i)
      const value = /\r\nset-cookie: session=([\w-]{110}); Path=\/; SameSite=Strict; HttpOnly\r\n/i.exec(head)?.[1] ??
        ""
      assert.notStrictEqual(value, ada.jar.get("session"))
      // The cookie of a version that the database has.
      ada.jar.set("session", value)
      assert.strictEqual((yield* post(ada, "/revoke-others")).status, 200)
    }))

  it.effect("neither streams to nor opens a socket for a client without a session", () =>
    Effect.gen(function*() {
      const server = yield* start()
      for (
        const request of [
          Http.requestText("GET /events", undefined),
          Http.requestText("GET /socket", undefined, handshake)
        ]
      ) {
        const { reply, write } = yield* connect(server.url)
        yield* write(request)
        const { setCookies, status } = yield* reply()
        assert.deepStrictEqual([status, setCookies], [401, []])
      }
    }))

  describe("ends the stream and the socket of a session, and of no other, when", () => {
    it.effect("its user logs out in another window", () =>
      Effect.gen(function*() {
        const server = yield* start()
        const [ada, eve] = [yield* login(server, "Ada"), yield* login(server, "Eve")]
        const [hers, others] = [yield* open(server, ada), yield* open(server, eve)]
        yield* hers.alive
        assert.strictEqual((yield* post(at(server, ada), "/logout")).status, 204)
        assert.deepStrictEqual(yield* hers.ended, bothEnded)
        yield* others.alive
        assert.strictEqual((yield* post(ada, "/logout")).status, 401)
        assert.notMatch(server.output(), /ERROR|WARN/)
      }))

    it.effect("its user logs out at another server", () =>
      Effect.gen(function*() {
        const [server, other] = yield* Effect.all([start(), start()], { concurrency: 2 })
        const [ada, eve] = [yield* login(server, "Ada"), yield* login(server, "Eve")]
        const [hers, others] = [yield* open(server, ada), yield* open(server, eve)]
        assert.strictEqual((yield* post(at(other, ada), "/logout")).status, 204)
        assert.deepStrictEqual(yield* hers.ended, bothEnded)
        yield* others.alive
      }))

    it.effect("it is revoked from another session of its user", () =>
      Effect.gen(function*() {
        const server = yield* start()
        const [phone, laptop, eve] = [
          yield* login(server, "Ann"),
          yield* login(server, "Ann"),
          yield* login(server, "Eve")
        ]
        const [onPhone, onLaptop, others] = [
          yield* open(server, phone),
          yield* open(server, laptop),
          yield* open(server, eve)
        ]
        assert.strictEqual((yield* post(laptop, "/revoke-others")).body, "{\"ended\":1}")
        assert.deepStrictEqual(yield* onPhone.ended, bothEnded)
        yield* onLaptop.alive
        yield* others.alive
      }))

    it.effect("it expires, while requests of another one keep that alive", () =>
      Effect.gen(function*() {
        const server = yield* start({ SESSION_IDLING_TIMEOUT: "3 seconds", SESSION_TOUCH_THRESHOLD: "0 seconds" })
        const eve = yield* login(server, "Eve")
        const others = yield* open(server, eve)
        const busy = yield* Effect.forkChild(Effect.repeat(post(eve, "/revoke-others"), Schedule.spaced("200 millis")))
        const hers = yield* open(server, yield* login(server, "Ada"))
        assert.deepStrictEqual(yield* hers.ended, bothEnded)
        yield* others.alive
        yield* Fiber.interrupt(busy)
        assert.deepStrictEqual(yield* others.ended, bothEnded)
      }))
  })

  it.effect("lets a client close its socket", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { alive, connection, ended } = yield* openSocket(server, yield* login(server, "Ada"))
      yield* alive
      yield* connection.write(frame(closeFrame, "\x03\xe8"))
      assert.deepStrictEqual(yield* ended, [1000])
      yield* post(yield* login(server, "Ada"), "/logout")
      assert.notMatch(server.output(), /ERROR|WARN/)
    }))

  it.effect("stops when it is told to, whoever is connected", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const { alive } = yield* open(server, yield* login(server, "Ada"))
      yield* alive
      yield* Effect.promise(server.stop)
    }))
})

// -----------------------------------------------------------------------------

class Account extends Session.Service<Account>()("Account", {
  data: Schema.Struct({ visits: Schema.Int }),
  initial: { visits: 0 }
}) {}

type Handle = Account["Service"]

const visit = (account: Handle) => account.update(({ visits }) => ({ visits: visits + 1 }))

/** How all kinds of changes end, each outcome once. */
const changeAll = (account: Handle): Effect.Effect<string> =>
  Effect.map(
    Effect.forEach([
      account.set({ visits: 9 }),
      visit(account),
      account.login("Eve"),
      account.setSubject("Eve"),
      account.renew,
      account.logout,
      account.destroy
    ], Effect.match({ onFailure: ({ reason }) => reason._tag, onSuccess: () => "done" })),
    (outcomes) => [...new Set(outcomes)].join()
  )

const read = Account.use((account) => Effect.map(account.get, ({ visits }) => HttpServerResponse.text(`${visits}`)))

const stream = Effect.gen(function*() {
  const account = yield* Account
  yield* visit(account)
  yield* account.commit
  return HttpServerResponse.stream(Stream.encodeText(Stream.fromEffect(changeAll(account))))
})

const socket = Effect.gen(function*() {
  const account = yield* Account
  const { visits } = yield* account.get
  yield* account.commit
  const request = yield* HttpServerRequest.HttpServerRequest
  const socket = yield* request.upgrade
  const { pull } = yield* socket.reader
  const { write } = yield* socket.writer
  yield* write(`${visits} ${yield* changeAll(account)}`)
  yield* Effect.ignore(pull)
  return HttpServerResponse.empty()
})

const Routes = HttpRouter.addAll([
  HttpRouter.route("GET", "/visit", Effect.as(Account.use(visit), HttpServerResponse.empty())),
  HttpRouter.route("GET", "/read", read),
  HttpRouter.route("GET", "/stream", stream),
  HttpRouter.route("GET", "/socket", socket)
]).pipe(Layer.provide(SessionHttp.layer(Account)))

/** A server with one client, on tables of its own, and time in the test's hands. */
const serveRoutes = Effect.fnUntraced(function*(prefix: string) {
  const database = yield* Database
  const surroundings = Http.makeSurroundings()
  const port = yield* Http.upgradingServer.start(
    Routes.pipe(
      Layer.provide(PgSessionStore.layerWith({ prefix })),
      Layer.provide(layerClient()),
      Layer.provide(Layer.succeed(Database, database)),
      Layer.provide(SessionConfig.layer({ secret: Redacted.make(secret), idlingTimeout: "1 hour" }))
    ),
    surroundings
  )
  const jar = new Http.Jar()
  const get = Effect.fnUntraced(function*(path: string) {
    const { reply, write } = yield* Http.connectTo(port)
    yield* write(Http.requestText(`GET ${path}`, jar))
    const answer = yield* reply()
    jar.keep(answer)
    return answer
  })
  const greeting = Effect.gen(function*() {
    const { received, reply, until, write } = yield* Http.connectTo(port)
    yield* write(Http.requestText("GET /socket", jar, handshake))
    yield* until((received) => received.includes("\r\n\r\n"))
    const { setCookies, status } = yield* reply()
    yield* until((received) => framesOf(received).length > 0)
    return { status, setCookies, text: framesOf(received())[0]?.payload }
  })
  const rows = PgClient.use((sql) => sql`SELECT * FROM ${sql(`${prefix}_sessions`)}`)
  return { time: surroundings.time, get, greeting, rows }
})

layer(layerClient().pipe(Layer.provideMerge(layerDatabase)), { excludeTestServices: true })("in Postgres", (it) => {
  it.effect("a change after the commit of a stream or a socket is refused, and what was committed stays", () =>
    Effect.gen(function*() {
      const { get, greeting } = yield* serveRoutes("committed")
      yield* get("/visit")
      assert.strictEqual((yield* get("/stream")).body, "AlreadyCommitted")
      assert.deepStrictEqual(yield* greeting, { status: 101, setCookies: [], text: "2 AlreadyCommitted" })
      assert.strictEqual((yield* get("/read")).body, "2")
    }))

  it.effect.each(
    [
      ["touch", 61],
      ["renewal by time", 2701]
    ] as const
  )("an upgrade writes nothing, where any other request makes a %s", ([name, age]) =>
    Effect.gen(function*() {
      const { get, greeting, rows, time } = yield* serveRoutes(`upgraded_${age}`)
      yield* get("/visit")
      const created = yield* rows
      time.advance(age)
      assert.deepStrictEqual(yield* greeting, { status: 101, setCookies: [], text: "1 AlreadyCommitted" })
      assert.deepStrictEqual(yield* rows, created)
      assert.lengthOf((yield* get("/read")).setCookies, 1)
      const [before, after] = [created[0], (yield* rows)[0]]
      assert.notDeepEqual(after, before)
      assert.strictEqual(String(after?.key) === String(before?.key), name === "touch")
    }))
})
