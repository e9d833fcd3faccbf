/**
 * Walks over the tables and removes what nobody can use any more, a bounded number
 * of blocks per statement, and no row that somebody has locked.
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SessionError } from "../SessionError.ts"
import { seconds } from "./clock.ts"
import { runner } from "./pgPort.ts"
import { type Names, statements, sweptBlocks } from "./pgStatements.ts"

interface Step {
  /** Whether it was this process's turn; if not, nothing was looked at. */
  readonly mine: boolean
  readonly removed: number
  /** Of the whole table. */
  readonly blocks: number
}

export interface Removed {
  readonly sessions: number
  readonly superseded: number
}

export const make = (client: SqlClient.SqlClient, names: Names): Effect.Effect<Removed, SessionError> => {
  const run = runner(client)
  const { sweep } = statements(names)

  const walk = Effect.fnUntraced(function*(text: string, now: number) {
    let removed = 0
    for (let block = 0, end = 1; block < end; block += sweptBlocks) {
      for (const step of yield* run<Step>("cleanup", text, [`(${block},0)`, `(${block + sweptBlocks},0)`, now])) {
        removed += step.removed
        end = step.mine ? step.blocks : 0
      }
    }
    return removed
  })

  return Effect.flatMap(seconds, (now) =>
    Effect.all({
      sessions: walk(sweep.sessions, now),
      superseded: walk(sweep.superseded, now)
    }))
}
