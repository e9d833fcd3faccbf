/** What the checker knows of a request, and the words for what it finds. */
import type { Glance } from "./simCookie.ts"
import { label, stands } from "./simHistory.ts"
import type { Cookie, Standing, Version } from "./simHistory.ts"

/** The invariants of the protocol, and two promises that stand beside them. */
export type Invariant = "I1" | "I2" | "I3" | "I4" | "I5" | "I6" | "I7" | "I8" | "I9" | "Grace" | "Times"

export interface Violation {
  readonly invariant: Invariant
  readonly message: string
}

export interface Load {
  readonly cookie: Cookie
  readonly standing: Standing
  /** Whether older versions wait for this one to be presented. */
  readonly awaited: boolean
  readonly now: number
  readonly order: number
}

/** A cookie that a request carries, and that a response has set. */
export interface Presented {
  readonly version: Version
  readonly glance: Glance
  /** Whether its times allow it at some moment. */
  readonly valid: (now: number) => boolean
}

/** What the checker knows of a call. */
export interface Record {
  readonly order: number
  readonly session: Presented | undefined
  readonly remember: Presented | undefined
  readonly loads: Array<Load>
  /** Whether the store had a reason to refuse what it asked for. */
  refused: boolean
  /** Whether it was told that another one was quicker. */
  overtaken: boolean
  /** The versions whose touch was acknowledged. */
  readonly touched: Set<Version>
  /** Whether it has ended the other sessions of its user. */
  swept: boolean
  /** Whether it told the store that its version was presented. */
  noted: boolean
}

/** The way that a request came to its session: the loads by its session cookie, or those by its remember cookie. */
export interface Way {
  readonly cookie: Cookie
  readonly presented: Presented | undefined
  readonly first: Load | undefined
  readonly last: Load | undefined
  /** Whether nothing on it was a reason to have no session. */
  readonly open: boolean
}

export const cookieNames = { session: "__Host-session", remember: "__Host-remember" } as const

export const cookieOf = (name: string): Cookie | undefined =>
  name === cookieNames.session ? "session" : name === cookieNames.remember ? "remember" : undefined

/** RFC 6265bis: no cookie lives longer. */
export const longest = 400 * 24 * 60 * 60

/** How a request came to its session, as far as it got: it was sent at one time, and it is another now. */
export const wayOf = ({ loads, remember, session }: Record, sentAt: number, now: number): Way => {
  const turn = loads.findIndex(({ cookie }) => cookie === "remember")
  const cookie = turn < 0 ? "session" : "remember"
  const presented = cookie === "session" ? session : remember
  const taken = turn < 0 ? loads : loads.slice(turn)
  const last = taken[taken.length - 1]
  return {
    cookie,
    presented,
    first: taken[0],
    last,
    open: presented !== undefined && presented.valid(sentAt) && presented.valid(now) && last !== undefined &&
      // From a remember cookie the way leads past session cookies that stand no more.
      taken.every((load) =>
        stands(load.standing) || (cookie === "remember" && load.cookie === "session" && load !== last)
      )
  }
}

export const added = (notes: ReadonlyArray<string>, note: string | undefined): ReadonlyArray<string> =>
  note === undefined ? notes : [...notes, note]

export const unknown: Standing = { _tag: "Unknown" }

/** Whether a request has no way on. */
export const isOver = ({ _tag }: Standing): boolean =>
  _tag === "Ended" || _tag === "Renewed" || _tag === "Expired" || _tag === "Dropped"

export const opened = (who: string, standing: Standing): [Invariant, string] => {
  switch (standing._tag) {
    case "Unknown":
      return ["I5", `${who} opens a version that the store never had`]
    case "Ended":
      return [
        "I2",
        `${who} opens ${label(standing.version)}; ${standing.version.chain.ended?.by} has ended the session`
      ]
    case "Renewed":
      return ["I5", `${who} opens ${label(standing.version)}, from before a renewal`]
    case "Dropped":
      return ["I4", `${who} opens ${label(standing.version)}, which was replaced for good`]
    case "Spent":
      return ["Grace", `${who} opens ${label(standing.version)}, whose grace is over`]
    case "Expired":
      return ["Times", `${who} opens ${label(standing.version)}, whose row has expired`]
    case "Current":
    case "Forwarded":
      throw new Error("It stands")
  }
}
