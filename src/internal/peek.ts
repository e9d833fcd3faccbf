/**
 * Looks at the body of a request that a handler is yet to read: the handler still
 * finds all of it, whichever way it reads.
 */
import { Effect, identity, Pull, Stream } from "effect"
import type { Scope } from "effect"
import { HttpBody, HttpClientRequest, HttpServerError, HttpServerRequest } from "effect/http"

type Request = HttpServerRequest.HttpServerRequest

type Body<E = HttpServerError.HttpServerError> = Stream.Stream<Uint8Array, E>

/** What was seen of a body. */
export interface Peeked {
  /** All of the body; `undefined` if it is longer than the limit, or cannot be read. */
  readonly body: Uint8Array | undefined
  /** The request to go on with. */
  readonly request: Request
}

/** The beginning of a body, and what is left of it. */
interface Read<E = HttpServerError.HttpServerError> {
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly size: number
  /** `undefined` if nothing is left. */
  readonly rest: Body<E> | undefined
}

/** Reads until more than the limit has come, or the end. */
const readUpTo = <E>(body: Body<E>, limit: number): Effect.Effect<Read<E>, never, Scope.Scope> =>
  Effect.flatMap(Stream.toPull(body), (pull) => {
    const chunks: Array<Uint8Array> = []
    let size = 0
    const loop: Effect.Effect<Read<E>> = Effect.suspend(() =>
      size > limit
        ? Effect.succeed({ chunks, size, rest: Stream.fromPull(Effect.succeed(pull)) })
        : Pull.matchEffect(pull, {
          onSuccess: (more) => {
            for (const chunk of more) {
              chunks.push(chunk)
              size += chunk.length
            }
            return loop
          },
          // Whoever reads on meets the same failure.
          onFailure: (cause) => Effect.succeed({ chunks, size, rest: Stream.failCause(cause) }),
          onDone: () => Effect.succeed({ chunks, size, rest: undefined })
        })
    )
    return loop
  })

const join = ({ chunks, size }: Read<unknown>): Uint8Array => {
  const bytes = new Uint8Array(size)
  let offset = 0
  for (const chunk of chunks) {
    bytes.set(chunk, offset)
    offset += chunk.length
  }
  return bytes
}

const wholeOf = (read: Read<unknown>, limit: number): Uint8Array | undefined =>
  read.rest === undefined && read.size <= limit ? join(read) : undefined

/** A collected body has the server's limit; a stream is its reader's to bound. */
const bounded = (request: Request, body: Body): Body =>
  Stream.unwrap(
    Effect.map(HttpServerRequest.MaxBodySize, (limit) =>
      limit === undefined ? body : Stream.mapAccumEffect(body, () =>
        0, (before, chunk: Uint8Array) => {
        const size = before + chunk.length
        return size <= Number(limit) ? Effect.succeed([size, [chunk]] as const) : Effect.fail(
          new HttpServerError.HttpServerError({
            reason: new HttpServerError.RequestParseError({ request, reason: "BodyTooLarge" })
          })
        )
      }))
  )

// The request that stands in wraps every failure of its body, and the status would be lost.
const unwrapped = <A>(
  collected: Effect.Effect<A, HttpServerError.HttpServerError>
): Effect.Effect<A, HttpServerError.HttpServerError> =>
  Effect.mapError(collected, (error) => {
    const { cause } = error.reason
    return HttpServerError.isHttpServerError(cause) ? cause : error
  })

/** A request like another one, whose body comes from elsewhere. */
const withBody = (request: Request, body: Body): Request => {
  const collected = HttpServerRequest.fromClientRequest(
    HttpClientRequest.post("http://localhost", {
      headers: request.headers,
      body: HttpBody.stream(bounded(request, body), request.headers["content-type"])
    })
  )
  const of = (request: Request): Request =>
    // What a platform's requests have beyond the interface stays.
    Object.create(request, {
      stream: { get: () => body },
      text: { get: () => unwrapped(collected.text) },
      json: { get: () => unwrapped(collected.json) },
      urlParamsBody: { get: () => unwrapped(collected.urlParamsBody) },
      arrayBuffer: { get: () => unwrapped(collected.arrayBuffer) },
      multipart: { get: () => collected.multipart },
      multipartStream: { get: () => collected.multipartStream },
      modify: { value: (options: Parameters<Request["modify"]>[0]) => of(request.modify(options)) }
    })
  return of(request)
}

const replay = (request: Request, { chunks, rest }: Read): Request =>
  withBody(request, rest === undefined ? Stream.fromIterable(chunks) : Stream.concat(Stream.fromIterable(chunks), rest))

/** Of a body that the request has read before, or can read and keep. */
const peekCollected = (request: Request, limit: number): Effect.Effect<Uint8Array | undefined> =>
  Effect.match(request.arrayBuffer, {
    onFailure: () => undefined,
    onSuccess: (buffer) => buffer.byteLength <= limit ? new Uint8Array(buffer) : undefined
  })

/** A web request can be copied, and the copy be read; the request itself stays as it is. */
const peekCopy = (request: Request, source: globalThis.Request, limit: number) => {
  if (source.bodyUsed) return peekCollected(request, limit)
  const copy = source.body === null || source.body.locked ? null : source.clone().body
  if (copy === null) return Effect.undefined
  const body = Stream.fromReadableStream({ evaluate: () => copy, onError: identity, releaseLockOnEnd: true })
  return readUpTo(body, limit).pipe(
    Effect.map((read) => wholeOf(read, limit)),
    Effect.scoped,
    // Else it would keep what the other one reads. It only settles when that is cancelled too.
    Effect.ensuring(Effect.sync(() => void copy.cancel().catch(identity)))
  )
}

const peekStream = (request: Request, limit: number): Effect.Effect<Peeked, never, Scope.Scope> =>
  Effect.map(readUpTo(request.stream, limit), (read) => ({
    body: wholeOf(read, limit),
    // Where somebody has read the body before, nothing comes, and the request knows more.
    request: read.size === 0 ? request : replay(request, read)
  }))

/**
 * The body of a request, if it is at most `limit` bytes long. Of a longer one, no
 * more is read than it takes to know that.
 */
export const peek = (request: Request, limit: number): Effect.Effect<Peeked, never, Scope.Scope> =>
  Effect.flatMap(HttpServerRequest.MaxBodySize, (most) => {
    // What the server refuses to collect must not be collected in its place.
    const allowed = most === undefined ? limit : Math.min(limit, Number(most))
    const announced = request.headers["content-length"]
    if (announced !== undefined && !(Number(announced) <= allowed)) return Effect.succeed({ body: undefined, request })
    const { source } = request
    if (source instanceof globalThis.Request) {
      return Effect.map(peekCopy(request, source, allowed), (body) => ({ body, request }))
    }
    // Without its length it may be longer than what can be kept.
    if (announced === undefined) return peekStream(request, allowed)
    return Effect.map(peekCollected(request, allowed), (body) => ({
      body,
      request: body === undefined ? request : withBody(request, Stream.make(body))
    }))
  })
