/** The tables of lua-resty-session's Postgres storage. */
import type { Tables } from "./referenceStore.ts"

// As base64url, without padding.
const hash = (column: string): string =>
  `rtrim(translate(encode(sha256(convert_to(${column}, 'UTF8')), 'base64'), '+/', '-_'), '=')`

/**
 * There a time is `TO_TIMESTAMP(x) AT TIME ZONE 'UTC'`: that is read in the
 * connection's TimeZone again, so two programs whose connections differ in it would
 * take each other's rows to be expired early or late. `to_timestamp(x)` is the moment
 * itself, and the same as theirs wherever TimeZone is UTC.
 */
const moment = (seconds: string): string => `to_timestamp(${seconds}::float8)`

export const tables = (sessions: string, metadata: string): Tables => ({
  dialect: {
    sessions,
    metadata,
    key: "sid",
    handle: hash("sid"),
    hasHandle: (parameter) => `${hash("sid")} = ${parameter}::text`,
    living: (now) => `exp >= ${moment(now)}`,
    expires: "extract(epoch FROM exp)::float8",
    // Not known.
    createdAt: "0::float8",
    lower: (at) => `exp = least(exp, ${moment(at)})`,
    insert: (data) =>
      `INSERT INTO ${sessions} (sid, name, data, exp) SELECT new.key, new.name, ${data}, ${moment("new.expires")}`,
    inserted: "sid",
    insertMetadata: `INSERT INTO ${metadata} (aud, sub, sid) SELECT entry.audience, entry.subject, made.sid`,
    listed: { key: "sid", audience: "aud", subject: "sub" },
    answer: "1"
  },
  steps: [
    {
      missing: `to_regclass('${sessions}') IS NULL`,
      statements: [
        `CREATE TABLE ${sessions} (
  sid TEXT PRIMARY KEY,
  name TEXT,
  data TEXT,
  exp TIMESTAMP WITH TIME ZONE
)`,
        `CREATE INDEX ON ${sessions} (exp)`
      ]
    },
    {
      missing: `to_regclass('${metadata}') IS NULL`,
      statements: [
        `CREATE TABLE ${metadata} (
  aud TEXT,
  sub TEXT,
  sid TEXT REFERENCES ${sessions} (sid) ON DELETE CASCADE ON UPDATE CASCADE,
  PRIMARY KEY (aud, sub, sid)
)`
      ]
    }
  ]
})
