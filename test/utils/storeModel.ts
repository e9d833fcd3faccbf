/**
 * The port, as naive as can be: every version that was ever made, and what became
 * of it. Each answer is found by looking through all of them.
 */
import { Effect } from "effect"
import * as fc from "fast-check"
import type { SessionError } from "../../src/SessionError.ts"
import type { IndexEntry, Listed, Port } from "../../src/SessionStore.ts"
import { assert, AssertionError } from "./storeAssert.ts"
import { hex, randomBytes, show, showOutcome, start, toPlain } from "./storeSessions.ts"
import type { Shown } from "./storeSessions.ts"

interface Made {
  readonly key: string
  readonly handle: string
  readonly data: string
  readonly deadline: number
  readonly index: ReadonlyArray<IndexEntry>
  readonly createdAt: number
  readonly lastSeenAt: number
  readonly seen: boolean
  readonly fate: "current" | "superseded" | "dead"
  readonly successor: string
  readonly graceEnds: number | undefined
}

type Model = ReadonlyArray<Made>

type New = Pick<Made, "data" | "deadline" | "handle" | "index" | "key">

const lives = (model: Model, handle: string, now: number): boolean =>
  model.some((made) => made.handle === handle && made.fate === "current" && now <= made.deadline)

const find = (model: Model, key: string, now: number): Made | undefined =>
  model.find((made) => made.key === key && made.fate !== "dead" && lives(model, made.handle, now))

const load = (model: Model, key: string, now: number): Shown => {
  const made = find(model, key, now)
  if (made === undefined) return undefined
  const { data, graceEnds, handle, seen, successor } = made
  return made.fate === "current"
    ? { _tag: "Current", handle, data, seen }
    : { _tag: "Superseded", handle, successor, graceEnds }
}

const kill = (model: Model, doomed: (made: Made) => boolean): Model =>
  model.map((made) => (doomed(made) ? { ...made, fate: "dead" } : made))

const add = (model: Model, version: New, createdAt: number, seen: boolean, now: number): Model => [
  ...model,
  { ...version, createdAt, lastSeenAt: now, seen, fate: "current", successor: "", graceEnds: undefined }
]

const supersede = (model: Model, old: Made, version: New, successor: string | undefined, now: number): Model =>
  add(
    successor === undefined
      ? kill(model, ({ handle }) => handle === old.handle)
      : model.map((made) => (made === old ? { ...made, fate: "superseded", successor } : made)),
    version,
    old.createdAt,
    successor === undefined,
    now
  )

const touch = (
  model: Model,
  touched: Made,
  deadline: number | undefined,
  seen: number | undefined,
  now: number
): Model =>
  model.map((made) => {
    if (made === touched) {
      return { ...made, lastSeenAt: now, deadline: deadline ?? made.deadline, seen: made.seen || seen !== undefined }
    }
    return seen !== undefined && made.handle === touched.handle && made.fate === "superseded"
      ? { ...made, graceEnds: made.graceEnds ?? now + seen }
      : made
  })

const listedUnder = (model: Model, audience: string, subjects: ReadonlyArray<string>): Model =>
  model.filter(({ fate, index }) =>
    fate === "current" && index.some((entry) => entry.audience === audience && subjects.includes(entry.subject))
  )

const byAge = (one: Listed, other: Listed): number =>
  other.createdAt - one.createdAt || (one.handle < other.handle ? -1 : 1)

/** A number of a past key or handle, 0 for the newest; one past the oldest is a fresh one. */
const reference = fc.oneof({ weight: 3, arbitrary: fc.nat({ max: 2 }) }, { weight: 1, arbitrary: fc.nat({ max: 12 }) })
const ttl = fc.constantFrom(0, 4, 20, 60, 60)
const wait = fc.constantFrom(0, 0, 1, 2, 6)
const renew = fc.constantFrom(true, false, false, false)
const index = fc.subarray([0, 1, 2, 3])

const operations = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ _tag: fc.constant("create"), wait, key: reference, handle: reference, ttl, index })
    },
    {
      weight: 5,
      arbitrary: fc.record({ _tag: fc.constant("supersede"), wait, key: reference, renew, ttl, index })
    },
    {
      weight: 4,
      arbitrary: fc.record({
        _tag: fc.constant("touch"),
        wait,
        key: reference,
        ttl: fc.option(ttl, { nil: undefined }),
        seen: fc.option(fc.nat({ max: 5 }), { nil: undefined })
      })
    },
    { weight: 1, arbitrary: fc.record({ _tag: fc.constant("revoke"), wait, handle: reference }) },
    {
      weight: 1,
      arbitrary: fc.record({
        _tag: fc.constant("revokeAll"),
        wait,
        audience: fc.nat({ max: 1 }),
        subjects: fc.subarray([0, 1]),
        except: fc.option(reference, { nil: undefined })
      })
    }
  ),
  { minLength: 1, maxLength: 25, size: "max" }
)

type Operation = typeof operations extends fc.Arbitrary<Array<infer A>> ? A : never

/** Carries out the operations on both, and compares every answer, and everything that can be asked after each. */
const compare = Effect.fnUntraced(function*(port: Port, operations: ReadonlyArray<Operation>) {
  /** All that were ever named; a write that is refused leaves its own among them, which shall load nothing. */
  const named: Array<Uint8Array> = []
  /** Those of versions that were made, to refer to. */
  const keys: Array<Uint8Array> = []
  const handles: Array<string> = []
  const audiences = [crypto.randomUUID(), crypto.randomUUID()] as const
  const subjects = ["alice", "bob"] as const
  const entries = audiences.flatMap((audience) => subjects.map((subject) => ({ audience, subject })))
  let model: Model = []

  const recall = <A>(past: ReadonlyArray<A>, age: number): A | undefined =>
    past[past.length - 1 - (age % (past.length + 1))]
  const freshKey = () => {
    const key = randomBytes()
    named.push(key)
    return key
  }
  const keyOf = (age: number) => recall(keys, age) ?? freshKey()
  const handleOf = (age: number) => recall(handles, age) ?? crypto.randomUUID()
  const content = (key: Uint8Array, ttl: number, index: ReadonlyArray<number>, now: number) => ({
    key,
    data: randomBytes(8),
    deadline: now + ttl,
    latestDeadline: now + 1000,
    index: entries.filter((_, position) => index.includes(position)),
    remember: undefined
  })

  const carryOut = Effect.fnUntraced(function*(operation: Operation, now: number) {
    switch (operation._tag) {
      case "create": {
        const version = content(keyOf(operation.key), operation.ttl, operation.index, now)
        const handle = handleOf(operation.handle)
        const taken = model.filter((made) =>
          made.fate !== "dead" && (made.handle === handle || made.key === hex(version.key))
        )
        // What has expired may collide, or not.
        if (taken.some((made) => !lives(model, made.handle, now))) return
        assert.strictEqual(
          yield* port.create({ ...version, handle, createdAt: now }, now),
          taken.length === 0 ? "Created" : "Collision"
        )
        if (taken.length > 0) return
        keys.push(version.key)
        handles.push(handle)
        model = add(model, { ...version, key: hex(version.key), data: hex(version.data), handle }, now, true, now)
        break
      }
      case "supersede": {
        const old = keyOf(operation.key)
        const version = content(freshKey(), operation.ttl, operation.index, now)
        const successor = operation.renew ? undefined : randomBytes(16)
        const answer = showOutcome(yield* port.supersede(old, version, successor, now))
        const made = find(model, hex(old), now)
        assert.deepStrictEqual(answer, made?.fate === "current" ? "Done" : load(model, hex(old), now) ?? "Gone")
        if (made?.fate !== "current") return
        keys.push(version.key)
        model = supersede(
          model,
          made,
          { ...version, key: hex(version.key), data: hex(version.data), handle: made.handle },
          successor && hex(successor),
          now
        )
        break
      }
      case "touch": {
        const key = keyOf(operation.key)
        const { seen, ttl } = operation
        const deadline = ttl === undefined ? undefined : now + ttl
        const answer = showOutcome(yield* port.touch(key, { deadline, seen }, now))
        const made = find(model, hex(key), now)
        assert.deepStrictEqual(answer, made?.fate === "current" ? "Done" : load(model, hex(key), now) ?? "Gone")
        if (made?.fate === "current") model = touch(model, made, deadline, seen, now)
        break
      }
      case "revoke": {
        const handle = handleOf(operation.handle)
        const was = yield* port.revoke(handle)
        // What has expired may be gone already, or not.
        if (lives(model, handle, now)) assert.isTrue(was)
        if (!model.some((made) => made.handle === handle && made.fate === "current")) assert.isFalse(was)
        model = kill(model, (made) => made.handle === handle)
        break
      }
      case "revokeAll": {
        const audience = audiences[operation.audience] ?? audiences[0]
        const spelled = subjects.filter((_, position) => operation.subjects.includes(position))
        const except = operation.except === undefined ? undefined : handleOf(operation.except)
        const count = yield* port.revokeAll(audience, spelled, except)
        const doomed = listedUnder(model, audience, spelled).filter(({ handle }) => handle !== except)
        assert.isAtLeast(count, doomed.filter(({ deadline }) => now <= deadline).length)
        assert.isAtMost(count, doomed.length)
        model = kill(model, (made) => doomed.some(({ handle }) => handle === made.handle))
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
          listedUnder(model, audience, spelled)
            .filter(({ deadline }) => now <= deadline)
            .map(toPlain)
            .toSorted(byAge)
        )
      }
    }
    for (const key of named) assert.deepStrictEqual(show(yield* port.load(key, now)), load(model, hex(key), now))
  })

  let now = start
  for (const operation of operations) {
    now += operation.wait
    yield* carryOut(operation, now)
    yield* lookAtAll(now)
  }
})

/** Fails with a shortest sequence of operations on which the port and the model disagree. */
export const agreesWithModel = (port: Port): Effect.Effect<void, SessionError> =>
  Effect.flatMap(
    Effect.promise(() =>
      fc.check(fc.asyncProperty(operations, (sequence) => Effect.runPromise(compare(port, sequence))), { numRuns: 100 })
    ),
    (details) =>
      Effect.sync(() => {
        if (!details.failed) return
        if (!(details.errorInstance instanceof AssertionError)) throw details.errorInstance
        assert.fail(fc.defaultReportMessage(details))
      })
  )
