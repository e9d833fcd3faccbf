/**
 * Packs the package, installs it into an empty project and uses it there as its users will: under Node, as `npm:`
 * under Deno, and with TypeScript's two ways to resolve modules.
 */
import * as assert from "node:assert/strict"
import { execFileSync, spawnSync } from "node:child_process"
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../", import.meta.url))
const app = mkdtempSync(join(tmpdir(), "effect-session-pack-"))
const write = (file: string, content: string) => writeFileSync(join(app, file), content)
const writeJson = (file: string, content: unknown) => write(file, JSON.stringify(content))

const manifest: {
  readonly devDependencies: { readonly [name: string]: string }
  readonly peerDependencies: { readonly [name: string]: string }
} = JSON.parse(
  readFileSync(join(root, "package.json"), "utf8")
)
const sources = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -".ts".length))
const hidden = /^(index$|internal\/|cli$|cli\/|testing\/index$|testing\/checks\/)/
const subpaths = [...sources.filter((source) => !hidden.test(source)), "testing"]

const step = (name: string, run: () => void): void => {
  run()
  console.log(`ok: ${name}`)
}

const npm = (cwd: string, ...args: ReadonlyArray<string>) =>
  execFileSync("npm", ["--loglevel=error", ...args], { cwd, stdio: "inherit" })
const node = (...args: ReadonlyArray<string>) => execFileSync(process.execPath, args, { cwd: app, stdio: "inherit" })
const deno = (...args: ReadonlyArray<string>) =>
  execFileSync(join(root, "node_modules/.bin/deno"), args, { cwd: app, stdio: "inherit" })

/** Runs a file of the project under Deno, with those that it imports, which finds what is installed as `npm:`. */
const denoAsNpm = (main: string, imported: ReadonlyArray<string>, ...args: ReadonlyArray<string>) => {
  writeJson("deno.json", { nodeModulesDir: "manual", lock: false })
  const copies = join(app, "npm")
  mkdirSync(copies)
  for (const file of [main, ...imported]) {
    writeFileSync(join(copies, file), readFileSync(join(app, file), "utf8").replaceAll(/"(?=effect)/g, "\"npm:"))
  }
  deno("run", "-A", "--cached-only", join(copies, main), ...args)
  rmSync(copies, { recursive: true })
}

/** The installed command line. */
const effectSession = (args: ReadonlyArray<string>, env: NodeJS.ProcessEnv = {}) =>
  spawnSync(process.execPath, [join(app, "node_modules/.bin/effect-session"), ...args], {
    cwd: app,
    encoding: "utf8",
    env: { ...process.env, ...env }
  })

try {
  npm(root, "pack", "--pack-destination", app)
  const tarball = readdirSync(app).find((file) => file.endsWith(".tgz"))
  assert.ok(tarball !== undefined)

  step("the tarball holds the sources and what is built from them, and nothing else", () => {
    const entries = execFileSync("tar", ["-tzf", tarball], { cwd: app, encoding: "utf8" }).trim().split("\n")
    const expected = [
      "CHANGELOG.md",
      "LICENSE",
      "README.md",
      "package.json",
      ...sources.map((source) => `src/${source}.ts`),
      ...sources.flatMap((source) => ["js", "js.map", "d.ts", "d.ts.map"].map((kind) => `dist/${source}.${kind}`))
    ]
    assert.deepEqual(entries.toSorted(), expected.map((file) => `package/${file}`).toSorted())
  })

  const install = (peers: ReadonlyArray<string>): void => {
    writeJson("package.json", {
      private: true,
      type: "module",
      dependencies: {
        ...Object.fromEntries(peers.map((peer) => [peer, manifest.devDependencies[peer]])),
        "effect-session": `file:${tarball}`
      }
    })
    npm(app, "install", "--prefer-offline", "--ignore-scripts", "--no-audit")
  }

  step("it installs and loads beside nothing but effect", () => {
    install(["effect"])
    write("alone.ts", `import "effect-session"\nimport "effect-session/SessionHttpApi"\n`)
    node("alone.ts")
  })

  copyFileSync(join(root, "scripts/storeAuthor.ts"), join(app, "storeAuthor.ts"))
  const checksStores = (...messages: ReadonlyArray<string>) => {
    node("storeAuthor.ts", ...messages)
    denoAsNpm("storeAuthor.ts", [], ...messages)
  }
  const noFastCheck = "Error: fast-check is not installed. Run `npm install fast-check`"

  step("it checks stores without fast-check, but for the check that needs it", () => checksStores(noFastCheck))

  step("its command line says which peer it misses", () => {
    const { status, stderr, stdout } = effectSession(["secret"])
    assert.deepEqual([status, stdout], [3, ""])
    assert.equal(
      stderr,
      "effect-session: @effect/platform-node is not installed. Run `npm install @effect/platform-node`\n"
    )
  })

  step("it checks stores without vitest", () => {
    install(["effect", "fast-check"])
    checksStores()
  })

  step("it installs with its optional peers", () => install(Object.keys(manifest.peerDependencies)))

  copyFileSync(join(root, "scripts/consumer.ts"), join(app, "consumer.ts"))
  write(
    "main.ts",
    [
      `import * as assert from "node:assert/strict"`,
      `import * as Barrel from "effect-session"`,
      ...subpaths.map((subpath, index) => `import * as Module${index} from "effect-session/${subpath}"`),
      `for (const module of [Barrel, ${subpaths.map((_, index) => `Module${index}`).join(", ")}]) {`,
      `  assert.notEqual(Object.keys(module).length, 0)`,
      `}`,
      ...sources.filter((source) => !subpaths.includes(source)).map((source) =>
        `await assert.rejects(import("effect-session/${source}" as string), /is not defined by "exports"/)`
      ),
      `import "./consumer.ts"`
    ].join("\n")
  )

  for (const [module, moduleResolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]] as const) {
    step(`its types resolve with moduleResolution ${moduleResolution}`, () => {
      writeJson(`tsconfig.${moduleResolution}.json`, {
        include: ["*.ts"],
        compilerOptions: {
          module,
          moduleResolution,
          target: "es2023",
          lib: ["es2024", "dom", "dom.iterable"],
          strict: true,
          exactOptionalPropertyTypes: true,
          noEmit: true,
          allowImportingTsExtensions: true,
          // the declarations themselves are under test
          skipLibCheck: false,
          typeRoots: [join(root, "node_modules/@types")],
          types: ["node"]
        }
      })
      node(join(root, "node_modules/typescript/bin/tsc"), "-p", `tsconfig.${moduleResolution}.json`)
    })
  }

  step("it runs under Node", () => node("main.ts"))

  step("its command line makes a secret, a cookie with it, and reads it", () => {
    const env = { SESSION_SECRET: effectSession(["secret"]).stdout.trim() }
    const sealed: { readonly cookie: string } = JSON.parse(effectSession(["seal", "{}", "--json"], env).stdout)
    const { status, stdout } = effectSession(["inspect", "--json", sealed.cookie], env)
    assert.equal(status, 0)
    assert.equal(JSON.parse(stdout).data_json, "{}")
  })

  step("it runs as npm: under Deno", () => denoAsNpm("main.ts", ["consumer.ts"]))

  step("it makes a suite of vitest", () => {
    write(
      "store.test.ts",
      [
        `import { layerMemory } from "effect-session/SessionStore"`,
        `import { SessionStoreTest } from "effect-session/testing"`,
        `SessionStoreTest.suite({ layer: layerMemory })`
      ].join("\n")
    )
    node(join(app, "node_modules/vitest/vitest.mjs"), "run")
  })
} finally {
  rmSync(app, { recursive: true })
}
