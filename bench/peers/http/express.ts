/** `express.ts memory|postgres|postgres-touchless` */
import connectPgSimple from "connect-pg-simple"
import express from "express"
import type { Request, Response } from "express"
import session from "express-session"
import { Pool } from "pg"
import { dataOf, empty, listening } from "../../http/contract.ts"
import type { Counted } from "../../http/contract.ts"
import { secret } from "../../lib/secret.ts"

declare module "express-session" {
  interface SessionData {
    account?: Counted
  }
}

const store = process.argv[2]

const postgres = (disableTouch: boolean): session.Store => {
  const Store = connectPgSimple(session)
  return new Store({
    pool: new Pool({ connectionString: process.env["DATABASE_URL"], max: 16 }),
    createTableIfMissing: true,
    disableTouch,
    pruneSessionInterval: false
  })
}

const sessions = session({
  secret,
  resave: false,
  saveUninitialized: false,
  store: store === "memory" ? new session.MemoryStore() : postgres(store === "postgres-touchless")
})

const withAccount =
  (handle: (account: Counted, request: Request) => void) => (request: Request, response: Response) => {
    const { account } = request.session
    if (account === undefined) return void response.status(401).end()
    handle(account, request)
    response.type("text").send(account.user)
  }

const app = express()
app.disable("x-powered-by")
app.disable("etag")

app.get("/empty", (_request, response) => {
  response.type("text").send(empty)
})
app.get("/login", sessions, (request, response) => {
  request.session.account = dataOf(Number(request.query["id"]))
  response.end()
})
app.get("/read", sessions, withAccount(() => undefined))
app.get(
  "/write",
  sessions,
  withAccount((account, request) => {
    request.session.account = { ...account, count: account.count + 1 }
  })
)
app.get("/data", sessions, (request, response) => {
  response.json(request.session.account ?? null)
})

const server = app.listen(0, "127.0.0.1", () => listening(server.address()))
