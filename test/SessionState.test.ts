import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as SessionState from "../src/SessionState.ts"

const created = 1_795_400_000

const timeouts = {
  idlingTimeout: 900,
  rollingTimeout: 3600,
  absoluteTimeout: 86_400,
  touchThreshold: 60,
  remember: false,
  rememberRollingTimeout: 604_800,
  rememberAbsoluteTimeout: 2_592_000
}

const header: SessionState.Header = {
  type: 1,
  flags: 0,
  creationTime: created,
  rollingOffset: 0,
  dataSize: 42,
  idlingOffset: 0
}

const quiet: SessionState.Intent = { changed: false, renewed: false, ended: false, remember: undefined }

const payload: SessionState.Payload = [{ audience: "shop", data: { items: [] }, subject: undefined }]

const verify = (
  now: number,
  options: { readonly header?: Partial<SessionState.Header>; readonly timeouts?: Partial<SessionState.Timeouts> } = {}
) => SessionState.verify({ ...header, ...options.header }, { ...timeouts, ...options.timeouts }, "Cookie", now)

const plan = (
  state: Partial<Parameters<typeof SessionState.plan>[0]>,
  now: number,
  settings: Partial<typeof timeouts> = {}
) =>
  SessionState.plan(
    {
      header,
      remember: undefined,
      rescued: false,
      presented: true,
      payload,
      intent: quiet,
      placement: "Cookie",
      refresh: true,
      ...state
    },
    { ...timeouts, ...settings },
    now
  )

describe("SessionState.verify", () => {
  it("accepts the last second of each timeout, and refuses the next one", () => {
    const only = (name: keyof SessionState.Timeouts) => ({
      timeouts: { idlingTimeout: 0, rollingTimeout: 0, absoluteTimeout: 0, [name]: 100 }
    })
    const cases = [
      ["idlingTimeout", "IdlingTimeout"],
      ["rollingTimeout", "RollingTimeout"],
      ["absoluteTimeout", "AbsoluteTimeout"]
    ] as const
    for (const [timeout, refusal] of cases) {
      assert.strictEqual(verify(created + 100, only(timeout)), undefined)
      assert.strictEqual(verify(created + 101, only(timeout)), refusal)
    }
  })

  it("counts rolling from the last save, and idling from the last touch", () => {
    const saved = { rollingOffset: 1000 }
    assert.strictEqual(verify(created + 1900, { header: saved }), undefined)
    assert.strictEqual(verify(created + 1901, { header: saved }), "IdlingTimeout")
    const touched = { rollingOffset: 1000, idlingOffset: 500 }
    assert.strictEqual(verify(created + 2400, { header: touched }), undefined)
    assert.strictEqual(verify(created + 2401, { header: touched }), "IdlingTimeout")
    const busy = { rollingOffset: 1000, idlingOffset: 3600 }
    assert.strictEqual(verify(created + 4600, { header: busy }), undefined)
    assert.strictEqual(verify(created + 4601, { header: busy }), "RollingTimeout")
  })

  it("never times out where all timeouts are zero, but ends with the 32 bits of the offset", () => {
    const never = { timeouts: { idlingTimeout: 0, rollingTimeout: 0, absoluteTimeout: 0 } }
    assert.strictEqual(verify(created + 2 ** 32 - 1, never), undefined)
    assert.strictEqual(verify(created + 2 ** 32, never), "LifetimeExceeded")
  })

  it("tells the first of several reasons, in the reference's order", () => {
    const bad = { type: 2, flags: SessionState.Flag.Storage }
    assert.strictEqual(verify(created + 2 ** 33, { header: bad }), "InvalidType")
    assert.strictEqual(verify(created + 2 ** 33, { header: { flags: SessionState.Flag.Storage } }), "InvalidFlags")
    assert.strictEqual(verify(created + 2 ** 33), "LifetimeExceeded")
    assert.strictEqual(verify(created + 1_000_000), "AbsoluteTimeout")
    assert.strictEqual(verify(created + 86_400), "RollingTimeout")
    assert.strictEqual(verify(created + 3600), "IdlingTimeout")
  })

  it("accepts a clock that is a minute behind, and refuses one further behind", () => {
    assert.strictEqual(verify(created - 60), undefined)
    assert.strictEqual(verify(created - 61), "CreatedInFuture")
  })

  it("refuses a cookie that was made for the other placement", () => {
    const stored = { ...header, flags: SessionState.Flag.Storage }
    assert.strictEqual(SessionState.verify(header, timeouts, "Server", created), "InvalidFlags")
    assert.strictEqual(SessionState.verify(stored, timeouts, "Server", created), undefined)
    assert.strictEqual(SessionState.verify(stored, timeouts, "Cookie", created), "InvalidFlags")
  })

  it("ignores unknown flags", () => {
    for (const flag of [0x0008, 0x0020, 0x8000]) {
      assert.strictEqual(verify(created, { header: { flags: flag } }), undefined)
    }
  })
})

describe("SessionState.timeLeft", () => {
  it("says what is left of each timeout, and the shortest", () => {
    assert.deepStrictEqual(
      SessionState.timeLeft({ ...header, rollingOffset: 1000, idlingOffset: 100 }, timeouts, created + 1200),
      { idling: 800, rolling: 3400, absolute: 85_200, next: 800 }
    )
  })

  it("leaves out what is disabled", () => {
    const none = { idlingTimeout: 0, rollingTimeout: 0, absoluteTimeout: 0 }
    assert.deepStrictEqual(
      SessionState.timeLeft(header, none, created),
      { idling: undefined, rolling: undefined, absolute: undefined, next: undefined }
    )
  })

  it("agrees with verify: as long as nothing is negative, the session is valid", () => {
    const offset = fc.integer({ min: 0, max: 5000 })
    fc.assert(
      fc.property(offset, offset, offset, fc.integer({ min: 1, max: 5000 }), (age, rolling, idling, timeout) => {
        const settings = { idlingTimeout: timeout, rollingTimeout: timeout * 2, absoluteTimeout: timeout * 3 }
        const aged = { ...header, rollingOffset: Math.min(rolling, age), idlingOffset: idling }
        const left = SessionState.timeLeft(aged, settings, created + age)
        const valid = SessionState.verify(aged, settings, "Cookie", created + age) === undefined
        assert.strictEqual(valid, left.next !== undefined && left.next >= 0)
      })
    )
  })
})

describe("SessionState.due", () => {
  const due = (elapsed: number, settings: Partial<typeof timeouts> = {}) =>
    SessionState.due(header, { ...timeouts, ...settings }, created + elapsed)

  it("saves after more than three quarters of the rolling timeout, rounded up", () => {
    assert.strictEqual(due(2700), "Touch")
    assert.strictEqual(due(2701), "Save")
    assert.strictEqual(due(8, { rollingTimeout: 10 }), "Nothing")
    assert.strictEqual(due(9, { rollingTimeout: 10 }), "Save")
  })

  it("touches after more than the threshold", () => {
    assert.strictEqual(due(60), "Nothing")
    assert.strictEqual(due(61), "Touch")
    assert.strictEqual(due(61, { idlingTimeout: 0 }), "Nothing")
  })

  it("asks for nothing where both timeouts are disabled", () => {
    assert.strictEqual(due(1_000_000, { idlingTimeout: 0, rollingTimeout: 0 }), "Nothing")
  })
})

describe("SessionState payloads", () => {
  const alice: SessionState.Entry = { audience: "a", data: 1, subject: "alice" }
  const bob: SessionState.Entry = { audience: "b", data: 2, subject: "bob" }
  const two = [alice, bob]

  it("puts an entry in its audience's place, or behind the others", () => {
    const entry = { audience: "a", data: 3, subject: undefined }
    assert.deepStrictEqual(SessionState.withEntry(two, entry), [entry, bob])
    assert.deepStrictEqual(SessionState.withEntry(two, { ...entry, audience: "c" }), [...two, {
      ...entry,
      audience: "c"
    }])
  })

  it("takes the first of several entries of an audience", () => {
    const twice = [...two, { audience: "a", data: 9, subject: undefined }]
    assert.strictEqual(SessionState.entryOf(twice, "a")?.data, 1)
    assert.deepStrictEqual(SessionState.withoutEntry(twice, "a"), [bob])
  })

  it("keeps the entries of one subject", () => {
    assert.deepStrictEqual(SessionState.sameSubject(two, "b"), [bob])
    const anonymous = { audience: "c", data: 3, subject: undefined }
    assert.deepStrictEqual(SessionState.sameSubject([...two, anonymous], "c"), [anonymous])
    assert.deepStrictEqual(SessionState.sameSubject(two, "nobody"), two)
  })
})

describe("SessionState.plan", () => {
  const changed = { ...quiet, changed: true }

  it("keeps a quiet session", () => {
    assert.deepStrictEqual(plan({}, created + 60), { _tag: "Keep" })
  })

  it("keeps nothing where there is no session and nothing was written", () => {
    assert.deepStrictEqual(plan({ header: undefined, payload: [] }, created), { _tag: "Keep" })
    assert.deepStrictEqual(
      plan({ header: undefined, payload: [], intent: { ...quiet, renewed: true } }, created),
      { _tag: "Keep" }
    )
  })

  it("creates a session from now", () => {
    assert.deepStrictEqual(plan({ header: undefined, intent: changed }, created + 7), {
      _tag: "Save",
      payload,
      creationTime: created + 7,
      rollingOffset: 0,
      flags: 0,
      deadline: created + 7 + 900,
      latestDeadline: created + 7 + 3600,
      how: "Create",
      remember: undefined,
      revoke: false
    })
  })

  it("supersedes a changed session, and keeps its creation time and its wish to be forgotten", () => {
    const forgetful = { ...header, flags: SessionState.Flag.Storage | SessionState.Flag.Forget | 0x8000 }
    assert.deepStrictEqual(
      plan({ header: forgetful, intent: changed, placement: "Server" }, created + 1000),
      {
        _tag: "Save",
        payload,
        creationTime: created,
        rollingOffset: 1000,
        flags: SessionState.Flag.Storage | SessionState.Flag.Forget,
        deadline: created + 1900,
        latestDeadline: created + 4600,
        how: "Supersede",
        remember: undefined,
        revoke: false
      }
    )
  })

  it("renews without grace, changed or not", () => {
    for (const intent of [{ ...quiet, renewed: true }, { ...changed, renewed: true }]) {
      const renewed = plan({ intent }, created + 1)
      assert.ok(renewed._tag === "Save" && renewed.how === "Renew")
    }
  })

  it("refreshes when it is due, unless the response can set no cookie", () => {
    assert.deepStrictEqual(
      plan({ header: { ...header, rollingOffset: 100 } }, created + 161),
      { _tag: "Touch", idlingOffset: 61, deadline: created + 161 + 900 }
    )
    assert.strictEqual(plan({}, created + 2701)._tag, "Save")
    assert.deepStrictEqual(plan({ refresh: false }, created + 2701), { _tag: "Keep" })
  })

  it("caps the idling offset at its 24 bits", () => {
    const touch = plan({}, created + 2 ** 24 + 5, { rollingTimeout: 0, absoluteTimeout: 0 })
    assert.ok(touch._tag === "Touch" && touch.idlingOffset === 2 ** 24 - 1)
  })

  it("ends a session, and clears a refused cookie without touching any session", () => {
    const ended = { ...quiet, ended: true }
    assert.deepStrictEqual(plan({ payload: [], intent: ended }, created), { _tag: "End", revoke: true })
    assert.deepStrictEqual(
      plan({ header: undefined, payload: [], intent: ended }, created),
      { _tag: "End", revoke: false }
    )
    assert.deepStrictEqual(
      plan({ header: undefined, presented: false, payload: [], intent: ended }, created),
      { _tag: "Keep" }
    )
  })

  it("starts anew with what was written after the end, and revokes the old session", () => {
    const fresh = plan({ intent: { ...changed, ended: true } }, created + 500)
    assert.ok(fresh._tag === "Save" && fresh.how === "Create" && fresh.revoke && fresh.creationTime === created + 500)
  })

  it("bears a clock that went backwards", () => {
    const saved = plan({ intent: changed }, created - 30)
    assert.ok(saved._tag === "Save" && saved.rollingOffset === 0)
    // As long as the cookie opens, the row is there.
    assert.strictEqual(saved.deadline, created + 900)
  })

  it("keeps a row until the first timeout, or for the 400 days that a cookie may live", () => {
    const deadline = (settings: Partial<typeof timeouts>) => {
      const saved = plan({ intent: changed }, created + 1000, settings)
      return saved._tag === "Save" ? saved.deadline - created : undefined
    }
    assert.strictEqual(deadline({}), 1000 + 900)
    assert.strictEqual(deadline({ idlingTimeout: 0 }), 1000 + 3600)
    assert.strictEqual(deadline({ idlingTimeout: 0, rollingTimeout: 0 }), 86_400)
    assert.strictEqual(deadline({ idlingTimeout: 0, rollingTimeout: 0, absoluteTimeout: 0 }), 1000 + 34_560_000)
  })

  it("needs the payload exactly where it makes a version", () => {
    const needs = (intent: SessionState.Intent, elapsed: number) =>
      SessionState.needsPayload(header, intent, timeouts, created + elapsed)
    assert.isFalse(needs(quiet, 2700))
    assert.isTrue(needs(quiet, 2701))
    assert.isTrue(needs(changed, 0))
    assert.isTrue(needs({ ...quiet, renewed: true }, 0))
    assert.isFalse(SessionState.needsPayload(undefined, quiet, timeouts, created))
  })
})
