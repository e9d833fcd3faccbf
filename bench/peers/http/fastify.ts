/** `fastify.ts secure|memory`: @fastify/secure-session, or @fastify/session with its store in memory. */
import cookie from "@fastify/cookie"
import secureSession from "@fastify/secure-session"
import session from "@fastify/session"
import fastify from "fastify"
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify"
import { dataOf, empty, listening } from "../../http/contract.ts"
import type { Counted } from "../../http/contract.ts"
import { secret } from "../../lib/secret.ts"

// Both have `get` and `set`, and both declare the request's session to be their own.
const sessionOf = (request: FastifyRequest) =>
  request.session as unknown as {
    readonly get: (name: "account") => Counted | undefined
    readonly set: (name: "account", account: Counted) => void
  }

const answer = (reply: FastifyReply, account: Counted | undefined) =>
  account === undefined ? reply.status(401).send() : reply.type("text/plain").send(account.user)

const routes = async (app: FastifyInstance): Promise<void> => {
  if (process.argv[2] === "secure") {
    await app.register(secureSession, { key: Buffer.from(secret), cookie: { path: "/" } })
  } else {
    await app.register(cookie)
    await app.register(session, { secret, saveUninitialized: false, cookie: { secure: false } })
  }
  app.get<{ Querystring: { id: string } }>("/login", (request, reply) => {
    sessionOf(request).set("account", dataOf(Number(request.query.id)))
    return reply.send()
  })
  app.get("/read", (request, reply) => answer(reply, sessionOf(request).get("account")))
  app.get("/write", (request, reply) => {
    const account = sessionOf(request).get("account")
    if (account !== undefined) sessionOf(request).set("account", { ...account, count: account.count + 1 })
    return answer(reply, account)
  })
  app.get("/data", (request, reply) => reply.send(JSON.stringify(sessionOf(request).get("account") ?? null)))
}

const app = fastify()

app.get("/empty", (_request, reply) => reply.type("text/plain").send(empty))
// In a scope of their own: the hooks of the plugins see no other route.
await app.register(routes)
await app.listen({ port: 0, host: "127.0.0.1" })
listening(app.server.address())
