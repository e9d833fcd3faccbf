/**
 * Invariant I6: who has a copy of the database, with all logs, all spans and all that was ever sent to it, opens no
 * session and learns of no user and no data. A whole working day of a shop is looked through; and since a search that
 * finds nothing may be a bad search, shops with a mistake each are looked through too.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { PgClient } from "@effect/sql-pg/PgClient"
import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  Context,
  Effect,
  Exit,
  Layer,
  Logger,
  Option,
  Redacted,
  References,
  Schema,
  Tracer
} from "effect"
import type { Scope } from "effect"
import { HttpMiddleware, HttpRouter, HttpServerResponse } from "effect/http"
import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from "node:crypto"
import { inspect } from "node:util"
import * as CookieCodec from "../src/CookieCodec.ts"
import * as Crypto from "../src/Crypto.ts"
import * as Layout from "../src/internal/layout.ts"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import * as Session from "../src/Session.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionEvents from "../src/SessionEvents.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import * as Sessions from "../src/Sessions.ts"
import { Flag } from "../src/SessionState.ts"
import * as Http from "./utils/http.ts"
import { countingStream, Database, layerClient, layerDatabase } from "./utils/postgres.ts"

const secret = "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4"
const nextSecret = "pR7vLm2QxT9sKd4HfZ1wYc8uNb5gJe3A"

const cookieName = "__Host-session"

const rememberName = "__Host-remember"

/** What no user and no item of another test is called. */
const userWord = "zanzibar"
const itemWord = "quetzal"

// -----------------------------------------------------------------------------
// what is looked for
// -----------------------------------------------------------------------------

/** What nobody may find, by what it is. */
interface Secrets {
  readonly [kind: string]: ReadonlyArray<Uint8Array>
}

/** As much of a secret as can be no coincidence. */
const windowSize = 16

const windows = (bytes: Uint8Array, size = windowSize): ReadonlyArray<Uint8Array> =>
  Array.from({ length: Math.max(0, bytes.length - size + 1) }, (_, i) => bytes.subarray(i, i + size))

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1")

const runs = (text: string, pattern: RegExp): ReadonlyArray<string> => text.match(pattern) ?? []

const offsets = (text: string, count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, i) => text.slice(i))

/** A text, and all bytes that something in it may stand for: hex, base64 of both kinds, lists of numbers. */
const readings = (text: string): ReadonlyArray<Uint8Array> => [
  Buffer.from(text),
  ...runs(text, /(?:[0-9a-f]{2}[ :]?){16,}/gi)
    .flatMap((run) => offsets(run.replace(/[ :]/g, ""), 2))
    .map((hex) => Buffer.from(hex, "hex")),
  ...runs(text, /[\w+/-]{22,}/g)
    .flatMap((run) => offsets(run, 4))
    .map((base64) => Buffer.from(base64, "base64")),
  // Some write arrays of bytes as objects, with indexes for keys.
  ...runs(text.replace(/"?\d+"?:\s*(?=\d)/g, ""), /(?:\d{1,3},\s*){15,}\d{1,3}/g)
    .map((run) => Uint8Array.from(run.split(","), Number))
]

/** Where one might look, by its name: texts, and bytes as they are. */
interface Places {
  readonly [name: string]: ReadonlyArray<string | Uint8Array>
}

/** What was found where. */
const search = (places: Places, secrets: Secrets): ReadonlyArray<string> => {
  const kinds = new Map<string, string>()
  for (const [kind, all] of Object.entries(secrets)) {
    for (const window of all.flatMap((bytes) => windows(bytes))) kinds.set(latin1(window), kind)
  }
  const found = new Set<string>()
  for (const [place, contents] of Object.entries(places)) {
    for (const bytes of contents.flatMap((content) => typeof content === "string" ? readings(content) : [content])) {
      const haystack = latin1(bytes)
      for (const word of [userWord, itemWord]) {
        if (haystack.toLowerCase().includes(word)) found.add(`${word} in ${place}`)
      }
      for (let i = 0; i + windowSize <= haystack.length; i++) {
        const kind = kinds.get(haystack.slice(i, i + windowSize))
        if (kind !== undefined) found.add(`${kind} in ${place}`)
      }
    }
  }
  return [...found].toSorted()
}

// -----------------------------------------------------------------------------
// a shop that is overheard
// -----------------------------------------------------------------------------

const Items = Schema.Struct({ items: Schema.Array(Schema.String) })

class Cart extends Session.Service<Cart>()("Cart", {
  data: Items,
  initial: { items: [] },
  info: { note: Schema.String }
}) {}

/** The cart of another release, which keeps its items in another way. */
const ChangedItems = Schema.Struct({ items: Schema.Array(Schema.Struct({ name: Schema.String })) })

class ChangedCart extends Session.Service<ChangedCart>()("ChangedCart", { data: ChangedItems }) {}

class StrictCart extends Session.Service<StrictCart>()("StrictCart", { data: ChangedItems, onMismatch: "fail" }) {}

class Account extends Session.Service<Account>()("Account", {
  data: Schema.Struct({ name: Schema.String }),
  audience: "account"
}) {}

/** A part of the library that does something wrong. */
interface Mistake {
  readonly codec?: (codec: CookieCodec.CookieCodec["Service"]) => Partial<CookieCodec.CookieCodec["Service"]>
  readonly crypto?: (crypto: Crypto.Crypto["Service"]) => Partial<Crypto.Crypto["Service"]>
  readonly settings?: SessionConfig.Options
}

/** All that can be heard of a shop. */
const makeOverheard = () => ({
  time: Http.makeSurroundings().time,
  logs: new Array<string>(),
  spans: new Array<Tracer.NativeSpan>(),
  statements: new Array<Uint8Array>(),
  events: new Set<string>(),
  cookies: new Array<Uint8Array>(),
  sids: new Array<Uint8Array>(),
  keys: new Array<Uint8Array>()
})

type Overheard = ReturnType<typeof makeOverheard>

const inspectAll = (value: unknown): string =>
  inspect(value, { depth: Infinity, maxArrayLength: Infinity, maxStringLength: Infinity, showHidden: true })

/** As each of Effect's loggers writes it, and as a console shows the values. */
const listeningLogger = ({ logs }: Overheard) =>
  Logger.make((options) => {
    logs.push(
      Logger.formatJson.log(options),
      Logger.formatLogFmt.log(options),
      inspectAll(options.message),
      inspectAll(options.cause),
      Cause.pretty(options.cause)
    )
  })

const listeningTracer = ({ spans }: Overheard) =>
  Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      spans.push(span)
      return span
    }
  })

/** As exporters write it. */
const spanText = ({ attributes, events, name, status }: Tracer.NativeSpan): string =>
  [
    name,
    inspectAll([...attributes]),
    ...events.flatMap(([name, , attributes]) => [name, inspectAll(attributes)]),
    status._tag === "Ended" && Exit.isFailure(status.exit) ? Cause.pretty(status.exit.cause) : ""
  ].join("\n")

const layerOverhearing = (overheard: Overheard): Layer.Layer<never> =>
  Layer.mergeAll(
    Layer.succeed(Clock.Clock, overheard.time.clock),
    Layer.succeed(References.MinimumLogLevel, "All"),
    Layer.succeed(Tracer.Tracer, listeningTracer(overheard)),
    Layer.succeed(HttpMiddleware.TracerHeaderFilter, () => true),
    Logger.layer([listeningLogger(overheard), Logger.tracerLogger]),
    // As an application would, with an audit log.
    Layer.succeed(SessionEvents.listener, (event) => {
      overheard.events.add(event._tag)
      return Effect.logDebug("audit", event)
    })
  )

const layerListeningClient = ({ statements }: Overheard) =>
  Layer.unwrap(Database.use(({ url }) => {
    const { stream } = countingStream(url)
    return Effect.succeed(layerClient({
      stream: () => {
        const socket = stream()
        const write = socket.write
        // Passes on whatever it was called with, whichever overload that was.
        socket.write = ((...args: Parameters<typeof write>) => {
          const [chunk] = args
          statements.push(typeof chunk === "string" ? Buffer.from(chunk) : new Uint8Array(chunk))
          return write.apply(socket, args)
        }) as typeof write
        return socket
      }
    }))
  }))

/** Crypto that keeps its secrets for the search: sids are the only 32 bytes that it is asked for. */
const layerCrypto = ({ keys, sids }: Overheard, { crypto: mistake }: Mistake) =>
  Layer.effect(
    Crypto.Crypto,
    Effect.map(Crypto.Crypto, (sound) => {
      const crypto = { ...sound, ...mistake?.(sound) }
      const keep = (into: Array<Uint8Array>) => (bytes: Uint8Array) => Effect.sync(() => into.push(bytes.slice()))
      return {
        ...crypto,
        randomBytes: (size) =>
          size === 32 ? Effect.tap(crypto.randomBytes(size), keep(sids)) : crypto.randomBytes(size),
        hkdf: (ikm) => {
          const expand = crypto.hkdf(ikm)
          return (info, length) => Effect.tap(expand(info, length), keep(keys))
        }
      }
    })
  ).pipe(Layer.provide(Crypto.layer))

const layerCodec = ({ codec: mistake }: Mistake) =>
  Layer.effect(
    CookieCodec.CookieCodec,
    Effect.map(CookieCodec.CookieCodec, (codec) => ({ ...codec, ...mistake?.(codec) }))
  ).pipe(Layer.provide(CookieCodec.layer))

type Handler<A> = Effect.Effect<A, unknown, Cart | ChangedCart | StrictCart | Account | Scope.Scope>

interface Shop {
  /** What a handler yields in a request with these cookies; dies where it fails. */
  readonly visit: <A>(jar: Http.Jar, handler: Handler<A>) => Effect.Effect<A>
  /** As `visit`, and answers the reply. */
  readonly reply: (jar: Http.Jar, handler: Handler<unknown>) => Effect.Effect<Http.Reply>
  readonly sessions: Sessions.Sessions["Service"]
  readonly clean: Effect.Effect<unknown, unknown>
}

const openShop = Effect.fnUntraced(function*(
  overheard: Overheard,
  mistake: Mistake,
  settings: SessionConfig.Options
) {
  const context = yield* Layer.build(
    Sessions.layerWith.pipe(
      Layer.provideMerge(layerCodec(mistake)),
      Layer.provideMerge(Layer.mergeAll(
        layerCrypto(overheard, mistake),
        SessionConfig.layer({
          idlingTimeout: "1 hour",
          remember: true,
          rememberSafety: "Low",
          ...mistake.settings,
          ...settings
        }),
        PgSessionStore.layer
      )),
      Layer.provideMerge(layerListeningClient(overheard)),
      Layer.provideMerge(layerOverhearing(overheard))
    )
  )
  const handlers = new Map<string, Handler<void>>()
  const routes = HttpRouter.add("GET", "/visits/:id", (request) =>
    Effect.as(
      Effect.suspend(() => handlers.get(request.url) ?? Effect.die(new Error(`Nothing runs at ${request.url}`))),
      HttpServerResponse.empty()
    ))
  const { handler } = yield* Effect.acquireRelease(
    Effect.sync(() =>
      HttpRouter.toWebHandler(routes.pipe(
        Layer.provide(SessionHttp.layerWith(Cart, ChangedCart, StrictCart, Account)),
        Layer.provide(NodeHttpServer.layerHttpServices),
        Layer.provideMerge(Layer.succeedContext(context))
      ))
    ),
    ({ dispose }) => Effect.promise(dispose)
  )
  const send = Http.sendTo((request) => handler(request))
  const run = Effect.fnUntraced(function*<A>(jar: Http.Jar, handler: Handler<A>) {
    const path = `/visits/${handlers.size}`
    let exit: Exit.Exit<A, unknown> = Exit.die(new Error("The handler did not run"))
    handlers.set(
      path,
      Effect.asVoid(Effect.onExit(handler, (ended) =>
        Effect.sync(() => {
          exit = ended
        })))
    )
    const reply = yield* send(path, { jar })
    for (const setCookie of reply.setCookies) {
      const value = /^[^=]+=([\w-]+);/.exec(setCookie)?.[1]
      if (value !== undefined) overheard.cookies.push(Buffer.from(value, "base64url"))
    }
    return { reply, exit }
  })
  const shop: Shop = {
    visit: (jar, handler) => Effect.flatMap(run(jar, handler), ({ exit }) => Effect.orDie(exit)),
    reply: (jar, handler) => Effect.map(run(jar, handler), ({ reply }) => reply),
    sessions: Context.get(context, Sessions.Sessions),
    clean: Effect.provideContext(PgSessionStore.cleanup({}), context)
  }
  return shop
})

// -----------------------------------------------------------------------------
// a working day
// -----------------------------------------------------------------------------

const items = Cart.use((cart) => Effect.map(cart.get, ({ items }) => items))

const add = (item: string) => Cart.use((cart) => cart.update(({ items }) => ({ items: [...items, item] })))

const login = Effect.fnUntraced(function*(name: string) {
  const account = yield* Account
  yield* account.set({ name })
  yield* account.login(name)
  yield* (yield* Cart).setSubject(name)
})

const handle = Effect.map(Cart.use((cart) => cart.handle), Option.getOrThrow)

const userOf = (n: number): string => `${userWord}-user-${n}`

const itemOf = (n: number): string => `${itemWord}-feather-${n}`

/** All kinds of events: who adds one has to make it happen here. */
const happens: { readonly [Event in SessionEvents.SessionEvent["_tag"]]: true } = {
  SessionConflict: true,
  SessionCreated: true,
  SessionEnded: true,
  SessionForwarded: true,
  SessionGone: true,
  SessionRefused: true,
  SessionRenewed: true,
  SessionRescued: true,
  SessionReset: true,
  SessionReused: true,
  SessionSaved: true,
  SessionTouched: true
}

/** Everything that can happen to sessions. Answers the customers who are still there, each with the items of its cart. */
const workingDay = Effect.fnUntraced(function*(overheard: Overheard, mistake: Mistake) {
  const { time } = overheard
  const sql = yield* PgClient
  const shop = yield* openShop(overheard, mistake, { secret: Redacted.make(secret) })
  const { reply, sessions, visit } = shop

  const customer = Effect.fnUntraced(function*(n: number) {
    const jar = new Http.Jar()
    yield* visit(jar, add(itemOf(n)))
    yield* visit(jar, login(userOf(n)))
    return jar
  })

  // Within its grace, an old cookie is forwarded; after it, that is reuse.
  const first = yield* customer(1)
  const old = first.copy()
  yield* visit(first, add(itemOf(11)))
  assert.deepStrictEqual(yield* visit(old.copy(), items), [itemOf(1), itemOf(11)])
  yield* visit(first, items)
  const waiting = sql<{ readonly count: number }>`SELECT count(*)::int AS count FROM session_superseded
    WHERE grace_ends IS NULL`
  yield* Effect.repeat(waiting, { until: ([row]) => row?.count === 0 })
  time.advance(11)
  assert.deepStrictEqual(yield* visit(old, items), [])

  // Of two that save at once, the slower one saves again.
  yield* visit(
    first,
    Effect.gen(function*() {
      yield* items
      yield* visit(first.copy(), add(itemOf(12)))
      yield* add(itemOf(13))
    })
  )

  // Time asks for a touch, then for a new version; several requests find so at once.
  const second = yield* customer(2)
  yield* visit(second, Effect.forEach(Array.from({ length: 100 }, (_, i) => itemOf(200 + i)), add))
  time.advance(61)
  yield* visit(second, items)
  time.advance(2701)
  yield* Effect.all([visit(second.copy(), items), visit(second.copy(), items), visit(second, items)], {
    concurrency: "unbounded"
  })
  yield* visit(second, Cart.use((cart) => cart.renew))

  // A browser that was closed has the remember cookie alone. What is kept beside the session comes back with it.
  const eighth = yield* customer(8)
  yield* visit(eighth, Cart.use(({ info }) => info.set("note", itemOf(81))))
  const restarted = new Http.Jar([[rememberName, eighth.get(rememberName) ?? ""]])
  yield* visit(restarted, add(itemOf(82)))
  assert.deepStrictEqual(yield* visit(restarted, Cart.use(({ info }) => info.get("note"))), Option.some(itemOf(81)))
  assert.deepStrictEqual(yield* visit(new Http.Jar([[rememberName, eighth.get(rememberName) ?? ""]]), items), [
    itemOf(8),
    itemOf(82)
  ])

  // Endings, one of them while a request of the session is under way.
  const third = yield* customer(3)
  yield* visit(
    third,
    Effect.gen(function*() {
      yield* add(itemOf(31))
      yield* sessions.revoke(yield* handle)
    })
  )
  const fourth = yield* customer(4)
  yield* visit(fourth, Account.use((account) => account.logout))
  yield* visit(yield* customer(5), Cart.use((cart) => cart.destroy))
  const [, kept] = [yield* customer(6), yield* customer(6)]
  const except = yield* visit(kept, Cart.use((cart) => cart.handle))
  assert.strictEqual(yield* sessions.revokeAll(Account, userOf(6), { except }), 1)

  // Cookies that are none, or not ours.
  const bogus = new Http.Jar([[cookieName, "A".repeat(110)]])
  yield* visit(bogus, items)
  const cookie = first.get(cookieName) ?? ""
  yield* visit(new Http.Jar([[cookieName, `${cookie.slice(0, 100)}AAAAAAAAAA`]]), items)

  // What an application may log, of what it is given.
  yield* visit(
    first,
    Effect.gen(function*() {
      const cart = yield* Cart
      yield* Effect.logDebug("handles", cart, yield* Account, yield* cart.handle, yield* cart.timeLeft)
    })
  )
  yield* Effect.logDebug("sessions", yield* sessions.list(Account, userOf(1)))

  // Data that do not fit, and errors that nobody catches.
  const misfit: unknown = { items: [itemOf(16), { name: itemOf(17) }] }
  const failed = [
    // What comes from elsewhere has the type that somebody claims.
    yield* reply(first.copy(), Cart.use((cart) => cart.set(misfit as typeof Items.Type))),
    yield* reply(first.copy(), StrictCart.use((cart) => cart.get)),
    yield* reply(first.copy(), add(itemOf(18).repeat(1_000_000)))
  ]
  assert.deepStrictEqual(failed.map(({ status }) => status), [500, 500, 500])
  yield* visit(first.copy(), ChangedCart.use((cart) => cart.get))

  // An outage, for those who read, who save, and who come for the first time.
  yield* sql`ALTER TABLE session_sessions RENAME TO elsewhere`
  const refused = [
    yield* reply(first.copy(), items),
    yield* reply(first.copy(), add(itemOf(14))),
    yield* reply(new Http.Jar(), add(itemOf(71)))
  ]
  assert.deepStrictEqual(refused.map(({ status }) => status), [503, 503, 503])
  yield* sql`ALTER TABLE elsewhere RENAME TO session_sessions`

  yield* shop.clean

  // The secret is rotated: some sessions move under the new one, others stay under the old one.
  const next = yield* openShop(overheard, mistake, {
    secret: Redacted.make(nextSecret),
    secretFallbacks: [Redacted.make(secret)]
  })
  yield* next.visit(first, add(itemOf(15)))
  assert.lengthOf(yield* next.sessions.list(Account, userOf(2)), 1)
  const seventh = new Http.Jar()
  yield* next.visit(seventh, login(userOf(7)))
  yield* next.visit(seventh, add(itemOf(72)))
  const customers: ReadonlyArray<readonly [Http.Jar, ReadonlyArray<string>]> = [
    [first, [1, 11, 12, 13, 15].map(itemOf)],
    [second, [2, ...Array.from({ length: 100 }, (_, i) => 200 + i)].map(itemOf)],
    [fourth, [itemOf(4)]],
    [kept, [itemOf(6)]],
    [seventh, [itemOf(72)]],
    [restarted, [itemOf(8), itemOf(82)]]
  ]
  return { shop: next, customers }
})

// -----------------------------------------------------------------------------
// a thief
// -----------------------------------------------------------------------------

/** Every row of every table, as text. */
const dump = Effect.gen(function*() {
  const sql = yield* PgClient
  const tables = yield* sql<{ readonly name: string }>`SELECT format('%I.%I', schemaname, tablename) AS name
    FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`
  const rows = yield* Effect.forEach(
    tables,
    ({ name }) => sql.unsafe<{ readonly text: string }>(`SELECT stored::text AS text FROM ${name} AS stored`)
  )
  return rows.flat().map(({ text }) => text)
})

const bytesIn = (row: string): ReadonlyArray<Uint8Array> =>
  runs(row, /[0-9a-f]{32,}/g).map((hex) => Buffer.from(hex, "hex"))

const toCookie = (bytes: Uint8Array): string => Buffer.concat([bytes, Buffer.alloc(82)], 82).toString("base64url")

/** Cookies that may be lying in a row: its texts, its bytes, and whatever in them begins like a header. */
const cookiesIn = (row: string): ReadonlyArray<string> => [
  ...runs(row, /[\w-]{22,}/g),
  ...bytesIn(row).map(toCookie),
  ...bytesIn(row).flatMap((bytes) => windows(bytes, 82).filter(([type]) => type === 1).map(toCookie))
]

/** The cookies that a row makes if its key is a sid, for a thief who has the secret too. */
const forge = (row: string, secret: string, now: number): ReadonlyArray<string> => {
  const [sid, ciphertext] = bytesIn(row)
  if (sid?.length !== 32 || ciphertext === undefined) return []
  const ikm = createHash("sha256").update(secret).digest()
  const derive = (purpose: string, length: number) =>
    Buffer.from(hkdfSync("sha256", ikm, "", Buffer.concat([Buffer.from(purpose), sid]), length))
  const secrets = derive("encryption:", 44)
  const [key, iv] = [secrets.subarray(0, 32), secrets.subarray(32)]
  const plaintext = createDecipheriv("aes-256-gcm", key, iv).update(ciphertext)
  return [Flag.Storage, Flag.Storage | Flag.Deflate].map((flags) => {
    const dataSize = Math.ceil(ciphertext.length * 4 / 3)
    const header = Layout.write(sid, { flags, creationTime: now, rollingOffset: 0, dataSize })
    const cipher = createCipheriv("aes-256-gcm", key, iv).setAAD(Layout.additionalData(header))
    cipher.update(plaintext)
    cipher.final()
    header.set(cipher.getAuthTag(), 47)
    const mac = createHmac("sha256", derive("authentication:", 32)).update(Layout.authenticated(header)).digest()
    Layout.mac(header).set(mac.subarray(0, 16))
    return toCookie(header)
  })
}

/** How many of these cookies open a session. */
const countOpened = ({ visit }: Shop, cookies: ReadonlyArray<string>) =>
  Effect.map(
    Effect.forEach(cookies.flatMap((cookie) => [[cookieName, cookie], [rememberName, cookie]] as const), (pair) =>
      visit(
        new Http.Jar([pair]),
        Effect.zipWith(
          Cart.use(({ exists }) => exists),
          Account.use(({ exists }) => exists),
          (one, other) => one || other
        )
      )),
    (opened) => opened.filter((opened) => opened).length
  )

// -----------------------------------------------------------------------------

const layerPg = layerClient().pipe(Layer.provideMerge(layerDatabase))

/** A working day, and what can be found and stolen after it. */
const investigate = Effect.fnUntraced(
  function*(mistake: Mistake) {
    const overheard = makeOverheard()
    const { customers, shop } = yield* Effect.provide(workingDay(overheard, mistake), layerOverhearing(overheard))
    const rows = yield* dump
    const sent = Buffer.concat(overheard.statements)
    const places: Places = {
      dump: rows,
      logs: overheard.logs,
      spans: overheard.spans.map(spanText),
      statements: [sent, latin1(sent)]
    }
    const secrets = [secret, nextSecret]
    const hashesOf = (user: string) =>
      ["sha256", "sha1", "md5"].map((algorithm) => createHash(algorithm).update(user).digest())
    const now = Math.floor(overheard.time.clock.currentTimeMillisUnsafe() / 1000)
    return {
      places,
      events: overheard.events,
      found: search(places, {
        cookie: overheard.cookies,
        sid: overheard.sids,
        "derived key": overheard.keys,
        secret: secrets.map((secret) => Buffer.from(secret)),
        "plain hash": [1, 2, 3, 4, 5, 6, 7].map(userOf).flatMap(hashesOf)
      }),
      carts: yield* Effect.forEach(customers, ([jar]) => shop.visit(jar, items)),
      expected: customers.map(([, items]) => items),
      opened: {
        byCustomers: yield* countOpened(shop, customers.flatMap(([jar]) => jar.get(cookieName) ?? [])),
        byThief: yield* countOpened(shop, rows.flatMap(cookiesIn)),
        byThiefWithSecret: yield* countOpened(
          shop,
          rows.flatMap((row) => secrets.flatMap((secret) => forge(row, secret, now)))
        )
      }
    }
  },
  Effect.provide(layerPg),
  Effect.scoped
)

/** Where the sid of a version stands that was presented or made. */
const sidOf = ({ bytes }: CookieCodec.Presented): Uint8Array => Layout.sid(Redacted.value(bytes))

/** What is found after a day with a mistake, and who else than the customers opens a session then. */
interface Case {
  readonly mistake: Mistake
  readonly found: ReadonlyArray<string>
  readonly opens?: "byThief" | "byThiefWithSecret"
}

const inDatabase = (...what: ReadonlyArray<string>): ReadonlyArray<string> =>
  what.flatMap((what) => [`${what} in dump`, `${what} in statements`])

const cases: { readonly [name: string]: Case } = {
  "finds rows by the sid itself": {
    mistake: { codec: () => ({ storageKey: (presented) => Effect.sync(() => sidOf(presented).slice()) }) },
    found: inDatabase("sid"),
    opens: "byThiefWithSecret"
  },
  "keeps successors in clear": {
    mistake: {
      codec: ({ decode }) => ({
        sealSuccessor: (_, successor) => Effect.sync(() => Redacted.value(successor.bytes).slice()),
        openSuccessor: (_, sealed) =>
          Effect.sync(() => {
            const presented = decode(toCookie(sealed))
            return typeof presented === "string" ? undefined : { presented, key: 0, beside: undefined }
          })
      })
    },
    found: inDatabase("cookie", "sid"),
    opens: "byThief"
  },
  "encrypts nothing": {
    mistake: {
      crypto: () => ({
        encrypt: (_key, _iv, plaintext) => Effect.sync(() => Buffer.concat([plaintext, Buffer.alloc(16)])),
        decrypt: (_key, _iv, ciphertextAndTag) => Effect.sync(() => ciphertextAndTag.subarray(0, -16))
      })
    },
    found: inDatabase("cookie", itemWord, "sid", userWord),
    opens: "byThief"
  },
  "keeps subjects in clear": {
    mistake: { settings: { hashSubject: false } },
    found: inDatabase(userWord)
  },
  "hashes subjects without a key": {
    mistake: {
      crypto: ({ mac, sha256 }) => ({
        // What is no header of a cookie is a subject.
        mac: (key, message) =>
          message.length === 66 ? mac(key, message) : Effect.map(sha256(message), (hash) => hash.subarray(0, 16))
      })
    },
    found: inDatabase("plain hash")
  },
  "logs cookies": {
    mistake: {
      codec: ({ storageKey }) => ({
        storageKey: (presented) =>
          Effect.tap(storageKey(presented), Effect.logTrace("key of", Redacted.value(presented.bytes)))
      })
    },
    found: ["cookie in logs", "cookie in spans", "sid in logs", "sid in spans"]
  },
  "traces sids": {
    mistake: {
      codec: ({ storageKey }) => ({
        storageKey: (presented) =>
          Effect.tap(
            storageKey(presented),
            Effect.annotateCurrentSpan("sid", Buffer.from(sidOf(presented)).toString("base64url"))
          )
      })
    },
    found: ["sid in spans"]
  }
}

describe("a copy of the database, with all logs, spans and statements", () => {
  it.live("opens no session and tells of no user and no data, after a day on which everything happens", () =>
    Effect.gen(function*() {
      const { carts, events, expected, found, opened, places } = yield* investigate({})
      assert.deepStrictEqual(found, [])
      assert.deepStrictEqual(opened, { byCustomers: expected.length, byThief: 0, byThiefWithSecret: 0 })
      assert.deepStrictEqual(carts, expected)
      assert.hasAllKeys(happens, [...events])
      for (const contents of Object.values(places)) assert.isNotEmpty(contents.join(""))
    }))

  describe("gives away a shop that", () => {
    for (const [name, { found, mistake, opens }] of Object.entries(cases)) {
      it.live(name, () =>
        Effect.gen(function*() {
          const { found: actual, opened: { byCustomers: _, ...opened } } = yield* investigate(mistake)
          assert.deepStrictEqual(actual, [...found].toSorted())
          assert.deepStrictEqual(
            Object.entries(opened).filter(([, count]) => count > 0).map(([who]) => who),
            opens === undefined ? [] : [opens]
          )
        }))
    }
  })
})

describe("the search", () => {
  const sid = createHash("sha256").update("sid").digest()

  it.each(
    [
      ["as it is", sid],
      ["in the midst of bytes", Buffer.concat([Buffer.alloc(7), sid, Buffer.alloc(7)])],
      ["in part", sid.subarray(9, 25)],
      ["in hex", `\\x${sid.toString("hex")}`],
      ["in hex, with half a byte before", `a${sid.toString("hex").toUpperCase()}`],
      ["as Node shows a buffer", inspectAll(sid)],
      ["as Node shows an array", inspectAll(new Uint8Array(sid))],
      ["as JSON of a buffer", JSON.stringify(sid)],
      ["as JSON of an array", JSON.stringify(new Uint8Array(sid), undefined, 2)],
      ["in base64", sid.toString("base64")],
      ...[0, 1, 2].map((size) =>
        [
          `in base64url, with ${size} bytes before`,
          `sid=${Buffer.concat([Buffer.alloc(size), sid]).toString("base64url")};`
        ] as const
      )
    ] as const
  )("finds a sid %s", (_, content) => {
    assert.deepStrictEqual(search({ here: [content] }, { sid: [sid] }), ["sid in here"])
  })

  it("takes less than 16 bytes for a coincidence", () => {
    assert.deepStrictEqual(
      search({ here: [sid.subarray(9, 24), sid.toString("hex").slice(0, 31)] }, { sid: [sid] }),
      []
    )
  })

  it("finds words in any case, in clear and in hex", () => {
    const clear = `{"name":"${userOf(1).toUpperCase()}"}`
    const hex = Buffer.from(JSON.stringify({ items: [itemOf(1)] })).toString("hex")
    assert.deepStrictEqual(search({ one: [clear], other: [hex] }, {}), [`${itemWord} in other`, `${userWord} in one`])
  })
})
