/** From a request to its answer. */
import { Effect, Option } from "effect"
import type { Scope } from "effect"
import { HttpServerRequest } from "effect/http"
import type { HttpServerResponse } from "effect/http"
import * as KongSession from "../../src/KongSession.ts"
import type { SessionError } from "../../src/SessionError.ts"
import type * as Access from "./access.ts"
import * as Answers from "./answers.ts"
import type { Gateway, Route, Service } from "./model.ts"
import * as Plugins from "./plugins.ts"
import { Proxy } from "./proxy.ts"
import * as Router from "./router.ts"
import { Sessions } from "./sessions.ts"

const makeId = (): string => crypto.randomUUID().replaceAll("-", "")

const split = (url: string): { readonly path: string; readonly query: string | undefined } => {
  const mark = url.indexOf("?")
  return mark < 0 ? { path: url, query: undefined } : { path: url.slice(0, mark), query: url.slice(mark + 1) }
}

export const servicesOf = ({ routes }: Gateway): ReadonlySet<Service> =>
  new Set(routes.flatMap(({ service }) => service ?? []))

const nobody = { client: undefined, body: undefined, hidden: { headers: [], args: [], fields: [] } }

/** The client that a session names, as the rest of the gateway knows it. */
const fromSession = ({ consumers }: Gateway) => {
  const byId = new Map(consumers.map((consumer) => [consumer.id, consumer]))
  return ({ consumer, credential, groups }: KongSession.Authenticated): Access.Client | undefined => {
    const known = consumer === undefined ? undefined : byId.get(consumer.id)
    return known === undefined ? undefined : {
      consumer: known,
      credential: credential && { id: credential.id, identifier: credential.id },
      groups: groups ?? []
    }
  }
}

/** Tells the session of an authentication. It does nothing about the one that it told of itself. */
const remember = ({ client }: Access.Access): Effect.Effect<void, SessionError, KongSession.Authentication> =>
  client?.credential === undefined ? Effect.void : KongSession.Authentication.use(({ set }) => {
    const { consumer: { customId, id, username }, credential, groups } = client
    return set({
      consumer: { id, username, custom_id: customId },
      credential,
      groups: groups.length === 0 ? undefined : groups
    })
  })

/** The handler of all requests. */
export const make = (
  gateway: Gateway
): Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  SessionError,
  HttpServerRequest.HttpServerRequest | Scope.Scope | Proxy | Sessions
> => {
  const findRoute = Router.make(gateway.routes)
  const pluginsOf = Plugins.make(gateway)
  const clientOf = fromSession(gateway)

  const finish = ({ access, answer }: Access.Outcome, match: Router.Match, path: string) => {
    const { service } = match.route
    if (answer !== undefined) return Effect.succeed(answer)
    if (service === undefined) {
      return Effect.succeed(Answers.error(503, "no Service found with those values", access.id))
    }
    return Proxy.use((proxy) => proxy.forward({ access, match, service, path }))
  }

  /** `client` is who the session says that it is. */
  const access = (id: string, query: string | undefined, route: Route, client: Access.Client | undefined) =>
    HttpServerRequest.HttpServerRequest.use((request) => pluginsOf(route)({ ...nobody, id, request, query, client }))

  // As a router does it: what waits for upstream ends when the client goes away.
  return Effect.interruptible(Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const id = makeId()
    if (request.headers["upgrade"]?.toLowerCase() === "websocket") {
      return Answers.error(501, "WebSocket upgrades are not supported", id)
    }
    const { path: rawPath, query } = split(request.url)
    const path = Router.normalize(rawPath)
    const match = findRoute({ method: request.method, host: request.headers["host"] ?? "", path })
    if (match === undefined) return Answers.error(404, "no Route matched with those values", id)

    const session = Plugins.select(gateway, "session", match.route, undefined)
    if (session === undefined) {
      const outcome = yield* access(id, query, match.route, undefined)
      return yield* finish(outcome, match, path)
    }
    const around = (yield* Sessions).get(session)
    if (around === undefined) return yield* Effect.die("a session plugin that was not started")
    return yield* around(Effect.gen(function*() {
      const { current } = yield* KongSession.Authentication
      const client = Option.flatMapNullishOr(yield* current, clientOf)
      const outcome = yield* access(id, query, match.route, Option.getOrUndefined(client))
      yield* remember(outcome.access)
      return yield* finish(outcome, match, path)
    }))
  }))
}
