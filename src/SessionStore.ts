/**
 * Where sessions live: in the cookie, or on the server behind a small port.
 *
 * The port has distinct writes where others have one upsert: `create`, `supersede`,
 * `rescue`, `touch`, `revoke`. An upsert is what lets a late request undo a logout.
 *
 * @since 0.1.0
 */
import { Context, Effect, Layer } from "effect"
import type { Scope } from "effect"
import * as Memory from "./internal/memory.ts"
import { InvalidConfig, SessionError } from "./SessionError.ts"

/**
 * What a store keeps of one cookie's current version. Nothing in it opens a session:
 * the key is a hash, the data ciphertext.
 *
 * @category models
 * @since 0.1.0
 */
export interface Content {
  /** SHA-256 of the version's sid: 32 bytes. With the layouts of the references it may be the sid itself. */
  readonly key: Uint8Array
  /** The sealed payload. */
  readonly data: Uint8Array
  /** Unix seconds; past it no request can open this version, and the row may go. */
  readonly deadline: number
}

/**
 * The version of the remember cookie that belongs to a session.
 *
 * @category models
 * @since 0.1.0
 */
export interface Remembered extends Content {
  /**
   * The remember cookie that this one replaces: it is kept as superseded, with its
   * sealed successor, if it is still the session's. Any other dies at once.
   * A renewal names it with the layouts of the references alone, and then it dies too.
   */
  readonly replaces: { readonly key: Uint8Array; readonly successor: Uint8Array } | undefined
}

/**
 * One version of a session, as a store keeps it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Version extends Content {
  /** Unix seconds past which no touch moves the deadline. */
  readonly latestDeadline: number
  /** Under which audiences and subjects the session is listed. */
  readonly index: ReadonlyArray<IndexEntry>
  /** The version of the remember cookie that is written with it; `undefined` leaves the one that is there. */
  readonly remember: Remembered | undefined
  /**
   * Seconds of grace, where the version that this one supersedes was presented by a
   * client and that has not been noted: as `touch` does it with its `seen`, before the
   * old version itself is superseded. Only `supersede` with a successor looks at it.
   */
  readonly seen: number | undefined
}

/**
 * A value of the info store: what is kept beside a session's versions.
 *
 * @category models
 * @since 0.1.0
 */
export interface Info {
  /** Says of which audience and under which key, so that only the session's holder can read it. */
  readonly name: string
  readonly value: Uint8Array
}

/**
 * A session as a request knows it: by its handle, and by the keys of the versions
 * that it presented.
 *
 * @category models
 * @since 0.1.0
 */
export interface Located {
  readonly handle: string
  /** Of the session cookie's version, if there was one. */
  readonly key: Uint8Array | undefined
  /** Of the remember cookie's version, if there was one. */
  readonly rememberKey: Uint8Array | undefined
}

/**
 * An audience, and a subject as the index keeps it: hashed under a key, or in
 * clear, as `hashSubject` says.
 *
 * @category models
 * @since 0.1.0
 */
export interface IndexEntry {
  readonly audience: string
  readonly subject: string
}

/**
 * A version that has been replaced, and what its holder may still do with it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Superseded {
  readonly _tag: "Superseded"
  readonly handle: string
  /** The successor's cookie header, sealed under a key that only the old sid yields. */
  readonly successor: Uint8Array
  /** Unix seconds until which the old version is honoured; `undefined` as long as nobody has presented a successor. */
  readonly graceEnds: number | undefined
}

/**
 * A version that stands.
 *
 * @category models
 * @since 0.1.0
 */
export interface Current {
  readonly _tag: "Current"
  readonly handle: string
  readonly data: Uint8Array
  /**
   * Whether a request has presented this version yet, as `touch` notes. Also true of
   * a version that superseded none: nothing waits for it to be seen.
   */
  readonly seen: boolean
}

/**
 * A session as a listing shows it, to be ended by its handle.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listed {
  readonly handle: string
  /** Unix seconds. */
  readonly createdAt: number
  /** Unix seconds of the last save or touch. */
  readonly lastSeenAt: number
  /** Unix seconds. */
  readonly deadline: number
}

/**
 * The port: what a server-side store has to do. Each operation is atomic, and a
 * store acknowledges a write only when it is durable.
 *
 * **Details**
 *
 * `now` is always the caller's clock, in whole unix seconds; a store has none of
 * its own, so that tests can move time. Failures are `SessionError` with reason
 * `StoreFailed`.
 *
 * A session has one row: the current version of its session cookie and, where there is
 * one, that of its remember cookie. It is as good as gone, with all that they replaced,
 * when both are past their `deadline` (`now > deadline`); one of them alone opens
 * nothing from then on. A store removes it when it likes: until
 * then its key and its handle may still collide, and `revoke` and `revokeAll`, which
 * get no clock, may count it.
 *
 * A superseded version is reported after its grace too, so that its reuse is noticed,
 * as long as its session lives. A store may forget the oldest of more than 32, and one
 * whose grace has been over for an hour.
 *
 * Bytes passed to a store are the caller's again after the call; bytes that it
 * returns are to be read only.
 *
 * @category models
 * @since 0.1.0
 */
export interface Port {
  /** The session cookie's version with this key, current or superseded, or `undefined`. */
  readonly load: (key: Uint8Array, now: number) => Effect.Effect<Current | Superseded | undefined, SessionError>

  /** The same for the remember cookie. */
  readonly loadRemember: (key: Uint8Array, now: number) => Effect.Effect<Current | Superseded | undefined, SessionError>

  /**
   * Inserts the first version of a session; never overwrites. `Collision` if the
   * handle is in use, or the key, by a current version or by a superseded one.
   */
  readonly create: (
    version: Version & {
      /** Public, not secret: for lists, logs, foreign keys and revocation. */
      readonly handle: string
      /** Unix seconds. */
      readonly createdAt: number
    },
    now: number
  ) => Effect.Effect<"Created" | "Collision", SessionError>

  /**
   * Replaces the version `old` by `version` if it is still current, and says what
   * stands in its place otherwise.
   *
   * With a `successor`, the old version is kept as superseded, to forward to the
   * new one. Without, it dies at once with every superseded version of its
   * session, and so does a remember cookie that `version.remember` does not replace
   * (an explicit renewal): whoever planted a cookie before a login holds nothing after it.
   *
   * The index of the new version takes the place of the old one's. A new version
   * whose key is another's current one fails with `StoreFailed` and changes nothing.
   */
  readonly supersede: (
    old: Uint8Array,
    version: Version,
    successor: Uint8Array | undefined,
    now: number
  ) => Effect.Effect<{ readonly _tag: "Done" } | Superseded | { readonly _tag: "Gone" }, SessionError>

  /**
   * Brings a session back from its remember cookie: replaces the remember cookie's
   * version `old` by `version.remember`, if it is still current, and puts `version` in
   * place of the session cookie's version, whether that has expired or not. The old
   * session cookie's version dies.
   *
   * With a `successor`, the old remember cookie is kept as superseded. Without, it dies
   * at once with every superseded version of its session, of both cookies, as with
   * `supersede` (a login of a session that had to be brought back). Handle and info stay.
   *
   * `createdAt`, unix seconds, is the session's from now on. `version.remember` is
   * always there, and its `replaces` is not looked at.
   */
  readonly rescue: (
    old: Uint8Array,
    version: Version & { readonly remember: Remembered; readonly createdAt: number },
    successor: Uint8Array | undefined,
    now: number
  ) => Effect.Effect<{ readonly _tag: "Done" } | Superseded | { readonly _tag: "Gone" }, SessionError>

  /** Moves the deadline, and the last-seen time to `now`; never creates, never moves data. */
  readonly touch: (
    key: Uint8Array,
    touch: {
      /** The new deadline, unix seconds; `undefined` leaves it. */
      readonly deadline: number | undefined
      /**
       * Seconds of grace. This version has been presented by a client, so versions that
       * it replaced, and that wait for that, are honoured so much longer from now. Grace
       * that runs already is not extended.
       */
      readonly seen: number | undefined
    },
    now: number
  ) => Effect.Effect<{ readonly _tag: "Done" } | Superseded | { readonly _tag: "Gone" }, SessionError>

  /**
   * Ends the whole session: the versions of its two cookies, all they replaced, and
   * its info. Idempotent; whether it was there. `at` is given where a request ends its
   * own session, for stores that find nothing by a handle.
   */
  readonly revoke: (handle: string, at?: Located) => Effect.Effect<boolean, SessionError>

  /** What is kept beside the session's versions. */
  readonly loadInfo: (at: Located, now: number) => Effect.Effect<ReadonlyArray<Info>, SessionError>

  /**
   * Sets and removes info of a session that lives, each value for itself: of two
   * writes at once to different names, both take effect. Never creates a session.
   */
  readonly saveInfo: (
    at: Located,
    changes: {
      readonly set: ReadonlyArray<Info>
      /** Names. */
      readonly remove: ReadonlyArray<string>
    },
    now: number
  ) => Effect.Effect<"Saved" | "Gone", SessionError>

  /** The sessions of an audience's subject, newest first. Several spellings of one subject after a key rotation. */
  readonly list: (
    audience: string,
    subjects: ReadonlyArray<string>,
    now: number
  ) => Effect.Effect<ReadonlyArray<Listed>, SessionError>

  /** Ends all of them, except one; how many. */
  readonly revokeAll: (
    audience: string,
    subjects: ReadonlyArray<string>,
    except: string | undefined
  ) => Effect.Effect<number, SessionError>
}

/**
 * Where the payload lives.
 *
 * **Details**
 *
 * With `Cookie` placement there is nothing on the server: no revocation, no
 * conflict detection, no handle. Logging out clears the cookie, and a copy of it
 * stays valid until its timeouts. With `Server` placement the port keeps those
 * promises.
 *
 * @category models
 * @since 0.1.0
 */
export type Placement =
  | { readonly _tag: "Cookie" }
  | {
    readonly _tag: "Server"
    readonly port: Port
    /**
     * Whose rows they are. With the layout of a reference a store gets subjects as
     * they are, info as JSON under the name `["audience","key"]`, and sids in clear
     * where `hashStorageKey` is off.
     */
    readonly layout: "Own" | "Reference"
  }

/**
 * The placement of sessions. Provide `layerCookie`, `layerMemory` or a layer of
 * another module.
 *
 * @category services
 * @since 0.1.0
 */
export class SessionStore extends Context.Service<SessionStore, Placement>()("effect-session/SessionStore") {}

/**
 * The port itself, provided by every server-side store and by no other: code
 * that lists or revokes sessions needs it, and so does not compile against
 * `layerCookie`.
 *
 * @category services
 * @since 0.1.0
 */
export class SessionPort extends Context.Service<SessionPort, Port>()("effect-session/SessionPort") {}

/**
 * Sessions live in the cookie, and nothing on the server.
 *
 * **Gotchas**
 *
 * A session cannot be revoked or listed, and of two requests that change it at once
 * the later response wins. Logging out clears the cookie, but a copy of it opens
 * until its timeouts have passed (OWASP Session Management, "Session Expiration",
 * asks for expiry on the server).
 *
 * @category layers
 * @since 0.1.0
 */
export const layerCookie: Layer.Layer<SessionStore> = Layer.succeed(SessionStore, { _tag: "Cookie" })

/**
 * Provides a port as the placement of sessions: what the author of a store
 * exports as its layer.
 *
 * **Details**
 *
 * `effect` may acquire resources; they are released with the layer. What it fails
 * with and what it requires, the layer does too.
 *
 * **Example** (An audit trail in front of another store)
 *
 * ```ts
 * import { Effect, Layer } from "effect"
 * import * as SessionStore from "effect-session/SessionStore"
 * import * as assert from "node:assert/strict"
 *
 * const trail: Array<string> = []
 *
 * const layerAudited = SessionStore.layerPort(
 *   Effect.map(SessionStore.SessionPort, (port) => ({
 *     ...port,
 *     revoke: (handle: string) =>
 *       Effect.tap(port.revoke(handle), (ended) => Effect.sync(() => trail.push(`${handle}: ${ended}`)))
 *   }))
 * ).pipe(Layer.provide(SessionStore.layerMemory))
 *
 * const program = SessionStore.SessionPort.use((port) => port.revoke("nobody"))
 *
 * assert.equal(await Effect.runPromise(Effect.provide(program, layerAudited)), false)
 * assert.deepEqual(trail, ["nobody: false"])
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerPort = <E, R>(
  effect: Effect.Effect<Port, E, R>
): Layer.Layer<SessionStore | SessionPort, E, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(
    Effect.map(effect, (port) =>
      Context.make(SessionPort, port).pipe(Context.add(SessionStore, { _tag: "Server", port, layout: "Own" })))
  )

const defaultMaxSessions = 100_000

/**
 * Sessions live in the memory of this process: for development, for tests, for
 * one server that may forget its users when it restarts.
 *
 * **Details**
 *
 * `maxSessions` (100,000, and at least 1) bounds the memory: one session more, and
 * the one that was not seen for the longest time is ended. Expired sessions are
 * removed bit by bit as others are created; there is no timer. Of each session the
 * last 32 superseded versions are remembered. A session of 100 bytes takes some 1.2
 * kB, and 0.6 kB more for each of those. Each time the layer is built it is a new,
 * empty store.
 *
 * A `maxSessions` that is no such number fails with reason `InvalidConfig`.
 *
 * **Gotchas**
 *
 * Several processes behind one address need a store that they share. Each call
 * makes another layer, and so another store: call it once. Who may create sessions
 * without limit can end those of others, by filling the store.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemoryWith = (options: {
  /** Most sessions at a time. */
  readonly maxSessions?: number | undefined
}): Layer.Layer<SessionStore | SessionPort, SessionError> => {
  const { maxSessions = defaultMaxSessions } = options
  return layerPort(
    Number.isSafeInteger(maxSessions) && maxSessions >= 1
      ? Effect.sync(() => Memory.make(maxSessions))
      : Effect.fail(
        new SessionError({
          reason: new InvalidConfig({
            setting: "maxSessions",
            problem: `${maxSessions} is not an integer of at least 1`,
            fix: `Leave it out for ${defaultMaxSessions}`
          })
        })
      )
  )
}

/**
 * `layerMemoryWith` for 100,000 sessions.
 *
 * **Example** (Logging a user out everywhere else)
 *
 * ```ts
 * import { Effect } from "effect"
 * import * as SessionStore from "effect-session/SessionStore"
 * import * as assert from "node:assert/strict"
 *
 * const program = Effect.gen(function*() {
 *   const port = yield* SessionStore.SessionPort
 *   const start = (handle: string, createdAt: number) =>
 *     port.create({
 *       handle,
 *       createdAt,
 *       key: crypto.getRandomValues(new Uint8Array(32)),
 *       data: new Uint8Array(),
 *       deadline: createdAt + 3600,
 *       latestDeadline: createdAt + 86_400,
 *       index: [{ audience: "shop", subject: "alice" }],
 *       remember: undefined,
 *       seen: undefined
 *     }, createdAt)
 *   yield* start("phone", 1000)
 *   yield* start("laptop", 2000)
 *   yield* port.revokeAll("shop", ["alice"], "laptop")
 *   return yield* port.list("shop", ["alice"], 2000)
 * })
 *
 * const listed = await Effect.runPromise(Effect.provide(program, SessionStore.layerMemory))
 *
 * assert.deepEqual(listed, [{ handle: "laptop", createdAt: 2000, lastSeenAt: 2000, deadline: 5600 }])
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<SessionStore | SessionPort> = layerPort(
  Effect.sync(() => Memory.make(defaultMaxSessions))
)
