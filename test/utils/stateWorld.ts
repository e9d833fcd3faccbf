/**
 * One browser and one server, as far as the rules and the codec go: what a request
 * presents is verified and opened, its operations are recorded, the plan is carried
 * out, and there is a new Cookie header. There is no store to lose a race at; what one
 * was given, it has.
 */
import { Effect, Redacted } from "effect"
import type { Presented } from "../../src/CookieCodec.ts"
import type * as SessionState from "../../src/SessionState.ts"
import { type Codec, makeCodec, nobody } from "./codec.ts"
import type { Config, Deed, Operation } from "./stateModel.ts"

/** The rules: `SessionState`, or something that should be like it. */
export type Rules = Pick<
  typeof SessionState,
  | "due"
  | "entryOf"
  | "needsPayload"
  | "plan"
  | "sameSubject"
  | "timeLeft"
  | "verify"
  | "withEntry"
  | "withoutEntry"
>

const storage = 1
const forget = 2

const secretOf = (key: string) => Redacted.make(`correct horse battery staple, ${key}`)

const codecs = new Map<string, Promise<Codec>>()

/** The codec of servers with these keys. */
export const codecFor = ([first, ...others]: Config["keys"]): Promise<Codec> => {
  const ring = [first, ...others].join()
  const codec = codecs.get(ring) ??
    Effect.runPromise(makeCodec({ secret: secretOf(first), secretFallbacks: others.map(secretOf) }))
  codecs.set(ring, codec)
  return codec
}

/** What a request has to work with. */
export interface Request {
  /** The Cookie header. */
  readonly cookies: string
  readonly operations: ReadonlyArray<Operation>
  /** False for responses that can set no cookie. */
  readonly refresh: boolean
}

/** The version that stands for a request. */
interface Live {
  readonly presented: Presented
  readonly key: number
  readonly value: string
}

export interface Answer {
  /** Why no session stands, where one was presented. */
  readonly refusal: SessionState.Refusal | undefined
  /** Which key verified the header. */
  readonly key: number | undefined
  readonly needsPayload: boolean
  readonly deed: Deed
  /** The Cookie header that the browser sends from now on. */
  readonly cookies: string
  /** What that holds, where it was set just now. */
  readonly header: SessionState.Header | undefined
}

/** A plan that reads this has read a payload which nobody opened. */
const unopened: SessionState.Payload = [{ audience: "unopened", data: null, subject: undefined }]

/** A plan, in the words of the model. */
export const toDeed = (plan: SessionState.Plan, header: SessionState.Header | undefined): Deed => {
  switch (plan._tag) {
    case "Keep":
      return { does: "nothing" }
    case "End":
      return { does: "clear", ends: plan.revoke }
    case "Touch":
      return {
        does: "touch",
        touchedAt: header === undefined ? Number.NaN : header.creationTime + header.rollingOffset + plan.idlingOffset,
        storedUntil: plan.deadline
      }
    case "Save":
      return {
        does: "save",
        how: plan.how,
        ends: plan.revoke,
        placement: (plan.flags & storage) === 0 ? "Cookie" : "Server",
        createdAt: plan.creationTime,
        savedAt: plan.creationTime + plan.rollingOffset,
        forget: (plan.flags & forget) !== 0,
        parts: plan.payload,
        storedUntil: plan.deadline
      }
  }
}

interface Recorded {
  readonly working: SessionState.Payload
  readonly intent: SessionState.Intent
}

const record = (rules: Rules, { intent, working }: Recorded, operation: Operation, config: Config): Recorded => {
  const ended: Recorded = { working: [], intent: { changed: false, renewed: false, ended: true } }
  const put = (audience: string, values: Partial<SessionState.Entry>): Recorded => {
    const entry = { audience, data: {}, subject: undefined, ...rules.entryOf(working, audience), ...values }
    const next = rules.withEntry(working, entry)
    return {
      working: config.enforceSameSubject ? rules.sameSubject(next, audience) : next,
      intent: { ...intent, changed: true }
    }
  }
  switch (operation.do) {
    case "write":
      return put(operation.audience, { data: operation.data })
    case "subject":
      return put(operation.audience, { subject: operation.subject })
    case "renew":
      return { working, intent: { ...intent, renewed: true } }
    case "destroy":
      return ended
    case "logout": {
      const rest = rules.withoutEntry(working, operation.audience)
      if (rest.length === 0) return ended
      return rest.length === working.length
        ? { working, intent }
        : { working: rest, intent: { ...intent, changed: true } }
    }
  }
}

const browser = (cookies: string): Map<string, string> =>
  new Map(
    cookies.split("; ").filter(Boolean).map((cookie) => {
      const [name = "", value = ""] = cookie.split("=")
      return [name, value]
    })
  )

const header = (jar: Map<string, string>): string => [...jar].map(([name, value]) => `${name}=${value}`).join("; ")

/** A server, and the rows that its store has got so far. */
export interface World {
  readonly rules: Rules
  /** Ciphertexts, by the hex of their storage key. */
  readonly rows: Map<string, Uint8Array>
}

export const respond = Effect.fnUntraced(
  function*({ rows, rules }: World, codec: Codec, request: Request, config: Config, now: number) {
    const { cookies, operations, refresh } = request
    const [value] = codec.find(cookies)
    let refusal: SessionState.Refusal | undefined
    let live: Live | undefined
    if (value !== undefined) {
      const presented = codec.decode(value)
      refusal = typeof presented === "string"
        ? presented
        : rules.verify(presented.header, config, config.placement, now)
      if (refusal === undefined && typeof presented !== "string") {
        const key = yield* codec.verify(presented, nobody)
        if (key === -1) refusal = "InvalidMac"
        else live = { presented, key, value }
      }
    }

    const storageKey = (presented: Presented) =>
      Effect.map(codec.storageKey(presented), (key) => Buffer.from(key).toString("hex"))

    const open = Effect.fnUntraced(function*({ key, presented, value }: Live) {
      const ciphertext = config.placement === "Server"
        ? rows.get(yield* storageKey(presented)) ?? "NotStored"
        : codec.gather(presented, value, cookies)
      const payload = typeof ciphertext === "string" ? ciphertext : yield* codec.open(presented, key, ciphertext)
      // What the rules and the MAC let in has to open.
      return typeof payload === "string" ? yield* Effect.die(payload) : payload
    })

    const opened = live === undefined ? [] : yield* open(live)
    const { intent, working } = operations.reduce<Recorded>(
      (recorded, operation) => record(rules, recorded, operation, config),
      { working: opened, intent: { changed: false, renewed: false, ended: false } }
    )
    const needsPayload = rules.needsPayload(refresh ? live?.presented.header : undefined, intent, config, now)
    const plan = rules.plan(
      {
        header: live?.presented.header,
        presented: value !== undefined,
        payload: needsPayload || intent.ended ? working : unopened,
        intent,
        placement: config.placement,
        refresh
      },
      config,
      now
    )

    const jar = browser(cookies)
    const set = (name: string, rest: string) =>
      rest.includes("Max-Age=0") ? jar.delete(name) : jar.set(name, rest.split(";")[0] ?? "")
    const chunks = live === undefined ? 1 : codec.chunks(live.presented.header)
    let made: SessionState.Header | undefined
    if (plan._tag === "Save") {
      const sealed = yield* codec.seal(plan, nobody)
      if (config.placement === "Server") rows.set(yield* storageKey(sealed), sealed.ciphertext)
      codec.setCookies(sealed.value, chunks, undefined).forEach(({ name, rest }) => set(name, rest))
      made = sealed.header
    } else if (plan._tag === "Touch" && live !== undefined) {
      const touched = yield* codec.touch(live.presented, live.key, plan.idlingOffset, nobody)
      const { name, rest } = codec.setHeader(touched, live.value, undefined)
      set(name, rest)
      made = touched.header
    } else if (plan._tag === "End") {
      codec.clearCookies(chunks, undefined).forEach(({ name, rest }) => set(name, rest))
    }
    const answer: Answer = {
      refusal,
      key: live?.key,
      needsPayload,
      deed: toDeed(plan, live?.presented.header),
      cookies: header(jar),
      header: made
    }
    return answer
  }
)
