/**
 * One contender of the codec suite in a process of its own, so that none meets code that others have warmed up or
 * spoiled. Reads a line for each round, and answers it with a line.
 */
import { deepEqual, equal } from "node:assert/strict"
import { createInterface } from "node:readline"
import { make } from "../lib/payload.ts"
import * as Stopwatch from "../lib/stopwatch.ts"
import type { Took } from "../lib/stopwatch.ts"
import type { Contender } from "./contender.ts"

const [module = "", name = ""] = process.argv.slice(2)
// What the module exports under that name is a contender: `contenders` in suites/codec.ts.
const { [name]: start } = await import(module) as Record<string, () => Promise<Contender<unknown, unknown>>>
if (start === undefined) throw new Error(`There is no ${name} in ${module}`)
const contender = await start()

let nextId = 0

const timed = async <A>(work: () => Promise<A>): Promise<readonly [result: A, took: Took]> => {
  const stop = Stopwatch.start()
  const result = await work()
  return [result, stop()]
}

/**
 * So many results are alive at once, as in the HTTP suite: a server drops each with its request, and a heap full of them
 * is not what it has.
 */
const atOnce = 64

const none: Took = { cpu: 0, elapsed: 0 }

const add = (one: Took, other: Took): Took => ({ cpu: one.cpu + other.cpu, elapsed: one.elapsed + other.elapsed })

/** Adds up how long so many take, a few at once. */
const inParts = async (count: number, part: (count: number) => Promise<Took>): Promise<Took> => {
  let total = none
  for (let left = count; left > 0; left -= atOnce) total = add(total, await part(Math.min(left, atOnce)))
  return total
}

/** How long so many take, with what is opened verified to be what was sealed. */
const batch = async (size: number, fresh: number, again: number) => {
  let sealing = none
  let last = { sent: "", data: make(size, nextId) }
  const cold = await inParts(fresh, async (count) => {
    const data = Array.from({ length: count }, () => make(size, nextId++))
    const [sealed, seal] = await timed(() => contender.seal(data))
    sealing = add(sealing, seal)
    const sent = sealed.map((sealed) => contender.sent(sealed))
    const [opened, cold] = await timed(() => contender.open(sent))
    equal(opened.length, count)
    deepEqual(opened.map((opened) => contender.data(opened)), data)
    last = { sent: sent.at(-1) ?? last.sent, data: data.at(-1) ?? last.data }
    return cold
  })
  const repeated = await inParts(again, async (count) => {
    const same = Array.from({ length: count }, () => last.sent)
    const [opened, repeated] = await timed(() => contender.open(same))
    equal(opened.length, count)
    for (const one of opened) deepEqual(contender.data(one), last.data)
    return repeated
  })
  return { seal: sealing, cold, repeated }
}

// Below, one interruption by another process would be all that is measured; above, a round would never end.
const few = 4
const many = 20_000

/** How many of each take about so long, when all is warm. */
const calibrated = new Map<number, { readonly fresh: number; readonly again: number }>()

const calibrate = async (size: number, millis: number) => {
  let counts = { fresh: few, again: few }
  const grow = (count: number, took: number): number =>
    Math.min(many, Math.max(few, Math.round(count * Math.min(8, millis / took))))
  const end = performance.now() + Math.max(200, 5 * millis)
  do {
    const { cold, repeated, seal } = await batch(size, counts.fresh, counts.again)
    counts = {
      fresh: grow(counts.fresh, Math.max(cold.elapsed, seal.elapsed)),
      again: grow(counts.again, repeated.elapsed)
    }
  } while (performance.now() < end)
  calibrated.set(size, counts)
  return counts
}

for await (const line of createInterface({ input: process.stdin })) {
  const { millis, size } = JSON.parse(line) as { readonly size: number; readonly millis: number }
  const { again, fresh } = calibrated.get(size) ?? await calibrate(size, millis)
  const { cold, repeated, seal } = await batch(size, fresh, again)
  const micros = {
    seal: Stopwatch.each(seal, fresh),
    cold: Stopwatch.each(cold, fresh),
    repeated: Stopwatch.each(repeated, again)
  }
  process.stdout.write(`${JSON.stringify(micros)}\n`)
}
