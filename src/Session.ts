/**
 * Typed sessions: a class names the data, the handle is what a request does with
 * it.
 *
 * A session class imports no store and no crypto, so an API definition that names
 * it can be shared with a browser.
 *
 * **Example** (A session class)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import * as Session from "effect-session/Session"
 *
 * export class Cart extends Session.Service<Cart>()("shop/Cart", {
 *   data: Schema.Struct({ items: Schema.Array(Schema.String) }),
 *   initial: { items: [] }
 * }) {}
 *
 * export const addItem = (item: string) =>
 *   Effect.flatMap(Cart, (cart) => cart.update(({ items }) => ({ items: [...items, item] })))
 * ```
 *
 * @since 0.1.0
 */
import { Context, Duration, Effect, Option, Record, Schema } from "effect"
import { seconds } from "./internal/clock.ts"
import { commit } from "./internal/commit.ts"
import { type Exchange, fail, headerOf } from "./internal/exchange.ts"
import * as Info from "./internal/info.ts"
import * as Mismatch from "./internal/mismatch.ts"
import * as Recording from "./internal/recording.ts"
import { Gone, InvalidData, type SessionDataError, SessionError, SessionRequired } from "./SessionError.ts"
import * as SessionEvents from "./SessionEvents.ts"
import * as SessionState from "./SessionState.ts"

/**
 * What a request does with its session.
 *
 * **Details**
 *
 * `Stored` is what reading yields: `Data` where the class has an `initial` value,
 * an `Option` of it otherwise. `Mismatch` is `SessionDataError` where the class
 * says `onMismatch: "fail"`, and `never` otherwise.
 *
 * Reading opens the session when it is first needed. If the store fails then, a
 * read has nothing to say and dies with the `SessionError`: the client gets a
 * clean 503. A handler that wants to answer without a session calls `open`, whose
 * failure is typed.
 *
 * Changes are recorded and carried out when the response is ready, before its
 * headers leave. With cookie placement nothing on the server remembers a session:
 * `renew`, `logout` and `destroy` replace or clear the cookie, and a copy of the
 * old one stays valid until its timeouts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Handle<Data, Stored, Mismatch = never, Values = {}> {
  /** The data, with the changes of this request. */
  readonly get: Effect.Effect<Stored, Mismatch>

  /** Replaces the data. Of two requests that do so at once, the last one wins; see `update`. */
  readonly set: (data: Data) => Effect.Effect<void, SessionError>

  /**
   * Changes the data by a pure function. With server placement it is replayed on
   * the newest version if another request was quicker, so that neither change is lost.
   */
  readonly update: (f: (data: Stored) => Data) => Effect.Effect<void, Mismatch | SessionError>

  /** Whether a session of this class exists: presented by the client, or made by this request. */
  readonly exists: Effect.Effect<boolean>

  /** Whom the session belongs to. */
  readonly subject: Effect.Effect<Option.Option<string>>

  /**
   * Says whom the session belongs to, and renews it: a session that changes hands must
   * not keep a sid that somebody may have planted (OWASP, session fixation). `remember`
   * is what the user ticked; see `setRemember`.
   */
  readonly login: (
    subject: string,
    options?: { readonly remember?: boolean | undefined }
  ) => Effect.Effect<void, SessionError>

  /**
   * Whether a second cookie shall bring the session back when this one has ended, as
   * the setting `remember` says where nobody does. Who declines is not remembered as
   * long as the session lives, whatever is said later (lua-resty-session's `FORGET`).
   * Where the setting is `false`, the cookie is set for others to look at: this server
   * does not.
   */
  readonly setRemember: (remember: boolean) => Effect.Effect<void, SessionError>

  /** Values beside the data, of a class that has `info`. */
  readonly info: InfoHandle<Values>

  /** Says whom the session belongs to, and nothing else. */
  readonly setSubject: (subject: string | undefined) => Effect.Effect<void, SessionError>

  /**
   * Gives the session a new sid and kills the old version at once. For login,
   * re-authentication, any change of privilege. Without a session, does nothing.
   */
  readonly renew: Effect.Effect<void, SessionError>

  /** Ends this class's part of the session. The last part takes the session with it. */
  readonly logout: Effect.Effect<void, SessionError>

  /** Ends the session, with the parts of all classes. Data set afterwards start a new one. */
  readonly destroy: Effect.Effect<void, SessionError>

  /** Loads the session now, for handlers that can answer without it if the store fails. */
  readonly open: Effect.Effect<void, SessionError>

  /**
   * Carries out the changes now: before a stream, a WebSocket upgrade, or an effect
   * that must not happen unless the session is safe. Later changes fail with
   * `AlreadyCommitted`.
   */
  readonly commit: Effect.Effect<void, SessionError>

  /** What is left on each timeout; `none` where it is disabled, or where there is no session. */
  readonly timeLeft: Effect.Effect<TimeLeft>

  /** The session's public id, for lists, logs and revocation. None with cookie placement, and none before the first commit. */
  readonly handle: Effect.Effect<Option.Option<string>>

  /** Why the client has no session of this class, if it has none. For logs, not for clients. */
  readonly refusal: Effect.Effect<Option.Option<SessionState.Refusal>>
}

/**
 * What a session's holder does not send along: values that a server keeps beside a
 * session, under the names that its class gives them, and that change without a new
 * cookie. For the time of the last visit, an address, a counter.
 *
 * **Details**
 *
 * With server placement, of two requests that set different values at once both take
 * effect, and of the same value the last one wins. They are read from the store when
 * first asked for, and written when the response is ready. Values end with their
 * session, and with the logout of their class.
 *
 * With cookie placement they are part of the cookie, which changes with them, and the
 * data of the class must be an object.
 *
 * @category models
 * @since 0.1.0
 */
export interface InfoHandle<Values> {
  /** A value, with the changes of this request; none where it was not set, or does not fit its schema. */
  readonly get: <K extends keyof Values & string>(key: K) => Effect.Effect<Option.Option<Values[K]>>

  /** Sets a value. Where there is no session, it makes one. */
  readonly set: <K extends keyof Values & string>(key: K, value: Values[K]) => Effect.Effect<void, SessionError>

  /** Removes a value. */
  readonly remove: (key: keyof Values & string) => Effect.Effect<void, SessionError>
}

/**
 * What is left on each timeout of a session. `next` is the shortest of them.
 *
 * @category models
 * @since 0.1.0
 */
export interface TimeLeft {
  readonly idling: Option.Option<Duration.Duration>
  readonly rolling: Option.Option<Duration.Duration>
  readonly absolute: Option.Option<Duration.Duration>
  readonly next: Option.Option<Duration.Duration>
}

/**
 * What becomes of stored data that no longer fit the schema of their class:
 * given up (`"reset"`), a typed error (`"fail"`), or the answer of a function that
 * knows older shapes (`none` gives up).
 *
 * @category models
 * @since 0.1.0
 */
export type OnMismatch<Data> = "reset" | "fail" | ((stored: SessionState.Json) => Option.Option<Data>)

/**
 * How a value of the info store becomes JSON, and back.
 *
 * @category models
 * @since 0.1.0
 */
export interface InfoDefinition {
  readonly decode: (stored: SessionState.Json) => Effect.Effect<unknown, Schema.SchemaError>
  readonly encode: (value: unknown) => Effect.Effect<SessionState.Json, Schema.SchemaError>
}

/**
 * What a session class says of itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Definition<Data, Stored, Mismatch> {
  /** From the schema's canonical JSON form, which the cookie or the store holds. */
  readonly decode: (stored: SessionState.Json) => Effect.Effect<Data, Schema.SchemaError>
  /** To the schema's canonical JSON form. */
  readonly encode: (data: Data) => Effect.Effect<SessionState.Json, Schema.SchemaError>
  readonly audience: string | undefined
  /** The full name of the session cookie, prefix included, as an API description shows it. */
  readonly cookieName: string
  readonly fromStored: (data: Option.Option<Data>) => Stored
  readonly onMismatch: OnMismatch<Data>
  /** The values of the info store, each with its own name. */
  readonly info: { readonly [key: string]: InfoDefinition }
  /** Only a type: the errors of reading. */
  readonly Mismatch?: Mismatch
}

/**
 * The type of a session class.
 *
 * @category models
 * @since 0.1.0
 */
export interface Class<Self, Id extends string, Data, Stored, Mismatch, Values = {}>
  extends Context.ServiceClass<Self, Id, Handle<Data, Stored, Mismatch, Values>>
{
  readonly definition: Definition<Data, Stored, Mismatch>
}

/**
 * Any session class.
 *
 * @category models
 * @since 0.1.0
 */
export interface Any {
  readonly key: string
  readonly definition: Pick<Definition<never, unknown, unknown>, "audience" | "cookieName">
}

/**
 * The identifiers that session classes provide.
 *
 * @category utility types
 * @since 0.1.0
 */
export type Provides<Classes extends Any> = Classes extends Context.Key<infer Self, infer _Shape> ? Self : never

interface OptionsBase {
  /** Which part of a shared session is this class's; classes with different audiences share one cookie. The setting `audience` by default. */
  readonly audience?: string | undefined
  /** The full name of the session cookie, for API descriptions; `__Host-session` by default. Must be that of the configuration. */
  readonly cookieName?: string | undefined
}

type Migrate<Data> = Exclude<OnMismatch<Data>, string>

/** Where `M` is a function, one that yields the class's data. `M` alone does not say so: its bound cannot name them. */
interface Migrates<M, Data> {
  readonly onMismatch?: M extends string ? unknown : Migrate<Data> | undefined
}

/**
 * Defines a session class.
 *
 * **When to use**
 *
 * Use with a `class` declaration. Give `initial` where a session without data
 * makes sense, so that reading needs no `Option`.
 *
 * **Details**
 *
 * `data` is any schema without services. It is stored in its canonical JSON form,
 * so that dates, sets and classes come back as they were. The empty table of Lua
 * is both `{}` and `[]`: where a lua-resty-session wrote `{}` for an array, it is
 * read as one.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service = <Self>(): <
  const Id extends string,
  S extends Schema.Codec<unknown, unknown>,
  const M extends OnMismatch<unknown> = "reset",
  I extends S["Type"] | undefined = undefined,
  V extends { readonly [key: string]: Schema.Codec<unknown, unknown> } = {}
>(
  id: Id,
  options: OptionsBase & {
    readonly data: S
    readonly initial?: I
    /** Values to keep beside the data, each with its schema; see `InfoHandle`. */
    readonly info?: V | undefined
    readonly onMismatch?: M | Migrate<NoInfer<S["Type"]>> | undefined
  } & Migrates<M, NoInfer<S["Type"]>>
) => Class<
  Self,
  Id,
  S["Type"],
  [I] extends [undefined] ? Option.Option<S["Type"]> : S["Type"],
  M extends "fail" ? SessionDataError : never,
  { readonly [K in keyof V]: V[K]["Type"] }
> =>
<Id extends string>(
  id: Id,
  options: OptionsBase & {
    readonly data: Schema.Codec<unknown, unknown>
    readonly initial?: unknown
    readonly info?: { readonly [key: string]: Schema.Codec<unknown, unknown> } | undefined
    readonly onMismatch?: OnMismatch<unknown> | undefined
  }
) => {
  const codec = Schema.toCodecJson(options.data)
  const definition: Definition<unknown, unknown, never> = {
    decode: Schema.decodeUnknownEffect(codec, { errors: "all" }),
    encode: Schema.encodeUnknownEffect(codec),
    audience: options.audience,
    cookieName: options.cookieName ?? "__Host-session",
    fromStored: options.initial === undefined
      ? (data) => data
      : Option.getOrElse(() => options.initial),
    onMismatch: options.onMismatch ?? "reset",
    info: Record.map(options.info ?? {}, defineInfo)
  }
  const service = Context.Service<Self, Handle<unknown, unknown>>()(id)
  // The signature above tells the two kinds of class apart; here they are one.
  return Object.assign(service, { definition }) as never
}

const defineInfo = (schema: Schema.Codec<unknown, unknown>): InfoDefinition => {
  const codec = Schema.toCodecJson(schema)
  return { decode: Schema.decodeUnknownEffect(codec), encode: Schema.encodeUnknownEffect(codec) }
}

/**
 * The session, or a typed `SessionRequired` (a 401, if nobody handles it) where
 * the client has none of this class.
 *
 * **Example** (A page for customers)
 *
 * ```ts
 * import { Effect, Schema } from "effect"
 * import { HttpServerResponse } from "effect/http"
 * import * as Session from "effect-session/Session"
 *
 * class Account extends Session.Service<Account>()("shop/Account", {
 *   data: Schema.Struct({ name: Schema.String })
 * }) {}
 *
 * export const page = Effect.flatMap(Session.required(Account), (account) =>
 *   Effect.map(account.get, (data) => HttpServerResponse.jsonUnsafe(data)))
 * ```
 *
 * @category accessors
 * @since 0.1.0
 */
export const required = <Self, Id extends string, Data, Stored, Mismatch, Values>(
  session: Class<Self, Id, Data, Stored, Mismatch, Values>
): Effect.Effect<Handle<Data, Stored, Mismatch, Values>, SessionRequired, Self> =>
  session.use((handle) => Effect.as(mustExist(handle), handle))

const mustExist = (
  handle: { readonly refusal: Handle<never, never>["refusal"] }
): Effect.Effect<void, SessionRequired> =>
  Effect.flatMap(
    handle.refusal,
    Option.match({
      onNone: () => Effect.void,
      onSome: (refusal) => Effect.fail(new SessionRequired({ refusal }))
    })
  )

/**
 * `required` for a class that is only known to be some class.
 *
 * @internal
 */
export const requiredAny = (session: Any): Effect.Effect<void, SessionRequired> =>
  // The context of whoever runs this holds the handle: it was put there under the class's key.
  Effect.contextWith((context: Context.Context<never>) =>
    mustExist(context.mapUnsafe.get(session.key) as Handle<never, never>)
  )

class HandleImpl implements Handle<unknown, unknown, SessionDataError, { readonly [key: string]: unknown }> {
  readonly #exchange: Exchange
  readonly #id: string
  readonly #definition: Definition<unknown, unknown, unknown>
  readonly #audience: string

  constructor(exchange: Exchange, id: string, definition: Definition<unknown, unknown, unknown>) {
    this.#exchange = exchange
    this.#id = id
    this.#definition = definition
    this.#audience = definition.audience ?? exchange.engine.settings.audience
    if (this.#keepsInfo) exchange.keepsInfo = true
  }

  get #keepsInfo(): boolean {
    return Object.keys(this.#definition.info).length > 0
  }

  get #inCookie(): boolean {
    return this.#exchange.engine.placement._tag === "Cookie"
  }

  // Where the store fails, a read has no answer to give; see `Handle`.
  get #entry(): Effect.Effect<SessionState.Entry | undefined> {
    return Effect.suspend(() => Effect.orDie(Recording.entry(this.#exchange, this.#audience)))
  }

  get get(): Effect.Effect<unknown, SessionDataError> {
    return Effect.flatMap(this.#entry, (entry) => this.#stored(entry))
  }

  #stored(entry: SessionState.Entry | undefined): Effect.Effect<unknown, SessionDataError> {
    return entry === undefined
      ? Effect.sync(() => this.#definition.fromStored(Option.none()))
      : Effect.map(
        Mismatch.decode(this.#id, this.#definition, this.#inCookie ? Info.dataIn(entry.data) : entry.data),
        this.#definition.fromStored
      )
  }

  set(data: unknown): Effect.Effect<void, SessionError> {
    return Effect.flatMap(
      this.#encode(data),
      (data) => this.#modify((entry) => Effect.succeed(this.#withData(entry, data)))
    )
  }

  update(f: (data: unknown) => unknown): Effect.Effect<void, SessionError | SessionDataError> {
    return this.#modify((entry, before) =>
      this.#stored(before).pipe(
        Effect.mapError((cause) => new SessionError({ reason: new InvalidData({ session: this.#id, cause }) })),
        Effect.flatMap((data) => this.#encode(f(data))),
        Effect.map((data) => this.#withData(entry, data))
      )
    )
  }

  #withData(entry: SessionState.Entry, data: SessionState.Json): SessionState.Entry {
    return { ...entry, data: this.#inCookie ? Info.withData(entry.data, data) : data }
  }

  #encode(data: unknown): Effect.Effect<SessionState.Json, SessionError> {
    return Effect.mapError(
      this.#definition.encode(data),
      (cause) => new SessionError({ reason: new InvalidData({ session: this.#id, cause }) })
    )
  }

  #modify(
    f: (
      entry: SessionState.Entry,
      before: SessionState.Entry | undefined
    ) => Effect.Effect<SessionState.Entry, SessionError>
  ): Effect.Effect<void, SessionError> {
    const audience = this.#audience
    const fresh: SessionState.Entry = { audience, data: {}, subject: this.#exchange.engine.settings.subject }
    return Recording.modify(this.#exchange, { audience, kind: "Data", apply: (entry) => f(entry ?? fresh, entry) })
  }

  get exists(): Effect.Effect<boolean> {
    return Effect.map(this.#entry, (entry) => entry !== undefined)
  }

  get subject(): Effect.Effect<Option.Option<string>> {
    return Effect.map(this.#entry, (entry) => Option.fromUndefinedOr(entry?.subject))
  }

  login(subject: string, options?: { readonly remember?: boolean | undefined }): Effect.Effect<void, SessionError> {
    const login = Effect.andThen(this.setSubject(subject), this.renew)
    return options?.remember === undefined ? login : Effect.andThen(login, this.setRemember(options.remember))
  }

  setRemember(remember: boolean): Effect.Effect<void, SessionError> {
    return Recording.setRemember(this.#exchange, remember)
  }

  get info(): InfoHandle<{ readonly [key: string]: unknown }> {
    return {
      get: (key) =>
        Effect.flatMap(
          Effect.suspend(() => Effect.orDie(Info.get(this.#exchange, this.#audience, key))),
          (stored) => stored === undefined ? Effect.succeedNone : this.#decodeInfo(key, stored)
        ),
      set: (key, value) =>
        Effect.flatMap(
          this.#encodeInfo(key, value),
          (value) => Info.set(this.#exchange, this.#id, { audience: this.#audience, key, value })
        ),
      remove: (key) => Info.set(this.#exchange, this.#id, { audience: this.#audience, key, value: undefined })
    }
  }

  #decodeInfo(key: string, stored: SessionState.Json): Effect.Effect<Option.Option<unknown>> {
    const decoded = this.#definition.info[key]?.decode(stored)
    return decoded === undefined
      ? Effect.succeedNone
      : Effect.matchEffect(decoded, {
        onFailure: () => Effect.as(SessionEvents.emit({ _tag: "SessionReset", session: this.#id }), Option.none()),
        onSuccess: Effect.succeedSome
      })
  }

  #encodeInfo(key: string, value: unknown): Effect.Effect<SessionState.Json, SessionError> {
    const encoded = this.#definition.info[key]?.encode(value)
    return encoded === undefined
      // The types allow no other key than the class has.
      ? Effect.die(new TypeError(`${this.#id} has no info "${key}"`))
      : Effect.mapError(
        encoded,
        (cause) => new SessionError({ reason: new InvalidData({ session: this.#id, cause }) })
      )
  }

  setSubject(subject: string | undefined): Effect.Effect<void, SessionError> {
    return this.#modify((entry) => Effect.succeed({ ...entry, subject }))
  }

  get renew(): Effect.Effect<void, SessionError> {
    return Recording.renew(this.#exchange)
  }

  get logout(): Effect.Effect<void, SessionError> {
    const logout = Effect.suspend(() => Recording.logout(this.#exchange, this.#audience))
    return this.#keepsInfo ? Effect.andThen(Info.clear(this.#exchange, this.#audience), logout) : logout
  }

  get destroy(): Effect.Effect<void, SessionError> {
    return Recording.destroy(this.#exchange)
  }

  get open(): Effect.Effect<void, SessionError> {
    return Effect.asVoid(Effect.suspend(() => Recording.entry(this.#exchange, this.#audience)))
  }

  get commit(): Effect.Effect<void, SessionError> {
    return Effect.flatMap(
      commit(this.#exchange),
      ({ gone }) => gone ? fail(new Gone()) : Effect.void
    )
  }

  get timeLeft(): Effect.Effect<TimeLeft> {
    return Effect.flatMap(this.#entry, () =>
      Effect.map(seconds, (now) => {
        const header = headerOf(this.#exchange, now)
        const left = header && SessionState.timeLeft(header, this.#exchange.engine.settings, now)
        return {
          idling: duration(left?.idling),
          rolling: duration(left?.rolling),
          absolute: duration(left?.absolute),
          next: duration(left?.next)
        }
      }))
  }

  get handle(): Effect.Effect<Option.Option<string>> {
    return Effect.map(this.#entry, () => Option.fromUndefinedOr(this.#exchange.opened?.handle))
  }

  get refusal(): Effect.Effect<Option.Option<SessionState.Refusal>> {
    return Effect.map(
      this.#entry,
      (entry) => entry === undefined ? Option.some(this.#exchange.refusal ?? "MissingAudience") : Option.none()
    )
  }
}

const duration = (seconds: number | undefined): Option.Option<Duration.Duration> =>
  seconds === undefined ? Option.none() : Option.some(Duration.seconds(Math.max(0, seconds)))

/**
 * The handle of a session class on an exchange.
 *
 * @internal
 */
export const makeHandle = (exchange: Exchange, session: Any): Handle<never, unknown, unknown> =>
  // `Any` hides what the data are: only the class that they came from sees them again.
  new HandleImpl(exchange, session.key, session.definition as Definition<unknown, unknown, unknown>) as never
