/** What clients do with a store, and the arrangements of connections that it can have. */
import * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Effect, Layer, Redacted } from "effect"
import type { Scope } from "effect"
import type { SqlError } from "effect/sql"
import * as PgSessionStore from "../../src/PgSessionStore.ts"
import type { SessionError } from "../../src/SessionError.ts"
import { SessionPort } from "../../src/SessionStore.ts"
import type { Port, Version } from "../../src/SessionStore.ts"
import { at, data, deadline, key, now, successor } from "./sessions.ts"
import type { Block } from "./sessions.ts"

const version = (session: number, number: number): Version => ({
  key: key(session, number),
  data,
  deadline,
  latestDeadline: deadline,
  index: [{ audience: "shop", subject: `user-${session}` }],
  remember: undefined,
  seen: undefined
})

/** What a workload met must be what it wanted, or its speed means nothing. */
export const expecting = <A extends { readonly _tag: string } | undefined>(
  tag: NonNullable<A>["_tag"],
  effect: Effect.Effect<A, SessionError>
): Effect.Effect<void, SessionError> =>
  Effect.flatMap(
    effect,
    (outcome) =>
      outcome?._tag === tag ? Effect.void : Effect.die(new Error(`${outcome?._tag ?? "Nothing"} instead of ${tag}`))
  )

/** What a client does at a step. */
export type Step = (client: number, step: number) => Effect.Effect<void, SessionError>

export const load = (port: Port, session: number, number: number): Effect.Effect<void, SessionError> =>
  expecting("Current", port.load(key(session, number), now))

const supersede = (port: Port, session: number, number: number): Effect.Effect<void, SessionError> =>
  expecting("Done", port.supersede(key(session, number), version(session, number + 1), successor, now))

export const workloads = {
  load: (port: Port, { rows }: Block): Step => () => load(port, Math.floor(Math.random() * rows), 0),
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
export const drive = (concurrency: number, step: Step, ended: () => boolean, took: (millis: number) => void) =>
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

/** Seconds that do not count. */
const warmUp = 0.3

/** The milliseconds of each step within so many seconds. */
export const sample = Effect.fnUntraced(function*(concurrency: number, seconds: number, step: Step) {
  const begin = performance.now() + warmUp * 1000
  const end = begin + seconds * 1000
  const samples: Array<number> = []
  yield* drive(concurrency, step, () => performance.now() >= end, (millis) => {
    const at = performance.now()
    if (at >= begin && at < end) samples.push(millis)
  })
  return samples
})

type Pool = Omit<PgClient.PgPoolConfig, "url">

export const connect = (url: string, pool: Pool, prefix: string) =>
  Layer.build(
    PgSessionStore.layerStorage({ prefix }).pipe(
      Layer.provideMerge(PgClient.layer({ url: Redacted.make(url), ...pool }))
    )
  )

type Opened = Effect.Effect<Port, SessionError | SqlError.SqlError, Scope.Scope>

const open = (pool: Pool) => (url: string, prefix: string): Opened =>
  Effect.map(connect(url, pool, prefix), Context.get(SessionPort))

const multiplexed = open({ multiplex: true, maxConnections: 2 })

/** A store over each arrangement of connections. */
export const pools = {
  "16 connections": open({ maxConnections: 16 }),
  "10 connections (default)": open({}),
  "2 multiplexed": multiplexed,
  "4 multiplexed": open({ multiplex: true, maxConnections: 4 }),
  "2 multiplexed for loads, 16 for writes": (url: string, prefix: string): Opened =>
    Effect.zipWith(
      multiplexed(url, prefix),
      open({ maxConnections: 16 })(url, prefix),
      (reads, writes) => ({ ...writes, load: reads.load })
    )
}

export type Arrangement = keyof typeof pools
