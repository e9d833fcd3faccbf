/**
 * HTTP to test with: servers, a client that sees the raw bytes, browsers, a clock with hands, and a store that can be
 * watched, held up and broken.
 */
import { NodeHttpServer, NodeStream } from "@effect/platform-node"
import { Clock, Context, Data, Deferred, Effect, ErrorReporter, Layer, Logger, Metric, Stream } from "effect"
import type { FileSystem, Path, Scope } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import type { Etag, HttpPlatform } from "effect/http"
import { createServer } from "node:http"
import type { IncomingMessage, ServerResponse } from "node:http"
import { connect } from "node:net"
import * as SessionEvents from "../../src/SessionEvents.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import * as FaultyStore from "../../src/testing/FaultyStore.ts"

// -----------------------------------------------------------------------------
// time
// -----------------------------------------------------------------------------

/** A clock that only shows another time when it is told to. Sleeping takes as long as ever. */
export interface Time {
  readonly clock: Clock.Clock
  readonly advance: (seconds: number) => void
}

const makeTime = (): Time => {
  let now = 1_795_400_000_000
  const clock: Clock.Clock = Object.assign(Object.create(Context.get(Context.empty(), Clock.Clock)), {
    currentTimeMillisUnsafe: () => now,
    currentTimeMillis: Effect.sync(() => now)
  })
  return {
    clock,
    advance: (seconds) => {
      now += seconds * 1000
    }
  }
}

// -----------------------------------------------------------------------------
// a store to watch
// -----------------------------------------------------------------------------

export const isWrite = (operation: FaultyStore.Operation): boolean =>
  ["create", "supersede", "rescue", "touch", "revoke", "saveInfo"].includes(operation)

/** A store whose operations are logged, and can be held up or fail. */
export interface Probe {
  /** What happened, in order: an operation's name when it begins, the name with " done" when it was acknowledged. */
  readonly log: Array<string>
  /** Says what happens around each operation from now on. */
  readonly around: (around: FaultyStore.Around) => void
  readonly watch: (port: SessionStore.Port) => SessionStore.Port
  /** A store in memory, watched. */
  readonly layer: Layer.Layer<SessionStore.SessionStore | SessionStore.SessionPort>
}

export const makeProbe = (): Probe => {
  const log: Array<string> = []
  let current: FaultyStore.Around = (_operation, run) => run
  const logged: FaultyStore.Around = (operation, run) =>
    Effect.suspend(() => {
      log.push(operation)
      return Effect.tap(current(operation, run), () => Effect.sync(() => log.push(`${operation} done`)))
    })
  return {
    log,
    around: (around) => {
      current = around
    },
    watch: (port) => FaultyStore.make(port, logged),
    layer: FaultyStore.layer({ layer: SessionStore.layerMemory, around: logged })
  }
}

/** The writes that began, the note that a version was seen aside. */
export const writes = ({ log }: Probe): ReadonlyArray<string> =>
  log.filter((operation) =>
    ["create", "supersede", "rescue", "touch", "revoke", "saveInfo", "revokeAll"].includes(operation)
  )

/** Holds up the next operation of this name until it is released, and no later one. */
export const hold = (
  probe: Probe,
  held: FaultyStore.Operation
): Effect.Effect<{ readonly reached: Effect.Effect<void>; readonly release: Effect.Effect<void> }> =>
  Effect.sync(() => {
    const reached = Deferred.makeUnsafe<void>()
    const released = Deferred.makeUnsafe<void>()
    let armed = true
    probe.around((operation, run) => {
      if (operation !== held || !armed) return run
      armed = false
      return Deferred.succeed(reached, undefined).pipe(
        Effect.andThen(Deferred.await(released)),
        Effect.andThen(run)
      )
    })
    return { reached: Deferred.await(reached), release: Effect.asVoid(Deferred.succeed(released, undefined)) }
  })

/** Lets operations of this name go on only when so many of them have been made. */
export const gather = (probe: Probe, gathered: FaultyStore.Operation, count: number): Effect.Effect<void> =>
  Effect.sync(() => {
    const all = Deferred.makeUnsafe<void>()
    let arrived = 0
    probe.around((operation, run) => {
      if (operation !== gathered) return run
      arrived++
      // What was read then is what all of them act upon.
      return Effect.tap(run, () => arrived >= count ? Deferred.succeed(all, undefined) : Deferred.await(all))
    })
  })

/** Polls: of what happens when nobody waits for it, nobody tells. */
export const eventually = (condition: () => boolean, what: () => string): Effect.Effect<void> =>
  Effect.suspend(() => condition() ? Effect.void : Effect.delay(eventually(condition, what), "5 millis")).pipe(
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () => Effect.die(new Error(`It never happened: ${what()}`))
    })
  )

// -----------------------------------------------------------------------------
// replies and browsers
// -----------------------------------------------------------------------------

export interface Reply {
  readonly status: number
  /** Names in lower case; those that came twice are joined by ", ". */
  readonly headers: { readonly [name: string]: string }
  readonly setCookies: ReadonlyArray<string>
  readonly body: string
}

const nameOf = (setCookie: string): string => setCookie.slice(0, setCookie.indexOf("="))

const valueOf = (setCookie: string): string => setCookie.slice(setCookie.indexOf("=") + 1, setCookie.indexOf(";"))

export const names = ({ setCookies }: Reply): ReadonlyArray<string> => setCookies.map(nameOf)

/** Keeps cookies as a browser does that only ever talks to one host. */
export class Jar {
  readonly #cookies: Map<string, string>

  constructor(cookies: Iterable<readonly [string, string]> = []) {
    this.#cookies = new Map(cookies)
  }

  /** The Cookie header, or `undefined` without cookies. */
  get header(): string | undefined {
    const pairs = Array.from(this.#cookies, ([name, value]) => `${name}=${value}`)
    return pairs.length === 0 ? undefined : pairs.join("; ")
  }

  keep(reply: Reply): void {
    for (const setCookie of reply.setCookies) {
      if (/; Max-Age=0(;|$)/.test(setCookie)) this.#cookies.delete(nameOf(setCookie))
      else this.#cookies.set(nameOf(setCookie), valueOf(setCookie))
    }
  }

  set(name: string, value: string): void {
    this.#cookies.set(name, value)
  }

  get(name: string): string | undefined {
    return this.#cookies.get(name)
  }

  /** A jar with the same cookies: another window, or a thief. */
  copy(): Jar {
    return new Jar(this.#cookies)
  }
}

// -----------------------------------------------------------------------------
// applications
// -----------------------------------------------------------------------------

type HttpServices = FileSystem.FileSystem | Path.Path | HttpPlatform.HttpPlatform | Etag.Generator

/** Routes with everything provided but the server. */
export type App = Layer.Layer<
  never,
  unknown,
  | HttpRouter.HttpRouter
  | HttpRouter.Request<"Error", unknown>
  | HttpRouter.Request<"GlobalError", unknown>
  | HttpServices
>

/** What surrounds an application in a test. */
export interface Surroundings {
  readonly time: Time
  readonly events: Array<SessionEvents.SessionEvent>
  readonly metrics: Metric.MetricRegistry
  /** What was reported as failed. */
  readonly reported: Array<unknown>
}

export const makeSurroundings = (): Surroundings => ({
  time: makeTime(),
  events: [],
  metrics: new Map(),
  reported: []
})

const layerSurroundings = ({ events, metrics, reported, time }: Surroundings): Layer.Layer<never> =>
  Layer.mergeAll(
    Layer.succeed(Clock.Clock, time.clock),
    Layer.succeed(Metric.MetricRegistry, metrics),
    Layer.succeed(SessionEvents.listener, (event) => Effect.sync(() => events.push(event))),
    ErrorReporter.layer([ErrorReporter.make(({ error }) => {
      reported.push(error)
    })]),
    Logger.layer([])
  )

/** A request to an application. */
export interface Message {
  readonly method?: string
  readonly headers?: { readonly [name: string]: string }
  readonly body?: string
  /** Its cookies are sent, and it keeps those of the reply. */
  readonly jar?: Jar
  readonly signal?: AbortSignal
}

export type Send = (path: string, message?: Message) => Effect.Effect<Reply>

export type WebHandler = (request: Request) => Promise<Response>

/** An application as a function from requests to responses, for as long as the scope is open. */
export const makeWebHandler = (
  app: App,
  surroundings: Surroundings,
  disableLogger = true
): Effect.Effect<WebHandler, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() =>
        HttpRouter.toWebHandler(
          app.pipe(
            Layer.provide(NodeHttpServer.layerHttpServices),
            Layer.provideMerge(layerSurroundings(surroundings))
          ),
          { disableLogger }
        )
      ),
      ({ dispose }) => Effect.promise(dispose)
    ),
    ({ handler }) => (request) => handler(request)
  )

const fromResponse = (response: Response): Effect.Effect<Reply> =>
  Effect.map(Effect.promise(() => response.text()), (body) => ({
    status: response.status,
    headers: Object.fromEntries(response.headers),
    setCookies: response.headers.getSetCookie(),
    body
  }))

/** Sends requests to a handler, without a network between. */
export const sendTo = (handler: WebHandler): Send => (path, { body, headers, jar, method, signal } = {}) =>
  Effect.promise(() => {
    const cookie = jar?.header
    return handler(
      new Request(`https://shop.example${path}`, {
        method: method ?? "GET",
        headers: { host: "shop.example", ...(cookie === undefined ? {} : { cookie }), ...headers },
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal })
      })
    )
  }).pipe(
    Effect.flatMap(fromResponse),
    Effect.tap((reply) => Effect.sync(() => jar?.keep(reply)))
  )

// -----------------------------------------------------------------------------
// servers
// -----------------------------------------------------------------------------

/** A kind of server: starts an application on a free port of 127.0.0.1 and answers the port. */
export interface Server {
  readonly name: string
  readonly start: (
    app: App,
    surroundings: Surroundings,
    disableLogger?: boolean
  ) => Effect.Effect<number, never, Scope.Scope>
}

const nodeHttpServer: Server = {
  name: "NodeHttpServer",
  start: (app, surroundings, disableLogger = true) =>
    Effect.gen(function*() {
      const server = createServer()
      // An open connection must not hold up the end of a test.
      yield* Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections()))
      const context = yield* Layer.build(
        HttpRouter.serve(app, { disableListenLog: true, disableLogger }).pipe(
          Layer.provideMerge(
            NodeHttpServer.layer(() => server, { host: "127.0.0.1", port: 0, disablePreemptiveShutdown: true })
          ),
          Layer.provide(layerSurroundings(surroundings))
        )
      )
      yield* Effect.addFinalizer(() => Effect.sync(() => server.closeAllConnections()))
      const { address } = Context.get(context, HttpServer.HttpServer)
      return "port" in address ? address.port : yield* Effect.die("not a TCP server")
    }).pipe(Effect.orDie)
}

const toWebBody = (message: IncomingMessage): ReadableStream<Uint8Array> =>
  Stream.toReadableStream(NodeStream.fromReadable({ evaluate: () => message, closeOnDone: false }))

const toWebRequest = (message: IncomingMessage, signal: AbortSignal): Request => {
  const { method = "GET" } = message
  return new Request(`http://${message.headers.host ?? "localhost"}${message.url ?? "/"}`, {
    method,
    headers: message.rawHeaders.flatMap((name, i): ReadonlyArray<[string, string]> =>
      i % 2 === 0 ? [[name, message.rawHeaders[i + 1] ?? ""]] : []
    ),
    signal,
    ...(method === "GET" || method === "HEAD" ? {} : { body: toWebBody(message), duplex: "half" })
  })
}

const writeWebResponse = async (response: Response, to: ServerResponse): Promise<void> => {
  const { "set-cookie": _, ...headers } = Object.fromEntries(response.headers)
  const setCookies = response.headers.getSetCookie()
  to.writeHead(response.status, setCookies.length === 0 ? headers : { ...headers, "set-cookie": setCookies })
  to.flushHeaders()
  for await (const chunk of response.body ?? []) to.write(chunk)
  to.end()
}

/** What a runtime with a server of its own does, as far as the tests need it. */
const bridge = (handler: WebHandler): Effect.Effect<number, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<ReturnType<typeof createServer>>((resume) => {
        const server = createServer((message, response) => {
          const abort = new AbortController()
          response.on("close", () => response.writableEnded ? undefined : abort.abort())
          handler(toWebRequest(message, abort.signal))
            .then((answer) => writeWebResponse(answer, response))
            .catch(() => response.destroy())
        })
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
      }),
      (server) => Effect.sync(() => server.close().closeAllConnections())
    ),
    (server) => {
      const address = server.address()
      return typeof address === "object" && address !== null ? address.port : 0
    }
  )

interface DenoServe {
  readonly serve: (
    options: {
      readonly hostname: string
      readonly port: number
      readonly onListen: () => void
      readonly signal: AbortSignal
    },
    handler: WebHandler
  ) => { readonly addr: { readonly port: number } }
}

// The types of Deno are not among those of this repository.
const { Deno } = globalThis as { readonly Deno?: DenoServe }

const denoServe = ({ serve }: DenoServe, handler: WebHandler): Effect.Effect<number, never, Scope.Scope> =>
  Effect.map(
    // Not `shutdown`, which waits for requests that hang.
    Effect.acquireRelease(Effect.sync(() => new AbortController()), (end) => Effect.sync(() => end.abort())),
    ({ signal }) => serve({ hostname: "127.0.0.1", port: 0, onListen: () => undefined, signal }, handler).addr.port
  )

const webHandler: Server = {
  name: Deno === undefined ? "toWebHandler behind node:http" : "toWebHandler behind Deno.serve",
  start: (app, surroundings, disableLogger) =>
    Effect.flatMap(
      makeWebHandler(app, surroundings, disableLogger),
      (handler) => Deno === undefined ? bridge(handler) : denoServe(Deno, handler)
    )
}

export const servers: ReadonlyArray<Server> = [nodeHttpServer, webHandler]

/** The server that can upgrade a connection. */
export const upgradingServer = nodeHttpServer

// -----------------------------------------------------------------------------
// the raw client
// -----------------------------------------------------------------------------

const headEnd = "\r\n\r\n"

const header = (lines: ReadonlyArray<string>, name: string): string | undefined =>
  lines.find((line) => line.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1).trim()

/** The body and where it ends; `undefined` as long as it is not all there. */
const readBody = (
  text: string,
  from: number,
  lines: ReadonlyArray<string>,
  bodiless: boolean
): { readonly body: string; readonly end: number } | undefined => {
  if (bodiless) return { body: "", end: from }
  if (header(lines, "transfer-encoding") !== undefined) return readChunks(text, from, "")
  const length = Number(header(lines, "content-length") ?? 0)
  return text.length < from + length ? undefined : { body: text.slice(from, from + length), end: from + length }
}

const readChunks = (
  text: string,
  from: number,
  body: string
): { readonly body: string; readonly end: number } | undefined => {
  const line = text.indexOf("\r\n", from)
  if (line < 0) return undefined
  const size = Number.parseInt(text.slice(from, line), 16)
  const end = line + 2 + size + 2
  if (text.length < end) return undefined
  return size === 0 ? { body, end } : readChunks(text, end, body + text.slice(line + 2, end - 2))
}

const parse = (text: string, method: string): { readonly reply: Reply; readonly end: number } | undefined => {
  const end = text.indexOf(headEnd)
  if (end < 0) return undefined
  const [statusLine = "", ...lines] = text.slice(0, end).split("\r\n")
  const status = Number(statusLine.split(" ")[1])
  const read = readBody(text, end + headEnd.length, lines, method === "HEAD" || status === 204 || status < 200)
  if (read === undefined) return undefined
  const headers: Record<string, string> = {}
  for (const line of lines) {
    const name = line.slice(0, line.indexOf(":")).toLowerCase()
    const value = line.slice(line.indexOf(":") + 1).trim()
    headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`
  }
  const setCookies = lines
    .filter((line) => /^set-cookie:/i.test(line))
    .map((line) => line.slice(line.indexOf(":") + 1).trim())
  return { reply: { status, headers, setCookies, body: read.body }, end: read.end }
}

/** The client hung: nothing, or no whole reply, arrived within its patience. */
export class Hung extends Data.TaggedError("Hung")<{ readonly received: string }> {}

/** A connection that keeps all bytes that arrive. */
export interface Connection {
  /** Writes a request; only its headers are needed. */
  readonly write: (text: string) => Effect.Effect<void>
  /** All that has arrived and no reply was made of, as Latin-1. */
  readonly received: () => string
  /** Waits until that fulfils a condition, or the other side has closed. */
  readonly until: (condition: (received: string) => boolean) => Effect.Effect<void, Hung>
  /** Waits for a whole reply to a request with this method, and takes it out of what was received. */
  readonly reply: (method?: string) => Effect.Effect<Reply, Hung>
  /** Cuts the connection, as a client that goes away. */
  readonly abort: Effect.Effect<void>
}

/**
 * Connects to a port of this machine. Every arrival of bytes is noted in the log as "bytes", so that it can be told
 * what came before and what came after.
 */
export const connectTo = (
  port: number,
  options: { readonly log?: Array<string>; readonly patience?: number } = {}
): Effect.Effect<Connection, never, Scope.Scope> =>
  Effect.gen(function*() {
    const { log = [], patience = 10_000 } = options
    const socket = yield* Effect.acquireRelease(
      Effect.callback<ReturnType<typeof connect>>((resume) => {
        const socket = connect({ host: "127.0.0.1", port }, () => resume(Effect.succeed(socket)))
        socket.once("error", (error) => resume(Effect.die(error)))
      }),
      (socket) => Effect.sync(() => socket.destroy())
    )
    let received = ""
    let closed = false
    const waiting = new Set<() => void>()
    const wake = () => waiting.forEach((retry) => retry())
    // What a server does to a connection that it does not like shows as its end.
    socket.on("error", () => undefined)
    socket.on("data", (chunk) => {
      log.push("bytes")
      received += chunk.toString("latin1")
      wake()
    })
    socket.on("close", () => {
      closed = true
      wake()
    })
    const take = <A>(attempt: () => A | undefined): Effect.Effect<A, Hung> =>
      Effect.callback<A, Hung>((resume) => {
        const retry = () => {
          const taken = attempt()
          if (taken !== undefined) {
            waiting.delete(retry)
            resume(Effect.succeed(taken))
          } else if (closed) {
            waiting.delete(retry)
            resume(Effect.fail(new Hung({ received })))
          }
        }
        waiting.add(retry)
        retry()
        return Effect.sync(() => waiting.delete(retry))
      }).pipe(
        Effect.timeoutOrElse({ duration: patience, orElse: () => Effect.fail(new Hung({ received })) })
      )
    return {
      write: (text) => Effect.sync(() => void socket.write(text, "latin1")),
      received: () => received,
      until: (condition) => Effect.asVoid(take(() => condition(received) ? true : undefined)),
      reply: (method = "GET") =>
        take(() => {
          const parsed = parse(received, method)
          if (parsed === undefined) return undefined
          received = received.slice(parsed.end)
          return parsed.reply
        }),
      abort: Effect.sync(() => void socket.destroy())
    }
  })

/** The text of a request without a body. */
export const requestText = (
  line: string,
  jar: Jar | undefined,
  headers: { readonly [name: string]: string } = {}
): string =>
  [
    `${line} HTTP/1.1`,
    "Host: shop.example",
    ...(jar?.header === undefined ? [] : [`Cookie: ${jar.header}`]),
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    "",
    ""
  ].join("\r\n")
