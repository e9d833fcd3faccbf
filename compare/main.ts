/**
 * The races of `test/utils/raceSuite.ts`, run against this library and others, each behind the same routes and a store
 * in memory that is as slow as it is told to be. Prints a table, and writes it to RESULTS.md.
 */
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Effect } from "effect"
import { spawnSync } from "node:child_process"
import { existsSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import own from "../package.json" with { type: "json" }
import { ask, layerServer } from "../test/utils/blackBox.ts"
import { checks } from "../test/utils/raceSuite.ts"
import type { Check } from "../test/utils/raceSuite.ts"
import peers from "./package.json" with { type: "json" }

interface Candidate {
  readonly name: string
  readonly file: string
  readonly env?: { readonly [name: string]: string }
}

const candidates: ReadonlyArray<Candidate> = [
  { name: `${own.name} ${own.version}`, file: "examples/contract.ts", env: { SESSION_STORE: "memory" } },
  { name: `express-session ${peers.dependencies["express-session"]}`, file: "compare/express-session.ts" },
  { name: "the same, with `save()` awaited", file: "compare/express-session.ts", env: { SAVE: "explicit" } },
  { name: `@fastify/session ${peers.dependencies["@fastify/session"]}`, file: "compare/fastify-session.ts" },
  { name: `koa-session ${peers.dependencies["koa-session"]}`, file: "compare/koa-session.ts" },
  { name: `@hono/session ${peers.dependencies["@hono/session"]}`, file: "compare/hono-session.ts" }
]

/** A server that does not answer any more has ended: an error that nobody caught ends a process. */
const silence = Effect.matchCause(ask("GET /_rows"), {
  onFailure: () => "✗ the server ended",
  onSuccess: () => "✗ no answer"
})

/** One cell of the table, from a server of its own: some do not outlive a check. */
const cell = ({ env = {}, file }: Candidate, { run }: Check): Effect.Effect<string> =>
  run.pipe(
    Effect.as("✓"),
    Effect.catchTags({
      Broken: ({ message }) => Effect.succeed(`✗ ${message}`),
      Unsupported: () => Effect.succeed("–")
    }),
    Effect.catchCause((cause) => Cause.hasInterrupts(cause) ? Effect.interrupt : silence),
    Effect.provide(layerServer(file, env))
  )

const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const [head = []] = rows
  const widths = head.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |\n`
  return rows.map((row, index) =>
    line(row.map((text, column) => text.padEnd(widths[column] ?? 0))) +
    (index === 0 ? line(widths.map((width) => "-".repeat(width))) : "")
  ).join("")
}

const text = (rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  `# Session libraries in races

Made by \`npm run compare\` on Node ${process.versions.node}: each library as its documentation shows it, behind the same routes, over a
store in memory whose writes are held back (150 ms, where a time is measured). The checks are those that this library is
tested with. A cell tells what was seen where a check failed; – is a check of something that the library does not have:
renewal by time, a grace for replaced cookies, revocation by handle, and with @hono/session any way to make a new id.
The others keep the id of a session when they save it, so that a late response cannot carry an older one. A write that
fails under @hono/session is nobody's rejected promise, on which Node ends the process.

${table(rows)}`

const install = Effect.sync(() => {
  const cwd = fileURLToPath(new URL(".", import.meta.url))
  if (existsSync(`${cwd}node_modules`)) return
  const { status } = spawnSync("npm", ["ci"], { cwd, stdio: "inherit" })
  if (status !== 0) throw new Error("The libraries to compare with could not be installed")
})

const compare = Effect.gen(function*() {
  yield* install
  const columns = yield* Effect.forEach(
    candidates,
    (candidate) =>
      Effect.forEach(
        checks,
        (check) =>
          Effect.tap(cell(candidate, check), (cell) =>
            Effect.sync(() => process.stdout.write(`${candidate.name}: ${check.name}: ${cell}\n`)))
      )
  )
  const results = text([
    ["", ...candidates.map(({ name }) => name)],
    ...checks.map(({ name }, row) => [name].concat(columns.map((cells) => cells[row] ?? "")))
  ])
  writeFileSync(new URL("RESULTS.md", import.meta.url), results)
  process.stdout.write(`\n${results}`)
})

NodeRuntime.runMain(compare)
