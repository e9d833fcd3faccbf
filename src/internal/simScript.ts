/**
 * What happens in an episode, step by step. A step names what it is about by the
 * number of the request, so that a script from which steps were taken still means
 * something: a step that is about nothing does nothing.
 */
import type { Action } from "./simCall.ts"
import type { Cookie } from "./simHistory.ts"

/** What becomes of an operation that waits at the store's door. */
export type Fate =
  /** It is carried out, and answered. */
  | "Run"
  /** It is carried out, and the answer is on its way. */
  | "Execute"
  /** It is not carried out, and the caller learns that it failed. */
  | "FailBefore"
  /** It is carried out, and the caller learns that it failed. */
  | "FailAfter"

/** A cookie that was set by the response to a request, and as which of the two it is sent. */
export interface Replayed {
  readonly of: number
  readonly cookie: Cookie
  readonly as: Cookie
}

export type Step =
  | {
    readonly _tag: "Send"
    readonly call: number
    /** Whose cookies it carries. */
    readonly sender: string
    readonly action: Action
    /** Where it carries an old cookie instead of its own. */
    readonly replayed: Replayed | undefined
    /** What was done to that cookie, or that it is made up. */
    readonly forged: "stretched" | "made up" | undefined
    /** Whose session it ends by its handle. */
    readonly target: string | undefined
  }
  | { readonly _tag: "Store"; readonly call: number; readonly index: number; readonly fate: Fate }
  | { readonly _tag: "Deliver" | "Lose" | "Abort"; readonly call: number }
  | { readonly _tag: "Advance"; readonly seconds: number }
  | { readonly _tag: "Crash"; readonly server: number }
  /** A browser is closed, and its session cookies are gone. */
  | { readonly _tag: "Restart"; readonly browser: string }
  /** The attacker's cookie gets into another's browser. */
  | { readonly _tag: "Plant"; readonly from: string; readonly to: string }
  /** Nothing answers, until all who wait must have given up. */
  | { readonly _tag: "Stall" }

const actionText = ({ early, ending, kind, look, pause, remember, user }: Action): string =>
  [
    kind === "login" || kind === "logoutElsewhere" ? `${kind} ${user}` : kind,
    ...(remember ? [] : ["not to be remembered"]),
    ...(look ? [] : ["blind"]),
    ...(pause === "none" ? [] : [`slow ${pause}`]),
    ...(early ? ["commits early"] : []),
    ...(ending === "empty" ? [] : [`ends: ${ending}`])
  ].join(", ")

const replayText = ({ as, cookie, of }: Replayed): string =>
  `, with the ${cookie} cookie that r${of} got${as === cookie ? "" : `, as its ${as} cookie`}`

/** A step in words, as far as they do not depend on what happens. */
export const text = (step: Step): string => {
  switch (step._tag) {
    case "Send": {
      const replay = step.replayed === undefined ? "" : replayText(step.replayed)
      const forged = step.forged === undefined ? "" : `, ${step.forged}`
      const target = step.target === undefined ? "" : ` of ${step.target}`
      return `${step.sender} sends r${step.call}: ${actionText(step.action)}${target}${replay}${forged}`
    }
    case "Store":
      return `r${step.call}: operation ${step.index}, ${step.fate}`
    case "Deliver":
      return `the response to r${step.call} arrives`
    case "Lose":
      return `the response to r${step.call} is lost`
    case "Abort":
      return `the client of r${step.call} goes away`
    case "Advance":
      return `${step.seconds} s pass`
    case "Crash":
      return `server ${step.server} crashes`
    case "Restart":
      return `${step.browser} is closed, and opened again`
    case "Plant":
      return `${step.from} plants its cookies on ${step.to}`
    case "Stall":
      return "the store does not answer"
  }
}

/** Makes a failing script shorter as long as it fails: delta debugging, after Zeller and Hildebrandt. */
export const shrink = async <A>(
  script: ReadonlyArray<A>,
  fails: (script: ReadonlyArray<A>) => Promise<boolean>,
  budget: number
): Promise<ReadonlyArray<A>> => {
  let current = script
  let size = Math.ceil(current.length / 2)
  let tries = 0
  while (size >= 1 && tries < budget) {
    let shorter = false
    for (let start = 0; start < current.length && tries < budget;) {
      const candidate = [...current.slice(0, start), ...current.slice(start + size)]
      tries++
      if (candidate.length < current.length && await fails(candidate)) {
        current = candidate
        shorter = true
      } else start += size
    }
    if (size === 1 && !shorter) break
    size = size === 1 ? 1 : Math.ceil(size / 2)
  }
  return current
}
