/** From a request to its answer. */
import { Effect } from "effect"
import type { Scope } from "effect"
import { HttpServerRequest } from "effect/http"
import type { HttpServerResponse } from "effect/http"
import type * as Access from "./access.ts"
import * as Answers from "./answers.ts"
import type { Gateway, Service } from "./model.ts"
import * as Plugins from "./plugins.ts"
import { Proxy } from "./proxy.ts"
import * as Router from "./router.ts"

const hidesNothing = { headers: [], args: [], fields: [] }

const makeId = (): string => crypto.randomUUID().replaceAll("-", "")

const split = (url: string): { readonly path: string; readonly query: string | undefined } => {
  const mark = url.indexOf("?")
  return mark < 0 ? { path: url, query: undefined } : { path: url.slice(0, mark), query: url.slice(mark + 1) }
}

export const servicesOf = ({ routes }: Gateway): ReadonlySet<Service> =>
  new Set(routes.flatMap(({ service }) => service ?? []))

/** The handler of all requests. */
export const make = (
  gateway: Gateway
): Effect.Effect<
  HttpServerResponse.HttpServerResponse,
  never,
  HttpServerRequest.HttpServerRequest | Scope.Scope | Proxy
> => {
  const route = Router.make(gateway.routes)
  const plugins = Plugins.make(gateway)
  // As a router does it: what waits for upstream ends when the client goes away.
  return Effect.interruptible(Effect.gen(function*() {
    const request = yield* HttpServerRequest.HttpServerRequest
    const id = makeId()
    if (request.headers["upgrade"]?.toLowerCase() === "websocket") {
      return Answers.error(501, "WebSocket upgrades are not supported", id)
    }
    const { path: rawPath, query } = split(request.url)
    const path = Router.normalize(rawPath)
    const match = route({ method: request.method, host: request.headers["host"] ?? "", path })
    if (match === undefined) return Answers.error(404, "no Route matched with those values", id)
    const access: Access.Access = { id, request, query, client: undefined, body: undefined, hidden: hidesNothing }
    const outcome = yield* plugins(match.route)(access)
    if (outcome._tag === "Answer") return outcome.response
    const { service } = match.route
    if (service === undefined) return Answers.error(503, "no Service found with those values", id)
    return yield* (yield* Proxy).forward({ access: outcome.access, match, service, path })
  }))
}
