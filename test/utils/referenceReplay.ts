/** Runs the recorded requests over the tables of a reference, which hold the same rows then as they did there. */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as CookieCodec from "../../src/CookieCodec.ts"
import * as Crypto from "../../src/Crypto.ts"
import { commit } from "../../src/internal/commit.ts"
import * as Exchange from "../../src/internal/exchange.ts"
import * as Opening from "../../src/internal/opening.ts"
import * as Recording from "../../src/internal/recording.ts"
import * as SessionConfig from "../../src/SessionConfig.ts"
import * as SessionHttp from "../../src/SessionHttp.ts"
import * as SessionState from "../../src/SessionState.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import { cookieHeader, nobody } from "./codec.ts"
import { layerPg, newTables, placementOf, type Reference, secret, sql } from "./reference.ts"
import { replay } from "./replay.ts"
import { rowDifferences, type Step, steps, type Tables } from "./vectors.ts"

/** Deflate may find another way to say the same. */
const isDeflated = ({ meta }: Step): boolean => ((meta?.flags ?? 0) & SessionState.Flag.Deflate) !== 0

const attributesOf = (setCookie: string): string => setCookie.replace(/=[^;]*/, "=…")

/** Info has no order. */
const comparable = ({ metadata, rows }: Tables, deflated: boolean) => ({
  metadata,
  rows: rows.map(({ data, expires, key, name }) => {
    if (deflated) return { key, name, expires }
    const [payload, info]: ReadonlyArray<string> = JSON.parse(data)
    return {
      key,
      name,
      payload,
      info: info === undefined ? undefined : JSON.parse(Buffer.from(info, "base64url").toString()),
      expires
    }
  })
})

const assertVerdict = (step: Step, entry: SessionState.Entry | SessionState.Refusal) => {
  if (step.exists === undefined) return
  if (step.exists) return assert.notStrictEqual(typeof entry, "string", `${step.name}: ${String(entry)}`)
  if (typeof entry !== "string") return assert.fail(`${step.name} opened, against: ${step.error}`)
  assert.strictEqual(SessionState.refusals[entry], step.error, step.name)
}

export const referenceReplay = (
  { dump, key, module, name, quiet, settings, storage }: Reference,
  prefix: RegExp
): void => {
  const recorded = steps(SessionConfig.lua).filter((step) => prefix.test(step.name))
  const scenarios = Array.from(
    Map.groupBy(recorded, ({ name }) => name.slice(0, name.indexOf(":"))),
    ([scenario, steps]) => ({ scenario, steps })
  )

  const put = (table: string, of: string, data: string) =>
    sql(`UPDATE ${table} SET data = $1 WHERE ${key} = $2`, [data, of])

  layer(layerPg)(`${name}: requests to the reference, made to this library`, (it) => {
    it.effect("are all there", () => Effect.sync(() => assert.isAtLeast(scenarios.length, storage === "kong" ? 5 : 14)))

    it.effect.each(scenarios)(
      "$scenario: the same verdicts, cookies and tables",
      ({ steps }) =>
        Effect.gen(function*() {
          const tables = newTables()
          yield* Effect.scoped(Layer.build(module.layerMigrations(tables)))
          yield* quiet(tables.table)
          for (const step of steps) {
            const store = step.storage === "cookie"
              ? SessionStore.layerCookie
              : Layer.succeed(
                SessionStore.SessionStore,
                yield* placementOf(module.layerStorage(tables), step.options)
              )
            const { entry, setCookies } = yield* replay(step, store)
            assertVerdict(step, entry)
            const deflated = isDeflated(step)
            const shown = deflated ? attributesOf : String
            assert.deepStrictEqual(setCookies.map(shown), step.setCookies.map(shown), step.name)
            const after = rowDifferences.reduce(
              (tables, difference) => difference.case === step.name ? difference.ours(tables) : tables,
              step.after
            )
            assert.deepStrictEqual(comparable(yield* dump(tables), deflated), comparable(after, deflated), step.name)
            // What comes next presents the recorded cookie, to which the recorded row belongs.
            if (deflated) yield* Effect.forEach(step.after.rows, ({ data, key }) => put(tables.table, key, data))
          }
        })
    )

    it.effect("a login leaves neither of the old cookies' rows", () =>
      Effect.gen(function*() {
        const tables = newTables()
        const options = { ...settings, secret, remember: true, rememberSafety: "Low" } as const
        const placement = yield* placementOf(module.layerWith(tables), options)
        yield* quiet(tables.table)
        const context = yield* Layer.build(
          CookieCodec.layer.pipe(
            Layer.provideMerge(
              Layer.mergeAll(
                SessionConfig.layer(options),
                Crypto.layer,
                Layer.succeed(SessionStore.SessionStore, placement)
              )
            )
          )
        )
        const engine = yield* Effect.provideContext(SessionHttp.engine, context)
        const request = Effect.fnUntraced(function*(cookies: string | undefined, renew: boolean) {
          const exchange = Exchange.make(engine, { cookies, sender: nobody, host: undefined, upgrade: false })
          yield* Opening.authenticate(exchange)
          const entry = { audience: "default", data: { renew }, subject: undefined }
          yield* Recording.modify(exchange, { audience: "default", kind: "Data", apply: () => Effect.succeed(entry) })
          if (renew) yield* Recording.renew(exchange)
          return cookieHeader((yield* commit(exchange)).cookies)
        })
        const planted = yield* request(undefined, false)
        assert.strictEqual((yield* dump(tables)).rows.length, 2)
        const own = yield* request(planted, true)
        assert.strictEqual((yield* dump(tables)).rows.length, 2)
        const replayed = Exchange.make(engine, { cookies: planted, sender: nobody, host: undefined, upgrade: false })
        yield* Opening.authenticate(replayed)
        assert.isUndefined(yield* Recording.entry(replayed, "default"))
        assert.include(yield* request(own, false), "remember=")
      }))
  })
}
