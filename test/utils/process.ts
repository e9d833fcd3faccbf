/**
 * Programs of this repository as processes of their own, and a client for those that serve.
 */
import { onTestFinished } from "@effect/vitest"
import { spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { Jar } from "./http.ts"
import type { Reply } from "./http.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** A runtime as the beginning of a command. */
export type Runtime = readonly [executable: string, ...args: ReadonlyArray<string>]

/** The runtime of the tests. */
const here: Runtime = "Deno" in globalThis ? [process.execPath, "run", "-A"] : [process.execPath]

const denoPath = `${root}node_modules/.bin/deno`

/** For programs that run nowhere else; `undefined` where it is not installed. */
export const deno: Runtime | undefined = existsSync(denoPath) ? [denoPath, "run", "-A"] : undefined

/** A process. */
export interface Program {
  readonly pid: number
  /** What it has printed so far. */
  readonly output: () => string
  /** Its exit code, when it has ended; -1 if it was killed. */
  readonly exit: Promise<number>
  /** Asks it to end, as a terminal does, and waits; fails if it had to be killed. */
  readonly stop: () => Promise<void>
}

interface Options {
  readonly runtime?: Runtime | undefined
  readonly env?: { readonly [name: string]: string } | undefined
}

// What the surroundings of the tests say of sessions is not meant for the programs under test.
const inherited = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(SESSION_|PORT$|BASE_URL$|NODE_OPTIONS$|VITEST)/.test(name))
)

/** Starts a file of this repository. It does not outlive the test. */
export const run = (file: string, { env, runtime = here }: Options = {}): Program => {
  const [executable, ...args] = runtime
  const child = spawn(executable, [...args, file], {
    cwd: root,
    env: { ...inherited, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let output = ""
  const listen = (text: string) => {
    output += text
  }
  child.stdout.setEncoding("utf8").on("data", listen)
  child.stderr.setEncoding("utf8").on("data", listen)
  let isKilled = false
  const exit = new Promise<number>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (code) => resolve(code ?? -1))
  })
  const stop = async () => {
    child.kill("SIGINT")
    const impatience = setTimeout(() => {
      isKilled = child.kill("SIGKILL")
    }, 10_000)
    await exit.finally(() => clearTimeout(impatience))
    if (isKilled) throw new Error(`${file} did not end when it was asked to:\n${output}`)
  }
  onTestFinished(stop)
  return { pid: child.pid ?? -1, output: () => output, exit, stop }
}

/** What a process left behind. */
export interface Ended {
  /** -1 if it was killed. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a file of this repository to its end, with arguments and with what it reads. */
export const execute = (
  file: string,
  args: ReadonlyArray<string>,
  { env, input = "", runtime = here }: Options & { readonly input?: string | undefined } = {}
): Promise<Ended> =>
  new Promise((resolve, reject) => {
    const [executable, ...runtimeArgs] = runtime
    const child = spawn(executable, [...runtimeArgs, file, ...args], {
      cwd: root,
      env: { ...inherited, NO_COLOR: "1", ...env }
    })
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
    })
    child.on("error", reject)
    child.on("close", (code) => resolve({ code: code ?? -1, stdout, stderr }))
    // Who needs no input may end before it has been written.
    child.stdin.on("error", (error: NodeJS.ErrnoException) => error.code === "EPIPE" || reject(error))
    child.stdin.end(input)
    onTestFinished(() => {
      child.kill("SIGKILL")
    })
  })

/** A program that serves HTTP. */
export interface Server extends Program {
  readonly url: string
}

/** Starts a server on a free port, and waits until it says where it listens. */
export const serve = async (file: string, { env, runtime }: Options = {}): Promise<Server> => {
  const program = run(file, { runtime, env: { PORT: "0", ...env } })
  let hasEnded = false
  void program.exit.finally(() => {
    hasEnded = true
  })
  while (true) {
    const said = /Listening on (http:\/\/\S+)|^listening on (\d+)$/m.exec(program.output())
    const url = said?.[1] ?? (said === null ? undefined : `http://127.0.0.1:${said[2]}`)
    if (url !== undefined) return { ...program, url }
    if (hasEnded) throw new Error(`${file} ended before it listened:\n${program.output()}`)
    await sleep(20)
  }
}

interface Message {
  readonly method?: string
  readonly headers?: { readonly [name: string]: string }
  /** Sent as JSON; as a form, if it is `URLSearchParams`. */
  readonly body?: unknown
}

/** Asks a server, keeps its cookies and follows no redirect. */
export interface Client {
  readonly jar: Jar
  readonly send: (path: string, message?: Message) => Promise<Reply>
}

export const makeClient = (url: string, jar = new Jar()): Client => ({
  jar,
  send: async (path, { body, headers, method = body === undefined ? "GET" : "POST" } = {}) => {
    const cookie = jar.header
    const response = await fetch(`${url}${path}`, {
      method,
      redirect: "manual",
      headers: {
        ...(cookie === undefined ? {} : { cookie }),
        ...(body === undefined || body instanceof URLSearchParams ? {} : { "content-type": "application/json" }),
        ...headers
      },
      ...(body === undefined ? {} : { body: body instanceof URLSearchParams ? body : JSON.stringify(body) })
    })
    const reply = {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      setCookies: response.headers.getSetCookie(),
      body: await response.text()
    }
    jar.keep(reply)
    return reply
  }
})
