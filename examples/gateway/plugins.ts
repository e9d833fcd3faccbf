/** Which plugins run for a request, in which order. */
import { Effect } from "effect"
import * as Access from "./access.ts"
import * as BasicAuth from "./basicAuth.ts"
import * as KeyAuth from "./keyAuth.ts"
import type { Consumer, Gateway, Placed, Plugin, Route } from "./model.ts"
import { terminate } from "./termination.ts"

type Name = Plugin["name"]

type Of<N extends Name> = Extract<Plugin, { readonly name: N }>

const isOf = <N extends Name>(name: N) => (placed: Placed): placed is Placed<Of<N>> => placed.plugin.name === name

/** How special a place is; `undefined` where it is not that of the request. Kong's `lookup_cfg`. */
const rank = (placed: Placed, route: Route, consumer: Consumer | undefined): number | undefined => {
  const fits = (placed.route === undefined || placed.route === route) &&
    (placed.service === undefined || placed.service === route.service) &&
    (placed.consumer === undefined || placed.consumer === consumer)
  if (!fits) return undefined
  // Each combination with a consumer goes before that without, but a consumer alone goes after route and service.
  const [hasRoute, hasService, hasConsumer] = [placed.route, placed.service, placed.consumer].map((limit) =>
    limit !== undefined
  )
  if (hasConsumer) return hasRoute ? (hasService ? 7 : 6) : hasService ? 5 : 3
  return hasRoute ? (hasService ? 4 : 2) : hasService ? 1 : 0
}

/** The one plugin of a name that runs. */
export const select = <N extends Name>(
  { plugins }: Gateway,
  name: N,
  route: Route,
  consumer: Consumer | undefined
): Of<N> | undefined =>
  plugins
    .filter(isOf(name))
    .flatMap((placed) => {
      const value = rank(placed, route, consumer)
      return value === undefined ? [] : [{ plugin: placed.plugin, value }]
    })
    .toSorted((a, b) => b.value - a.value)[0]?.plugin

type Step = (access: Access.Access) => Effect.Effect<Access.Outcome>

const andThen = (first: Step, second: Step): Step => (access) =>
  Effect.flatMap(
    first(access),
    (outcome) => outcome.answer === undefined ? second(outcome.access) : Effect.succeed(outcome)
  )

const ofConfiguration = <P extends object>(make: (plugin: P) => Step): (plugin: P) => Step => {
  const steps = new WeakMap<P, Step>()
  return (plugin) => {
    const step = steps.get(plugin) ?? make(plugin)
    steps.set(plugin, step)
    return step
  }
}

/** All plugins but the session, which goes before them: those of a route, by Kong's priorities 1250, 1100 and 2. */
export const make = (gateway: Gateway): (route: Route) => Step => {
  const keyAuth = ofConfiguration(({ anonymous, config }: Of<"key-auth">) => KeyAuth.make(config, anonymous, gateway))
  const basicAuth = ofConfiguration(({ anonymous, config }: Of<"basic-auth">): Step => {
    const authenticate = BasicAuth.make(config, anonymous, gateway)
    return (access) => Effect.sync(() => authenticate(access))
  })
  const termination = ({ config }: Of<"request-termination">): Step => (access) =>
    Effect.sync(() => {
      const response = terminate(config, access.request.headers, new URLSearchParams(access.query))
      return response._tag === "Some" ? Access.answer(access, response.value) : Access.proceed(access)
    })
  /** A plugin is looked up when its turn comes, with the consumer that is known by then. */
  const step = <N extends Name>(name: N, route: Route, run: (plugin: Of<N>) => Step): Step => (access) => {
    const plugin = select(gateway, name, route, access.client?.consumer)
    return plugin === undefined ? Effect.succeed(Access.proceed(access)) : run(plugin)(access)
  }
  return (route) =>
    [
      step("key-auth", route, keyAuth),
      step("basic-auth", route, basicAuth),
      step("request-termination", route, termination)
    ].reduce(andThen)
}
