/**
 * The attributes of a session cookie, in the order and the spelling of
 * lua-resty-session 4; RFC 6265bis, section 4.1.
 *
 * A session cookie never carries Expires or Max-Age, except to be deleted, and is
 * deleted with every attribute it was set with: a browser would otherwise take
 * the deletion for another cookie's, or refuse it because of the prefix.
 */
import type { Settings } from "../SessionConfig.ts"

const expired = "; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0"

// The last label begins with a letter: that leaves out IPv4 addresses. 259 is the longest name, a colon and a port.
const hostName = /^((?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.)*[a-z](?:[a-z\d-]{0,61}[a-z\d])?)(?::\d{1,5})?$/i

const nameOf = (host: string | undefined): string | undefined =>
  host === undefined || host.length > 259 ? undefined : hostName.exec(host)?.[1]?.toLowerCase()

/** What follows the value of a cookie that is set, and of one that is cleared. */
export interface Attributes {
  readonly set: string
  readonly clear: string
}

/** The attributes, for a request to this host. */
export const make = (settings: Settings): (host: string | undefined) => Attributes => {
  const behindDomain = [
    `; Path=${settings.cookiePath}`,
    `; SameSite=${settings.cookieSameSite}`,
    settings.cookiePriority === undefined ? "" : `; Priority=${settings.cookiePriority}`,
    settings.cookieSameParty ? "; SameParty" : "",
    settings.cookiePartitioned ? "; Partitioned" : "",
    settings.cookieSecure ? "; Secure" : "",
    settings.cookieHttpOnly ? "; HttpOnly" : ""
  ].join("")
  const forDomain = (domain: string | undefined): Attributes => {
    const set = domain === undefined || domain === "" || domain === "localhost"
      ? behindDomain
      : `; Domain=${domain}${behindDomain}`
    return { set, clear: set + expired }
  }
  if (settings.cookieDomain === "host") return (host) => forDomain(nameOf(host))
  const fixed = forDomain(settings.cookieDomain)
  return () => fixed
}
