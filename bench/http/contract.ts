/**
 * What every server of the HTTP suite does:
 *
 *     GET /empty        answers a text of the same length, without any session
 *     GET /login?id=7   a new session with the data of that id
 *     GET /read         answers `user` of the session; 401 without one
 *     GET /write        counts in the session, and answers the same
 *     GET /data         the session's data as JSON
 */
import { make } from "../lib/payload.ts"
import type { Data } from "../lib/payload.ts"

export interface Counted extends Data {
  readonly count: number
}

/** Data of 100 bytes. */
export const dataOf = (id: number): Counted => ({ ...make(90, id), count: 0 })

export const empty = "user-1000000"

/** The system's choice where it is 0. */
export const listening = (address: unknown): void => {
  if (typeof address !== "object" || address === null || !("port" in address)) throw new Error("not a TCP server")
  process.stdout.write(`${address.port}\n`)
}
