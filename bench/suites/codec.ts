/** Open and seal, one after another: CPU time. */
import { Console, Effect } from "effect"
import type { Options } from "../lib/options.ts"
import { sizes } from "../lib/payload.ts"
import * as Process from "../lib/process.ts"
import { interleave } from "../lib/rounds.ts"
import type { Group, Result, Runtime } from "../lib/row.ts"
import { median, ratio, round, summary } from "../lib/statistics.ts"
import type { Took } from "../lib/stopwatch.ts"

const operations = {
  cold: "open, never seen before",
  repeated: "open, the same again",
  seal: "seal"
} as const

type Operation = keyof typeof operations

interface Contender {
  readonly name: string
  readonly module: "./ours.ts" | "../peers/codec/peers.ts"
  /** The function that the module exports. */
  readonly start: string
  /** Whether it is another contender at these bytes, or for this operation. */
  readonly differs?: (bytes: number, operation: Operation) => boolean
}

const codec: Contender = { name: "effect-session", module: "./ours.ts", start: "codec" }
const request: Contender = {
  name: "effect-session, request phase",
  module: "./ours.ts",
  start: "request",
  differs: (_bytes, operation) => operation !== "seal"
}
const compressing: Contender = {
  name: "effect-session, compressing",
  module: "./ours.ts",
  start: "compressing",
  differs: (bytes) => bytes > 1024
}
const ours: ReadonlyArray<Contender> = [codec, request, compressing]

const peer = (name: string, start: string): Contender => ({ name, module: "../peers/codec/peers.ts", start })

const secure = peer("@fastify/secure-session", "fastifySecureSession")

const peers = [
  secure,
  peer("cookie-session (signed)", "signedCookieSession"),
  peer("jose", "jose"),
  peer("jose (imported key)", "joseImported"),
  peer("next-auth/jwt", "nextAuthJwt"),
  peer("better-auth (signed)", "betterAuthSigned"),
  peer("better-auth (JWE)", "betterAuthJwe"),
  peer("iron-session", "ironSession"),
  peer("h3", "h3")
]

interface Entrant {
  readonly contender: Contender
  readonly runtime: Runtime
  readonly process: Process.Process
}

const enter = (contender: Contender, runtime: "node" | "deno", command: ReadonlyArray<string>) =>
  Effect.map(
    Process.start([...command, "bench/codec/worker.ts", contender.module, contender.start]),
    (process): Entrant => ({ contender, runtime, process })
  )

const label = ({ contender, runtime }: Entrant): string =>
  runtime === "node" ? contender.name : `${contender.name} (${runtime})`

export const run = ({ short }: Options) =>
  Effect.gen(function*() {
    const rounds = short ? 3 : 15
    const millis = short ? 10 : 150
    const { deno, node } = Process.runtimes
    const entrants = [
      ...yield* Effect.forEach([...ours, ...peers], (contender) => enter(contender, "node", node)),
      ...deno === undefined ? [] : yield* Effect.forEach(ours, (contender) => enter(contender, "deno", deno))
    ]
    const find = (contender: Contender): Entrant | undefined =>
      entrants.find((entrant) => entrant.contender === contender && entrant.runtime === "node")
    const base = find(codec)

    const groups: Array<Group> = []
    const values: Record<string, number> = {}
    for (const size of sizes) {
      yield* Console.log(`codec: ${size.name}`)
      const measured = yield* interleave(entrants, rounds, ({ process }) =>
        // A worker's answer to a round.
        Process.ask(process, { size: size.bytes, millis }) as Effect.Effect<
          Readonly<Record<Operation, Took>>,
          Process.ProcessFailed
        >)
      const took = (entrant: Entrant | undefined, operation: Operation): ReadonlyArray<Took> =>
        (entrant === undefined ? undefined : measured.get(entrant))?.map((answer) => answer[operation]) ?? []
      const times = (entrant: Entrant | undefined, operation: Operation): ReadonlyArray<number> =>
        took(entrant, operation).map(({ cpu }) => cpu)
      for (const operation of ["cold", "repeated", "seal"] as const) {
        const title = `${operations[operation]}, ${size.name}`
        const name = (entrant: Entrant): string => `${title}: ${entrant.contender.name}`
        const entered = entrants.filter(({ contender: { differs } }) => differs?.(size.bytes, operation) ?? true)
        const rows = entered.map((entrant) => ({
          suite: "codec",
          name: name(entrant),
          label: label(entrant),
          isOurs: ours.includes(entrant.contender),
          note: `${round(median(took(entrant, operation).map(({ elapsed }) => elapsed)))} us elapsed`,
          runtime: entrant.runtime,
          time: summary(times(entrant, operation)),
          ratioTo: `${title}: ${codec.name}`,
          ratio: ratio(times(entrant, operation), times(base, operation))
        }))
        groups.push({
          title,
          ratio: `times ${codec.name}`,
          rows,
          plot: size.bytes === 100 ? "time" : undefined
        })
        if (operation === "repeated") continue
        // The codec alone does what the others do; only a request remembers.
        values[`codec.${operation}.${size.name}`] = median(times(base, operation))
        for (const peer of peers) {
          values[`codec.${operation}.${size.name}.${peer.name}`] = ratio(
            times(find(peer), operation),
            times(base, operation)
          )
        }
      }
      values[`codec.repeated.${size.name}`] = ratio(times(find(secure), "repeated"), times(find(request), "repeated"))
    }
    return { groups, values } satisfies Result
  }).pipe(Effect.scoped)
