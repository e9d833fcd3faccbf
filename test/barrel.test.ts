import { assert, describe, it } from "@effect/vitest"
import { readdirSync } from "node:fs"
import * as Barrel from "../src/index.ts"

// They load `effect/http-api` and `@effect/sql-pg`, which a server without them should not pay for, nor install; and
// `cli` is no module to import.
const ownSubpath = new Set(["KongSessionStore", "LuaSessionStore", "PgSessionStore", "SessionHttpApi", "cli"])

const modules = readdirSync(new URL("../src/", import.meta.url))
  .filter((file) => file.endsWith(".ts") && file !== "index.ts")
  .map((file) => file.slice(0, -".ts".length))
  .filter((module) => !ownSubpath.has(module))

describe("effect-session", () => {
  it("exports every module under its name", () => {
    assert.deepStrictEqual(Object.keys(Barrel).toSorted(), modules.toSorted())
  })

  it.each(modules)("%s is the module itself", async (module) => {
    const exported: Record<string, unknown> = Barrel
    assert.deepStrictEqual(exported[module], await import(`../src/${module}.ts`))
  })
})
