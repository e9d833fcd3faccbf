/**
 * Numbers that look random and follow from a seed: sfc32, by Chris Doty-Humphrey.
 * For simulations; nothing here is a secret.
 */

/** A source of numbers that always begins the same way for the same seed. */
export interface Source {
  /** A 32-bit unsigned integer. */
  readonly next: () => number
  /** A whole number from 0 to below `count`. */
  readonly below: (count: number) => number
  /** Whether something happens that does so once in `times`. */
  readonly oneIn: (times: number) => boolean
  readonly pick: <A>(items: readonly [A, ...Array<A>]) => A
}

export const make = (seed: number): Source => {
  let a = seed | 0
  let b = 0x9e37_79b9
  let c = 0x243f_6a88
  let counter = 1
  const next = (): number => {
    const t = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + t | 0
    return t >>> 0
  }
  // Seeds that differ in one bit begin alike.
  for (let round = 0; round < 12; round++) next()
  const below = (count: number): number => Math.floor(next() / 2 ** 32 * count)
  return {
    next,
    below,
    oneIn: (times) => below(times) === 0,
    // The index is below the length.
    pick: (items) => items[below(items.length)] ?? items[0]
  }
}
