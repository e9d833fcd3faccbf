import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

interface Example {
  /** Where it stands, as `file:line`. */
  readonly place: string
  /** After as many blank lines as stand above it, so that messages number its lines as the document does. */
  readonly source: string
  readonly runs: boolean
}

interface Outcome {
  readonly ok: boolean
  readonly output: string
}

const root = fileURLToPath(new URL("../", import.meta.url))

// In the checkout, so that "effect" and the package's own name resolve; not in `node_modules`, where Node refuses
// TypeScript.
mkdirSync(`${root}.tmp`, { recursive: true })
const directory = mkdtempSync(`${root}.tmp/docs-`)
afterAll(() => rmSync(directory, { recursive: true }))

const examplesIn = (file: string, text: string): ReadonlyArray<Example> => {
  const lines = text.split("\n")
  return lines.flatMap((line, index) => {
    const [, margin, mark] = /^(\s*(?:\* )?)```ts(?!\w)\s*(.*?)\s*$/.exec(line) ?? []
    if (margin === undefined || mark === undefined) return []
    const place = `${file}:${index + 1}`
    const end = lines.indexOf(`${margin}\`\`\``, index)
    if (end === -1) throw new Error(`${place}: the example has no end`)
    if (mark !== "" && mark !== "no-run") throw new Error(`${place}: nobody knows the mark "${mark}"`)
    const body = lines.slice(index + 1, end).map((each) => each.slice(margin.length))
    return [{ place, source: `${"\n".repeat(index + 1)}${body.join("\n")}\n`, runs: mark === "" }]
  })
}

const pathOf = (example: Example): string => `${directory}/${example.place.replaceAll(/[/:]/g, "_")}.ts`

const start = (...args: ReadonlyArray<string>): Promise<Outcome> =>
  new Promise((resolve) => {
    execFile(
      process.execPath,
      ["Deno" in globalThis ? ["run", "-A"] : [], args].flat(),
      { cwd: root, timeout: 25_000, killSignal: "SIGKILL" },
      (error, stdout, stderr) =>
        resolve({
          ok: error === null,
          output: `${stdout}${stderr}${error?.killed ? "It did not come to an end." : ""}`
        })
    )
  })

const run = (example: Example): Promise<Outcome> => start("--conditions=effect-session-source", pathOf(example))

/** The compiler's messages, by example; one run for all. */
const check = async (examples: ReadonlyArray<Example>): Promise<(example: Example) => ReadonlyArray<string>> => {
  for (const example of examples) writeFileSync(pathOf(example), example.source)
  writeFileSync(
    `${directory}/tsconfig.json`,
    JSON.stringify({
      extends: "../../tsconfig.json",
      // What an example declares is for its reader to use.
      compilerOptions: { noUnusedLocals: false },
      include: ["."]
    })
  )
  const { output } = await start("node_modules/typescript/bin/tsc", "-p", directory, "--pretty", "false")
  return (example) =>
    output.split(/\n(?!\s)/).filter((message) => message.startsWith(pathOf(example).slice(root.length)))
}

const documents = [
  ...["src", "docs"].flatMap((folder) =>
    readdirSync(`${root}${folder}`, { recursive: true, encoding: "utf8" }).map((file) => `${folder}/${file}`)
  ),
  ...readdirSync(root)
].filter((file) => file.endsWith(".md") || /^src\/.*\.ts$/.test(file))

const examples = documents.flatMap((file) => examplesIn(file, readFileSync(`${root}${file}`, "utf8")))

// Without these, a runner that notices nothing would look like documentation without a fault.
const samples = examplesIn(
  "samples",
  [
    "import * as SessionState from \"effect-session/SessionState\"; export default SessionState",
    "const size: number = \"ten\"",
    "throw new Error(\"on purpose\")",
    "Promise.reject(new Error(\"nobody waits for this\"))",
    "import * as Inside from \"effect-session/internal/base64url\"; export default Inside"
  ].map((line) => `/**\n * \`\`\`ts\n * ${line}\n * \`\`\`\n */\n`).join("")
)

describe("examples in the documentation", () => {
  let messages: (example: Example) => ReadonlyArray<string>
  beforeAll(async () => {
    messages = await check([...samples, ...examples])
  })

  it.concurrent.each(examples)("$place", async (example) => {
    assert.deepStrictEqual(messages(example), [])
    if (!example.runs) return
    const { ok, output } = await run(example)
    assert.isTrue(ok, output)
  })

  it.concurrent("that are wrong are noticed", async () => {
    const complaints = samples.flatMap(messages).map((message) => /\((\d+),\d+\): error (\w+)/.exec(message)?.slice(1))
    assert.deepStrictEqual(complaints, [["8", "TS2322"], ["23", "TS2307"]])
    const outcomes = await Promise.all(samples.map(run))
    assert.deepStrictEqual(outcomes.map(({ ok }) => ok), [true, true, false, false, false])
    assert.include(outcomes[2]?.output, "on purpose")
  })

  it("have an end and a mark that is known", () => {
    assert.throws(() => examplesIn("open.md", "```ts\nconst one = 1"), "open.md:1")
    assert.throws(() => examplesIn("mark.md", "\n```ts skip\n```"), "mark.md:2")
    assert.isEmpty(examplesIn("other.md", "```tsx\n```\n```sh\n```"))
    assert.deepStrictEqual(examplesIn("no-run.md", "```ts no-run\nmain()\n```"), [
      { place: "no-run.md:1", source: "\nmain()\n", runs: false }
    ])
  })
})
