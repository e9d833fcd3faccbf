/** Kong's session plugin: a preset for each place that the file has one in, with a cookie and a store of its own. */
import { Console, Context, Data, Effect, Layer } from "effect"
import type { Scope } from "effect"
import { Base64Url } from "effect/encoding"
import type { HttpServerRequest, HttpServerResponse } from "effect/http"
import type { SqlClient } from "effect/sql"
import * as KongSession from "../../src/KongSession.ts"
import * as KongSessionStore from "../../src/KongSessionStore.ts"
import type { SessionConfig } from "../../src/SessionConfig.ts"
import * as SessionHttp from "../../src/SessionHttp.ts"
import * as SessionStore from "../../src/SessionStore.ts"
import * as Database from "../postgres/database.ts"
import type { Gateway, Plugin } from "./model.ts"

type SessionPlugin = Extract<Plugin, { readonly name: "session" }>

type Handler<E, R> = Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>

type Provided = KongSession.AuthenticatedSession | KongSession.Authentication

/** Both phases, around all that may authenticate a request. */
export type Around = <E, R>(
  handler: Handler<E, R>
) => Handler<E, Exclude<R, Provided> | HttpServerRequest.HttpServerRequest | Scope.Scope>

export class Sessions extends Context.Service<Sessions, ReadonlyMap<SessionPlugin, Around>>()("gateway/Sessions") {}

/** All that is wrong with the plugins' configurations. */
export class InvalidPlugins extends Data.Error<{ readonly message: string }> {}

const pluginsOf = ({ plugins }: Gateway): ReadonlyArray<SessionPlugin> =>
  plugins.flatMap(({ plugin }) => plugin.name === "session" ? [plugin] : [])

interface Decoded {
  readonly plugin: SessionPlugin
  readonly settings: KongSession.Settings
  readonly config: Context.Context<SessionConfig>
}

/** As Kong does, but it tells nobody. */
const withSecret = Effect.fnUntraced(function*({ at, config }: SessionPlugin) {
  if (config["secret"] !== undefined && config["secret"] !== null) return config
  yield* Console.error(`${at}.secret is missing: made one up, and sessions end with this process.`)
  return { ...config, secret: Base64Url.encode(crypto.getRandomValues(new Uint8Array(32))) }
})

const decode = (plugin: SessionPlugin): Effect.Effect<Decoded, InvalidPlugins> =>
  Effect.flatMap(withSecret(plugin), KongSession.decode).pipe(
    Effect.flatMap((settings) =>
      // What does not go together is found out when it is put to use, and that is before anything listens.
      Effect.map(
        Effect.scoped(Layer.build(KongSession.layerConfig(settings))),
        (config) => ({ plugin, settings, config })
      )
    ),
    Effect.mapError(({ message }) => new InvalidPlugins({ message: message.replace(/^config/, plugin.at) }))
  )

/** The settings of all of them, or what is wrong with any. */
export const decodeAll = (gateway: Gateway): Effect.Effect<ReadonlyArray<Decoded>, InvalidPlugins> =>
  Effect.flatMap(Effect.partition(pluginsOf(gateway), decode), ([decoded, failed]) =>
    failed.length === 0
      ? Effect.succeed(decoded)
      : Effect.fail(new InvalidPlugins({ message: failed.map(({ message }) => message).join("\n") })))

type Tables = Context.Context<SqlClient.SqlClient>

/** Kong's tables, made if they are missing: once, however many plugins keep their sessions there. */
const tables = Layer.provideMerge(KongSessionStore.layerMigrations({}), Database.layer)

const store = (tables: Tables | undefined) =>
  tables === undefined
    ? SessionStore.layerCookie
    : Layer.provide(KongSessionStore.layerStorage({}), Layer.succeedContext(tables))

const services = ({ config, settings }: Decoded, tables: Tables | undefined) =>
  Layer.provideMerge(
    Layer.merge(SessionHttp.layerServices, store(settings.storage === "kong" ? tables : undefined)),
    Layer.succeedContext(config)
  )

const consumersOf = ({ consumers }: Gateway): Layer.Layer<KongSession.Consumers> =>
  KongSession.layerConsumers(consumers.map(({ customId, id, username }) => ({ id, username, custom_id: customId })))

/** The plugins, with a database if one of them needs it. */
export const layer = (gateway: Gateway, decoded: ReadonlyArray<Decoded>) =>
  Layer.effect(
    Sessions,
    Effect.gen(function*() {
      const needsTables = decoded.some(({ settings }) => settings.storage === "kong")
      const built = needsTables ? yield* Layer.build(tables) : undefined
      const around = new Map<SessionPlugin, Around>()
      for (const one of decoded) {
        const context = yield* Layer.build(services(one, built))
        around.set(one.plugin, yield* Effect.provideContext(KongSession.make(one.settings), context))
      }
      return around
    })
  ).pipe(Layer.provide(consumersOf(gateway)))
