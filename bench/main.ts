/**
 * This library and its peers, side by side: `npm run bench`. See docs/bench.md.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect } from "effect"
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

const report = (groups: ReadonlyArray<Group>, values: Result["values"]): Effect.Effect<void> => {
  const targets = Targets.judge(groups, values)
  if (flags.json !== undefined) writeFileSync(flags.json, `${Row.toJson(groups, targets)}\n`)
  if (flags.svg !== undefined) writeFileSync(flags.svg, Svg.plot(groups))
  return Console.log(Table.targets(targets))
}

const machine = (): string =>
  `Node ${process.versions.node}, ${availableParallelism()} cores, load ${loadavg()[0]?.toFixed(1)}`

const main = Effect.gen(function*() {
  const unknown = chosen.filter((name) => suites[name] === undefined)
  if (unknown.length > 0) return yield* Effect.die(new Error(`There is no suite ${unknown.join(", ")}`))
  yield* install
  yield* Console.log(machine())
  if (flags.short) yield* Console.log("A short run, only to see that everything runs: believe no number of it.")
  const groups: Array<Group> = []
  const values: Record<string, number> = {}
  for (const name of chosen) {
    const result = yield* suites[name]!(flags)
    groups.push(...result.groups)
    Object.assign(values, result.values)
    yield* Effect.forEach(result.groups, (group) => Console.log(Table.group(group)), { discard: true })
    if (result.measures !== undefined) yield* Console.log(Table.measures(result.measures))
  }
  yield* report(groups, values)
  yield* Console.log(machine())
})

NodeRuntime.runMain(main)
