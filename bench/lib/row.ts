/** What a run finds out. */
import { round } from "./statistics.ts"
import type { Summary } from "./statistics.ts"

export type Runtime = "node" | "deno" | "postgres"

export interface Row {
  readonly suite: string
  readonly name: string
  readonly runtime: Runtime
  /** Microseconds. */
  readonly time: Summary
  /** The name of the row that `ratio` compares with. */
  readonly ratioTo: string
  /** The median of the rounds' ratios. What it is a ratio of, the suite says. */
  readonly ratio: number
}

interface Shown {
  readonly label: string
  readonly isOurs: boolean
  readonly note?: string | undefined
}

/** The rows that a table shows together. */
export interface Group {
  readonly title: string
  /** What the ratio says. */
  readonly ratio: string
  readonly rows: ReadonlyArray<Row & Shown>
  /** What of it goes into the plot. */
  readonly plot?: "time" | "ratio" | undefined
}

export interface Target {
  readonly target: string
  /** `null` where this run did not measure it. */
  readonly value: number | null
  readonly limit: string
  readonly met: boolean | null
}

/** What is no time. */
export interface Measure {
  readonly name: string
  readonly value: number
}

/** What a suite has to say. */
export interface Result {
  readonly groups: ReadonlyArray<Group>
  readonly measures?: ReadonlyArray<Measure>
  /** By key of the target; see `targets.ts`. */
  readonly values: Readonly<Record<string, number>>
}

export const toJson = (groups: ReadonlyArray<Group>, targets: ReadonlyArray<Target>): string =>
  JSON.stringify(
    {
      rows: groups.flatMap(({ rows }) => rows).map(({ name, ratio, ratioTo, runtime, suite, time }) => ({
        suite,
        name,
        runtime,
        median_us: round(time.median, 4),
        ratio_to: ratioTo,
        ratio: round(ratio, 4)
      })),
      targets
    },
    null,
    2
  )
