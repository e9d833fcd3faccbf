/** Horizontal bars, as SVG: of times on a logarithmic axis, and of shares on a linear one. */
import type { Group } from "./row.ts"

const width = 860
const labels = 300
/** Room for the number at the end of a bar. */
const numbers = 70
const bars = width - labels - numbers
const line = 18
const head = 46

const colors = { ours: "#2563eb", theirs: "#94a3b8", grid: "#e2e8f0", text: "#1e293b", faint: "#64748b" }

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

interface Axis {
  readonly unit: string
  /** From 0 to 1. */
  readonly position: (value: number) => number
  readonly ticks: ReadonlyArray<number>
  readonly show: (value: number) => string
}

const logarithmic = (values: ReadonlyArray<number>): Axis => {
  const low = Math.floor(Math.log10(Math.min(...values)))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))
  return {
    unit: "microseconds, logarithmic",
    position: (value) => (Math.log10(value) - low) / (high - low),
    ticks: Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i)),
    show: (value) => value >= 100 ? value.toFixed(0) : value.toPrecision(2)
  }
}

const linear = (values: ReadonlyArray<number>, unit: string): Axis => {
  const high = Math.max(1, ...values)
  return {
    unit,
    position: (value) => value / high,
    ticks: [0, 0.25, 0.5, 0.75, 1],
    show: (value) => value.toFixed(2)
  }
}

const text = (x: number, y: number, content: string, attributes = ""): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escape(content)}</text>`

const panel = ({ plot, ratio, rows, title }: Group, top: number): string => {
  const shown = rows.map(({ isOurs, label, ratio, time }) => ({
    label,
    isOurs,
    value: plot === "time" ? time.median : ratio
  })).toSorted((a, b) => plot === "time" ? a.value - b.value : b.value - a.value)
  const values = shown.map(({ value }) => value)
  const axis = plot === "time" ? logarithmic(values) : linear(values, ratio)
  const at = (value: number): number => labels + bars * axis.position(value)
  const first = top + head
  const grid = axis.ticks.map((tick) =>
    `<line x1="${at(tick).toFixed(1)}" x2="${at(tick).toFixed(1)}" y1="${first - 4}" y2="${
      first + line * rows.length
    }" stroke="${colors.grid}"/>${
      text(at(tick), first - 8, String(tick), `text-anchor="middle" font-size="10" fill="${colors.faint}"`)
    }`
  )
  const lines = shown.map(({ isOurs, label, value }, index) => {
    const y = first + line * index
    const middle = y + line / 2 + 4
    return [
      text(labels - 8, middle, label, `text-anchor="end"${isOurs ? " font-weight=\"600\"" : ""}`),
      `<rect x="${labels}" y="${y + 3}" width="${Math.max(1, at(value) - labels).toFixed(1)}" height="${
        line - 6
      }" rx="2" fill="${isOurs ? colors.ours : colors.theirs}"/>`,
      text(at(value) + 5, middle, axis.show(value), `fill="${colors.faint}"`)
    ].join("")
  })
  return [
    text(labels, top + 18, title, "font-size=\"14\" font-weight=\"600\""),
    text(width - 8, top + 18, axis.unit, `text-anchor="end" font-size="10" fill="${colors.faint}"`),
    ...grid,
    ...lines
  ].join("\n")
}

/** Of the groups that are to be plotted. */
export const plot = (groups: ReadonlyArray<Group>): string => {
  const plotted = groups.filter(({ plot }) => plot !== undefined)
  let top = 0
  const panels = plotted.map((group) => {
    const drawn = panel(group, top)
    top += head + line * group.rows.length + 16
    return drawn
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${top}" width="${width}" height="${top}" font-family="system-ui, sans-serif" font-size="12" fill="${colors.text}">
<rect width="100%" height="100%" fill="#ffffff"/>
${panels.join("\n")}
</svg>
`
}
