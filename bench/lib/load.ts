/** The client of the HTTP suite, in a process of its own: wrk where it is installed, autocannon elsewhere. */
import { Effect } from "effect"
import type { Scope } from "effect"
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import * as Process from "./process.ts"

export interface Round {
  readonly url: string
  /** At least one. */
  readonly seconds: number
  /** Cookie headers to send, one after another; an empty one is not sent. */
  readonly cookies: ReadonlyArray<string>
  /** Again and again, or each once; or each once, and then each of those that the server sets. */
  readonly order: "repeat" | "once" | "follow"
}

interface Answer {
  readonly requests: number
  readonly seconds: number
  readonly failed: number
  /** How often a cookie had to be sent twice that should not. */
  readonly starved: number
}

/** Microseconds per request. */
export type Load = (round: Round) => Effect.Effect<number, Process.ProcessFailed>

const connections = 64

const exec = promisify(execFile)

const hasWrk = Effect.promise(() =>
  // Without arguments it explains itself, and fails.
  exec("wrk", []).then(() => true, ({ stdout = "", stderr = "" }) => `${stdout}${stderr}`.includes("connections"))
)

const runWrk = ({ cookies, order, seconds, url }: Omit<Round, "cookies"> & { readonly cookies: string }) =>
  Effect.tryPromise({
    try: async (signal): Promise<unknown> => {
      const script = join(Process.root, "bench/http/load.lua")
      const args = ["-t1", `-c${connections}`, `-d${seconds}s`, "-s", script, url, "--", cookies, order]
      const { stdout } = await exec("wrk", args, { signal })
      return JSON.parse(stdout.trimEnd().split("\n").at(-1) ?? "")
    },
    catch: (cause) => new Process.ProcessFailed({ message: String(cause) })
  })

export const make: Effect.Effect<{ readonly name: string; readonly load: Load }, Process.ProcessFailed, Scope.Scope> =
  Effect.gen(function*() {
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-session-bench-"))),
      (directory) => Effect.sync(() => rmSync(directory, { recursive: true }))
    )
    const isWrk = yield* hasWrk
    const autocannon = isWrk
      ? undefined
      : yield* Process.start([...Process.runtimes.node, "bench/peers/http/load.ts"])
    return {
      name: isWrk ? "wrk" : "autocannon",
      load: ({ cookies, ...round }) =>
        Effect.gen(function*() {
          const file = join(directory, "cookies")
          writeFileSync(file, `${cookies.join("\n")}\n`)
          const answered = autocannon === undefined
            ? runWrk({ ...round, cookies: file })
            : Process.ask(autocannon, { ...round, connections, cookies: file })
          // Both say the same.
          const { failed, requests, seconds, starved } = (yield* answered) as Answer
          if (failed > 0 || starved > 0 || requests === 0) {
            return yield* new Process.ProcessFailed({
              message:
                `${round.url}: of ${requests} requests, ${failed} failed, and ${starved} had no cookie of their own`
            })
          }
          return seconds * 1e6 / requests
        })
    }
  })
