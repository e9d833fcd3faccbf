/**
 * The response phase: what an exchange recorded becomes a plan, the plan is
 * carried out at the store, and only then are there cookies to set.
 */
import { Effect, Redacted } from "effect"
import type { Codec, Sealed } from "../CookieCodec.ts"
import { Conflict, SessionError, Undeliverable } from "../SessionError.ts"
import * as SessionEvents from "../SessionEvents.ts"
import * as SessionState from "../SessionState.ts"
import type { IndexEntry, Port, Remembered, Superseded, Version } from "../SessionStore.ts"
import { seconds } from "./clock.ts"
import { valueOf } from "./codec.ts"
import * as Exchange from "./exchange.ts"
import * as Info from "./info.ts"
import * as Opening from "./opening.ts"
import * as Recording from "./recording.ts"

type Of<Tag extends SessionState.Plan["_tag"]> = Extract<SessionState.Plan, { readonly _tag: Tag }>

const nothing: Exchange.Outcome = { cookies: [], gone: false }

const dropped: Exchange.Outcome = { cookies: [], gone: true }

/** How often a request replays its changes on a newer version. */
const maxAttempts = 32

/** Whether there is nothing to store and nothing to set: the usual fate of a request. */
export const idle = (self: Exchange.Exchange, now: number): boolean => {
  const { live } = self
  if (self.outcome !== undefined) return self.outcome === nothing
  if (self.intent !== Exchange.quiet || self.infoChanges !== Exchange.noInfo) return false
  if (!refreshes(self)) return true
  if (live === undefined) return !self.rescued
  return live.value !== undefined && SessionState.due(live.presented.header, self.engine.settings, now) === "Nothing"
}

/** The response leaves as it is: what is recorded from now on is too late. */
export const close = (self: Exchange.Exchange): Effect.Effect<unknown> => {
  self.outcome ??= nothing
  return Opening.tellSeen(self)
}

const refreshes = (self: Exchange.Exchange): boolean => !self.request.upgrade && !self.broken

/**
 * Carries out what was recorded, once; later calls answer the same. When it
 * succeeds, the store has acknowledged it.
 */
export const commit = (self: Exchange.Exchange): Effect.Effect<Exchange.Outcome, SessionError> =>
  Exchange.locked(
    self,
    Effect.suspend(() =>
      self.outcome === undefined
        // A client that goes away must not leave a logout half done.
        ? Effect.uninterruptible(
          Effect.onExit(within(self, attempt(self, 1)), (exit) =>
            Effect.sync(() => {
              // A commit that failed is not tried again: whoever saw it fail decides what to answer.
              self.outcome = exit._tag === "Success" ? exit.value : nothing
            }))
        )
        : Effect.succeed(self.outcome)
    )
  )

const attempt = (self: Exchange.Exchange, count: number): Effect.Effect<Exchange.Outcome, SessionError> =>
  Effect.flatMap(seconds, (now) =>
    Effect.flatMap(prepare(self, now), () => {
      const plan = SessionState.plan(
        {
          header: self.live?.presented.header,
          remember: self.remember?.presented.header,
          rescued: self.rescued,
          presented: self.presented,
          payload: self.working,
          intent: self.intent,
          placement: self.engine.placement._tag,
          refresh: refreshes(self)
        },
        self.engine.settings,
        now
      )
      return undeliverable(self, plan)
        ? Exchange.fail(new Undeliverable())
        : Effect.flatMap(carryOut(self, plan, now, count), (outcome) => keepInfo(self, plan, outcome, now))
    }))

/** Where there is a store to wait for, not for ever. */
const within = (
  self: Exchange.Exchange,
  attempt: Effect.Effect<Exchange.Outcome, SessionError>
): Effect.Effect<Exchange.Outcome, SessionError> =>
  self.engine.placement._tag === "Server" ? Exchange.bounded(self, "commit", attempt) : attempt

/** Opens what the plan depends on. */
const prepare = (self: Exchange.Exchange, now: number): Effect.Effect<void, SessionError> => {
  const { placement, settings } = self.engine
  const { intent } = self
  const presented = refreshes(self) ? self.live?.presented.header : undefined
  if (!intent.ended && !SessionState.needsPayload(presented, intent, settings, now)) return Effect.void
  // A save that time asks for leaves the remember cookie alone.
  const renewsRemember = settings.remember && intent !== Exchange.quiet &&
    (placement._tag === "Server" || !intent.ended)
  return renewsRemember
    ? Effect.andThen(Opening.openLocked(self), Opening.seekRemember(self))
    : Opening.openLocked(self)
}

// Behind everything else: info is written for a session that the store holds.
const keepInfo = (
  self: Exchange.Exchange,
  plan: SessionState.Plan,
  outcome: Exchange.Outcome,
  now: number
): Effect.Effect<Exchange.Outcome, SessionError> => {
  const { placement } = self.engine
  if (
    self.infoChanges === Exchange.noInfo || outcome.gone || plan._tag === "End" || placement._tag === "Cookie"
  ) {
    return Effect.succeed(outcome)
  }
  return Effect.flatMap(
    Info.save(self, placement.port, placement.layout, now),
    (saved) => saved ? Effect.succeed(outcome) : gone(self)
  )
}

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
      return Effect.as(Opening.tellSeen(self), keep(self))
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
    : outcome([self.engine.codec.setHeader(self.live.presented, "", self.request.host), ...besides(self)])

/** The remember cookie that the request was forwarded to. */
const besides = ({ engine, remember, request }: Exchange.Exchange): Exchange.Outcome["cookies"] =>
  remember === undefined || remember.value !== undefined
    ? []
    : [engine.codec.remember.setHeader(remember.presented, "", request.host)]

const touch = Effect.fnUntraced(function*(self: Exchange.Exchange, plan: Of<"Touch">, now: number, count: number) {
  const { codec, placement, settings } = self.engine
  const live = self.live
  // A plan to touch is made of a header that stands.
  if (live === undefined) return nothing
  if (placement._tag === "Server") {
    const key = yield* self.engine.storageKey(live.presented)
    // A version that the request was forwarded to has not been presented.
    const seen = live.value === undefined ? undefined : settings.staleTtl
    self.unseen = undefined
    const answer = yield* placement.port.touch(key, { deadline: plan.deadline, seen }, now)
    if (answer._tag === "Gone") return yield* gone(self)
    if (answer._tag === "Superseded") {
      if (self.opened !== undefined) return yield* retry(self, placement.port, live, answer, now, count)
      // Nobody has opened it, and so nobody has asked yet whether its grace is over.
      yield* Opening.forward(self, placement.port, live, answer, now)
      return yield* again(self, count)
    }
  }
  const touched = yield* codec.touch(live.presented, live.key, plan.idlingOffset, self.request.sender)
  self.live = { ...live, presented: touched }
  yield* SessionEvents.emit({ _tag: "SessionTouched", handle: self.opened?.handle })
  return outcome([codec.setHeader(touched, live.value ?? "", self.request.host), ...besides(self)])
})

const save = Effect.fnUntraced(function*(self: Exchange.Exchange, plan: Of<"Save">, now: number, count: number) {
  const { codec, placement, settings } = self.engine
  const previous = self.live
  const sealed: Pair = {
    session: yield* seal(self, codec, plan),
    remember: plan.remember && (yield* seal(self, codec.remember, { ...plan.remember, payload: plan.payload }))
  }
  const infoKey = yield* infoKeyOf(self)
  let handle = self.opened?.handle
  let data = sealed.session.ciphertext
  if (placement._tag === "Server") {
    if (plan.how === "Create") {
      if (plan.revoke && handle !== undefined) {
        const stood = yield* placement.port.revoke(handle, yield* Info.located(self))
        // What another request has ended must not live on in a session that carries its data.
        if (!stood && !self.intent.ended) return yield* gone(self)
      }
      handle = uuid(yield* self.engine.crypto.randomBytes(16))
    }
    const version = yield* versionOf(self, plan, sealed, infoKey)
    data = version.data
    const answer = yield* store(self, placement.port, plan, sealed, version, handle, now)
    if (answer === "Collision") return yield* again(self, count)
    if (answer._tag === "Gone") return yield* gone(self)
    if (answer._tag === "Superseded") return yield* retry(self, placement.port, previous, answer, now, count)
    if (plan.how === "Renew" && placement.layout === "Reference" && sealed.remember === undefined) {
      yield* endRemember(self, placement.port, handle)
    }
  }
  const cookies = cookiesOf(self, plan, sealed)
  if (previous?.value !== undefined) self.engine.verified?.delete(previous.value)
  const { payload } = plan
  const live = { presented: sealed.session, key: 0, value: undefined }
  // The next request is going to present it.
  const set = cookies.find(({ name }) => name === settings.cookieName)
  Opening.know(self, { ...live, value: set && valueOf(set) }, { payload, data, infoKey }, now)
  Exchange.settle(self, live, { payload, handle, infoKey })
  if (sealed.remember !== undefined) self.remember = { presented: sealed.remember, key: 0, value: undefined }
  self.refusal = undefined
  yield* Effect.forEach(eventsOf[plan.how], (_tag) => SessionEvents.emit({ _tag, handle }), { discard: true })
  return outcome(cookies)
})

/** A renewal leaves no remember cookie from before it. In the layouts of the references that has a row of its own. */
const endRemember = (
  { engine, remember }: Exchange.Exchange,
  port: Port,
  handle: string | undefined
): Effect.Effect<unknown, SessionError> =>
  remember === undefined || handle === undefined ? Effect.void : Effect.flatMap(
    engine.storageKey(remember.presented),
    (rememberKey) => port.revoke(handle, { handle, key: undefined, rememberKey })
  )

/** The versions of the two cookies that a save makes. */
interface Pair {
  readonly session: Sealed
  readonly remember: Sealed | undefined
}

const eventsOf = {
  Create: ["SessionCreated"],
  Supersede: ["SessionSaved"],
  Renew: ["SessionRenewed"],
  Rescue: ["SessionRescued"],
  RescueAndRenew: ["SessionRescued", "SessionRenewed"]
} as const

const isRescue = ({ how }: Of<"Save">): boolean => how === "Rescue" || how === "RescueAndRenew"

const seal = (
  self: Exchange.Exchange,
  codec: Codec,
  version: Parameters<Codec["seal"]>[0]
): Effect.Effect<Sealed, SessionError> =>
  Effect.mapError(codec.seal(version, self.request.sender), (reason) => new SessionError({ reason }))

/** What the session's info is encrypted under: what it was, or a new key where one is needed. */
const infoKeyOf = (self: Exchange.Exchange): Effect.Effect<Redacted.Redacted<Uint8Array> | undefined> => {
  const { crypto, placement } = self.engine
  const infoKey = self.intent.ended ? undefined : self.opened?.infoKey
  const needed = self.keepsInfo && placement._tag === "Server" && placement.layout === "Own"
  return infoKey === undefined && needed
    ? Effect.map(crypto.randomBytes(32), (bytes) => Redacted.make(bytes))
    : Effect.succeed(infoKey)
}

/** The write of the port that a plan to save asks for. */
const store = Effect.fnUntraced(function*(
  self: Exchange.Exchange,
  port: Port,
  plan: Of<"Save">,
  sealed: Pair,
  version: Version,
  handle: string | undefined,
  now: number
) {
  const { codec, storageKey } = self.engine
  const { live, remember } = self
  if (isRescue(plan) && remember !== undefined && sealed.remember !== undefined && version.remember !== undefined) {
    // Whoever else holds the old remember cookie must not follow it to what was renewed.
    const successor = plan.how === "RescueAndRenew"
      ? undefined
      : yield* codec.remember.sealSuccessor(remember.presented, sealed.remember, sealed.session)
    const rescued = { ...version, remember: version.remember, createdAt: now }
    return yield* port.rescue(yield* storageKey(remember.presented), rescued, successor, now)
  }
  if (plan.how === "Create" || live === undefined) {
    const created = yield* port.create({ ...version, handle: handle ?? "", createdAt: now }, now)
    return created === "Created" ? { _tag: "Done" } as const : created
  }
  const successor = plan.how === "Renew"
    ? undefined
    : yield* codec.sealSuccessor(live.presented, sealed.session, sealed.remember)
  return yield* port.supersede(yield* storageKey(live.presented), version, successor, now)
})

const versionOf = Effect.fnUntraced(function*(
  self: Exchange.Exchange,
  plan: Of<"Save">,
  { remember, session }: Pair,
  infoKey: Redacted.Redacted<Uint8Array> | undefined
) {
  const { codec, storageKey } = self.engine
  const dataOf = (codec: Codec, sealed: Sealed): Effect.Effect<Uint8Array> =>
    infoKey === undefined
      ? Effect.succeed(sealed.ciphertext)
      : Effect.map(codec.sealInfoKey(sealed, infoKey), (key) => joined(sealed.ciphertext, key))
  const version: Version = {
    key: yield* storageKey(session),
    data: yield* dataOf(codec, session),
    deadline: plan.deadline,
    latestDeadline: plan.latestDeadline,
    index: yield* indexOf(self, plan.payload),
    // A version that the request was forwarded to has not been presented.
    seen: self.unseen === undefined ? undefined : self.engine.settings.staleTtl,
    remember: remember === undefined || plan.remember === undefined ? undefined : {
      key: yield* storageKey(remember),
      data: yield* dataOf(codec.remember, remember),
      deadline: plan.remember.deadline,
      replaces: plan.how === "Supersede" || (plan.how === "Renew" && ofReference(self))
        ? yield* replaced(self, remember, session)
        : undefined
    }
  }
  return version
})

// A row of its own there, which nothing ties to the session: it has to be named to die with a renewal.
const ofReference = ({ engine: { placement } }: Exchange.Exchange): boolean =>
  placement._tag === "Server" && placement.layout === "Reference"

/** The remember cookie that was presented, and what it leads to from now on. */
const replaced = (
  { engine, remember: presented }: Exchange.Exchange,
  remember: Sealed,
  session: Sealed
): Effect.Effect<Remembered["replaces"]> =>
  presented === undefined ? Effect.undefined : Effect.zipWith(
    engine.storageKey(presented.presented),
    engine.codec.remember.sealSuccessor(presented.presented, remember, session),
    (key, successor) => ({ key, successor })
  )

const joined = (head: Uint8Array, tail: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(head.length + tail.length)
  bytes.set(head)
  bytes.set(tail, head.length)
  return bytes
}

const indexOf = (
  self: Exchange.Exchange,
  payload: SessionState.Payload
): Effect.Effect<ReadonlyArray<IndexEntry>> =>
  Effect.map(
    Effect.forEach(
      self.engine.settings.storeMetadata ? payload : [],
      ({ audience, subject }): Effect.Effect<ReadonlyArray<IndexEntry>> =>
        subject === undefined
          ? Effect.succeed([])
          : Effect.map(self.engine.indexSubject(subject), (subject) => [{ audience, subject }])
    ),
    (index) => index.flat()
  )

/** The cookies of a save. The reference sends those of a rescue the other way round. */
const cookiesOf = (self: Exchange.Exchange, plan: Of<"Save">, sealed: Pair): Exchange.Outcome["cookies"] => {
  const { engine: { codec }, live, remember, request: { cookies, host } } = self
  const session = codec.setCookies(sealed.session, chunksOf(codec, live, cookies), host)
  if (sealed.remember !== undefined) {
    const remembered = codec.remember.setCookies(sealed.remember, chunksOf(codec.remember, remember, cookies), host)
    return isRescue(plan) ? [...remembered, ...session] : [...session, ...remembered]
  }
  // What it would bring back is gone.
  return plan.how === "Renew" || plan.revoke ? [...session, ...clearRemember(self)] : session
}

/** How many cookies are to be replaced or cleared: what was refused says nothing of itself that can be trusted. */
const chunksOf = (codec: Codec, live: Exchange.Live | undefined, cookies: string | undefined): number => {
  if (live !== undefined) return codec.chunks(live.presented.header)
  return cookies === undefined ? 1 : codec.lastChunk(cookies)
}

/** Clears the remember cookie that the request brought, whatever it was. */
const clearRemember = ({ engine, remember, request }: Exchange.Exchange): Exchange.Outcome["cookies"] => {
  const { codec, settings } = engine
  return settings.remember && codec.remember.find(request.cookies ?? "").length > 0
    ? codec.remember.clearCookies(chunksOf(codec.remember, remember, request.cookies), request.host)
    : []
}

const end = Effect.fnUntraced(function*(self: Exchange.Exchange, plan: Of<"End">) {
  const { codec, placement } = self.engine
  const handle = self.opened?.handle
  if (plan.revoke) {
    if (placement._tag === "Server" && handle !== undefined) {
      yield* placement.port.revoke(handle, yield* Info.located(self))
    }
    yield* SessionEvents.emit({ _tag: "SessionEnded", handle })
  }
  if (self.live?.value !== undefined) self.engine.verified?.delete(self.live.value)
  const cleared = [
    ...codec.clearCookies(chunksOf(codec, self.live, self.request.cookies), self.request.host),
    ...clearRemember(self)
  ]
  Exchange.settle(self, undefined, Exchange.nobody)
  self.refusal = "MissingCookie"
  return outcome(cleared)
})

/** Another request was quicker: its version stands now, and the changes are replayed on it. */
const retry: (
  self: Exchange.Exchange,
  port: Port,
  old: Exchange.Live | undefined,
  superseded: Superseded,
  now: number,
  count: number
) => Effect.Effect<Exchange.Outcome, SessionError> = Effect.fnUntraced(
  function*(self, port, old, superseded, now, count) {
    yield* SessionEvents.emit({ _tag: "SessionConflict", handle: superseded.handle })
    // Of the version that stands now, nobody has said that it was presented.
    self.unseen = undefined
    const { remember } = self
    const stands = old !== undefined
      ? yield* Opening.follow(self, port, old, superseded, now)
      : remember !== undefined && (yield* Opening.followRemember(self, port, remember, superseded, now))
    if (!stands) return yield* gone(self)
    const changes = self.changes.filter((change) =>
      !change.existed || SessionState.entryOf(self.working, change.audience) !== undefined
    )
    if (changes.length === 0 && self.changes.length > 0) return yield* gone(self)
    for (const change of changes) {
      const entry = yield* change.apply(SessionState.entryOf(self.working, change.audience))
      self.working = Recording.put(self, self.working, change, entry)
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
    self.changes.length > 0 || self.intent.renewed || self.infoChanges.length > 0 ? dropped : nothing
  )

/** RFC 9562, section 5.4: a version 4 UUID from 16 random bytes. */
const uuid = (bytes: Uint8Array): string => {
  const hex = Array.from(bytes, (byte, index) => {
    const marked = index === 6 ? (byte & 0x0f) | 0x40 : index === 8 ? (byte & 0x3f) | 0x80 : byte
    return marked.toString(16).padStart(2, "0")
  }).join("")
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
