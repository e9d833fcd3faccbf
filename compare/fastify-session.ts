import cookie from "@fastify/cookie"
import session from "@fastify/session"
import fastify from "fastify"
import type { FastifyRequest } from "fastify"
import { Readable } from "node:stream"
import * as Peer from "./peer.ts"

declare module "fastify" {
  interface Session {
    user?: string | null
    data?: Record<string, string>
  }
}

const peerSession = (request: FastifyRequest): Peer.Session => ({
  user: () => request.session.user ?? null,
  data: () => request.session.data ?? {},
  login: async (user) => {
    await request.session.regenerate(["data"])
    request.session.user = user
  },
  set: async (key, value) => {
    request.session.data = { ...request.session.data, [key]: value }
  },
  renew: () => request.session.regenerate(["user", "data"]),
  logout: () => request.session.destroy()
})

const app = fastify()

await app.register(cookie)
await app.register(session, {
  cookieName: "session",
  secret: Peer.secret,
  saveUninitialized: false,
  store: Peer.callbackStore,
  cookie: { secure: false }
})

app.all("/*", async (request, reply) => {
  const { body, location, status, stream } = await Peer.answer(request.method, request.url, peerSession(request))
  if (location !== undefined) return reply.redirect(location, status)
  return reply.status(status).send(stream === undefined ? body : Readable.from(stream()))
})

await app.listen({ port: Peer.port, host: "127.0.0.1" })
Peer.listening(app.server.address())
