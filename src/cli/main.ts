/** Runs the command line: arguments in, an exit code out. */
import { Console, Effect, Exit, Layer, Logger } from "effect"
import type { Runtime } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag } from "effect/cli"
import { readFileSync } from "node:fs"
import { root } from "./command.ts"
import { fromCause } from "./failure.ts"

const secretFlag = /^--?(secret|ikm|key|password|database-?url)\b/

/** Help that was asked for is an answer; what is wrong goes to standard error, where no pipe takes it for one. */
const presenter: CliOutput.Presenter = {
  present: Effect.fnUntraced(function*(event) {
    if (event._tag !== "InvalidInvocation") return yield* CliOutput.defaultPresenter.present(event)
    const path = event.commandPath.join(" ")
    for (const error of event.errors) yield* Console.error(`effect-session: ${error.message}`)
    if (event.errors.some((error) => error._tag === "UnrecognizedOption" && secretFlag.test(error.option))) {
      yield* Console.error(
        "A secret is never an argument: it would be in the process list, and in the shell's history."
      )
    }
    yield* Console.error(`Try \`${path} --help\`.`)
  })
}

const surroundings = Layer.mergeAll(
  CliOutput.layerPresenter(presenter),
  CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] }),
  // Standard output is for answers.
  Layer.succeed(Logger.LogToStderr, true)
)

const version = (): string => {
  const manifest: { readonly version: string } = JSON.parse(
    readFileSync(new URL("../../package.json", import.meta.url), "utf8")
  )
  return manifest.version
}

/** The exit code of a run, with everything printed that there is to print. */
export const main = <E, R>(services: Layer.Layer<Command.Environment, E, R>): Effect.Effect<number, never, R> =>
  Effect.suspend(() => Command.run(root, { version: version() })).pipe(
    Effect.provide(Layer.merge(services, surroundings)),
    Effect.as(0),
    Effect.catchCause((cause) => {
      const failure = fromCause(cause)
      return Effect.as(
        failure.text === undefined ? Effect.void : Console.error(`effect-session: ${failure.text}`),
        failure.code
      )
    })
  )

/** Ends the process when all that was printed has left it: a pipe may take it in pieces. */
export const teardown: Runtime.Teardown = (exit, onExit) => {
  const status = Exit.isSuccess(exit) ? Number(exit.value) : fromCause(exit.cause).code
  process.stdout.write("", () => onExit(status))
}
