/** What this library means to reach; what a suite calls its values, it is called here. */
import type { Group, Target } from "./row.ts"
import { round } from "./statistics.ts"

interface Aim {
  readonly key: string
  readonly target: string
  readonly limit: string
  readonly reached: (value: number) => boolean
}

const atMost = (limit: number, key: string, target: string): Aim => ({
  key,
  target,
  limit: `<= ${limit}`,
  reached: (value) => value <= limit
})

const atLeast = (limit: number, key: string, target: string): Aim => ({
  key,
  target,
  limit: `>= ${limit}`,
  reached: (value) => value >= limit
})

/** Of bytes: a leak is no smaller than a reference, and a heap is never twice the same. */
const below = (limit: number, key: string, target: string): Aim => ({
  key,
  target,
  limit: `< ${limit}`,
  reached: (value) => value < limit
})

const cold = (size: string, micros: number): ReadonlyArray<Aim> => [
  atMost(micros, `codec.cold.${size}`, `codec open, cold, ${size}: us`),
  ...["jose", "jose (imported key)", "next-auth/jwt"].map((peer) =>
    atLeast(6, `codec.cold.${size}.${peer}`, `codec open, cold, ${size}: times as fast as ${peer}`)
  ),
  ...["iron-session", "better-auth (JWE)"].map((peer) =>
    atLeast(15, `codec.cold.${size}.${peer}`, `codec open, cold, ${size}: times as fast as ${peer}`)
  )
]

const repeated = (size: string, limit: number): Aim =>
  atLeast(limit, `codec.repeated.${size}`, `codec open, repeated, ${size}: times as fast as @fastify/secure-session`)

const aims: ReadonlyArray<Aim> = [
  ...cold("100 B", 20),
  ...cold("1 KB", 24),
  repeated("100 B", 2.5),
  repeated("1 KB", 1.5),
  atMost(22, "codec.seal.100 B", "codec seal, 100 B: us"),
  ...["jose", "jose (imported key)"].map((peer) =>
    atLeast(6, `codec.seal.100 B.${peer}`, `codec seal, 100 B: times as fast as ${peer}`)
  ),
  atLeast(15, "codec.seal.100 B.iron-session", "codec seal, 100 B: times as fast as iron-session"),
  atLeast(0.8, "http.kept.read", "HTTP, cookie placement, repeated read: share of throughput kept"),
  atLeast(0.4, "http.kept.fresh", "HTTP, cookie placement, read of a cookie not seen before: share kept"),
  atLeast(0.31, "http.kept.write", "HTTP, cookie placement, read and write: share kept"),
  atMost(0.6, "http.postgres.read.touchless", "HTTP + Postgres, added per read: times connect-pg-simple without touch"),
  atMost(0.25, "http.postgres.read.default", "HTTP + Postgres, added per read: times connect-pg-simple as it comes"),
  atMost(0.4, "http.postgres.write", "HTTP + Postgres, added per write: times connect-pg-simple"),
  atLeast(0.8, "store.load", "store, concurrency 16: load, times pipelined pgbench"),
  atLeast(0.8, "store.supersede", "store, concurrency 16: durable supersede, times pgbench"),
  atMost(2, "deno", "Deno: the worst row, times Node's"),
  below(8, "growth.idle", "memory per idle session in the process, server placement: bytes"),
  below(8, "growth.million", "heap growth over a million requests, beyond the cache's bound: bytes per request")
]

/** Of the rows that both have, the one that takes Deno the most of Node's time. */
export const worstOnDeno = (
  groups: ReadonlyArray<Group>
): { readonly name: string; readonly times: number } | undefined => {
  const rows = groups.flatMap(({ rows }) => rows)
  return rows.filter(({ runtime }) => runtime === "deno").flatMap(({ name, time }) => {
    const node = rows.find((row) => row.runtime === "node" && row.name === name)
    return node === undefined ? [] : [{ name, times: time.median / node.time.median }]
  }).toSorted((a, b) => b.times - a.times)[0]
}

export const judge = (
  groups: ReadonlyArray<Group>,
  measured: Readonly<Record<string, number>>
): ReadonlyArray<Target> => {
  const values: Readonly<Record<string, number | undefined>> = { ...measured, deno: worstOnDeno(groups)?.times }
  return aims.map(({ key, limit, reached, target }) => {
    const value = values[key]
    return value === undefined || !Number.isFinite(value)
      ? { target, value: null, limit, met: null }
      : { target, value: round(value, 4), limit, met: reached(value) }
  })
}
