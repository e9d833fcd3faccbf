/** Kong's plugin key-auth. */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import { Effect } from "effect"
import * as Access from "./access.ts"
import * as Answers from "./answers.ts"
import { readFields } from "./body.ts"
import { fingerprint } from "./model.ts"
import type { Consumer, Gateway } from "./model.ts"
import type { KeyAuth } from "./schema.ts"

type Found =
  | { readonly _tag: "Key"; readonly key: string; readonly name: string }
  | { readonly _tag: "None" | "Duplicate" }

/** What is given under a name, in one place: each time. */
const inHeaders = ({ request }: Access.Access, name: string): ReadonlyArray<string> =>
  NodeHttpServerRequest.toIncomingMessage(request).rawHeaders.filter((_, index, headers) =>
    index % 2 === 1 && headers[index - 1]?.toLowerCase() === name.toLowerCase()
  )

const inQuery = ({ query }: Access.Access, name: string): ReadonlyArray<string> =>
  new URLSearchParams(query).getAll(name)

const find = (config: KeyAuth, access: Access.Access, fields: URLSearchParams | undefined): Found => {
  for (const name of config.key_names) {
    const places = [
      config.key_in_header ? inHeaders(access, name) : [],
      config.key_in_query ? inQuery(access, name) : [],
      fields?.getAll(name) ?? []
    ]
    const [key, ...others] = places.find(({ length }) => length > 0) ?? []
    if (others.length > 0) return { _tag: "Duplicate" }
    if (key !== undefined && key !== "") return { _tag: "Key", key, name }
  }
  return { _tag: "None" }
}

const hide = (config: KeyAuth, access: Access.Access, name: string): Access.Access => {
  if (!config.hide_credentials) return access
  const { args, fields, headers } = access.hidden
  return {
    ...access,
    hidden: {
      args: [...args, name],
      headers: [...headers, name.toLowerCase()],
      fields: config.key_in_body ? [...fields, name] : fields
    }
  }
}

const messages = { None: "No API key found in request", Duplicate: "Duplicate API key found" }

/** The plugin of one configuration. */
export const make = (
  config: KeyAuth,
  fallback: Consumer | undefined,
  { keys }: Gateway
): (access: Access.Access) => Effect.Effect<Access.Outcome> => {
  const challenge = config.realm === undefined ? "Key" : `Key realm="${config.realm}"`
  const refuse = (access: Access.Access, message: string): Access.Outcome =>
    fallback === undefined
      ? Access.answer(access, Answers.error(401, message, access.id, { "www-authenticate": challenge }))
      : Access.proceed(Access.anonymous(access, fallback))
  const authenticate = (access: Access.Access, fields: URLSearchParams | undefined): Access.Outcome => {
    const found = find(config, access, fields)
    if (found._tag !== "Key") return refuse(access, messages[found._tag])
    const hidden = hide(config, access, found.name)
    const credential = keys.get(fingerprint(found.key))
    return credential === undefined
      ? refuse(hidden, "Unauthorized")
      : Access.proceed(Access.authenticated(hidden, credential))
  }
  return (access) => {
    if (!config.run_on_preflight && access.request.method === "OPTIONS") return Effect.succeed(Access.proceed(access))
    if (fallback !== undefined && Access.isAuthenticated(access)) return Effect.succeed(Access.proceed(access))
    if (!config.key_in_body) return Effect.succeed(authenticate(access, undefined))
    return Effect.match(readFields(access.request), {
      onFailure: () => Access.answer(access, Answers.error(413, "Payload too large", access.id)),
      onSuccess: (read) => authenticate({ ...access, body: read?.bytes }, read?.fields)
    })
  }
}
