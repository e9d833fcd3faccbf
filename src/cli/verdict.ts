/** What the request path of the library makes of a Cookie header. */
import { Clock, Effect } from "effect"
import * as CookieCodec from "../CookieCodec.ts"
import type { Crypto } from "../Crypto.ts"
import * as Exchange from "../internal/exchange.ts"
import * as Layout from "../internal/layout.ts"
import { authenticate } from "../internal/opening.ts"
import { entry } from "../internal/recording.ts"
import { SessionConfig, type Settings } from "../SessionConfig.ts"
import type { SessionError } from "../SessionError.ts"
import * as SessionHttp from "../SessionHttp.ts"
import * as SessionState from "../SessionState.ts"
import * as SessionStore from "../SessionStore.ts"

/** A request, as far as a session depends on it. */
export interface Question {
  /** The Cookie header, or none. */
  readonly cookies: string | undefined
  readonly sender: CookieCodec.Sender
  /** Unix seconds; the clock's, if not given. */
  readonly now: number | undefined
}

/** The verdict on a session cookie, in the words of the reference. */
export interface Answer {
  readonly exists: boolean
  readonly err: string | null
  /** The data of the configured audience, as lua-cjson writes it. */
  readonly data_json: string | null
  readonly audience: string | null
  readonly subject: string | null
}

export const no = (err: string): Answer => ({ exists: false, err, data_json: null, audience: null, subject: null })

/**
 * The engine of a configuration. With server placement its store is empty: only a
 * database knows what is in it.
 */
export const engine = (
  settings: Settings,
  placement: SessionState.Placement
): Effect.Effect<Exchange.Engine, never, Crypto> =>
  SessionHttp.engine.pipe(
    Effect.provide(CookieCodec.layer),
    Effect.provide(placement === "Cookie" ? SessionStore.layerCookie : SessionStore.layerMemory),
    Effect.provideService(SessionConfig, settings)
  )

/** An effect at the time of the question. Its waits still take as long as they take. */
export const at = (now: number | undefined) => <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  if (now === undefined) return effect
  const millis = now * 1000
  const nanos = BigInt(now) * 1_000_000_000n
  return Effect.clockWith((clock) =>
    Effect.provideService(effect, Clock.Clock, {
      currentTimeMillisUnsafe: () => millis,
      currentTimeMillis: Effect.succeed(millis),
      currentTimeNanosUnsafe: () => nanos,
      currentTimeNanos: Effect.succeed(nanos),
      monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: clock.monotonicTimeNanos,
      sleep: (duration) => clock.sleep(duration)
    })
  )
}

/** An exchange that has opened its session, or knows why there is none. */
export const open = (
  engine: Exchange.Engine,
  { cookies, now, sender }: Question
): Effect.Effect<{ readonly exchange: Exchange.Exchange; readonly answer: Answer }, SessionError> => {
  const { audience } = engine.settings
  const exchange = Exchange.make(engine, { cookies, sender, host: undefined, upgrade: false })
  return Effect.andThen(authenticate(exchange), entry(exchange, audience)).pipe(
    Effect.map((entry) => ({ exchange, answer: answerOf(exchange, audience, entry) })),
    at(now)
  )
}

const answerOf = (exchange: Exchange.Exchange, audience: string, entry: SessionState.Entry | undefined): Answer => {
  if (entry === undefined) {
    // A remember cookie without the audience changes nothing: the session cookie's error stands.
    const refusal = exchange.live === undefined ? exchange.refusal ?? "MissingCookie" : "MissingAudience"
    return no(SessionState.refusals[refusal])
  }
  return {
    exists: true,
    err: null,
    data_json: Layout.encodeJson(entry.data),
    audience,
    subject: entry.subject ?? null
  }
}
