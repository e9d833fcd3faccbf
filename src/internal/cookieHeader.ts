/**
 * Finds cookies of one name in a Cookie request header, as nginx does, and removes
 * them.
 *
 * Spaces before a name and before a value are skipped; nothing else is trimmed,
 * unquoted or decoded, since a session's cookies hold base64url only. Nothing is
 * kept of foreign cookies, so their number and names cost no memory; the time is
 * linear in the header's length.
 */

/** The cookies of one name. */
export interface Named {
  /** Their values in order, at most `limit`. */
  readonly all: (cookies: string, limit: number) => Array<string>
  /** The value of the first. */
  readonly first: (cookies: string) => string | undefined
}

/**
 * Where the value of the next such cookie begins, or -1. `from` is 0 at first, and
 * then lies in a value.
 */
type Next = (cookies: string, from: number) => number

const space = 0x20
const semicolon = 0x3b

const skipSpaces = (cookies: string, from: number): number => {
  let at = from
  while (cookies.charCodeAt(at) === space) at++
  return at
}

const beginsCookie = (cookies: string, at: number): boolean => {
  let before = at - 1
  while (cookies.charCodeAt(before) === space) before--
  return before < 0 || cookies.charCodeAt(before) === semicolon
}

const exactly = (name: string): Next => {
  const prefix = `${name}=`
  return (cookies, from) => {
    for (let at = cookies.indexOf(prefix, from); at !== -1; at = cookies.indexOf(prefix, at + prefix.length)) {
      if (beginsCookie(cookies, at)) return at + prefix.length
    }
    return -1
  }
}

/** Only ASCII letters have two cases for nginx; `toLowerCase` knows more. */
const lowerCase = (code: number): number => code >= 0x41 && code <= 0x5a ? code + 0x20 : code

const inAnyCase = (name: string): Next => {
  const prefix = Array.from(`${name}=`, (character) => lowerCase(character.charCodeAt(0)))
  const matches = (cookies: string, at: number): boolean =>
    prefix.every((code, i) => lowerCase(cookies.charCodeAt(at + i)) === code)
  const following = (cookies: string, from: number): number => {
    const end = cookies.indexOf(";", from)
    return end === -1 ? -1 : end + 1
  }
  return (cookies, from) => {
    for (let next = from === 0 ? 0 : following(cookies, from); next !== -1; next = following(cookies, next)) {
      const at = skipSpaces(cookies, next)
      if (matches(cookies, at)) return at + prefix.length
    }
    return -1
  }
}

const valueAt = (cookies: string, from: number): string => {
  const end = cookies.indexOf(";", from)
  return cookies.slice(skipSpaces(cookies, from), end === -1 ? cookies.length : end)
}

/** The cookies of this name, to the letter or in any case. */
export const named = (name: string, exact: boolean): Named => {
  const next = exact ? exactly(name) : inAnyCase(name)
  return {
    all: (cookies, limit) => {
      const found: Array<string> = []
      for (let at = next(cookies, 0); at !== -1 && found.length < limit; at = next(cookies, at)) {
        found.push(valueAt(cookies, at))
      }
      return found
    },
    first: (cookies) => {
      const at = next(cookies, 0)
      return at === -1 ? undefined : valueAt(cookies, at)
    }
  }
}

/** What is left of a Cookie header without the cookies of these names, in order; `undefined` for nothing. */
export const without = (names: ReadonlyArray<string>, exact: boolean): (cookies: string) => string | undefined => {
  const spell = (name: string): string => exact ? name : Array.from(name, toLowerCase).join("")
  const unwanted = new Set(names.map(spell))
  return (cookies) => {
    const kept = cookies.split(";").map((cookie) => cookie.slice(skipSpaces(cookie, 0))).filter((cookie) => {
      const end = cookie.indexOf("=")
      return cookie !== "" && !unwanted.has(spell(end === -1 ? cookie : cookie.slice(0, end)))
    })
    return kept.length === 0 ? undefined : kept.join("; ")
  }
}

const toLowerCase = (character: string): string => String.fromCharCode(lowerCase(character.charCodeAt(0)))
