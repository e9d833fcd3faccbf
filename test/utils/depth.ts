/**
 * How long the tests that look for counterexamples look, and where they begin.
 *
 * `SESSION_TEST_DEEP=1` multiplies their runs; `SESSION_TEST_SEED=n` repeats a fresh seed that was printed.
 */
const { SESSION_TEST_DEEP, SESSION_TEST_SEED } = process.env

/** So many runs, and many more in a deep test. */
export const runs = (count: number): number => SESSION_TEST_DEEP === "1" ? 50 * count : count

/** 32 bits with a sign, as fast-check takes them. */
const fresh = SESSION_TEST_SEED === undefined
  ? crypto.getRandomValues(new Int32Array(1))[0] ?? 0
  : Number(SESSION_TEST_SEED)

/** A seed that finds today what it found yesterday, and one that nobody has tried. */
export const seeds: ReadonlyArray<readonly ["a fixed seed" | "a fresh seed", number]> = [
  ["a fixed seed", 1_795_394_320],
  ["a fresh seed", fresh]
]

// Of a run that passed, too: two runs that differ should be two runs that can be repeated.
console.info(`fresh seed: SESSION_TEST_SEED=${fresh}`)
