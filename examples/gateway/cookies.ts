/** Cookies of upstream's, which pass as they were written. */
import { Cookies } from "effect/http"
import type { HttpClientResponse } from "effect/http"

const template = Cookies.makeCookieUnsafe("cookie", "")

/** The fields as they came. Undici's responses know them; Effect's interface joins them with commas, which cookies contain. */
const fields = (response: HttpClientResponse.HttpClientResponse): ReadonlyArray<string> => {
  const { source } = response as { readonly source?: { readonly headers: Readonly<Record<string, unknown>> } }
  const given = source?.headers["set-cookie"]
  return (Array.isArray(given) ? given : [given]).filter((field) => typeof field === "string")
}

/**
 * `Cookies` would parse and write them anew, without attributes that it does not know, and keep one of each name. So
 * attributes ride as the encoded value, and a name that comes again has a key of its own.
 */
export const toCookies = (response: HttpClientResponse.HttpClientResponse): Cookies.Cookies =>
  Cookies.fromReadonlyRecord(Object.fromEntries(
    fields(response).flatMap((field, index) => {
      const equals = field.indexOf("=")
      const name = field.slice(0, equals).trim()
      // RFC 6265, section 4.1.1; without such a name Effect would not write it.
      if (!/^[!#$%&'*+\-.^_`|~\w]+$/.test(name)) return []
      const valueEncoded = field.slice(equals + 1)
      const cookie: Cookies.Cookie = Object.assign(Object.create(Object.getPrototypeOf(template)), {
        name,
        value: valueEncoded,
        valueEncoded
      })
      return [[index === 0 ? name : `${name};${index}`, cookie]]
    })
  ))
