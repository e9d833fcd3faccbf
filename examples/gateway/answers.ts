/** What the gateway answers by itself, in Kong's words. */
import { HttpServerResponse } from "effect/http"

const json = "application/json; charset=utf-8"

/** Kong's `kong.response.error`, of which this is the JSON form whatever the client accepts. */
export const error = (
  status: number,
  message: string,
  requestId: string,
  headers: Readonly<Record<string, string>> = {}
): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(`{\n  "message":${JSON.stringify(message)},\n  "request_id":"${requestId}"\n}`, {
    status,
    headers,
    contentType: json
  })

/** Kong's `kong.response.exit` with a message alone. */
export const exit = (status: number, message: string | undefined): HttpServerResponse.HttpServerResponse =>
  message === undefined
    ? HttpServerResponse.empty({ status })
    : HttpServerResponse.text(JSON.stringify({ message }), { status, contentType: json })

export const upstreamFailed = "An invalid response was received from the upstream server"

export const upstreamTimedOut = "The upstream server is timing out"
