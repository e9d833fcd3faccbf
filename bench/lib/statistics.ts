/** What is said of a handful of measurements. */

/** With linear interpolation between the two nearest. */
export const quantile = (values: ReadonlyArray<number>, q: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (sorted.length - 1) * q
  const low = sorted[Math.floor(at)] ?? Number.NaN
  const high = sorted[Math.ceil(at)] ?? Number.NaN
  return low + (high - low) * (at % 1)
}

export const median = (values: ReadonlyArray<number>): number => quantile(values, 0.5)

/** Median, and the quartiles around it. */
export interface Summary {
  readonly median: number
  readonly low: number
  readonly high: number
}

export const summary = (values: ReadonlyArray<number>): Summary => ({
  median: median(values),
  low: quantile(values, 0.25),
  high: quantile(values, 0.75)
})

/** The median of the rounds' ratios: what the machine does meanwhile hits both sides of one. */
export const ratio = (values: ReadonlyArray<number>, to: ReadonlyArray<number>): number =>
  median(values.map((value, round) => value / (to[round] ?? Number.NaN)))

export const round = (value: number, digits = 3): number => Number(value.toPrecision(digits))
