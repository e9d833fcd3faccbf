import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Memory from "../src/internal/memory.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionState from "../src/SessionState.ts"
import * as SessionStore from "../src/SessionStore.ts"
import { replay, type Replayed } from "./utils/replay.ts"
import { differences, type Step, steps } from "./utils/vectors.ts"

const recorded = steps(SessionConfig.lua)

const scenarios = Object.entries(Object.groupBy(recorded, ({ name }) => name.slice(0, name.indexOf(":"))))
  .map(([name, steps = []]) => ({ name, steps }))

/** Deflate may find another way to say the same: names and attributes are equal, and so are times and sizes. */
const attributesOf = (setCookie: string): string => setCookie.replace(/=[^;]*/, (value) => value === "=" ? value : "=…")

const isDeflated = ({ meta }: Step): boolean => ((meta?.flags ?? 0) & SessionState.Flag.Deflate) !== 0

const assertVerdict = (step: Step, { entry }: Replayed) => {
  const difference = differences.find((difference) => difference.case === step.name)
  if (difference !== undefined) {
    return assert.strictEqual(typeof entry === "string" ? entry : "opens", difference.ours, step.name)
  }
  if (step.exists !== true) {
    if (typeof entry !== "string") return assert.fail(`${step.name} opened, against: ${step.error}`)
    const text = SessionState.refusals[entry]
    assert.isTrue(step.error === text || step.error?.startsWith(`${text} (`), `${step.name}: ${text}`)
    return
  }
  assert.notStrictEqual(typeof entry, "string", `${step.name}: ${entry}`)
}

/** Cookies that only a call of the reference's API sets, and no request here. */
const isForced = ({ ops }: Step): boolean => ops.some(([method]) => method === "touch")

const assertCookies = (step: Step, { setCookies }: Replayed) =>
  isDeflated(step)
    ? assert.deepStrictEqual(setCookies.map(attributesOf), step.setCookies.map(attributesOf), step.name)
    : assert.deepStrictEqual(setCookies, step.setCookies, step.name)

/** As the references keep rows: no touch moves a deadline, which leaves idling to the cookie. */
const withoutTouch = (port: SessionStore.Port): SessionStore.Port => ({
  ...port,
  touch: (key, { seen }, now) => port.touch(key, { deadline: undefined, seen }, now),
  create: (version, now) => port.create({ ...version, deadline: version.latestDeadline }, now),
  supersede: (old, version, successor, now) =>
    port.supersede(old, { ...version, deadline: version.latestDeadline }, successor, now),
  rescue: (old, version, successor, now) =>
    port.rescue(old, { ...version, deadline: version.latestDeadline }, successor, now)
})

describe("requests to lua-resty-session, made to this library", () => {
  it("are all there", () => assert.isAtLeast(scenarios.length, 60))

  it.effect.each(scenarios)(
    "$name: the same verdicts, the same Set-Cookie headers",
    ({ steps }) =>
      Effect.gen(function*() {
        const server = Layer.succeed(SessionStore.SessionStore, {
          _tag: "Server",
          port: withoutTouch(Memory.make(100)),
          layout: "Reference"
        })
        for (const step of steps) {
          // A cookie that is too large is refused when the data are set, not when they are saved.
          if (step.opErrors["save"] === "cookie size limit exceeded") {
            const error = yield* Effect.flip(replay(step, SessionStore.layerCookie))
            assert.strictEqual(error.reason._tag, "TooLarge")
            continue
          }
          const replayed = yield* replay(step, step.storage === "cookie" ? SessionStore.layerCookie : server)
          // Another deflate gives another tag: the recorded header and our row do not belong together.
          if (step.exists !== undefined && !(isDeflated(step) && step.storage !== "cookie")) {
            assertVerdict(step, replayed)
          }
          if (!isForced(step)) {
            assertCookies(step, replayed)
          }
        }
      })
  )

  it.effect("what is left of a Cookie header is what the reference leaves of it", () =>
    Effect.gen(function*() {
      const step = recorded.find(({ name }) => name === "h08-clear-request-cookie: clear")
      if (step === undefined) return assert.fail("it is gone")
      const { strippedCookies } = yield* replay(step, SessionStore.layerCookie)
      assert.strictEqual(strippedCookies, "a=1; session9=other; b=\"x y\"")
    }))
})
