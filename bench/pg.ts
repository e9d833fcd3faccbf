/**
 * The store on a real Postgres, without HTTP, beside pgbench issuing the same statements: `npm run bench:pg`.
 *
 * `-- --short` runs through everything in a minute, for nobody to believe; `-- --json FILE` also writes the results
 * there. ROWS (a million) is how many sessions there are, ROUNDS (5) and SECONDS (2) how often and how long each
 * contender works.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as PgClient from "@effect/sql-pg/PgClient"
import { Console, Context, Effect, Layer, Redacted } from "effect"
import type { Scope } from "effect"
import type { SqlError } from "effect/sql"
import { writeFile } from "node:fs/promises"
import { availableParallelism, loadavg } from "node:os"
import { parseArgs } from "node:util"
import { makeServer } from "../examples/postgres/embedded.ts"
import { names } from "../src/internal/pgStatements.ts"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import type { SessionError } from "../src/SessionError.ts"
import { SessionPort } from "../src/SessionStore.ts"
import type { Port, Version } from "../src/SessionStore.ts"
import * as Pgbench from "./pg/pgbench.ts"
import { at, data, deadline, insert, key, now, successor } from "./pg/sessions.ts"
import type { Block } from "./pg/sessions.ts"

const { values: flags } = parseArgs({
  options: { short: { type: "boolean", default: false }, json: { type: "string" } }
})

const setting = (name: string, usual: number, short: number): number =>
  Number(process.env[name] ?? (flags.short ? short : usual))

const rows = setting("ROWS", 1_000_000, 10_000)
const rounds = setting("ROUNDS", 5, 1)
const seconds = setting("SECONDS", 2, 1)
const expired = Math.round(rows / 10)
const warmUp = 0.3

const { sessions, superseded } = names("session")

// -----------------------------------------------------------------------------
// numbers
// -----------------------------------------------------------------------------

const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN
}
const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)

interface Row {
  readonly suite: string
  readonly name: string
  readonly concurrency: number
  readonly median_per_s: number
  readonly min_per_s: number
  readonly max_per_s: number
  readonly ratio_to: string
  /** The median of the rounds' ratios: what the machine does meanwhile hits both sides of one. */
  readonly ratio: number
}

const result: {
  readonly rows: Array<Row>
  readonly measures: Array<{ readonly name: string; readonly value: number }>
  readonly targets: Array<{
    readonly target: string
    readonly value: number | null
    readonly limit: string
    readonly met: boolean | null
  }>
} = { rows: [], measures: [], targets: [] }

const measured = (name: string, value: number): Effect.Effect<void> => {
  result.measures.push({ name, value })
  return Console.log(`${name}: ${Number(value.toPrecision(4))}`)
}

// -----------------------------------------------------------------------------
// workloads
// -----------------------------------------------------------------------------

const anySession = (): number => Math.floor(Math.random() * rows)

const version = (session: number, number: number): Version => ({
  key: key(session, number),
  data,
  deadline,
  latestDeadline: deadline,
  index: [{ audience: "shop", subject: `user-${session}` }],
  remember: undefined
})

/** What a workload met must be what it wanted, or its speed means nothing. */
const expecting = <A extends { readonly _tag: string } | undefined>(
  tag: NonNullable<A>["_tag"],
  effect: Effect.Effect<A, SessionError>
): Effect.Effect<void, SessionError> =>
  Effect.flatMap(
    effect,
    (outcome) =>
      outcome?._tag === tag ? Effect.void : Effect.die(new Error(`${outcome?._tag ?? "Nothing"} instead of ${tag}`))
  )

type Step = (client: number, step: number) => Effect.Effect<void, SessionError>

const load = (port: Port, session: number, number: number): Effect.Effect<void, SessionError> =>
  expecting("Current", port.load(key(session, number), now))

const supersede = (port: Port, session: number, number: number): Effect.Effect<void, SessionError> =>
  expecting("Done", port.supersede(key(session, number), version(session, number + 1), successor, now))

const workloads = {
  load: (port: Port): Step => () => load(port, anySession(), 0),
  supersede: (port: Port, block: Block): Step => (client, step) => {
    const { session, version } = at(block, client, step)
    return supersede(port, session, version)
  },
  mixed: (port: Port, block: Block): Step => (client, step) => {
    const [first, ...rest] = [0, 1, 2, 3].map((ahead) => at(block, client, step + ahead))
    return Effect.forEach([first!, ...rest], ({ session, version }) => load(port, session, version), { discard: true })
      .pipe(Effect.andThen(supersede(port, first!.session, first!.version)))
  }
}

/** Does step after step with so many clients at once until the end, and tells how long each took. */
const drive = (concurrency: number, step: Step, ended: () => boolean, took: (millis: number) => void) =>
  Effect.forEach(
    Array.from({ length: concurrency }, (_, client) => client),
    Effect.fnUntraced(function*(client) {
      for (let number = 0; !ended(); number++) {
        const begin = performance.now()
        yield* step(client, number)
        took(performance.now() - begin)
      }
    }),
    { concurrency: "unbounded", discard: true }
  )

/** The milliseconds of each step within so many seconds. */
const sample = Effect.fnUntraced(function*(concurrency: number, seconds: number, step: Step) {
  const begin = performance.now() + warmUp * 1000
  const end = begin + seconds * 1000
  const samples: Array<number> = []
  yield* drive(concurrency, step, () => performance.now() >= end, (millis) => {
    const at = performance.now()
    if (at >= begin && at < end) samples.push(millis)
  })
  return samples
})

// -----------------------------------------------------------------------------
// contenders
// -----------------------------------------------------------------------------

type Pool = Omit<PgClient.PgPoolConfig, "url">

const connect = (url: string, pool: Pool) =>
  Layer.build(
    PgSessionStore.layerStorage({}).pipe(
      Layer.provideMerge(PgClient.layer({ url: Redacted.make(url), ...pool }))
    )
  )

type Opened = Effect.Effect<Port, SessionError | SqlError.SqlError, Scope.Scope>

const open = (pool: Pool) => (url: string): Opened => Effect.map(connect(url, pool), Context.get(SessionPort))

const reference = "16 connections"
const multiplexed = { multiplex: true, maxConnections: 2 }

const pools: Record<string, (url: string) => Opened> = {
  [reference]: open({ maxConnections: 16 }),
  "10 connections (default)": open({}),
  "2 multiplexed": open(multiplexed),
  "4 multiplexed": open({ multiplex: true, maxConnections: 4 }),
  "2 multiplexed for loads, 16 for writes": (url) =>
    Effect.zipWith(
      open(multiplexed)(url),
      open({ maxConnections: 16 })(url),
      (reads, writes) => ({ ...writes, load: reads.load })
    )
}

interface Suite {
  readonly workload: keyof typeof workloads
  readonly concurrency: number
  readonly pools: ReadonlyArray<string>
}

const single = ["10 connections (default)", "2 multiplexed", "4 multiplexed"]
const suites: ReadonlyArray<Suite> = [
  // Loads first: they read what nobody has superseded yet.
  { workload: "load", concurrency: 1, pools: [] },
  { workload: "load", concurrency: 16, pools: single },
  { workload: "load", concurrency: 64, pools: single },
  { workload: "supersede", concurrency: 1, pools: [] },
  { workload: "supersede", concurrency: 16, pools: single },
  { workload: "supersede", concurrency: 64, pools: single },
  { workload: "mixed", concurrency: 16, pools: Object.keys(pools).slice(1) },
  { workload: "mixed", concurrency: 64, pools: Object.keys(pools).slice(1) }
]

// pgbench and the reference are in each.
const blockSize = Math.floor(rows / (rounds * suites.reduce((sum, { pools }) => sum + pools.length + 2, 0)))

const blocks = (function*() {
  for (let block = 0;; block++) {
    yield (concurrency: number): Block => ({
      first: block * blockSize,
      span: Math.floor(blockSize / concurrency)
    })
  }
})()

interface Setting {
  readonly url: string
  readonly sql: PgClient.PgClient
  readonly pgbench: string | undefined
}

const count = (sql: PgClient.PgClient, table: string) =>
  Effect.map(sql.unsafe<{ readonly count: number }>(`SELECT count(*)::float8 FROM ${table}`), ([row]) => row!.count)

/** The rates of one workload: all contenders in turn, round after round. */
const compare = Effect.fnUntraced(
  function*({ pgbench, sql, url }: Setting, { concurrency, pools: extra, workload }: Suite) {
    const statements = workload === "mixed" ? 5 : 1

    const throughPort = (pool: string, block: Block) =>
      Effect.scoped(Effect.gen(function*() {
        const port = yield* pools[pool]!(url)
        const samples = yield* sample(concurrency, seconds, workloads[workload](port, block))
        return samples.length / seconds
      }))

    const throughPgbench = Effect.fnUntraced(function*(file: string, block: Block) {
      const before = yield* count(sql, superseded)
      const run = { url, script: Pgbench.scripts[workload], concurrency, seconds, rows, block }
      const { perSecond, transactions } = yield* Pgbench.run(file, run)
      const written = (yield* count(sql, superseded)) - before
      // pgbench does not look at what its statements return.
      if (workload !== "load" && written !== transactions) {
        return yield* new Pgbench.PgbenchFailed({
          message: `${transactions} transactions superseded ${written} versions`
        })
      }
      return perSecond
    })

    const contenders = [...pgbench === undefined ? [] : ["pgbench"], reference, ...extra]
    const rates = new Map(contenders.map((name) => [name, new Array<number>()]))
    for (let round = 0; round < rounds; round++) {
      for (const name of round % 2 === 0 ? contenders : contenders.toReversed()) {
        const block = blocks.next().value!(concurrency)
        const rate = name === "pgbench" && pgbench !== undefined
          ? yield* throughPgbench(pgbench, block)
          : yield* throughPort(name, block)
        rates.get(name)!.push(rate * statements)
      }
    }

    const [base] = contenders
    const reached = [...rates].map(([name, perRound]): Row => ({
      suite: workload,
      name,
      concurrency,
      median_per_s: Math.round(median(perRound)),
      min_per_s: Math.round(Math.min(...perRound)),
      max_per_s: Math.round(Math.max(...perRound)),
      ratio_to: base!,
      ratio: Number(median(perRound.map((rate, round) => rate / rates.get(base!)![round]!)).toFixed(2))
    }))
    result.rows.push(...reached)
    yield* Console.log(`\n${workload}, concurrency ${concurrency}: times ${base}, statements per second (from - to)`)
    for (const { max_per_s, median_per_s, min_per_s, name, ratio } of reached) {
      yield* Console.log(
        `${ratio.toFixed(2).padStart(6)}  ${String(median_per_s).padStart(6)}  (${min_per_s} - ${max_per_s})  ${name}`
      )
    }
  }
)

// -----------------------------------------------------------------------------
// what else is promised
// -----------------------------------------------------------------------------

const hotUpdates = Effect.fnUntraced(function*({ sql, url }: Setting) {
  const updates = Effect.map(
    sql.unsafe<{ readonly all: number; readonly hot: number }>(
      `SELECT n_tup_upd::float8 AS all, n_tup_hot_upd::float8 AS hot FROM pg_stat_user_tables WHERE relname = '${sessions}'`
    ),
    ([row]) => row!
  )
  const before = yield* updates
  // A connection tells its statistics when it ends. Few sessions, so that pages fill up.
  yield* Effect.scoped(Effect.flatMap(pools[reference]!(url), (port) =>
    sample(16, seconds, (_, step) => {
      const session = anySession() % Math.ceil(rows / 100)
      return expecting("Done", port.touch(key(session, 0), { deadline, seen: step % 2 === 0 ? 10 : undefined }, now))
    })))
  yield* Effect.sleep("1 second")
  const after = yield* updates
  yield* measured("touches", after.all - before.all)
  yield* measured("share of them that are HOT updates", (after.hot - before.hot) / (after.all - before.all))
})

const heap = Effect.fnUntraced(function*({ url }: Setting) {
  const collect = globalThis.gc
  if (collect === undefined) return yield* Effect.die(new Error("Run it with --expose-gc"))
  const port = yield* pools[reference]!(url)
  const collected = Effect.sync(() => collect())
  const used = collected.pipe(
    // What waits for finalizers or for the event loop goes with the second collection.
    Effect.andThen(Effect.sleep("200 millis")),
    Effect.andThen(collected),
    Effect.andThen(Effect.sync(() => process.memoryUsage().heapUsed))
  )
  const size = Math.floor(rows / 10)
  const loads = (part: number) =>
    Effect.forEach(
      Array.from({ length: 16 }, (_, client) => client),
      Effect.fnUntraced(function*(client) {
        for (let session = part * size + client; session < (part + 1) * size; session += 16) {
          yield* load(port, session, 0)
        }
      }),
      { concurrency: "unbounded", discard: true }
    )
  // The first part pays for what is compiled and cached once.
  yield* loads(0)
  let before = yield* used
  const growth: Array<number> = []
  for (const part of [1, 2, 3]) {
    yield* loads(part)
    const after = yield* used
    growth.push((after - before) / size)
    before = after
  }
  const perSession = median(growth)
  yield* measured(`heap growth, bytes per session, median of 3 times ${size} loads`, perSession)
  result.targets.push({
    target: "No per-session memory: heap growth in bytes per session loaded",
    value: Number(perSession.toFixed(2)),
    // Less than any reference to it would take.
    limit: flags.short ? "not judged with so few sessions" : "< 8",
    met: flags.short ? null : perSession < 8
  })
}, Effect.scoped)

const cleanUp = Effect.fnUntraced(function*({ sql, url }: Setting) {
  const context = yield* connect(url, { maxConnections: 16 })
  const step = workloads.load(Context.get(context, SessionPort))
  const ratios: Array<number> = []
  for (let round = 0; round < Math.min(rounds, 3); round++) {
    if (round > 0) yield* insert(sql, { first: rows + round * expired, size: expired, expired: () => "true" })
    const alone = yield* sample(16, 2 * seconds, step)
    const beside: Array<number> = []
    let ended = false
    const begin = performance.now()
    const [removed] = yield* Effect.all([
      Effect.ensuring(Effect.provide(PgSessionStore.cleanup({}), context), Effect.sync(() => (ended = true))),
      drive(16, step, () => ended, (millis) => beside.push(millis))
    ], { concurrency: 2 })
    const took = (performance.now() - begin) / 1000
    if (removed.sessions !== expired) {
      return yield* Effect.die(new Error(`Removed ${removed.sessions} rows instead of ${expired}`))
    }
    ratios.push(quantile(beside, 0.99) / quantile(alone, 0.99))
    yield* measured(`clean-up of ${expired} rows beside loads, seconds`, took)
    yield* measured("p99 of loads alone, ms", quantile(alone, 0.99))
    yield* measured("p99 of loads beside it, ms", quantile(beside, 0.99))
    yield* measured("rate of loads beside it, times alone", beside.length / took / (alone.length / (2 * seconds)))
  }
  result.targets.push({
    target: `p99 of loads beside a clean-up of ${expired} rows, times the p99 without`,
    value: Number(median(ratios).toFixed(2)),
    limit: "< 3",
    met: median(ratios) < 3
  })
}, Effect.scoped)

// As two pools would have it, beside the plain one.
const judged = [["load", reference], ["load", "2 multiplexed"], ["supersede", reference]] as const

const judgeRates = (): void => {
  for (const [suite, name] of judged) {
    const row = result.rows.find((row) => row.suite === suite && row.concurrency === 16 && row.name === name)
    const ratio = row?.ratio_to === "pgbench" ? row.ratio : null
    result.targets.push({
      target: `${suite} at concurrency 16 through ${name}, times pgbench -M prepared`,
      value: ratio,
      limit: ">= 0.5",
      met: ratio === null ? null : ratio >= 0.5
    })
  }
}

// -----------------------------------------------------------------------------
// the run
// -----------------------------------------------------------------------------

const server = Effect.acquireRelease(
  Effect.promise(async () => {
    // Room for the table, and no checkpoint in the middle of a round; as durable as Postgres is by default.
    const server = await makeServer({ shared_buffers: "1GB", max_wal_size: "8GB", max_connections: "200" })
    await server.start()
    return server
  }),
  ({ remove }) => Effect.promise(remove)
)

const main = Effect.gen(function*() {
  if (blockSize < 64 * 4) {
    return yield* Effect.die(new Error(`${rows} ROWS are too few for ${rounds} ROUNDS of clients that never meet`))
  }
  const { url } = yield* server
  const found = yield* Pgbench.find
  const sql = yield* Effect.map(
    Layer.build(
      PgSessionStore.layerMigrations({}).pipe(
        Layer.provideMerge(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 }))
      )
    ),
    Context.get(PgClient.PgClient)
  )
  const setting: Setting = { url, sql, pgbench: found?.file }
  yield* Console.log(`Node ${process.version}, ${availableParallelism()} cores, load ${loadavg()[0]!.toFixed(1)}`)
  yield* Console.log(
    found === undefined
      ? "There is no pgbench (PGBENCH says where): nothing is compared to it."
      : `${found.version}: ${found.file}`
  )
  yield* Console.log(`${rows} sessions, ${rounds} rounds of ${seconds} s`)
  yield* insert(sql, { first: 0, size: rows + expired, expired: (s) => `${s} >= ${rows}` })

  yield* Console.log("\nclean-up, concurrency 16")
  yield* cleanUp(setting)
  yield* Console.log("\ntouch, concurrency 16")
  yield* hotUpdates(setting)
  yield* Console.log("\nmemory, concurrency 16")
  yield* heap(setting)
  if (found !== undefined) {
    const block = { first: 0, span: 1 }
    yield* Pgbench.run(found.file, { url, script: Pgbench.checkedLoad, concurrency: 1, seconds: 1, rows, block })
  }
  for (const suite of suites) yield* compare(setting, suite)

  judgeRates()
  yield* Console.log("")
  for (const { limit, met, target, value } of result.targets) {
    yield* Console.log(`${met === null ? "not judged" : met ? "met" : "NOT MET"}: ${target}: ${value} (${limit})`)
  }
  yield* Console.log(`Load at the end: ${loadavg()[0]!.toFixed(1)}`)
  if (flags.json !== undefined) {
    const file = flags.json
    yield* Effect.promise(() => writeFile(file, JSON.stringify(result, null, 2)))
  }
}).pipe(Effect.scoped)

NodeRuntime.runMain(main)
