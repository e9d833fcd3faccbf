/** The states that a version of a cookie can be in. */
import { Effect } from "effect"
import type { SessionError } from "../../SessionError.ts"
import type { IndexEntry, Port, Remembered } from "../../SessionStore.ts"
import { assert } from "./assert.ts"
import {
  create,
  current,
  grace,
  lifetime,
  newRemembered,
  newSession,
  randomBytes,
  renew,
  replace,
  rescue,
  rescueAndRenew,
  saveInfo,
  start,
  superseded,
  touch
} from "./sessions.ts"
import type { Session, Shown } from "./sessions.ts"

export interface Scene {
  readonly handle: string
  readonly entry: IndexEntry
  /** Of the version that is put to the test. */
  readonly key: Uint8Array
  /** Of every version of the session, of either cookie. */
  readonly keys: ReadonlyArray<Uint8Array>
  readonly now: number
  /** What loading it shall answer. */
  readonly row: Shown
}

export interface State {
  readonly name: string
  /** Whose version is put to the test. To the operations of the other cookie it is unknown. */
  readonly cookie: "session" | "remember"
  readonly arrange: (port: Port, entry: IndexEntry) => Effect.Effect<Scene, SessionError>
  /** What a supersede and a touch shall answer, or a rescue. */
  readonly write: "Done" | "Gone" | "Superseded"
  /** What a create with the same key, and one with the same handle, shall answer; `undefined` for either. */
  readonly sameKey: "Collision" | "Created" | undefined
  readonly sameHandle: "Collision" | "Created" | undefined
  /**
   * Whether there is a session, to list and to revoke and with info; `undefined` for one that may still be there to be
   * revoked, but has expired.
   */
  readonly alive: boolean | undefined
}

const gone = { write: "Gone", sameKey: "Created", sameHandle: "Created", alive: false } as const
const replacedFor = { write: "Gone", sameKey: "Created", sameHandle: "Collision", alive: true } as const
const expired = { write: "Gone", sameKey: undefined, sameHandle: undefined, alive: undefined } as const
const expiredAlone = { write: "Gone", sameKey: undefined, sameHandle: "Collision", alive: true } as const
const forwarded = { write: "Superseded", sameKey: "Collision", sameHandle: "Collision", alive: true } as const
const stands = { write: "Done", sameKey: "Collision", sameHandle: "Collision", alive: true } as const

/** A session with info. */
const begin = Effect.fnUntraced(function*(port: Port, over: Partial<Session> = {}) {
  const session = yield* create(port, over)
  assert.strictEqual(yield* saveInfo(port, session.handle, { kept: "info" }), "Saved")
  return session
})

const beginRemembered = Effect.fnUntraced(
  function*(port: Port, over: Partial<Session> = {}, remembered: Partial<Remembered> = {}) {
    const remember = newRemembered(remembered)
    return { ...yield* begin(port, { ...over, remember }), remember }
  }
)

const ofSession: ReadonlyArray<Omit<State, "cookie">> = [
  {
    name: "that never was",
    ...gone,
    arrange: (_port, entry) =>
      Effect.sync(() => {
        const { handle, key } = newSession()
        return { handle, entry, key, keys: [key], now: start, row: undefined }
      })
  },
  {
    name: "that is current",
    ...stands,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const session = yield* begin(port, { index: [entry] })
      const { handle, key } = session
      return { handle, entry, key, keys: [key], now: start, row: current(handle, session, true) }
    })
  },
  {
    name: "superseded by one that nobody has seen",
    ...forwarded,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* begin(port)
      const next = yield* replace(port, key, { index: [entry] })
      // As long as it takes, within the life of the session.
      const now = start + lifetime
      return { handle, entry, key, keys: [key, next.key], now, row: superseded(handle, next.successor) }
    })
  },
  {
    name: "superseded, in the last second of its grace",
    ...forwarded,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* begin(port)
      const next = yield* replace(port, key, { index: [entry] })
      yield* touch(port, next.key, grace)
      const now = start + grace
      return { handle, entry, key, keys: [key, next.key], now, row: superseded(handle, next.successor, start + grace) }
    })
  },
  {
    name: "superseded, after its grace",
    ...forwarded,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* begin(port)
      const next = yield* replace(port, key, { index: [entry] })
      yield* touch(port, next.key, grace)
      const now = start + lifetime
      return { handle, entry, key, keys: [key, next.key], now, row: superseded(handle, next.successor, start + grace) }
    })
  },
  {
    name: "that a renewal replaced",
    ...replacedFor,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* begin(port)
      const next = yield* renew(port, key, { index: [entry] })
      return { handle, entry, key, keys: [key, next.key], now: start, row: undefined }
    })
  },
  {
    name: "superseded before a renewal",
    ...replacedFor,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* begin(port)
      const next = yield* replace(port, key)
      const last = yield* renew(port, next.key, { index: [entry] })
      return { handle, entry, key, keys: [key, next.key, last.key], now: start, row: undefined }
    })
  },
  {
    name: "past its deadline",
    ...expired,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* begin(port, { index: [entry] })
      return { handle, entry, key, keys: [key], now: start + lifetime + 1, row: undefined }
    })
  },
  {
    name: "superseded, of a session past its deadline",
    ...expired,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* begin(port)
      const next = yield* replace(port, key, { index: [entry] })
      return { handle, entry, key, keys: [key, next.key], now: start + lifetime + 1, row: undefined }
    })
  },
  {
    name: "that was revoked",
    ...gone,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* begin(port, { index: [entry] })
      assert.isTrue(yield* port.revoke(handle))
      return { handle, entry, key, keys: [key], now: start, row: undefined }
    })
  },
  {
    name: "superseded, of a session that was revoked",
    ...gone,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key } = yield* begin(port)
      const next = yield* replace(port, key, { index: [entry] })
      assert.isTrue(yield* port.revoke(handle))
      return { handle, entry, key, keys: [key, next.key], now: start, row: undefined }
    })
  },
  {
    name: "that a rescue replaced",
    ...replacedFor,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const back = yield* rescue(port, remember.key, { index: [entry] })
      const keys = [key, back.key, remember.key, back.remember.key]
      return { handle, entry, key, keys, now: start, row: undefined }
    })
  },
  {
    name: "superseded before a rescue that renews",
    ...replacedFor,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const next = yield* replace(port, key)
      const back = yield* rescueAndRenew(port, remember.key, { index: [entry] })
      const keys = [key, next.key, back.key, remember.key, back.remember.key]
      return { handle, entry, key, keys, now: start, row: undefined }
    })
  },
  {
    name: "past its deadline, of a session that is remembered",
    ...expiredAlone,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port, { index: [entry] })
      return { handle, entry, key, keys: [key, remember.key], now: start + lifetime + 1, row: undefined }
    })
  },
  {
    name: "superseded, of a session that is remembered past its deadline",
    ...expiredAlone,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const next = yield* replace(port, key, { index: [entry] })
      return { handle, entry, key, keys: [key, next.key, remember.key], now: start + lifetime + 1, row: undefined }
    })
  }
]

const long = { deadline: start + 5 * lifetime }

const ofRemember: ReadonlyArray<Omit<State, "cookie">> = [
  {
    name: "that is current",
    ...stands,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port, { index: [entry] })
      const row = current(handle, remember, true)
      return { handle, entry, key: remember.key, keys: [remember.key, key], now: start, row }
    })
  },
  {
    name: "that is current, past the deadline of the session cookie",
    ...stands,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port, { index: [entry] }, long)
      const row = current(handle, remember, true)
      return { handle, entry, key: remember.key, keys: [remember.key, key], now: start + lifetime + 1, row }
    })
  },
  {
    name: "superseded by a rescue that nobody has seen",
    ...forwarded,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const back = yield* rescue(port, remember.key, { index: [entry], remember: newRemembered(long) })
      const keys = [remember.key, back.remember.key, key, back.key]
      // As long as it takes, within the life of the cookie.
      const now = start + 5 * lifetime
      return { handle, entry, key: remember.key, keys, now, row: superseded(handle, back.successor) }
    })
  },
  {
    name: "superseded by a save that names it",
    ...forwarded,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const successor = randomBytes(126)
      const later = newRemembered({ replaces: { key: remember.key, successor } })
      const next = yield* replace(port, key, { index: [entry], remember: later })
      const keys = [remember.key, later.key, key, next.key]
      return { handle, entry, key: remember.key, keys, now: start, row: superseded(handle, successor) }
    })
  },
  {
    name: "superseded by a renewal that names it",
    ...forwarded,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const successor = randomBytes(126)
      const later = newRemembered({ replaces: { key: remember.key, successor } })
      const next = yield* renew(port, key, { index: [entry], remember: later })
      const keys = [remember.key, later.key, key, next.key]
      return { handle, entry, key: remember.key, keys, now: start, row: superseded(handle, successor) }
    })
  },
  {
    name: "superseded, in the last second of its grace",
    ...forwarded,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const back = yield* rescue(port, remember.key, { index: [entry] })
      yield* touch(port, back.key, grace)
      const keys = [remember.key, back.remember.key, key, back.key]
      const now = start + grace
      return { handle, entry, key: remember.key, keys, now, row: superseded(handle, back.successor, start + grace) }
    })
  },
  {
    name: "superseded, after its grace and the deadline of the session cookie",
    ...forwarded,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const back = yield* rescue(port, remember.key, { index: [entry], remember: newRemembered(long) })
      yield* touch(port, back.key, grace)
      const keys = [remember.key, back.remember.key, key, back.key]
      const now = start + lifetime + 1
      return { handle, entry, key: remember.key, keys, now, row: superseded(handle, back.successor, start + grace) }
    })
  },
  {
    name: "that a save replaced and did not name",
    ...replacedFor,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const later = newRemembered()
      const next = yield* replace(port, key, { index: [entry], remember: later })
      const keys = [remember.key, later.key, key, next.key]
      return { handle, entry, key: remember.key, keys, now: start, row: undefined }
    })
  },
  {
    name: "that a renewal ended",
    ...replacedFor,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const next = yield* renew(port, key, { index: [entry] })
      return { handle, entry, key: remember.key, keys: [remember.key, key, next.key], now: start, row: undefined }
    })
  },
  {
    name: "superseded before a renewal",
    ...replacedFor,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const back = yield* rescue(port, remember.key)
      const next = yield* renew(port, back.key, { index: [entry] })
      const keys = [remember.key, back.remember.key, key, back.key, next.key]
      return { handle, entry, key: remember.key, keys, now: start, row: undefined }
    })
  },
  {
    name: "that a rescue that renews ended",
    ...replacedFor,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const back = yield* rescueAndRenew(port, remember.key, { index: [entry] })
      const keys = [remember.key, back.remember.key, key, back.key]
      return { handle, entry, key: remember.key, keys, now: start, row: undefined }
    })
  },
  {
    name: "superseded before a rescue that renews",
    ...replacedFor,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const back = yield* rescue(port, remember.key)
      const last = yield* rescueAndRenew(port, back.remember.key, { index: [entry] })
      const keys = [remember.key, back.remember.key, last.remember.key, key, back.key, last.key]
      return { handle, entry, key: remember.key, keys, now: start, row: undefined }
    })
  },
  {
    name: "past its deadline, of a session that lives",
    ...expiredAlone,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port, { index: [entry] }, { deadline: start + 5 })
      return { handle, entry, key: remember.key, keys: [remember.key, key], now: start + 6, row: undefined }
    })
  },
  {
    name: "past its deadline and the session's",
    ...expired,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port, { index: [entry] }, { deadline: start + 5 })
      return { handle, entry, key: remember.key, keys: [remember.key, key], now: start + lifetime + 1, row: undefined }
    })
  },
  {
    name: "of a session that was revoked",
    ...gone,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port, { index: [entry] })
      assert.isTrue(yield* port.revoke(handle))
      return { handle, entry, key: remember.key, keys: [remember.key, key], now: start, row: undefined }
    })
  },
  {
    name: "superseded, of a session that was revoked",
    ...gone,
    arrange: Effect.fnUntraced(function*(port, entry) {
      const { handle, key, remember } = yield* beginRemembered(port)
      const back = yield* rescue(port, remember.key, { index: [entry] })
      assert.isTrue(yield* port.revoke(handle))
      const keys = [remember.key, back.remember.key, key, back.key]
      return { handle, entry, key: remember.key, keys, now: start, row: undefined }
    })
  }
]

const of = (cookie: State["cookie"]) => (state: Omit<State, "cookie">): State => ({ ...state, cookie })

export const states: ReadonlyArray<State> = [...ofSession.map(of("session")), ...ofRemember.map(of("remember"))]
