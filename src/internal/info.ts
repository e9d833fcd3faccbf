/**
 * The info store: values kept beside a session, which change without a new cookie.
 *
 * In a store of our own they are encrypted under a key of the session's, which each of
 * its versions carries sealed; in the layouts of the references they are JSON in clear;
 * with cookie placement they are part of the data, under names that begin with "@".
 */
import { Effect, Redacted } from "effect"
import type { Crypto } from "../Crypto.ts"
import { InvalidData } from "../SessionError.ts"
import type { SessionError } from "../SessionError.ts"
import type { Json } from "../SessionState.ts"
import type { Info, Located, Port } from "../SessionStore.ts"
import * as Base64Url from "./base64url.ts"
import { seconds } from "./clock.ts"
import { bounded, type Exchange, fail, type InfoChange, noInfo } from "./exchange.ts"
import { open } from "./opening.ts"
import { modify, record } from "./recording.ts"

const utf8 = new TextEncoder()
const text = new TextDecoder()

const ivSize = 12

// -----------------------------------------------------------------------------
// with cookie placement: among the data
// -----------------------------------------------------------------------------

const isObject = (json: Json | undefined): json is { readonly [key: string]: Json } =>
  typeof json === "object" && json !== null && !Array.isArray(json)

const mapKeys = (json: Json, f: (key: string) => string | undefined): Json =>
  isObject(json)
    ? Object.fromEntries(
      Object.entries(json).flatMap(([key, value]) => {
        const mapped = f(key)
        return mapped === undefined ? [] : [[mapped, value]]
      })
    )
    : json

const isInfo = (key: string): boolean => key.startsWith("@")

/** The data of an entry that a cookie holds, without the info among them. */
export const dataIn = (json: Json): Json =>
  isObject(json) && Object.keys(json).some(isSpecial)
    ? mapKeys(json, (key) => isInfo(key) ? undefined : isSpecial(key) ? key.slice(1) : key)
    : json

/** Info, or a name of the data's own that had to make room for it. */
const isSpecial = (key: string): boolean => /^\$*@/.test(key)

/** Data as a cookie holds them, with the info that the entry had before. */
export const withData = (before: Json | undefined, data: Json): Json => {
  const escaped = mapKeys(data, (key) => isSpecial(key) ? `$${key}` : key)
  if (!isObject(escaped) || !isObject(before)) return escaped
  return { ...escaped, ...Object.fromEntries(Object.entries(before).filter(([key]) => isInfo(key))) }
}

// -----------------------------------------------------------------------------
// sealed, for a store of our own
// -----------------------------------------------------------------------------

const nameOf = ({ audience, key }: InfoChange): string => JSON.stringify([audience, key])

/** What a store gets instead of names and values, and back. */
interface Sealing {
  readonly name: (change: InfoChange) => Effect.Effect<string>
  readonly value: (change: InfoChange, name: string) => Effect.Effect<Uint8Array>
  /** `undefined` for what does not open: it is not this session's. */
  readonly open: (info: Info) => Effect.Effect<InfoChange | undefined>
}

const sealed = Effect.fnUntraced(function*(crypto: Crypto["Service"], infoKey: Redacted.Redacted<Uint8Array>) {
  const derive = crypto.hkdf(Redacted.value(infoKey))
  const nameKey = yield* derive(utf8.encode("name"), 32)
  const valueKey = yield* derive(utf8.encode("value"), 32)
  const sealing: Sealing = {
    name: (change) => Effect.map(crypto.mac(nameKey, utf8.encode(nameOf(change))), Base64Url.encode),
    value: Effect.fnUntraced(function*(change, name) {
      const iv = yield* crypto.randomBytes(ivSize)
      const plaintext = utf8.encode(JSON.stringify([change.audience, change.key, change.value]))
      const ciphertext = yield* crypto.encrypt(valueKey, iv, plaintext, utf8.encode(name))
      const bytes = new Uint8Array(ivSize + ciphertext.length)
      bytes.set(iv)
      bytes.set(ciphertext, ivSize)
      return bytes
    }),
    open: ({ name, value }) =>
      Effect.map(
        crypto.decrypt(valueKey, value.subarray(0, ivSize), value.subarray(ivSize), utf8.encode(name)),
        (plaintext) => {
          if (plaintext === undefined) return undefined
          // It is authentic, and so what `value` above has written.
          const [audience, key, json] = JSON.parse(text.decode(plaintext)) as [string, string, Json]
          return { audience, key, value: json }
        }
      )
  }
  return sealing
})

// -----------------------------------------------------------------------------
// in clear, as the references keep it
// -----------------------------------------------------------------------------

const parse = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

const inClear: Sealing = {
  name: (change) => Effect.succeed(nameOf(change)),
  value: ({ value }) => Effect.succeed(utf8.encode(JSON.stringify(value))),
  open: ({ name, value }) => {
    const named = parse(name)
    const json = parse(text.decode(value))
    if (!Array.isArray(named) || json === undefined) return Effect.undefined
    const [audience, key]: ReadonlyArray<unknown> = named
    return Effect.succeed(
      // What `JSON.parse` returns is JSON, although its type does not say so.
      typeof audience === "string" && typeof key === "string" ? { audience, key, value: json as Json } : undefined
    )
  }
}

const sealingOf = (self: Exchange, layout: "Own" | "Reference"): Effect.Effect<Sealing | undefined> => {
  if (layout === "Reference") return Effect.succeed(inClear)
  const infoKey = self.opened?.infoKey
  return infoKey === undefined ? Effect.undefined : sealed(self.engine.crypto, infoKey)
}

// -----------------------------------------------------------------------------
// requests
// -----------------------------------------------------------------------------

/** The session as a store may look for it; `undefined` where it has not been stored. */
export const located = (self: Exchange): Effect.Effect<Located | undefined> => {
  const { live, opened, remember } = self
  const handle = opened?.handle
  if (handle === undefined) return Effect.undefined
  const keyOf = (version: typeof live) =>
    version === undefined ? Effect.undefined : self.engine.storageKey(version.presented)
  return Effect.zipWith(keyOf(live), keyOf(remember), (key, rememberKey) => ({ handle, key, rememberKey }))
}

const load = Effect.fnUntraced(function*(self: Exchange, port: Port, layout: "Own" | "Reference") {
  const at = yield* located(self)
  const sealing = yield* sealingOf(self, layout)
  if (at === undefined || sealing === undefined) return []
  const rows = yield* bounded(self, "loadInfo", port.loadInfo(at, yield* seconds))
  const opened = yield* Effect.forEach(rows, sealing.open)
  return opened.filter((info) => info !== undefined)
})

const same = (audience: string, key: string) => (info: InfoChange): boolean =>
  info.audience === audience && info.key === key

const loaded: (self: Exchange) => Effect.Effect<ReadonlyArray<InfoChange>, SessionError> = Effect.fnUntraced(
  function*(self) {
    const { placement } = self.engine
    if (placement._tag === "Cookie") return []
    self.info ??= yield* load(self, placement.port, placement.layout)
    return self.info
  }
)

/** A value of the session's info, with the changes of this request. */
export const get: (
  self: Exchange,
  audience: string,
  key: string
) => Effect.Effect<Json | undefined, SessionError> = Effect.fnUntraced(function*(self, audience, key) {
  self.accessed = true
  yield* open(self)
  if (self.engine.placement._tag === "Cookie") {
    const data = self.working.find((entry) => entry.audience === audience)?.data
    return isObject(data) ? Object.entries(data).find(([name]) => name === `@${key}`)?.[1] : undefined
  }
  const changed = self.infoChanges.findLast(same(audience, key))
  return changed === undefined ? (yield* loaded(self)).find(same(audience, key))?.value : changed.value
})

/** Records a change of the session's info; `undefined` removes the value. */
export const set = (
  self: Exchange,
  session: string,
  change: InfoChange
): Effect.Effect<void, SessionError> =>
  self.engine.placement._tag === "Cookie" ? setInCookie(self, session, change) : setBeside(self, change)

const setInCookie = (
  self: Exchange,
  session: string,
  { audience, key, value }: InfoChange
): Effect.Effect<void, SessionError> =>
  modify(self, {
    audience,
    kind: "Data",
    apply: (entry) => {
      const { data, subject } = entry ?? { data: {}, subject: self.engine.settings.subject }
      if (!isObject(data)) {
        const cause = new Error("With cookie placement only sessions whose data are an object can hold info")
        return fail(new InvalidData({ session, cause }))
      }
      const others = Object.entries(data).filter(([name]) => name !== `@${key}`)
      const entries = value === undefined ? others : [...others, [`@${key}`, value] as const]
      return Effect.succeed({ audience, subject, data: Object.fromEntries(entries) })
    }
  })

const setBeside = Effect.fnUntraced(function*(self: Exchange, change: InfoChange) {
  const { audience } = change
  // Info belongs to a session: where there is none yet, it makes one.
  yield* open(self)
  if (!self.working.some((entry) => entry.audience === audience)) {
    if (change.value === undefined) return
    yield* modify(self, {
      audience,
      kind: "Data",
      apply: (entry) => Effect.succeed(entry ?? { audience, data: {}, subject: self.engine.settings.subject })
    })
  }
  yield* record(self, () =>
    Effect.sync(() => {
      self.infoChanges = [...self.infoChanges, change]
      self.keepsInfo = true
      // A version that was made when nobody kept info has no key for it: this once, there is a new one.
      if (!hasKey(self)) self.intent = { ...self.intent, changed: true }
    }))
})

const hasKey = (self: Exchange): boolean =>
  self.engine.placement._tag === "Server" &&
  (self.engine.placement.layout === "Reference" || self.opened?.infoKey !== undefined)

/** Removes the info of an audience that is logged out. */
export const clear: (self: Exchange, audience: string) => Effect.Effect<void, SessionError> = Effect.fnUntraced(
  function*(self, audience) {
    yield* open(self)
    const ofAudience = (info: InfoChange): boolean => info.audience === audience
    const removed = (yield* loaded(self)).filter(ofAudience).map(({ key }) => ({ audience, key, value: undefined }))
    const left = [...self.infoChanges.filter((change) => !ofAudience(change)), ...removed]
    self.infoChanges = left.length === 0 ? noInfo : left
  }
)

/** Carries out what was recorded, for a session that the store holds; false if it has ended. */
export const save = Effect.fnUntraced(function*(self: Exchange, port: Port, layout: "Own" | "Reference", now: number) {
  const at = yield* located(self)
  const sealing = yield* sealingOf(self, layout)
  // A session that this request did not bring into being has no info.
  if (at === undefined || sealing === undefined) return true
  const latest = new Map<string, InfoChange>()
  for (const change of self.infoChanges) latest.set(yield* sealing.name(change), change)
  const set: Array<Info> = []
  const remove: Array<string> = []
  for (const [name, change] of latest) {
    if (change.value === undefined) remove.push(name)
    else set.push({ name, value: yield* sealing.value(change, name) })
  }
  return (yield* port.saveInfo(at, { set, remove }, now)) === "Saved"
})
