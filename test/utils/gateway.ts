/** The gateway as a process, with a configuration, in front of a server that says what it was asked. */
import { onTestFinished } from "@effect/vitest"
import { randomUUID } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { run, serve } from "./process.ts"
import type { Program, Server } from "./process.ts"

/** A request as upstream got it. */
export interface Asked {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Upstream {
  readonly url: string
  readonly port: number
  /** In the order in which they were complete. */
  readonly asked: Array<Asked>
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void

const listen = (handler: Handler): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer(handler)
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve(typeof address === "object" && address !== null ? address.port : 0)
    })
  })

/** Answers with what it was asked, unless told otherwise. */
export const startUpstream = async (
  answer: (asked: Asked, response: ServerResponse) => void = (asked, response) => {
    response.writeHead(200, { "content-type": "application/json" })
    response.end(JSON.stringify(asked))
  }
): Promise<Upstream> => {
  const asked: Array<Asked> = []
  const port = await listen((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      const { headers, method = "", url = "" } = request
      const complete = { method, url, headers, body: Buffer.concat(chunks).toString() }
      asked.push(complete)
      answer(complete, response)
    })
  })
  return { asked, port, url: `http://127.0.0.1:${port}` }
}

/** A server that does with requests what the test likes. */
export const startRaw = async (handler: Handler): Promise<string> => `http://127.0.0.1:${await listen(handler)}`

const main = "examples/gateway/main.ts"

const write = (configuration: string): string => {
  const folder = mkdtempSync(join(tmpdir(), "gateway-"))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, `${randomUUID()}.yaml`)
  writeFileSync(file, configuration)
  return file
}

type Env = { readonly [name: string]: string }

/** Waits until it listens. */
export const startGateway = (configuration: string, env: Env = {}): Promise<Server> =>
  serve(main, { env: { KONG_CONFIG: write(configuration), ...env } })

/** One that is not expected to. */
export const runGateway = (configuration: string, env: Env = {}): Program =>
  run(main, { env: { PORT: "0", KONG_CONFIG: write(configuration), ...env } })
