/**
 * What the servers of this directory share: the routes of `examples/contract.ts`, as far as the other libraries know
 * what they are about, and a store in memory with the same faults.
 */
import { setTimeout as sleep } from "node:timers/promises"

/** What a library's session is to the routes. */
export interface Session {
  readonly user: () => string | null
  readonly data: () => Record<string, string>
  /** As the library's documentation says, with a new id where it knows how to make one. */
  readonly login: (user: string) => Promise<void>
  readonly set: (key: string, value: string) => Promise<void>
  /** A new id, and the same data; `undefined` where the library cannot make one. */
  readonly renew: (() => Promise<void>) | undefined
  readonly logout: () => Promise<void>
}

export interface Answer {
  readonly status: number
  readonly body: unknown
  readonly location?: string
  /** In place of the body. */
  readonly stream?: () => AsyncGenerator<string>
}

export const secret = "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4"

export const port = Number(process.env.PORT)

export const listening = (address: unknown): void => {
  if (typeof address !== "object" || address === null || !("port" in address)) throw new Error("not a TCP server")
  process.stdout.write(`listening on ${address.port}\n`)
}

// -----------------------------------------------------------------------------
// the store
// -----------------------------------------------------------------------------

let faults = { delay: 0, fail: false }
let paused = 0
let resume = Promise.withResolvers<void>()

const pause = async (millis: number): Promise<void> => {
  if (millis === 0) return
  paused++
  await Promise.race([sleep(millis, undefined, { ref: false }), resume.promise])
  paused--
}

const rows = new Map<string, string>()

const unlessFailing = <A>(operation: () => A): A => {
  if (faults.fail) throw new Error("STORE_FAIL")
  return operation()
}

const write = async (operation: () => void): Promise<void> => {
  await pause(faults.delay)
  unlessFailing(operation)
}

/** Keeps JSON, as a database would. Reads are quick, and writes as slow as they are told to be. */
export const store = {
  get: async <A>(id: string): Promise<A | null> =>
    unlessFailing(() => {
      const row = rows.get(id)
      return row === undefined ? null : JSON.parse(row)
    }),
  set: (id: string, session: unknown): Promise<void> => {
    const row = JSON.stringify(session)
    return write(() => {
      rows.set(id, row)
    })
  },
  destroy: (id: string): Promise<void> =>
    write(() => {
      rows.delete(id)
    }),
  /** As connect-pg-simple: an UPDATE of the expiry alone, which makes no row. Nothing expires here. */
  touch: (): Promise<void> => write(() => undefined)
}

type Callback<A = void> = (error: unknown, result?: A) => void

const withCallback = <A>(promise: Promise<A>, callback: Callback<A> = () => undefined): void => {
  promise.then((result) => callback(null, result), (error: unknown) => callback(error))
}

/** The store in the shape that Express gave to stores. */
export const callbackStore = {
  get: <A>(id: string, callback: Callback<A | null>): void => withCallback(store.get<A>(id), callback),
  set: (id: string, session: unknown, callback?: Callback): void => withCallback(store.set(id, session), callback),
  destroy: (id: string, callback?: Callback): void => withCallback(store.destroy(id), callback),
  touch: (_id: string, _session: unknown, callback?: Callback): void => withCallback(store.touch(), callback)
}

// -----------------------------------------------------------------------------
// the routes
// -----------------------------------------------------------------------------

const ok = (body: unknown = {}): Answer => ({ status: 200, body })

const unsupported: Answer = { status: 501, body: { error: "the library has nothing of the kind" } }

const me = (session: Session): Answer => {
  const user = session.user()
  return user === null
    ? { status: 401, body: { error: "not logged in" } }
    : ok({ user, data: session.data(), handle: null })
}

const ticks = async function*(): AsyncGenerator<string> {
  for (let n = 0; n < 5; n++) {
    await sleep(20)
    yield `${JSON.stringify({ n })}\n`
  }
}

type Route = (session: Session, query: (name: string) => string) => Answer | Promise<Answer>

const routes: { readonly [route: string]: Route } = {
  "POST /login": async (session, query) => {
    await session.login(query("user"))
    return ok()
  },
  "GET /redirect-login": async (session, query) => {
    await session.login(query("user"))
    return { status: 302, body: "", location: "/me" }
  },
  "GET /me": me,
  "GET /read": async (session, query) => {
    const answer = me(session)
    await pause(Number(query("ms")))
    return answer
  },
  "POST /set": async (session, query) => {
    await pause(Number(query("ms")))
    await session.set(query("k"), query("v"))
    return ok()
  },
  "GET /stream": async (session) => {
    await session.set("streamed", "yes")
    return { status: 200, body: "", stream: ticks }
  },
  "POST /renew": async (session, query) => {
    if (session.renew === undefined) return unsupported
    await pause(Number(query("ms")))
    await session.renew()
    return ok()
  },
  "POST /logout": async (session) => {
    await session.logout()
    return ok()
  },
  "GET /_rows": () => ok({ rows: rows.size }),
  "GET /_paused": () => ok({ paused }),
  "POST /_resume": () => {
    resume.resolve()
    resume = Promise.withResolvers()
    return ok()
  },
  "POST /_fault": (_session, query) => {
    faults = { delay: Number(query("delay")), fail: query("fail") === "1" }
    return ok()
  }
}

/** Answers a request; 501 for what no other library has: revocation by handle, and time that can be moved. */
export const answer = async (method: string, path: string, session: Session): Promise<Answer> => {
  const { pathname, searchParams } = new URL(path, "http://localhost")
  const route = routes[`${method} ${pathname}`]
  return route === undefined
    ? unsupported
    : route(session, (name) => searchParams.get(name) ?? "")
}
