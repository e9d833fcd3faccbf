/** Which route a request takes, and the path that it asks upstream for: Kong's rules, for paths, methods and hosts. */
import type { Route } from "./model.ts"

export interface Match {
  readonly route: Route
  /** The part of the path that is stripped; `undefined` where none is. */
  readonly prefix: string | undefined
  /** Path of the request to upstream, without the query. */
  readonly upstreamPath: string
}

const unreserved = /[\w.~-]/
// What a URL parser takes for something else, such as a backslash for a slash, would lead past the routes.
const unsafe = /[^!#$&'()*+,/:;=?@[\]\w\-.~%]|[#?]/g

const withoutDots = (path: string): string => {
  const kept: Array<string> = []
  for (const segment of path.split("/")) {
    if (segment === "..") kept.pop()
    else if (segment !== "." && segment !== "") kept.push(segment)
  }
  const trailing = /\/(\.{0,2})$/.test(path) && kept.length > 0 ? "/" : ""
  return `/${kept.join("/")}${trailing}`
}

/**
 * One spelling for each path (RFC 3986, section 6.2.2): what two programs read in two ways, such as
 * `/open/%2e%2e/closed`, would pass the routes as one thing and mean another upstream.
 */
export const normalize = (path: string): string =>
  withoutDots(
    path
      .replace(/%[\da-f]{2}/gi, (escaped) => {
        const character = String.fromCharCode(Number.parseInt(escaped.slice(1), 16))
        return unreserved.test(character) ? character : escaped.toUpperCase()
      })
      // Node reads the bytes of a request line as Latin-1.
      .replace(unsafe, (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`)
  )

const matchHost = (pattern: string, host: string, port: string): boolean => {
  const [, name = pattern, patternPort] = /^(.*?)(?::(\d+))?$/.exec(pattern) ?? []
  if (patternPort !== undefined && patternPort !== port) return false
  if (name.startsWith("*")) return host.endsWith(name.slice(1))
  if (name.endsWith("*")) return host.startsWith(name.slice(0, -1))
  return name === host
}

/** Kong's `get_upstream_uri_v0`. */
const join = (base: string, path: string, prefix: string | undefined): string => {
  if (prefix === undefined) {
    if (base.endsWith("/")) return base + path.slice(1)
    return path === "/" ? base : base + path
  }
  // `/open../closed` begins with `/open`, and what is left of it must not climb.
  const rest = path.slice(prefix.length).replace(/^\.{1,2}(\/|$)/, "")
  if (rest === "") {
    if (base === "/") return "/"
    const stem = base.replace(/\/$/, "")
    return path.length > 1 && path.endsWith("/") ? `${stem}/` : stem
  }
  return `${base.replace(/\/$/, "")}${rest.startsWith("/") ? "" : "/"}${rest}`
}

/** A route with one of its paths, or none: each is a candidate of its own. */
interface Candidate {
  readonly route: Route
  readonly path: string | undefined
}

const criteria = ({ route }: Candidate): number =>
  [route.methods, route.hosts, route.paths].filter(({ length }) => length > 0).length

const hasPlainHosts = ({ route }: Candidate): number =>
  Number(route.hosts.length > 0 && route.hosts.every((host) => !host.includes("*")))

// `get_priority` of kong/router/transform.lua: more criteria first, hosts without wildcards, then the longest path.
const compare = (a: Candidate, b: Candidate): number =>
  criteria(b) - criteria(a) ||
  hasPlainHosts(b) - hasPlainHosts(a) ||
  (b.path?.length ?? 0) - (a.path?.length ?? 0)

/** Splits a `Host` header. */
export const splitHost = (header: string): { readonly host: string; readonly port: string | undefined } => {
  const [, host = header, port] = /^(.*?)(?::(\d+))?$/.exec(header.toLowerCase()) ?? []
  return { host, port }
}

export interface Asked {
  readonly method: string
  /** As in the header `Host`. */
  readonly host: string
  /** Normalized, without the query. */
  readonly path: string
}

export const make = (routes: ReadonlyArray<Route>): (request: Asked) => Match | undefined => {
  const candidates = routes
    .flatMap((route): ReadonlyArray<Candidate> =>
      route.paths.length === 0
        ? [{ route, path: undefined }]
        : route.paths.map((path) => ({ route, path: normalize(path.replace(/\P{ASCII}/gu, encodeURIComponent)) }))
    )
    .toSorted(compare)
  return ({ host: header, method, path }) => {
    const { host, port = "80" } = splitHost(header)
    const found = candidates.find((candidate) => {
      const { hosts, methods } = candidate.route
      return (candidate.path === undefined || path.startsWith(candidate.path)) &&
        (methods.length === 0 || methods.includes(method)) &&
        (hosts.length === 0 || hosts.some((pattern) => matchHost(pattern, host, port)))
    })
    if (found === undefined) return undefined
    const prefix = found.route.stripPath ? found.path : undefined
    const base = found.route.service?.path ?? "/"
    return { route: found.route, prefix, upstreamPath: join(base, path, prefix) }
  }
}
