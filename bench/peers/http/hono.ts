/** hono and iron-session */
import { serve } from "@hono/node-server"
import { Hono } from "hono"
import type { Context } from "hono"
import { getIronSession, webCookies } from "iron-session"
import { dataOf, empty, listening } from "../../http/contract.ts"
import type { Counted } from "../../http/contract.ts"
import { secret } from "../../lib/secret.ts"

const options = { cookieName: "session", password: secret, cookieOptions: { secure: false } }

const sessionOf = (context: Context, headers = new Headers()) =>
  getIronSession<{ account?: Counted }>(webCookies(context.req.raw, headers), options)

const app = new Hono()

app.get("/empty", (context) => context.text(empty))
app.get("/login", async (context) => {
  const headers = new Headers()
  const session = await sessionOf(context, headers)
  session.account = dataOf(Number(context.req.query("id")))
  await session.save()
  return new Response(null, { headers })
})
app.get("/read", async (context) => {
  const { account } = await sessionOf(context)
  return account === undefined ? context.body(null, 401) : context.text(account.user)
})
app.get("/write", async (context) => {
  const headers = new Headers({ "content-type": "text/plain" })
  const session = await sessionOf(context, headers)
  const { account } = session
  if (account === undefined) return context.body(null, 401)
  session.account = { ...account, count: account.count + 1 }
  await session.save()
  return new Response(account.user, { headers })
})
app.get("/data", async (context) => {
  const { account } = await sessionOf(context)
  return context.json(account ?? null)
})

serve({ fetch: app.fetch, port: 0, hostname: "127.0.0.1" }, listening)
