/** The port in the memory of one process: the model that other stores are measured against. */
import { Effect } from "effect"
import { SessionError, StoreFailed } from "../SessionError.ts"
import type { Content, IndexEntry, Port, Superseded } from "../SessionStore.ts"

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

type Cookie = "session" | "remember"

/** The current version of a cookie. */
interface Held {
  key: string
  data: Uint8Array
  deadline: number
}

/** With the session cookie's version, and the remember cookie's if there is one. */
interface Row extends Held, Link {
  readonly handle: string
  createdAt: number
  lastSeenAt: number
  seen: boolean
  remember: Held | undefined
  index: ReadonlyArray<string>
  /** Of both cookies, oldest first. */
  superseded: ReadonlyArray<Replaced>
  info: ReadonlyMap<string, Uint8Array>
}

interface Replaced {
  readonly cookie: Cookie
  readonly key: string
  readonly successor: Uint8Array
  readonly graceEnds: number | undefined
}

/** What a write puts in place of what a row has. */
type Next = Pick<Row, "createdAt" | "data" | "deadline" | "key" | "remember" | "seen" | "superseded">

const noInfo: ReadonlyMap<string, Uint8Array> = new Map()

const done = { _tag: "Done" } as const
const gone = { _tag: "Gone" } as const

// `apply` takes whatever has a length and indices, but is typed for arrays; spreading is six times slower.
const keyText = (key: Uint8Array): string =>
  String.fromCharCode.apply(undefined, key as ArrayLike<number> as Array<number>)

// The length tells ("a", "bc") from ("ab", "c").
const entryText = ({ audience, subject }: IndexEntry): string => `${audience.length}:${audience}${subject}`

// The caller's bytes may be a view of a buffer that is used again or wiped. Not `slice`: a Buffer's does not copy.
const copy = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes)

const toHeld = ({ data, deadline, key }: Content): Held => ({ key: keyText(key), data: copy(data), deadline })

const replaced = (cookie: Cookie, key: string, successor: Uint8Array): Replaced => ({
  cookie,
  key,
  successor: copy(successor),
  graceEnds: undefined
})

const heldBy = (row: Row, cookie: Cookie): Held | undefined => cookie === "session" ? row : row.remember

const endOf = ({ deadline, remember }: Row): number => Math.max(deadline, remember?.deadline ?? deadline)

const findSuperseded = (row: Row | undefined, key: string): Superseded | undefined => {
  const found = row?.superseded.find((version) => version.key === key)
  return row && found &&
    { _tag: "Superseded", handle: row.handle, successor: found.successor, graceEnds: found.graceEnds }
}

const keyInUse = (operation: StoreFailed["operation"]): Effect.Effect<never, SessionError> =>
  Effect.fail(
    new SessionError({
      reason: new StoreFailed({ operation, cause: new Error("A key of the new version is in use") })
    })
  )

/** What a session's current version superseded, when somebody has presented that: who waits for it has grace. */
const noted = ({ superseded }: Row, seen: number | undefined, now: number): ReadonlyArray<Replaced> =>
  seen === undefined
    ? superseded
    : superseded.map((version) => version.graceEnds === undefined ? { ...version, graceEnds: now + seen } : version)

/**
 * An empty store for at most `maxSessions`, an integer of at least 1. Each
 * operation is one synchronous step, and so atomic; maps find everything, and no
 * operation walks over all sessions.
 */
export const make = (maxSessions: number): Port => {
  const byHandle = new Map<string, Row>()
  /** By the key of each cookie's current version, and by those of the superseded. */
  const byKey: Record<Cookie, Map<string, Row>> = { session: new Map(), remember: new Map() }
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
    byKey.session.delete(row.key)
    if (row.remember !== undefined) byKey.remember.delete(row.remember.key)
    for (const { cookie, key } of row.superseded) byKey[cookie].delete(key)
    setIndex(row, [])
    unlink(row)
  }

  const living = (row: Row | undefined, now: number): Row | undefined => {
    if (row === undefined || now <= endOf(row)) return row
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

  /** The living session that a version belongs to, if its cookie has not expired. */
  const find = (cookie: Cookie, key: string, now: number): Row | undefined => {
    const row = living(byKey[cookie].get(key), now)
    return row && now <= (heldBy(row, cookie)?.deadline ?? -1) ? row : undefined
  }

  const inUse = (key: string, now: number): boolean =>
    (living(byKey.session.get(key), now) ?? living(byKey.remember.get(key), now)) !== undefined

  const anyInUse = (held: Held, remember: Held | undefined, now: number): boolean =>
    inUse(held.key, now) || (remember !== undefined && inUse(remember.key, now))

  const put = (row: Row, next: Next, index: ReadonlyArray<IndexEntry>, now: number): void => {
    const superseded = next.superseded.slice(-maxSuperseded)
    const kept = new Set(superseded.map(({ key }) => key))
    for (const { cookie, key } of row.superseded) if (!kept.has(key)) byKey[cookie].delete(key)
    if (!kept.has(row.key)) byKey.session.delete(row.key)
    if (row.remember !== undefined && row.remember !== next.remember && !kept.has(row.remember.key)) {
      byKey.remember.delete(row.remember.key)
    }
    Object.assign(row, next, { superseded, lastSeenAt: now })
    byKey.session.set(row.key, row)
    if (row.remember !== undefined) byKey.remember.set(row.remember.key, row)
    setIndex(row, index.map(entryText))
    saw(row)
  }

  const load = (cookie: Cookie): Port["load"] => (key, now) =>
    Effect.sync(() => {
      const text = keyText(key)
      const row = find(cookie, text, now)
      const held = row && heldBy(row, cookie)
      return row && held?.key === text
        ? { _tag: "Current", handle: row.handle, data: held.data, seen: cookie === "remember" || row.seen }
        : findSuperseded(row, text)
    })

  return {
    load: load("session"),

    loadRemember: load("remember"),

    create: (version, now) =>
      Effect.sync(() => {
        const { createdAt, handle } = version
        const held = toHeld(version)
        const remember = version.remember && toHeld(version.remember)
        if (living(byHandle.get(handle), now) !== undefined || anyInUse(held, remember, now)) return "Collision"
        removeSomeExpired(now)
        const row: Row = {
          handle,
          createdAt,
          ...held,
          lastSeenAt: now,
          seen: true,
          remember,
          index: [],
          superseded: [],
          info: noInfo,
          older: ends,
          newer: ends
        }
        byHandle.set(handle, row)
        byKey.session.set(row.key, row)
        if (remember !== undefined) byKey.remember.set(remember.key, row)
        setIndex(row, version.index.map(entryText))
        linkAsNewest(row)
        // Next to the ends is a row, since there are rows.
        if (byHandle.size > maxSessions) remove(ends.newer as Row)
        return "Created"
      }),

    supersede: (old, version, successor, now) =>
      Effect.suspend((): ReturnType<Port["supersede"]> => {
        const key = keyText(old)
        const row = find("session", key, now)
        if (row?.key !== key) return Effect.succeed(findSuperseded(row, key) ?? gone)
        const held = toHeld(version)
        const remember = version.remember && toHeld(version.remember)
        if (anyInUse(held, remember, now)) return keyInUse("supersede")
        const replaces = version.remember?.replaces
        const forwards = replaces !== undefined && keyText(replaces.key) === row.remember?.key
        put(
          row,
          {
            ...held,
            createdAt: row.createdAt,
            seen: successor === undefined,
            remember: remember ?? (successor && row.remember),
            superseded: [
              ...(successor ? [...noted(row, version.seen, now), replaced("session", key, successor)] : []),
              ...(forwards ? [replaced("remember", keyText(replaces.key), replaces.successor)] : [])
            ]
          },
          version.index,
          now
        )
        return Effect.succeed(done)
      }),

    rescue: (old, version, successor, now) =>
      Effect.suspend((): ReturnType<Port["rescue"]> => {
        const key = keyText(old)
        const row = find("remember", key, now)
        if (row?.remember?.key !== key) return Effect.succeed(findSuperseded(row, key) ?? gone)
        const held = toHeld(version)
        const remember = toHeld(version.remember)
        if (anyInUse(held, remember, now)) return keyInUse("rescue")
        put(
          row,
          {
            ...held,
            createdAt: version.createdAt,
            seen: successor === undefined,
            remember,
            superseded: successor ? [...row.superseded, replaced("remember", key, successor)] : []
          },
          version.index,
          now
        )
        return Effect.succeed(done)
      }),

    touch: (key, { deadline, seen }, now) =>
      Effect.sync(() => {
        const text = keyText(key)
        const row = find("session", text, now)
        if (row?.key !== text) return findSuperseded(row, text) ?? gone
        if (deadline !== undefined) row.deadline = deadline
        if (seen !== undefined) {
          row.seen = true
          row.superseded = noted(row, seen, now)
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

    loadInfo: ({ handle }, now) =>
      Effect.sync(() =>
        Array.from(living(byHandle.get(handle), now)?.info ?? noInfo, ([name, value]) => ({ name, value }))
      ),

    saveInfo: ({ handle }, { remove, set }, now) =>
      Effect.sync(() => {
        const row = living(byHandle.get(handle), now)
        if (row === undefined) return "Gone"
        const info = new Map(row.info)
        for (const name of remove) info.delete(name)
        for (const { name, value } of set) info.set(name, copy(value))
        row.info = info
        return "Saved"
      }),

    list: (audience, subjects, now) =>
      Effect.sync(() =>
        rowsOf(audience, subjects)
          .filter((row) => living(row, now) !== undefined)
          .map((row) => ({
            handle: row.handle,
            createdAt: row.createdAt,
            lastSeenAt: row.lastSeenAt,
            deadline: endOf(row)
          }))
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
