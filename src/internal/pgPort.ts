/**
 * The port over Postgres: one statement and one round trip per operation, or for all
 * of a kind that begin at once, and a second one where somebody else was quicker.
 */
import { Array, Context, Effect, Predicate, References, Schedule, Tracer } from "effect"
import { SqlError } from "effect/sql"
import type { SqlClient } from "effect/sql"
import { SessionError, StoreFailed } from "../SessionError.ts"
import type { Current, Info, Listed, Port, Remembered, Superseded, Version } from "../SessionStore.ts"
import { batched } from "./batch.ts"
import { type Names, statements } from "./pgStatements.ts"

interface LoadedRow {
  readonly handle: string
  /** Of a current version; `null` in a superseded one. */
  readonly data: Uint8Array
  readonly seen: boolean
  readonly successor: Uint8Array | null
  readonly grace_ends: number | null
}

interface ListedRow {
  readonly handle: string
  readonly created_at: number
  readonly last_seen_at: number
  readonly deadline: number
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** Whether a session can have this handle. Anything else is not asked for: Postgres would fail the statement. */
export const isHandle = (handle: string): boolean => uuid.test(handle)

const toRow = ([row]: ReadonlyArray<LoadedRow>): Current | Superseded | undefined =>
  row && (row.successor === null
    ? { _tag: "Current", handle: row.handle, data: row.data, seen: row.seen }
    : { _tag: "Superseded", handle: row.handle, successor: row.successor, graceEnds: row.grace_ends ?? undefined })

const toListed = (row: ListedRow): Listed => ({
  handle: row.handle,
  createdAt: row.created_at,
  lastSeenAt: row.last_seen_at,
  deadline: row.deadline
})

const done = { _tag: "Done" } as const
const gone = { _tag: "Gone" } as const

/** Postgres rolled the statement back, or it was never sent for want of a connection. */
const neverHappened = ({ reason }: SqlError.SqlError): boolean =>
  reason._tag === "SerializationError" || reason._tag === "DeadlockError" ||
  (reason.operation === "connect" && reason._tag !== "AuthenticationError")

/** What was only read may be read again, even if the connection broke while nobody knows how far it got. */
export const harmless = (error: SqlError.SqlError): boolean =>
  neverHappened(error) || error.reason._tag === "ConnectionError"

/**
 * Whether each write of a batch may be done alone after the batch has failed: where Postgres says that it wrote nothing. An
 * error ends a transaction; what ends the connection, too, may come when it is committed.
 */
const wroteNothing = ({ reason }: SessionError): boolean =>
  reason._tag === "StoreFailed" && SqlError.isSqlError(reason.cause) &&
  (neverHappened(reason.cause) || severity(reason.cause.reason.cause) === "ERROR")

/** As the protocol names it, whatever language the server speaks. */
const severity = (cause: unknown): unknown =>
  Predicate.hasProperty(cause, "severityUnlocalized") ? cause.severityUnlocalized : undefined

const never = () => false

export const failed = (operation: StoreFailed["operation"], cause: unknown): Effect.Effect<never, SessionError> =>
  Effect.fail(new SessionError({ reason: new StoreFailed({ operation, cause }) }))

const firstDelay = "20 millis"

// For what is over in a moment. An outage is the caller's to wait for, or not.
const backoff = { schedule: Schedule.jittered(Schedule.exponential("40 millis")), times: 2 }

// A rollback of the caller's transaction would undo what the store has acknowledged.
const outside = (sql: SqlClient.SqlClient) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    Context.getOrUndefined(fiber.context, sql.transactionService) === undefined
      ? effect
      : Effect.updateContext(effect, (context: Context.Context<R>) =>
        // Nothing that runs a statement asks for the transaction: it joins one that is there.
        Context.omit(sql.transactionService)(context) as Context.Context<R>)
  )

/** Without the driver's spans where no tracer was set: nobody would see them, and they cost as much as the statement. */
const traced = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    fiber.context.mapUnsafe.has(Tracer.Tracer.key)
      ? effect
      : Effect.provideService(effect, References.TracerEnabled, false)
  )

const attempted = <A>(
  effect: Effect.Effect<A, SqlError.SqlError>,
  operation: StoreFailed["operation"],
  retryable: (error: SqlError.SqlError) => boolean
): Effect.Effect<A, SessionError> =>
  Effect.catch(effect, (cause) =>
    retryable(cause)
      // Outside of this branch, a schedule would cost more than the rest of a statement that succeeds.
      ? Effect.delay(Effect.retry(effect, { ...backoff, while: retryable }), firstDelay).pipe(
        Effect.catch((cause) => failed(operation, cause))
      )
      : failed(operation, cause))

/**
 * Runs statements as a store has to: outside of any transaction of the caller's,
 * again where that is safe, and with a typed error.
 */
export const runner = (client: SqlClient.SqlClient) => {
  const sql = client.withoutTransforms()
  const alone = outside(sql)
  return <Row extends object>(
    operation: StoreFailed["operation"],
    text: string,
    params: ReadonlyArray<unknown>,
    retryable = neverHappened
  ): Effect.Effect<ReadonlyArray<Row>, SessionError> =>
    attempted(traced(alone(sql.unsafe<Row>(text, params))), operation, retryable)
}

/** Runs several statements in a transaction of their own, as `runner` runs one. */
export const transactor = (client: SqlClient.SqlClient) => {
  const sql = client.withoutTransforms()
  const alone = outside(sql)
  return <A>(
    operation: StoreFailed["operation"],
    body: (sql: SqlClient.SqlClient) => Effect.Effect<A, SqlError.SqlError>
  ): Effect.Effect<A, SessionError> =>
    attempted(alone(sql.withTransaction(Effect.suspend(() => body(sql)))), operation, neverHappened)
}

export const make = (client: SqlClient.SqlClient, reads: SqlClient.SqlClient, names: Names): Port => {
  const run = runner(client)
  const read = runner(reads)
  const text = statements(names)

  const loadAlone = (operation: "load" | "loadRemember") => (key: Uint8Array, now: number) =>
    read<LoadedRow>(operation, text[operation], [key, now], harmless)

  const replaceAlone = (replacement: Replacement, now: number) =>
    run("supersede", text.replace, replaceParameters(replacement, now))

  const touchAlone = ({ deadline, key, seen }: Touched, now: number) => {
    const parameters = [key, now, deadline ?? null]
    return seen === undefined
      ? run("touch", text.touch, parameters)
      : run("touch", text.see, [...parameters, seen])
  }

  const batches = {
    load: batched({
      all: several<Uint8Array, LoadedRow & Numbered>(read, "load", text.loadAll, (keys, now) => [keys, now]),
      alone: loadAlone("load"),
      isRepeatable: () => true
    }),
    replace: batched({
      all: several(run, "supersede", text.replaceAll, replaceAllParameters),
      alone: replaceAlone,
      isRepeatable: wroteNothing
    }),
    touch: batched({
      all: several(run, "touch", text.touchAll, touchAllParameters),
      alone: touchAlone,
      isRepeatable: wroteNothing
    })
  }

  const load: Port["load"] = (key, now) => Effect.map(batches.load(key, now), toRow)
  const loadRemember: Port["load"] = (key, now) => Effect.map(loadAlone("loadRemember")(key, now), toRow)

  /**
   * Where no row was written: what stands there instead. A second statement, because
   * the first one does not see what the racer it waited for has written.
   */
  const settle = (
    operation: "rescue" | "supersede" | "touch",
    [write, ...later]: Attempts,
    key: Uint8Array,
    now: number
  ): Effect.Effect<typeof done | typeof gone | Superseded, SessionError> =>
    Effect.flatMap(
      write,
      (rows) =>
        rows.length > 0 ?
          Effect.succeed(done) :
          Effect.flatMap((operation === "rescue" ? loadRemember : load)(key, now), (row) => {
            if (row?._tag !== "Current") return Effect.succeed(row ?? gone)
            // Somebody whose clock is behind touched what had just expired, or a save came before a rescue; or a batch did
            // not wait for somebody who holds the row.
            return Array.isReadonlyArrayNonEmpty(later)
              ? settle(operation, later, key, now)
              : failed(operation, new Error("The row was not written"))
          })
    )

  return {
    load,

    loadRemember,

    create: (version, now) =>
      Effect.map(
        run("create", text.create, [
          version.handle,
          version.key,
          version.data,
          version.deadline,
          version.createdAt,
          now,
          ...entryColumns(version),
          ...rememberColumns(version.remember)
        ]),
        (rows) => rows.length > 0 ? "Created" : "Collision"
      ),

    supersede: (old, version, successor, now) => {
      if (successor === undefined) {
        return settle(
          "supersede",
          attempts(run("supersede", text.renew, supersedeParameters(old, version, now))),
          old,
          now
        )
      }
      const replacement = { old, version, successor }
      const alone = Effect.suspend(() => replaceAlone(replacement, now))
      return settle(
        "supersede",
        version.remember === undefined ? attempts(batches.replace(replacement, now), alone) : attempts(alone),
        old,
        now
      )
    },

    rescue: (old, version, successor, now) => {
      const params = [old, ...versionColumns(version, now), version.createdAt]
      return settle(
        "rescue",
        attempts(
          successor === undefined
            ? run("rescue", text.rescueAndRenew, params)
            : run("rescue", text.rescue, [...params, successor])
        ),
        old,
        now
      )
    },

    touch: (key, touch, now) => {
      const touched = { key, ...touch }
      return settle(
        "touch",
        attempts(batches.touch(touched, now), Effect.suspend(() => touchAlone(touched, now))),
        key,
        now
      )
    },

    revoke: (handle) =>
      isHandle(handle)
        ? Effect.map(run("revoke", text.revoke, [handle]), (rows) => rows.length > 0)
        : Effect.succeed(false),

    loadInfo: ({ handle }, now) =>
      isHandle(handle)
        ? read<Info>("loadInfo", text.loadInfo, [handle, now], harmless)
        : Effect.succeed([]),

    saveInfo: ({ handle }, { remove, set }, now) => {
      // Postgres refuses to write one row twice in a statement.
      const values = new Map(set.map(({ name, value }) => [name, value]))
      return isHandle(handle)
        ? Effect.map(
          run("saveInfo", text.saveInfo, [
            handle,
            now,
            [...values.keys()],
            [...values.values()],
            remove.filter((name) => !values.has(name))
          ]),
          (rows) => rows.length > 0 ? "Saved" : "Gone"
        )
        : Effect.succeed("Gone")
    },

    list: (audience, subjects, now) =>
      Effect.map(
        run<ListedRow>("list", text.list, [audience, subjects, now], harmless),
        (rows) => rows.map(toListed)
      ),

    revokeAll: (audience, subjects, except) =>
      Effect.map(
        run("revokeAll", text.revokeAll, [
          audience,
          subjects,
          except === undefined || !isHandle(except) ? null : except
        ]),
        (rows) => rows.length
      )
  }
}

type Columns = ReadonlyArray<unknown>

type Write = Effect.Effect<ReadonlyArray<object>, SessionError>
type Attempts = Array.NonEmptyReadonlyArray<Write>

const attempts = (write: Write, again = write): Attempts => [write, again, again, again]

interface Replacement {
  readonly old: Uint8Array
  readonly version: Version
  readonly successor: Uint8Array
}

interface Touched {
  readonly key: Uint8Array
  readonly deadline: number | undefined
  readonly seen: number | undefined
}

interface Numbered {
  /** Of the parameter that the row belongs to, from 1. */
  readonly position: number
}

/** Runs a statement with rows of parameters, and sorts its rows by the parameters that they belong to. */
const several = <In, Row extends Numbered = Numbered>(
  run: ReturnType<typeof runner>,
  operation: StoreFailed["operation"],
  text: string,
  parameters: (inputs: ReadonlyArray<In>, now: number) => Columns
) =>
(inputs: ReadonlyArray<In>, now: number): Effect.Effect<ReadonlyArray<ReadonlyArray<Row>>, SessionError> =>
  Effect.map(run<Row>(operation, text, parameters(inputs, now), never), (rows) => {
    const sorted = inputs.map((): Array<Row> => [])
    for (const row of rows) sorted[row.position - 1]?.push(row)
    return sorted
  })

const entryColumns = ({ index }: Version): Columns => [
  index.map(({ audience }) => audience),
  index.map(({ subject }) => subject)
]

const rememberColumns = (remember: Remembered | undefined): Columns => [
  remember?.key ?? null,
  remember?.data ?? null,
  remember?.deadline ?? null
]

const versionColumns = (version: Version, now: number): Columns => [
  version.key,
  version.data,
  version.deadline,
  now,
  ...entryColumns(version),
  ...rememberColumns(version.remember)
]

const supersedeParameters = (old: Uint8Array, version: Version, now: number): Columns => [
  old,
  ...versionColumns(version, now),
  version.remember?.replaces?.key ?? null,
  version.remember?.replaces?.successor ?? null
]

const replaceParameters = ({ old, successor, version }: Replacement, now: number): Columns => [
  ...supersedeParameters(old, version, now),
  successor,
  version.seen ?? null
]

const replaceAllParameters = (replacements: ReadonlyArray<Replacement>, now: number): Columns => {
  const entries = replacements.flatMap(({ version: { index } }, number) =>
    index.map(({ audience, subject }) => ({ audience, subject, position: number + 1 }))
  )
  return [
    replacements.map(({ old }) => old),
    replacements.map(({ version }) => version.key),
    replacements.map(({ version }) => version.data),
    replacements.map(({ version }) => version.deadline),
    now,
    replacements.map(({ successor }) => successor),
    replacements.map(({ version: { seen = -1 } }) => seen),
    entries.map(({ audience }) => audience),
    entries.map(({ subject }) => subject),
    entries.map(({ position }) => position)
  ]
}

const touchAllParameters = (touched: ReadonlyArray<Touched>, now: number): Columns => [
  touched.map(({ key }) => key),
  now,
  touched.map(({ deadline = -1 }) => deadline),
  touched.map(({ seen = -1 }) => seen)
]
