/** Whole servers, with a load generator in another process: what a session takes of a server's throughput. */
import { Console, Effect } from "effect"
import { dataOf } from "../http/contract.ts"
import * as Load from "../lib/load.ts"
import type { Options } from "../lib/options.ts"
import * as Ours from "../lib/ours.ts"
import * as Postgres from "../lib/postgres.ts"
import * as Process from "../lib/process.ts"
import { interleave } from "../lib/rounds.ts"
import type { Group, Result, Runtime } from "../lib/row.ts"
import { median, ratio, summary } from "../lib/statistics.ts"

interface Server {
  readonly name: string
  readonly runtime: Runtime & ("node" | "deno")
  readonly args: ReadonlyArray<string>
  readonly isOurs: boolean
  /** Whether a cookie that it has not seen before may take longer. */
  readonly remembers: boolean
}

const effect = (store: string, runtime: Server["runtime"]): Server => ({
  name: `Effect + effect-session, ${store}`,
  runtime,
  args: ["bench/http/effect.ts", store],
  isOurs: true,
  remembers: store === "cookie"
})

const peer = (name: string, file: string, ...args: ReadonlyArray<string>): Server => ({
  name,
  runtime: "node",
  args: [`bench/peers/http/${file}`, ...args],
  isOurs: false,
  remembers: false
})

const names = {
  cookie: effect("cookie", "node"),
  postgres: effect("postgres", "node"),
  expressPostgres: peer("express + connect-pg-simple", "express.ts", "postgres"),
  expressTouchless: peer("express + connect-pg-simple without touch", "express.ts", "postgres-touchless")
}

const servers: ReadonlyArray<Server> = [
  names.cookie,
  peer("fastify + @fastify/secure-session", "fastify.ts", "secure"),
  peer("hono + iron-session", "hono.ts"),
  effect("memory", "node"),
  peer("fastify + @fastify/session, memory", "fastify.ts", "memory"),
  peer("express + express-session, memory", "express.ts", "memory"),
  names.postgres,
  names.expressTouchless,
  names.expressPostgres,
  ...["cookie", "memory", "postgres"].map((store) => effect(store, "deno"))
]

const modes = {
  empty: "empty handler",
  read: "read",
  fresh: "read of a cookie not seen before",
  write: "read and write"
} as const

type Mode = keyof typeof modes

type Input = Pick<Load.Round, "cookies" | "order"> & { readonly path: string }

interface Running {
  readonly server: Server
  readonly url: string
  /** What a request has taken at least. */
  fastest: number
}

// -----------------------------------------------------------------------------
// what clients have
// -----------------------------------------------------------------------------

const get = (url: string, cookie = ""): Effect.Effect<{ readonly body: string; readonly cookie: string }> =>
  Effect.promise(async () => {
    const response = await fetch(url, { headers: cookie === "" ? {} : { cookie } })
    const body = await response.text()
    if (!response.ok) throw new Error(`${url}: ${response.status} ${body}`)
    const set = response.headers.getSetCookie().map((cookie) => cookie.split(";")[0]).join("; ")
    return { body, cookie: set }
  })

let nextId = 0

/** As many sessions, each with data of its own. */
const login = (url: string, count: number): Effect.Effect<ReadonlyArray<string>> =>
  Effect.forEach(
    Array.from({ length: count }, () => nextId++),
    (id) => Effect.map(get(`${url}/login?id=${id}`), ({ cookie }) => cookie),
    { concurrency: 8 }
  )

const expect = (url: string, expected: unknown, body: string): Effect.Effect<void> =>
  body === expected ? Effect.void : Effect.die(new Error(`${url} answered ${body} instead of ${String(expected)}`))

/** A server that does not keep what it is given must not be measured. */
const check = Effect.fnUntraced(function*(url: string) {
  const id = nextId++
  const data = dataOf(id)
  const { cookie } = yield* get(`${url}/login?id=${id}`)
  yield* expect(`${url}/data`, JSON.stringify(data), (yield* get(`${url}/data`, cookie)).body)
  yield* expect(`${url}/read`, data.user, (yield* get(`${url}/read`, cookie)).body)
  const written = yield* get(`${url}/write`, cookie)
  yield* expect(`${url}/write`, data.user, written.body)
  const after = yield* get(`${url}/data`, written.cookie === "" ? cookie : written.cookie)
  yield* expect(`${url}/data`, JSON.stringify({ ...data, count: 1 }), after.body)
})

/** Whether a write sets a cookie, which the client then has to send. */
const sets = (url: string, cookie: string): Effect.Effect<boolean> =>
  Effect.map(get(`${url}/write`, cookie), ({ cookie }) => cookie !== "")

/** Cookies that no server has seen: made here, under the key of the servers. */
const makeFresh = Effect.map(Ours.makeEngine({ secret: Ours.secret }), ({ codec }) => (count: number) =>
  Effect.forEach(
    Array.from({ length: count }, () => nextId++),
    (id) =>
      Effect.map(Ours.seal(codec, Ours.payloadOf({ ...dataOf(id) })), (sealed) => Ours.cookieHeader(codec, sealed))
  ))

// -----------------------------------------------------------------------------
// the suite
// -----------------------------------------------------------------------------

const start = Effect.fnUntraced(function*(server: Server, databaseUrl: string, load: Load.Load) {
  const runtime = Process.runtimes[server.runtime]
  if (runtime === undefined) return []
  const { line } = yield* Process.start([...runtime, ...server.args], { DATABASE_URL: databaseUrl })
  const url = `http://127.0.0.1:${yield* line}`
  yield* check(url)
  const warm = (path: string, cookies: ReadonlyArray<string>) =>
    load({ url: `${url}${path}`, seconds: 1, cookies, order: "repeat" })
  const cookies = yield* login(url, 64)
  const fastest = yield* warm("/empty", [""])
  yield* warm("/read", cookies)
  const running: Running = { server, url, fastest }
  return [running]
})

export const run = ({ short }: Options) =>
  Effect.gen(function*() {
    const rounds = short ? 1 : 7
    const seconds = short ? 1 : 3
    const { load, name } = yield* Load.make
    const databaseUrl = yield* Postgres.server
    const fresh = yield* makeFresh
    yield* Console.log(`http: by ${name}, 64 connections`)
    const running = (yield* Effect.forEach(servers, (server) => start(server, databaseUrl, load))).flat()

    const inputs: Readonly<Record<Mode, (one: Running) => Effect.Effect<Input>>> = {
      empty: () => Effect.succeed({ path: "/empty", cookies: [""], order: "repeat" }),
      // New ones each time: cookies that are a minute old are refreshed.
      read: ({ url }: Running) =>
        Effect.map(login(url, 64), (cookies) => ({ path: "/read", cookies, order: "repeat" })),
      fresh: ({ fastest }: Running) =>
        Effect.map(
          fresh(Math.ceil(1.5 * seconds * 1e6 / fastest)),
          (cookies) => ({ path: "/read", cookies, order: "once" })
        ),
      write: Effect.fnUntraced(function*({ url }: Running) {
        const [probe = "", ...cookies] = yield* login(url, 129)
        return { path: "/write", cookies, order: (yield* sets(url, probe)) ? "follow" : "repeat" }
      })
    }

    const modesOf = ({ server }: Running): ReadonlyArray<Mode> =>
      server.remembers ? ["empty", "read", "fresh", "write"] : ["empty", "read", "write"]

    const measured = yield* interleave(running, rounds, (one, round) => {
      const modes = modesOf(one)
      return Effect.map(
        Effect.forEach(round % 2 === 0 ? modes : modes.toReversed(), (mode) =>
          Effect.flatMap(inputs[mode](one), ({ cookies, order, path }) =>
            Effect.map(load({ url: `${one.url}${path}`, seconds, cookies, order }), (micros) => {
              one.fastest = Math.min(one.fastest, micros)
              return [mode, micros] as const
            }))),
        (entries) =>
          Object.fromEntries(entries) as Readonly<Partial<Record<Mode, number>>>
      )
    })

    const times = (one: Running, mode: Mode): ReadonlyArray<number> =>
      measured.get(one)?.map((round) => round[mode] ?? Number.NaN) ?? []
    const added = (one: Running, mode: Mode): ReadonlyArray<number> => {
      const empty = times(one, "empty")
      return times(one, mode).map((micros, round) => micros - (empty[round] ?? Number.NaN))
    }

    const groups = (["empty", "read", "fresh", "write"] as const).map((mode): Group => ({
      title: `HTTP: ${modes[mode]}`,
      ratio: "share of the empty handler's throughput",
      plot: mode === "empty" ? undefined : "ratio",
      rows: running.filter((one) => modesOf(one).includes(mode)).map((one) => ({
        suite: "http",
        name: `${one.server.name}: ${modes[mode]}`,
        label: one.server.runtime === "node" ? one.server.name : `${one.server.name} (${one.server.runtime})`,
        isOurs: one.server.isOurs,
        note: [
          `${(1e6 / median(times(one, mode))).toFixed(0)} requests a second`,
          ...mode === "empty" ? [] : [`a session adds ${median(added(one, mode)).toFixed(1)} us`]
        ].join(", "),
        runtime: one.server.runtime,
        time: summary(times(one, mode)),
        ratioTo: `${one.server.name}: ${modes.empty}`,
        ratio: ratio(times(one, "empty"), times(one, mode))
      }))
    }))

    const find = (server: Server): Running | undefined => running.find((one) => one.server === server)
    const kept = (server: Server, mode: Mode): number => {
      const one = find(server)
      return one === undefined ? Number.NaN : ratio(times(one, "empty"), times(one, mode))
    }
    // Not of single rounds: what a quick session adds is sometimes less than the noise.
    const addedTimes = (server: Server, to: Server, mode: Mode): number => {
      const [one, other] = [server, to].map((server) => {
        const running = find(server)
        return running === undefined ? Number.NaN : median(added(running, mode))
      })
      return other! > 0 ? one! / other! : Number.NaN
    }
    return {
      groups,
      values: {
        "http.kept.read": kept(names.cookie, "read"),
        "http.kept.fresh": kept(names.cookie, "fresh"),
        "http.kept.write": kept(names.cookie, "write"),
        "http.postgres.read.touchless": addedTimes(names.postgres, names.expressTouchless, "read"),
        "http.postgres.read.default": addedTimes(names.postgres, names.expressPostgres, "read"),
        "http.postgres.write": addedTimes(names.postgres, names.expressPostgres, "write")
      }
    } satisfies Result
  }).pipe(Effect.scoped)
