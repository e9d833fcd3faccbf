/** UUIDs as Kong gives them to entities of a declarative file that have no `id`: the same at every start. */
import { createHash } from "node:crypto"

/** UUID version 5: a name in a namespace, hashed. */
export const v5 = (namespace: string, name: string): string => {
  const hash = createHash("sha1").update(Buffer.from(namespace.replaceAll("-", ""), "hex")).update(name).digest()
  // RFC 9562, section 5.5: the version and the variant
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x50
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80
  return hash.toString("hex", 0, 16).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")
}

// `_entities` of kong/db/schema/others/declarative_config.lua
const entities = "fd02801f-0957-4a15-a55a-c8d9606f30b5"

/** The id of an entity, from what it is called. */
export const idOf = (kind: "consumers" | "keyauth_credentials" | "basicauth_credentials", name: string): string =>
  v5(v5(entities, kind), kind === "consumers" ? name : `${kind}:*:${name}`)
