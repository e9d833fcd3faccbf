/** What else the store promises: touches that write to no index, and a clean-up that nobody has to wait for. */
import type * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Effect } from "effect"
import { names } from "../../src/internal/pgStatements.ts"
import * as PgSessionStore from "../../src/PgSessionStore.ts"
import { SessionPort } from "../../src/SessionStore.ts"
import type { Measure } from "../lib/row.ts"
import { median, quantile } from "../lib/statistics.ts"
import { deadline, insert, key, now } from "./sessions.ts"
import { connect, drive, expecting, load, pools, sample } from "./workloads.ts"

interface Setting {
  readonly url: string
  readonly sql: PgClient.PgClient
  readonly prefix: string
  readonly rows: number
  readonly rounds: number
  readonly seconds: number
}

/** The share of touches that are HOT updates. */
export const hotUpdates = Effect.fnUntraced(function*({ prefix, rows, seconds, sql, url }: Setting) {
  const updates = Effect.map(
    sql.unsafe<{ readonly all: number; readonly hot: number }>(
      `SELECT n_tup_upd::float8 AS all, n_tup_hot_upd::float8 AS hot FROM pg_stat_user_tables
       WHERE relname = '${names(prefix).sessions}'`
    ),
    ([row]) => row!
  )
  const before = yield* updates
  // A connection tells its statistics when it ends. Few sessions, so that pages fill up.
  yield* Effect.scoped(Effect.flatMap(pools["16 connections"](url, prefix), (port) =>
    sample(16, seconds, (_, step) => {
      const session = Math.floor(Math.random() * Math.ceil(rows / 100))
      return expecting("Done", port.touch(key(session, 0), { deadline, seen: step % 2 === 0 ? 10 : undefined }, now))
    })))
  yield* Effect.sleep("1 second")
  const after = yield* updates
  return [
    { name: "touches", value: after.all - before.all },
    { name: "share of them that are HOT updates", value: (after.hot - before.hot) / (after.all - before.all) }
  ] satisfies ReadonlyArray<Measure>
})

/** Loads beside the clean-up of a tenth as many expired rows: in the first round, of those that are there. */
export const cleanUp = Effect.fnUntraced(function*({ prefix, rounds, rows, seconds, sql, url }: Setting) {
  const context = yield* connect(url, { maxConnections: 16 }, prefix)
  const port = Context.get(context, SessionPort)
  const step = () => load(port, Math.floor(Math.random() * rows), 0)
  const expired = Math.round(rows / 10)
  const took: Array<number> = []
  const ratios: Array<number> = []
  const rates: Array<number> = []
  for (let round = 0; round < Math.min(rounds, 3); round++) {
    if (round > 0) {
      yield* insert(sql, { prefix, first: rows + round * expired, size: expired, expired: () => "true" })
    }
    const alone = yield* sample(16, 2 * seconds, step)
    const beside: Array<number> = []
    let ended = false
    const begin = performance.now()
    const [removed] = yield* Effect.all([
      Effect.ensuring(Effect.provide(PgSessionStore.cleanup({ prefix }), context), Effect.sync(() => (ended = true))),
      drive(16, step, () => ended, (millis) => beside.push(millis))
    ], { concurrency: 2 })
    if (removed.sessions !== expired) {
      return yield* Effect.die(new Error(`Removed ${removed.sessions} rows instead of ${expired}`))
    }
    took.push((performance.now() - begin) / 1000)
    ratios.push(quantile(beside, 0.99) / quantile(alone, 0.99))
    rates.push(beside.length / took[round]! / (alone.length / (2 * seconds)))
  }
  return [
    { name: `clean-up of ${expired} rows beside loads, seconds`, value: median(took) },
    { name: "p99 of loads beside it, times the p99 without", value: median(ratios) },
    { name: "rate of loads beside it, times the rate without", value: median(rates) }
  ] satisfies ReadonlyArray<Measure>
}, Effect.scoped)
