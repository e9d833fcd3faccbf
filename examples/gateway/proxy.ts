/** The way to upstream and back. Bodies pass as they come, in both directions. */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Context, Data, Deferred, Effect, Layer, Scope, Stream } from "effect"
import { HttpBody, HttpClient, HttpClientRequest, HttpServerResponse } from "effect/http"
import type { HttpClientError, HttpClientResponse, HttpMethod, HttpServerRequest } from "effect/http"
import type { Access } from "./access.ts"
import * as Answers from "./answers.ts"
import * as Body from "./body.ts"
import { toCookies } from "./cookies.ts"
import * as Headers from "./headers.ts"
import type { Service } from "./model.ts"
import type { Match } from "./router.ts"

class TimedOut extends Data.TaggedError("TimedOut") {}

/** How long the other side may take for what it does next. */
class Deadline {
  readonly #missed = Deferred.makeUnsafe<never, TimedOut>()
  #timer: NodeJS.Timeout | undefined

  within(milliseconds: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => Deferred.doneUnsafe(this.#missed, Effect.fail(new TimedOut())), milliseconds)
  }

  readonly lift = (): void => clearTimeout(this.#timer)

  get missed(): Effect.Effect<never, TimedOut> {
    return Deferred.await(this.#missed)
  }
}

/** Upstream has `writeTimeout` to take each piece, and as soon as it has all of them, `readTimeout` to answer. */
const watchUpload = <E>(
  body: Stream.Stream<Uint8Array, E>,
  deadline: Deadline,
  { readTimeout, writeTimeout }: Service
): Stream.Stream<Uint8Array, E> =>
  Stream.transformPull(body, (pull) =>
    Effect.succeed(Effect.suspend(() => {
      // From here it is the client who takes its time.
      deadline.lift()
      return Effect.onExit(
        pull,
        (exit) => Effect.sync(() => deadline.within(exit._tag === "Success" ? writeTimeout : readTimeout))
      )
    })))

const hasBody = ({ headers }: HttpServerRequest.HttpServerRequest): boolean =>
  headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0

const withBody = (
  { body, hidden, request }: Access,
  deadline: Deadline,
  service: Service,
  message: HttpClientRequest.HttpClientRequest
): HttpClientRequest.HttpClientRequest => {
  const contentType = request.headers["content-type"]
  if (body === undefined && !hasBody(request)) return message
  const length = request.headers["content-length"]
  const withBody = body === undefined
    ? HttpClientRequest.bodyStream(message, watchUpload(request.stream, deadline, service), {
      contentType,
      contentLength: length === undefined ? undefined : Number(length)
    })
    : HttpClientRequest.bodyUint8Array(message, Body.withoutFields(request, body, hidden.fields), contentType)
  // As in `respond`.
  return contentType === undefined ? HttpClientRequest.removeHeader(withBody, "content-type") : withBody
}

const codeOf = (error: HttpClientError.HttpClientError): unknown => {
  const { cause } = error.reason as { readonly cause?: { readonly code?: unknown } | null }
  return cause?.code
}

const describe = (error: HttpClientError.HttpClientError | TimedOut): readonly [status: number, message: string] => {
  if (error._tag === "TimedOut") return [504, Answers.upstreamTimedOut]
  switch (codeOf(error)) {
    case "UND_ERR_CONNECT_TIMEOUT":
      return [504, Answers.upstreamTimedOut]
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return [503, "name resolution failed"]
    default:
      return [502, Answers.upstreamFailed]
  }
}

// What was sent once must not be done twice (RFC 9110, section 9.2.2), and a body that has passed is gone.
const isRepeatable = (request: HttpServerRequest.HttpServerRequest): boolean =>
  !hasBody(request) && !["POST", "PATCH", "LOCK"].includes(request.method)

const respond = (
  response: HttpClientResponse.HttpClientResponse,
  { readTimeout }: Service,
  requestId: string
): HttpServerResponse.HttpServerResponse => {
  const headers = Headers.toClient(response.headers, requestId)
  const body = Stream.timeoutOrElse(response.stream, {
    duration: readTimeout,
    orElse: () => Stream.fail(new TimedOut())
  })
  const { "content-length": length, "content-type": type } = headers
  const answer = HttpServerResponse.setBody(
    HttpServerResponse.empty({ status: response.status, headers, cookies: toCookies(response) }),
    // The body makes up a type for itself unless it is given one, be it empty.
    HttpBody.stream(body, type ?? "", length === undefined ? undefined : Number(length))
  )
  return type === undefined ? HttpServerResponse.removeHeader(answer, "content-type") : answer
}

const withoutArgs = (query: string | undefined, names: ReadonlyArray<string>): string => {
  if (query === undefined) return ""
  // The rest stays as the client wrote it.
  const kept = query.split("&").filter((pair) =>
    ![...new URLSearchParams(pair).keys()].some((name) => names.includes(name))
  )
  return names.length > 0 && kept.length === 0 ? "" : `?${kept.join("&")}`
}

const isDefaultPort = ({ port, protocol }: Service): boolean => port === (protocol === "http" ? 80 : 443)

export interface Forwarded {
  readonly access: Access
  readonly match: Match
  readonly service: Service
  /** Of the client's request, normalized. */
  readonly path: string
}

export class Proxy extends Context.Service<Proxy, {
  /** Asks upstream, whose answer it is, and answers itself where there is none. */
  readonly forward: (
    request: Forwarded
  ) => Effect.Effect<HttpServerResponse.HttpServerResponse, never, Scope.Scope>
}>()("gateway/Proxy") {}

/** An answer belongs to the request that waits for it, and its body is cut off with that. */
const scoped = (client: HttpClient.HttpClient) => HttpClient.withScope(client)

const make = Effect.fnUntraced(function*(services: ReadonlyArray<Service>, port: number) {
  const scope = yield* Effect.scope
  const clients = new Map<Service, ReturnType<typeof scoped>>()
  for (const service of services) {
    const dispatcher = yield* NodeHttpClient.makeDispatcherOptions({ connect: { timeout: service.connectTimeout } })
      .pipe(
        Scope.provide(scope)
      )
    const client = yield* Effect.provideService(NodeHttpClient.makeUndici, NodeHttpClient.Dispatcher, dispatcher)
    clients.set(service, scoped(client))
  }

  const ask = ({ access, match, path, service }: Forwarded, client: ReturnType<typeof scoped>) =>
    Effect.suspend(() => {
      const { hidden, query, request } = access
      const origin = `${service.host}${isDefaultPort(service) ? "" : `:${service.port}`}`
      const host = match.route.preserveHost ? request.headers["host"] ?? origin : origin
      const url = `${service.protocol}://${origin}${match.upstreamPath}${withoutArgs(query, hidden.args)}`
      const deadline = new Deadline()
      // Any method passes; the type names the usual ones.
      const message = HttpClientRequest.make(request.method as HttpMethod.HttpMethod)(url, {
        headers: Headers.toUpstream(access, match, host, path, port)
      })
      deadline.within(service.connectTimeout + service.readTimeout)
      return client.execute(withBody(access, deadline, service, message)).pipe(
        Effect.raceFirst(deadline.missed),
        Effect.ensuring(Effect.sync(deadline.lift))
      )
    })

  return {
    forward: (forwarded: Forwarded) => {
      const { access, service } = forwarded
      const client = clients.get(service)
      if (client === undefined) return Effect.die("a service without a client")
      return ask(forwarded, client).pipe(
        Effect.retry({
          times: isRepeatable(access.request) ? service.retries : 0,
          while: (error) => error._tag === "HttpClientError"
        }),
        Effect.map((response) => respond(response, service, access.id)),
        Effect.catch((error) => {
          const [status, message] = describe(error)
          // Without the URL, whose query may hold a key.
          const reason = error._tag === "TimedOut" ? error._tag : codeOf(error) ?? error.reason._tag
          return Effect.as(
            Effect.logWarning(`${service.host}:${service.port} gave no answer: ${String(reason)}`),
            Answers.error(status, message, access.id)
          )
        }),
        // Upstream gets no headers that the client has not sent.
        Effect.provideService(HttpClient.TracerDisabledWhen, () => true)
      )
    }
  }
})

/** `port` is where the gateway listens. */
export const layer = (services: ReadonlyArray<Service>, port: number): Layer.Layer<Proxy> =>
  Layer.effect(Proxy, make(services, port))
