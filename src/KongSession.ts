/**
 * Kong's session plugin: its settings, under its own names.
 *
 * @since 0.1.0
 */
import { Duration, Effect, Layer, Schema, SchemaIssue } from "effect"
import * as kongSettings from "./internal/kongSettings.ts"
import * as SessionConfig from "./SessionConfig.ts"
import { InvalidConfig, SessionError } from "./SessionError.ts"

/**
 * The plugin's `config` as a declarative configuration writes it, decoded to all
 * of its settings.
 *
 * **Details**
 *
 * Names and defaults are the plugin's. Times are seconds. `null` means "not
 * configured", and for the `logout_*` settings "never". The deprecated shorthands
 * (`cookie_lifetime`, `cookie_idletime`, `cookie_discard`, `cookie_samesite`,
 * `cookie_httponly`, `cookie_persistent`) go before the settings they stand for, as
 * in Kong; `cookie_renew` does nothing, as there. A setting that is not one of the
 * plugin's is an error.
 *
 * **Gotchas**
 *
 * `secret` is required. Kong makes up another one at each start when none is
 * configured, and nobody could share that. A reference to a vault is refused:
 * only Kong can follow it.
 *
 * **Example** (A plugin's configuration)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Schema } from "effect"
 * import * as KongSession from "effect-session/KongSession"
 *
 * const settings = Schema.decodeUnknownSync(KongSession.Settings)({
 *   secret: "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4",
 *   storage: "kong",
 *   cookie_samesite: "off"
 * })
 *
 * assert.deepEqual([settings.storage, settings.cookie_same_site, settings.stale_ttl], ["kong", "Lax", 10])
 * ```
 *
 * @category settings
 * @since 0.1.0
 */
export const Settings = kongSettings.Settings

/**
 * The plugin's settings, complete.
 *
 * @category settings
 * @since 0.1.0
 */
export type Settings = typeof Settings.Type

/** The first thing that is wrong, by its place below `config`. */
const toReason = (issue: SchemaIssue.Issue): InvalidConfig => {
  const [first] = SchemaIssue.makeFormatterStandardSchemaV1()(issue).issues
  const [problem = "", ...fix] = (first?.message ?? "").split(". ")
  return new InvalidConfig({ setting: ["config", ...(first?.path ?? [])].join("."), problem, fix: fix.join(". ") })
}

/**
 * Reads the plugin's `config`; what is wrong is an `InvalidConfig` that names the
 * field, such as `config.cookie_same_site`.
 *
 * **Example** (A misspelt value)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import * as KongSession from "effect-session/KongSession"
 *
 * const secret = "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4"
 * const error = await Effect.runPromise(Effect.flip(KongSession.decode({ secret, cookie_same_site: "strict" })))
 *
 * assert.match(error.message, /^config.cookie_same_site: is not one of its values. Write one of "Strict", /)
 * ```
 *
 * @category settings
 * @since 0.1.0
 */
export const decode = (config: unknown): Effect.Effect<Settings, SessionError> =>
  Effect.mapError(
    Schema.decodeUnknownEffect(Settings)(config),
    ({ issue }) => new SessionError({ reason: toReason(issue) })
  )

/**
 * The plugin's settings as those of `SessionConfig`. What the plugin does not
 * expose is as `SessionConfig.kong` has it.
 *
 * **Details**
 *
 * `storage` has no place there: it is the caller's choice of a `SessionStore`
 * layer.
 *
 * @category settings
 * @since 0.1.0
 */
export const toOptions = (settings: Settings): SessionConfig.Options => ({
  ...SessionConfig.kong,
  secret: settings.secret,
  audience: settings.audience,
  idlingTimeout: Duration.seconds(settings.idling_timeout),
  rollingTimeout: Duration.seconds(settings.rolling_timeout),
  absoluteTimeout: Duration.seconds(settings.absolute_timeout),
  staleTtl: Duration.seconds(settings.stale_ttl),
  cookieName: settings.cookie_name,
  cookiePath: settings.cookie_path,
  cookieDomain: settings.cookie_domain ?? "",
  cookieSameSite: settings.cookie_same_site,
  cookieHttpOnly: settings.cookie_http_only,
  cookieSecure: settings.cookie_secure,
  remember: settings.remember,
  rememberCookieName: settings.remember_cookie_name,
  rememberRollingTimeout: Duration.seconds(settings.remember_rolling_timeout),
  rememberAbsoluteTimeout: Duration.seconds(settings.remember_absolute_timeout),
  responseHeaders: settings.response_headers,
  requestHeaders: settings.request_headers,
  hashSubject: settings.hash_subject,
  storeMetadata: settings.store_metadata
})

const nameField = (error: SessionError): SessionError => {
  const { reason } = error
  if (reason._tag !== "InvalidConfig") return error
  const field = reason.setting.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
  return new SessionError({ reason: new InvalidConfig({ ...reason, setting: `config.${field}` }) })
}

/**
 * Provides `SessionConfig` from the plugin's settings.
 *
 * **Details**
 *
 * What `SessionConfig` refuses is named as the plugin names it. A short secret,
 * which Kong accepts, is a logged warning.
 *
 * **Example** (The configuration of a Kong)
 *
 * ```ts
 * import * as assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import * as KongSession from "effect-session/KongSession"
 * import * as SessionConfig from "effect-session/SessionConfig"
 *
 * const program = Effect.flatMap(
 *   KongSession.decode({ secret: "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4", cookie_name: "gate", rolling_timeout: 7200 }),
 *   (settings) => Effect.provide(SessionConfig.SessionConfig, KongSession.layerConfig(settings))
 * )
 * const { cookieName, rollingTimeout } = await Effect.runPromise(program)
 *
 * assert.deepEqual([cookieName, rollingTimeout], ["gate", 7200])
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (settings: Settings): Layer.Layer<SessionConfig.SessionConfig, SessionError> =>
  Layer.effect(SessionConfig.SessionConfig, Effect.mapError(SessionConfig.make(toOptions(settings)), nameField))
