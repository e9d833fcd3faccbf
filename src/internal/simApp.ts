/** The application that the simulator drives: the library as users have it, behind a web handler. */
import {
  Clock,
  Context,
  Data,
  Effect,
  ErrorReporter,
  Layer,
  Logger,
  Metric,
  Option,
  Redacted,
  Scheduler,
  Schema,
  Stream
} from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as CookieCodec from "../CookieCodec.ts"
import * as Crypto from "../Crypto.ts"
import * as Session from "../Session.ts"
import type { Options } from "../SessionConfig.ts"
import * as SessionConfig from "../SessionConfig.ts"
import type { SessionError } from "../SessionError.ts"
import * as SessionHttp from "../SessionHttp.ts"
import * as Sessions from "../Sessions.ts"
import { SessionPort, SessionStore } from "../SessionStore.ts"
import type { Placement, Port } from "../SessionStore.ts"
import type { Call } from "./simCall.ts"
import { Current } from "./simWorld.ts"
import type { World } from "./simWorld.ts"

/** The data of the simulated sessions: who changed them, in order. */
export class Notes extends Session.Service<Notes>()("effect-session/simulator/Notes", {
  data: Schema.Array(Schema.String),
  initial: []
}) {}

type Needs = HttpRouter.HttpRouter | HttpRouter.Request<"Error", unknown> | SessionHttp.Services | SessionPort

/** Routes that need a session. */
export type Routes = Layer.Layer<never, never, Needs | HttpRouter.Request.From<"Requires", Notes>>

/** The parts of the library that a fault can be put into. */
export interface Stack {
  /** Gives the routes their sessions. */
  readonly provide: (routes: Routes) => Layer.Layer<never, never, Needs>
  readonly crypto: (crypto: Crypto.Crypto["Service"]) => Crypto.Crypto["Service"]
  readonly codec: (
    codec: CookieCodec.CookieCodec["Service"],
    crypto: Crypto.Crypto["Service"]
  ) => CookieCodec.CookieCodec["Service"]
  /** Between the application and the network to the store. */
  readonly port: (port: Port) => Port
  /** On the far side of the network: the store itself. */
  readonly store: (port: Port) => Port
  readonly settings: (settings: Options) => Options
}

/** The library itself. */
export const sound: Stack = {
  provide: Layer.provide(SessionHttp.layerWith(Notes)),
  crypto: (crypto) => crypto,
  codec: (codec) => codec,
  port: (port) => port,
  store: (port) => port,
  settings: (settings) => settings
}

const pause = (world: World): Effect.Effect<void, SessionError> =>
  world.operation("pause", "", Effect.void, () => ({ executed: () => "" }))

const look = Effect.fnUntraced(function*(call: Call) {
  const notes = yield* Notes
  const seen = {
    exists: yield* notes.exists,
    notes: yield* notes.get,
    subject: Option.getOrUndefined(yield* notes.subject),
    handle: Option.getOrUndefined(yield* notes.handle)
  }
  call.look(seen)
})

const act = Effect.fnUntraced(function*(call: Call) {
  const notes = yield* Notes
  const sessions = yield* Sessions.Sessions
  const { kind, remember, user } = call.action
  switch (kind) {
    case "ignore":
    case "read":
      return
    case "note":
    case "login":
    case "renew":
      yield* notes.update((before) => [...before, call.note])
      call.noted = true
      if (kind === "note") return
      yield* kind === "login" ? notes.login(user, remember ? {} : { remember }) : notes.renew
      call.renewed = true
      call.loggedIn = kind === "login"
      return
    case "logout":
      yield* notes.destroy
      call.ended = true
      return
    case "logoutElsewhere":
      yield* sessions.revokeAll(Notes, user, { except: yield* notes.handle })
      return
    case "revoke":
      if (call.target !== undefined) yield* sessions.revoke(call.target)
  }
})

class HandlerFailed extends Data.TaggedError("HandlerFailed") {}

const end = ({ ending }: Call["action"]): Effect.Effect<HttpServerResponse.HttpServerResponse, HandlerFailed> => {
  switch (ending) {
    case "empty":
      return Effect.succeed(HttpServerResponse.empty())
    case "redirect":
      return Effect.succeed(HttpServerResponse.redirect("/elsewhere"))
    case "stream":
      return Effect.succeed(HttpServerResponse.stream(Stream.make(new Uint8Array(1))))
    case "fail":
      return Effect.fail(new HandlerFailed())
    case "die":
      return Effect.die(new Error("The handler died"))
  }
}

const handle = Effect.fnUntraced(function*(world: World, call: Call) {
  const { action } = call
  if (action.pause === "before") yield* pause(world)
  if (action.look) yield* look(call)
  if (action.pause === "between") yield* pause(world)
  yield* act(call)
  if (action.early) {
    call.stage = "Committing"
    yield* Notes.use((notes) => notes.commit)
  }
  if (action.pause === "after") yield* pause(world)
  return yield* end(action)
})

const handler = (world: World) =>
  Effect.flatMap(Current, (call) =>
    call === undefined
      ? Effect.succeed(HttpServerResponse.empty())
      : Effect.onExit(handle(world, call), (exit) =>
        Effect.sync(() => {
          call.failed = exit._tag === "Failure"
          call.stage = exit._tag === "Success" || exit.cause.reasons.every((reason) => reason._tag === "Fail")
            ? "Done"
            : "Dropped"
        })))

const secret = "the simulator's own, which guards nothing"

const layer = (
  world: World,
  placement: Placement,
  port: Port,
  randomBytes: (size: number) => Uint8Array,
  settings: Options,
  stack: Stack
) => {
  const watched = stack.port(port)
  const crypto = Layer.effect(
    Crypto.Crypto,
    Effect.map(
      Crypto.Crypto,
      (crypto) =>
        stack.crypto({
          ...crypto,
          randomBytes: (size) => Effect.sync(() => randomBytes(size)),
          // The one primitive that takes real time, on a thread; here nobody guesses passwords.
          pbkdf2: (password, salt, { length }) => crypto.hkdf(password)(salt, length)
        })
    )
  ).pipe(Layer.provide(Crypto.layer))
  const codec = Layer.effect(
    CookieCodec.CookieCodec,
    Effect.zipWith(CookieCodec.CookieCodec, Crypto.Crypto, stack.codec)
  ).pipe(Layer.provide(CookieCodec.layer))
  const store = Layer.succeedContext(
    Context.make(SessionPort, watched).pipe(
      Context.add(SessionStore, placement._tag === "Server" ? { ...placement, port: watched } : placement)
    )
  )
  const surroundings = Layer.mergeAll(
    Layer.succeed(Clock.Clock, world.clock),
    Layer.succeed(Scheduler.Scheduler, world.scheduler),
    Layer.succeed(Metric.MetricRegistry, new Map()),
    ErrorReporter.layer([]),
    Logger.layer([])
  )
  const routes = Layer.unwrap(
    Effect.map(
      Sessions.Sessions,
      (sessions) => HttpRouter.add("*", "/", Effect.provideService(handler(world), Sessions.Sessions, sessions))
    )
  ).pipe(
    Layer.provide(Sessions.layerWith)
  )
  return stack.provide(routes).pipe(
    Layer.provide(codec),
    Layer.provide(Layer.merge(crypto, store)),
    Layer.provide(SessionConfig.layer({ secret: Redacted.make(secret), ...stack.settings(settings) })),
    Layer.provideMerge(surroundings)
  )
}

/** An application that runs: `send` answers once there is a response, and `dispose` ends it. */
export interface App {
  readonly send: (request: Request, call: Call) => Promise<Response>
  readonly dispose: () => Promise<void>
}

/** Starts the application. */
export const start = async (...args: Parameters<typeof layer>): Promise<App> => {
  const [world] = args
  const { dispose, handler } = HttpRouter.toWebHandler(layer(...args), { disableLogger: true })
  const first = handler(new Request(address))
  // What is built runs on the world's scheduler too.
  while ((await Promise.race([first, Effect.runPromise(Effect.yieldNow)])) === undefined) await world.settle()
  return {
    send: (request, call) => handler(request, Context.make(Current, call)),
    dispose
  }
}

export const address = "https://shop.example/"
