/** The port in the memory of one process: the model that other stores are measured against. */
import { Effect } from "effect"
import { SessionError, StoreFailed } from "../SessionError.ts"
import type { IndexEntry, Port, Superseded, Version } from "../SessionStore.ts"

/** Superseded versions that are remembered of each session; one more, and the oldest is forgotten. */
const maxSuperseded = 32

/** More than the one row that a create adds, so that removing the expired keeps up with any rate of creation. */
const examinedPerCreate = 2

/**
 * A place in the circle of rows, which has them in the order in which they were
 * last seen. A `Map` has an order too, but to find its first entry is to walk over
 * those deleted in front of it, and an iterator that waits there keeps every table
 * alive that the map has outgrown.
 */
interface Link {
  older: Link
  newer: Link
}

/** What a new version replaces. */
interface Content {
  key: string
  data: Uint8Array
  deadline: number
  lastSeenAt: number
}

interface Row extends Content, Link {
  readonly handle: string
  readonly createdAt: number
  seen: boolean
  index: ReadonlyArray<string>
  /** Oldest first. */
  superseded: ReadonlyArray<Replaced>
}

interface Replaced {
  readonly key: string
  readonly successor: Uint8Array
  readonly graceEnds: number | undefined
}

const done = { _tag: "Done" } as const
const gone = { _tag: "Gone" } as const

// `apply` takes whatever has a length and indices, but is typed for arrays; spreading is six times slower.
const keyText = (key: Uint8Array): string =>
  String.fromCharCode.apply(undefined, key as ArrayLike<number> as Array<number>)

// The length tells ("a", "bc") from ("ab", "c").
const entryText = ({ audience, subject }: IndexEntry): string => `${audience.length}:${audience}${subject}`

// The caller's bytes may be a view of a buffer that is used again or wiped. Not `slice`: a Buffer's does not copy.
const copy = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes)

const toContent = (version: Version, now: number): Content => ({
  key: keyText(version.key),
  data: copy(version.data),
  deadline: version.deadline,
  lastSeenAt: now
})

const findSuperseded = (row: Row | undefined, key: string): Superseded | undefined => {
  const found = row?.superseded.find((version) => version.key === key)
  return row && found &&
    { _tag: "Superseded", handle: row.handle, successor: found.successor, graceEnds: found.graceEnds }
}

const keyInUse = Effect.fail(
  new SessionError({
    reason: new StoreFailed({ operation: "supersede", cause: new Error("The key of the new version is in use") })
  })
)

/**
 * An empty store for at most `maxSessions`, an integer of at least 1. Each
 * operation is one synchronous step, and so atomic; maps find everything, and no
 * operation walks over all sessions.
 */
export const make = (maxSessions: number): Port => {
  const byHandle = new Map<string, Row>()
  /** By the key of the current version, and by those of the superseded. */
  const byKey = new Map<string, Row>()
  const byEntry = new Map<string, Set<Row>>()
  /**
   * An endless round over all rows, in order of creation: no touch moves a row out of
   * its way. Every create moves it on, and so away from outgrown tables.
   */
  let round = byHandle.values()

  // Joins the newest row to the oldest. The links to itself can only be made once it is there.
  const ends = {} as Link
  ends.older = ends
  ends.newer = ends

  const linkAsNewest = (row: Row): void => {
    row.older = ends.older
    row.newer = ends
    ends.older.newer = row
    ends.older = row
  }

  const unlink = (row: Row): void => {
    row.older.newer = row.newer
    row.newer.older = row.older
  }

  const saw = (row: Row): void => {
    unlink(row)
    linkAsNewest(row)
  }

  // An entry that stays is left alone: to delete and set it again would leave one more dead entry in the map each time,
  // and a search for it walks over them all.
  const setIndex = (row: Row, index: ReadonlyArray<string>): void => {
    for (const entry of index) {
      const rows = byEntry.get(entry)
      if (rows === undefined) byEntry.set(entry, new Set([row]))
      else rows.add(row)
    }
    for (const entry of row.index.filter((entry) => !index.includes(entry))) {
      const rows = byEntry.get(entry)
      rows?.delete(row)
      if (rows?.size === 0) byEntry.delete(entry)
    }
    row.index = index
  }

  const remove = (row: Row): void => {
    byHandle.delete(row.handle)
    byKey.delete(row.key)
    for (const { key } of row.superseded) byKey.delete(key)
    setIndex(row, [])
    unlink(row)
  }

  const living = (row: Row | undefined, now: number): Row | undefined => {
    if (row === undefined || now <= row.deadline) return row
    remove(row)
    return undefined
  }

  const removeSomeExpired = (now: number): void => {
    for (let examined = 0; examined < examinedPerCreate; examined++) {
      const next = round.next()
      if (next.done) round = byHandle.values()
      else living(next.value, now)
    }
  }

  const rowsOf = (audience: string, subjects: ReadonlyArray<string>): ReadonlyArray<Row> => [
    ...new Set(subjects.flatMap((subject) => [...byEntry.get(entryText({ audience, subject })) ?? []]))
  ]

  return {
    load: (key, now) =>
      Effect.sync(() => {
        const text = keyText(key)
        const row = living(byKey.get(text), now)
        return row?.key === text
          ? { _tag: "Current", handle: row.handle, data: row.data, seen: row.seen }
          : findSuperseded(row, text)
      }),

    create: (version, now) =>
      Effect.sync(() => {
        const { createdAt, handle } = version
        const content = toContent(version, now)
        if (living(byHandle.get(handle), now) ?? living(byKey.get(content.key), now)) return "Collision"
        removeSomeExpired(now)
        const row: Row = {
          handle,
          createdAt,
          ...content,
          seen: true,
          index: [],
          superseded: [],
          older: ends,
          newer: ends
        }
        byHandle.set(handle, row)
        byKey.set(row.key, row)
        setIndex(row, version.index.map(entryText))
        linkAsNewest(row)
        // Next to the ends is a row, since there are rows.
        if (byHandle.size > maxSessions) remove(ends.newer as Row)
        return "Created"
      }),

    supersede: (old, version, successor, now) =>
      Effect.suspend((): ReturnType<Port["supersede"]> => {
        const oldKey = keyText(old)
        const row = living(byKey.get(oldKey), now)
        if (row?.key !== oldKey) return Effect.succeed(findSuperseded(row, oldKey) ?? gone)
        const content = toContent(version, now)
        if (living(byKey.get(content.key), now) !== undefined) return keyInUse
        const kept = successor === undefined ? [] : [
          ...row.superseded.slice(1 - maxSuperseded),
          { key: oldKey, successor: copy(successor), graceEnds: undefined }
        ]
        const replaced = [...row.superseded, row]
        for (const { key } of replaced.slice(0, replaced.length - kept.length)) byKey.delete(key)
        Object.assign(row, content, { seen: successor === undefined, superseded: kept })
        byKey.set(row.key, row)
        setIndex(row, version.index.map(entryText))
        saw(row)
        return Effect.succeed(done)
      }),

    touch: (key, { deadline, seen }, now) =>
      Effect.sync(() => {
        const text = keyText(key)
        const row = living(byKey.get(text), now)
        if (row?.key !== text) return findSuperseded(row, text) ?? gone
        if (deadline !== undefined) row.deadline = deadline
        if (seen !== undefined) {
          row.seen = true
          row.superseded = row.superseded.map((version) =>
            version.graceEnds === undefined ? { ...version, graceEnds: now + seen } : version
          )
        }
        row.lastSeenAt = now
        saw(row)
        return done
      }),

    revoke: (handle) =>
      Effect.sync(() => {
        const row = byHandle.get(handle)
        if (row !== undefined) remove(row)
        return row !== undefined
      }),

    list: (audience, subjects, now) =>
      Effect.sync(() =>
        rowsOf(audience, subjects)
          .filter((row) => living(row, now) !== undefined)
          .map(({ createdAt, deadline, handle, lastSeenAt }) => ({ handle, createdAt, lastSeenAt, deadline }))
          .toSorted((one, other) => other.createdAt - one.createdAt)
      ),

    revokeAll: (audience, subjects, except) =>
      Effect.sync(() => {
        const rows = rowsOf(audience, subjects).filter(({ handle }) => handle !== except)
        rows.forEach(remove)
        return rows.length
      })
  }
}
