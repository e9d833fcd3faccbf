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

/** A version of a session, or of its remember cookie, as it was made. Times are unix seconds. */
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
  readonly remember: boolean
  readonly rememberRollingTimeout: number
  readonly rememberAbsoluteTimeout: number
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
  | { readonly do: "remember"; readonly wanted: boolean }
  | { readonly do: "destroy" }

/** How a version comes about. */
type How = "Create" | "Supersede" | "Renew" | "Rescue" | "RescueAndRenew"

/** What became of a request: where it made a version, that version as a cookie tells it. */
export type Deed =
  | { readonly does: "nothing" }
  /** The cookies are cleared; `ends`, and the session at the store with them. */
  | { readonly does: "clear"; readonly ends: boolean }
  | { readonly does: "touch"; readonly touchedAt: number; readonly storedUntil: number }
  | {
    readonly does: "save"
    /** From nothing; in place of the presented version, with grace; as its death; or the same by the remember cookie. */
    readonly how: How
    /** Whether the session that stood, another one, ends. */
    readonly ends: boolean
    readonly placement: Placement
    readonly createdAt: number
    readonly savedAt: number
    readonly forget: boolean
    readonly parts: ReadonlyArray<Part>
    readonly storedUntil: number
    /** However often it is touched. */
    readonly storedAtMostUntil: number
    readonly remember:
      | {
        readonly placement: Placement
        readonly createdAt: number
        readonly savedAt: number
        readonly storedUntil: number
      }
      | undefined
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

/** The timeouts of remember cookies in place of those of sessions. */
export const forRemember = (config: Config): Config => ({
  ...config,
  idlingTimeout: 0,
  rollingTimeout: config.rememberRollingTimeout,
  absoluteTimeout: config.rememberAbsoluteTimeout
})

/** The same for a remember cookie, which nobody touches. */
export const rememberRefusal = (version: Version, config: Config, now: number): Refusal | undefined =>
  refusal(version, forRemember(config), now) ??
    (version.touchedAt === version.savedAt ? undefined : "InvalidIdlingOffset")

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
  /** What was said last, if anything. */
  readonly remember: boolean | undefined
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
  const end: Wishes = { parts: [], changed: false, renewed: false, ended: true, remember: undefined }
  switch (operation.do) {
    case "write":
      return change(operation.audience, { data: operation.data })
    case "subject":
      return change(operation.audience, { subject: operation.subject })
    case "renew":
      return { ...wishes, renewed: true }
    case "remember":
      return { ...wishes, remember: operation.wanted }
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
    ended: false,
    remember: undefined
  })

/** What a request has to do with. */
export interface Request {
  /** The session that stands. */
  readonly session: Version | undefined
  /** The remember cookie that stands. */
  readonly remember: Version | undefined
  /** Whether a session cookie was presented, even one that was refused. */
  readonly presented: boolean
  /** Whether the response can set a cookie that nobody asked for. */
  readonly refresh: boolean
  readonly wishes: Wishes
}

/** Whether a remember cookie has to stand in for the session. */
export const rescued = ({ remember, session }: Pick<Request, "remember" | "session">, config: Config): boolean =>
  session === undefined && remember !== undefined && config.remember

/** What a response does. */
export const deed = (request: Request, config: Config, now: number): Deed => {
  const { presented, remember, session, wishes: { changed, ended, parts, renewed, remember: wanted } } = request
  const rescues = rescued(request, config)
  const stands = session !== undefined || rescues

  // A session that ended takes the wish not to be remembered with it.
  const forget = wanted === false || (session !== undefined && session.forget && !ended)
  /** A save of what began then. No version is older than its beginning, whatever the clock says. */
  const save = (
    how: How,
    { asked = true, createdAt = now, ends = false, rememberedSince = now }
  ): Deed => {
    const savedAt = Math.max(now, createdAt)
    const rememberedAt = Math.max(now, rememberedSince)
    const remembers = asked && !forget && (wanted ?? config.remember)
    return {
      does: "save",
      how,
      ends,
      placement: config.placement,
      createdAt,
      savedAt,
      forget,
      parts,
      storedUntil: storedUntil({ createdAt, savedAt }, savedAt, config),
      storedAtMostUntil: storedUntil({ createdAt, savedAt }, savedAt, { ...config, idlingTimeout: 0 }),
      remember: remembers
        ? {
          placement: config.placement,
          createdAt: rememberedSince,
          savedAt: rememberedAt,
          storedUntil: storedUntil(
            { createdAt: rememberedSince, savedAt: rememberedAt },
            rememberedAt,
            forRemember(config)
          )
        }
        : undefined
    }
  }
  const rememberedSince = remember?.createdAt

  // A session without parts is none, also where another request took the last one but this.
  if (ended || (stands && changed && parts.length === 0)) {
    if (parts.length > 0) return save("Create", { ends: stands })
    return presented || rescues ? { does: "clear", ends: stands } : { does: "nothing" }
  }
  const asked = changed || renewed || wanted !== undefined
  if (session === undefined) {
    if (!rescues) return parts.length > 0 ? save("Create", {}) : { does: "nothing" }
    if (wanted === false) return save("Create", { ends: true, rememberedSince })
    // Whoever else holds the remember cookie must not follow it to the new version.
    if (renewed) return save("RescueAndRenew", { rememberedSince })
    return asked || request.refresh ? save("Rescue", { rememberedSince }) : { does: "nothing" }
  }
  const { createdAt } = session
  if (asked) {
    return save(renewed || wanted === false ? "Renew" : "Supersede", { createdAt, rememberedSince })
  }
  switch (request.refresh ? due(session, config, now) : "Nothing") {
    case "Nothing":
      return { does: "nothing" }
    case "Touch":
      return {
        does: "touch",
        // As far as 24 bits reach.
        touchedAt: Math.min(now, session.savedAt + 16_777_215),
        storedUntil: storedUntil(session, now, config)
      }
    case "Save":
      return save("Supersede", { createdAt, asked: false })
  }
}

/** What a client holds. */
export interface Holds {
  readonly session: Version | undefined
  readonly remember: Version | undefined
}

/** What a client that held this holds after a deed. */
export const after = (deed: Deed, held: Holds, config: Config): Holds => {
  const [key] = config.keys
  switch (deed.does) {
    case "nothing":
      return held
    case "clear":
      return { session: undefined, remember: config.remember ? undefined : held.remember }
    case "touch":
      return { ...held, session: held.session && { ...held.session, touchedAt: deed.touchedAt } }
    case "save": {
      const { createdAt, ends, forget, how, parts, placement, remember, savedAt } = deed
      // A remember cookie that leads nowhere any more is cleared.
      const kept = config.remember && (ends || how === "Renew") ? undefined : held.remember
      return {
        session: { key, placement, createdAt, savedAt, touchedAt: savedAt, forget, parts },
        remember: remember === undefined
          ? kept
          : { ...remember, key, touchedAt: remember.savedAt, forget: false, parts }
      }
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
