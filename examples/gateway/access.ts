/** A request on its way through the plugins, and who it has turned out to be. */
import type { HttpServerRequest, HttpServerResponse } from "effect/http"
import type { Consumer, Credential } from "./model.ts"

/** An anonymous consumer has no credential. */
export interface Client {
  readonly consumer: Consumer
  readonly credential: Pick<Credential, "id" | "identifier"> | undefined
  readonly groups: ReadonlyArray<string>
}

export interface Access {
  readonly id: string
  readonly request: HttpServerRequest.HttpServerRequest
  /** The query, without the question mark; `undefined` where there is none. */
  readonly query: string | undefined
  readonly client: Client | undefined
  /** The body, where a plugin has read it. */
  readonly body: Uint8Array | undefined
  /** Credentials that upstream must not see. */
  readonly hidden: {
    readonly headers: ReadonlyArray<string>
    readonly args: ReadonlyArray<string>
    /** Fields of the body. */
    readonly fields: ReadonlyArray<string>
  }
}

/** What a plugin makes of it: a request that goes on, or one that has its answer. */
export interface Outcome {
  readonly access: Access
  readonly answer: HttpServerResponse.HttpServerResponse | undefined
}

export const proceed = (access: Access): Outcome => ({ access, answer: undefined })

export const answer = (access: Access, answer: HttpServerResponse.HttpServerResponse): Outcome => ({ access, answer })

/** Of a consumer that has just proven who it is. */
export const authenticated = (access: Access, credential: Credential): Access => {
  const { consumer } = credential
  return { ...access, client: { consumer, credential, groups: consumer.groups } }
}

export const anonymous = (access: Access, consumer: Consumer): Access => ({
  ...access,
  client: { consumer, credential: undefined, groups: [] }
})

export const isAuthenticated = ({ client }: Access): boolean => client?.credential !== undefined

/** Headers by which upstream learns who asks. A client's own under these names go. */
export const identityHeaders = [
  "x-consumer-id",
  "x-consumer-custom-id",
  "x-consumer-username",
  "x-credential-identifier",
  "x-authenticated-groups",
  "x-anonymous-consumer"
]

/** A header's characters are bytes, those of the text in UTF-8. */
const toBytes = (text: string): string => Buffer.from(text, "utf8").toString("latin1")

/** Those of a client. */
export const identify = (client: Client | undefined): Readonly<Record<string, string>> => {
  if (client === undefined) return {}
  const { consumer, credential, groups } = client
  const told: Readonly<Record<string, string>> = {
    "x-consumer-id": consumer.id,
    ...(consumer.customId === undefined ? {} : { "x-consumer-custom-id": consumer.customId }),
    ...(consumer.username === undefined ? {} : { "x-consumer-username": consumer.username }),
    ...(credential === undefined
      ? { "x-anonymous-consumer": "true" }
      : { "x-credential-identifier": credential.identifier }),
    ...(groups.length === 0 ? {} : { "x-authenticated-groups": groups.join(", ") })
  }
  return Object.fromEntries(Object.entries(told).map(([name, value]) => [name, toBytes(value)]))
}
