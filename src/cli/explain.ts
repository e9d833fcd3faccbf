/** A cookie explained: its header, its key, its times, and what becomes of it. */
import { Effect, Redacted } from "effect"
import type { Presented } from "../CookieCodec.ts"
import { seconds } from "../internal/clock.ts"
import type * as Exchange from "../internal/exchange.ts"
import * as Layout from "../internal/layout.ts"
import * as SessionState from "../SessionState.ts"
import { table, time } from "./output.ts"
import { type Answer, at, open, type Question } from "./verdict.ts"

const { Flag } = SessionState

const flagNames: ReadonlyArray<readonly [bit: number, name: string]> = [
  [Flag.Storage, "storage"],
  [Flag.Forget, "forget"],
  [Flag.Deflate, "deflate"],
  [Flag.BindIp, "bind-ip"],
  [Flag.BindScheme, "bind-scheme"],
  [Flag.BindUserAgent, "bind-user-agent"]
]

const known = flagNames.reduce((flags, [bit]) => flags | bit, 0)

const namesOf = (flags: number): ReadonlyArray<string> => [
  ...flagNames.filter(([bit]) => (flags & bit) !== 0).map(([, name]) => name),
  ...((flags & ~known) === 0 ? [] : [`unknown 0x${(flags & ~known).toString(16).padStart(4, "0")}`])
]

const keyName = (key: number): string | null => key < 0 ? null : key === 0 ? "primary" : `fallback ${key}`

/** What the header of one cookie says, true or not. */
interface Explained {
  readonly header: SessionState.Header
  readonly flags: ReadonlyArray<string>
  readonly cookies: number
  /** `null` where none verifies it: then nothing of this is to be believed. */
  readonly key: string | null
  /** Seconds; `null` where a timeout is disabled. */
  readonly time_left: { readonly [timeout in "idling" | "rolling" | "absolute"]: number | null }
  /** Where a store finds it; SHA-256 of the sid in hex, or the sid where the store keeps that in clear. */
  readonly storage_key: string | null
}

const storageKey = ({ codec, settings }: Exchange.Engine, presented: Presented): Effect.Effect<string | null> => {
  if ((presented.header.flags & Flag.Storage) === 0) return Effect.succeed(null)
  return settings.hashStorageKey
    ? Effect.map(codec.storageKey(presented), (key) => Buffer.from(key).toString("hex"))
    : Effect.sync(() => Buffer.from(Layout.sid(Redacted.value(presented.bytes))).toString("base64url"))
}

const explainValue = Effect.fnUntraced(function*(engine: Exchange.Engine, { sender }: Question, value: string) {
  const { codec, settings } = engine
  const presented = codec.decode(value)
  if (typeof presented === "string") return { err: SessionState.refusals[presented] }
  const { header } = presented
  const { absolute, idling, rolling } = SessionState.timeLeft(header, settings, yield* seconds)
  const explained: Explained = {
    header,
    flags: namesOf(header.flags),
    cookies: codec.chunks(header),
    key: keyName(yield* codec.verify(presented, sender)),
    time_left: { idling: idling ?? null, rolling: rolling ?? null, absolute: absolute ?? null },
    storage_key: yield* storageKey(engine, presented)
  }
  return explained
})

/** The verdict, and for each cookie of the session's name what led to it. */
export interface Explanation extends Answer {
  readonly cookie_name: string
  readonly presented: ReadonlyArray<Explained | { readonly err: string }>
  /** All audiences of the session that stands. */
  readonly audiences: ReadonlyArray<string>
}

export const explain = (engine: Exchange.Engine, question: Question) =>
  Effect.gen(function*() {
    const { answer, exchange } = yield* open(engine, question)
    const explanation: Explanation = {
      ...answer,
      cookie_name: engine.settings.cookieName,
      presented: yield* Effect.forEach(
        engine.codec.find(question.cookies ?? ""),
        (value) => explainValue(engine, question, value)
      ),
      audiences: exchange.working.map(({ audience }) => audience)
    }
    return explanation
  }).pipe(at(question.now))

const left = (seconds: number | null): string =>
  seconds === null ? "disabled" : seconds < 0 ? `exceeded by ${-seconds} s` : `${seconds} s left`

const showPresented = (name: string, presented: Explained | { readonly err: string }): string => {
  if ("err" in presented) return `${name}: ${presented.err}\n`
  const { cookies, flags, header, key, storage_key: storageKey, time_left: timeLeft } = presented
  const rows = table([
    ["signed with", key === null ? "none of the keys: nothing below is to be believed" : `${key} key`],
    ["type", `${header.type}`],
    ["flags", flags.length === 0 ? "none" : flags.join(", ")],
    ["created", time(header.creationTime)],
    ["saved", time(header.creationTime + header.rollingOffset)],
    ["last used", time(header.creationTime + header.rollingOffset + header.idlingOffset)],
    ["payload", `${header.dataSize} characters${storageKey === null ? `, ${cookies} cookie(s)` : " at the store"}`],
    ["storage key", storageKey ?? undefined],
    ["idling", left(timeLeft.idling)],
    ["rolling", left(timeLeft.rolling)],
    ["absolute", left(timeLeft.absolute)]
  ])
  return `${name}\n${rows.replaceAll(/^/gm, "  ")}\n`
}

/** For people. */
export const show = (explanation: Explanation): string =>
  [
    ...explanation.presented.map((presented) => showPresented(explanation.cookie_name, presented)),
    table([
      ["verdict", explanation.exists ? "opens" : `refused: ${explanation.err}`],
      ["audience", explanation.audience ?? undefined],
      ["subject", explanation.subject ?? undefined],
      ["data", explanation.data_json ?? undefined],
      ["audiences", explanation.audiences.length > 1 ? explanation.audiences.join(", ") : undefined]
    ])
  ].join("\n")
