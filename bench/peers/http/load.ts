/**
 * As http/load.lua, by autocannon, where there is no wrk: one round for each line that it reads. It takes more of the
 * machine than wrk does.
 */
import autocannon from "autocannon"
import { readFileSync } from "node:fs"
import { createInterface } from "node:readline"

interface Round {
  readonly url: string
  readonly seconds: number
  readonly connections: number
  /** A file with one in each line. */
  readonly cookies: string
  readonly order: "repeat" | "once" | "follow"
}

const run = async ({ connections, cookies, order, seconds, url }: Round) => {
  const queue = readFileSync(cookies, "utf8").trimEnd().split("\n")
  let next = 0
  let starved = 0
  const setupRequest = (request: autocannon.Request): autocannon.Request => {
    const cookie = queue[next] ?? ""
    if (order === "repeat") next = (next + 1) % queue.length
    else if (next < queue.length - 1) next++
    else starved++
    return cookie === "" ? request : { ...request, headers: { ...request.headers, cookie } }
  }
  const onResponse = (_status: number, _body: string, _context: object, headers: object = {}): void => {
    const { "Set-Cookie": capital, "set-cookie": cookie = capital } = headers as Record<string, unknown>
    if (cookie !== undefined) queue.push(String(cookie).split(";")[0] ?? "")
  }
  const result = await autocannon({
    url,
    connections,
    duration: seconds,
    sampleInt: Math.min(1000, seconds * 500),
    requests: [order === "follow" ? { setupRequest, onResponse } : { setupRequest }]
  })
  return {
    requests: result.requests.total,
    seconds: result.duration,
    failed: result.errors + result.timeouts + result.non2xx,
    starved
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  // From suites/http.ts.
  process.stdout.write(`${JSON.stringify(await run(JSON.parse(line) as Round))}\n`)
}
