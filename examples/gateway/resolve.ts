/** From a declarative file to what the gateway works on: defaults, references, ids, and all that is wrong with it. */
import { Redacted, Result } from "effect"
import { fingerprint } from "./model.ts"
import type { Consumer, Credential, Gateway, Placed, Plugin, Route, Service } from "./model.ts"
import * as Schema from "./schema.ts"
import { idOf } from "./uuid.ts"

type At = ReadonlyArray<PropertyKey>

/** Where an entity was found, and what it is nested in. */
interface Found<A> {
  readonly value: A
  readonly at: At
  readonly parents: Parents
}

interface Parents {
  readonly service?: Service | undefined
  readonly route?: Route | undefined
  readonly consumer?: Consumer | undefined
}

/** Entities of one kind under the names that others may call them by. */
class Named<A> {
  readonly #kind: string
  readonly #names = new Map<string, A>()
  readonly #problems: Array<string>

  constructor(kind: string, problems: Array<string>) {
    this.#kind = kind
    this.#problems = problems
  }

  add(names: ReadonlyArray<string | undefined>, entity: A, at: At): void {
    const taken = names.find((name) => name !== undefined && this.#names.has(name))
    if (taken !== undefined) this.#problems.push(`${Schema.pathOf(at)}: another of ${this.#kind} is called ${taken}`)
    for (const name of names) {
      if (name !== undefined) this.#names.set(name, entity)
    }
  }

  /** What an entity refers to, or stands in. */
  refer(name: string | undefined, parent: A | undefined, at: At): A | undefined {
    if (name === undefined) return parent
    const found = this.#names.get(name)
    if (found === undefined) this.#problems.push(`${Schema.pathOf(at)}: there is no ${name} among ${this.#kind}`)
    if (found !== undefined && parent !== undefined && found !== parent) {
      this.#problems.push(`${Schema.pathOf(at)}: contradicts the entity that this one is nested in`)
    }
    return found
  }
}

const each = <A>(values: ReadonlyArray<A> | undefined, at: At, parents: Parents = {}): ReadonlyArray<Found<A>> =>
  (values ?? []).map((value, index) => ({ value, at: [...at, index], parents }))

const ports = { http: 80, https: 443 }

const toService = ({ at, value }: Found<Schema.Service>, problems: Array<string>): Service => {
  const refuse = (problem: string) => void problems.push(`${Schema.pathOf(at)}${problem}`)
  const timeouts = {
    retries: value.retries,
    connectTimeout: value.connect_timeout,
    writeTimeout: value.write_timeout,
    readTimeout: value.read_timeout
  }
  if (value.url === undefined) {
    if (value.host === undefined) refuse(": must have a url or a host")
    // As in Kong, whose default is 80 whatever the protocol.
    const { host = "", path = "/", port = 80, protocol = "http" } = value
    return { ...timeouts, protocol, host: host.includes(":") ? `[${host}]` : host, port, path }
  }
  const url = URL.parse(value.url)
  const protocol = url?.protocol.slice(0, -1)
  if (url === null || (protocol !== "http" && protocol !== "https")) {
    refuse(".url is no http or https URL")
    return { ...timeouts, protocol: "http", host: "", port: 80, path: "/" }
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    refuse(".url: credentials, a query and a fragment are not supported")
  }
  return {
    ...timeouts,
    protocol,
    host: url.hostname,
    port: url.port === "" ? ports[protocol] : Number(url.port),
    path: url.pathname
  }
}

const toRoute = ({ value }: Found<Schema.Route>, service: Service | undefined): Route => ({
  methods: value.methods ?? [],
  hosts: (value.hosts ?? []).map((host) => host.toLowerCase()),
  paths: value.paths ?? [],
  stripPath: value.strip_path,
  preserveHost: value.preserve_host,
  service
})

/** The plugins of entities, each nested in its own. */
const nested = <A extends { readonly plugins?: ReadonlyArray<Schema.Plugin> }>(
  { at, parents, value }: Found<A>,
  parent: Parents
): ReadonlyArray<Found<Schema.Plugin>> => each(value.plugins, [...at, "plugins"], { ...parents, ...parent })

const toPlugin = (
  { at, value: { config, name } }: Found<Schema.Plugin>,
  consumers: Named<Consumer>,
  problems: Array<string>
): Plugin | undefined => {
  const place = [...at, "config"]
  const report = (found: ReadonlyArray<string>): undefined => void problems.push(...found)
  const anonymous = (reference: string | undefined) => consumers.refer(reference, undefined, [...place, "anonymous"])
  switch (name) {
    case "session":
      return { name, config, at: Schema.pathOf(place) }
    case "key-auth":
      return Result.match(Schema.decode(Schema.KeyAuth, withoutNulls(config), place), {
        onFailure: report,
        onSuccess: (config) => ({ name, config, anonymous: anonymous(config.anonymous) })
      })
    case "basic-auth":
      return Result.match(Schema.decode(Schema.BasicAuth, withoutNulls(config), place), {
        onFailure: report,
        onSuccess: (config) => ({ name, config, anonymous: anonymous(config.anonymous) })
      })
    case "request-termination":
      return Result.match(Schema.decode(Schema.Termination, withoutNulls(config), place), {
        onFailure: report,
        onSuccess: (config) => ({ name, config })
      })
    default:
      return report([
        `${Schema.pathOf(at)}.name: the plugin ${name} is not supported; ` +
        "session, key-auth, basic-auth and request-termination are"
      ])
  }
}

/** In a declarative file `null` says the same as leaving the field out, but in the configuration of the session plugin. */
const withoutNulls = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutNulls)
  if (typeof value !== "object" || value === null) return value
  const entries = Object.entries(value).filter(([, field]) => field !== null)
  return Object.fromEntries(
    entries.map(([key, field]) => [key, key === "config" ? field : withoutNulls(field)])
  )
}

/** Kong calls a credential by its secret, and so does its id. */
const toCredential = (
  kind: "keyauth_credentials" | "basicauth_credentials",
  id: string | undefined,
  name: string,
  consumer: Consumer
): Credential => {
  const own = id ?? idOf(kind, name)
  return { id: own, identifier: kind === "basicauth_credentials" ? name : own, consumer }
}

/** The gateway that a parsed file describes; or all that is wrong with it, each with its path in the file. */
export const resolve = (input: unknown): Result.Result<Gateway, ReadonlyArray<string>> =>
  Result.flatMap(Schema.decode(Schema.Declarative, withoutNulls(input), []), build)

const build = (file: Schema.Declarative): Result.Result<Gateway, ReadonlyArray<string>> => {
  const problems: Array<string> = []
  const services = new Named<Service>("services", problems)
  const routes = new Named<Route>("routes", problems)
  const consumers = new Named<Consumer>("consumers", problems)

  const placedServices = each(file.services, ["services"]).map((found) => {
    const service = toService(found, problems)
    services.add([found.value.name, found.value.id], service, found.at)
    return { found, service }
  })
  const disabled = new Set(placedServices.flatMap(({ found, service }) => found.value.enabled ? [] : [service]))

  const placedRoutes = [
    ...placedServices.flatMap(({ found, service }) => each(found.value.routes, [...found.at, "routes"], { service })),
    ...each(file.routes, ["routes"])
  ].map((found) => {
    const route = toRoute(found, services.refer(found.value.service, found.parents.service, [...found.at, "service"]))
    routes.add([found.value.name, found.value.id], route, found.at)
    return { found, route }
  })

  const groups = new Map<Consumer, Array<string>>()
  const placedConsumers = each(file.consumers, ["consumers"]).map((found) => {
    const { custom_id: customId, id, username } = found.value
    const own: Array<string> = []
    const name = username ?? customId ?? ""
    const consumer = { id: id ?? idOf("consumers", name), username, customId, groups: own }
    groups.set(consumer, own)
    consumers.add([username, consumer.id], consumer, found.at)
    return { found, consumer }
  })

  /** Those of one kind, in consumers and at the top, with their consumer. */
  const ofConsumers = <A extends { readonly consumer?: string }>(
    kind: keyof Schema.Credentials,
    pick: (holder: Schema.Credentials) => ReadonlyArray<A> | undefined
  ) =>
    [
      ...placedConsumers.flatMap(({ consumer, found }) => each(pick(found.value), [...found.at, kind], { consumer })),
      ...each(pick(file), [kind])
    ].flatMap(({ at, parents, value }) => {
      if (value.consumer === undefined && parents.consumer === undefined) {
        problems.push(`${Schema.pathOf(at)}.consumer is missing`)
      }
      const consumer = consumers.refer(value.consumer, parents.consumer, [...at, "consumer"])
      return consumer === undefined ? [] : [{ at, value, consumer }]
    })

  for (const { consumer, value } of ofConsumers("acls", ({ acls }) => acls)) {
    groups.get(consumer)?.push(value.group)
  }

  const keys = new Map<string, Credential>()
  for (const { at, consumer, value } of ofConsumers("keyauth_credentials", (holder) => holder.keyauth_credentials)) {
    const key = Redacted.value(value.key)
    if (keys.has(fingerprint(key))) problems.push(`${Schema.pathOf(at)}.key is another credential's too`)
    keys.set(fingerprint(key), toCredential("keyauth_credentials", value.id, key, consumer))
  }

  const passwords = new Map<string, { readonly credential: Credential; readonly password: Redacted.Redacted }>()
  for (
    const { at, consumer, value } of ofConsumers("basicauth_credentials", (holder) => holder.basicauth_credentials)
  ) {
    const { id, password, username } = value
    if (passwords.has(username)) problems.push(`${Schema.pathOf(at)}.username is another credential's too`)
    passwords.set(username, { password, credential: toCredential("basicauth_credentials", id, username, consumer) })
  }

  const taken = new Set<string>()
  const ids = new Map<unknown, number>()
  const idFor = (entity: unknown): number => {
    const id = ids.get(entity) ?? ids.size
    ids.set(entity, id)
    return id
  }
  const plugins = [
    ...placedServices.flatMap(({ found, service }) => nested(found, { service })),
    // A route's plugin belongs to the route alone, wherever the route is.
    ...placedRoutes.flatMap(({ found, route }) => nested({ ...found, parents: {} }, { route })),
    ...placedConsumers.flatMap(({ consumer, found }) => nested(found, { consumer })),
    ...each(file.plugins, ["plugins"])
  ].flatMap((found): ReadonlyArray<Placed> => {
    const { at, parents, value } = found
    const plugin = toPlugin(found, consumers, problems)
    const route = routes.refer(value.route, parents.route, [...at, "route"])
    const service = services.refer(value.service, parents.service, [...at, "service"])
    const consumer = consumers.refer(value.consumer, parents.consumer, [...at, "consumer"])
    if (plugin === undefined) return []
    if (consumer !== undefined && plugin.name !== "request-termination") {
      problems.push(`${Schema.pathOf(at)}: ${plugin.name} cannot be limited to a consumer`)
    }
    const place = [plugin.name, ...[route, service, consumer].map(idFor)].join()
    if (taken.has(place)) problems.push(`${Schema.pathOf(at)}: another ${plugin.name} plugin has the same place`)
    taken.add(place)
    return value.enabled ? [{ plugin, route, service, consumer }] : []
  })

  if (problems.length > 0) return Result.fail(problems)
  return Result.succeed({
    routes: placedRoutes.flatMap(({ route }) =>
      route.service !== undefined && disabled.has(route.service) ? [] : [route]
    ),
    consumers: placedConsumers.map(({ consumer }) => consumer),
    keys,
    passwords,
    plugins
  })
}
