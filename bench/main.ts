/**
 * This library and its peers, side by side: `npm run bench`. See docs/bench.md.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Console, Effect } from "effect"
import { spawnSync } from "node:child_process"
import { existsSync, writeFileSync } from "node:fs"
import { availableParallelism, loadavg } from "node:os"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import type { Options } from "./lib/options.ts"
import * as Row from "./lib/row.ts"
import type { Group, Result } from "./lib/row.ts"
import * as Svg from "./lib/svg.ts"
import * as Table from "./lib/table.ts"
import * as Targets from "./lib/targets.ts"
import * as Codec from "./suites/codec.ts"
import * as Growth from "./suites/growth.ts"
import * as Http from "./suites/http.ts"
import * as Store from "./suites/store.ts"

const { values: flags } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    long: { type: "boolean", default: false },
    suite: { type: "string", multiple: true },
    json: { type: "string" },
    svg: { type: "string" }
  }
})

const suites: Readonly<Record<string, (options: Options) => Effect.Effect<Result, unknown>>> = {
  codec: Codec.run,
  http: Http.run,
  store: Store.run,
  growth: Growth.run
}

const chosen = flags.suite ?? Object.keys(suites)

const install = Effect.sync(() => {
  const cwd = fileURLToPath(new URL(".", import.meta.url))
  if (existsSync(`${cwd}node_modules`)) return
  const { status } = spawnSync("npm", ["ci"], { cwd, stdio: "inherit" })
  if (status !== 0) throw new Error("The libraries to compare with could not be installed")
})

const machine = (): string =>
  `Node ${process.versions.node}, ${availableParallelism()} cores, load ${loadavg()[0]?.toFixed(1)}`

/** What is known so far: a run takes long, and may be cut short. */
const save = (groups: ReadonlyArray<Group>, values: Result["values"]): void => {
  if (flags.json !== undefined) writeFileSync(flags.json, `${Row.toJson(groups, Targets.judge(groups, values))}\n`)
  if (flags.svg !== undefined) writeFileSync(flags.svg, Svg.plot(groups))
}

const main = Effect.gen(function*() {
  const unknown = chosen.filter((name) => suites[name] === undefined)
  if (unknown.length > 0) return yield* Effect.die(new Error(`There is no suite ${unknown.join(", ")}`))
  yield* install
  yield* Console.log(machine())
  if (flags.short) yield* Console.log("A short run, only to see that everything runs: believe no number of it.")
  const groups: Array<Group> = []
  const values: Record<string, number> = {}
  const failed: Array<string> = []
  for (const name of chosen) {
    const exit = yield* Effect.exit(suites[name]!(flags))
    if (exit._tag === "Failure") {
      if (Cause.hasInterrupts(exit.cause)) return yield* Effect.interrupt
      failed.push(name)
      yield* Console.error(`The suite ${name} failed: ${Cause.pretty(exit.cause)}`)
      continue
    }
    groups.push(...exit.value.groups)
    Object.assign(values, exit.value.values)
    save(groups, values)
    yield* Effect.forEach(exit.value.groups, (group) => Console.log(Table.group(group)), { discard: true })
    if (exit.value.measures !== undefined) yield* Console.log(Table.measures(exit.value.measures))
  }
  yield* Console.log(Table.targets(Targets.judge(groups, values)))
  const worst = Targets.worstOnDeno(groups)
  if (worst !== undefined) yield* Console.log(`Deno's worst row: ${worst.name}`)
  yield* Console.log(machine())
  if (failed.length > 0) return yield* Effect.die(new Error(`Failed: ${failed.join(", ")}`))
})

NodeRuntime.runMain(main)
