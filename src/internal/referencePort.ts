/**
 * The port over the tables of lua-resty-session and of Kong: a row is one version of
 * one cookie, found by its key, and sessions are not more than that.
 */
import { Effect } from "effect"
import type { SqlClient, SqlError } from "effect/sql"
import type { Crypto } from "../Crypto.ts"
import type { Settings } from "../SessionConfig.ts"
import type { SessionError } from "../SessionError.ts"
import type { Located, Port, Version } from "../SessionStore.ts"
import * as Base64Url from "./base64url.ts"
import { failed, harmless, runner, transactor } from "./pgPort.ts"
import * as Row from "./referenceRow.ts"
import { type Dialect, statements } from "./referenceStatements.ts"

const done = { _tag: "Done" } as const
const gone = { _tag: "Gone" } as const

/** 400 days, in seconds: what browsers keep a cookie at most. */
const longest = 34_560_000

/** When a row expires whose version cannot be opened past `deadline`, in unix seconds. */
const expiry = (deadline: number, now: number): number => now + Math.max(1, Math.min(deadline - now, longest))

/** Subjects as the metadata spell them: base64url, of the subject or of half its SHA-256. */
export const subjects = (
  { hashSubject }: Settings,
  crypto: Crypto["Service"]
): (subject: string) => Effect.Effect<string> => {
  if (!hashSubject) return (subject) => Effect.succeed(Row.spell(subject))
  const utf8 = new TextEncoder()
  return (subject) => Effect.map(crypto.sha256(utf8.encode(subject)), (hash) => Base64Url.encode(hash.subarray(0, 16)))
}

const unreadable = (operation: "loadInfo" | "saveInfo"): Effect.Effect<never, SessionError> =>
  failed(operation, new Error("A row's data are not what lua-resty-session writes"))

interface LoadedRow {
  readonly handle: string
  readonly data: string
}

interface LockedRow {
  readonly key: string
  readonly data: string
}

export interface ListedRow {
  readonly key: string
  readonly handle: string
  readonly created_at: number
  readonly expires: number
}

const isUniqueViolation = (error: SessionError): boolean =>
  error.reason._tag === "StoreFailed" &&
  // The cause of what a statement failed with.
  (error.reason.cause as SqlError.SqlError).reason._tag === "UniqueViolation"

/** The keys of a request's own rows, that of the session cookie first. */
const keysOf = ({ key, rememberKey }: Located): ReadonlyArray<string> =>
  [key, rememberKey].flatMap((bytes) => bytes === undefined ? [] : [Base64Url.encode(bytes)])

/** The sessions of an audience's subject, as its metadata know them. */
export const listing = (client: SqlClient.SqlClient, dialect: Dialect) => {
  const run = runner(client)
  const text = statements(dialect)
  return (audience: string, spelled: ReadonlyArray<string>, now: number) =>
    run<ListedRow>("list", text.list, [Row.spell(audience), spelled, now], harmless)
}

export const make = (
  client: SqlClient.SqlClient,
  reads: SqlClient.SqlClient,
  dialect: Dialect,
  settings: Settings,
  crypto: Crypto["Service"]
): Port => {
  const run = runner(client)
  const read = runner(reads)
  const transact = transactor(client)
  const text = statements(dialect)
  const spellSubject = subjects(settings, crypto)
  const spellSubjects = (subjects: ReadonlyArray<string>) => Effect.forEach(subjects, spellSubject)
  const rows = listing(reads, dialect)

  /** What a save inserts, as the first parameters of its statement. */
  const inserts = (version: Version, handle: string, now: number): Effect.Effect<ReadonlyArray<unknown>> => {
    const { index, remember } = version
    const contents = remember === undefined ? [version] : [version, remember]
    const deadlines = remember === undefined ? [version.latestDeadline] : [version.latestDeadline, remember.deadline]
    return Effect.map(spellSubjects(index.map(({ subject }) => subject)), (subjects) => [
      contents.map(({ key }) => Base64Url.encode(key)),
      [settings.cookieName, settings.rememberCookieName].slice(0, contents.length),
      // A handle is the store's to make where there is none.
      [handle, ""].slice(0, contents.length),
      contents.map(({ data }) => Base64Url.encode(data)),
      deadlines.map((deadline) => expiry(deadline, now)),
      contents.map(() => now),
      index.map(({ audience }) => Row.spell(audience)),
      subjects
    ])
  }

  const replacedKey = ({ remember }: Version): string | null =>
    remember?.replaces === undefined ? null : Base64Url.encode(remember.replaces.key)

  const answer = (rows: ReadonlyArray<object>): typeof done | typeof gone => rows.length > 0 ? done : gone

  const load = (operation: "load" | "loadRemember"): Port["load"] => (key, now) =>
    Effect.map(
      read<LoadedRow>(operation, text.load, [Base64Url.encode(key), now], harmless),
      ([row]) => {
        const data = row && Row.payloadOf(row.data)
        return row && data && { _tag: "Current", handle: row.handle, data, seen: true }
      }
    )

  /** Nothing is kept of a successor: with one the old row is left to expire, without one it goes at once. */
  const replace = (
    operation: "rescue" | "supersede",
    old: Uint8Array,
    version: Version,
    successor: Uint8Array | undefined,
    replaced: string | null,
    now: number
  ) => {
    const [statement, expiry] = successor === undefined ? [text.renew, []] : [text.replace, [now + settings.staleTtl]]
    return Effect.flatMap(inserts(version, "", now), (columns) =>
      Effect.map(
        run(operation, statement, [...columns, replaced, ...expiry, Base64Url.encode(old), now]),
        answer
      ))
  }

  return {
    load: load("load"),

    loadRemember: load("loadRemember"),

    create: (version, now) =>
      Effect.flatMap(
        inserts(version, version.handle, now),
        (columns) =>
          run("create", text.create, [...columns, replacedKey(version), now + settings.staleTtl]).pipe(
            Effect.as("Created" as const),
            Effect.catchIf(isUniqueViolation, () => Effect.succeed("Collision" as const))
          )
      ),

    supersede: (old, version, successor, now) =>
      replace("supersede", old, version, successor, replacedKey(version), now),

    rescue: (old, version, successor, now) => replace("rescue", old, version, successor, null, now),

    // A row is not moved by a touch: it lives as long as the last save said.
    touch: (key, _touch, now) => Effect.map(read("touch", text.load, [Base64Url.encode(key), now], harmless), answer),

    revoke: (handle, at) => {
      const keys = at === undefined ? [] : keysOf(at)
      return Effect.map(
        keys.length > 0 ? run("revoke", text.revokeKeys, [keys]) : run("revoke", text.revokeHandle, [handle]),
        (rows) => rows.length > 0
      )
    },

    loadInfo: (at, now) => {
      const [key] = keysOf(at)
      if (key === undefined) return Effect.succeed([])
      return Effect.flatMap(read<LoadedRow>("loadInfo", text.load, [key, now], harmless), ([row]) => {
        const info = row === undefined ? [] : Row.infoOf(row.data)
        return info === undefined ? unreadable("loadInfo") : Effect.succeed(info)
      })
    },

    // The remember cookie brings the session back with its info, and so has them too.
    saveInfo: (at, changes, now) => {
      const keys = keysOf(at)
      return Effect.flatMap(
        transact("saveInfo", (sql) =>
          Effect.flatMap(sql.unsafe<LockedRow>(text.lock, [keys, now]), (rows) => {
            if (rows[0] === undefined || rows[0].key !== keys[0]) return Effect.succeed("Gone" as const)
            const columns = rows.map(({ data }) => Row.withInfo(data, changes))
            return columns.includes(undefined)
              ? Effect.succeed("Invalid" as const)
              : Effect.as(sql.unsafe(text.write, [rows.map(({ key }) => key), columns]), "Saved" as const)
          })),
        (saved) => saved === "Invalid" ? unreadable("saveInfo") : Effect.succeed(saved)
      )
    },

    list: (audience, subjects, now) =>
      Effect.flatMap(
        spellSubjects(subjects),
        (spelled) =>
          Effect.map(rows(audience, spelled, now), (rows) =>
            rows.map(({ created_at, expires, handle }) => ({
              handle,
              createdAt: created_at,
              lastSeenAt: created_at,
              deadline: expires
            })))
      ),

    revokeAll: (audience, subjects, except) =>
      Effect.flatMap(spellSubjects(subjects), (spelled) =>
        Effect.map(
          run("revokeAll", text.revokeAll, [Row.spell(audience), spelled, except ?? null]),
          (rows) => rows.length
        ))
  }
}
