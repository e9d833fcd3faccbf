import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { Presented, SetCookie } from "../src/CookieCodec.ts"
import * as Layout from "../src/internal/layout.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionState from "../src/SessionState.ts"
import { makeCodec, open, withSid } from "./utils/codec.ts"
import { differences, noTables, openCases, type Step, steps, type Tables } from "./utils/vectors.ts"

const recorded = steps(SessionConfig.lua)

/** The payload that belongs to a cookie, where it lives on the server. */
const loadFrom =
  ({ rows }: Tables) => ({ bytes, header }: Presented): Effect.Effect<Uint8Array | SessionState.Refusal> =>
    Effect.sync(() => {
      const key = Buffer.from(Layout.sid(Redacted.value(bytes))).toString("base64url")
      const row = rows.find((row) => row.key === key)
      if (row === undefined) return "NotStored"
      const [payload]: [string] = JSON.parse(row.data)
      return payload.length === header.dataSize ? Buffer.from(payload, "base64url") : "InvalidPayload"
    })

/** Seals what a step saved, under the sid that it had. */
const sealOf = Effect.fnUntraced(function*({ meta, options, plaintext, sender }: Step) {
  if (meta === undefined) return assert.fail("no meta")
  const codec = yield* makeCodec(options, withSid(Buffer.from(meta.sid, "base64")))
  const payload = Layout.decodePayload(plaintext)
  if (typeof payload === "string") return assert.fail(payload)
  const sealed = yield* codec.seal({
    payload,
    creationTime: meta.creation_time,
    rollingOffset: meta.rolling_offset,
    flags: meta.flags
  }, sender)
  return { codec, payload, sealed }
})

/** Where a step's payload is found. The shared memory of nginx was not recorded: what belongs there follows from the tag. */
const loadOf = (step: Step, when: "before" | "after") => {
  if (step.storage === "cookie") return undefined
  if (step.storage === "shm") return () => Effect.orDie(Effect.map(sealOf(step), ({ sealed }) => sealed.ciphertext))
  return loadFrom(step[when])
}

const verdictOf = Effect.fnUntraced(function*(
  { cookies, now, options, sender }: Pick<Step, "cookies" | "now" | "options" | "sender">,
  load?: Parameters<typeof open>[4]
) {
  const settings = yield* SessionConfig.make(options)
  const codec = yield* makeCodec(options)
  const placement = load === undefined ? "Cookie" : "Server"
  const check = (header: SessionState.Header) => SessionState.verify(header, settings, placement, now)
  const opened = yield* open(codec, cookies, sender, check, load)
  if (typeof opened === "string") return opened
  const entry = SessionState.entryOf(opened.payload, settings.audience)
  return entry === undefined ? "MissingAudience" : { ...opened, entry }
})

/** The reference says more than we do, in brackets. */
const assertRefusal = (ours: unknown, reference: string | undefined) => {
  if (typeof ours !== "string" || !(ours in SessionState.refusals)) return assert.fail(`opened, against: ${reference}`)
  const text = SessionState.refusals[ours as SessionState.Refusal]
  assert.isTrue(reference === text || reference?.startsWith(`${text} (`), `${text}, against: ${reference}`)
}

const assertDifference = (ours: unknown, difference: (typeof differences)[number]) =>
  assert.strictEqual(typeof ours === "string" ? ours : "opens", difference.ours)

const toSetCookie = (header: string): SetCookie => {
  const end = header.indexOf("=")
  return { name: header.slice(0, end), rest: header.slice(end + 1) }
}

const valueOf = ({ rest }: SetCookie): string => rest.slice(0, rest.indexOf(";"))

const attributesOf = ({ rest }: SetCookie): string => rest.slice(rest.indexOf(";"))

/** The session cookies that a step set; remember cookies have another name. */
const sessionCookies = (step: Step): ReadonlyArray<SetCookie> => {
  const name = `${step.options.cookiePrefix ?? ""}${step.options.cookieName ?? "session"}`
  return step.setCookies.map(toSetCookie).filter((cookie) => cookie.name.startsWith(name))
}

const isCleared = (cookie: SetCookie): boolean => valueOf(cookie) === ""
const sets = recorded.filter((step) => sessionCookies(step).some((cookie) => !isCleared(cookie)))
/** Whether the step opened a session from the remember cookie. */
const isRescue = (step: Step): boolean =>
  step.exists === true && step.rememberMeta !== undefined && !step.ops.some(([method]) => method === "save")
const isTouch = (step: Step): boolean =>
  step.ops.some(([method]) => method === "touch") ||
  (step.ops.some(([method]) => method === "refresh") && step.meta?.idling_offset !== 0)
const touches = sets.filter(isTouch)
const saves = sets.filter((step) => !isTouch(step))
const clears = recorded.filter((step) => sessionCookies(step).some(isCleared))

describe("cookies of lua-resty-session", () => {
  it("are all there", () => {
    assert.strictEqual(new Set(recorded.map(({ name }) => name.split(":")[0])).size, 68)
    assert.deepStrictEqual([saves.length, touches.length, clears.length], [89, 15, 10])
  })

  describe("each is opened or refused alike", () => {
    const requests = recorded.filter((step) => step.exists !== undefined)
    it.effect.each(requests)("$name", (step) =>
      Effect.gen(function*() {
        const ours = yield* verdictOf(step, loadOf(step, "before"))
        const difference = differences.find((difference) => difference.case === step.name)
        if (difference !== undefined) return assertDifference(ours, difference)
        // The session cookie's part: what follows from a remember cookie is not the codec's.
        if (isRescue(step)) return assert.strictEqual(ours, "MissingCookie")
        if (step.exists !== true) return assertRefusal(ours, step.error)
        if (typeof ours === "string") return assert.fail(ours)
        assert.isTrue(ours.payload.length > 0)
      }))
  })

  describe("each that was set opens to what was saved", () => {
    it.effect.each(sets)("$name", (step) =>
      Effect.gen(function*() {
        const codec = yield* makeCodec(step.options)
        const cookies = sessionCookies(step).map((cookie) => `${cookie.name}=${valueOf(cookie)}`)
        // A touch sends the first chunk alone; the others are what the request brought.
        const opened = yield* open(
          codec,
          [...cookies, step.cookies].join("; "),
          step.sender,
          undefined,
          loadOf(step, "after")
        )
        if (typeof opened === "string") return assert.fail(opened)
        assert.strictEqual(Layout.encodePayload(opened.payload), step.plaintext)
        assert.deepStrictEqual(opened.presented.header, {
          type: 1,
          flags: step.meta?.flags,
          creationTime: step.meta?.creation_time,
          rollingOffset: step.meta?.rolling_offset,
          dataSize: step.meta?.data_size,
          idlingOffset: step.meta?.idling_offset
        })
        const sid = Layout.sid(Redacted.value(opened.presented.bytes))
        assert.strictEqual(Buffer.from(sid).toString("base64"), step.meta?.sid)
      }))
  })

  describe("each that was saved is sealed alike", () => {
    it.effect.each(saves)("$name", (step) =>
      Effect.gen(function*() {
        const { codec, payload, sealed } = yield* sealOf(step)
        const ours = codec.setCookies(sealed, 1, undefined)
        const theirs = sessionCookies(step)
        if ((sealed.header.flags & SessionState.Flag.Deflate) === 0) return assert.deepStrictEqual(ours, theirs)
        // Deflate may find another way to say the same; all else is equal.
        assert.deepStrictEqual({ ...sealed.header, dataSize: 0 }, {
          type: 1,
          flags: step.meta?.flags,
          creationTime: step.meta?.creation_time,
          rollingOffset: step.meta?.rolling_offset,
          dataSize: 0,
          idlingOffset: 0
        })
        assert.deepStrictEqual(yield* codec.open(sealed, 0, sealed.ciphertext), payload)
        assert.deepStrictEqual(
          ours.map((cookie) => [cookie.name, attributesOf(cookie)]),
          theirs.map((cookie) => [cookie.name, attributesOf(cookie)])
        )
      }))
  })

  describe("each that was touched gets the same MAC", () => {
    it.effect.each(touches)("$name", (step) =>
      Effect.gen(function*() {
        const codec = yield* makeCodec(step.options)
        const opened = yield* open(codec, step.cookies, step.sender, undefined, loadOf(step, "before"))
        if (typeof opened === "string" || step.meta === undefined) return assert.fail("does not open")
        const touched = yield* codec.touch(opened.presented, opened.key, step.meta.idling_offset, step.sender)
        assert.deepStrictEqual([codec.setHeader(touched, opened.value, undefined)], sessionCookies(step))
      }))
  })

  describe("each that was cleared is cleared alike", () => {
    it.effect.each(clears)("$name", (step) =>
      Effect.gen(function*() {
        const codec = yield* makeCodec(step.options)
        const cleared = sessionCookies(step)
        assert.deepStrictEqual(codec.clearCookies(cleared.length, undefined), cleared)
      }))
  })

  describe("none is made where the reference makes none", () => {
    const tooLarge = recorded.filter((step) => step.opErrors["save"] === "cookie size limit exceeded")
    it.effect.each(tooLarge)("$name", (step) =>
      Effect.gen(function*() {
        const codec = yield* makeCodec(step.options)
        const payload = Layout.decodePayload(step.plaintext)
        if (typeof payload === "string") return assert.fail(payload)
        const version = { payload, creationTime: step.now, rollingOffset: 0, flags: 0 }
        const error = yield* Effect.flip(codec.seal(version, step.sender))
        assert.strictEqual(error._tag, "TooLarge")
        assert.strictEqual(step.setCookies.length, 0)
      }))
  })
})

describe("verdicts of lua-resty-session", () => {
  const nobody = { ip: "127.0.0.1", scheme: "http", userAgent: undefined } as const

  it.effect.each(openCases(SessionConfig.lua))("$name", (odd) =>
    Effect.gen(function*() {
      const ours = yield* verdictOf(
        { ...odd, sender: nobody },
        odd.placement === "Server" ? loadFrom(noTables) : undefined
      )
      const difference = differences.find((difference) => difference.case === odd.name)
      if (difference !== undefined) return assertDifference(ours, difference)
      if (!odd.exists) return assertRefusal(ours, odd.error)
      if (typeof ours === "string") return assert.fail(ours)
      assert.deepStrictEqual(ours.entry.data, JSON.parse(odd.data ?? ""))
    }))

  it("differ from ours where we know, and nowhere else", () => {
    const names = new Set([...recorded, ...openCases(SessionConfig.lua)].map(({ name }) => name))
    assert.deepStrictEqual(differences.filter((difference) => !names.has(difference.case)), [])
  })
})
