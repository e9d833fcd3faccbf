/** What becomes slower, or larger, as something grows. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Console, Context, Effect, Layer, Redacted } from "effect"
import * as PgSessionStore from "../../src/PgSessionStore.ts"
import type { Options } from "../lib/options.ts"
import * as Postgres from "../lib/postgres.ts"
import * as Process from "../lib/process.ts"
import { interleave } from "../lib/rounds.ts"
import type { Group, Measure, Result } from "../lib/row.ts"
import { ratio, summary } from "../lib/statistics.ts"
import { insert } from "../pg/sessions.ts"
import { pools, sample, workloads } from "../pg/workloads.ts"

/** One group: what there is so many of, against the fewest. */
const group = <Case>(
  title: string,
  cases: ReadonlyArray<Case>,
  measured: ReadonlyMap<Case, ReadonlyArray<number>>,
  name: (one: Case) => string
): Group => {
  const times = (one: Case): ReadonlyArray<number> => measured.get(one) ?? []
  const base = cases[0]!
  return {
    title: `growth: ${title}`,
    ratio: `times ${name(base)}`,
    rows: cases.map((one) => ({
      suite: "growth",
      name: `${title}: ${name(one)}`,
      label: name(one),
      isOurs: true,
      runtime: "node",
      time: summary(times(one)),
      ratioTo: `${title}: ${name(base)}`,
      ratio: ratio(times(one), times(base))
    }))
  }
}

const pick = <Case, Key extends string>(
  measured: ReadonlyMap<Case, ReadonlyArray<Readonly<Record<Key, number>>>>,
  key: Key
): ReadonlyMap<Case, ReadonlyArray<number>> =>
  new Map([...measured].map(([one, answers]) => [one, answers.map((answer) => answer[key])]))

// -----------------------------------------------------------------------------
// in the cookie
// -----------------------------------------------------------------------------

const kinds = [
  { kind: "chunks", cases: [1, 2, 3, 5, 7, 9], unit: "cookies of one session" },
  { kind: "audiences", cases: [1, 3, 10, 30, 100], unit: "audiences" },
  { kind: "fallbacks", cases: [0, 1, 3, 10], unit: "fallback keys, none but the last of them right" }
]

const shapes = ({ short }: Options) =>
  Effect.gen(function*() {
    const worker = yield* Process.start([...Process.runtimes.node, "bench/growth/worker.ts"])
    const groups: Array<Group> = []
    for (const { cases, kind, unit } of kinds) {
      const measured = yield* interleave(cases, short ? 2 : 11, (n) =>
        Effect.gen(function*() {
          // The worker's answer to a round.
          const answer = (yield* Process.ask(worker, { kind, n, millis: short ? 10 : 100 })) as Readonly<
            Record<"open" | "seal" | "cookies", number>
          >
          if (kind === "chunks" && answer.cookies !== n) {
            return yield* new Process.ProcessFailed({ message: `${answer.cookies} cookies instead of ${n}` })
          }
          return answer
        }))
      groups.push(
        group(`open, by number of ${unit}`, cases, pick(measured, "open"), String),
        group(`seal, by number of ${unit}`, cases, pick(measured, "seal"), String)
      )
    }
    return groups
  }).pipe(Effect.scoped)

// -----------------------------------------------------------------------------
// in Postgres
// -----------------------------------------------------------------------------

interface Table {
  readonly rows: number
  readonly prefix: string
}

const tables = ({ long, short }: Options): ReadonlyArray<Table> =>
  [1000, ...short ? [] : [100_000], ...long ? [10_000_000] : []].map((rows) => ({ rows, prefix: `rows_${rows}` }))

const concurrency = 16

const fill = (url: string, { prefix, rows }: Table) =>
  Effect.scoped(
    Effect.flatMap(
      Layer.build(
        PgSessionStore.layerMigrations({ prefix }).pipe(
          Layer.provideMerge(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 }))
        )
      ),
      (context) =>
        insert(Context.get(context, PgClient.PgClient), { prefix, first: 0, size: rows, expired: () => "false" })
    )
  )

const rows = (options: Options, url: string) =>
  Effect.gen(function*() {
    const sizes = tables(options)
    const rounds = options.short ? 1 : 5
    const seconds = options.short ? 1 : 2
    yield* Effect.forEach(sizes, (table) => fill(url, table), { discard: true })
    const times = (workload: "load" | "supersede") =>
      interleave(sizes, rounds, ({ prefix, rows }, round) =>
        Effect.scoped(Effect.gen(function*() {
          const port = yield* pools["2 multiplexed for loads, 16 for writes"](url, prefix)
          // Each round writes to sessions of its own.
          const size = Math.floor(rows / rounds)
          const block = { rows, first: size * round, span: Math.floor(size / concurrency) }
          const samples = yield* sample(concurrency, seconds, workloads[workload](port, block))
          return seconds * 1e6 / samples.length
        })))
    const name = ({ rows }: Table): string => `${rows} rows`
    // Loads first: they read what nobody has superseded yet.
    const loads = yield* times("load")
    return [
      group("load, by number of sessions in Postgres", sizes, loads, name),
      group("supersede, by number of sessions in Postgres", sizes, yield* times("supersede"), name)
    ]
  })

// -----------------------------------------------------------------------------
// in memory
// -----------------------------------------------------------------------------

const heap = (store: "cookie" | "postgres", requests: number, url: string) =>
  Effect.scoped(Effect.gen(function*() {
    const command = [...Process.runtimes.node, "--expose-gc", "bench/growth/heap.ts", store, String(requests)]
    const { line } = yield* Process.start(command, { DATABASE_URL: url })
    // What the process prints.
    const { bytes } = JSON.parse(yield* line) as { readonly bytes: number }
    return bytes
  }))

export const run = (options: Options) =>
  Effect.gen(function*() {
    const { short } = options
    yield* Console.log("growth: shapes of a session")
    const inCookies = yield* shapes(options)
    const url = yield* Postgres.server
    yield* Console.log("growth: rows")
    const inPostgres = yield* rows(options, url)
    yield* Console.log("growth: memory")
    const requests = short ? 2000 : 1_000_000
    const perRequest = yield* heap("cookie", requests, url)
    const sessions = requests / 20
    const perSession = yield* heap("postgres", sessions, url)
    const measures: ReadonlyArray<Measure> = [
      { name: `heap growth, bytes per request, over ${requests} requests`, value: perRequest },
      { name: `heap growth, bytes per idle session in Postgres, over ${sessions} sessions`, value: perSession }
    ]
    return {
      groups: [...inCookies, ...inPostgres],
      measures,
      // In a few requests, what happens once is all that is seen.
      values: short ? {} : { "growth.million": perRequest, "growth.idle": perSession }
    } satisfies Result
  }).pipe(Effect.scoped)
