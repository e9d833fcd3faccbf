/** Who a request is from, as headers tell upstream in Kong. */
import { Headers } from "effect/http"
import type { HttpServerRequest } from "effect/http"
import type { Authenticated } from "../KongSession.ts"
import { headerValue } from "./properties.ts"

const headersOf = (
  { consumer, credential, groups }: Authenticated
): { readonly [name: string]: string | undefined } => ({
  "x-consumer-id": consumer?.id,
  "x-consumer-custom-id": consumer?.custom_id,
  "x-consumer-username": consumer?.username,
  "x-credential-identifier": credential === undefined ? undefined : credential.identifier ?? credential.id,
  "x-authenticated-groups": groups?.join(", "),
  "x-anonymous-consumer": consumer !== undefined && credential === undefined ? "true" : undefined
})

const names = Object.keys(headersOf({}))

/** A request that claims nothing but this: what a client sends under these names is not Kong's. */
export const withClaims = (
  request: HttpServerRequest.HttpServerRequest,
  authenticated: Authenticated
): HttpServerRequest.HttpServerRequest => {
  const claims = Object.entries(headersOf(authenticated)).flatMap(([name, value]): ReadonlyArray<[string, string]> => {
    const printable = headerValue(value)
    return printable === undefined ? [] : [[name, printable]]
  })
  return request.modify({ headers: Headers.setAll(Headers.removeMany(request.headers, names), claims) })
}
