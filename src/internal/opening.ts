/**
 * The request phase: the session cookie is found and verified, its payload opened
 * when somebody asks. Where it is refused, the remember cookie may bring the session
 * back.
 */
import { Effect } from "effect"
import type { Codec, Presented } from "../CookieCodec.ts"
import { StoreFailed } from "../SessionError.ts"
import type { SessionError } from "../SessionError.ts"
import * as SessionEvents from "../SessionEvents.ts"
import * as SessionState from "../SessionState.ts"
import type { Port, Superseded } from "../SessionStore.ts"
import { seconds } from "./clock.ts"
import { sealedInfoKeySize } from "./codec.ts"
import {
  bounded,
  type Engine,
  type Exchange,
  fail,
  type Live,
  locked,
  nobody,
  type Opened,
  settle
} from "./exchange.ts"
import type { Contents } from "./verified.ts"

/** How many superseded versions a request follows to the newest one: as many as a store is asked to remember. */
const maxHops = 32

// -----------------------------------------------------------------------------
// headers
// -----------------------------------------------------------------------------

/** Finds the session cookie and verifies its header, nothing more. */
export const authenticate = (self: Exchange): Effect.Effect<void> => {
  const cookies = self.request.cookies
  const values = cookies === undefined ? [] : self.engine.codec.find(cookies)
  if (values.length === 0) return Effect.void
  self.presented = true
  return Effect.flatMap(seconds, (now) => authenticateFrom(self, values, 0, now))
}

const authenticateFrom = (
  self: Exchange,
  values: ReadonlyArray<string>,
  index: number,
  now: number
): Effect.Effect<void> => {
  const value = values[index]
  if (value === undefined) return tellRefusal(self)
  const { codec, placement, settings, verified } = self.engine
  const refused = (refusal: SessionState.Refusal): Effect.Effect<void> => {
    // Where several are refused, the first is the one that a browser meant.
    if (index === 0) self.refusal = refusal
    return authenticateFrom(self, values, index + 1, now)
  }
  const known = verified?.get(value, now)
  const presented = known?.presented ?? codec.decode(value)
  if (typeof presented === "string") return refused(presented)
  const refusal = SessionState.verify(presented.header, settings, placement._tag, now)
  if (refusal !== undefined) return refused(refusal)
  if (known !== undefined) {
    self.refusal = undefined
    self.live = { presented, key: known.key, value, contents: known.contents }
    return Effect.void
  }
  return Effect.flatMap(codec.verify(presented, self.request.sender), (key) => {
    if (key < 0) return refused("InvalidMac")
    self.refusal = undefined
    self.live = { presented, key, value }
    know(self, self.live, undefined, now)
    return Effect.void
  })
}

const bound = SessionState.Flag.BindIp | SessionState.Flag.BindScheme | SessionState.Flag.BindUserAgent

/** Remembers a cookie that is authentic, so that it is not verified again, and what it holds. */
export const know = (
  { engine }: Exchange,
  { key, presented, value }: Live,
  contents: Contents | undefined,
  now: number
): void => {
  const { verified } = engine
  // Whether a bound cookie verifies is not a matter of its text alone.
  if (verified === undefined || value === undefined || (presented.header.flags & bound) !== 0) return
  verified.set(
    value,
    { presented, key, contents: contents && holdsAll(engine, presented) ? { ...contents, data: undefined } : contents },
    now
  )
}

/** Whether the first cookie holds all of the session, and nothing in a store or in further cookies belongs to it. */
const holdsAll = ({ codec, placement }: Engine, { header }: Presented): boolean =>
  placement._tag === "Cookie" && codec.chunks(header) === 1

const tellRefusal = (self: Exchange): Effect.Effect<void> =>
  self.refusal === undefined ? Effect.void : SessionEvents.emit({ _tag: "SessionRefused", reason: self.refusal })

/** Finds the remember cookie and verifies its header, once. Which one is refused, and why, nobody is told. */
export const seekRemember: (self: Exchange) => Effect.Effect<void> = Effect.fnUntraced(function*(self) {
  if (self.rememberSought) return
  self.rememberSought = true
  const { codec: { remember }, placement, settings } = self.engine
  const now = yield* seconds
  for (const value of self.request.cookies === undefined ? [] : remember.find(self.request.cookies)) {
    const presented = remember.decode(value)
    if (typeof presented === "string") continue
    if (SessionState.verifyRemember(presented.header, settings, placement._tag, now) !== undefined) continue
    const key = yield* remember.verify(presented, self.request.sender)
    if (key < 0) continue
    self.remember = { presented, key, value }
    return
  }
})

// -----------------------------------------------------------------------------
// payloads
// -----------------------------------------------------------------------------

/** Loads and decrypts the payload, once. What does not open is a refusal; only a store can fail. */
export const open = (self: Exchange): Effect.Effect<void, SessionError> =>
  isOpen(self) ? Effect.void : locked(self, Effect.suspend(() => openLocked(self)))

/** Whether it is open, or known without anything to wait for. */
export const isOpen = (self: Exchange): boolean => {
  if (self.opened !== undefined) return true
  const { live } = self
  if (live?.contents === undefined || live.contents.data !== undefined) return false
  settle(self, live, { ...nobody, payload: live.contents.payload })
  return true
}

/** `open` for those who hold the lock. */
export const openLocked = (self: Exchange): Effect.Effect<void, SessionError> => {
  if (isOpen(self)) return Effect.void
  const { placement } = self.engine
  if (placement._tag === "Cookie") return self.live === undefined ? rescue(self) : openCookie(self, self.live)
  const { live } = self
  if (live === undefined && !self.engine.settings.remember) return none(self)
  return bounded(
    self,
    "load",
    // A store that throws has failed too.
    Effect.catchDefect(
      live === undefined ? rescue(self) : openStored(self, placement.port, live),
      (cause) => fail(new StoreFailed({ operation: "load", cause }))
    )
  )
}

const none = (self: Exchange): Effect.Effect<void> => Effect.sync(() => settle(self, undefined, nobody))

const openCookie = (self: Exchange, live: Live): Effect.Effect<void, SessionError> => {
  const ciphertext = gather(self, self.engine.codec, live)
  if (typeof ciphertext === "string") return refuse(self, ciphertext)
  const opened = known(live, { data: ciphertext, handle: undefined })
  if (opened !== undefined) return Effect.sync(() => settle(self, live, opened))
  return Effect.flatMap(self.engine.codec.open(live.presented, live.key, ciphertext), (payload) => {
    if (typeof payload === "string") return refuse(self, payload)
    settle(self, live, { ...nobody, payload })
    return Effect.map(seconds, (now) => know(self, live, { payload, data: ciphertext, infoKey: undefined }, now))
  })
}

/** With cookie placement. It never forwards: the value and its Cookie header are there. */
const gather = (self: Exchange, codec: Codec, { presented, value }: Live): Uint8Array | SessionState.Refusal =>
  codec.gather(presented, value ?? "", self.request.cookies ?? "")

const openStored = Effect.fnUntraced(function*(self: Exchange, port: Port, live: Live) {
  const now = yield* seconds
  const key = yield* self.engine.storageKey(live.presented)
  const row = yield* port.load(key, now)
  if (row === undefined) return yield* refuse(self, "NotStored")
  if (row._tag === "Current") {
    if (!row.seen) self.unseen = key
    // Its response may be years away.
    if (self.request.upgrade) yield* tellSeen(self)
    const opened = known(live, row) ?? (yield* openRow(self.engine.codec, live, row))
    if (typeof opened === "string") return yield* refuse(self, opened)
    settle(self, live, opened)
    if (live.contents === undefined) {
      know(self, live, { payload: opened.payload, data: row.data, infoKey: opened.infoKey }, now)
    }
    return
  }
  yield* forward(self, port, live, row, now)
})

/** What was found in these very bytes before. A version never has others, and this is not left to that. */
const known = (
  { contents }: Live,
  { data, handle }: { readonly data: Uint8Array; readonly handle: string | undefined }
): Opened | undefined =>
  contents?.data !== undefined && same(contents.data, data)
    ? { payload: contents.payload, handle, infoKey: contents.infoKey }
    : undefined

const same = (one: Uint8Array, other: Uint8Array): boolean => {
  if (one.length !== other.length) return false
  for (let i = 0; i < one.length; i++) if (one[i] !== other[i]) return false
  return true
}

interface Row {
  readonly data: Uint8Array
  readonly handle: string
}

/** What a row holds: the sealed payload, and behind it the sealed key of the session's info, if it has any. */
const openRow = Effect.fnUntraced(function*(
  codec: Codec,
  { key, presented }: Live,
  row: Row
): Effect.fn.Return<Opened | SessionState.Refusal> {
  const { dataSize } = presented.header
  const size = Math.floor(dataSize * 3 / 4)
  const extra = row.data.length - size
  if (Math.ceil(size * 4 / 3) !== dataSize || (extra !== 0 && extra !== sealedInfoKeySize)) return "InvalidPayload"
  const payload = yield* codec.open(presented, key, row.data.subarray(0, size))
  if (typeof payload === "string") return payload
  const infoKey = extra === 0 ? undefined : yield* codec.openInfoKey(presented, key, row.data.subarray(size))
  return { payload, handle: row.handle, infoKey }
})

/** What stands for a request that presented a superseded version: its newest successor, or nothing after the grace. */
export const forward = Effect.fnUntraced(
  function*(self: Exchange, port: Port, live: Live, superseded: Superseded, now: number) {
    if (yield* reused(self, port, superseded, now)) return yield* refuse(self, "Reused")
    yield* SessionEvents.emit({ _tag: "SessionForwarded", handle: superseded.handle })
    if (!(yield* follow(self, port, live, superseded, now))) yield* refuse(self, "NotStored")
  }
)

/** Whether a superseded version is presented after its grace, which is told. */
const reused = Effect.fnUntraced(function*(self: Exchange, port: Port, superseded: Superseded, now: number) {
  const { graceEnds, handle } = superseded
  if (graceEnds === undefined || now <= graceEnds) return false
  yield* SessionEvents.emit({ _tag: "SessionReused", handle })
  if (self.engine.settings.onReuse === "revoke") yield* port.revoke(handle)
  return true
})

/** The session cookie opened no session. */
const refuse = (self: Exchange, refusal: SessionState.Refusal): Effect.Effect<void, SessionError> => {
  self.refusal = refusal
  return Effect.andThen(tellRefusal(self), rescue(self))
}

/**
 * Notes that a version was presented, where no write of the request does. Nobody waits for
 * it: if it is lost, the old version is honoured a little longer.
 */
export const tellSeen = (self: Exchange): Effect.Effect<unknown> => {
  const { placement, settings } = self.engine
  const key = self.unseen
  if (key === undefined || placement._tag === "Cookie") return Effect.void
  self.unseen = undefined
  const note = Effect.flatMap(
    seconds,
    (now) => placement.port.touch(key, { deadline: undefined, seen: settings.staleTtl }, now)
  )
  return Effect.forkDetach(Effect.ignoreCause(note, { log: "Debug" }))
}

/**
 * Walks from a superseded version to the newest one, which then stands for the
 * request; false if the session has ended. Whether the grace is over is the
 * caller's question: a request that began in time may always find its successor.
 */
export const follow = Effect.fnUntraced(
  function*(self: Exchange, port: Port, from: Live, superseded: Superseded, now: number) {
    const { codec, settings, storageKey } = self.engine
    let old = from.presented
    let sealed = superseded.successor
    let remember: Live | undefined
    for (let hop = 0; hop < maxHops; hop++) {
      const successor = yield* codec.openSuccessor(old, sealed)
      if (successor === undefined) return false
      const { beside, key, presented } = successor
      if (beside !== undefined) remember = { presented: beside, key, value: undefined }
      const row = yield* port.load(yield* storageKey(presented), now)
      if (row === undefined) return false
      if (row._tag === "Current") {
        // Of the versions on the way there, the times do not matter any more.
        return SessionState.verify(presented.header, settings, "Server", now) === undefined &&
          (yield* stand(self, { presented, key, value: undefined }, row, remember))
      }
      old = presented
      sealed = row.successor
    }
    return false
  }
)

/** A version that the request was forwarded to stands for it, if it opens. */
const stand = Effect.fnUntraced(function*(
  self: Exchange,
  live: Live,
  row: Row,
  remember: Live | undefined
) {
  const opened = yield* openRow(self.engine.codec, live, row)
  if (typeof opened === "string") return false
  settle(self, live, opened)
  self.refusal = undefined
  // Who came by a remember cookie alone has presented one too: a logout clears both.
  self.presented = true
  if (remember !== undefined) {
    self.remember = remember
    self.rememberSought = true
  }
  return true
})

// -----------------------------------------------------------------------------
// the remember cookie
// -----------------------------------------------------------------------------

/**
 * Without a session cookie that opens: the payload that the remember cookie brings
 * back, or none. The response phase makes a new session of it.
 */
const rescue: (self: Exchange) => Effect.Effect<void, SessionError> = Effect.fnUntraced(function*(self) {
  settle(self, undefined, nobody)
  const { codec, placement, settings } = self.engine
  if (!settings.remember) return
  yield* seekRemember(self)
  const { remember } = self
  if (remember === undefined) return
  if (placement._tag === "Cookie") {
    const ciphertext = gather(self, codec.remember, remember)
    if (typeof ciphertext === "string") return forget(self)
    const payload = yield* codec.remember.open(remember.presented, remember.key, ciphertext)
    return typeof payload === "string" ? forget(self) : bringBack(self, remember, { ...nobody, payload })
  }
  const { port } = placement
  const now = yield* seconds
  const row = yield* port.loadRemember(yield* self.engine.storageKey(remember.presented), now)
  if (row === undefined) return forget(self)
  if (row._tag === "Current") {
    const opened = yield* openRow(codec.remember, remember, row)
    return typeof opened === "string" ? forget(self) : bringBack(self, remember, opened)
  }
  if (yield* reused(self, port, row, now)) return forget(self)
  yield* SessionEvents.emit({ _tag: "SessionForwarded", handle: row.handle })
  if (!(yield* followRemember(self, port, remember, row, now))) forget(self)
})

const bringBack = (self: Exchange, remember: Live, opened: Opened): void => {
  settle(self, undefined, opened)
  self.remember = remember
  self.rescued = true
  self.presented = true
}

const forget = (self: Exchange): void => {
  settle(self, undefined, nobody)
  self.remember = undefined
}

/**
 * Walks from a superseded remember cookie to the newest one, and to the session that
 * was set beside it: however many requests a remember cookie brings back at once, they
 * get one session. False if that has ended.
 */
export const followRemember = Effect.fnUntraced(
  function*(self: Exchange, port: Port, from: Live, superseded: Superseded, now: number) {
    const { codec, settings, storageKey } = self.engine
    let old = from.presented
    let sealed = superseded.successor
    for (let hop = 0; hop < maxHops; hop++) {
      const successor = yield* codec.remember.openSuccessor(old, sealed)
      if (successor === undefined) return false
      const { beside, key, presented } = successor
      const remember: Live = { presented, key, value: undefined }
      if (
        beside !== undefined &&
        (yield* standBeside(self, port, { presented: beside, key, value: undefined }, remember, now))
      ) {
        return true
      }
      const row = yield* port.loadRemember(yield* storageKey(presented), now)
      if (row === undefined) return false
      if (row._tag === "Current") {
        if (SessionState.verifyRemember(presented.header, settings, "Server", now) !== undefined) return false
        const opened = yield* openRow(codec.remember, remember, row)
        if (typeof opened === "string") return false
        bringBack(self, remember, opened)
        return true
      }
      old = presented
      sealed = row.successor
    }
    return false
  }
)

const standBeside = Effect.fnUntraced(
  function*(self: Exchange, port: Port, live: Live, remember: Live, now: number) {
    const { settings, storageKey } = self.engine
    const row = yield* port.load(yield* storageKey(live.presented), now)
    if (row === undefined) return false
    if (row._tag === "Current") {
      return SessionState.verify(live.presented.header, settings, "Server", now) === undefined &&
        (yield* stand(self, live, row, remember))
    }
    self.remember = remember
    return yield* follow(self, port, live, row, now)
  }
)
