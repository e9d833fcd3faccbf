/** Headers on their way through a proxy. */
import { Option } from "effect"
import type { HttpServerRequest } from "effect/http"
import { identify, identityHeaders } from "./access.ts"
import type { Access } from "./access.ts"
import { splitHost } from "./router.ts"
import type { Match } from "./router.ts"

type Headers = Readonly<Record<string, string>>

/** RFC 9110, section 7.6.1, and what stands in `Connection` itself. */
const hopByHop = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade"
]

const without = (headers: Headers, names: ReadonlyArray<string>): Headers => {
  const dropped = new Set(names)
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !dropped.has(name)))
}

const endToEnd = (headers: Headers): Headers => {
  const named = (headers["connection"] ?? "").split(",").map((name) => name.trim().toLowerCase())
  return without(headers, [...hopByHop, ...named])
}

const addressOf = (request: HttpServerRequest.HttpServerRequest): string =>
  // A dual-stack socket shows IPv4 clients in IPv6 notation.
  Option.getOrElse(request.remoteAddress, () => "").replace(/^::ffff:(?=.*\.)/, "")

const append = (list: string | undefined, item: string): string => list === undefined ? item : `${list}, ${item}`

/** As Kong forwards them where it trusts nobody in front of it: what a client says of its own way counts for nothing. */
const forwarded = (headers: Headers, { prefix }: Match, path: string, address: string, port: number): Headers => {
  const host = splitHost(headers["host"] ?? "")
  return {
    "x-forwarded-for": append(headers["x-forwarded-for"], address),
    "x-forwarded-proto": "http",
    "x-forwarded-host": host.host,
    "x-forwarded-port": host.port ?? String(port),
    "x-forwarded-path": path,
    ...(prefix === undefined || prefix === "/" ? {} : { "x-forwarded-prefix": prefix }),
    "x-real-ip": address
  }
}

// `x-forwarded-prefix` is not always set, and `expect` has been answered here.
const own = [...identityHeaders, "x-forwarded-prefix", "expect", "proxy"]

/** What upstream gets. `path` is that of the client's request, `port` that of the gateway. */
export const toUpstream = (access: Access, match: Match, host: string, path: string, port: number): Headers => {
  const { client, hidden, request } = access
  return {
    ...without(endToEnd(request.headers), [...own, ...hidden.headers]),
    ...forwarded(request.headers, match, path, addressOf(request), port),
    ...identify(client),
    via: append(request.headers["via"], "1.1 gateway"),
    "x-kong-request-id": access.id,
    host
  }
}

/** What the client gets. Cookies travel by themselves. */
export const toClient = (headers: Headers, requestId: string): Headers => ({
  ...without(endToEnd(headers), ["set-cookie"]),
  "x-kong-request-id": requestId
})
