/** `seal`: a cookie made by hand. */
import { Effect, Option, Schema, Stdio, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as CookieCodec from "../CookieCodec.ts"
import * as Crypto from "../Crypto.ts"
import { seconds } from "../internal/clock.ts"
import { SessionConfig } from "../SessionConfig.ts"
import type { Json } from "../SessionState.ts"
import { failed, oneLine, usage } from "./failure.ts"
import * as Output from "./output.ts"
import * as Sender from "./sender.ts"
import * as SettingsFlags from "./settings.ts"
import { at } from "./verdict.ts"

const sidSize = 32

const sid = Flag.String("sid").pipe(
  Flag.map((text) => ({ text, bytes: Buffer.from(text, "base64url") })),
  Flag.filter(
    ({ bytes, text }) => bytes.length === sidSize && bytes.toString("base64url") === text,
    () => "Expected 32 bytes in base64url"
  ),
  Flag.map(({ bytes }) => new Uint8Array(bytes)),
  Flag.withDescription(
    "Under this sid, 32 bytes in base64url (default: random). For tests: two cookies of one sid betray their contents"
  ),
  Flag.optional
)

/** Crypto whose next sid is given. */
const withSid = (crypto: Crypto.Crypto["Service"], sid: Option.Option<Uint8Array>): Crypto.Crypto["Service"] =>
  Option.match(sid, {
    onNone: () => crypto,
    onSome: (bytes) => ({
      ...crypto,
      randomBytes: (size) => size === sidSize ? Effect.succeed(bytes) : crypto.randomBytes(size)
    })
  })

const decodeData: (text: string) => Effect.Effect<Json, Schema.SchemaError> = Schema.decodeEffect(
  Schema.fromJsonString(Schema.Json)
)

const readData = Effect.fnUntraced(function*(data: Option.Option<string>) {
  const { stdin } = yield* Stdio.Stdio
  const text = Option.isSome(data) && data.value !== "-"
    ? data.value
    : yield* Effect.mapError(
      Stream.mkString(Stream.decodeText(stdin)),
      (error) => failed(`standard input: ${error.message}`)
    )
  return yield* Effect.mapError(decodeData(text), (error) => usage(oneLine(`data: ${error.message}`)))
})

export const seal = Command.make(
  "seal",
  {
    data: Argument.String("data").pipe(
      Argument.withDescription("The session's data, in JSON; from standard input if not given, or for `-`"),
      Argument.optional
    ),
    audience: Flag.String("audience").pipe(
      Flag.withDescription("Whose data it is (default: the setting, \"default\")"),
      Flag.optional
    ),
    subject: Flag.String("subject").pipe(
      Flag.withDescription("Who is logged in (default: the setting, nobody)"),
      Flag.optional
    ),
    now: Sender.now,
    creationTime: Flag.Int("creation-time").pipe(
      Flag.withDescription("When the session was first saved, in unix seconds, at most --now (default: --now)"),
      Flag.optional
    ),
    remember: Flag.Boolean("remember").pipe(
      Flag.withDescription("Make the remember cookie instead, with the settings SESSION_REMEMBER_..."),
      Flag.withDefault(false),
      Flag.withoutNegation
    ),
    sid,
    ...Sender.flags,
    ...SettingsFlags.flags,
    json: Output.json
  },
  Effect.fnUntraced(function*({ data: given, json, now: time, ...flags }) {
    const settings = yield* SettingsFlags.resolve(flags)
    const data = yield* readData(given)
    const crypto = withSid(yield* Crypto.Crypto, flags.sid)
    const codec = yield* CookieCodec.CookieCodec.useSync((codec) => codec).pipe(
      Effect.provide(CookieCodec.layer),
      Effect.provideService(SessionConfig, settings),
      Effect.provideService(Crypto.Crypto, crypto)
    )
    const cookie = flags.remember ? codec.remember : codec
    const now = yield* at(Option.getOrUndefined(time))(seconds)
    const creationTime = Option.getOrElse(flags.creationTime, () => now)
    if (creationTime < 0 || creationTime > now) return yield* usage("--creation-time: Expected 0 to the time of --now")
    const sealed = yield* cookie.seal({
      payload: [{
        audience: Option.getOrElse(flags.audience, () => settings.audience),
        data,
        subject: Option.getOrElse(flags.subject, () => settings.subject)
      }],
      creationTime,
      rollingOffset: now - creationTime,
      flags: 0
    }, Sender.sender(flags)).pipe(Effect.mapError((error) => usage(error.message)))
    const setCookie = cookie.setCookies(sealed, 1, undefined).map(({ name, rest }) => `${name}=${rest}`)
    const sent = setCookie.map((header) => header.slice(0, header.indexOf(";"))).join("; ")
    yield* Output.answer(
      json,
      { cookie: sent, set_cookie: setCookie },
      () => [`Cookie: ${sent}`, ...setCookie.map((header) => `Set-Cookie: ${header}`)].join("\n")
    )
  }, Effect.provide(Crypto.layer))
).pipe(
  Command.withShortDescription("Make a cookie from data"),
  Command.withDescription(
    "Makes the cookie of a new session that holds this data, and prints it as a browser sends it (Cookie) and as a " +
      `server sets it (Set-Cookie). The data is in the cookie: a store knows nothing of it.\n\n${SettingsFlags.help}`
  ),
  Command.withExamples([
    { command: "effect-session seal '{\"items\":[\"tea\"]}' --subject alice", description: "A session of alice" }
  ])
)
