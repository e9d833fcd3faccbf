/** A cookie explained: its header, its key, its times, and what becomes of it. */
import { Effect, Redacted } from "effect"
import type { Codec, Presented, Sender } from "../CookieCodec.ts"
import { seconds } from "../internal/clock.ts"
import type * as Exchange from "../internal/exchange.ts"
import type { Settings } from "../SessionConfig.ts"
import type { SessionError } from "../SessionError.ts"
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

/** What the header of a cookie says, true or not. */
interface Explained {
  readonly cookie_name: string
  readonly header: SessionState.Header
  readonly flags: ReadonlyArray<string>
  readonly cookies: number
  /** `null` where none verifies it: then nothing of this is to be believed. */
  readonly key: string | null
  /** Seconds; `null` where a timeout is disabled. */
  readonly time_left: { readonly [timeout in "idling" | "rolling" | "absolute"]: number | null }
  /** Where a store finds it: SHA-256 of the sid in hex, or the sid where the store keeps that in clear. */
  readonly storage_key: string | null
}

/** A cookie whose header cannot even be read. */
interface Unreadable {
  readonly cookie_name: string
  readonly err: string
}

/** The verdict, and for each cookie with the name of the session's or the remember cookie what led to it. */
export interface Explanation extends Answer {
  readonly opened_by: "session cookie" | "remember cookie" | null
  readonly presented: ReadonlyArray<Explained | Unreadable>
  /** All audiences of the session that stands. */
  readonly audiences: ReadonlyArray<string>
}

const storageKey = (codec: Codec, settings: Settings, presented: Presented): Effect.Effect<string | null> => {
  if ((presented.header.flags & Flag.Storage) === 0) return Effect.succeed(null)
  return settings.hashStorageKey
    ? Effect.map(codec.storageKey(presented), (key) => Buffer.from(key).toString("hex"))
    : Effect.sync(() => Buffer.from(Redacted.value(codec.sid(presented))).toString("base64url"))
}

/** One of the two cookies. */
interface Role {
  readonly name: string
  readonly codec: Codec
  readonly timeouts: SessionState.Timeouts
}

const rolesOf = ({ codec, settings }: Exchange.Engine): ReadonlyArray<Role> => [
  { name: settings.cookieName, codec, timeouts: settings },
  ...(settings.remember
    ? [{
      name: settings.rememberCookieName,
      codec: codec.remember,
      timeouts: {
        idlingTimeout: 0,
        rollingTimeout: settings.rememberRollingTimeout,
        absoluteTimeout: settings.rememberAbsoluteTimeout
      }
    }]
    : [])
]

const explainValue = Effect.fnUntraced(function*(
  settings: Settings,
  { codec, name, timeouts }: Role,
  sender: Sender,
  value: string
): Effect.fn.Return<Explained | Unreadable> {
  const presented = codec.decode(value)
  if (typeof presented === "string") return { cookie_name: name, err: SessionState.refusals[presented] }
  const { header } = presented
  const { absolute, idling, rolling } = SessionState.timeLeft(header, timeouts, yield* seconds)
  return {
    cookie_name: name,
    header,
    flags: namesOf(header.flags),
    cookies: codec.chunks(header),
    key: keyName(yield* codec.verify(presented, sender)),
    time_left: { idling: idling ?? null, rolling: rolling ?? null, absolute: absolute ?? null },
    storage_key: yield* storageKey(codec, settings, presented)
  }
})

export const explain = (
  engine: Exchange.Engine,
  question: Question
): Effect.Effect<Explanation, SessionError> =>
  Effect.gen(function*() {
    const { answer, exchange } = yield* open(engine, question)
    const found = rolesOf(engine).flatMap((role) =>
      role.codec.find(question.cookies ?? "").map((value) =>
        explainValue(engine.settings, role, question.sender, value)
      )
    )
    return {
      ...answer,
      opened_by: answer.exists ? exchange.rescued ? "remember cookie" : "session cookie" : null,
      presented: yield* Effect.all(found),
      audiences: exchange.working.map(({ audience }) => audience)
    } satisfies Explanation
  }).pipe(at(question.now))

const left = (seconds: number | null): string =>
  seconds === null ? "disabled" : seconds < 0 ? `exceeded by ${-seconds} s` : `${seconds} s left`

const showPresented = (presented: Explained | Unreadable): string => {
  if ("err" in presented) return `${presented.cookie_name}: ${presented.err}\n`
  const { cookie_name: name, cookies, flags, header, key, storage_key: storageKey, time_left: timeLeft } = presented
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
    ...explanation.presented.map(showPresented),
    table([
      ["verdict", explanation.exists ? `opens, by the ${explanation.opened_by}` : `refused: ${explanation.err}`],
      ["audience", explanation.audience ?? undefined],
      ["subject", explanation.subject ?? undefined],
      ["data", explanation.data_json ?? undefined],
      ["audiences", explanation.audiences.length > 1 ? explanation.audiences.join(", ") : undefined]
    ])
  ].join("\n")
