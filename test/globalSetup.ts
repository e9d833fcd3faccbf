/**
 * One Postgres for all test files: that of `DATABASE_URL`, or an embedded one for as
 * long as the tests run.
 */
import type { TestProject } from "vitest/node"
import { makeServer } from "../examples/postgres/embedded.ts"
import type { PostgresServer } from "../examples/postgres/embedded.ts"

declare module "vitest" {
  interface ProvidedContext {
    /** Of a role that may create databases and roles. */
    readonly databaseUrl: string
  }
}

let server: PostgresServer | undefined

export const setup = async (project: TestProject): Promise<void> => {
  const { DATABASE_URL } = process.env
  if (DATABASE_URL !== undefined) return project.provide("databaseUrl", DATABASE_URL)
  // What is gone with the run need not survive a power cut.
  server = await makeServer({ fsync: "off", max_connections: "300" })
  await server.start()
  project.provide("databaseUrl", server.url)
}

export const teardown = async (): Promise<void> => server?.remove()
