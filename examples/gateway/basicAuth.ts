/** Kong's plugin basic-auth. */
import { Redacted } from "effect"
import { createHash, timingSafeEqual } from "node:crypto"
import * as Access from "./access.ts"
import * as Answers from "./answers.ts"
import type { Consumer, Credential, Gateway } from "./model.ts"
import type { BasicAuth } from "./schema.ts"

interface Given {
  readonly username: string
  readonly password: string
}

/** RFC 7617, section 2: a user name without a colon, and a password. */
const read = (header: string | undefined): Given | undefined => {
  const encoded = /^\s*basic\s+([A-Za-z\d+/]+={0,2})\s*$/i.exec(header ?? "")?.[1]
  if (encoded === undefined) return undefined
  const [, username, password] = /^([^:]+):(.*)$/s.exec(Buffer.from(encoded, "base64").toString("utf8")) ?? []
  return username === undefined || password === undefined ? undefined : { username, password }
}

const digest = (text: string): Buffer => createHash("sha256").update(text).digest()

/** Takes as long whether the user exists or not, and however much of the password is right. */
const verify = ({ passwords }: Gateway, { password, username }: Given): Credential | undefined => {
  const stored = passwords.get(username)
  const expected = digest(stored === undefined ? "" : Redacted.value(stored.password))
  const isRight = timingSafeEqual(digest(password), expected)
  return isRight ? stored?.credential : undefined
}

const headers = ["proxy-authorization", "authorization"]

/** The plugin of one configuration. */
export const make = (
  config: BasicAuth,
  fallback: Consumer | undefined,
  gateway: Gateway
): (access: Access.Access) => Access.Outcome => {
  const hide = (access: Access.Access): Access.Access =>
    config.hide_credentials
      ? { ...access, hidden: { ...access.hidden, headers: [...access.hidden.headers, ...headers] } }
      : access
  const refuse = (access: Access.Access): Access.Outcome =>
    fallback === undefined
      ? Access.answer(
        access,
        Answers.error(401, "Unauthorized", access.id, { "www-authenticate": `Basic realm="${config.realm}"` })
      )
      : Access.proceed(Access.anonymous(access, fallback))
  return (access) => {
    if (fallback !== undefined && Access.isAuthenticated(access)) return Access.proceed(access)
    const credential = headers
      .map((name) => read(access.request.headers[name]))
      .map((given) => given === undefined ? undefined : verify(gateway, given))
      .find((found) => found !== undefined)
    const hidden = hide(access)
    return credential === undefined ? refuse(hidden) : Access.proceed(Access.authenticated(hidden, credential))
  }
}
