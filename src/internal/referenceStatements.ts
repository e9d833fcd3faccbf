/**
 * What the stores in the tables of lua-resty-session and of Kong say to the
 * database. The two differ in their columns alone: a dialect names those.
 *
 * A version is a row, whose key is the cookie's, and nothing ties the rows of a
 * session together: whoever replaces a version inserts another row and leaves the old
 * one to expire soon.
 */

/** The columns of one reference. `now` and other times are parameters: unix seconds. */
export interface Dialect {
  readonly sessions: string
  readonly metadata: string
  /** Of a row: its storage key. */
  readonly key: string
  /** Of a row, an expression: what it can be ended by. */
  readonly handle: string
  readonly hasHandle: (parameter: string) => string
  readonly living: (now: string) => string
  /** Of a row, expressions: unix seconds. */
  readonly expires: string
  readonly createdAt: string
  /** Assignments that let a row expire then, if it would later. */
  readonly lower: (at: string) => string
  /** Inserts what `new` holds; `data` is the expression for its column. */
  readonly insert: (data: string) => string
  /** Of what was inserted, for `insertMetadata`. */
  readonly inserted: string
  /** Inserts an `entry` for what was `made`. */
  readonly insertMetadata: string
  /** Of the metadata: the key of the row, audience and subject. */
  readonly listed: { readonly key: string; readonly audience: string; readonly subject: string }
  /** What every statement that inserts rows answers. */
  readonly answer: string
}

type Name =
  | "create"
  | "replace"
  | "renew"
  | "load"
  | "lock"
  | "write"
  | "revokeKeys"
  | "revokeHandle"
  | "list"
  | "revokeAll"

export type Statements = Readonly<Record<Name, string>>

/** The new row's column: the new payload, and the info of the row that it replaces, as text. */
const dataWithInfo =
  `'["' || new.payload || '"' || coalesce(substring(previous.data from '^\\s*\\[\\s*"[^"]*"(\\s*,\\s*"[^"]*")\\s*\\]\\s*$'), '') || ']'`

export const statements = (dialect: Dialect): Statements => {
  const { hasHandle, key, listed, living, lower, metadata, sessions } = dialect

  // $1 keys, $2 names, $3 handles, $4 payloads, $5 expiries, $6 creation times, $7 audiences, $8 subjects.
  // Who waits for the lock of the old row finds it gone if a logout came first, and then nothing is inserted.
  const write = (old: string, replaced: string) => `
WITH previous AS (
  ${old}
), replaced AS (
  ${replaced}
), made AS (
  ${dialect.insert(dataWithInfo)}
  FROM previous, unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::float8[])
    AS new (key, name, handle, payload, expires, created_at)
  RETURNING ${dialect.inserted}
), listed AS (
  ${dialect.insertMetadata}
  FROM made, (SELECT DISTINCT audience, subject FROM unnest($7::text[], $8::text[]) AS entry (audience, subject)) AS entry
)
SELECT ${dialect.answer} FROM previous`

  const stale = (at: string, which: string) => `UPDATE ${sessions} SET ${lower(at)} ${which}`

  // All lock in one order, or two could wait for each other.
  const remove = (which: string, order: string) => `
DELETE FROM ${sessions} WHERE ${key} IN (
  SELECT ${key} FROM ${sessions} WHERE ${which} ORDER BY ${order} FOR UPDATE
)
RETURNING 1`

  // $1 audience, $2 subjects
  const named = `${key} IN (SELECT ${listed.key} FROM ${metadata}
WHERE ${listed.audience} = $1::text AND ${listed.subject} = ANY ($2::text[]))`

  return {
    // $9 replaced remember key or NULL, $10 when that expires
    create: write(
      `SELECT ''::text AS data`,
      stale("$10", `FROM previous WHERE ${key} = $9::text`)
    ),

    // $11 old key, $12 now
    replace: write(
      stale("$10", `WHERE ${key} = $11::text AND ${living("$12")} RETURNING data`),
      stale("$10", `FROM previous WHERE ${key} = $9::text`)
    ),

    // $9 replaced remember key or NULL, $10 old key, $11 now
    renew: write(
      `DELETE FROM ${sessions} WHERE ${key} = $10::text AND ${living("$11")} RETURNING data`,
      `DELETE FROM ${sessions} USING previous WHERE ${key} = $9::text`
    ),

    // $1 key, $2 now
    load: `SELECT ${dialect.handle} AS handle, data FROM ${sessions} WHERE ${key} = $1::text AND ${living("$2")}`,

    // $1 keys, $2 now
    lock: `SELECT ${key} AS key, data FROM ${sessions} WHERE ${key} = ANY ($1::text[]) AND ${living("$2")}
ORDER BY array_position($1::text[], ${key}) FOR UPDATE`,

    // $1 keys, $2 columns
    write: `UPDATE ${sessions} SET data = changed.data
FROM unnest($1::text[], $2::text[]) AS changed (key, data) WHERE ${key} = changed.key`,

    // $1 keys
    revokeKeys: remove(`${key} = ANY ($1::text[])`, `array_position($1::text[], ${key})`),

    // $1 handle
    revokeHandle: `DELETE FROM ${sessions} WHERE ${hasHandle("$1")} RETURNING 1`,

    // $3 now
    list: `
SELECT ${key} AS key, ${dialect.handle} AS handle, ${dialect.createdAt} AS created_at, ${dialect.expires} AS expires
FROM ${sessions} WHERE ${named} AND ${living("$3")}
ORDER BY created_at DESC, expires DESC, key LIMIT 1000`,

    // $3 the handle to spare, or NULL
    revokeAll: remove(`${named} AND ${dialect.handle} IS DISTINCT FROM $3::text`, key)
  }
}
