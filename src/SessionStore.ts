/**
 * Where sessions live: in the cookie, or on the server behind a small port.
 *
 * The port has four distinct writes where others have one upsert: `create`,
 * `supersede`, `touch`, `revoke`. An upsert is what lets a late request undo a
 * logout.
 *
 * @since 0.1.0
 */
import { Context } from "effect"
import type { Effect } from "effect"
import type { SessionError } from "./SessionError.ts"

/**
 * One version of a session, as a store keeps it. Nothing in it opens a session:
 * the key is a hash, the data ciphertext.
 *
 * @category models
 * @since 0.1.0
 */
export interface Version {
  /** SHA-256 of the version's sid: 32 bytes. */
  readonly key: Uint8Array
  /** The sealed payload. */
  readonly data: Uint8Array
  /** Unix seconds; past it no request can open this version, and the row may go. */
  readonly deadline: number
  /** Under which audiences and subjects the session is listed. */
  readonly index: ReadonlyArray<IndexEntry>
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
  /** Whether a request has presented this version yet; see `Touch.seen`. */
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
 * its own, so that tests can move time. Rows past their `deadline` are as good as
 * gone. Failures are `SessionError` with reason `StoreFailed`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Port {
  /** The version with this key, or `undefined`. */
  readonly load: (key: Uint8Array, now: number) => Effect.Effect<Current | Superseded | undefined, SessionError>

  /** Inserts the first version of a session; never overwrites. */
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
   * session (an explicit renewal).
   */
  readonly supersede: (
    old: Uint8Array,
    version: Version,
    successor: Uint8Array | undefined,
    now: number
  ) => Effect.Effect<{ readonly _tag: "Done" } | Superseded | { readonly _tag: "Gone" }, SessionError>

  /** Moves the last-seen time and the deadline; never creates, never moves data. */
  readonly touch: (
    key: Uint8Array,
    touch: {
      /** The new deadline, unix seconds; `undefined` leaves it. */
      readonly deadline: number | undefined
      /**
       * Seconds of grace. This version has been presented by a client, so versions that
       * it replaced, and that wait for that, are honoured so much longer from now.
       */
      readonly seen: number | undefined
    },
    now: number
  ) => Effect.Effect<{ readonly _tag: "Done" } | Superseded | { readonly _tag: "Gone" }, SessionError>

  /** Ends the whole session: its version, and all it replaced. Idempotent; whether it was there. */
  readonly revoke: (handle: string) => Effect.Effect<boolean, SessionError>

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
  | { readonly _tag: "Server"; readonly port: Port }

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
