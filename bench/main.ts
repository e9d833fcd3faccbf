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
import * as Row from "./lib/row.ts"
import type { Group } from "./lib/row.ts"
import * as Table from "./lib/table.ts"
import * as Codec from "./suites/codec.ts"

const { values: flags } = parseArgs({
  options: {
    short: { type: "boolean", default: false },
    long: { type: "boolean", default: false },
    suite: { type: "string", multiple: true },
    json: { type: "string" },
    svg: { type: "string" }
  }
})

const suites = { codec: Codec.run }

const install = Effect.sync(() => {
  const cwd = fileURLToPath(new URL(".", import.meta.url))
  if (existsSync(`${cwd}node_modules`)) return
  const { status } = spawnSync("npm", ["ci"], { cwd, stdio: "inherit" })
  if (status !== 0) throw new Error("The libraries to compare with could not be installed")
})

const main = Effect.gen(function*() {
  yield* install
  yield* Console.log(`Node ${process.version}, ${availableParallelism()} cores, load ${loadavg()[0]?.toFixed(1)}`)
  const groups: Array<Group> = []
  for (const [name, run] of Object.entries(suites)) {
    if (flags.suite !== undefined && !flags.suite.includes(name)) continue
    const result = yield* run(flags)
    groups.push(...result.groups)
    yield* Effect.forEach(result.groups, (group) => Console.log(Table.group(group)), { discard: true })
  }
  if (flags.json !== undefined) writeFileSync(flags.json, Row.toJson(groups, []))
})

NodeRuntime.runMain(main)
