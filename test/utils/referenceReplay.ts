/** Runs the recorded requests over the tables of a reference, which hold the same rows then as they did there. */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as SessionConfig from "../../src/SessionConfig.ts"
import * as SessionState from "../../src/SessionState.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import { layerPg, newTables, placementOf, type Reference, sql } from "./reference.ts"
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

export const referenceReplay = ({ dump, key, module, name, quiet, storage }: Reference, prefix: RegExp): void => {
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
  })
}
