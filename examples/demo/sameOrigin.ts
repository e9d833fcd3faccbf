/**
 * Against forms that other sites submit (CSRF). `SameSite=Strict` keeps the cookie
 * out of their requests; this keeps the requests out, and tells a site from its
 * subdomains, which `SameSite` does not.
 */
import { Effect } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Headers } from "effect/http"
import { problemPage } from "./page.ts"

const hostOf = (origin: string | undefined): string | undefined =>
  origin !== undefined && URL.canParse(origin) ? new URL(origin).host : undefined

/** All browsers say where a form comes from, in one header or the other; what says nothing is no browser's form. */
const isSameOrigin = (headers: Headers.Headers): boolean => {
  const site = headers["sec-fetch-site"]
  // Without HTTPS, browsers leave it out except on the host itself.
  return site === undefined
    ? headers["host"] !== undefined && hostOf(headers["origin"]) === headers["host"]
    : site === "same-origin"
}

const foreign = HttpServerResponse.html(problemPage("The form came from another site, and was not looked at."))

/** Refuses requests that another origin caused, with a 403. */
export const sameOrigin =
  HttpRouter.middleware((handler) =>
    HttpServerRequest.HttpServerRequest.use(({ headers }) =>
      isSameOrigin(headers) ? handler : Effect.succeed(HttpServerResponse.setStatus(foreign, 403))
    )
  ).layer
