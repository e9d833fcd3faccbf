/**
 * A store of one's own, to copy: sessions in the files of a directory. `row.ts` says what a write makes of a session,
 * and `documents.ts` keeps it; for another database, that is the file to write again.
 */
import { Effect } from "effect"
import { SessionError, StoreFailed } from "../src/SessionError.ts"
import * as SessionStore from "../src/SessionStore.ts"
import * as Documents from "./custom-store/documents.ts"
import * as Row from "./custom-store/row.ts"

const make = (rows: Documents.Documents<Row.Row>): SessionStore.Port => {
  const write = <A>(operation: StoreFailed["operation"], decide: () => Documents.Decision<Row.Row, A>) =>
    Effect.mapError(rows.write(decide), (cause) => new SessionError({ reason: new StoreFailed({ operation, cause }) }))

  const load = (cookie: "session" | "remember", key: Uint8Array, now: number) => {
    const row = rows.byKey(Row.text(key))
    return { row, version: row && Row.find(row, cookie, Row.text(key), now) }
  }

  /** Puts the next row in place of the one whose version is current; or says what stands there. */
  const replace = (
    next: (row: Row.Row) => Row.Row,
    ...of: Parameters<typeof load>
  ): Documents.Decision<Row.Row, { readonly _tag: "Done" | "Gone" } | SessionStore.Superseded> => {
    const { row, version } = load(...of)
    if (!row || !version) return { answer: { _tag: "Gone" } }
    return version._tag === "Superseded" ? { answer: version } : { answer: { _tag: "Done" }, put: next(row) }
  }

  const living = (handle: string, now: number): Row.Row | undefined => {
    const row = rows.byName(handle)
    return row && now <= Row.deadline(row) ? row : undefined
  }

  const under = (audience: string, subjects: ReadonlyArray<string>): ReadonlyArray<Row.Row> =>
    rows.all().filter(({ index }) => index.some((at) => at.audience === audience && subjects.includes(at.subject)))

  return {
    load: (key, now) => Effect.sync(() => load("session", key, now).version),
    loadRemember: (key, now) => Effect.sync(() => load("remember", key, now).version),
    create: (version, now) =>
      write("create", () => {
        const row = Row.create(version, now)
        return rows.byName(row.handle) || Row.keys(row).some(rows.byKey)
          ? { answer: "Collision" }
          : { answer: "Created", put: row, remove: rows.all().filter((other) => now > Row.deadline(other)) }
      }),
    supersede: (old, version, successor, now) =>
      write("supersede", () => replace((row) => Row.supersede(row, version, successor, now), "session", old, now)),
    rescue: (old, version, successor, now) =>
      write("rescue", () => replace((row) => Row.rescue(row, version, successor, now), "remember", old, now)),
    touch: (key, touch, now) => write("touch", () => replace((row) => Row.touch(row, touch, now), "session", key, now)),
    revoke: (handle) =>
      write("revoke", () => {
        const row = rows.byName(handle)
        return { answer: row !== undefined, remove: row ? [row] : [] }
      }),
    loadInfo: ({ handle }, now) => Effect.sync(() => living(handle, now)?.info ?? []),
    saveInfo: ({ handle }, changes, now) =>
      write("saveInfo", () => {
        const row = living(handle, now)
        return row ? { answer: "Saved", put: Row.changeInfo(row, changes) } : { answer: "Gone" }
      }),
    list: (audience, subjects, now) =>
      Effect.sync(() =>
        under(audience, subjects)
          .filter(({ handle }) => living(handle, now))
          .map((row) => ({
            handle: row.handle,
            createdAt: row.createdAt,
            lastSeenAt: row.lastSeenAt,
            deadline: Row.deadline(row)
          }))
          .toSorted((one, other) => other.createdAt - one.createdAt)
      ),
    revokeAll: (audience, subjects, except) =>
      write("revokeAll", () => {
        const doomed = under(audience, subjects).filter(({ handle }) => handle !== except)
        return { answer: doomed.length, remove: doomed }
      })
  }
}

export const layer = (directory: string) =>
  SessionStore.layerPort(
    Effect.map(Documents.open({ directory, nameOf: ({ handle }: Row.Row) => handle, keysOf: Row.keys }), make)
  )
