/** The tables of Kong's session plugin. */
import type { Tables } from "./referenceStore.ts"

const moment = (seconds: string): string => `to_timestamp(${seconds}::float8)`

/** `expires` ends in 2038; nobody reads it. */
const int = (seconds: string): string => `least(${seconds}::float8, 2147483647)::int`

/** Kong's own function, for which it has many uses; made where Kong has not made it. */
const sweeper = "batch_delete_expired_rows"

/** Names of indexes as Kong has them where the table has Kong's name. */
const named = (table: string, kongs: string, index: string, suffix: string): string =>
  table === kongs ? index : `${table}_${suffix}`

export const tables = (sessions: string, metadata: string): Tables => ({
  dialect: {
    sessions,
    metadata,
    key: "session_id",
    handle: "id::text",
    hasHandle: (parameter) => `id::text = lower(${parameter}::text)`,
    living: (now) => `(ttl IS NULL OR ttl >= ${moment(now)})`,
    expires: "coalesce(extract(epoch FROM ttl), expires)::float8",
    createdAt: "extract(epoch FROM created_at)::float8",
    lower: (at) => `expires = least(expires, ${int(at)}), ttl = least(ttl, ${moment(at)})`,
    insert: (data) =>
      `INSERT INTO ${sessions} (id, session_id, expires, data, created_at, ttl)
  SELECT coalesce(nullif(new.handle, '')::uuid, gen_random_uuid()), new.key, ${int("new.expires")}, ${data},
    ${moment("new.created_at")}, ${moment("new.expires")}`,
    inserted: "id, session_id, created_at",
    insertMetadata: `INSERT INTO ${metadata} (id, session_id, sid, subject, audience, created_at)
  SELECT gen_random_uuid(), made.id, made.session_id, entry.subject, entry.audience, made.created_at`,
    listed: { key: "sid", audience: "audience", subject: "subject" },
    // Kong's trigger compares with a time without a zone, which is read in the connection's: in one west of UTC it
    // would take what lives for expired. This is for the statement's own transaction.
    answer: "set_config('TimeZone', 'UTC', true)"
  },
  steps: [
    {
      missing: `to_regclass('${sessions}') IS NULL`,
      statements: [
        `CREATE TABLE ${sessions} (
  id uuid PRIMARY KEY,
  session_id text UNIQUE,
  expires int,
  data text,
  created_at timestamp with time zone,
  ttl timestamp with time zone
)`,
        `CREATE INDEX ${named(sessions, "sessions", "session_sessions_expires_idx", "expires_idx")}
  ON ${sessions} (expires)`,
        `CREATE INDEX ${sessions}_ttl_idx ON ${sessions} (ttl)`
      ]
    },
    {
      missing: `to_regclass('${metadata}') IS NULL`,
      statements: [
        `CREATE TABLE ${metadata} (
  id uuid PRIMARY KEY,
  session_id uuid REFERENCES ${sessions} (id) ON DELETE CASCADE,
  sid text,
  subject text,
  audience text,
  created_at timestamp with time zone
)`,
        `CREATE INDEX ${named(metadata, "session_metadatas", "session_id_idx", "session_id_idx")}
  ON ${metadata} (session_id)`,
        `CREATE INDEX ${named(metadata, "session_metadatas", "subject_audience_idx", "subject_audience_idx")}
  ON ${metadata} (subject, audience)`
      ]
    },
    {
      missing: `to_regproc('${sweeper}') IS NULL`,
      statements: [
        `CREATE FUNCTION ${sweeper}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format(
    'WITH rows AS (
      SELECT ctid FROM %1$s WHERE %2$s < CURRENT_TIMESTAMP AT TIME ZONE ''UTC''
      ORDER BY %2$s LIMIT 2 FOR UPDATE SKIP LOCKED
    ) DELETE FROM %1$s WHERE ctid IN (TABLE rows)',
    TG_TABLE_NAME, TG_ARGV[0]
  );
  RETURN NULL;
END
$$`
      ]
    },
    {
      missing: `NOT EXISTS (
  SELECT FROM pg_trigger WHERE tgrelid = to_regclass('${sessions}') AND tgname = '${sessions}_ttl_trigger'
)`,
      statements: [
        `CREATE TRIGGER ${sessions}_ttl_trigger AFTER INSERT ON ${sessions}
  FOR EACH STATEMENT EXECUTE FUNCTION ${sweeper}('ttl')`
      ]
    }
  ]
})
