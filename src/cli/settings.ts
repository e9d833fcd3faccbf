/** The settings of a command: from the environment, with the key from a file if so asked. */
import { ConfigProvider, Effect, FileSystem, Layer, Option, Redacted } from "effect"
import { Flag } from "effect/cli"
import * as SessionConfig from "../SessionConfig.ts"
import { failed, usage } from "./failure.ts"

export const flags = {
  preset: Flag.Literals("preset", ["kong", "lua"]).pipe(
    Flag.withDescription(
      "Start from the defaults of Kong's session plugin or of lua-resty-session (default: this library's)"
    ),
    Flag.optional
  ),
  secretFile: Flag.Path("secret-file", { pathType: "file" }).pipe(
    Flag.withDescription("Read the secret from this file, instead of SESSION_SECRET or SESSION_IKM"),
    Flag.optional
  )
}

const presets = { kong: SessionConfig.kong, lua: SessionConfig.lua }

export interface Source {
  readonly preset: Option.Option<"kong" | "lua">
  readonly secretFile: Option.Option<string>
}

export const help = "Settings come from the environment, as SESSION_SECRET, SESSION_SECRET_FALLBACKS, SESSION_IKM, " +
  "SESSION_COOKIE_NAME, SESSION_IDLING_TIMEOUT and so on. A secret is never an argument: those are in the process list."

/** The text of a file without the line break at its end, which editors and `echo` add. */
export const readSecret = Effect.fnUntraced(function*(file: string) {
  const fs = yield* FileSystem.FileSystem
  const text = yield* Effect.mapError(
    fs.readFileString(file),
    ({ reason }) => failed(`${file} cannot be read: ${reason._tag}`)
  )
  return Redacted.make(text.replace(/\r?\n$/, ""))
})

export const presetOf = ({ preset }: Pick<Source, "preset">): SessionConfig.Options =>
  Option.match(preset, { onNone: () => ({}), onSome: (name) => presets[name] })

const fromEnvironment = (options: SessionConfig.Options, environment: ConfigProvider.ConfigProvider) =>
  Effect.provide(
    SessionConfig.SessionConfig.useSync((settings) => settings),
    Layer.provide(SessionConfig.layerConfig(options), ConfigProvider.layer(environment))
  )

/** The settings that the environment and the flags make. */
export const resolve = Effect.fnUntraced(function*(source: Source) {
  const options = presetOf(source)
  const environment = process.env
  if (Option.isNone(source.secretFile)) {
    return yield* fromEnvironment(options, ConfigProvider.fromEnvRecord(environment))
  }
  const file = source.secretFile.value
  const secret = yield* readSecret(file)
  const { SESSION_IKM: _ikm, SESSION_SECRET: _secret, ...others } = environment
  return yield* Effect.mapError(
    fromEnvironment({ ...options, secret }, ConfigProvider.fromEnvRecord(others)),
    (error) =>
      error._tag === "SessionError" && error.reason._tag === "InvalidConfig" && error.reason.setting === "secret"
        ? usage(`${error.message} (read from ${file})`)
        : error
  )
})
