/** Who does what next: browsers, an attacker, the network, the store, time. All of it is chance, from a seed. */
import type { Action, Call } from "./simCall.ts"
import { glance } from "./simCookie.ts"
import type { Episode } from "./simEpisode.ts"
import type { Cookie } from "./simHistory.ts"
import type { Source } from "./simRandom.ts"
import { cookieNames } from "./simRecord.ts"
import type { Fate, Replayed, Step } from "./simScript.ts"

/** What goes wrong in a simulation. */
export type Fault =
  /** The store fails before or after it has done something, or does not answer. */
  | "store"
  /** Responses are lost, clients go away. */
  | "network"
  /** Servers go down between any two steps. */
  | "crash"
  /** Cookies are planted, stolen, replayed and made up. */
  | "attack"

export const allFaults: ReadonlyArray<Fault> = ["store", "network", "crash", "attack"]

const users = ["alice", "bob"] as const

const victims = ["alice's phone", "alice's laptop", "bob's browser"] as const

const attacker = "mallory"

type Kinds = readonly [Action["kind"], ...Array<Action["kind"]>]

/** What somebody without a session does, and the more often the more often it stands here. */
const beginnings: Kinds = ["note", "login", "login", "read"]

/** What somebody with a session does. */
const visits: Kinds = [
  "read",
  ...Array.from<Action["kind"]>({ length: 8 }).fill("note"),
  ...Array.from<Action["kind"]>({ length: 6 }).fill("read"),
  "ignore",
  "ignore",
  "login",
  "login",
  "renew",
  "logout",
  "logoutElsewhere",
  "logoutElsewhere",
  "revoke"
]

const userOf = (sender: string): string =>
  sender.startsWith("alice") ? users[0] : sender === attacker ? attacker : users[1]

/** How an episode goes: crowded or quiet, hurried or slow. */
interface Temper {
  readonly send: number
  readonly store: number
  readonly pauses: number
  /** Whether everybody comes back before anything times out. */
  readonly regular: boolean
}

interface Choice {
  readonly weight: number
  readonly make: () => Step
}

const has = (episode: Episode, browser: string): boolean =>
  episode.held(browser) !== undefined || episode.held(browser, "remember") !== undefined

const either = ({ times }: Episode, random: Source): Cookie =>
  times.remember && random.oneIn(3) ? "remember" : "session"

/** Whether its response may still come. */
const expected = ({ aborted, crashed, delivered }: Call): boolean => !aborted && !crashed && !delivered

export class Actors {
  readonly #random: Source
  readonly #faults: ReadonlySet<Fault>
  readonly #temper: Temper
  #nextCall = 1
  /** Who has several tabs that all load at once, and how many of them are left. */
  #burst: { readonly sender: string; left: number } | undefined

  constructor(random: Source, faults: ReadonlyArray<Fault>) {
    this.#random = random
    this.#faults = new Set(faults)
    this.#temper = {
      send: random.pick([3, 6, 14]),
      store: random.pick([6, 12]),
      pauses: random.pick([2, 3, 8]),
      regular: random.oneIn(5)
    }
  }

  /** The next step, of those that mean something now. */
  next(episode: Episode): Step {
    const choices = [
      ...this.#sends(episode),
      ...this.#store(episode),
      ...this.#responses(episode),
      ...this.#time(episode),
      ...this.#restarts(episode),
      ...this.#trouble(episode)
    ]
    const total = choices.reduce((sum, { weight }) => sum + weight, 0)
    let rest = this.#random.below(total)
    for (const { make, weight } of choices) {
      if (rest < weight) return make()
      rest -= weight
    }
    return { _tag: "Advance", seconds: 1 }
  }

  #sends(episode: Episode): ReadonlyArray<Choice> {
    if (this.#burst !== undefined && !has(episode, this.#burst.sender)) this.#burst = undefined
    if (this.#burst !== undefined) return [{ weight: this.#temper.send * 5, make: () => this.#send(episode) }]
    const busy = [...episode.calls.values()].filter(({ crashed, reply }) => reply === undefined && !crashed).length
    if (busy >= 6) return []
    return [{ weight: this.#temper.send, make: () => this.#send(episode) }]
  }

  #send(episode: Episode): Step {
    const random = this.#random
    const attacks = this.#faults.has("attack")
    const sender = this.#sender(episode)
    const [first, ...more] = episode.issued.keys()
    const replayed = first !== undefined && random.oneIn(attacks && sender === attacker ? 2 : 12)
      ? this.#replay(episode, random.pick([first, ...more]), sender === attacker)
      : undefined
    const forged = attacks && sender === attacker && random.oneIn(4)
      ? replayed === undefined ? "made up" : "stretched"
      : undefined
    const kind = !has(episode, sender) && replayed === undefined
      ? random.pick(beginnings)
      : random.pick(visits)
    return {
      _tag: "Send",
      call: this.#nextCall++,
      sender,
      action: this.#action(kind, sender),
      replayed,
      forged,
      target: kind === "revoke" ? random.pick(victims) : undefined
    }
  }

  #sender(episode: Episode): string {
    const random = this.#random
    if (this.#burst !== undefined) {
      const { sender } = this.#burst
      this.#burst = this.#burst.left > 1 ? { sender, left: this.#burst.left - 1 } : undefined
      return sender
    }
    if (this.#faults.has("attack") && random.oneIn(6)) return attacker
    // Who has no cookie yet waits for it, most of the time: each request without one begins a session.
    const [first, ...more] = victims.filter((victim) =>
      has(episode, victim) ||
      ![...episode.calls.values()].some((call) => call.sender === victim && expected(call))
    )
    const sender = first === undefined || random.oneIn(8) ? random.pick(victims) : random.pick([first, first, ...more])
    if (random.oneIn(4)) this.#burst = { sender, left: 1 + random.below(4) }
    return sender
  }

  #replay(episode: Episode, of: number, confuses: boolean): Replayed {
    const cookie = either(episode, this.#random)
    return { of, cookie, as: confuses && this.#random.oneIn(4) ? either(episode, this.#random) : cookie }
  }

  #action(kind: Action["kind"], sender: string): Action {
    const random = this.#random
    return {
      kind,
      user: kind === "login" || kind === "logoutElsewhere" ? userOf(sender) : "",
      look: kind !== "ignore" && !random.oneIn(4),
      pause: random.oneIn(this.#temper.pauses) ? random.pick(["before", "between", "after"]) : "none",
      early: (kind === "note" || kind === "login") && random.oneIn(6),
      remember: kind !== "login" || !random.oneIn(5),
      ending: random.oneIn(4) ? random.pick(["redirect", "stream", "fail", "die"]) : "empty"
    }
  }

  #store(episode: Episode): ReadonlyArray<Choice> {
    const random = this.#random
    const { operations } = episode
    const [first, ...more] = operations
    if (first === undefined) return []
    const one = (fate: () => Fate): Step => {
      const { call, index } = random.pick([first, ...more])
      return { _tag: "Store", call: call.id, index, fate: fate() }
    }
    return [
      { weight: this.#temper.store, make: () => one(() => "Run") },
      { weight: 2, make: () => one(() => "Execute") },
      ...(this.#faults.has("store")
        ? [{ weight: 1, make: () => one(() => random.pick(["FailBefore", "FailAfter"])) }]
        : [])
    ]
  }

  #responses(episode: Episode): ReadonlyArray<Choice> {
    const random = this.#random
    const [first, ...more] = [...episode.calls.values()].filter(({ aborted, crashed, delivered, reply }) =>
      reply !== undefined && !delivered && !crashed && !aborted
    )
    if (first === undefined) return []
    const one = (_tag: "Deliver" | "Lose"): Step => ({ _tag, call: random.pick([first, ...more]).id })
    return [
      { weight: 6, make: () => one("Deliver") },
      ...(this.#faults.has("network") ? [{ weight: 1, make: () => one("Lose") }] : [])
    ]
  }

  #time(episode: Episode): ReadonlyArray<Choice> {
    const random = this.#random
    const idle = episode.operations.every(({ abandoned, call }) => abandoned || call.crashed)
    return [
      { weight: 1, make: () => ({ _tag: "Advance", seconds: 1 + random.below(3) }) },
      {
        weight: idle ? this.#temper.regular ? 6 : 3 : 1,
        make: () => {
          const [first, ...more] = this.#moments(episode)
          const moment = first === undefined ? episode.now + 15 : random.pick([first, ...more])
          // The last second, the one after it, and one before.
          return { _tag: "Advance", seconds: Math.max(1, moment - episode.now + random.pick([0, 1, 1, -1, 3])) }
        }
      }
    ]
  }

  /** When something changes for somebody. */
  #moments(episode: Episode): ReadonlyArray<number> {
    const { checker, jars, now, times } = episode
    const { regular } = this.#temper
    const after = (timeout: number, since: number, part = 1): number =>
      timeout > 0 ? since + Math.ceil(timeout * part) : 0
    const held = (cookie: Cookie) =>
      [...jars.values()].flatMap((jar) => glance(jar.get(cookieNames[cookie]) ?? "") ?? [])
    const seen = held("session")
    const remembered = held("remember")
    const dues = [
      ...seen.map(({ savedAt }) => after(times.rollingTimeout, savedAt, 0.75)),
      ...seen.map(({ usedAt }) => times.idlingTimeout > 0 ? usedAt + times.touchThreshold : 0)
    ]
    const ends = [
      ...seen.map(({ savedAt }) => after(times.rollingTimeout, savedAt)),
      ...seen.map(({ usedAt }) => after(times.idlingTimeout, usedAt)),
      ...remembered.map(({ savedAt }) => after(times.rememberRollingTimeout, savedAt)),
      ...remembered.map(({ createdAt }) => after(times.rememberAbsoluteTimeout, createdAt))
    ]
    const tooOld = seen.map(({ createdAt }) => after(times.absoluteTimeout, createdAt))
    const ofGrace = checker.history.chains.flatMap(({ versions }) =>
      versions.flatMap(({ graceEnds }) => graceEnds ?? [])
    )
    const last = regular ? this.#nextEnd(episode) : Infinity
    return [...dues, ...dues, ...tooOld, ...(regular ? [] : ends), ...ofGrace, ...ofGrace].filter((
      moment
    ) => moment >= now && moment <= last)
  }

  /** A browser that opens the tabs that it had, all at once and without a session cookie. */
  #restarts(episode: Episode): ReadonlyArray<Choice> {
    const [first, ...more] = victims.filter((victim) =>
      episode.held(victim) !== undefined && episode.held(victim, "remember") !== undefined
    )
    if (first === undefined) return []
    return [{
      weight: 2,
      make: () => {
        const browser = this.#random.pick([first, ...more])
        this.#burst = { sender: browser, left: 1 + this.#random.below(4) }
        return { _tag: "Restart", browser }
      }
    }]
  }

  /** When the first of the sessions in the jars would time out, if nobody came. */
  #nextEnd({ jars, now, times }: Episode): number {
    const ends = [...jars.values()].map((jar) => {
      const seen = glance(jar.get(cookieNames.session) ?? "")
      if (seen === undefined) return Infinity
      const end = Math.min(
        times.rollingTimeout > 0 ? seen.savedAt + times.rollingTimeout : Infinity,
        times.idlingTimeout > 0 ? seen.usedAt + times.idlingTimeout : Infinity
      )
      return end < now ? Infinity : end
    })
    return Math.min(...ends)
  }

  #trouble(episode: Episode): ReadonlyArray<Choice> {
    const random = this.#random
    const [first, ...more] = [...episode.calls.values()].filter(({ aborted, crashed, reply }) =>
      reply === undefined && !crashed && !aborted
    )
    if (first === undefined) {
      return this.#faults.has("attack")
        ? [{ weight: 1, make: () => ({ _tag: "Plant", from: attacker, to: random.pick(victims) }) }]
        : []
    }
    return [
      ...(this.#faults.has("crash")
        ? [{ weight: 1, make: (): Step => ({ _tag: "Crash", server: random.below(2) }) }]
        : []),
      ...(this.#faults.has("network")
        ? [{ weight: 1, make: (): Step => ({ _tag: "Abort", call: random.pick([first, ...more]).id }) }]
        : []),
      ...(this.#faults.has("store") && random.oneIn(3) ? [{ weight: 1, make: (): Step => ({ _tag: "Stall" }) }] : [])
    ]
  }
}
