/** With SAVE=explicit, handlers wait for `save()`, as the documentation advises where "automatically" is too late. */
import express from "express"
import type { Request, Response } from "express"
import session from "express-session"
import * as Peer from "./peer.ts"

declare module "express-session" {
  interface SessionData {
    user?: string | null
    data?: Record<string, string>
  }
}

class Store extends session.Store {
  get = Peer.callbackStore.get
  set = Peer.callbackStore.set
  destroy = Peer.callbackStore.destroy
  override touch = Peer.callbackStore.touch
}

const promise = (run: (callback: (error: unknown) => void) => void): Promise<void> =>
  new Promise((resolve, reject) => {
    run((error) => error === null || error === undefined ? resolve() : reject(error))
  })

const saved = (request: Request): Promise<void> =>
  process.env.SAVE === "explicit" ? promise((callback) => request.session.save(callback)) : Promise.resolve()

// `regenerate` drops the data.
const renew = async (request: Request): Promise<void> => {
  const { data, user } = request.session
  await promise((callback) => request.session.regenerate(callback))
  Object.assign(request.session, { data, user })
}

const peerSession = (request: Request): Peer.Session => ({
  user: () => request.session.user ?? null,
  data: () => request.session.data ?? {},
  login: async (user) => {
    await renew(request)
    request.session.user = user
    await saved(request)
  },
  set: async (key, value) => {
    request.session.data = { ...request.session.data, [key]: value }
    await saved(request)
  },
  renew: async () => {
    await renew(request)
    await saved(request)
  },
  logout: () => promise((callback) => request.session.destroy(callback))
})

const app = express()

app.use(session({
  name: "session",
  secret: Peer.secret,
  resave: false,
  saveUninitialized: false,
  store: new Store()
}))

const respond = async (request: Request, response: Response): Promise<void> => {
  const { body, location, status, stream } = await Peer.answer(
    request.method,
    request.originalUrl,
    peerSession(request)
  )
  if (location !== undefined) return response.redirect(status, location)
  if (stream === undefined) return void response.status(status).json(body)
  for await (const chunk of stream()) response.write(chunk)
  response.end()
}

app.use((request, response, next) => {
  respond(request, response).catch(next)
})

const server = app.listen(Peer.port, "127.0.0.1", () => Peer.listening(server.address()))
