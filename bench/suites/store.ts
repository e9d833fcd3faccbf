/** The store on a real Postgres, without HTTP, beside pgbench issuing the same statements. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Console, Context, Effect, Layer, Redacted } from "effect"
import type { SqlError } from "effect/sql"
import { names } from "../../src/internal/pgStatements.ts"
import * as PgSessionStore from "../../src/PgSessionStore.ts"
import type { SessionError } from "../../src/SessionError.ts"
import type { Options } from "../lib/options.ts"
import * as Postgres from "../lib/postgres.ts"
import { interleave } from "../lib/rounds.ts"
import type { Group, Result } from "../lib/row.ts"
import { ratio, summary } from "../lib/statistics.ts"
import * as Pgbench from "../pg/pgbench.ts"
import { cleanUp, hotUpdates } from "../pg/promises.ts"
import { insert } from "../pg/sessions.ts"
import type { Block } from "../pg/sessions.ts"
import { pools, sample, workloads } from "../pg/workloads.ts"
import type { Arrangement } from "../pg/workloads.ts"

/** Tables that pgbench knows by name. */
const prefix = "session"

type Contender = "pgbench" | "pgbench, pipelined" | Arrangement

interface Comparison {
  readonly workload: keyof typeof workloads
  readonly concurrency: number
  readonly contenders: ReadonlyArray<Contender>
}

const single: ReadonlyArray<Contender> = ["pgbench", "16 connections"]
const several: ReadonlyArray<Contender> = [...single, "10 connections (default)", "2 multiplexed", "4 multiplexed"]
const both: ReadonlyArray<Contender> = [...several, "2 multiplexed for loads, 16 for writes"]

const comparisons = (short: boolean): ReadonlyArray<Comparison> => [
  // Loads first: they read what nobody has superseded yet.
  { workload: "load", concurrency: 1, contenders: single },
  { workload: "load", concurrency: 16, contenders: [...several, "pgbench, pipelined"] },
  ...short ? [] : [{ workload: "load", concurrency: 64, contenders: [...several, "pgbench, pipelined"] } as const],
  { workload: "supersede", concurrency: 1, contenders: single },
  { workload: "supersede", concurrency: 16, contenders: several },
  ...short ? [] : [{ workload: "supersede", concurrency: 64, contenders: several } as const],
  { workload: "mixed", concurrency: 16, contenders: both },
  ...short ? [] : [{ workload: "mixed", concurrency: 64, contenders: both } as const]
]

const count = (sql: PgClient.PgClient, table: string) =>
  Effect.map(sql.unsafe<{ readonly count: number }>(`SELECT count(*)::float8 FROM ${table}`), ([row]) => row!.count)

interface Setting {
  readonly url: string
  readonly sql: PgClient.PgClient
  /** Its file, if there is one. */
  readonly pgbench: string | undefined
  readonly rows: number
  readonly rounds: number
  readonly seconds: number
  /** Sessions that nobody has written to. */
  readonly block: (concurrency: number) => Block
}

const statementsOf = { load: 1, supersede: 1, mixed: 5 } as const

/** Statements in a second, through pgbench. */
const throughPgbench = Effect.fnUntraced(
  function*({ block, seconds, sql, url }: Setting, file: string, comparison: Comparison, isPipelined: boolean) {
    const { workload } = comparison
    const { superseded } = names(prefix)
    const before = yield* count(sql, superseded)
    const concurrency = isPipelined ? comparison.concurrency / Pgbench.pipelined : comparison.concurrency
    const script = isPipelined ? Pgbench.scripts.pipelinedLoad : Pgbench.scripts[workload]
    const run = { url, script, concurrency, seconds, block: block(concurrency) }
    const { perSecond, transactions } = yield* Pgbench.run(file, run)
    const written = (yield* count(sql, superseded)) - before
    // pgbench does not look at what its statements return.
    if (workload !== "load" && written !== transactions) {
      return yield* new Pgbench.PgbenchFailed({
        message: `${transactions} transactions superseded ${written} versions`
      })
    }
    return perSecond * (isPipelined ? Pgbench.pipelined : statementsOf[workload])
  }
)

/** The same through the store. */
const throughPort = (
  { block, seconds, url }: Setting,
  arrangement: Arrangement,
  { concurrency, workload }: Comparison
) =>
  Effect.scoped(Effect.gen(function*() {
    const port = yield* pools[arrangement](url, prefix)
    const samples = yield* sample(concurrency, seconds, workloads[workload](port, block(concurrency)))
    return samples.length * statementsOf[workload] / seconds
  }))

const compare = Effect.fnUntraced(function*(setting: Setting, comparison: Comparison) {
  const { pgbench, rounds } = setting
  const isPgbench = (name: Contender): name is "pgbench" | "pgbench, pipelined" => name.startsWith("pgbench")
  const contenders = comparison.contenders.filter((name) => pgbench !== undefined || !isPgbench(name))
  const rate = (
    name: Contender
  ): Effect.Effect<number, Pgbench.PgbenchFailed | SessionError | SqlError.SqlError> =>
    isPgbench(name)
      ? throughPgbench(setting, pgbench ?? "", comparison, name === "pgbench, pipelined")
      : throughPort(setting, name, comparison)
  const measured = yield* interleave(
    contenders,
    rounds,
    (name) => Effect.map(rate(name), (perSecond) => 1e6 / perSecond)
  )
  const times = (name: Contender): ReadonlyArray<number> => measured.get(name) ?? []
  const title = `${comparison.workload}, concurrency ${comparison.concurrency}`
  const base = contenders[0]!
  const group: Group = {
    title: `store: ${title}`,
    ratio: `rate, times ${base}'s`,
    rows: contenders.map((name) => ({
      suite: "store",
      name: `${title}: ${name}`,
      label: name,
      isOurs: !isPgbench(name),
      note: `${(1e6 / summary(times(name)).median).toFixed(0)} operations a second`,
      runtime: isPgbench(name) ? "postgres" : "node",
      time: summary(times(name)),
      ratioTo: `${title}: ${base}`,
      ratio: ratio(times(base), times(name))
    }))
  }
  return { group, rateTimes: (name: Contender, to: Contender): number => ratio(times(to), times(name)) }
})

export const run = ({ short }: Options) =>
  Effect.gen(function*() {
    const [rows, rounds, seconds] = short ? [20_000, 1, 1] : [1_000_000, 5, 2]
    const url = yield* Postgres.server
    const found = yield* Pgbench.find
    const sql = yield* Effect.map(
      Layer.build(
        PgSessionStore.layerMigrations({ prefix }).pipe(
          Layer.provideMerge(PgClient.layer({ url: Redacted.make(url), maxConnections: 1 }))
        )
      ),
      Context.get(PgClient.PgClient)
    )
    yield* Console.log(
      found === undefined
        ? "store: there is no pgbench (PGBENCH says where), and nothing is compared to it"
        : `store: ${found.version}`
    )
    yield* insert(sql, { prefix, first: 0, size: rows + rows / 10, expired: (session) => `${session} >= ${rows}` })

    const all = comparisons(short)
    const size = Math.floor(rows / (rounds * all.reduce((sum, { contenders }) => sum + contenders.length, 0)))
    let next = 0
    const block = (concurrency: number): Block => ({
      rows,
      first: size * next++,
      span: Math.floor(size / concurrency)
    })
    const setting: Setting = { url, sql, pgbench: found?.file, rows, rounds, seconds, block }
    const promised = { url, sql, prefix, rows, rounds, seconds }
    const measures = [...yield* cleanUp(promised), ...yield* hotUpdates(promised)]
    if (found !== undefined) {
      const run = { url, script: Pgbench.checkedLoad, concurrency: 1, seconds: 1, block: { rows, first: 0, span: 1 } }
      yield* Pgbench.run(found.file, run)
    }

    const groups: Array<Group> = []
    const values: Record<string, number> = {}
    for (const comparison of all) {
      const { group, rateTimes } = yield* compare(setting, comparison)
      groups.push(group)
      if (comparison.concurrency !== 16) continue
      if (comparison.workload === "load") values["store.load"] = rateTimes("2 multiplexed", "pgbench, pipelined")
      if (comparison.workload === "supersede") values["store.supersede"] = rateTimes("16 connections", "pgbench")
    }
    return { groups, measures, values } satisfies Result
  }).pipe(Effect.scoped)
