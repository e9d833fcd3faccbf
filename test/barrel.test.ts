import { assert, describe, it } from "@effect/vitest"
import { readdirSync } from "node:fs"
import * as Barrel from "../src/index.ts"
import * as Testing from "../src/testing/index.ts"

// They load `effect/http-api` and `@effect/sql-pg`, which a server without them should not pay for, nor install; and
// `cli` is no module to import.
const ownSubpath = new Set(["KongSessionStore", "LuaSessionStore", "PgSessionStore", "SessionHttpApi", "cli"])

const modulesIn = (folder: string): ReadonlyArray<string> =>
  readdirSync(new URL(folder, import.meta.url))
    .filter((file) => file.endsWith(".ts") && file !== "index.ts")
    .map((file) => file.slice(0, -".ts".length))
    .filter((module) => !ownSubpath.has(module))

describe.each([
  { name: "effect-session", exported: Barrel, folder: "../src/" },
  { name: "effect-session/testing", exported: Testing, folder: "../src/testing/" }
])("$name", ({ exported, folder }) => {
  const modules = modulesIn(folder)

  it("exports every module under its name", () => {
    assert.deepStrictEqual(Object.keys(exported).toSorted(), modules.toSorted())
  })

  it.each(modules)("%s is the module itself", async (module) => {
    const barrel: Record<string, unknown> = exported
    assert.deepStrictEqual(barrel[module], await import(`${folder}${module}.ts`))
  })
})
