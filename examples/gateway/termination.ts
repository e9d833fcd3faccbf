/** Kong's plugin request-termination. */
import { Option } from "effect"
import { HttpServerResponse } from "effect/http"
import * as Answers from "./answers.ts"
import type { Termination } from "./schema.ts"

const messages: Readonly<Record<number, string>> = {
  401: "Unauthorized",
  404: "Not found",
  405: "Method not allowed",
  500: "An unexpected error occurred",
  502: "Bad Gateway",
  503: "Service unavailable"
}

/** The answer, if there is one for a request with these headers and arguments. */
export const terminate = (
  { body, content_type: contentType, message, status_code: status, trigger }: Termination,
  headers: Readonly<Record<string, string>>,
  args: URLSearchParams
): Option.Option<HttpServerResponse.HttpServerResponse> => {
  if (trigger !== undefined && headers[trigger.toLowerCase()] === undefined && !args.has(trigger)) return Option.none()
  return Option.some(
    body === undefined
      ? Answers.exit(status, message ?? messages[status])
      : HttpServerResponse.text(body, { status, contentType: contentType ?? "text/plain" })
  )
}
