/**
 * What the simulator and the model of the rules are worth: each deliberate fault, by what it is found, and after how
 * many simulated sessions.
 */
import { Console, Effect } from "effect"
import { mutants as mistakes } from "../test/fixtures/brokenStates.ts"
import { kill } from "../test/fixtures/kill.ts"
import { controls, mutants } from "../test/fixtures/mutants.ts"

const seed = Number(process.argv[2] ?? 1)

const row = (...columns: ReadonlyArray<string>): Effect.Effect<void> => Console.log(`| ${columns.join(" | ")} |`)

const simulated = Effect.fnUntraced(function*({ fault, name, stack }: typeof mutants[number]) {
  const { failure, sessions } = yield* kill(stack, seed)
  yield* row(name, fault, failure?.invariant ?? "**nothing**", `${sessions}`, `${failure?.steps ?? ""}`)
  return failure !== undefined
})

const modelled = Effect.fnUntraced(function*({ fault, kills, name }: typeof mistakes[number]) {
  const killed = yield* Effect.promise(kills)
  yield* row(
    name,
    `\`${fault.replaceAll("|", "\\|").replaceAll(/\s+/g, " ")}\``,
    killed ? "model" : "**nothing**",
    "",
    ""
  )
  return killed
})

const program = Effect.gen(function*() {
  yield* row("mutant", "fault", "found by", "after sessions", "steps")
  yield* row("---", "---", "---", "---", "---")
  const sound = yield* Effect.forEach(controls, simulated)
  const found = [...(yield* Effect.forEach(mutants, simulated)), ...(yield* Effect.forEach(mistakes, modelled))]
  const survivors = found.filter((killed) => !killed).length
  yield* Console.log(`\n${found.length} faults, ${survivors} of them not found`)
  if (survivors > 0 || sound.includes(true)) process.exitCode = 1
})

await Effect.runPromise(program)
