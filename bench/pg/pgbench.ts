/** The same statements, issued by pgbench. */
import { Data, Effect } from "effect"
import { execFile } from "node:child_process"
import { globSync } from "node:fs"
import { promisify } from "node:util"
import { names, statements } from "../../src/internal/pgStatements.ts"
import { data, deadline, maxVersions, now, successor } from "./sessions.ts"
import type { Block } from "./sessions.ts"

const text = statements(names("session"))

const key = (number: string): string => `sha256(int8send(:${number}))`

const fill = (statement: string, ...values: ReadonlyArray<string>): string =>
  `${statement.replaceAll(/\$(\d+)/g, (_, n) => values[n - 1] ?? "")};`

const load = fill(text.load, key("old"), ":now")

const supersede = fill(
  text.replace,
  key("old"),
  key("new"),
  ":data",
  ":deadline",
  ":now",
  "'{shop}'",
  "ARRAY['user-' || :session::text]",
  // No remember cookie.
  ...Array.from({ length: 5 }, () => "NULL"),
  ":successor",
  // Nothing to note.
  "NULL"
)

// As `at` in sessions.ts.
const walk = (ahead: number): string => `
\\set at :step + ${ahead}
\\set session :first + :client_id * :span + :at % :span
\\set old :session * ${maxVersions} + :at / :span
\\set new :old + 1
`

const next = "\\set step :step + 1"

const anySession = `
\\set session random(0, :rows - 1)
\\set old :session * ${maxVersions}
`

/** How many statements a connection sends at a time. */
export const pipelined = 8

/** Scripts by workload; `load` ends as it does for a query whose row nobody looks at. */
export const scripts = {
  load: anySession + load,
  /** As many statements in flight as clients, times `pipelined`. */
  pipelinedLoad: `\\startpipeline\n${
    Array.from({ length: pipelined }, () => anySession + load).join("\n")
  }\n\\endpipeline`,
  supersede: next + walk(0) + supersede,
  mixed: next + [0, 1, 2, 3].map((ahead) => walk(ahead) + load).join("\n") + walk(0) + supersede
}

/** `load` too, but fails where there is no row. */
export const checkedLoad = anySession + load.replace(/;$/, "\\gset")

export class PgbenchFailed extends Data.TaggedError("PgbenchFailed")<{ readonly message: string }> {}

interface Run {
  readonly url: string
  readonly script: string
  readonly concurrency: number
  readonly seconds: number
  readonly block: Block
}

const candidates = (given = process.env["PGBENCH"]): ReadonlyArray<string> =>
  // Debian's packages leave it out of the PATH.
  given === undefined ? ["pgbench", ...globSync("/usr/lib/postgresql/*/bin/pgbench")] : [given]

const exec = (file: string, args: ReadonlyArray<string>, input = ""): Effect.Effect<string, PgbenchFailed> =>
  Effect.tryPromise({
    try: async (signal) => {
      const running = promisify(execFile)(file, args, { signal })
      running.child.stdin?.end(input)
      return (await running).stdout
    },
    catch: (cause) => new PgbenchFailed({ message: String(cause) })
  })

/** The first pgbench that runs, and its version. */
export const find: Effect.Effect<{ readonly file: string; readonly version: string } | undefined> = Effect.suspend(() =>
  Effect.firstSuccessOf(
    candidates().map((file) => Effect.map(exec(file, ["--version"]), (version) => ({ file, version: version.trim() })))
  ).pipe(Effect.orElseSucceed(() => undefined))
)

/** How many transactions there were, and how many in a second. */
export const run = (file: string, { block, concurrency, script, seconds, url }: Run) =>
  Effect.gen(function*() {
    const variables = {
      now,
      deadline,
      ...block,
      step: -1,
      data: `\\x${data.toString("hex")}`,
      successor: `\\x${successor.toString("hex")}`
    }
    const output = yield* exec(file, [
      "--no-vacuum",
      "--protocol=prepared",
      `--client=${concurrency}`,
      `--jobs=${Math.min(2, concurrency)}`,
      `--time=${seconds}`,
      "--file=-",
      ...Object.entries(variables).map(([name, value]) => `--define=${name}=${value}`),
      url
    ], script)
    const [, perSecond] = /^tps = ([\d.]+)/m.exec(output) ?? []
    const [, transactions] = /^number of transactions actually processed: (\d+)/m.exec(output) ?? []
    if (perSecond === undefined || transactions === undefined || !/^number of failed transactions: 0 /m.test(output)) {
      return yield* new PgbenchFailed({ message: output })
    }
    return { perSecond: Number(perSecond), transactions: Number(transactions) }
  })
