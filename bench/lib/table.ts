/** Results for people: the ratio first, since it means something on other machines too. */
import type { Group, Measure, Target } from "./row.ts"

const number = (value: number): string =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)

const text = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows.map((row) =>
    row.map((cell, column) => column === row.length - 1 ? cell : cell.padStart(widths[column] ?? 0)).join("  ")
  ).join("\n")
}

export const group = ({ ratio, rows, title }: Group): string =>
  `\n${title}\n${
    text([
      [ratio, "us", "quartiles", ""],
      ...rows.map(({ label, note, ratio, time: { high, low, median } }) => [
        number(ratio),
        number(median),
        `${number(low)} - ${number(high)}`,
        note === undefined ? label : `${label}  [${note}]`
      ])
    ])
  }\n`

export const measures = (measures: ReadonlyArray<Measure>): string =>
  measures.map(({ name, value }) => `${name}: ${Number(value.toPrecision(4))}`).join("\n")

/** Those that a run measured. */
export const targets = (targets: ReadonlyArray<Target>): string => {
  const judged = targets.flatMap(({ limit, met, target, value }) =>
    value === null ? [] : [[met === true ? "met" : "NOT MET", number(value), limit, target]]
  )
  return `\nTargets\n${text(judged)}\nNot measured: ${targets.length - judged.length} of ${targets.length}\n`
}
