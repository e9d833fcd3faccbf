/**
 * What lua-resty-session keeps in a row's column: a JSON array of the payload, and of
 * the info if there is any, both base64url.
 */
import type { Json } from "../SessionState.ts"
import type { Info } from "../SessionStore.ts"
import * as Base64Url from "./base64url.ts"

const utf8 = new TextEncoder()
const text = new TextDecoder()

export const spell = (value: string): string => Base64Url.encode(utf8.encode(value))

const parse = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}

const elements = (data: string): ReadonlyArray<unknown> => {
  const parsed = parse(data)
  return Array.isArray(parsed) ? parsed : []
}

/** The sealed payload, or `undefined` where the column holds something else. */
export const payloadOf = (data: string): Uint8Array | undefined => {
  const [payload] = elements(data)
  return typeof payload === "string" ? Base64Url.decode(payload) : undefined
}

/** Of each audience, keys and values. Maps, because names are somebody else's: `__proto__` is one too. */
type Store = Map<string, Map<string, Json>>

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** The info of a row, or `undefined` where there is something else in its place. */
const storeOf = (data: string): Store | undefined => {
  const [, info] = elements(data)
  if (info === undefined) return new Map()
  const bytes = typeof info === "string" ? Base64Url.decode(info) : undefined
  const audiences = bytes && parse(text.decode(bytes))
  if (!isObject(audiences)) return undefined
  const store: Store = new Map()
  for (const [audience, values] of Object.entries(audiences)) {
    if (!isObject(values)) return undefined
    // What `JSON.parse` returns is JSON, although its type does not say so.
    store.set(audience, new Map(Object.entries(values) as Array<[string, Json]>))
  }
  return store
}

/** The info of a row, each value with its name, or `undefined` where there is something else in its place. */
export const infoOf = (data: string): ReadonlyArray<Info> | undefined => {
  const store = storeOf(data)
  return store && Array.from(store, ([audience, values]) =>
    Array.from(values, ([key, value]): Info => ({
      name: JSON.stringify([audience, key]),
      value: utf8.encode(JSON.stringify(value))
    }))).flat()
}

/** Of a name as the port has it. */
const named = (name: string): readonly [audience: string, key: string] | undefined => {
  const [audience, key] = elements(name)
  return typeof audience === "string" && typeof key === "string" ? [audience, key] : undefined
}

export interface InfoChanges {
  readonly set: ReadonlyArray<Info>
  /** Names. */
  readonly remove: ReadonlyArray<string>
}

/** A row's column with other info, or `undefined` where the column or a change is not what it should be. */
export const withInfo = (data: string, { remove, set }: InfoChanges): string | undefined => {
  const [payload] = elements(data)
  const store = storeOf(data)
  if (typeof payload !== "string" || store === undefined) return undefined
  for (const name of remove) {
    const [audience, key] = named(name) ?? []
    if (audience === undefined || key === undefined) return undefined
    store.get(audience)?.delete(key)
  }
  for (const { name, value } of set) {
    const [audience, key] = named(name) ?? []
    const json = parse(text.decode(value))
    if (audience === undefined || key === undefined || json === undefined) return undefined
    const values = store.get(audience) ?? new Map<string, Json>()
    store.set(audience, values.set(key, json as Json))
  }
  const kept = Array.from(store).filter(([, values]) => values.size > 0)
  const info = Object.fromEntries(kept.map(([audience, values]) => [audience, Object.fromEntries(values)]))
  return JSON.stringify(kept.length === 0 ? [payload] : [payload, spell(JSON.stringify(info))])
}
