/** Which requests ask to be logged out, as Kong's session plugin sees it. */
import { Effect } from "effect"
import type { Scope } from "effect"
import type { HttpServerRequest } from "effect/http"
import { peek } from "./peek.ts"

/** What a request has to have. */
export interface Rules {
  readonly methods: ReadonlyArray<string>
  /** `undefined` where the query does not count. */
  readonly queryArg: string | undefined
  /** `undefined` where the body is not looked at. */
  readonly bodyArg: string | undefined
  /** Bytes of body. */
  readonly bodyLimit: number
}

type Request = HttpServerRequest.HttpServerRequest

const queryOf = (url: string): string => {
  const start = url.indexOf("?")
  return start === -1 ? "" : url.slice(start + 1)
}

/** Whether the query asks for it; an argument without a value does too. */
const inQuery = ({ methods, queryArg }: Rules, request: Request): boolean =>
  queryArg !== undefined && methods.includes(request.method) &&
  new URLSearchParams(queryOf(request.url)).has(queryArg)

type Find = (body: string, arg: string) => boolean

const inForm: Find = (body, arg) =>
  // A leading "?" is part of a form's first name, and of no query's.
  new URLSearchParams(body.replace(/^\?/, "%3F")).has(arg)

const inJson: Find = (body, arg) => {
  try {
    const json: unknown = JSON.parse(body)
    // As in Lua, where `null` is a value of JSON that is not false.
    return json !== null && typeof json === "object" && !Array.isArray(json) &&
      Object.entries(json).some(([name, value]) => name === arg && value !== false)
  } catch {
    // What is not JSON is the handler's to refuse.
    return false
  }
}

const finders: ReadonlyMap<string | undefined, Find> = new Map([
  ["application/x-www-form-urlencoded", inForm],
  ["application/json", inJson]
])

const finderOf = (request: Request): Find | undefined =>
  finders.get(request.headers["content-type"]?.split(";")[0]?.trim().toLowerCase())

/** Whether the body could ask for it. GET has none that means something. */
const mayBeInBody = ({ bodyArg, methods }: Rules, request: Request): boolean =>
  bodyArg !== undefined && request.method !== "GET" && methods.includes(request.method) &&
  finderOf(request) !== undefined

const decoder = new TextDecoder()

/** What a request asks for. */
export interface Asked {
  readonly logout: boolean
  /** The request to go on with: its body is still to be read. */
  readonly request: Request
}

const inBody = ({ bodyArg, bodyLimit }: Rules, request: Request): Effect.Effect<Asked, never, Scope.Scope> =>
  Effect.map(peek(request, bodyLimit), ({ body, request }) => ({
    logout: body !== undefined && bodyArg !== undefined &&
      finderOf(request)?.(decoder.decode(body), bodyArg) === true,
    request
  }))

/**
 * Whether a request asks to log out of a session that exists. Without one its body
 * is not looked at, and no session is opened for requests that do not ask.
 */
export const ask = (
  rules: Rules,
  exists: Effect.Effect<boolean>,
  request: Request
): Effect.Effect<Asked, never, Scope.Scope> => {
  if (inQuery(rules, request)) return Effect.map(exists, (logout) => ({ logout, request }))
  const stay = { logout: false, request }
  return mayBeInBody(rules, request)
    ? Effect.flatMap(exists, (exists) => exists ? inBody(rules, request) : Effect.succeed(stay))
    : Effect.succeed(stay)
}
