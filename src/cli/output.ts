/** What commands print. */
import { Console } from "effect"
import type { Effect } from "effect"
import { Flag } from "effect/cli"

export const json = Flag.Boolean("json").pipe(
  Flag.withDescription("Answer in JSON, one line per answer"),
  Flag.withDefault(false),
  Flag.withoutNegation
)

/** An answer, in the form that was asked for. */
export const answer = (asJson: boolean, value: unknown, text: () => string): Effect.Effect<void> =>
  Console.log(asJson ? JSON.stringify(value) : text())

/** Names and values below each other; a value that is not there has no line. */
export const table = (rows: ReadonlyArray<readonly [name: string, value: string | undefined]>): string => {
  const shown = rows.filter((row): row is readonly [string, string] => row[1] !== undefined)
  const width = Math.max(...shown.map(([name]) => name.length))
  return shown.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join("\n")
}

/** Unix seconds for people. */
export const time = (seconds: number): string => {
  const date = new Date(seconds * 1000)
  return Number.isNaN(date.getTime()) ? `${seconds}` : `${seconds} (${date.toISOString().replace(".000Z", "Z")})`
}
