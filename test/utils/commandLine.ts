/**
 * The command line of this repository, to its end: as a process, and as a call for what a process would say the same
 * to. A process takes a hundred times as long to start as the call takes.
 */
import { NodeServices } from "@effect/platform-node"
import { Console, Effect, Layer, Sink, Stdio, Stream } from "effect"
import { main } from "../../src/cli/main.ts"
import { type Ended, execute } from "./process.ts"

/** Variables of the environment. */
export type Env = { readonly [name: string]: string }

/** In a process of its own. */
export const run = (args: ReadonlyArray<string>, env: Env = {}, input?: string): Promise<Ended> =>
  execute("src/cli.ts", args, { env, input })

const setEnvironment = (env: NodeJS.ProcessEnv): void => {
  for (const name of Object.keys(process.env)) Reflect.deleteProperty(process.env, name)
  Object.assign(process.env, env)
}

/** In this process, one at a time: the environment is the process's. */
export const call = async (args: ReadonlyArray<string>, env: Env = {}, input = ""): Promise<Ended> => {
  let stdout = ""
  let stderr = ""
  const print = (text: string) => {
    stdout += text
  }
  const complain = (text: string) => {
    stderr += text
  }
  const console: Console.Console = Object.assign(Object.create(globalThis.console), {
    log: (text: string) => print(`${text}\n`),
    error: (text: string) => complain(`${text}\n`)
  })
  const stdio = Stdio.layerTest({
    args: Effect.succeed(args),
    stdin: Stream.make(new TextEncoder().encode(input)),
    stdout: () => Sink.forEach((text) => Effect.sync(() => print(`${text}`)))
  })
  const before = { ...process.env }
  const others = Object.entries(before).filter(([name]) => !/^(SESSION_|DATABASE_URL$)/.test(name))
  setEnvironment({ ...Object.fromEntries(others), ...env })
  try {
    return await main(Layer.merge(NodeServices.layer, stdio)).pipe(
      Effect.provideService(Console.Console, console),
      Effect.map((code) => ({ code, stdout, stderr })),
      Effect.runPromise
    )
  } finally {
    setEnvironment(before)
  }
}
