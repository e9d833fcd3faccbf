/**
 * The races that break session libraries, as checks of a server that is only known by its routes.
 *
 * No check looks at a clock. What has to be slow is held until the check says so: handlers by `ms`, writes by
 * `/_fault?delay`; `/_paused` tells how many are held, and `/_resume` lets all of them go on.
 */
import { Data, Effect } from "effect"
import type { Scope } from "effect"
import { ask, begin, open, poll } from "./blackBox.ts"
import type { Pending, Server } from "./blackBox.ts"
import { Jar, names } from "./http.ts"
import type { Hung, Reply } from "./http.ts"

/** A promise that the server does not keep, and how that showed. */
class Broken extends Data.TaggedError("Broken")<{ readonly message: string }> {}

/** The server says that it does not know what a check is about. */
class Unsupported extends Data.TaggedError("Unsupported") {}

type Failure = Broken | Unsupported | Hung

export interface Check {
  readonly name: string
  readonly run: Effect.Effect<void, Failure, Server>
}

const check = (
  name: string,
  run: () => Generator<Effect.Effect<unknown, Failure, Server | Scope.Scope>, void>
): Check => ({ name, run: Effect.scoped(Effect.gen(run)) })

/** Fails with all that went wrong, if anything did. */
const expect = (wrong: { readonly [message: string]: boolean }): Effect.Effect<void, Broken> => {
  const messages = Object.keys(wrong).filter((message) => wrong[message])
  return messages.length === 0 ? Effect.void : Effect.fail(new Broken({ message: messages.join("; ") }))
}

/** Held until somebody resumes it: longer than any check takes. */
const forever = 60_000

const range = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => i)

// -----------------------------------------------------------------------------
// what the server can be asked
// -----------------------------------------------------------------------------

/** As `ask`, of a route that a server may not have. */
const askIfKnown = (line: string, jar?: Jar) =>
  Effect.tap(ask(line, jar), ({ status }) => status === 501 ? Effect.fail(new Unsupported()) : Effect.void)

const json = (reply: Reply): { readonly [name: string]: unknown } => JSON.parse(reply.body)

const rows = Effect.map(ask("GET /_rows"), (reply) => Number(json(reply).rows))

const paused = Effect.map(ask("GET /_paused"), (reply) => Number(json(reply).paused))

const resume = ask("POST /_resume")

/** Writes are quick from now on; those that are held stay so. */
const hurry = ask("POST /_fault?delay=0")

/** Faults until the check is over. */
const fault = (query: string) =>
  // Writes that are still held must not outlive the check.
  Effect.acquireRelease(ask(`POST /_fault?${query}`), () => Effect.orDie(Effect.andThen(ask("POST /_fault"), resume)))

const advance = (seconds: number) => askIfKnown(`POST /_clock?ahead=${seconds}`)

/** Until a renewal by time is due, after three quarters of an hour. The session is in use, and does not idle away. */
const age = (jar: Jar) =>
  Effect.andThen(advance(700), ask("GET /me", jar)).pipe(
    Effect.repeat({ times: 2 }),
    Effect.andThen(advance(650))
  )

interface Me {
  readonly user: string
  readonly data: { readonly [key: string]: string }
  readonly handle: string | null
}

/** Who the holder of these cookies is; `undefined` if nobody is logged in. The jar stays as it is. */
const me = (jar: Jar): Effect.Effect<Me | undefined, Hung, Server> =>
  Effect.map(
    Effect.suspend(() => ask("GET /me", jar.copy())),
    // What the route answers is its contract.
    (reply) => reply.status === 200 ? json(reply) as unknown as Me : undefined
  )

const isIn = (jar: Jar): Effect.Effect<boolean, Hung, Server> => Effect.map(me(jar), (me) => me !== undefined)

const makeUser = (): string => `user-${crypto.randomUUID()}`

/** Logs somebody in, as a browser with these cookies would. */
const login = Effect.fnUntraced(function*(jar: Jar = new Jar(), user: string = makeUser()) {
  const reply = yield* ask(`POST /login?user=${user}`, jar)
  // Otherwise a check could pass because nobody was ever logged in.
  if ((yield* me(jar))?.user !== user) return yield* Effect.die(new Error(`No login: ${reply.status} ${reply.body}`))
  return { jar, user, reply }
})

/** Waits until so many are held: handlers, or writes at the store. */
const untilPaused = Effect.fnUntraced(function*(count: number, pending: ReadonlyArray<Pending>) {
  const isOver = () => pending.every(({ answered }) => answered())
  const reached = yield* poll(paused, (paused) => paused >= count || isOver())
  if (reached >= count) return
  const statuses = yield* Effect.forEach(pending, ({ head }) => Effect.map(head, ({ status }) => status))
  return statuses.includes(501)
    ? yield* Effect.fail(new Unsupported())
    : yield* Effect.fail(new Broken({ message: `${reached} of ${count} were held, and answered ${statuses}` }))
})

/** Requests whose handlers are held, and what they answer once they go on. */
const hold = Effect.fnUntraced(function*(requests: ReadonlyArray<readonly [line: string, jar: Jar]>) {
  const pending = yield* Effect.forEach(
    requests,
    ([line, jar]) => begin(`${line}${line.includes("?") ? "&" : "?"}ms=${forever}`, jar)
  )
  yield* Effect.addFinalizer(() => Effect.orDie(resume))
  yield* untilPaused(requests.length, pending)
  return Effect.andThen(resume, Effect.forEach(pending, ({ reply }) => reply))
})

/** Waits for writes of which the responses did not wait, so that their effect shows. */
const settled = poll(paused, (paused) => paused === 0)

/** `hold` for one request. */
const holdOne = (line: string, jar: Jar) =>
  Effect.map(
    hold([[line, jar]]),
    Effect.map(([reply]): Reply => reply ?? { status: 0, headers: {}, setCookies: [], body: "" })
  )

const tells = ({ setCookies }: Reply): boolean => setCookies.length > 0

// -----------------------------------------------------------------------------
// commit before flush
// -----------------------------------------------------------------------------

/** For a person who reads the result: no check depends on it. */
const now = Effect.sync(() => performance.now())

/** That something is so as soon as a header block has arrived. */
const already = Effect.fnUntraced(function*(
  what: string,
  first: Effect.Effect<boolean, Hung, Server>,
  again: Effect.Effect<boolean, Hung, Server> = first
) {
  const start = yield* now
  if (yield* first) return
  // The questions need not wait for writes of their own.
  yield* hurry
  const came = yield* poll(again, (arrived) => arrived)
  const late = `${Math.round((yield* now) - start)} ms later`
  return yield* Effect.fail(new Broken({ message: `${what} ${came ? late : "never"}` }))
})

const commitBeforeFlush: ReadonlyArray<Check> = [
  check("the row is there when its cookie arrives", function*() {
    const before = yield* rows
    const written = Effect.map(rows, (rows) => rows > before)
    yield* fault("delay=150")
    const { head } = yield* begin(`POST /login?user=${makeUser()}`)
    yield* expect({ "no cookie": !tells(yield* head) })
    yield* already("row", written)
  }),

  check("nothing leaves while the write is held", function*() {
    const before = yield* rows
    yield* fault(`delay=${forever}`)
    const login = yield* begin(`POST /login?user=${makeUser()}`)
    yield* untilPaused(1, [login])
    // Each is an answer of the same server: time enough for the other one.
    yield* Effect.repeat(me(new Jar()), { times: 10 })
    const during = yield* rows
    yield* expect({ "headers while the write is held": login.answered(), "row while it is held": during > before })
    // A login may take several writes.
    while (!login.answered()) {
      yield* resume
      yield* poll(paused, (paused) => paused > 0 || login.answered())
    }
    yield* expect({ "headers while a write is held": (yield* rows) <= before })
  }),

  check("a redirect followed on its headers is logged in", function*() {
    const user = makeUser()
    const jar = new Jar()
    const next = yield* open
    yield* fault("delay=150")
    const { head } = yield* begin(`GET /redirect-login?user=${user}`)
    const redirect = yield* head
    jar.keep(redirect)
    yield* expect({ "no redirect": redirect.status !== 302 })
    const { reply } = yield* next.send(`GET ${redirect.headers.location}`, jar)
    yield* already("logged in", Effect.map(reply, ({ status }) => status === 200), isIn(jar))
    yield* expect({ "somebody else": (yield* me(jar))?.user !== user })
  }),

  check("a stream begins after its changes are stored", function*() {
    const { jar } = yield* login()
    yield* fault("delay=150")
    const { head, reply } = yield* begin("GET /stream", jar)
    jar.keep(yield* head)
    yield* already("stored", Effect.map(me(jar), (me) => me?.data.streamed === "yes"))
    yield* reply
  })
]

// -----------------------------------------------------------------------------
// a store that fails
// -----------------------------------------------------------------------------

const refuses = (what: string, { setCookies, status }: Reply): { readonly [message: string]: boolean } => ({
  [`${what}: ${status}${setCookies.length > 0 ? " with a cookie" : ""}`]: status < 500 || setCookies.length > 0
})

const faults: ReadonlyArray<Check> = [
  check("a store that fails makes a 5xx without cookie", function*() {
    const { jar } = yield* login()
    const late = yield* holdOne("POST /set?k=failed&v=1", jar)
    yield* fault("fail=1")
    yield* expect({
      ...refuses("login", yield* ask(`POST /login?user=${makeUser()}`)),
      ...refuses("redirect", yield* ask(`GET /redirect-login?user=${makeUser()}`)),
      ...refuses("write", yield* late)
    })
  }),

  check("all is as it was when the store works again", function*() {
    const { jar, user } = yield* login()
    const late = yield* holdOne("POST /set?k=failed&v=1", jar)
    yield* fault("fail=1")
    yield* ask(`POST /login?user=${makeUser()}`)
    jar.keep(yield* late)
    yield* ask("POST /_fault")
    const after = yield* me(jar)
    yield* expect({
      "logged out": after?.user !== user,
      "a write that failed is there": after?.data.failed !== undefined
    })
    yield* login()
    yield* ask("POST /set?k=works&v=again", jar)
    yield* expect({ "no writing again": (yield* me(jar))?.data.works !== "again" })
  })
]

// -----------------------------------------------------------------------------
// logout wins
// -----------------------------------------------------------------------------

/** After a session's end was acknowledged, a request that began before does not bring it back. */
const staysEnded = Effect.fnUntraced(function*(old: Jar, browser: Jar, late: Reply) {
  browser.keep(late)
  yield* settled
  yield* expect({
    "old cookie alive": yield* isIn(old),
    "browser logged in": yield* isIn(browser),
    "late Set-Cookie": tells(late)
  })
})

const slow = {
  "a slow write": "POST /set?k=late&v=1",
  "a slow read": "GET /read",
  "a slow renewal": "POST /renew"
}

const logoutWins: ReadonlyArray<Check> = [
  ...Object.entries(slow).map(([name, line]) =>
    check(`a logout during ${name}`, function*() {
      const { jar } = yield* login()
      const old = jar.copy()
      const late = yield* holdOne(line, jar)
      yield* ask("POST /logout", jar)
      yield* expect({ "no logout": yield* isIn(old) })
      yield* staysEnded(old, jar, yield* late)
    })
  ),

  check("a logout during a slow read that has to refresh", function*() {
    const { jar } = yield* login()
    yield* age(jar)
    const old = jar.copy()
    const late = yield* holdOne("GET /read", jar)
    yield* ask("POST /logout", jar)
    yield* staysEnded(old, jar, yield* late)
  }),

  check("a logout while a write waits at the store", function*() {
    const { jar } = yield* login()
    const old = jar.copy()
    yield* fault(`delay=${forever}`)
    const write = yield* begin("POST /set?k=late&v=1", jar)
    yield* untilPaused(1, [write])
    yield* hurry
    yield* ask("POST /logout", jar)
    yield* expect({ "no logout": yield* isIn(old) })
    yield* resume
    yield* staysEnded(old, jar, yield* write.reply)
  }),

  check("a revocation from another client during a slow write", function*() {
    const { jar, user } = yield* login()
    const old = jar.copy()
    const other = yield* login(new Jar(), user)
    const handle = (yield* me(jar))?.handle
    const late = yield* holdOne("POST /set?k=late&v=1", jar)
    const { status } = yield* askIfKnown(`POST /revoke?handle=${handle}`, other.jar)
    yield* expect({ "no revocation": status !== 200 || (yield* isIn(old)) })
    yield* staysEnded(old, jar, yield* late)
    yield* expect({ "the other client is logged out": !(yield* isIn(other.jar)) })
  }),

  check("a revocation of all sessions during slow writes and reads", function*() {
    const first = yield* login()
    const second = yield* login(new Jar(), first.user)
    const third = yield* login(new Jar(), first.user)
    const olds = [first.jar.copy(), second.jar.copy()] as const
    const late = yield* hold([["POST /set?k=late&v=1", first.jar], ["GET /read", second.jar]])
    yield* askIfKnown("POST /revoke-all", third.jar)
    const [write, read] = yield* late
    if (write === undefined || read === undefined) return yield* Effect.die(new Error("A reply is missing"))
    yield* staysEnded(olds[0], first.jar, write)
    yield* staysEnded(olds[1], second.jar, read)
  })
]

// -----------------------------------------------------------------------------
// no lost update, one successor
// -----------------------------------------------------------------------------

const together: ReadonlyArray<Check> = [
  check("two tabs that write different keys at once", function*() {
    const { jar } = yield* login()
    const late = yield* hold([["POST /set?k=a&v=1", jar], ["POST /set?k=b&v=2", jar]])
    yield* fault("delay=20")
    for (const reply of yield* late) jar.keep(reply)
    yield* settled
    const { a, b } = (yield* me(jar))?.data ?? {}
    yield* expect({ "first lost": a !== "1", "second lost": b !== "2" })
  }),

  ...(["GET /read", "GET /me"] as const).map((line) =>
    check(`20 parallel refreshes have one successor (${line})`, function*() {
      const { jar, user } = yield* login()
      yield* age(jar)
      const before = yield* rows
      const pending = line === "GET /me"
        ? Effect.flatMap(
          Effect.forEach(range(20), () => begin(line, jar)),
          Effect.forEach(({ reply }: Pending) => reply)
        )
        : yield* hold(range(20).map(() => [line, jar]))
      yield* fault("delay=20")
      const replies = yield* pending
      yield* settled
      const cookies = new Set(replies.flatMap(({ setCookies }) => setCookies))
      yield* expect({
        "not every request was answered": replies.some(({ status }) => status !== 200),
        "a response without cookie": !replies.every(tells),
        [`${cookies.size} successors`]: cookies.size !== 1,
        "more rows": (yield* rows) > before
      })
      for (const reply of replies) jar.keep(reply)
      yield* expect({ "logged out": (yield* me(jar))?.user !== user })
    })
  ),

  check("20 parallel renewals leave one live cookie", function*() {
    const { jar } = yield* login()
    const before = yield* rows
    const late = yield* hold(range(20).map(() => ["POST /renew", jar]))
    yield* fault("delay=20")
    const replies = yield* late
    yield* settled
    const holders = replies.filter(tells).map((reply) => {
      const holder = jar.copy()
      holder.keep(reply)
      return holder
    })
    const live = (yield* Effect.filter(holders, isIn)).length
    yield* expect({
      [`${live} live cookies`]: live !== 1,
      "old cookie alive": yield* isIn(jar),
      [`${holders.length} Set-Cookies`]: holders.length !== 1,
      "an error": replies.some(({ status }) => status >= 500),
      "more rows": (yield* rows) > before
    })
  })
]

// -----------------------------------------------------------------------------
// old cookies
// -----------------------------------------------------------------------------

const oldCookies: ReadonlyArray<Check> = [
  check("a late response that carries an older cookie", function*() {
    const { jar } = yield* login()
    const other = jar.copy()
    const early = yield* ask("POST /set?k=a&v=1", jar.copy())
    // This tab did not know of the other's reply.
    const newest = yield* ask("POST /set?k=b&v=2", other.copy())
    other.keep(newest)
    jar.keep(newest)
    jar.keep(early)
    yield* ask("POST /_clock?ahead=60")
    const next = yield* ask("GET /me", jar)
    yield* expect({ "logged out": next.status !== 200 })
    const { a, b } = (yield* me(jar))?.data ?? {}
    // The newest cookie is seen, and the grace of the older one over.
    yield* isIn(other)
    yield* ask("POST /_clock?ahead=60")
    yield* expect({
      "first lost": a !== "1",
      "second lost": b !== "2",
      "left with the older cookie": !(yield* isIn(jar))
    })
  }),

  check("a replaced cookie that is presented after its grace", function*() {
    const { jar, user } = yield* login()
    const old = jar.copy()
    yield* ask("POST /set?k=a&v=1", jar)
    yield* advance(60)
    const unseen = yield* me(old)
    yield* expect({ "refused though nobody has seen its successor": unseen?.user !== user })
    // Now it is seen; that nobody waits for the note of it makes the polling below.
    yield* isIn(jar)
    yield* advance(60)
    yield* expect({ "logged in after its grace": yield* poll(isIn(old), (isIn) => !isIn) })
    yield* ask("GET /me", old)
    yield* expect({
      "it does not lead to its successor": unseen?.data.a !== "1",
      "refused with a cookie that is logged in": yield* isIn(old),
      "the holder of its successor is logged out": (yield* me(jar))?.user !== user
    })
  }),

  check("a cookie that was planted before a login", function*() {
    const attacker = new Jar()
    yield* ask("POST /set?k=planted&v=1", attacker)
    const planted = attacker.copy()
    const late = yield* holdOne("POST /set?k=late&v=1", attacker)
    const victim = yield* login(planted.copy())
    attacker.keep(yield* late)
    yield* expect({
      "planted cookie logged in": yield* isIn(planted),
      "overtaken request logged in": yield* isIn(attacker),
      "victim logged out": !(yield* isIn(victim.jar))
    })
  }),

  check("a cookie that was planted, and used during the login", function*() {
    const attacker = new Jar()
    const user = makeUser()
    yield* ask("POST /set?k=planted&v=1", attacker)
    const planted = attacker.copy()
    const victim = planted.copy()
    yield* fault(`delay=${forever}`)
    const renewal = yield* begin(`POST /login?user=${user}`, victim)
    yield* untilPaused(1, [renewal])
    yield* hurry
    yield* ask("POST /set?k=quicker&v=1", attacker)
    yield* resume
    victim.keep(yield* renewal.reply)
    yield* settled
    yield* expect({
      "planted cookie logged in": yield* isIn(planted),
      "overtaking request logged in": yield* isIn(attacker),
      "victim logged out": (yield* me(victim))?.user !== user
    })
  }),

  check("a cookie that the client made up", function*() {
    const { reply } = yield* login()
    const chosen = new Jar(names(reply).map((name) => [name, "A".repeat(110)]))
    yield* login(chosen.copy())
    yield* expect({ "logged in": yield* isIn(chosen) })
  })
]

export const checks: ReadonlyArray<Check> = [
  ...commitBeforeFlush,
  ...faults,
  ...logoutWins,
  ...together,
  ...oldCookies
]
