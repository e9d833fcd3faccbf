/**
 * Servers as only their clients know them: a process, a port, and the order in which bytes arrive.
 */
import { Context, Effect, Layer, Schedule } from "effect"
import type { Scope } from "effect"
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { fileURLToPath } from "node:url"
import { connectTo, Hung, requestText } from "./http.ts"
import type { Jar, Reply } from "./http.ts"

// -----------------------------------------------------------------------------
// processes
// -----------------------------------------------------------------------------

/** A server on a port of this machine. */
export class Server extends Context.Service<Server, { readonly port: number }>()("test/Server") {}

const root = fileURLToPath(new URL("../../", import.meta.url))

const runtime = "Deno" in globalThis ? ["run", "-A"] : []

// What the surroundings of the tests say of sessions is not meant for the servers.
const inherited = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(SESSION_|STORE_|NODE_OPTIONS$|VITEST)/.test(name))
)

// At once: what these servers hold needs no farewell.
const end = (child: ChildProcess): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
    child.once("exit", () => resume(Effect.void))
    child.kill("SIGKILL")
  })

/** Starts a file of this repository that says `listening on PORT`, on a free port. */
export const layerServer = (
  file: string,
  env: { readonly [name: string]: string } = {}
): Layer.Layer<Server> =>
  Layer.effect(
    Server,
    Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [...runtime, file], {
          cwd: root,
          env: { ...inherited, PORT: "0", SESSION_SECRET: "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4", ...env },
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      end
    ).pipe(Effect.flatMap((child) =>
      Effect.callback<{ readonly port: number }>((resume) => {
        let output = ""
        const listen = (text: string) => {
          output += text
          const port = /^listening on (\d+)$/m.exec(output)?.[1]
          if (port !== undefined) resume(Effect.succeed({ port: Number(port) }))
        }
        child.stdout.setEncoding("utf8").on("data", listen)
        child.stderr.setEncoding("utf8").on("data", listen)
        child.on("error", (error) => resume(Effect.die(error)))
        child.on("exit", () => resume(Effect.die(new Error(`${file} ended before it listened:\n${output}`))))
      })
    ))
  )

// -----------------------------------------------------------------------------
// requests
// -----------------------------------------------------------------------------

/** A request that is under way. */
export interface Pending {
  /** Whether its header block has arrived. */
  readonly answered: () => boolean
  /** Waits for the header block, whatever becomes of the body. */
  readonly head: Effect.Effect<Reply, Hung>
  /** Waits for the whole reply. */
  readonly reply: Effect.Effect<Reply, Hung>
}

/** A connection on which nothing has been asked yet. */
export interface Line {
  readonly send: (line: string, jar?: Jar) => Effect.Effect<Pending>
}

const headEnd = "\r\n\r\n"

const readHead = (text: string): Reply => {
  const [statusLine = "", ...lines] = text.slice(0, text.indexOf(headEnd)).split("\r\n")
  const fields = lines.map((line): [string, string] => {
    const colon = line.indexOf(":")
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
  })
  return {
    status: Number(statusLine.split(" ")[1]),
    headers: Object.fromEntries(fields),
    setCookies: fields.flatMap(([name, value]) => name === "set-cookie" ? [value] : []),
    body: ""
  }
}

/** Opens a connection, for a request that must not wait for one. */
export const open: Effect.Effect<Line, never, Server | Scope.Scope> = Effect.gen(function*() {
  const { port } = yield* Server
  const { received, reply, until, write } = yield* connectTo(port)
  const isComplete = (text: string): boolean => text.includes(headEnd)
  const answered = () => isComplete(received())
  return {
    send: (line, jar) =>
      Effect.as(write(requestText(line, jar)), {
        answered,
        head: Effect.flatMap(
          until(isComplete),
          // `until` also ends when the server hangs up.
          () => answered() ? Effect.sync(() => readHead(received())) : Effect.fail(new Hung({ received: received() }))
        ),
        reply: reply(line.split(" ")[0])
      })
  }
})

/** Sends a request on a connection of its own, and does not wait. The jar's cookies are sent; those of the reply are not kept. */
export const begin = (line: string, jar?: Jar): Effect.Effect<Pending, never, Server | Scope.Scope> =>
  Effect.flatMap(open, ({ send }) => send(line, jar))

/** A request and its reply, whose cookies the jar keeps. */
export const ask = (line: string, jar?: Jar): Effect.Effect<Reply, Hung, Server> =>
  begin(line, jar).pipe(
    Effect.flatMap(({ reply }) => reply),
    Effect.tap((reply) => Effect.sync(() => jar?.keep(reply))),
    Effect.scoped
  )

/** Asks again and again, until the answer fulfils a condition; the last answer, if none does. */
export const poll = <A, E, R>(
  question: Effect.Effect<A, E, R>,
  condition: (answer: A) => boolean,
  times = 400
): Effect.Effect<A, E, R> => Effect.repeat(question, { until: condition, schedule: Schedule.spaced("5 millis"), times })
