/**
 * A shop with sessions: an application whose handlers the tests write as they go, so that a test reads as what happens
 * in it.
 */
import { Effect, Exit, Layer, Redacted, Schema } from "effect"
import type { Scope } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import type { HttpServerRequest } from "effect/http"
import * as Session from "../../src/Session.ts"
import * as SessionConfig from "../../src/SessionConfig.ts"
import type { SessionError } from "../../src/SessionError.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import { sound } from "../fixtures/brokenStacks.ts"
import type { Stack } from "../fixtures/brokenStacks.ts"
import * as Http from "./http.ts"

export class Cart extends Session.Service<Cart>()("Cart", {
  data: Schema.Struct({ items: Schema.Array(Schema.String) }),
  initial: { items: [] }
}) {}

export class Account extends Session.Service<Account>()("Account", {
  data: Schema.Struct({ name: Schema.String }),
  audience: "account"
}) {}

export const secret = Redacted.make("Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4")

/** The name of the session cookie. */
export const cookie = "__Host-session"

/** What runs in place of a handler; a response that it yields is the reply. */
export type Handler<A, R = Cart | Account> = Effect.Effect<
  A,
  unknown,
  R | HttpServerRequest.HttpServerRequest | Scope.Scope
>

/** A reply, and what became of the handler behind it. */
export interface Visit<A> extends Http.Reply {
  readonly exit: Exit.Exit<A, unknown>
}

export interface Shop<R = Cart | Account> extends Http.Surroundings {
  readonly probe: Http.Probe
  /** The store as the application has it. */
  readonly port: SessionStore.Port
  readonly send: Http.Send
  /** A request with these cookies, answered by this handler. */
  readonly visit: <A>(
    jar: Http.Jar | undefined,
    handler: Handler<A, R>,
    message?: Http.Message
  ) => Effect.Effect<Visit<A>>
  /** As `visit`, and answers what the handler yields. */
  readonly ask: <A>(jar: Http.Jar | undefined, handler: Handler<A, R>) => Effect.Effect<A>
}

export interface Options {
  readonly stack?: Stack
  readonly placement?: "memory" | "cookie"
  readonly settings?: SessionConfig.Options
}

type Routes<R> = Layer.Layer<
  never,
  never,
  HttpRouter.HttpRouter | HttpRouter.Request<"Error", unknown> | HttpRouter.Request.From<"Requires", R>
>

/** Opens a shop whose routes get their sessions by `provide`. */
export const openWith = <R>(
  provide: (routes: Routes<R>) => Layer.Layer<
    never,
    unknown,
    | HttpRouter.HttpRouter
    | HttpRouter.Request<"Error", unknown>
    | SessionStore.SessionStore
    | SessionConfig.SessionConfig
  >,
  { placement = "memory", settings, stack = sound }: Options = {}
): Effect.Effect<Shop<R>, never, Scope.Scope> =>
  Effect.gen(function*() {
    const probe = Http.makeProbe()
    const surroundings = Http.makeSurroundings()
    const handlers = new Map<string, Handler<unknown, R>>()
    const routes: Routes<R> = HttpRouter.add("*", "/visits/:id", (request) =>
      Effect.map(
        Effect.suspend(() => handlers.get(request.url) ?? Effect.die(new Error(`Nothing runs at ${request.url}`))),
        (answer) => HttpServerResponse.isHttpServerResponse(answer) ? answer : HttpServerResponse.text("done")
      ))
    let port: SessionStore.Port | undefined
    const takePort = Layer.effectDiscard(SessionStore.SessionPort.use((it) =>
      Effect.sync(() => {
        port = it
      })
    ))
    const store = stack.store(probe)
    const handler = yield* Http.makeWebHandler(
      provide(routes).pipe(
        Layer.provide(placement === "cookie" ? SessionStore.layerCookie : store),
        Layer.merge(Layer.provide(takePort, store)),
        Layer.provide(SessionConfig.layer({ secret, ...settings, ...stack.settings }))
      ),
      surroundings
    )
    const send = Http.sendTo(handler)
    const visit = <A>(
      jar: Http.Jar | undefined,
      handler: Handler<A, R>,
      message: Http.Message = {}
    ): Effect.Effect<Visit<A>> =>
      Effect.suspend(() => {
        const path = `/visits/${handlers.size}`
        let exit: Exit.Exit<A, unknown> = Exit.die(new Error("The handler did not run"))
        handlers.set(
          path,
          Effect.onExit(handler, (ended) =>
            Effect.sync(() => {
              exit = ended
            }))
        )
        return Effect.map(
          send(path, jar === undefined ? message : { ...message, jar }),
          (reply) => ({ ...reply, exit })
        )
      })
    return {
      ...surroundings,
      probe,
      // The application is built when the handler is made; where that takes time, the first request waits for it.
      get port() {
        return port ?? raise()
      },
      send,
      visit,
      ask: (jar, handler) => Effect.flatMap(visit(jar, handler), ({ exit }) => Effect.orDie(exit))
    }
  })

const raise = (): never => {
  throw new Error("The shop is not open yet")
}

/** Opens a shop with carts and accounts. */
export const open = (options: Options = {}): Effect.Effect<Shop, never, Scope.Scope> =>
  openWith<Cart | Account>(Layer.provide((options.stack ?? sound).layer(Cart, Account)), options)

// What handlers do

export const items = Cart.use((cart) => Effect.map(cart.get, ({ items }) => items))

export const add = (item: string) => Cart.use((cart) => cart.update(({ items }) => ({ items: [...items, item] })))

export const refusal = Cart.use((cart) => cart.refusal)

// What tests ask

/** The reason why an effect failed, or "none". */
export const reasonOf = <A, R>(effect: Effect.Effect<A, SessionError, R>): Effect.Effect<string, never, R> =>
  Effect.match(effect, { onFailure: ({ reason }) => reason._tag, onSuccess: () => "none" })

export const eventsOf = ({ events }: Http.Surroundings): ReadonlyArray<string> => events.map(({ _tag }) => _tag)

/** The value of the session cookie in a jar. */
export const valueOf = (jar: Http.Jar): string => jar.get(cookie) ?? ""

/** The sid in a cookie's value: 32 bytes from the fourth on. */
export const sidOf = (jar: Http.Jar): string => Buffer.from(valueOf(jar), "base64url").subarray(3, 35).toString("hex")

/** A jar with a session, and the shop that gave it. */
export const openWithCart = Effect.fnUntraced(function*(options: Options = {}) {
  const shop = yield* open(options)
  const jar = new Http.Jar()
  yield* shop.ask(jar, add("tea"))
  shop.probe.log.length = 0
  shop.events.length = 0
  return { shop, jar }
})
