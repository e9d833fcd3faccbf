/**
 * What the Postgres store says to the database: names, tables, statements.
 *
 * One row per session holds the current version of its session cookie, and of its
 * remember cookie if it has one, and changes its key with each save. So whatever ends
 * a session and whatever replaces a version meet on one row lock: the second finds no
 * row, or the new one. With a row per version, a `DELETE` that waited for a save would
 * not see the version inserted meanwhile.
 *
 * What belongs to a session goes with it, by a trigger. Its statements see what was
 * committed until then, which those of the statement that deletes a session do not:
 * a superseded version that a save added while the deletion waited would stay. A
 * foreign key would do it too, but also lock and look up the session at every save.
 *
 * Times are unix seconds: a `timestamp` would depend on a connection's TimeZone. They
 * are read as `float8`, which drivers make a number of.
 */
import type { Port } from "../SessionStore.ts"

/** The tables and whatever else has a name in the database, all under one prefix. */
export interface Names {
  readonly sessions: string
  readonly superseded: string
  readonly subjects: string
  readonly info: string
  /** The trigger and its function. */
  readonly forget: string
  /** Of the migrations. */
  readonly history: string
  /** On which the handles of revoked sessions are notified. */
  readonly channel: string
}

/** The longest name derived is 20 characters longer, and Postgres cuts off what exceeds 63. */
export const maxPrefix = 40

/** What needs no quotes, and means the same with them. */
export const validPrefix: RegExp = new RegExp(`^[a-z_][a-z0-9_]{0,${maxPrefix - 1}}$`)

export const names = (prefix: string): Names => ({
  sessions: `${prefix}_sessions`,
  superseded: `${prefix}_superseded`,
  subjects: `${prefix}_subjects`,
  info: `${prefix}_info`,
  forget: `${prefix}_forget`,
  history: `${prefix}_migrations`,
  channel: `${prefix}_ended`
})

/**
 * The first migration.
 *
 * No index has a column that a touch changes, and pages keep room for the next
 * version of their rows: a touch is a heap-only (HOT) update, which writes to no
 * index. Even a BRIN index on the deadline would be of no use: its ranges only ever
 * grow, and soon each of them holds something expired. Clean-up walks the table.
 *
 * The indexes on the keys are partial, the one over all rows too. A foreign key could
 * refer to a column with a unique index that is not, and so to change that column would
 * wait for everybody who holds on to the row, as `saveInfo` does.
 */
export const schema = ({ forget, info, sessions, subjects, superseded }: Names): ReadonlyArray<string> => [
  `CREATE TABLE ${sessions} (
  handle uuid PRIMARY KEY,
  key bytea NOT NULL,
  data bytea NOT NULL,
  created_at bigint NOT NULL,
  last_seen_at bigint NOT NULL,
  deadline bigint NOT NULL,
  seen boolean NOT NULL,
  remember_key bytea,
  remember_data bytea,
  remember_deadline bigint
) WITH (fillfactor = 80)`,
  `CREATE UNIQUE INDEX ${sessions}_key ON ${sessions} (key) WHERE key IS NOT NULL`,
  `CREATE UNIQUE INDEX ${sessions}_remember ON ${sessions} (remember_key) WHERE remember_key IS NOT NULL`,
  // Ciphertext does not compress.
  `ALTER TABLE ${sessions}
  ALTER COLUMN data SET STORAGE EXTERNAL,
  ALTER COLUMN remember_data SET STORAGE EXTERNAL`,
  `CREATE TABLE ${superseded} (
  key bytea PRIMARY KEY,
  handle uuid NOT NULL,
  successor bytea NOT NULL,
  grace_ends bigint,
  remember boolean NOT NULL
) WITH (fillfactor = 90)`,
  `CREATE INDEX ${superseded}_handle ON ${superseded} (handle)`,
  `CREATE TABLE ${subjects} (
  audience text NOT NULL,
  subject text NOT NULL,
  handle uuid NOT NULL,
  PRIMARY KEY (audience, subject, handle)
)`,
  `CREATE INDEX ${subjects}_handle ON ${subjects} (handle)`,
  `CREATE TABLE ${info} (
  handle uuid NOT NULL,
  name text NOT NULL,
  value bytea NOT NULL,
  PRIMARY KEY (handle, name)
) WITH (fillfactor = 80)`,
  `CREATE FUNCTION ${forget}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM ${superseded} WHERE handle = OLD.handle;
  DELETE FROM ${subjects} WHERE handle = OLD.handle;
  DELETE FROM ${info} WHERE handle = OLD.handle;
  RETURN NULL;
END
$$`,
  `CREATE TRIGGER ${forget} AFTER DELETE ON ${sessions} FOR EACH ROW EXECUTE FUNCTION ${forget}()`
]

/** A listing shows no more sessions than this. */
const maxListed = 1000

/** How many blocks of a table one step of the clean-up looks at. */
export const sweptBlocks = 128

/** Seconds that a superseded version is kept after its grace, so that its reuse is noticed. */
const reuseNoticed = 3600

type Text =
  | Exclude<keyof Port, "supersede">
  | "loadAll"
  | "renew"
  | "replace"
  | "replaceAll"
  | "rescueAndRenew"
  | "see"
  | "touchAll"
  | "deadlines"

type Texts = Record<Text, string> & {
  readonly sweep: Record<"sessions" | "superseded", string>
}

/**
 * Every statement, as text that never varies: a connection prepares each once.
 *
 * A write takes the lock of the session's row first and depends on what that
 * yields, so that no two can wait for each other. A write that waited for a lock
 * still reads other tables as they were when it began: what the winner left there
 * takes a second statement to see.
 */
export const statements = ({ channel, info, sessions, subjects, superseded }: Names): Texts => {
  /** When the whole session is over. Ignores what is NULL. */
  const end = "greatest(deadline, remember_deadline)"

  // $1 key, $2 now
  const load = (version: { data: string; deadline: string; key: string; seen: string; remember: boolean }) => `
SELECT handle, ${version.data} AS data, ${version.seen} AS seen, NULL::bytea AS successor, NULL::float8 AS grace_ends
FROM ${sessions} WHERE ${version.key} = $1::bytea AND ${version.deadline} >= $2::bigint
UNION ALL
SELECT handle, NULL, NULL, successor, grace_ends::float8
FROM ${superseded} AS old JOIN ${sessions} AS session USING (handle)
WHERE old.key = $1::bytea AND old.remember = ${version.remember} AND session.${version.deadline} >= $2::bigint`

  /**
   * Rows of parameters that are arrays, numbered from 1. Behind a SELECT, or a plan is made for each length of them. And
   * with a condition that always holds, of which the planner thinks that it seldom does: for few rows it uses the indexes
   * of the tables, also before these have grown and been analyzed.
   */
  const rows = (name: string, columns: Record<string, string>): string =>
    `(SELECT * FROM unnest(${
      Object.values(columns).map((parameter) => `(SELECT ${parameter})`).join(", ")
    }) WITH ORDINALITY AS given (${Object.keys(columns).join(", ")}, position) WHERE position % 1 = 0) AS ${name}`

  const keys = rows("wanted", { key: "$1::bytea[]" })

  /**
   * The living sessions of rows of parameters, with the locks of their own rows. A row that somebody has locked is passed
   * over: all the others would wait for it too, and two statements for each other.
   */
  const held = (name: string, now: string, columns: Record<string, string> & { readonly key: string }) =>
    `held AS MATERIALIZED (
  SELECT session.handle, ${name}.* FROM ${rows(name, columns)} JOIN ${sessions} AS session USING (key)
  WHERE deadline >= ${now}
  FOR NO KEY UPDATE OF session SKIP LOCKED
)`

  // In place of what the old versions were listed under.
  const reindexed = (entries: string) =>
    `entries AS (
  SELECT DISTINCT handle, audience, subject FROM ${entries}
), unlisted AS (
  DELETE FROM ${subjects} AS listed USING done
  WHERE listed.handle = done.handle
  AND (listed.handle, audience, subject) NOT IN (SELECT handle, audience, subject FROM entries)
), listed AS (
  INSERT INTO ${subjects} (audience, subject, handle) SELECT audience, subject, handle FROM entries
  ON CONFLICT DO NOTHING
)`

  // $6 audiences, $7 subjects
  const entries = "unnest($6::text[], $7::text[]) AS entry (audience, subject), done"

  // $1 old key, $2 key, $3 data, $4 deadline, $5 now, $6 audiences, $7 subjects
  // $8 remember key, $9 remember data, $10 remember deadline, $11 replaced remember key, $12 its successor, or all NULL
  // Whether that is the session's is read as it was when the statement began, and has not changed since: what changes
  // the remember key changes the key too.
  const version = (renews: boolean, chain: string) => {
    const remembered = (column: string, value: string) =>
      `${column} = ${renews ? value : `coalesce(${value}, ${column})`}`
    return `
WITH done AS (
  UPDATE ${sessions}
  SET key = $2::bytea, data = $3::bytea, deadline = $4::bigint, last_seen_at = $5::bigint, seen = ${renews},
    ${remembered("remember_key", "$8::bytea")}, ${remembered("remember_data", "$9::bytea")},
    ${remembered("remember_deadline", "$10::bigint")}
  WHERE key = $1::bytea AND key <> $2::bytea AND coalesce(remember_key <> $8::bytea, true) AND deadline >= $5::bigint
  RETURNING handle
), ${chain}, remembered AS (
  INSERT INTO ${superseded} (key, handle, successor, remember)
  SELECT $11::bytea, handle, $12::bytea, true FROM done JOIN ${sessions} USING (handle) WHERE remember_key = $11::bytea
), ${reindexed(entries)}
SELECT 1 FROM done`
  }

  // $1 old remember key, $2 key, $3 data, $4 deadline, $5 now, $6 audiences, $7 subjects
  // $8 remember key, $9 remember data, $10 remember deadline, $11 created
  // A save that was waited for may have left the remember key, but not the key. What it superseded and listed is not
  // seen here; and so no row is found, and the next attempt sees it.
  const rescue = (renews: boolean, chain: string) => `
WITH done AS (
  UPDATE ${sessions}
  SET key = $2::bytea, data = $3::bytea, deadline = $4::bigint, created_at = $11::bigint, last_seen_at = $5::bigint,
    seen = ${renews}, remember_key = $8::bytea, remember_data = $9::bytea, remember_deadline = $10::bigint
  WHERE remember_key = $1::bytea AND key = (SELECT key FROM ${sessions} WHERE remember_key = $1::bytea)
  AND key <> $2::bytea AND remember_key <> $8::bytea AND remember_deadline >= $5::bigint
  RETURNING handle
), ${chain}, ${reindexed(entries)}
SELECT 1 FROM done`

  // Where somebody has seen a version for the first time; no grace is NULL, or -1 where it comes in an array.
  const noted = (now: string, grace: string) =>
    `noted AS (
  UPDATE ${superseded} AS waiting SET grace_ends = ${now} + ${grace}
  FROM done WHERE ${grace} >= 0 AND waiting.handle = done.handle AND grace_ends IS NULL
)`

  /** What a renewal leaves of all that came before it: nothing. */
  const forgotten = `chain AS (DELETE FROM ${superseded} WHERE handle IN (SELECT handle FROM done))`

  // $1 key, $2 now, $3 deadline or NULL
  const touch = (seen: string) => `
UPDATE ${sessions} SET last_seen_at = $2::bigint, deadline = coalesce($3::bigint, deadline)${seen}
WHERE key = $1::bytea AND deadline >= $2::bigint
RETURNING handle`

  const ending = (ended: string) => `
WITH ${ended}
SELECT pg_notify('${channel}', handle::text) FROM ended`

  // $1 audience, $2 subjects
  const named = `SELECT handle FROM ${subjects} WHERE audience = $1::text AND subject = ANY ($2::text[])`

  // $1 first row, $2 row behind the last, $3 now. A statement is a transaction, and so the lock is one step's.
  const sweep = (table: string, condition: string) => `
WITH turn AS MATERIALIZED (
  SELECT pg_try_advisory_xact_lock(hashtextextended('effect-session', '${sessions}'::regclass::oid::bigint)) AS mine
), swept AS (
  DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM ${table}
    WHERE (SELECT mine FROM turn) AND ctid >= $1::tid AND ctid < $2::tid
    AND ${condition}
    FOR UPDATE SKIP LOCKED
  ))
  RETURNING 1
)
SELECT mine, (SELECT count(*) FROM swept)::float8 AS removed,
  (pg_relation_size('${table}') / current_setting('block_size')::bigint)::float8 AS blocks
FROM turn`

  return {
    load: load({ key: "key", data: "data", deadline: "deadline", seen: "seen", remember: false }),

    loadRemember: load({
      key: "remember_key",
      data: "remember_data",
      deadline: "remember_deadline",
      seen: "true",
      remember: true
    }),

    // $1 keys, $2 now
    loadAll: `
SELECT position::int, handle, data, seen, NULL::bytea AS successor, NULL::float8 AS grace_ends
FROM ${keys} JOIN ${sessions} USING (key) WHERE deadline >= $2::bigint
UNION ALL
SELECT position::int, handle, NULL, NULL, successor, grace_ends::float8
FROM ${keys} JOIN ${superseded} AS old USING (key) JOIN ${sessions} AS session USING (handle)
WHERE NOT old.remember AND session.deadline >= $2::bigint`,

    // $1 handle, $2 key, $3 data, $4 deadline, $5 created, $6 now, $7 audiences, $8 subjects
    // $9 remember key, $10 remember data, $11 remember deadline, or all NULL
    create: `
WITH made AS (
  INSERT INTO ${sessions}
    (handle, key, data, created_at, last_seen_at, deadline, seen, remember_key, remember_data, remember_deadline)
  SELECT $1::uuid, $2::bytea, $3::bytea, $5::bigint, $6::bigint, $4::bigint, true, $9::bytea, $10::bytea, $11::bigint
  WHERE NOT EXISTS (SELECT FROM ${superseded} WHERE key IN ($2::bytea, $9::bytea))
  AND NOT EXISTS (SELECT FROM ${sessions} WHERE remember_key = $2::bytea)
  AND NOT EXISTS (SELECT FROM ${sessions} WHERE key = $9::bytea)
  ON CONFLICT DO NOTHING
  RETURNING handle
), listed AS (
  INSERT INTO ${subjects} (audience, subject, handle)
  SELECT DISTINCT audience, subject, handle FROM unnest($7::text[], $8::text[]) AS entry (audience, subject), made
)
SELECT 1 FROM made`,

    // $13 successor, $14 seconds of grace or NULL. What is inserted here is not seen by the update, and waits.
    replace: version(
      false,
      `chain AS (
  INSERT INTO ${superseded} (key, handle, successor, remember) SELECT $1::bytea, handle, $13::bytea, false FROM done
), ${noted("$5::bigint", "$14::bigint")}`
    ),

    // $1 old keys, $2 keys, $3 data, $4 deadlines, $5 now, $6 successors, $7 seconds of grace or -1
    // $8 audiences, $9 subjects, $10 the numbers of the versions that are listed under them
    // What is passed over, because its row is locked or another of the batch was quicker, is `replace`d.
    replaceAll: `
WITH ${
      held("version", "$5::bigint", {
        key: "$1::bytea[]",
        next: "$2::bytea[]",
        data: "$3::bytea[]",
        until: "$4::bigint[]",
        successor: "$6::bytea[]",
        grace: "$7::bigint[]"
      })
    }, done AS (
  UPDATE ${sessions} AS session
  SET key = next, data = held.data, deadline = until, last_seen_at = $5::bigint, seen = false
  FROM held WHERE session.handle = held.handle AND session.key = held.key AND session.key <> next
  RETURNING session.handle, position, held.key AS old, successor, grace
), chain AS (
  INSERT INTO ${superseded} (key, handle, successor, remember) SELECT old, handle, successor, false FROM done
), ${noted("$5::bigint", "grace")}, ${
      reindexed(
        "unnest($8::text[], $9::text[], $10::bigint[]) AS entry (audience, subject, position) JOIN done USING (position)"
      )
    }
SELECT position::int FROM done`,

    renew: version(true, forgotten),

    // $12 successor
    rescue: rescue(
      false,
      `chain AS (
  INSERT INTO ${superseded} (key, handle, successor, remember) SELECT $1::bytea, handle, $12::bytea, true FROM done
)`
    ),

    rescueAndRenew: rescue(true, forgotten),

    touch: touch(""),

    // $4 seconds of grace
    see: `
WITH done AS (${touch(", seen = true")}), ${noted("$2::bigint", "$4::bigint")}
SELECT 1 FROM done`,

    // $1 keys, $2 now, $3 deadlines or -1, $4 seconds of grace or -1. As `replaceAll`, but several of one session are one.
    touchAll: `
WITH ${
      held("touched", "$2::bigint", {
        key: "$1::bytea[]",
        until: "$3::bigint[]",
        grace: "$4::bigint[]"
      })
    }, touched AS (
  SELECT handle, key, max(until) AS until, max(grace) AS grace FROM held GROUP BY handle, key
), done AS (
  UPDATE ${sessions} AS session SET last_seen_at = $2::bigint, seen = seen OR grace >= 0,
    deadline = CASE WHEN until < 0 THEN deadline ELSE until END
  FROM touched WHERE session.handle = touched.handle AND session.key = touched.key
  RETURNING session.handle, grace
), ${noted("$2::bigint", "grace")}
SELECT position::int FROM held JOIN done USING (handle)`,

    revoke: ending(`ended AS (DELETE FROM ${sessions} WHERE handle = $1::uuid RETURNING handle)`),

    // $1 handle, $2 now
    loadInfo: `
SELECT name, value FROM ${info} JOIN ${sessions} USING (handle) WHERE handle = $1::uuid AND ${end} >= $2::bigint`,

    // $1 handle, $2 now, $3 names, $4 values, $5 names to remove, none of $3. Nothing is written before the session's
    // row is held: who deletes it waits, and then finds what was written. In one order, or two could wait for each other.
    saveInfo: `
WITH living AS MATERIALIZED (
  SELECT handle FROM ${sessions} WHERE handle = $1::uuid AND ${end} >= $2::bigint FOR KEY SHARE
), removed AS (
  DELETE FROM ${info} WHERE handle IN (SELECT handle FROM living) AND name = ANY ($5::text[])
), saved AS (
  INSERT INTO ${info} (handle, name, value)
  SELECT handle, name, value FROM living, unnest($3::text[], $4::bytea[]) AS entry (name, value) ORDER BY name
  ON CONFLICT (handle, name) DO UPDATE SET value = excluded.value
)
SELECT 1 FROM living`,

    // $3 now
    list: `
SELECT handle, created_at::float8, last_seen_at::float8, ${end}::float8 AS deadline
FROM ${sessions} WHERE handle IN (${named}) AND ${end} >= $3::bigint
ORDER BY created_at DESC, handle LIMIT ${maxListed}`,

    // $3 the handle to spare, or NULL. All lock in one order, or two could wait for each other.
    revokeAll: ending(`doomed AS (
  SELECT handle FROM ${sessions} WHERE handle IN (${named}) AND handle IS DISTINCT FROM $3::uuid
  ORDER BY handle FOR UPDATE
), ended AS (
  DELETE FROM ${sessions} WHERE handle IN (SELECT handle FROM doomed) RETURNING handle
)`),

    // $1 handles, $2 now
    deadlines: `
SELECT handle, deadline::float8 FROM ${sessions} WHERE handle = ANY ($1::uuid[]) AND deadline >= $2::bigint`,

    sweep: {
      sessions: sweep(sessions, `${end} < $3::bigint`),
      superseded: sweep(superseded, `grace_ends < $3::bigint - ${reuseNoticed}`)
    }
  }
}
