/** What a store keeps of a session, and what each write makes of it: pure functions, for a store of any kind. */
import type { Content, Current, Info, Port, Superseded, Version } from "../../src/SessionStore.ts"

type Cookie = "session" | "remember"
type Kept = Current & { readonly cookie: Cookie; readonly key: string; readonly deadline: number }
type Replaced = Superseded & { readonly cookie: Cookie; readonly key: string }

export interface Row {
  readonly handle: string
  readonly createdAt: number
  readonly lastSeenAt: number
  readonly index: Version["index"]
  readonly session: Kept
  readonly remember: Kept | undefined
  /** Of both cookies, oldest first. */
  readonly superseded: ReadonlyArray<Replaced>
  readonly info: ReadonlyArray<Info>
}

export const text = (key: Uint8Array): string => Buffer.from(key).toString("hex")

const versions = ({ remember, session, superseded }: Row): ReadonlyArray<Kept | Replaced> => [
  session,
  ...(remember ? [remember] : []),
  ...superseded
]

export const keys = (row: Row): ReadonlyArray<string> => versions(row).map(({ key }) => key)

export const deadline = ({ remember, session }: Row): number => Math.max(session.deadline, remember?.deadline ?? 0)

/** The version with this key, if its cookie has not expired. */
export const find = (row: Row, cookie: Cookie, key: string, now: number): Kept | Replaced | undefined =>
  now <= (row[cookie]?.deadline ?? -1)
    ? versions(row).find((version) => version.cookie === cookie && version.key === key)
    : undefined

const keep = (cookie: Cookie, handle: string, { data, deadline, key }: Content, seen: boolean): Kept => (
  { _tag: "Current", cookie, handle, key: text(key), data, deadline, seen }
)

/** What is left of a version that has a successor: not its data. */
const end = (version: Kept | undefined, successor: Uint8Array | undefined): ReadonlyArray<Replaced> => {
  if (version === undefined || successor === undefined) return []
  const { cookie, handle, key } = version
  return [{ _tag: "Superseded", cookie, handle, key, successor, graceEnds: undefined }]
}

const before = (row: Row, successor: Uint8Array | undefined): ReadonlyArray<Replaced> => successor ? row.superseded : []

/** What waited for its successor to be presented does so no longer. */
const noted = (superseded: Row["superseded"], seen: number | undefined, now: number): Row["superseded"] =>
  seen === undefined
    ? superseded
    : superseded.map((version) => version.graceEnds === undefined ? { ...version, graceEnds: now + seen } : version)

const put = (
  row: Omit<Row, "index" | "lastSeenAt" | "session">,
  version: Version,
  seen: boolean,
  now: number
): Row => ({
  ...row,
  lastSeenAt: now,
  index: version.index,
  session: keep("session", row.handle, version, seen),
  remember: version.remember ? keep("remember", row.handle, version.remember, true) : row.remember
})

export const create = (version: Parameters<Port["create"]>[0], now: number): Row => {
  const { createdAt, handle } = version
  return put({ handle, createdAt, remember: undefined, superseded: [], info: [] }, version, true, now)
}

/** Without a successor, nothing that was leads to what is, but a remember cookie that is replaced by name. */
export const supersede = (row: Row, version: Version, successor: Uint8Array | undefined, now: number): Row => {
  const replaces = version.remember?.replaces
  const named = replaces && text(replaces.key) === row.remember?.key ? replaces.successor : undefined
  return {
    ...put(successor ? row : { ...row, remember: undefined }, version, successor === undefined, now),
    superseded: [
      ...noted(before(row, successor), version.seen, now),
      ...end(row.session, successor),
      ...end(row.remember, named)
    ].slice(-32)
  }
}

export const rescue = (
  row: Row,
  version: Parameters<Port["rescue"]>[1],
  successor: Uint8Array | undefined,
  now: number
): Row => ({
  ...put(row, version, successor === undefined, now),
  createdAt: version.createdAt,
  superseded: [...before(row, successor), ...end(row.remember, successor)].slice(-32)
})

export const touch = (row: Row, { deadline, seen }: Parameters<Port["touch"]>[1], now: number): Row => ({
  ...row,
  lastSeenAt: now,
  session: {
    ...row.session,
    deadline: deadline ?? row.session.deadline,
    seen: row.session.seen || seen !== undefined
  },
  superseded: noted(row.superseded, seen, now)
})

export const changeInfo = (row: Row, { remove, set }: Parameters<Port["saveInfo"]>[1]): Row => {
  const changed = new Set([...remove, ...set.map(({ name }) => name)])
  return { ...row, info: [...row.info.filter(({ name }) => !changed.has(name)), ...set] }
}
