/** What a library has to do in the codec suite: seal all, open all. */
import type { Data } from "../lib/payload.ts"

export interface Contender<Sealed, Opened> {
  readonly seal: (data: ReadonlyArray<Data>) => Promise<ReadonlyArray<Sealed>>
  /** What the client would send of it; takes no time that counts. */
  readonly sent: (sealed: Sealed) => string
  readonly open: (sent: ReadonlyArray<string>) => Promise<ReadonlyArray<Opened>>
  /** What was sealed, without what the library adds; takes no time that counts. */
  readonly data: (opened: Opened) => unknown
}

/** One after another, as each waits for its answer. */
export const each = <A, B>(f: (a: A) => Promise<B>) => async (values: ReadonlyArray<A>): Promise<ReadonlyArray<B>> => {
  const results: Array<B> = []
  for (const value of values) results.push(await f(value))
  return results
}

/** Of functions that need not wait. */
export const eachSync = <A, B>(f: (a: A) => B) => async (values: ReadonlyArray<A>): Promise<ReadonlyArray<B>> =>
  values.map((value) => f(value))
