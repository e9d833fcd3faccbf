/**
 * One browser and one server, as far as the rules and the codec go: what a request
 * presents is verified and opened, its operations are recorded, the plan is carried
 * out, and there is a new Cookie header. There is no store to lose a race at; what one
 * was given, it has.
 */
import { Effect, Redacted } from "effect"
import type { CookieCodec, Presented, Sealed, SetCookie } from "../../src/CookieCodec.ts"
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
  | "verifyRemember"
  | "withEntry"
  | "withoutEntry"
>

const storage = 1
const forget = 2

const secretOf = (key: string) => Redacted.make(`correct horse battery staple, ${key}`)

type Codecs = CookieCodec["Service"]

const codecs = new Map<string, Promise<Codecs>>()

/** The codecs of servers with these keys. */
export const codecFor = ([first, ...others]: Config["keys"]): Promise<Codecs> => {
  const ring = [first, ...others].join()
  const codec = codecs.get(ring) ?? Effect.runPromise(makeCodec({
    secret: secretOf(first),
    secretFallbacks: others.map(secretOf),
    // How remember cookies are encrypted is not the question here, and others take long.
    rememberSafety: "None"
  }))
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

/** A cookie that was presented and stands. */
interface Live {
  readonly presented: Presented
  /** Which key verified it. */
  readonly key: number
  readonly value: string
}

/** What became of a cookie. */
interface Verdict {
  readonly refusal: SessionState.Refusal | undefined
  readonly live: Live | undefined
}

export interface Answer {
  /** What became of the session cookie. */
  readonly session: Verdict
  /** What became of the remember cookie, where such cookies count. */
  readonly remember: Verdict
  readonly needsPayload: boolean
  readonly deed: Deed
  /** The Cookie header that the browser sends from now on. */
  readonly cookies: string
  /** What was set of it just now. */
  readonly made: {
    readonly session: SessionState.Header | undefined
    readonly remember: SessionState.Header | undefined
  }
}

/** A plan that reads this has read a payload which nobody opened. */
const unopened: SessionState.Payload = [{ audience: "unopened", data: null, subject: undefined }]

const placementOf = (flags: number): SessionState.Placement => ((flags & storage) === 0 ? "Cookie" : "Server")

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
        placement: placementOf(plan.flags),
        createdAt: plan.creationTime,
        savedAt: plan.creationTime + plan.rollingOffset,
        forget: (plan.flags & forget) !== 0,
        parts: plan.payload,
        storedUntil: plan.deadline,
        storedAtMostUntil: plan.latestDeadline,
        remember: plan.remember && {
          placement: placementOf(plan.remember.flags),
          createdAt: plan.remember.creationTime,
          savedAt: plan.remember.creationTime + plan.remember.rollingOffset,
          storedUntil: plan.remember.deadline
        }
      }
  }
}

interface Recorded {
  readonly working: SessionState.Payload
  readonly intent: SessionState.Intent
}

const quiet: SessionState.Intent = { changed: false, renewed: false, ended: false, remember: undefined }

const record = (rules: Rules, { intent, working }: Recorded, operation: Operation, config: Config): Recorded => {
  const ended: Recorded = { working: [], intent: { ...quiet, ended: true } }
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
    case "remember":
      return { working, intent: { ...intent, remember: operation.wanted } }
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

/** A server, and the rows that its store has got so far. */
export interface World {
  readonly rules: Rules
  /** Ciphertexts, by the hex of their storage key. */
  readonly rows: Map<string, Uint8Array>
}

const verdict = Effect.fnUntraced(function*(
  codec: Codec,
  cookies: string,
  verify: (header: SessionState.Header) => SessionState.Refusal | undefined
) {
  const refused = (refusal: SessionState.Refusal | undefined): Verdict => ({ refusal, live: undefined })
  const [value] = codec.find(cookies)
  if (value === undefined) return refused(undefined)
  const presented = codec.decode(value)
  if (typeof presented === "string") return refused(presented)
  const refusal = verify(presented.header)
  if (refusal !== undefined) return refused(refusal)
  const key = yield* codec.verify(presented, nobody)
  const live: Verdict = { refusal: undefined, live: { presented, key, value } }
  return key === -1 ? refused("InvalidMac") : live
})

/** What one request leads to. */
export const respond = Effect.fnUntraced(
  function*({ rows, rules }: World, codec: Codecs, request: Request, config: Config, now: number) {
    const { cookies, operations, refresh } = request
    const session = yield* verdict(codec, cookies, (header) => rules.verify(header, config, config.placement, now))
    const remember = config.remember
      ? yield* verdict(
        codec.remember,
        cookies,
        (header) => rules.verifyRemember(header, config, config.placement, now)
      )
      : { refusal: undefined, live: undefined }
    const header = session.live?.presented.header
    const rescued = session.live === undefined && remember.live !== undefined

    const storageKey = (presented: Presented) =>
      Effect.map(codec.storageKey(presented), (key) => Buffer.from(key).toString("hex"))

    const open = Effect.fnUntraced(function*(codec: Codec, live: Live | undefined) {
      if (live === undefined) return []
      const { key, presented, value } = live
      const ciphertext = config.placement === "Server"
        ? rows.get(yield* storageKey(presented)) ?? "NotStored"
        : codec.gather(presented, value, cookies)
      const payload = typeof ciphertext === "string" ? ciphertext : yield* codec.open(presented, key, ciphertext)
      // What the rules and the MAC let in has to open.
      return typeof payload === "string" ? yield* Effect.die(payload) : payload
    })

    const opened = rescued ? yield* open(codec.remember, remember.live) : yield* open(codec, session.live)
    const { intent, working } = operations.reduce<Recorded>(
      (recorded, operation) => record(rules, recorded, operation, config),
      { working: opened, intent: quiet }
    )
    const presented = codec.find(cookies).length > 0 || rescued
    const needsPayload = rules.needsPayload(refresh ? header : undefined, intent, config, now)
    const plan = rules.plan(
      {
        header,
        remember: remember.live?.presented.header,
        rescued,
        presented,
        payload: needsPayload || intent.ended || rescued ? working : unopened,
        intent,
        placement: config.placement,
        refresh
      },
      config,
      now
    )

    const jar = browser(cookies)
    const set = ({ name, rest }: SetCookie) =>
      rest.includes("Max-Age=0") ? jar.delete(name) : jar.set(name, rest.split(";")[0] ?? "")
    const chunksOf = (codec: Codec, { live }: Verdict) => (live === undefined ? 1 : codec.chunks(live.presented.header))
    const store = Effect.fnUntraced(function*(sealed: Sealed) {
      if (config.placement === "Server") rows.set(yield* storageKey(sealed), sealed.ciphertext)
      return sealed
    })
    const clearRemember = () => {
      if (config.remember) codec.remember.clearCookies(chunksOf(codec.remember, remember), undefined).forEach(set)
    }
    const made: { session: SessionState.Header | undefined; remember: SessionState.Header | undefined } = {
      session: undefined,
      remember: undefined
    }
    if (plan._tag === "Save") {
      const sealed = yield* store(yield* codec.seal(plan, nobody))
      codec.setCookies(sealed, chunksOf(codec, session), undefined).forEach(set)
      made.session = sealed.header
      if (plan.remember !== undefined) {
        const remembered = yield* store(
          yield* codec.remember.seal({ ...plan.remember, payload: plan.payload }, nobody)
        )
        codec.remember.setCookies(remembered, chunksOf(codec.remember, remember), undefined).forEach(set)
        made.remember = remembered.header
      } else if (plan.how === "Renew" || plan.revoke) clearRemember()
    } else if (plan._tag === "Touch" && session.live !== undefined) {
      const { key, presented, value } = session.live
      const touched = yield* codec.touch(presented, key, plan.idlingOffset, nobody)
      set(codec.setHeader(touched, value, undefined))
      made.session = touched.header
    } else if (plan._tag === "End") {
      codec.clearCookies(chunksOf(codec, session), undefined).forEach(set)
      clearRemember()
    }
    const answer: Answer = {
      session,
      remember,
      needsPayload,
      deed: toDeed(plan, header),
      cookies: [...jar].map(([name, value]) => `${name}=${value}`).join("; "),
      made
    }
    return answer
  }
)
