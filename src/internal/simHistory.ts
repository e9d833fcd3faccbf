/**
 * What the simulated store was made to do, in order: the sessions, and the chains
 * of versions of their two cookies. Written without a look at the library: what
 * should be visible to whom follows from this alone.
 */
import type { Call } from "./simCall.ts"

/** The settings that matter, in seconds; 0 disables a timeout. */
export interface Times {
  readonly idlingTimeout: number
  readonly rollingTimeout: number
  readonly absoluteTimeout: number
  readonly touchThreshold: number
  readonly staleTtl: number
  readonly commitTimeout: number
  /** Whether there are remember cookies at all. */
  readonly remember: boolean
  readonly rememberRollingTimeout: number
  readonly rememberAbsoluteTimeout: number
}

export type Cookie = "session" | "remember"

export interface Chain {
  readonly number: number
  readonly handle: string
  /** Of the session cookie, oldest first; the last one stands. */
  readonly versions: [Version, ...Array<Version>]
  /** Of the remember cookie. */
  readonly remembers: Array<Version>
  /** When it was ended, as a place in the order of all events, and by what. */
  ended: { readonly order: number; readonly by: string } | undefined
}

export interface Version {
  readonly cookie: Cookie
  readonly chain: Chain
  readonly number: number
  readonly key: string
  /** How many explicit renewals there were before it. */
  readonly epoch: number
  /** How many rescues: each leaves the session cookies before it nothing. */
  readonly era: number
  readonly notes: ReadonlyArray<string>
  readonly subject: string | undefined
  readonly maker: Call
  readonly order: number
  readonly createdAt: number
  readonly savedAt: number
  /** Of a remember cookie's, as the store was told. */
  readonly deadline: number
  /** The last touch, or the save. */
  usedAt: number
  /** Whether the store's word of it reached its maker. */
  acknowledged: boolean
  /** Place in the order at which it was replaced. */
  replaced: number
  /** Whether it was replaced by one that it does not lead to. */
  dropped: boolean
  /** Unix seconds until which it is honoured, once somebody has presented a successor. */
  graceEnds: number | undefined
  /** The cookie that holds it, before any touch. */
  value: string | undefined
}

/** What a key opens at some moment, and what that rests on. */
export type Standing =
  | { readonly _tag: "Unknown" }
  | { readonly _tag: "Ended" | "Renewed" | "Dropped" | "Spent" | "Expired"; readonly version: Version }
  /** `head` is the version of the session cookie that stands. */
  | { readonly _tag: "Current" | "Forwarded"; readonly version: Version; readonly head: Version }

export type Stands = Extract<Standing, { readonly head: Version }>

export const stands = (standing: Standing): standing is Stands =>
  standing._tag === "Current" || standing._tag === "Forwarded"

export const headOf = ({ versions }: Chain): Version => versions[versions.length - 1] ?? versions[0]

const rememberOf = ({ remembers }: Chain): Version | undefined => remembers[remembers.length - 1]

export const label = ({ chain, cookie, number }: Version): string =>
  `s${chain.number}.${cookie === "session" ? "v" : "remember"}${number}`

const after = (since: number, timeout: number): number => timeout === 0 ? Infinity : since + timeout

/** The last second at which a session cookie's version can be used that was last used then. */
export const lastSecond = (version: Version, usedAt: number, times: Times): number =>
  Math.min(
    after(version.createdAt, times.absoluteTimeout),
    after(version.savedAt, times.rollingTimeout),
    after(usedAt, times.idlingTimeout)
  )

/** Whether older versions wait for this one to be presented, before their grace begins. */
export const isAwaited = (standing: Standing): boolean =>
  standing._tag === "Current" && standing.version.cookie === "session" && waiting(standing.version.chain).length > 0

const waiting = (chain: Chain): ReadonlyArray<Version> => {
  const { epoch } = headOf(chain)
  return [...chain.versions, ...chain.remembers].filter((version) =>
    version.replaced < Infinity && !version.dropped && version.graceEnds === undefined && version.epoch === epoch
  )
}

/** What a save says of a version. */
type Fields = Pick<Version, "key" | "maker" | "notes" | "subject" | "savedAt" | "createdAt" | "epoch" | "era">

export class History {
  readonly times: Times
  readonly chains: Array<Chain> = []
  readonly versions = new Map<string, Version>()
  /** Counts all events. */
  order = 0
  /** The latest time that the store was told: what had expired by then may be gone, whatever time it is told next. */
  latest = 0

  constructor(times: Times) {
    this.times = times
  }

  /** What a key opens now. */
  standing(key: string, now: number): Standing {
    this.latest = Math.max(this.latest, now)
    const version = this.versions.get(key)
    if (version === undefined) return { _tag: "Unknown" }
    const { chain, cookie } = version
    const head = headOf(chain)
    if (chain.ended !== undefined) return { _tag: "Ended", version }
    if (version.epoch < head.epoch) return { _tag: "Renewed", version }
    if (version.dropped || (cookie === "session" && version.era < head.era)) return { _tag: "Dropped", version }
    const current = cookie === "session" ? head : rememberOf(chain) ?? version
    const end = cookie === "session" ? lastSecond(head, head.usedAt, this.times) : current.deadline
    if (end < now) return { _tag: "Expired", version }
    if (version === current) return { _tag: "Current", version, head }
    return version.graceEnds !== undefined && now > version.graceEnds
      ? { _tag: "Spent", version }
      : { _tag: "Forwarded", version, head }
  }

  create(handle: string, fields: Fields): Version {
    this.latest = Math.max(this.latest, fields.savedAt)
    const versions: Array<Version> = []
    const chain: Chain = {
      number: this.chains.length + 1,
      handle,
      // It has its first version before anybody sees it.
      versions: versions as unknown as Chain["versions"],
      remembers: [],
      ended: undefined
    }
    this.chains.push(chain)
    return this.#add(chain, "session", fields, Infinity)
  }

  replace(old: Version, fields: Fields): Version {
    old.replaced = Math.min(old.replaced, this.order)
    return this.#add(old.chain, "session", fields, Infinity)
  }

  /** A remember cookie goes with a version; the one before leads to it if it is `replaces`. */
  remember(beside: Version, key: string, deadline: number, replaces: string | undefined): Version {
    const { chain } = beside
    const before = rememberOf(chain)
    if (before !== undefined) {
      before.replaced = Math.min(before.replaced, this.order)
      if (before.key !== replaces) before.dropped = true
    }
    return this.#add(chain, "remember", { ...beside, key }, deadline)
  }

  #add(chain: Chain, cookie: Cookie, fields: Fields, deadline: number): Version {
    const { createdAt, epoch, era, key, maker, notes, savedAt, subject } = fields
    const list: Array<Version> = cookie === "session" ? chain.versions : chain.remembers
    const version: Version = {
      cookie,
      chain,
      number: list.length + 1,
      key,
      epoch,
      era,
      notes,
      subject,
      maker,
      order: this.order,
      createdAt,
      savedAt,
      deadline,
      usedAt: savedAt,
      acknowledged: false,
      replaced: Infinity,
      dropped: false,
      graceEnds: undefined,
      value: undefined
    }
    list.push(version)
    this.versions.set(key, version)
    return version
  }

  /** Somebody has presented what stands: what it replaced has only its grace left. */
  saw(version: Version, now: number): void {
    for (const earlier of waiting(version.chain)) earlier.graceEnds = now + this.times.staleTtl
  }

  end(chain: Chain | undefined, by: string): void {
    if (chain !== undefined) chain.ended ??= { order: this.order, by }
  }

  /** Whether neither of its cookies opens anything. */
  isOver(chain: Chain, now: number): boolean {
    const head = headOf(chain)
    return chain.ended !== undefined ||
      (lastSecond(head, head.usedAt, this.times) < now && (rememberOf(chain)?.deadline ?? 0) < now)
  }

  byHandle(handle: string): Chain | undefined {
    return this.chains.find((chain) => chain.handle === handle)
  }
}
