/**
 * Logout by what a request says, before its handler runs: its method together
 * with an argument of its query or its body, as Kong's session plugin has it.
 *
 * **Example** (A form's logout button)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect, Layer, Redacted, Schema } from "effect"
 * import { HttpRouter, HttpServerResponse } from "effect/http"
 * import * as Session from "effect-session/Session"
 * import * as SessionConfig from "effect-session/SessionConfig"
 * import * as SessionLogout from "effect-session/SessionLogout"
 * import * as SessionStore from "effect-session/SessionStore"
 *
 * class Account extends Session.Service<Account>()("Account", { data: Schema.String, initial: "" }) {}
 *
 * const Orders = HttpRouter.add("POST", "/orders", Account.use((account) =>
 *   Effect.as(account.set("Alice"), HttpServerResponse.text("ordered"))))
 *
 * const App = Orders.pipe(
 *   Layer.provide(SessionLogout.layer(Account, {
 *     readBody: true,
 *     response: HttpServerResponse.redirect("/", { status: 303 }),
 *     clearSiteData: ["cache", "storage"]
 *   })),
 *   Layer.provide(SessionStore.layerCookie),
 *   Layer.provide(SessionConfig.layer({ secret: Redacted.make("at least 32 bytes that nobody can guess") }))
 * )
 *
 * const { dispose, handler } = HttpRouter.toWebHandler(App, { disableLogger: true })
 * const ask = (body: URLSearchParams, cookie = "") =>
 *   handler(new Request("https://example.com/orders", { method: "POST", headers: { cookie }, body }))
 * const ordered = await ask(new URLSearchParams({ item: "tea" }))
 * const cookie = ordered.headers.getSetCookie()[0]!.split(";")[0]!
 * const left = await ask(new URLSearchParams({ session_logout: "yes" }), cookie)
 * assert.deepEqual([left.status, left.headers.get("clear-site-data")], [303, "\"cache\", \"storage\""])
 * assert.match(left.headers.getSetCookie()[0]!, /^__Host-session=;.*Max-Age=0/)
 * await dispose()
 * ```
 *
 * @since 0.1.0
 */
import { Effect, Layer } from "effect"
import type { Scope } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import type { HttpRouter } from "effect/http"
import * as logoutRequest from "./internal/logoutRequest.ts"
import type * as Session from "./Session.ts"
import type { SessionConfig } from "./SessionConfig.ts"
import { InvalidConfig, SessionError } from "./SessionError.ts"
import * as SessionHttp from "./SessionHttp.ts"
import type { SessionStore } from "./SessionStore.ts"

/**
 * Which requests log out, and what they are answered. The names in brackets are
 * those of Kong's session plugin, whose defaults these are.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * The methods that can log out (`logout_methods`). Default: `["POST", "DELETE"]`.
   *
   * **Gotchas**
   *
   * With `"GET"`, any link, image or prefetch can log a user out.
   */
  readonly methods?: ReadonlyArray<"GET" | "POST" | "DELETE"> | undefined
  /**
   * The argument of the query that asks for it, whatever its value
   * (`logout_query_arg`). Default: `"session_logout"`; `false` for none.
   */
  readonly queryArg?: string | false | undefined
  /** Whether the body is looked at too (`read_body_for_logout`). Default: `false`. */
  readonly readBody?: boolean | undefined
  /**
   * The argument of the body that asks for it (`logout_post_arg`). Default:
   * `"session_logout"`.
   *
   * **Details**
   *
   * In `application/x-www-form-urlencoded`, a name, whatever its value. In
   * `application/json`, a name of the outermost object, whose value is not `false`.
   * Other bodies do not log out, and those of GET have no meaning.
   */
  readonly postArg?: string | undefined
  /**
   * Most bytes of a body that is looked at: a longer one does not log out. Default:
   * 8,192 bytes, as much as Kong keeps in memory; 1 to 1,048,576.
   */
  readonly bodyLimit?: number | undefined
  /**
   * What ends: this class's part of the session (`"audience"`), or the session with
   * the parts of all classes (`"session"`). Default: `"audience"`.
   */
  readonly ends?: "audience" | "session" | undefined
  /** What is answered. Default: an empty 200. */
  readonly response?:
    | HttpServerResponse.HttpServerResponse
    | Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest>
    | undefined
  /**
   * What browsers are told to forget of this site, in the header `Clear-Site-Data`
   * (W3C, Clear Site Data). Default: nothing, `[]`.
   *
   * **Gotchas**
   *
   * `"cookies"` takes those of all subdomains too.
   */
  readonly clearSiteData?:
    | ReadonlyArray<"cache" | "cookies" | "storage" | "executionContexts" | "clientHints" | "*">
    | undefined
}

type Set<S extends keyof Options> = Exclude<Options[S], undefined>

interface Settings extends logoutRequest.Rules {
  readonly ends: Set<"ends">
  readonly response: Set<"response">
  readonly clearSiteData: Set<"clearSiteData">
}

interface Rule {
  readonly setting: keyof Options
  readonly isBroken: (options: Options) => boolean
  readonly problem: string
  readonly fix: string
}

const rules: ReadonlyArray<Rule> = [
  {
    setting: "methods",
    isBroken: ({ methods = [] }) => methods.some((method) => !["GET", "POST", "DELETE"].includes(method)),
    problem: "has a method that cannot log out",
    fix: "Write any of \"GET\", \"POST\", \"DELETE\""
  },
  ...(["queryArg", "postArg"] as const).map((setting): Rule => ({
    setting,
    isBroken: (options) => options[setting] === "",
    problem: "is empty",
    fix: "Write the argument's name"
  })),
  {
    setting: "bodyLimit",
    isBroken: ({ bodyLimit = 1 }) => !Number.isInteger(bodyLimit) || bodyLimit < 1 || bodyLimit > 1024 * 1024,
    problem: "is not between 1 and 1048576",
    fix: "Write the bytes of the largest body that is looked at"
  },
  {
    setting: "clearSiteData",
    isBroken: ({ clearSiteData = [] }) => clearSiteData.some((what) => !/^([a-zA-Z]+|\*)$/.test(what)),
    problem: "has something that no browser knows",
    fix: "Write what to clear without quotes, such as \"cache\""
  }
]

const make = (options: Options): Effect.Effect<Settings, SessionError> => {
  const broken = rules.find(({ isBroken }) => isBroken(options))
  if (broken !== undefined) {
    const { fix, problem, setting } = broken
    return Effect.fail(new SessionError({ reason: new InvalidConfig({ setting, problem, fix }) }))
  }
  const { bodyLimit = 8192, clearSiteData = [], ends = "audience", methods = ["POST", "DELETE"] } = options
  const { postArg = "session_logout", queryArg = "session_logout", readBody = false, response } = options
  return Effect.succeed({
    methods,
    queryArg: queryArg === false ? undefined : queryArg,
    bodyArg: readBody ? postArg : undefined,
    bodyLimit,
    ends,
    response: response ?? HttpServerResponse.empty({ status: 200 }),
    clearSiteData
  })
}

const answer = ({ clearSiteData, response }: Settings) =>
  Effect.map(
    HttpServerResponse.isHttpServerResponse(response) ? Effect.succeed(response) : response,
    (response) =>
      clearSiteData.length === 0
        ? response
        : HttpServerResponse.setHeader(
          response,
          "clear-site-data",
          clearSiteData.map((what) => `"${what}"`).join(", ")
        )
  )

const around = <E, R>(
  settings: Settings,
  { destroy, exists, logout }: Pick<Session.Handle<never, unknown>, "destroy" | "exists" | "logout">,
  handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest | Scope.Scope> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) =>
    Effect.flatMap(
      logoutRequest.ask(settings, exists, request),
      (asked): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest> =>
        asked.logout
          ? Effect.andThen(Effect.orDie(settings.ends === "session" ? destroy : logout), answer(settings))
          : Effect.updateService(handler, HttpServerRequest.HttpServerRequest, () => asked.request)
    ))

/**
 * Gives a session to the routes that it is provided to, as `SessionHttp.layer`
 * does, and ends it where a request asks for that: their handlers then do not run.
 *
 * **Details**
 *
 * It may stand alone or beside `SessionHttp.layer`, inside or outside of it. The
 * logout is carried out before the answer leaves; if the store fails, the answer is a
 * 503.
 *
 * A request that asks for it without a session goes on to its handler, as in Kong.
 *
 * The handler of a request that does not ask finds the body whole, however it reads
 * it. Only as much is read before as `bodyLimit` says, and nothing of a body whose
 * header `Content-Length` says more, whose type has no arguments, or whose sender has
 * no session.
 *
 * **Gotchas**
 *
 * Behind Node's server, what reads the `source` of a request past Effect does not
 * find the part of the body that was looked at.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Self, Id extends string, Data, Stored, Mismatch, Values>(
  session: Session.Class<Self, Id, Data, Stored, Mismatch, Values>,
  options: Options = {}
): Layer.Layer<HttpRouter.Request.From<"Requires", Self>, SessionError, SessionConfig | SessionStore> =>
  Layer.unwrap(
    Effect.map(make(options), (settings) =>
      SessionHttp.middleware<readonly [typeof session]>((engine, handler) =>
        SessionHttp.run(
          engine,
          [session],
          Effect.flatMap(session, (handle) =>
            around(settings, handle, handler))
        )
      ))
  ).pipe(Layer.provide(SessionHttp.layerServices))
