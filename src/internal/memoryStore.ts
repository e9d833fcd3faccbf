/**
 * The store's port in memory. Each operation is one synchronous step, and so
 * atomic; maps find everything, and no operation walks over all sessions.
 */
import { Effect } from "effect"
import { SessionError, StoreFailed } from "../SessionError.ts"
import type { IndexEntry, Listed, Port, Superseded, Version } from "../SessionStore.ts"

/** Superseded versions remembered for each session; past it the oldest is forgotten. */
export const maxSuperseded = 32

/** More than the one row that a create adds, so that the removal of expired rows keeps up with any rate of creation. */
const examinedPerCreate = 2

/**
 * A place in the circle of rows in the order in which they were last seen. A
 * `Map` has an order too, but the search for its first entry walks over all that
 * were deleted before it, and an iterator kept at that place would keep every
 * outgrown table of the map alive.
 */
interface Link {
  older: Link
  newer: Link
}

interface Row extends Link {
  readonly handle: string
  readonly createdAt: number
  lastSeenAt: number
  deadline: number
  key: string
  data: Uint8Array
  seen: boolean
  index: ReadonlyArray<string>
  /** Oldest first. */
  superseded: ReadonlyArray<{ readonly key: string; readonly record: Superseded }>
}

const done = { _tag: "Done" } as const
const gone = { _tag: "Gone" } as const

// `apply` takes any list of numbers at runtime, its type wants an array; spreading is six times slower.
const keyText = (key: Uint8Array): string => String.fromCharCode.apply(undefined, key as unknown as Array<number>)

// The length tells ("a", "bc") from ("ab", "c").
const entryText = (audience: string, subject: string): string => `${audience.length}:${audience}${subject}`

const indexText = (index: ReadonlyArray<IndexEntry>): ReadonlyArray<string> =>
  index.map(({ audience, subject }) => entryText(audience, subject))

// The caller's bytes may be a view of a buffer that is reused or wiped. Not `slice`: that of a `Buffer` does not copy.
const copy = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes)

const supersededRecord = (row: Row | undefined, key: string): Superseded | undefined =>
  row?.superseded.find((version) => version.key === key)?.record

const toListed = ({ createdAt, deadline, handle, lastSeenAt }: Row): Listed => ({
  handle,
  createdAt,
  lastSeenAt,
  deadline
})

const keyInUse = Effect.fail(
  new SessionError({
    reason: new StoreFailed({ operation: "supersede", cause: new Error("The key of the new version is in use") })
  })
)

/** An empty store that holds at most `maxSessions` (an integer of at least 1). */
export const make = (maxSessions: number): Port => {
  const byHandle = new Map<string, Row>()
  /** By the keys of current and superseded versions. */
  const byKey = new Map<string, Row>()
  const byEntry = new Map<string, Set<Row>>()

  // A circle through this one link has no ends to tell apart; that it links to itself cannot be said in one expression.
  const ends = {} as Link
  ends.older = ends.newer = ends

  let hand = byHandle.values()

  const unlink = (row: Row): void => {
    row.older.newer = row.newer
    row.newer.older = row.older
  }

  const linkAsNewest = (row: Row): void => {
    row.older = ends.older
    row.newer = ends
    ends.older.newer = row
    ends.older = row
  }

  const setIndex = (row: Row, index: ReadonlyArray<string>): void => {
    for (const entry of row.index) {
      const rows = byEntry.get(entry)
      rows?.delete(row)
      if (rows?.size === 0) byEntry.delete(entry)
    }
    for (const entry of index) {
      const rows = byEntry.get(entry)
      if (rows === undefined) byEntry.set(entry, new Set([row]))
      else rows.add(row)
    }
    row.index = index
  }

  const remove = (row: Row): void => {
    byHandle.delete(row.handle)
    byKey.delete(row.key)
    row.superseded.forEach(({ key }) => byKey.delete(key))
    setIndex(row, [])
    unlink(row)
  }

  const living = (row: Row | undefined, now: number): Row | undefined => {
    if (row === undefined || now <= row.deadline) return row
    remove(row)
    return undefined
  }

  /** Examines the next few rows of an endless round over all of them. */
  const removeSomeExpired = (now: number): void => {
    for (let examined = 0; examined < examinedPerCreate; examined++) {
      const next = hand.next()
      if (next.done) hand = byHandle.values()
      else living(next.value, now)
    }
  }

  const setCurrent = (row: Row, version: Version, now: number): void => {
    row.key = keyText(version.key)
    row.data = copy(version.data)
    row.deadline = version.deadline
    row.lastSeenAt = now
    byKey.set(row.key, row)
    setIndex(row, indexText(version.index))
    linkAsNewest(row)
  }

  const subjectsRows = (audience: string, subjects: ReadonlyArray<string>): ReadonlySet<Row> =>
    new Set(subjects.flatMap((subject) => Array.from(byEntry.get(entryText(audience, subject)) ?? [])))

  return {
    load: (key, now) =>
      Effect.sync(() => {
        const text = keyText(key)
        const row = living(byKey.get(text), now)
        return row?.key === text
          ? { _tag: "Current", handle: row.handle, data: row.data, seen: row.seen }
          : supersededRecord(row, text)
      }),

    create: (version, now) =>
      Effect.sync(() => {
        const { createdAt, handle } = version
        if (living(byHandle.get(handle), now) ?? living(byKey.get(keyText(version.key)), now)) return "Collision"
        removeSomeExpired(now)
        const row: Row = {
          handle,
          createdAt,
          lastSeenAt: now,
          deadline: version.deadline,
          key: "",
          data: version.data,
          seen: true,
          index: [],
          superseded: [],
          older: ends,
          newer: ends
        }
        byHandle.set(handle, row)
        setCurrent(row, version, now)
        // More than `maxSessions` rows: what follows the ends is a row.
        if (byHandle.size > maxSessions) remove(ends.newer as Row)
        return "Created"
      }),

    supersede: (old, version, successor, now) =>
      Effect.suspend(() => {
        const oldKey = keyText(old)
        const row = living(byKey.get(oldKey), now)
        if (row?.key !== oldKey) return Effect.succeed(supersededRecord(row, oldKey) ?? gone)
        if (living(byKey.get(keyText(version.key)), now)) return keyInUse
        const kept = successor === undefined ? [] : [
          ...row.superseded.slice(1 - maxSuperseded),
          { key: oldKey, record: { _tag: "Superseded", handle: row.handle, successor: copy(successor), graceEnds: undefined } }
        ]
      })
  }
}
