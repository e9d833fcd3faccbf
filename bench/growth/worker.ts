/** Sessions of many shapes, opened and sealed. Reads a line for each round, and answers it with a line. */
import { Effect, Redacted, Scope } from "effect"
import { equal } from "node:assert/strict"
import { createInterface } from "node:readline"
import type * as Exchange from "../../src/internal/exchange.ts"
import type { Options } from "../../src/SessionConfig.ts"
import type { Payload } from "../../src/SessionState.ts"
import * as Ours from "../lib/ours.ts"
import { make } from "../lib/payload.ts"
import * as Stopwatch from "../lib/stopwatch.ts"
import type { Took } from "../lib/stopwatch.ts"

interface Shape {
  readonly engine: Exchange.Engine
  /** Where it differs: the one that seals what `engine` opens. */
  readonly sealing: Exchange.Engine
  readonly payload: (id: number) => Payload
  /** Whom a request asks for. */
  readonly audience: string
}

// The scope lives as long as the process.
const makeEngine = (options: Options): Effect.Effect<Exchange.Engine> =>
  Effect.flatMap(
    Scope.make(),
    (scope) => Effect.orDie(Scope.provide(Ours.makeEngine({ compressionThreshold: 0, ...options }), scope))
  )

const plain = (payload: Shape["payload"], audience = Ours.audience): Effect.Effect<Shape> =>
  Effect.map(makeEngine({ secret: Ours.secret }), (engine) => ({ engine, sealing: engine, payload, audience }))

/** As many bytes of payload as about so many cookies hold. */
const chunkBytes = 3000

const name = (n: number): string => `audience-${n}`

const key = (n: number) => Redacted.make(`${n} ${Redacted.value(Ours.secret)}`)

const shapes: Readonly<Record<string, (n: number) => Effect.Effect<Shape>>> = {
  chunks: (n) => plain((id) => Ours.payloadOf({ ...make(chunkBytes * n - 1500, id) })),

  audiences: (n) =>
    plain(
      (id) => Array.from({ length: n }, (_, i) => ({ audience: name(i + 1), data: { id, n: i }, subject: undefined })),
      name(n)
    ),

  /** The cookie is sealed under the oldest key, which is tried last. */
  fallbacks: (n) =>
    Effect.zipWith(
      makeEngine({ secret: key(n), secretFallbacks: Array.from({ length: n }, (_, i) => key(n - 1 - i)) }),
      makeEngine({ secret: key(0) }),
      (engine, sealing) => ({
        engine,
        sealing,
        payload: (id: number) => Ours.payloadOf({ ...make(100, id) }),
        audience: Ours.audience
      })
    )
}

let nextId = 0

const timed = <A>(work: Effect.Effect<A>): Effect.Effect<readonly [A, Took]> =>
  Effect.suspend(() => {
    const stop = Stopwatch.start()
    return Effect.map(work, (result) => [result, stop()] as const)
  })

/** Microseconds of CPU time per session, none of which has been seen before. */
const batch = Effect.fnUntraced(function*({ audience, engine, payload, sealing }: Shape, count: number) {
  const payloads = Array.from({ length: count }, () => payload(nextId++))
  const [sealed, seal] = yield* timed(Effect.forEach(payloads, (payload) => Ours.seal(sealing.codec, payload)))
  const sent = sealed.map((sealed) => Ours.cookieHeader(sealing.codec, sealed))
  const [opened, open] = yield* timed(Effect.forEach(sent, (cookies) => Ours.read(engine, cookies, audience)))
  opened.forEach(({ data }, index) => {
    equal(JSON.stringify(data), JSON.stringify(payloads[index]?.find((entry) => entry.audience === audience)?.data))
  })
  return {
    seal: Stopwatch.each(seal, count).cpu,
    open: Stopwatch.each(open, count).cpu,
    cookies: sent[0]?.split("; ").length
  }
})

interface Warm {
  readonly shape: Shape
  readonly count: number
}

const known = new Map<string, Warm>()

const warmUp = Effect.fnUntraced(function*(kind: string, n: number, millis: number) {
  const make = shapes[kind]
  if (make === undefined) return yield* Effect.die(new Error(`There is no shape ${kind}`))
  const shape = yield* make(n)
  let count = 4
  const end = performance.now() + Math.max(100, 3 * millis)
  do {
    const { open } = yield* batch(shape, count)
    count = Math.min(5000, Math.max(4, Math.round(millis * 1000 / open)))
  } while (performance.now() < end)
  return { shape, count }
})

for await (const line of createInterface({ input: process.stdin })) {
  // From suites/growth.ts.
  const { kind, millis, n } = JSON.parse(line) as { readonly kind: string; readonly n: number; readonly millis: number }
  const warm = known.get(`${kind} ${n}`) ?? await Effect.runPromise(warmUp(kind, n, millis))
  known.set(`${kind} ${n}`, warm)
  process.stdout.write(`${JSON.stringify(await Effect.runPromise(batch(warm.shape, warm.count)))}\n`)
}
