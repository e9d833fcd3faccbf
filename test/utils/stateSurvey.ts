/**
 * All requests that could come with a cookie, at every second at which something about
 * it changes: rules and model have to agree on each.
 */
import { assert } from "@effect/vitest"
import { isDeepStrictEqual } from "node:util"
import type { Header } from "../../src/SessionState.ts"
import * as Model from "./stateModel.ts"
import type { Config, Version } from "./stateModel.ts"
import { toDeed } from "./stateWorld.ts"
import type { Rules } from "./stateWorld.ts"

/** The times of a header are those of the version that the model remembers. */
export const agreeOnTimes = (header: Header, version: Version): void =>
  assert.deepStrictEqual(
    {
      createdAt: header.creationTime,
      savedAt: header.creationTime + header.rollingOffset,
      touchedAt: header.creationTime + header.rollingOffset + header.idlingOffset,
      forget: (header.flags & 2) !== 0,
      placement: (header.flags & 1) === 0 ? "Cookie" : "Server"
    },
    {
      createdAt: version.createdAt,
      savedAt: version.savedAt,
      touchedAt: version.touchedAt,
      forget: version.forget,
      placement: version.placement
    }
  )

const wishesOf = (parts: ReadonlyArray<Model.Part>): ReadonlyArray<Model.Wishes> => {
  const quiet: Model.Wishes = { parts, changed: false, renewed: false, ended: false, remember: undefined }
  return [
    quiet,
    { ...quiet, changed: true },
    { ...quiet, renewed: true },
    { ...quiet, remember: true },
    { ...quiet, remember: false },
    { ...quiet, changed: true, ended: true },
    { ...quiet, parts: [], ended: true }
  ]
}

export interface Headers {
  readonly session: Header | undefined
  readonly remember: Header | undefined
}

/** The plans of all requests that could come now, with cookies that stand. */
const surveyPlans = (rules: Rules, headers: Headers, holds: Model.Holds, config: Config, now: number): void => {
  const rescued = Model.rescued(holds, config)
  const { parts } = (rescued ? holds.remember : holds.session) ?? { parts: [] }
  for (const wishes of wishesOf(parts)) {
    for (const refresh of [true, false]) {
      const request = { ...holds, presented: true, refresh }
      const { parts: payload, ...intent } = wishes
      const plan = rules.plan(
        {
          ...request,
          rescued,
          header: headers.session,
          remember: headers.remember,
          payload,
          intent,
          placement: config.placement
        },
        config,
        now
      )
      const deed = Model.deed({ ...request, wishes }, config, now)
      const planned = toDeed(plan, headers.session)
      // To compare is much quicker than to tell a difference.
      if (isDeepStrictEqual(planned, deed)) continue
      assert.deepStrictEqual(planned, deed, JSON.stringify({ now, refresh, ...intent }))
    }
  }
}

/** Bits of the flags that mean nothing. */
const unknownFlags = 0x8088

/** Every request that could come with these cookies, a second before each boundary, at it, and a second after. */
export const survey = (rules: Rules, headers: Headers, { remember, session }: Model.Holds, config: Config): void => {
  const { placement } = config
  const standing = (now: number) =>
    config.remember && remember !== undefined && Model.rememberRefusal(remember, config, now) === undefined
      ? remember
      : undefined
  if (session !== undefined && headers.session !== undefined) {
    const header = { ...headers.session, flags: headers.session.flags | unknownFlags }
    for (const [name, boundary] of Object.entries(Model.boundaries(session, config))) {
      for (const now of [boundary - 1, boundary, boundary + 1]) {
        const where = `at ${name}, ${now}`
        const refusal = Model.refusal(session, config, now)
        assert.strictEqual(rules.verify(header, config, placement, now), refusal, where)
        assert.strictEqual(rules.verify({ ...header, type: 2 }, config, placement, now), "InvalidType", where)
        if (refusal !== undefined) continue
        const left = rules.timeLeft(header, config, now)
        if (!isDeepStrictEqual(left, Model.timeLeft(session, config, now))) {
          assert.deepStrictEqual(left, Model.timeLeft(session, config, now), where)
        }
        assert.strictEqual(rules.due(header, config, now), Model.due(session, config, now), where)
        const remembered = standing(now)
        surveyPlans(
          rules,
          { session: header, remember: remembered && headers.remember },
          { session, remember: remembered },
          config,
          now
        )
      }
    }
  }
  if (remember !== undefined && headers.remember !== undefined) {
    const header = { ...headers.remember, flags: headers.remember.flags | unknownFlags }
    const touched = { ...header, idlingOffset: 1 }
    for (const [name, boundary] of Object.entries(Model.boundaries(remember, Model.forRemember(config)))) {
      for (const now of [boundary - 1, boundary, boundary + 1]) {
        const where = `at remember's ${name}, ${now}`
        const refusal = Model.rememberRefusal(remember, config, now)
        assert.strictEqual(rules.verifyRemember(header, config, placement, now), refusal, where)
        assert.strictEqual(
          rules.verifyRemember(touched, config, placement, now),
          Model.rememberRefusal({ ...remember, touchedAt: remember.savedAt + 1 }, config, now),
          where
        )
        if (refusal !== undefined || !config.remember) continue
        surveyPlans(rules, { session: undefined, remember: header }, { session: undefined, remember }, config, now)
      }
    }
  }
}
