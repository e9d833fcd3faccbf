/** Other processes: contenders, servers, load generators. */
import { Data, Effect } from "effect"
import type { Scope } from "effect"
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { existsSync } from "node:fs"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../../", import.meta.url))

const denoPath = `${root}node_modules/.bin/deno`

/** The runtimes of this machine, as beginnings of commands. */
export const runtimes = {
  node: [process.execPath],
  deno: existsSync(denoPath) ? [denoPath, "run", "-A"] : undefined
} as const

export class ProcessFailed extends Data.TaggedError("ProcessFailed")<{ readonly message: string }> {}

const ended = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null

const end = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    if (ended(child)) return resume(Effect.void)
    // Some servers wait for connections that nobody closes.
    const impatience = setTimeout(() => child.kill("SIGKILL"), 2000)
    child.once("close", () => {
      clearTimeout(impatience)
      resume(Effect.void)
    })
    child.kill("SIGTERM")
  })

export interface Process {
  readonly pid: number
  /** The next line of its output. */
  readonly line: Effect.Effect<string, ProcessFailed>
  readonly write: (text: string) => Effect.Effect<void>
}

/** Runs a command in the root of the repository, as long as the scope is open. */
export const start = (
  [executable = "", ...args]: ReadonlyArray<string>,
  env: Readonly<Record<string, string>> = {}
): Effect.Effect<Process, ProcessFailed, Scope.Scope> =>
  Effect.gen(function*() {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(executable, args, {
          cwd: root,
          env: { ...process.env, NODE_ENV: "production", NO_COLOR: "1", ...env },
          stdio: ["pipe", "pipe", "pipe"]
        })
      ),
      end
    )
    const command = args.join(" ")
    // Some libraries warn of what a benchmark has to do: only who fails is listened to.
    let complaints = ""
    const complain = (complaint: unknown) => {
      complaints = `${complaints}${String(complaint)}\n`.slice(-5000)
    }
    child.once("error", complain)
    child.stdin.on("error", complain)
    child.stderr.on("data", complain)
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    return {
      pid: child.pid ?? -1,
      line: Effect.flatMap(
        Effect.promise(() => lines.next()),
        ({ done, value }) =>
          done === true
            ? Effect.fail(new ProcessFailed({ message: `${command} has ended. ${complaints}` }))
            : Effect.succeed(value)
      ),
      write: (text) => Effect.sync(() => void child.stdin.write(text))
    }
  })

/** Asks a process that answers a line with a line. */
export const ask = (process: Process, question: unknown): Effect.Effect<unknown, ProcessFailed> =>
  Effect.flatMap(
    Effect.andThen(process.write(`${JSON.stringify(question)}\n`), process.line),
    (line) =>
      Effect.try({
        try: (): unknown => JSON.parse(line),
        catch: () => new ProcessFailed({ message: `No answer, but: ${line}` })
      })
  )
