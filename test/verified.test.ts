import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as CookieCodec from "../src/CookieCodec.ts"
import * as Crypto from "../src/Crypto.ts"
import { commit } from "../src/internal/commit.ts"
import * as Exchange from "../src/internal/exchange.ts"
import * as Opening from "../src/internal/opening.ts"
import * as Recording from "../src/internal/recording.ts"
import * as Verified from "../src/internal/verified.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import type * as SessionState from "../src/SessionState.ts"
import * as SessionStore from "../src/SessionStore.ts"
import * as FaultyStore from "../src/testing/FaultyStore.ts"
import { cookieHeader, secret } from "./utils/codec.ts"
import { atTime } from "./utils/time.ts"

const start = 1_795_400_000

type Make = typeof Verified.make

interface Counts {
  verified: number
  opened: number
}

/** Counts what the cache is there to spare. */
const counting = (counts: Counts): Layer.Layer<CookieCodec.CookieCodec, never, SessionConfig.SessionConfig> =>
  Layer.effect(
    CookieCodec.CookieCodec,
    Effect.map(CookieCodec.CookieCodec, (codec) =>
      CookieCodec.CookieCodec.of({
        ...codec,
        verify: (presented, sender) => {
          counts.verified++
          return codec.verify(presented, sender)
        },
        open: (presented, key, ciphertext) => {
          counts.opened++
          return codec.open(presented, key, ciphertext)
        }
      }))
  ).pipe(Layer.provide(CookieCodec.layer), Layer.provide(Crypto.layerNode))

const payload = (text: string): SessionState.Payload => [{ audience: "default", data: { text }, subject: undefined }]

/** A server whose requests go through one cache, which `make` makes. */
const open = Effect.fnUntraced(function*(
  { make = Verified.make, placement: kind = "cookie", settings = {} }: {
    readonly make?: Make
    readonly placement?: "cookie" | "memory"
    readonly settings?: SessionConfig.Options
  } = {}
) {
  const counts = { verified: 0, opened: 0 }
  const engine = yield* SessionHttp.engine.pipe(
    Effect.provide(
      Layer.mergeAll(
        counting(counts),
        Crypto.layerNode,
        kind === "cookie" ? SessionStore.layerCookie : SessionStore.layerMemory
      ).pipe(Layer.provideMerge(SessionConfig.layer({ ...SessionConfig.lua, secret, ...settings })))
    )
  )
  let tampered = false
  const answer = <A extends { readonly _tag: string; readonly data?: Uint8Array }>(row: A | undefined): A | undefined =>
    tampered && row?.data !== undefined ? { ...row, data: row.data.map((byte) => byte ^ 1) } : row
  const placement: SessionStore.Placement = engine.placement._tag === "Cookie" ? engine.placement : {
    ...engine.placement,
    port: FaultyStore.make(
      engine.placement.port,
      (operation, run) => operation === "load" ? Effect.map(run, (row) => answer(row as never) as never) : run
    )
  }
  const withCache: Exchange.Engine = {
    ...engine,
    placement,
    verified: engine.verified === undefined ? undefined : make(engine.settings.cookieCacheSize)
  }
  // Another process, with the same secret and the same store.
  const elsewhere: Exchange.Engine = { ...engine, verified: undefined }
  const begin = (cookies: string | undefined, now: number, ip = "192.0.2.1", on = withCache) => {
    const exchange = Exchange.make(on, {
      cookies,
      sender: { ip, scheme: "https", userAgent: undefined },
      host: undefined,
      upgrade: false
    })
    return Effect.as(atTime(now)(Opening.authenticate(exchange)), exchange)
  }
  return {
    counts,
    /** From now on, the store answers with other data. */
    tamper: () => {
      tampered = true
    },
    /** What a request with these cookies finds. */
    read: (cookies: string, now = start, ip?: string) =>
      Effect.gen(function*() {
        const exchange = yield* begin(cookies, now, ip)
        const entry = yield* atTime(now)(Recording.entry(exchange, "default"))
        return entry?.data ?? exchange.refusal
      }),
    /** The cookies of a session with this text in it, made elsewhere if nothing is said. */
    save: (text: string, on: "here" | "elsewhere" = "elsewhere", now = start) =>
      Effect.gen(function*() {
        const exchange = yield* begin(undefined, now, undefined, on === "here" ? withCache : elsewhere)
        const [entry] = payload(text)
        yield* atTime(now)(
          Recording.modify(exchange, { audience: "default", kind: "Data", apply: () => Effect.succeed(entry) })
        )
        const { cookies } = yield* atTime(now)(commit(exchange))
        return cookieHeader(cookies)
      }),
    logout: (cookies: string, now = start) =>
      Effect.gen(function*() {
        const exchange = yield* begin(cookies, now)
        yield* atTime(now)(Recording.destroy(exchange))
        yield* atTime(now)(commit(exchange))
      })
  }
})

interface Check {
  readonly name: string
  readonly run: (make: Make) => Effect.Effect<void, unknown>
}

const checks: ReadonlyArray<Check> = [
  {
    name: "the same cookie is verified and opened once",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make })
        const cookies = yield* server.save("tea")
        for (let i = 0; i < 5; i++) assert.deepStrictEqual(yield* server.read(cookies), { text: "tea" })
        assert.deepStrictEqual(server.counts, { verified: 1, opened: 1 })
      })
  },
  {
    name: "and after a minute again",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make })
        const cookies = yield* server.save("tea")
        yield* server.read(cookies, start)
        yield* server.read(cookies, start + 61)
        assert.deepStrictEqual(server.counts, { verified: 2, opened: 2 })
      })
  },
  {
    name: "a cookie that was made here is known",
    run: (make) =>
      Effect.gen(function*() {
        for (const placement of ["cookie", "memory"] as const) {
          const server = yield* open({ make, placement })
          const cookies = yield* server.save("tea", "here")
          assert.deepStrictEqual(yield* server.read(cookies), { text: "tea" })
          assert.deepStrictEqual(server.counts, { verified: 0, opened: 0 })
        }
      })
  },
  {
    name: "with server placement what the store answers has to be what it answered before",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make, placement: "memory" })
        const cookies = yield* server.save("tea")
        yield* server.read(cookies)
        server.tamper()
        assert.strictEqual(yield* server.read(cookies), "DecryptionFailed")
      })
  },
  {
    name: "timeouts are checked every time",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make, settings: { idlingTimeout: "70 seconds", touchThreshold: "1 second" } })
        const cookies = yield* server.save("tea")
        // Asked for so often that it is always remembered.
        for (let second = 0; second <= 70; second += 10) {
          assert.deepStrictEqual(yield* server.read(cookies, start + second), { text: "tea" })
        }
        assert.strictEqual(yield* server.read(cookies, start + 71), "IdlingTimeout")
      })
  },
  {
    name: "with server placement the store is asked every time: a session that was ended is not found",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make, placement: "memory" })
        const cookies = yield* server.save("tea")
        assert.deepStrictEqual(yield* server.read(cookies), { text: "tea" })
        assert.deepStrictEqual(yield* server.read(cookies), { text: "tea" })
        assert.deepStrictEqual(server.counts, { verified: 1, opened: 1 })
        yield* server.logout(cookies)
        assert.strictEqual(yield* server.read(cookies), "NotStored")
      })
  },
  {
    name: "a session that ended is dropped",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make })
        const cookies = yield* server.save("tea")
        yield* server.read(cookies)
        yield* server.logout(cookies)
        yield* server.read(cookies)
        assert.strictEqual(server.counts.verified, 2)
      })
  },
  {
    name: "a cookie that is bound to its sender is verified every time",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make, settings: { bind: ["ip"] } })
        const cookies = yield* server.save("tea")
        assert.deepStrictEqual(yield* server.read(cookies), { text: "tea" })
        assert.strictEqual(yield* server.read(cookies, start, "192.0.2.2"), "InvalidMac")
      })
  },
  {
    name: "one character more, less or other is another cookie",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make })
        const cookies = yield* server.save("tea")
        yield* server.read(cookies)
        const value = cookies.slice("session=".length)
        const flipped = (at: number) =>
          `session=${value.slice(0, at)}${value[at] === "A" ? "B" : "A"}${value.slice(at + 1)}`
        assert.strictEqual(yield* server.read(flipped(100)), "InvalidMac")
        assert.strictEqual(yield* server.read(flipped(120)), "DecryptionFailed")
        assert.strictEqual(yield* server.read(cookies.slice(0, -1)), "DecryptionFailed")
      })
  },
  {
    name: "the payload of several cookies is read from all of them",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make, settings: { compressionThreshold: 0 } })
        const cookies = yield* server.save("x".repeat(5000))
        yield* server.read(cookies)
        const other = yield* server.save("y".repeat(5000))
        const [first, second] = [cookies.split("; ")[0], other.split("; ")[1]]
        assert.strictEqual(yield* server.read(`${first}; ${second}`), "DecryptionFailed")
        assert.deepStrictEqual(server.counts, { verified: 1, opened: 2 })
        assert.strictEqual(yield* server.read(first ?? ""), "MissingChunk")
      })
  },
  {
    name: "several cookies are opened once too",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make, settings: { compressionThreshold: 0 } })
        const text = "x".repeat(5000)
        for (const on of ["elsewhere", "here"] as const) {
          const cookies = yield* server.save(text, on)
          for (let i = 0; i < 5; i++) assert.deepStrictEqual(yield* server.read(cookies), { text })
        }
        assert.deepStrictEqual(server.counts, { verified: 1, opened: 1 })
      })
  },
  {
    name: "what requests share cannot be changed by one of them",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make })
        const cookies = yield* server.save("tea")
        yield* server.read(cookies)
        const data = yield* server.read(cookies)
        assert.throws(() => Object.assign(data ?? {}, { text: "poison" }), TypeError)
        assert.deepStrictEqual(yield* server.read(cookies), { text: "tea" })
      })
  },
  {
    name: "only a few are remembered where there is room for a few",
    run: (make) =>
      Effect.gen(function*() {
        const server = yield* open({ make, settings: { cookieCacheSize: 10_000 } })
        const all: Array<string> = []
        for (let i = 0; i < 100; i++) all.push(yield* server.save(`tea ${i}`))
        for (const cookies of all) yield* server.read(cookies)
        server.counts.verified = 0
        for (const cookies of all) yield* server.read(cookies)
        assert.isAtLeast(server.counts.verified, 90)
      })
  }
]

/** As long as a header, with a MAC of its own. */
const text = (id: number | string): string => `${id}`.padStart(110, "-")

describe("verified cookies", () => {
  for (const { name, run } of checks) it.effect(name, () => run(Verified.make))

  it.effect("are not remembered where the setting says so", () =>
    Effect.gen(function*() {
      const server = yield* open({ settings: { cookieCacheSize: 0 } })
      const cookies = yield* server.save("tea")
      for (let i = 0; i < 3; i++) yield* server.read(cookies)
      assert.deepStrictEqual(server.counts, { verified: 3, opened: 3 })
    }))

  it.effect("are those of one configuration: another secret knows none of them", () =>
    Effect.gen(function*() {
      const one = yield* open()
      const cookies = yield* one.save("tea")
      yield* one.read(cookies)
      const other = yield* open({ settings: { secret: Redacted.make("another secret, of the next quarter") } })
      assert.strictEqual(yield* other.read(cookies), "InvalidMac")
    }))

  it.effect("stay as long as they are asked for, and within the room", () =>
    Effect.sync(() => {
      const cache = Verified.make(100_000)
      const verified = { presented: {} as never, key: 0, contents: undefined }
      const busy = text("busy")
      cache.set(busy, verified, start)
      for (let i = 0; i < 1000; i++) {
        cache.set(text(i), verified, start)
        assert.strictEqual(cache.get(busy, start), verified)
      }
      let left = 0
      for (let i = 0; i < 1000; i++) if (cache.get(text(i), start) !== undefined) left++
      assert.isAtMost(left * 600, 100_000)
      assert.isAtLeast(left, 40)
    }))

  // Deno has no collector to call.
  it.effect.skipIf("Deno" in globalThis)("keep nothing of the headers that they came in", () =>
    Effect.sync(() => {
      setFlagsFromString("--expose-gc")
      const collect: () => void = runInNewContext("gc")
      const heap = (): number => {
        collect()
        return process.memoryUsage().heapUsed
      }
      const cache = Verified.make(4_000_000)
      const before = heap()
      for (let i = 0; i < 2000; i++) {
        const header = Buffer.from(`session=${text(i)}`.padEnd(16_000, "; other=cookie")).toString("latin1")
        cache.set(header.slice(8, 118), { presented: {} as never, key: 0, contents: undefined }, start)
      }
      assert.isBelow(heap() - before, 4_000_000)
      assert.isDefined(cache.get(text(1999), start))
    }))

  it.effect("are forgotten when the clock is set back", () =>
    Effect.sync(() => {
      const cache = Verified.make(100_000)
      cache.set(text("a"), { presented: {} as never, key: 0, contents: undefined }, start)
      assert.isUndefined(cache.get(text("a"), start - 3600))
    }))
})

/** Caches that break a promise, each with the check that tells. */
const broken: ReadonlyArray<{ readonly fault: string; readonly make: Make; readonly told: string }> = [
  {
    fault: "never forgets",
    make: (maxBytes) => {
      const cache = Verified.make(maxBytes)
      return {
        ...cache,
        get: (text) => cache.get(text, start),
        set: (text, verified) => cache.set(text, verified, start)
      }
    },
    told: "and after a minute again"
  },
  {
    fault: "goes by the header alone",
    make: (maxBytes) => {
      const cache = Verified.make(maxBytes)
      return {
        get: (text, now) => cache.get(text.slice(0, 110), now),
        set: (text, verified, now) => cache.set(text.slice(0, 110), verified, now),
        delete: (text) => cache.delete(text.slice(0, 110))
      }
    },
    told: "one character more, less or other is another cookie"
  },
  {
    fault: "forgets that more cookies belong to it",
    make: (maxBytes) => {
      const cache = Verified.make(maxBytes)
      return {
        ...cache,
        set: (text, { contents, ...verified }, now) =>
          cache.set(text, { ...verified, contents: contents && { ...contents, data: undefined } }, now)
      }
    },
    told: "the payload of several cookies is read from all of them"
  },
  {
    fault: "goes by the MAC alone",
    make: (maxBytes) => {
      const cache = Verified.make(maxBytes)
      const known = new Map<string, string>()
      const mac = (text: string): string => text.slice(88, 110)
      return {
        ...cache,
        get: (text, now) => cache.get(known.get(mac(text)) ?? text, now),
        set: (text, verified, now) => {
          known.set(mac(text), text)
          cache.set(text, verified, now)
        }
      }
    },
    told: "one character more, less or other is another cookie"
  },
  {
    fault: "keeps what ended",
    make: (maxBytes) => ({ ...Verified.make(maxBytes), delete: () => undefined }),
    told: "a session that ended is dropped"
  },
  {
    fault: "has no bound",
    make: () => Verified.make(Number.MAX_SAFE_INTEGER),
    told: "only a few are remembered where there is room for a few"
  },
  {
    fault: "shares what can be changed",
    // The data as they were given, not a copy.
    make: () => {
      const map = new Map<string, Verified.Verified>()
      return {
        get: (text) => map.get(text),
        set: (text, verified) => map.set(text, verified),
        delete: (text) => map.delete(text)
      }
    },
    told: "what requests share cannot be changed by one of them"
  },
  {
    fault: "remembers nothing",
    make: () => ({ get: () => undefined, set: () => undefined, delete: () => undefined }),
    told: "the same cookie is verified and opened once"
  }
]

describe("a cache of verified cookies that", () => {
  for (const { fault, make, told } of broken) {
    it.effect(`${fault} is told by: ${told}`, () =>
      Effect.gen(function*() {
        const check = checks.find(({ name }) => name === told)
        if (check === undefined) return assert.fail("no such check")
        const exit = yield* Effect.exit(check.run(make))
        assert.strictEqual(exit._tag, "Failure")
      }))
  }
})
