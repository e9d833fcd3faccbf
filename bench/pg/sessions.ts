/** A table full of sessions, with keys that the program and pgbench can both work out. */
import type * as PgClient from "@effect/sql-pg/PgClient"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"
import { hash } from "node:crypto"
import { names } from "../../src/internal/pgStatements.ts"

/** More than a session gets in a run. */
export const maxVersions = 65_536

/** Where no clean-up of the same second takes a session that a workload reads. */
export const now = Math.floor(Date.now() / 1000)
export const deadline = now + 86_400

/** As a sealed session of a hundred bytes, and as a sealed cookie header. */
export const data = Buffer.alloc(128, "sealed")
export const successor = Buffer.alloc(110, "header")

/** What `sha256(int8send(session * maxVersions + version))` is in SQL. */
export const key = (session: number, version: number): Uint8Array => {
  const number = Buffer.alloc(8)
  number.writeBigInt64BE(BigInt(session * maxVersions + version))
  return hash("sha256", number, "buffer")
}

interface Inserted {
  readonly prefix: string
  readonly first: number
  readonly size: number
  /** SQL that says whether the session with this number has. */
  readonly expired: (session: string) => string
}

/** As many sessions of one subject each, in no order on disk. */
export const insert = (
  sql: PgClient.PgClient,
  { expired, first, prefix, size }: Inserted
): Effect.Effect<void, SqlError.SqlError> => {
  const { sessions, subjects } = names(prefix)
  return Effect.forEach(
    [
      `INSERT INTO ${sessions} (handle, key, data, created_at, last_seen_at, deadline, seen)
     SELECT md5(s::text)::uuid, sha256(int8send(s * ${maxVersions})), '\\x${data.toString("hex")}', ${now}, ${now},
       CASE WHEN ${expired("s")} THEN ${now - 1} ELSE ${deadline} END, true
     FROM generate_series(${first}::bigint, ${first + size - 1}) AS s ORDER BY md5(s::text)`,
      `INSERT INTO ${subjects} (audience, subject, handle)
     SELECT 'shop', 'user-' || s, md5(s::text)::uuid
     FROM generate_series(${first}::bigint, ${first + size - 1}) AS s ORDER BY md5(s::text)`,
      // What else would happen in the middle of a round.
      `VACUUM ANALYZE ${sessions}, ${subjects}`,
      "CHECKPOINT"
    ],
    (statement) => sql.unsafe(statement),
    { discard: true }
  )
}

/** Sessions that only one round writes to, so that it knows their versions: each client walks over a span of them. */
export interface Block {
  /** How many there are in all, for those who only read. */
  readonly rows: number
  readonly first: number
  readonly span: number
}

/** The session and the version that a client meets at a step, coming by again and again. */
export const at = ({ first, span }: Block, client: number, step: number) => ({
  session: first + client * span + step % span,
  version: Math.floor(step / span)
})
