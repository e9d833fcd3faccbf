/**
 * The response phase: what an exchange recorded becomes a plan, the plan is
 * carried out at the store, and only then are there cookies to set.
 */
import { Effect } from "effect"
import type { Sealed } from "../CookieCodec.ts"
import { Conflict, SessionError, Undeliverable } from "../SessionError.ts"
import * as SessionEvents from "../SessionEvents.ts"
import * as SessionState from "../SessionState.ts"
import type { IndexEntry, Port, Superseded, Version } from "../SessionStore.ts"
import { seconds } from "./clock.ts"
import * as Exchange from "./exchange.ts"

type Of<Tag extends SessionState.Plan["_tag"]> = Extract<SessionState.Plan, { readonly _tag: Tag }>

const nothing: Exchange.Outcome = { cookies: [], gone: false }

const dropped: Exchange.Outcome = { cookies: [], gone: true }

/** How often a request replays its changes on a newer version. */
const maxAttempts = 32

/** Whether there is nothing to store and nothing to set: the usual fate of a request. */
export const idle = (self: Exchange.Exchange, now: number): boolean => {
  const { live } = self
  if (self.outcome !== undefined) return self.outcome === nothing
  if (self.intent !== Exchange.quiet) return false
  if (live === undefined || !refreshes(self)) return true
  return live.value !== undefined && SessionState.due(live.presented.header, self.engine.settings, now) === "Nothing"
}

/** The response leaves as it is: what is recorded from now on is too late. */
export const close = (self: Exchange.Exchange): void => {
  self.outcome ??= nothing
}

const refreshes = (self: Exchange.Exchange): boolean => !self.request.upgrade && !self.broken

/**
 * Carries out what was recorded, once; later calls answer the same. When it
 * succeeds, the store has acknowledged it.
 */
export const commit = (self: Exchange.Exchange): Effect.Effect<Exchange.Outcome, SessionError> =>
  self.lock.withPermit(Effect.suspend(() =>
    self.outcome === undefined
      // A client that goes away must not leave a logout half done.
      ? Effect.uninterruptible(
        Effect.onExit(Exchange.bounded(self, "commit", attempt(self, 1)), (exit) =>
          Effect.sync(() => {
            // A commit that failed is not tried again: whoever saw it fail decides what to answer.
            self.outcome = exit._tag === "Success" ? exit.value : nothing
          }))
      )
      : Effect.succeed(self.outcome)
  ))

const attempt = (self: Exchange.Exchange, count: number): Effect.Effect<Exchange.Outcome, SessionError> =>
  Effect.flatMap(seconds, (now) => {
    const { placement, settings } = self.engine
    const opens = self.intent.ended ||
      SessionState.needsPayload(refreshes(self) ? self.live?.presented.header : undefined, self.intent, settings, now)
    return Effect.flatMap(opens ? Exchange.openLocked(self) : Effect.void, () => {
      const plan = SessionState.plan(
        {
          header: self.live?.presented.header,
          presented: self.presented,
          payload: self.working,
          intent: self.intent,
          placement: placement._tag,
          refresh: refreshes(self)
        },
        settings,
        now
      )
      return undeliverable(self, plan)
        ? Exchange.fail(new Undeliverable())
        : carryOut(self, plan, now, count)
    })
  })

// The old cookie leads to a version that superseded it; all else needs a cookie that an upgrade cannot set.
const undeliverable = (self: Exchange.Exchange, plan: SessionState.Plan): boolean =>
  self.request.upgrade && plan._tag !== "Keep" &&
  (self.engine.placement._tag === "Cookie" || (plan._tag === "Save" && plan.how !== "Supersede"))

const carryOut = (
  self: Exchange.Exchange,
  plan: SessionState.Plan,
  now: number,
  count: number
): Effect.Effect<Exchange.Outcome, SessionError> => {
  switch (plan._tag) {
    case "Keep":
      return Effect.succeed(keep(self))
    case "Touch":
      return touch(self, plan, now, count)
    case "Save":
      return save(self, plan, now, count)
    case "End":
      return end(self, plan)
  }
}

const outcome = (cookies: Exchange.Outcome["cookies"]): Exchange.Outcome => ({ cookies, gone: false })

// The client holds a superseded cookie: every racer answers with the same successor's.
const keep = (self: Exchange.Exchange): Exchange.Outcome =>
  self.live === undefined || self.live.value !== undefined
    ? nothing
    : outcome([self.engine.codec.setHeader(self.live.presented, "", self.request.host)])

const touch = Effect.fnUntraced(function*(self: Exchange.Exchange, plan: Of<"Touch">, now: number, count: number) {
  const { codec, placement, settings } = self.engine
  const live = self.live
  // A plan to touch is made of a header that stands.
  if (live === undefined) return nothing
  if (placement._tag === "Server") {
    const key = yield* codec.storageKey(live.presented)
    // A version that the request was forwarded to has not been presented.
    const seen = live.value === undefined ? undefined : settings.staleTtl
    const answer = yield* placement.port.touch(key, { deadline: plan.deadline, seen }, now)
    if (answer._tag === "Gone") return yield* gone(self)
    if (answer._tag === "Superseded") {
      if (self.opened !== undefined) return yield* retry(self, placement.port, live, answer, now, count)
      // Nobody has opened it, and so nobody has asked yet whether its grace is over.
      yield* Exchange.forward(self, placement.port, live, answer, now)
      return yield* again(self, count)
    }
  }
  const touched = yield* codec.touch(live.presented, live.key, plan.idlingOffset, self.request.sender)
  self.live = { ...live, presented: touched }
  yield* SessionEvents.emit({ _tag: "SessionTouched", handle: self.opened?.handle })
  return outcome([codec.setHeader(touched, live.value ?? "", self.request.host)])
})

const save = Effect.fnUntraced(function*(self: Exchange.Exchange, plan: Of<"Save">, now: number, count: number) {
  const { codec, placement } = self.engine
  const { live } = self
  const sealed = yield* Effect.mapError(codec.seal(plan, self.request.sender), (reason) => new SessionError({ reason }))
  let handle = self.opened?.handle
  if (placement._tag === "Server") {
    const { port } = placement
    const version = yield* versionOf(self, plan, sealed)
    if (plan.how === "Create" || live === undefined) {
      if (plan.revoke && handle !== undefined) yield* port.revoke(handle)
      handle = uuid(yield* self.engine.crypto.randomBytes(16))
      const answer = yield* port.create({ ...version, handle, createdAt: now }, now)
      if (answer === "Collision") return yield* again(self, count)
    } else {
      const successor = plan.how === "Renew" ? undefined : yield* codec.sealSuccessor(live.presented, sealed)
      const answer = yield* port.supersede(yield* codec.storageKey(live.presented), version, successor, now)
      if (answer._tag === "Gone") return yield* gone(self)
      if (answer._tag === "Superseded") return yield* retry(self, port, live, answer, now, count)
    }
  }
  yield* Exchange.settle(self, { presented: sealed, key: 0, value: undefined }, plan.payload, handle)
  self.refusal = undefined
  yield* SessionEvents.emit({ _tag: eventOf[plan.how], handle })
  const previousChunks = live === undefined ? 1 : codec.chunks(live.presented.header)
  return outcome(codec.setCookies(sealed.value, previousChunks, self.request.host))
})

const eventOf = { Create: "SessionCreated", Supersede: "SessionSaved", Renew: "SessionRenewed" } as const

const versionOf = (self: Exchange.Exchange, plan: Of<"Save">, sealed: Sealed): Effect.Effect<Version> =>
  Effect.zipWith(
    self.engine.codec.storageKey(sealed),
    Effect.forEach(
      self.engine.settings.storeMetadata ? plan.payload : [],
      ({ audience, subject }): Effect.Effect<ReadonlyArray<IndexEntry>> =>
        subject === undefined
          ? Effect.succeed([])
          : Effect.map(self.engine.indexSubject(subject), (subject) => [{ audience, subject }])
    ),
    (key, index) => ({
      key,
      data: sealed.ciphertext,
      deadline: plan.deadline,
      latestDeadline: plan.deadline,
      index: index.flat(),
      remember: undefined
    })
  )

const end = Effect.fnUntraced(function*(self: Exchange.Exchange, plan: Of<"End">) {
  const { codec, placement } = self.engine
  const handle = self.opened?.handle
  if (plan.revoke) {
    if (placement._tag === "Server" && handle !== undefined) yield* placement.port.revoke(handle)
    yield* SessionEvents.emit({ _tag: "SessionEnded", handle })
  }
  const chunks = self.live === undefined ? 1 : codec.chunks(self.live.presented.header)
  yield* Exchange.settle(self, undefined, [], undefined)
  self.refusal = "MissingCookie"
  return outcome(codec.clearCookies(chunks, self.request.host))
})

/** Another request was quicker: its version stands now, and the changes are replayed on it. */
const retry: (
  self: Exchange.Exchange,
  port: Port,
  old: Exchange.Live,
  superseded: Superseded,
  now: number,
  count: number
) => Effect.Effect<Exchange.Outcome, SessionError> = Effect.fnUntraced(
  function*(self, port, old, superseded, now, count) {
    yield* SessionEvents.emit({ _tag: "SessionConflict", handle: superseded.handle })
    if (!(yield* Exchange.follow(self, port, old, superseded, now))) return yield* gone(self)
    const changes = self.changes.filter((change) =>
      !change.existed || SessionState.entryOf(self.working, change.audience) !== undefined
    )
    if (changes.length === 0 && self.changes.length > 0) return yield* gone(self)
    for (const change of changes) {
      const entry = yield* change.apply(SessionState.entryOf(self.working, change.audience))
      self.working = Exchange.put(self, self.working, change, entry)
    }
    self.changes = changes
    return yield* again(self, count)
  }
)

const again = (self: Exchange.Exchange, count: number): Effect.Effect<Exchange.Outcome, SessionError> =>
  count < maxAttempts ? attempt(self, count + 1) : Exchange.fail(new Conflict({ attempts: maxAttempts }))

// The client keeps the cookie it has: a deletion that comes late could wipe that of a newer login.
const gone = (self: Exchange.Exchange): Effect.Effect<Exchange.Outcome> =>
  Effect.as(
    SessionEvents.emit({ _tag: "SessionGone", handle: self.opened?.handle }),
    self.changes.length > 0 || self.intent.renewed ? dropped : nothing
  )

/** RFC 9562, section 5.4: a version 4 UUID from 16 random bytes. */
const uuid = (bytes: Uint8Array): string => {
  const hex = Array.from(bytes, (byte, index) => {
    const marked = index === 6 ? (byte & 0x0f) | 0x40 : index === 8 ? (byte & 0x3f) | 0x80 : byte
    return marked.toString(16).padStart(2, "0")
  }).join("")
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
