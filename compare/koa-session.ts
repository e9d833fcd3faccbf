import Koa from "koa"
import session from "koa-session"
import { Readable } from "node:stream"
import * as Peer from "./peer.ts"

const peerSession = (context: Koa.Context): Peer.Session => ({
  user: () => context.session?.user ?? null,
  data: () => context.session?.data ?? {},
  login: async (user) => {
    context.session.user = user
    await context.session.regenerate()
  },
  set: async (key, value) => {
    context.session.data = { ...context.session.data, [key]: value }
  },
  renew: () => context.session.regenerate(),
  logout: async () => {
    context.session = null
  }
})

const app = new Koa()
app.keys = [Peer.secret]

app.use(session({ key: "session", store: Peer.store }, app))

app.use(async (context) => {
  const { body, location, status, stream } = await Peer.answer(context.method, context.url, peerSession(context))
  if (location !== undefined) return context.redirect(location)
  context.status = status
  context.body = stream === undefined ? body : Readable.from(stream())
})

const server = app.listen(Peer.port, "127.0.0.1", () => Peer.listening(server.address()))
