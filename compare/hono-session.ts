/** This library has no way to give a session a new id. */
import { serve } from "@hono/node-server"
import { useSession, useSessionStorage } from "@hono/session"
import type { SessionEnv } from "@hono/session"
import { Hono } from "hono"
import type { Context } from "hono"
import { stream as streaming } from "hono/streaming"
import * as Peer from "./peer.ts"

interface Data extends Record<string, unknown> {
  readonly user: string | null
  readonly data: Record<string, string>
}

const empty: Data = { user: null, data: {} }

const peerSession = async (context: Context<SessionEnv<Data>>): Promise<Peer.Session> => {
  const session = context.get("session")
  const { data, user } = await session.get() ?? empty
  return {
    user: () => user,
    data: () => data,
    login: (user) => session.update((before) => ({ ...empty, ...before, user })),
    set: (key, value) => session.update((before) => ({ ...empty, ...before, data: { ...before?.data, [key]: value } })),
    renew: undefined,
    logout: async () => session.delete()
  }
}

const app = new Hono<SessionEnv<Data>>()

app.use(
  useSessionStorage<Data, SessionEnv<Data>>({ get: Peer.store.get, set: Peer.store.set, delete: Peer.store.destroy }),
  useSession<Data>({ secret: Peer.secret })
)

app.all("/*", async (context) => {
  const url = new URL(context.req.url)
  const { body, location, status, stream } = await Peer.answer(
    context.req.method,
    `${url.pathname}${url.search}`,
    await peerSession(context)
  )
  if (location !== undefined) return context.redirect(location)
  return stream === undefined
    ? Response.json(body, { status })
    : streaming(context, async (to) => {
      for await (const chunk of stream()) await to.write(chunk)
    })
})

serve({ fetch: app.fetch, port: Peer.port, hostname: "127.0.0.1" }, Peer.listening)
