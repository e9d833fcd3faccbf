/** Bodies that a plugin looks into before they go upstream. */
import { ByteSize, Effect, Option, Schema } from "effect"
import { HttpServerRequest } from "effect/http"
import type { HttpServerError } from "effect/http"

const limit = ByteSize.mebibytes(1)

const Fields = Schema.fromJsonString(Schema.Record(Schema.String, Schema.Unknown))

type Kind = "form" | "json"

const kindOf = ({ headers }: HttpServerRequest.HttpServerRequest): Kind | undefined => {
  const type = headers["content-type"]?.split(";")[0]?.trim().toLowerCase()
  if (type === "application/x-www-form-urlencoded") return "form"
  return type === "application/json" ? "json" : undefined
}

const toFields = (kind: Kind, text: string): URLSearchParams => {
  if (kind === "form") return new URLSearchParams(text)
  const fields = Option.getOrElse(Schema.decodeUnknownOption(Fields)(text), () => ({}))
  return new URLSearchParams(
    Object.entries(fields).flatMap(([name, value]) =>
      [value].flat().flatMap((value) => typeof value === "string" ? [[name, value]] : [])
    )
  )
}

/** A body that has been read, and the text fields of it. */
export interface Read {
  readonly bytes: Uint8Array
  readonly fields: URLSearchParams
}

/** The body, if it is a form or a JSON object of at most 1 MiB. Without a length it is an error to be longer. */
export const readFields = (
  request: HttpServerRequest.HttpServerRequest
): Effect.Effect<Read | undefined, HttpServerError.HttpServerError> => {
  const kind = kindOf(request)
  if (kind === undefined || Number(request.headers["content-length"] ?? 0) > Number(limit)) return Effect.undefined
  return Effect.map(request.arrayBuffer, (buffer) => {
    const bytes = new Uint8Array(buffer)
    return { bytes, fields: toFields(kind, new TextDecoder().decode(bytes)) }
  }).pipe(Effect.provideService(HttpServerRequest.MaxBodySize, limit))
}

/** A body without some of its fields. */
export const withoutFields = (
  request: HttpServerRequest.HttpServerRequest,
  bytes: Uint8Array,
  names: ReadonlyArray<string>
): Uint8Array => {
  const kind = kindOf(request)
  if (names.length === 0 || kind === undefined) return bytes
  const text = new TextDecoder().decode(bytes)
  const rewritten = kind === "form" ? withoutParameters(text, names) : withoutProperties(text, names)
  return rewritten === undefined ? bytes : new TextEncoder().encode(rewritten)
}

const withoutParameters = (text: string, names: ReadonlyArray<string>): string => {
  const parameters = new URLSearchParams(text)
  for (const name of names) parameters.delete(name)
  return parameters.toString()
}

const withoutProperties = (text: string, names: ReadonlyArray<string>): string | undefined =>
  Option.getOrUndefined(
    Option.map(Schema.decodeUnknownOption(Fields)(text), (fields) =>
      JSON.stringify(Object.fromEntries(
        Object.entries(fields).filter(([name]) => !names.includes(name))
      )))
  )
