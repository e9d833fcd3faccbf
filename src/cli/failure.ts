/** How a command ends that does not end well. */
import { Cause, Config, Data, Predicate } from "effect"
import { CliError } from "effect/cli"
import { SessionError } from "../SessionError.ts"

/** Exit codes, as the help of `effect-session` explains them. */
export const code = { refused: 1, usage: 2, failed: 3, bug: 70, interrupted: 130 } as const

export const codes = "Exit codes: 0 done; 1 refused (inspect) or not found (revoke); 2 wrong arguments, settings or " +
  "input; 3 the database, a file or a package is not available; 70 a bug."

/** An end with a code, and what there is to say about it on standard error, if anything. */
export class Failure extends Data.TaggedError("Failure")<{
  readonly code: number
  readonly text: string | undefined
}> {
  override get message(): string {
    return this.text ?? ""
  }
}

/** The answer is on standard output, and it is no. */
export const refused = new Failure({ code: code.refused, text: undefined })

export const usage = (text: string): Failure => new Failure({ code: code.usage, text })

export const failed = (text: string): Failure => new Failure({ code: code.failed, text })

/** What errors say, from the outermost to the cause of all; drivers put what matters into the last. */
const messages = (error: unknown): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (let each = error; Predicate.isObject(each) && found.length < 5; each = each["cause"]) {
    // Errors of several attempts to connect have no message of their own.
    const message = each["message"] || each["code"]
    if (typeof message === "string" && message !== "" && !found.some((other) => other.includes(message))) {
      found.push(message)
    }
  }
  return found
}

export const oneLine = (text: string): string => text.replaceAll(/\s*\n\s*/g, " ")

/** What is wrong with a database, told without a stack trace. */
export const describe = (error: unknown): string => oneLine(messages(error).join(": "))

/** What has failed, in one word for `teardown` and one line for people. */
export const fromCause = (cause: Cause.Cause<unknown>): Failure => {
  if (Cause.hasInterruptsOnly(cause)) return new Failure({ code: code.interrupted, text: undefined })
  const error = Cause.squash(cause)
  if (!Cause.hasDies(cause)) {
    if (error instanceof Failure) return error
    // The presenter has told what is wrong.
    if (CliError.isCliError(error)) return new Failure({ code: code.usage, text: undefined })
    if (error instanceof Config.ConfigError) return usage(oneLine(error.cause.message))
    if (error instanceof SessionError && error.reason._tag === "InvalidConfig") return usage(error.message)
  }
  return new Failure({ code: code.bug, text: `This is a bug.\n${Cause.pretty(cause)}` })
}
