/**
 * The port, as naive as can be: every version of either cookie that was ever made,
 * and what became of it. Each answer is found by looking through all of them.
 */
import { Effect } from "effect"
import { isMissing, missing } from "../../internal/peers.ts"
import type { SessionError } from "../../SessionError.ts"
import type { Content, IndexEntry, Listed, Port } from "../../SessionStore.ts"
import { assert, AssertionError } from "./assert.ts"
import type { Operation } from "./sequences.ts"
import { hex, loadInfo, randomBytes, saveInfo, show, showOutcome, start, toPlain } from "./sessions.ts"
import type { Shown } from "./sessions.ts"

type Cookie = "session" | "remember"

interface Made {
  readonly cookie: Cookie
  readonly key: string
  readonly handle: string
  readonly data: string
  readonly deadline: number
  readonly index: ReadonlyArray<IndexEntry>
  readonly createdAt: number
  readonly lastSeenAt: number
  readonly seen: boolean
  /** One that is lost belongs to a cookie that had expired before there was a new version: it may be reported, or not. */
  readonly fate: "current" | "superseded" | "dead" | "lost"
  readonly successor: string
  readonly graceEnds: number | undefined
}

type Model = ReadonlyArray<Made>

type New = Pick<Made, "cookie" | "createdAt" | "data" | "deadline" | "handle" | "index" | "key" | "lastSeenAt" | "seen">

const currentOf = (model: Model, handle: string, cookie: Cookie): Made | undefined =>
  model.find((made) => made.handle === handle && made.cookie === cookie && made.fate === "current")

/** Whether a cookie's versions can be found. */
const opens = (model: Model, handle: string, cookie: Cookie, now: number): boolean =>
  now <= (currentOf(model, handle, cookie)?.deadline ?? -1)

const lives = (model: Model, handle: string, now: number): boolean =>
  opens(model, handle, "session", now) || opens(model, handle, "remember", now)

const find = (model: Model, cookie: Cookie, key: string, now: number): Made | undefined =>
  model.find((made) =>
    made.cookie === cookie && made.key === key && made.fate !== "dead" && opens(model, made.handle, cookie, now)
  )

const load = (model: Model, cookie: Cookie, key: string, now: number): Shown => {
  const made = find(model, cookie, key, now)
  if (made === undefined) return undefined
  const { data, graceEnds, handle, seen, successor } = made
  return made.fate === "current"
    ? { _tag: "Current", handle, data, seen }
    : { _tag: "Superseded", handle, successor, graceEnds }
}

const write = (model: Model, cookie: Cookie, key: string, now: number): Shown | "Done" | "Gone" =>
  find(model, cookie, key, now)?.fate === "current" ? "Done" : load(model, cookie, key, now) ?? "Gone"

const isLost = (model: Model, key: string): boolean => model.some((made) => made.key === key && made.fate === "lost")

const kill = (model: Model, doomed: (made: Made) => boolean): Model =>
  model.map((made) => (doomed(made) ? { ...made, fate: "dead" } : made))

const begin = (version: New): Made => ({ ...version, fate: "current", successor: "", graceEnds: undefined })

const add = (model: Model, versions: ReadonlyArray<New>): Model => [
  ...model,
  ...versions.map(begin)
]

/** A version ends: as superseded if it has a successor. */
const end = (model: Model, old: Made | undefined, successor: string | undefined): Model =>
  model.map((made) =>
    made === old
      ? successor === undefined ? { ...made, fate: "dead" } : { ...made, fate: "superseded", successor }
      : made
  )

/** What an expired cookie had superseded, when a new version revives it. */
const lose = (model: Model, handle: string, cookie: Cookie, now: number): Model =>
  opens(model, handle, cookie, now) ?
    model :
    model.map((made) =>
      made.handle === handle && made.cookie === cookie && made.fate === "superseded" ? { ...made, fate: "lost" } : made
    )

const supersede = (
  model: Model,
  old: Made,
  versions: ReadonlyArray<New>,
  successor: string | undefined,
  replaces: { readonly key: string; readonly successor: string } | undefined,
  now: number
): Model => {
  const { handle } = old
  const remembered = currentOf(model, handle, "remember")
  const forwards = replaces && replaces.key === remembered?.key ? replaces.successor : undefined
  const brings = versions.some(({ cookie }) => cookie === "remember")
  const before = successor === undefined
    ? kill(model, (made) => made.handle === handle && made.fate !== "current")
    : brings
    ? lose(model, handle, "remember", now)
    : model
  const rest = end(before, currentOf(before, handle, "session"), successor)
  return add(
    brings || successor === undefined
      ? end(rest, currentOf(rest, handle, "remember"), forwards)
      : rest,
    versions
  )
}

const rescue = (
  model: Model,
  old: Made,
  versions: ReadonlyArray<New>,
  successor: string | undefined,
  now: number
): Model => {
  const before = successor === undefined
    ? kill(model, (made) => made.handle === old.handle && made.fate !== "current")
    : lose(model, old.handle, "session", now)
  const rest = end(before, currentOf(before, old.handle, "remember"), successor)
  return add(end(rest, currentOf(rest, old.handle, "session"), undefined), versions)
}

/** Somebody has presented the current version: what waited for that has so many seconds. */
const see = (model: Model, handle: string, seen: number, now: number): Model =>
  model.map((made) =>
    made.handle === handle && made.fate === "superseded" ? { ...made, graceEnds: made.graceEnds ?? now + seen } : made
  )

const touch = (
  model: Model,
  touched: Made,
  deadline: number | undefined,
  seen: number | undefined,
  now: number
): Model => {
  const touch = (made: Made): Made => (
    { ...made, lastSeenAt: now, deadline: deadline ?? made.deadline, seen: made.seen || seen !== undefined }
  )
  const before = seen === undefined ? model : see(model, touched.handle, seen, now)
  return before.map((made) => made === touched ? touch(made) : made)
}

const listedUnder = (model: Model, audience: string, subjects: ReadonlyArray<string>): Model =>
  model.filter(({ cookie, fate, index }) =>
    cookie === "session" && fate === "current" &&
    index.some((entry) => entry.audience === audience && subjects.includes(entry.subject))
  )

const toListed = (model: Model, made: Made): Listed =>
  toPlain({
    ...made,
    deadline: Math.max(made.deadline, currentOf(model, made.handle, "remember")?.deadline ?? made.deadline)
  })

const list = (model: Model, audience: string, subjects: ReadonlyArray<string>, now: number): ReadonlyArray<Listed> =>
  listedUnder(model, audience, subjects)
    .filter(({ handle }) => lives(model, handle, now))
    .map((made) => toListed(model, made))

const byAge = (one: Listed, other: Listed): number =>
  other.createdAt - one.createdAt || (one.handle < other.handle ? -1 : 1)

/** Without it, most sequences would begin with writes to nothing. */
const first: Operation = {
  _tag: "create",
  wait: 0,
  key: { age: -1, confused: false },
  handle: -1,
  ttl: 60,
  index: [0],
  remember: { ttl: 60, replaces: undefined, key: 0 }
}

/** Carries out the operations on both, and compares every answer, and everything that can be asked after each. */
const compare = Effect.fnUntraced(function*(port: Port, operations: ReadonlyArray<Operation>) {
  /** All that were ever named; a write that is refused leaves its own among them, which shall load nothing. */
  const named: Array<Uint8Array> = []
  /** Those of versions that were made, to refer to. */
  const keys: Record<Cookie, Array<Uint8Array>> = { session: [], remember: [] }
  const handles: Array<string> = []
  const audiences = [crypto.randomUUID(), crypto.randomUUID()] as const
  const subjects = ["alice", "bob"] as const
  const entries = audiences.flatMap((audience) => subjects.map((subject) => ({ audience, subject })))
  const infos = new Map<string, Readonly<Record<string, string>>>()
  let model: Model = []

  const recall = <A>(past: ReadonlyArray<A>, age: number): A | undefined =>
    age < 0 ? undefined : past[past.length - 1 - (age % past.length)]
  const freshKey = () => {
    const key = randomBytes()
    named.push(key)
    return key
  }
  const refer = (cookie: Cookie, { age, confused }: { readonly age: number; readonly confused: boolean }) =>
    recall(keys[(cookie === "session") === confused ? "remember" : "session"], age) ?? freshKey()
  const handleOf = (age: number) => recall(handles, age) ?? crypto.randomUUID()
  const content = (key: Uint8Array, ttl: number, now: number) => ({ key, data: randomBytes(8), deadline: now + ttl })
  const version = (key: Uint8Array, ttl: number, index: ReadonlyArray<number>, now: number) => ({
    ...content(key, ttl, now),
    latestDeadline: now + 1000,
    index: entries.filter((_, position) => index.includes(position)),
    seen: undefined
  })

  /** Notes the versions that a write has made. */
  const noted = (
    handle: string,
    { index, remember, ...session }: Parameters<Port["supersede"]>[1],
    createdAt: number,
    seen: boolean,
    now: number
  ): ReadonlyArray<New> => {
    keys.session.push(session.key)
    if (remember) keys.remember.push(remember.key)
    const note = (cookie: Cookie, { data, deadline, key }: Content) => ({
      cookie,
      handle,
      key: hex(key),
      data: hex(data),
      deadline,
      createdAt,
      lastSeenAt: now,
      index,
      seen
    })
    return [note("session", session), ...(remember ? [{ ...note("remember", remember), seen: true, index: [] }] : [])]
  }

  const forget = (doomed: (handle: string) => boolean) => {
    model = kill(model, ({ handle }) => doomed(handle))
    for (const handle of infos.keys()) if (doomed(handle)) infos.delete(handle)
  }

  const carryOut = Effect.fnUntraced(function*(operation: Operation, now: number) {
    switch (operation._tag) {
      case "create": {
        const { remember } = operation
        const made = {
          ...version(refer("session", operation.key), operation.ttl, operation.index, now),
          remember: remember && { ...content(freshKey(), remember.ttl, now), replaces: undefined }
        }
        const handle = handleOf(operation.handle)
        const taken = model.filter((other) =>
          other.fate !== "dead" && (other.handle === handle || other.key === hex(made.key))
        )
        const certain = taken.some((other) =>
          other.handle === handle
            ? lives(model, handle, now)
            : other.fate !== "lost" && opens(model, other.handle, other.cookie, now)
        )
        // What has expired may collide, or not.
        if (taken.length > 0 && !certain) return
        assert.strictEqual(
          yield* port.create({ ...made, handle, createdAt: now }, now),
          certain ? "Collision" : "Created"
        )
        if (certain) return
        handles.push(handle)
        model = add(model, noted(handle, made, now, true, now))
        break
      }
      case "supersede": {
        const old = refer("session", operation.key)
        if (isLost(model, hex(old))) return
        const { remember } = operation
        const found = find(model, "session", hex(old), now)
        const remembered = found && currentOf(model, found.handle, "remember")
        const replaced = remember?.replaces === "another"
          ? hex(refer("remember", { age: remember.key, confused: false }))
          : remember?.replaces && remembered?.key
        // One that has expired is as good as gone, and so may be another than the session's.
        const expired = replaced === remembered?.key && now > (remembered?.deadline ?? now)
        const replaces = replaced === undefined || expired
          ? undefined
          : { key: Buffer.from(replaced, "hex"), successor: randomBytes(16) }
        const made = {
          ...version(freshKey(), operation.ttl, operation.index, now),
          remember: remember && { ...content(freshKey(), remember.ttl, now), replaces },
          seen: operation.seen
        }
        const successor = operation.renew ? undefined : randomBytes(16)
        const answer = showOutcome(yield* port.supersede(old, made, successor, now))
        assert.deepStrictEqual(answer, write(model, "session", hex(old), now))
        if (found?.fate !== "current") return
        model = supersede(
          operation.seen === undefined ? model : see(model, found.handle, operation.seen, now),
          found,
          noted(found.handle, made, found.createdAt, operation.renew, now),
          successor && hex(successor),
          replaces && { key: hex(replaces.key), successor: hex(replaces.successor) },
          now
        )
        break
      }
      case "rescue": {
        const old = refer("remember", operation.key)
        if (isLost(model, hex(old))) return
        const found = find(model, "remember", hex(old), now)
        const made = {
          ...version(freshKey(), operation.ttl, operation.index, now),
          remember: { ...content(freshKey(), operation.remember, now), replaces: undefined },
          createdAt: now - 1
        }
        const successor = operation.renew ? undefined : randomBytes(16)
        const answer = showOutcome(yield* port.rescue(old, made, successor, now))
        assert.deepStrictEqual(answer, write(model, "remember", hex(old), now))
        if (found?.fate !== "current") return
        model = rescue(
          model,
          found,
          noted(found.handle, made, made.createdAt, operation.renew, now),
          successor && hex(successor),
          now
        )
        break
      }
      case "touch": {
        const key = refer("session", operation.key)
        if (isLost(model, hex(key))) return
        const { seen, ttl } = operation
        const deadline = ttl === undefined ? undefined : now + ttl
        const answer = showOutcome(yield* port.touch(key, { deadline, seen }, now))
        assert.deepStrictEqual(answer, write(model, "session", hex(key), now))
        const found = find(model, "session", hex(key), now)
        if (found?.fate === "current") model = touch(model, found, deadline, seen, now)
        break
      }
      case "saveInfo": {
        const handle = handleOf(operation.handle)
        const set = Object.fromEntries(operation.set.map((name) => [name, crypto.randomUUID()]))
        const remove = operation.remove.filter((name) => !operation.set.includes(name))
        const alive = lives(model, handle, now)
        assert.strictEqual(yield* saveInfo(port, handle, set, remove, now), alive ? "Saved" : "Gone")
        if (!alive) return
        const kept = Object.entries(infos.get(handle) ?? {}).filter(([name]) => !remove.includes(name))
        infos.set(handle, { ...Object.fromEntries(kept), ...set })
        break
      }
      case "revoke": {
        const handle = handleOf(operation.handle)
        const was = yield* port.revoke(handle)
        // What has expired may be gone already, or not.
        if (lives(model, handle, now)) assert.isTrue(was)
        if (currentOf(model, handle, "session") === undefined) assert.isFalse(was)
        forget((doomed) => doomed === handle)
        break
      }
      case "revokeAll": {
        const audience = audiences[operation.audience] ?? audiences[0]
        const spelled = subjects.filter((_, position) => operation.subjects.includes(position))
        const except = operation.except === undefined ? undefined : handleOf(operation.except)
        const count = yield* port.revokeAll(audience, spelled, except)
        const doomed = listedUnder(model, audience, spelled).filter(({ handle }) => handle !== except)
        assert.isAtLeast(count, doomed.filter(({ handle }) => lives(model, handle, now)).length)
        assert.isAtMost(count, doomed.length)
        forget((handle) => doomed.some((made) => made.handle === handle))
        break
      }
    }
  })

  const lookAtAll = Effect.fnUntraced(function*(now: number) {
    for (const audience of audiences) {
      for (const spelled of [[], ["alice"], ["bob"], ["alice", "bob"]]) {
        const listed = (yield* port.list(audience, spelled, now)).map(toPlain)
        assert.deepStrictEqual(listed, listed.toSorted((one, other) => other.createdAt - one.createdAt))
        // No order is promised among those of one second.
        assert.deepStrictEqual(
          listed.toSorted(byAge),
          list(model, audience, spelled, now).toSorted(byAge)
        )
      }
    }
    for (const key of named) {
      if (isLost(model, hex(key))) continue
      assert.deepStrictEqual(show(yield* port.load(key, now)), load(model, "session", hex(key), now))
      assert.deepStrictEqual(show(yield* port.loadRemember(key, now)), load(model, "remember", hex(key), now))
    }
    for (const handle of handles) {
      const expected = lives(model, handle, now) ? infos.get(handle) ?? {} : {}
      assert.deepStrictEqual(yield* loadInfo(port, handle, now), expected)
    }
  })

  let now = start
  for (const operation of [first, ...operations]) {
    now += operation.wait
    yield* carryOut(operation, now)
    yield* lookAtAll(now)
  }
})

/** Loaded when it runs, so that whoever leaves this check out needs no fast-check. */
const loadSequences = Effect.catchDefect(
  Effect.promise(() => import("./sequences.ts")),
  (defect) => Effect.die(isMissing(defect, "fast-check") ? new Error(missing("fast-check"), { cause: defect }) : defect)
)

/** Fails with a shortest sequence of operations on which the port and the model disagree. */
export const agreesWithModel = (port: Port): Effect.Effect<void, SessionError> =>
  loadSequences.pipe(
    Effect.flatMap(({ search }) =>
      Effect.promise(() => search((sequence) => Effect.runPromise(compare(port, sequence))))
    ),
    Effect.map((found) => {
      if (found === undefined) return
      if (!(found.error instanceof AssertionError)) throw found.error
      assert.fail(found.report)
    })
  )
