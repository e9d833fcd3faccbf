/**
 * The rules of a session once more, as naive as can be: written from the protocol, to
 * doubt the code with. It shares types with `src`, and nothing else.
 *
 * Where a cookie holds offsets, a version here remembers when things happened, and
 * every rule asks how long ago that was.
 */
import type { Json, Placement, Refusal } from "../../src/SessionState.ts"

/** One audience's part of a session. */
export interface Part {
  readonly audience: string
  readonly data: Json
  readonly subject: string | undefined
}

/** A version of a session, as it was made. Times are unix seconds. */
export interface Version {
  readonly placement: Placement
  /** The name of the key it is sealed with. */
  readonly key: string
  readonly createdAt: number
  readonly savedAt: number
  readonly touchedAt: number
  readonly forget: boolean
  readonly parts: ReadonlyArray<Part>
}

export interface Config {
  readonly idlingTimeout: number
  readonly rollingTimeout: number
  readonly absoluteTimeout: number
  readonly touchThreshold: number
  readonly enforceSameSubject: boolean
  readonly placement: Placement
  /** Newest first: the first seals, all of them open. */
  readonly keys: readonly [string, ...ReadonlyArray<string>]
}

/** What a handler asks for. */
export type Operation =
  | { readonly do: "write"; readonly audience: string; readonly data: Json }
  | { readonly do: "subject"; readonly audience: string; readonly subject: string | undefined }
  | { readonly do: "renew" }
  | { readonly do: "logout"; readonly audience: string }
  | { readonly do: "destroy" }

/** What became of a request: where it made a version, that version as a cookie tells it. */
export type Deed =
  | { readonly does: "nothing" }
  /** The cookies are cleared; `ends`, and the session at the store with them. */
  | { readonly does: "clear"; readonly ends: boolean }
  | { readonly does: "touch"; readonly touchedAt: number; readonly storedUntil: number }
  | {
    readonly does: "save"
    /** From nothing, in place of the presented version with grace, or as its death. */
    readonly how: "Create" | "Supersede" | "Renew"
    /** Whether the presented session, another one, ends. */
    readonly ends: boolean
    readonly placement: Placement
    readonly createdAt: number
    readonly savedAt: number
    readonly forget: boolean
    readonly parts: ReadonlyArray<Part>
    readonly storedUntil: number
  }

const tooLong = (timeout: number, since: number, now: number): boolean => timeout !== 0 && now - since > timeout

/** Why the times and the placement of a version do not let it in, if they do not; the first of several reasons. */
export const refusal = (version: Version, config: Config, now: number): Refusal | undefined => {
  if (version.placement !== config.placement) return "InvalidFlags"
  if (version.createdAt - now > 60) return "CreatedInFuture"
  if (now - version.createdAt >= 2 ** 32) return "LifetimeExceeded"
  if (tooLong(config.absoluteTimeout, version.createdAt, now)) return "AbsoluteTimeout"
  if (tooLong(config.rollingTimeout, version.savedAt, now)) return "RollingTimeout"
  if (tooLong(config.idlingTimeout, version.touchedAt, now)) return "IdlingTimeout"
  return undefined
}

/** What time asks for. */
export const due = (version: Version, config: Config, now: number): "Nothing" | "Touch" | "Save" => {
  const { idlingTimeout, rollingTimeout, touchThreshold } = config
  // More than x, rounded up, is at least a second more than x.
  if (rollingTimeout > 0 && 4 * (now - version.savedAt - 1) >= 3 * rollingTimeout) return "Save"
  if (idlingTimeout > 0 && now - version.touchedAt > touchThreshold) return "Touch"
  return "Nothing"
}

export const timeLeft = (version: Version, config: Config, now: number) => {
  const until = (since: number, timeout: number) => (timeout === 0 ? undefined : since + timeout - now)
  const idling = until(version.touchedAt, config.idlingTimeout)
  const rolling = until(version.savedAt, config.rollingTimeout)
  const absolute = until(version.createdAt, config.absoluteTimeout)
  const [next] = [idling, rolling, absolute].filter((left) => left !== undefined).toSorted((a, b) => a - b)
  return { idling, rolling, absolute, next }
}

/** The last second for which a store has to keep a version that is used now: that of the first timeout, or 400 days. */
const storedUntil = (version: Pick<Version, "createdAt" | "savedAt">, usedAt: number, config: Config): number => {
  const last = [usedAt + 400 * 86_400]
  if (config.absoluteTimeout > 0) last.push(version.createdAt + config.absoluteTimeout)
  if (config.rollingTimeout > 0) last.push(version.savedAt + config.rollingTimeout)
  if (config.idlingTimeout > 0) last.push(usedAt + config.idlingTimeout)
  return last.toSorted((a, b) => a - b)[0]!
}

/** What a handler sees and asks for, after some operations. */
export interface Wishes {
  readonly parts: ReadonlyArray<Part>
  readonly changed: boolean
  readonly renewed: boolean
  readonly ended: boolean
}

const wish = (wishes: Wishes, operation: Operation, config: Config): Wishes => {
  const change = (audience: string, values: Partial<Part>): Wishes => {
    const index = wishes.parts.findIndex((part) => part.audience === audience)
    const part = { audience, data: {}, subject: undefined, ...wishes.parts[index], ...values }
    const parts = index === -1 ? [...wishes.parts, part] : wishes.parts.with(index, part)
    return {
      ...wishes,
      changed: true,
      parts: config.enforceSameSubject ? parts.filter(({ subject }) => subject === part.subject) : parts
    }
  }
  const end: Wishes = { parts: [], changed: false, renewed: false, ended: true }
  switch (operation.do) {
    case "write":
      return change(operation.audience, { data: operation.data })
    case "subject":
      return change(operation.audience, { subject: operation.subject })
    case "renew":
      return { ...wishes, renewed: true }
    case "destroy":
      return end
    case "logout": {
      const parts = wishes.parts.filter(({ audience }) => audience !== operation.audience)
      if (parts.length === 0) return end
      return parts.length === wishes.parts.length ? wishes : { ...wishes, parts, changed: true }
    }
  }
}

/** What a request asks for whose session, if one stands, has these parts. */
export const wishes = (
  parts: ReadonlyArray<Part>,
  operations: ReadonlyArray<Operation>,
  config: Config
): Wishes =>
  operations.reduce<Wishes>((wishes, operation) => wish(wishes, operation, config), {
    parts,
    changed: false,
    renewed: false,
    ended: false
  })

/** What a response does. */
export const deed = (
  request: {
    /** The version that stands. */
    readonly version: Version | undefined
    /** Whether a cookie was presented, even one that was refused. */
    readonly presented: boolean
    /** Whether the response can set a cookie that nobody asked for. */
    readonly refresh: boolean
    readonly wishes: Wishes
  },
  config: Config,
  now: number
): Deed => {
  const { presented, version, wishes: { changed, ended, parts, renewed } } = request
  const create = (ends: boolean): Deed => ({
    does: "save",
    how: "Create",
    ends,
    placement: config.placement,
    createdAt: now,
    savedAt: now,
    forget: false,
    parts,
    storedUntil: storedUntil({ createdAt: now, savedAt: now }, now, config)
  })
  if (ended) {
    if (parts.length > 0) return create(version !== undefined)
    return presented ? { does: "clear", ends: version !== undefined } : { does: "nothing" }
  }
  if (version === undefined) return parts.length > 0 ? create(false) : { does: "nothing" }
  const asked = changed || renewed ? "Save" : request.refresh ? due(version, config, now) : "Nothing"
  if (asked === "Nothing") return { does: "nothing" }
  if (asked === "Touch") {
    return {
      does: "touch",
      // As far as 24 bits reach.
      touchedAt: Math.min(now, version.savedAt + 16_777_215),
      storedUntil: storedUntil(version, now, config)
    }
  }
  // No version is older than its session, whatever the clock says.
  const savedAt = Math.max(now, version.createdAt)
  return {
    does: "save",
    how: renewed ? "Renew" : "Supersede",
    ends: false,
    placement: config.placement,
    createdAt: version.createdAt,
    savedAt,
    forget: version.forget,
    parts,
    storedUntil: storedUntil({ createdAt: version.createdAt, savedAt }, savedAt, config)
  }
}

/** The version that a client holds after a deed, if it holds one. */
export const after = (deed: Deed, version: Version | undefined, config: Config): Version | undefined => {
  switch (deed.does) {
    case "nothing":
      return version
    case "clear":
      return undefined
    case "touch":
      return version && { ...version, touchedAt: deed.touchedAt }
    case "save": {
      const { createdAt, forget, parts, placement, savedAt } = deed
      return { key: config.keys[0], placement, createdAt, savedAt, touchedAt: savedAt, forget, parts }
    }
  }
}

/** The seconds at which something about a version changes: the last of the old, by name. */
export const boundaries = (version: Version, config: Config) => {
  const { createdAt, savedAt, touchedAt } = version
  return {
    skew: createdAt - 60,
    created: createdAt,
    saved: savedAt,
    touched: touchedAt,
    touch: touchedAt + config.touchThreshold,
    save: savedAt + Math.ceil(3 * config.rollingTimeout / 4),
    idling: touchedAt + config.idlingTimeout,
    rolling: savedAt + config.rollingTimeout,
    absolute: createdAt + config.absoluteTimeout,
    cap: savedAt + 2 ** 24 - 1,
    lifetime: createdAt + 2 ** 32 - 1
  }
}

export type Boundary = keyof ReturnType<typeof boundaries>
