/**
 * What the simulated store was made to do, in order: the sessions, and the chain
 * of versions of each. Written without a look at the library: what should be
 * visible to whom follows from this alone.
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
}

export interface Chain {
  readonly number: number
  readonly handle: string
  readonly createdAt: number
  /** Oldest first; the last one stands. */
  readonly versions: [Version, ...Array<Version>]
  /** When it was ended, as a place in the order of all events, and by what. */
  ended: { readonly order: number; readonly by: string } | undefined
}

export interface Version {
  readonly chain: Chain
  readonly number: number
  readonly key: string
  /** How many explicit renewals there were before it. */
  readonly epoch: number
  readonly notes: ReadonlyArray<string>
  readonly subject: string | undefined
  readonly maker: Call
  readonly order: number
  readonly savedAt: number
  /** The last touch, or the save. */
  usedAt: number
  /** Whether the store's word of it reached its maker. */
  acknowledged: boolean
  /** Place in the order at which it was replaced. */
  replaced: number
  /** Unix seconds until which it is honoured, once somebody has presented a successor. */
  graceEnds: number | undefined
  /** The cookie that holds it, before any touch. */
  value: string | undefined
}

/** What a key opens at some moment, and what that rests on. */
export type Standing =
  | { readonly _tag: "Unknown" }
  | { readonly _tag: "Ended" | "Renewed" | "Spent" | "Expired"; readonly version: Version }
  | { readonly _tag: "Current" | "Forwarded"; readonly version: Version; readonly head: Version }

export const headOf = ({ versions }: Chain): Version => versions[versions.length - 1] ?? versions[0]

export const label = ({ chain, number }: Version): string => `s${chain.number}.v${number}`

const after = (since: number, timeout: number): number => timeout === 0 ? Infinity : since + timeout

/** The last second at which a version can be used that was last used then. */
export const lastSecond = (version: Version, usedAt: number, times: Times): number =>
  Math.min(
    after(version.chain.createdAt, times.absoluteTimeout),
    after(version.savedAt, times.rollingTimeout),
    after(usedAt, times.idlingTimeout)
  )

export class History {
  readonly times: Times
  readonly chains: Array<Chain> = []
  readonly versions = new Map<string, Version>()
  /** Counts all events. */
  order = 0

  constructor(times: Times) {
    this.times = times
  }

  /** What a key opens now. */
  standing(key: string, now: number): Standing {
    const version = this.versions.get(key)
    if (version === undefined) return { _tag: "Unknown" }
    const head = headOf(version.chain)
    if (version.chain.ended !== undefined) return { _tag: "Ended", version }
    if (version.epoch < head.epoch) return { _tag: "Renewed", version }
    if (lastSecond(head, head.usedAt, this.times) < now) return { _tag: "Expired", version }
    if (version === head) return { _tag: "Current", version, head }
    return version.graceEnds !== undefined && now > version.graceEnds
      ? { _tag: "Spent", version }
      : { _tag: "Forwarded", version, head }
  }

  create(
    fields: Pick<Version, "key" | "maker" | "notes" | "subject" | "savedAt"> & { readonly handle: string }
  ): Version {
    const { handle, ...rest } = fields
    const versions: Array<Version> = []
    const chain = {
      number: this.chains.length + 1,
      handle,
      createdAt: fields.savedAt,
      // It has its first version before anybody sees it.
      versions: versions as Chain["versions"],
      ended: undefined
    }
    this.chains.push(chain)
    return this.#add(chain, { ...rest, epoch: 0 })
  }

  replace(
    old: Version,
    fields: Pick<Version, "key" | "maker" | "notes" | "subject" | "savedAt" | "epoch">
  ): Version {
    old.replaced = Math.min(old.replaced, this.order)
    return this.#add(old.chain, fields)
  }

  #add(
    chain: Chain,
    fields: Pick<Version, "key" | "maker" | "notes" | "subject" | "savedAt" | "epoch">
  ): Version {
    const version: Version = {
      ...fields,
      chain,
      number: chain.versions.length + 1,
      order: this.order,
      usedAt: fields.savedAt,
      acknowledged: false,
      replaced: Infinity,
      graceEnds: undefined,
      value: undefined
    }
    chain.versions.push(version)
    this.versions.set(version.key, version)
    return version
  }

  /** Somebody has presented a version: those before it have only their grace left. */
  saw(version: Version, now: number): void {
    for (const earlier of version.chain.versions) {
      if (earlier.order < version.order) earlier.graceEnds ??= now + this.times.staleTtl
    }
  }

  end(chain: Chain | undefined, by: string): void {
    if (chain !== undefined) chain.ended ??= { order: this.order, by }
  }

  byHandle(handle: string): Chain | undefined {
    return this.chains.find((chain) => chain.handle === handle)
  }
}
