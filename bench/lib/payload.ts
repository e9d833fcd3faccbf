/** The data that every contender seals and opens. */

export interface Data {
  readonly id: number
  readonly user: string
  readonly text: string
}

// Letters that hardly compress, and are the same in every run. Numerical Recipes' generator.
const letters = (seed: number, length: number): string => {
  let state = seed >>> 0
  let text = ""
  while (text.length < length) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    text += state.toString(36)
  }
  return text.slice(0, length)
}

/** Data whose JSON has so many bytes; another for each id. */
export const make = (size: number, id: number): Data => {
  const empty = { id: 1_000_000 + id, user: `user-${1_000_000 + id}`, text: "" }
  return { ...empty, text: letters(id + 1, size - JSON.stringify(empty).length) }
}

export const sizes = [
  { bytes: 100, name: "100 B" },
  { bytes: 1024, name: "1 KB" },
  { bytes: 4096, name: "4 KB" }
] as const
