/**
 * `node --expose-gc heap.ts cookie|postgres N`: what the heap and what it holds outside of it grow by over N requests to
 * a web handler, in bytes per request. With cookie placement half of them have cookies never seen before; with
 * Postgres each makes a session, which then idles.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Effect, Layer } from "effect"
import { HttpRouter } from "effect/http"
import { setTimeout as sleep } from "node:timers/promises"
import * as App from "../http/app.ts"
import { dataOf } from "../http/contract.ts"
import * as Ours from "../lib/ours.ts"

const [store = "", requests = ""] = process.argv.slice(2)
const total = Number(requests)

const collect = globalThis.gc
if (collect === undefined) throw new Error("Run it with --expose-gc")

// Remembered cookies have a bound, which the million requests are about: here they would pass for idle sessions.
const options = store === "cookie" ? {} : { cookieCacheSize: 0 }

const { dispose, handler } = HttpRouter.toWebHandler(
  App.layer(store, options).pipe(Layer.provide(NodeHttpServer.layerHttpServices)),
  { disableLogger: true }
)

const get = async (path: string, cookie?: string): Promise<string> => {
  const response = await handler(
    new Request(`http://localhost${path}`, cookie === undefined ? {} : { headers: { cookie } })
  )
  if (!response.ok) throw new Error(`${path}: ${response.status}`)
  await response.text()
  return response.headers.getSetCookie().map((cookie) => cookie.split(";")[0]).join("; ")
}

let nextId = 0

const engine = await Effect.runPromise(Effect.scoped(Ours.makeEngine({ secret: Ours.secret })))

const make = (): Promise<string> =>
  Effect.runPromise(
    Effect.map(
      Ours.seal(engine.codec, Ours.payloadOf({ ...dataOf(nextId++) })),
      (sealed) => Ours.cookieHeader(engine.codec, sealed)
    )
  )

const steps = {
  cookie: async (count: number): Promise<void> => {
    for (let done = 0; done < count; done += 2) {
      const cookie = await make()
      await get("/read", cookie)
      await get("/read", cookie)
    }
  },
  postgres: async (count: number): Promise<void> => {
    const clients = 16
    await Promise.all(Array.from({ length: clients }, async (_, client) => {
      for (let done = client; done < count; done += clients) await get(`/login?id=${nextId++}`)
    }))
  }
}

const step = store === "cookie" ? steps.cookie : steps.postgres

const used = async (): Promise<number> => {
  collect()
  // What waits for finalizers or for the event loop goes with the second collection.
  await sleep(200)
  collect()
  const { external, heapUsed } = process.memoryUsage()
  // The bytes of arrays are outside of the heap.
  return heapUsed + external
}

// What is compiled and cached once does not count, and a cache is full from here on. Tables in it that are made anew
// now and then come and go with megabytes: only over many requests do they not matter.
await step(Math.max(20_000, total / 5))
const before = await used()
await step(total)
process.stdout.write(`${JSON.stringify({ bytes: (await used() - before) / total })}\n`)
await dispose()
