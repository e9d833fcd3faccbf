import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { interleave } from "../bench/lib/rounds.ts"
import { toJson } from "../bench/lib/row.ts"
import type { Group, Runtime } from "../bench/lib/row.ts"
import { ratio, summary } from "../bench/lib/statistics.ts"
import * as Svg from "../bench/lib/svg.ts"
import * as Targets from "../bench/lib/targets.ts"

const row = (name: string, runtime: Runtime, micros: number, ratio = 1) => ({
  suite: "codec",
  name,
  label: `<${name}>`,
  isOurs: name === "ours",
  runtime,
  time: summary([micros]),
  ratioTo: "ours",
  ratio
})

const groups: ReadonlyArray<Group> = [{
  title: "open",
  ratio: "times ours",
  plot: "time",
  rows: [row("peer", "node", 1234.5678, 123.45678), row("ours", "node", 10), row("ours", "deno", 25, 2.5)]
}, {
  title: "not plotted",
  ratio: "times ours",
  rows: [row("only on Deno", "deno", 500)]
}]

describe("statistics of the benchmarks", () => {
  it("interpolates between the nearest", () => {
    assert.deepStrictEqual(summary([4, 1, 3, 2]), { median: 2.5, low: 1.75, high: 3.25 })
  })

  it("is the median of ratios, not the ratio of medians", () => {
    assert.strictEqual(ratio([10, 200, 30], [10, 100, 10]), 2)
  })

  it.effect("gives each contender every round, and turns around", () =>
    Effect.gen(function*() {
      const order: Array<string> = []
      const measured = yield* interleave(["a", "b", "c"], 3, (name, round) =>
        Effect.sync(() => {
          order.push(name)
          return round
        }))
      assert.strictEqual(order.join(""), "abccbaabc")
      assert.deepStrictEqual([...measured], [["a", [0, 1, 2]], ["b", [0, 1, 2]], ["c", [0, 1, 2]]])
    }))
})

describe("results of the benchmarks", () => {
  const targets = Targets.judge(groups, { "codec.cold.100 B": 20.5, "codec.cold.1 KB": 24, "http.kept.read": 0.8 })

  const judged = (text: string) => targets.find(({ target }) => target.startsWith(text))

  it("have the fields that programs read, and no others", () => {
    assert.deepStrictEqual(JSON.parse(toJson(groups, targets.slice(0, 1))), {
      rows: [
        { suite: "codec", name: "peer", runtime: "node", median_us: 1235, ratio_to: "ours", ratio: 123.5 },
        { suite: "codec", name: "ours", runtime: "node", median_us: 10, ratio_to: "ours", ratio: 1 },
        { suite: "codec", name: "ours", runtime: "deno", median_us: 25, ratio_to: "ours", ratio: 2.5 },
        { suite: "codec", name: "only on Deno", runtime: "deno", median_us: 500, ratio_to: "ours", ratio: 1 }
      ],
      targets: [{ target: "codec open, cold, 100 B: us", value: 20.5, limit: "<= 20", met: false }]
    })
  })

  it("are judged by their limits, which may be reached", () => {
    assert.deepInclude(judged("codec open, cold, 1 KB: us"), { value: 24, met: true })
    assert.deepInclude(judged("HTTP, cookie placement, repeated read"), { value: 0.8, met: true })
  })

  it("are not judged where they were not measured", () => {
    assert.deepInclude(judged("store"), { value: null, met: null })
    const worst = Targets.judge([], {}).filter(({ met, value }) => met !== null || value !== null)
    assert.deepStrictEqual(worst, [])
  })

  it("compare Deno with Node where both have a row", () => {
    assert.deepStrictEqual(Targets.worstOnDeno(groups), { name: "ours", times: 2.5 })
    assert.deepInclude(judged("Deno"), { value: 2.5, met: false })
  })

  it("are drawn with a bar for each row of the groups that are plotted", () => {
    const svg = Svg.plot(groups)
    assert.lengthOf(svg.match(/<rect x=/g) ?? [], 3)
    assert.include(svg, "&lt;peer&gt;")
    assert.notInclude(svg, "only on Deno")
    assert.notInclude(svg, "NaN")
  })
})
