/** Many episodes, one after the other, until one of them breaks an invariant; that one is made short. */
import { Context, Effect, Layer } from "effect"
import type { Scope } from "effect"
import * as Crypto from "../Crypto.ts"
import type { Options as Settings } from "../SessionConfig.ts"
import { SessionPort, SessionStore } from "../SessionStore.ts"
import type { Port } from "../SessionStore.ts"
import { Actors } from "./simActors.ts"
import type { Fault } from "./simActors.ts"
import * as Application from "./simApp.ts"
import type { App, Stack } from "./simApp.ts"
import { Episode } from "./simEpisode.ts"
import type { Counts } from "./simEpisode.ts"
import type { Times } from "./simHistory.ts"
import * as SimulatedPort from "./simPort.ts"
import * as Random from "./simRandom.ts"
import type { Violation } from "./simRecord.ts"
import * as Script from "./simScript.ts"
import type { Step } from "./simScript.ts"
import { World } from "./simWorld.ts"

export interface Plan {
  readonly seed: number
  /** Episodes are run until there have been so many sessions. */
  readonly sessions: number
  readonly faults: ReadonlyArray<Fault>
  readonly stack: Stack
}

export interface Failure extends Violation {
  /** With this seed, the first episode is the one that failed. */
  readonly seed: number
  readonly trace: ReadonlyArray<string>
  readonly steps: number
  /** Whether the shortened script failed in the same way each time. */
  readonly reproducible: boolean
}

export interface Outcome extends Counts {
  readonly episodes: number
  readonly failure: Failure | undefined
}

/** The settings that episodes have, in turn by chance. Small numbers, so that boundaries are met. */
const variants: readonly [Variant, ...Array<Variant>] = [
  variant({ idlingTimeout: 900, rollingTimeout: 3600, absoluteTimeout: 86_400, touchThreshold: 60, staleTtl: 10 }),
  variant(
    { idlingTimeout: 0, rollingTimeout: 300, absoluteTimeout: 1200, touchThreshold: 60, staleTtl: 10 },
    { onReuse: "revoke" },
    { rolling: 2000, absolute: 5000 }
  ),
  variant(
    { idlingTimeout: 200, rollingTimeout: 0, absoluteTimeout: 0, touchThreshold: 30, staleTtl: 3 },
    { onGone: "fail" }
  ),
  variant({ idlingTimeout: 100, rollingTimeout: 120, absoluteTimeout: 300, touchThreshold: 20, staleTtl: 0 }),
  variant(
    { idlingTimeout: 100, rollingTimeout: 120, absoluteTimeout: 300, touchThreshold: 20, staleTtl: 5 },
    {},
    { rolling: 400, absolute: 700 }
  )
]

interface Variant {
  readonly times: Times
  readonly settings: Settings
  readonly onReuseRevokes: boolean
}

function variant(
  timeouts: Pick<Times, "absoluteTimeout" | "idlingTimeout" | "rollingTimeout" | "staleTtl" | "touchThreshold">,
  rest: Pick<Settings, "onReuse" | "onGone"> = {},
  remember?: { readonly rolling: number; readonly absolute: number }
): Variant {
  const times: Times = {
    ...timeouts,
    commitTimeout: 5,
    remember: remember !== undefined,
    rememberRollingTimeout: remember?.rolling ?? 3600,
    rememberAbsoluteTimeout: remember?.absolute ?? 7200
  }
  return {
    times,
    settings: {
      ...rest,
      idlingTimeout: `${times.idlingTimeout} seconds`,
      rollingTimeout: `${times.rollingTimeout} seconds`,
      absoluteTimeout: `${times.absoluteTimeout} seconds`,
      touchThreshold: `${times.touchThreshold} seconds`,
      staleTtl: `${times.staleTtl} seconds`,
      commitTimeout: `${times.commitTimeout} seconds`,
      remember: times.remember,
      rememberSafety: "Low",
      rememberRollingTimeout: `${times.rememberRollingTimeout} seconds`,
      rememberAbsoluteTimeout: `${times.rememberAbsoluteTimeout} seconds`
    },
    onReuseRevokes: rest.onReuse === "revoke"
  }
}

/** As many tries as shortening a script may take. */
const shrinkBudget = 400

class Runner {
  readonly #plan: Plan
  readonly #world: World
  readonly #store: Port
  readonly #placement: SessionStore["Service"]
  readonly #crypto: Crypto.Crypto["Service"]
  readonly #real: Context.Context<never>
  readonly #apps = new Map<Variant, App>()
  #episode: Episode | undefined
  #attempts = 0

  constructor(
    plan: Plan,
    placement: SessionStore["Service"],
    port: Port,
    crypto: Crypto.Crypto["Service"],
    real: Context.Context<never>
  ) {
    this.#plan = plan
    this.#placement = placement
    this.#store = plan.stack.store(port)
    this.#crypto = crypto
    this.#real = real
    this.#world = new World(real)
  }

  async #app(variant: Variant): Promise<App> {
    const known = this.#apps.get(variant)
    if (known !== undefined) return known
    const current = (): Episode => {
      if (this.#episode === undefined) throw new Error("No episode has begun")
      return this.#episode
    }
    const app = await Application.start(
      this.#world,
      this.#placement,
      SimulatedPort.make(this.#world, this.#store, () => current().checker, () => current().atRest),
      (size) => current().randomBytes(size),
      variant.settings,
      this.#plan.stack
    )
    this.#apps.set(variant, app)
    return app
  }

  async #begin(seed: number, random: Random.Source): Promise<Episode> {
    const variant = random.pick(variants)
    const app = await this.#app(variant)
    this.#episode = new Episode(
      {
        world: this.#world,
        app,
        times: variant.times,
        onReuseRevokes: variant.onReuseRevokes,
        sealed: this.#placement._tag === "Server" && this.#placement.layout === "Own",
        crypto: this.#crypto
      },
      seed,
      this.#attempts++
    )
    return this.#episode
  }

  /** An episode made up as it goes, and what it was. */
  async #improvise(seed: number): Promise<readonly [Episode, ReadonlyArray<Step>]> {
    const random = Random.make(seed)
    const episode = await this.#begin(seed, random)
    const actors = new Actors(random, this.#plan.faults)
    const script: Array<Step> = []
    for (let left = 30 + random.below(90); left > 0 && episode.checker.violation === undefined; left--) {
      const step = actors.next(episode)
      script.push(step)
      await episode.perform(step)
    }
    if (episode.checker.violation === undefined) await episode.finish()
    await this.#clean(episode)
    return [episode, script]
  }

  async #replay(seed: number, script: ReadonlyArray<Step>): Promise<Episode> {
    const episode = await this.#begin(seed, Random.make(seed))
    for (const step of script) {
      if (episode.checker.violation !== undefined) break
      await episode.perform(step)
    }
    if (episode.checker.violation === undefined) await episode.finish()
    await this.#clean(episode)
    return episode
  }

  /** Leaves the store as it was, and lets all grace and every timeout pass. */
  async #clean(episode: Episode): Promise<void> {
    this.#world.clear()
    for (const { handle } of episode.checker.history.chains) {
      await Effect.runPromiseWith(this.#real)(this.#store.revoke(handle))
    }
    await this.#world.advance(100_000)
  }

  async #explain(seed: number, script: ReadonlyArray<Step>, failed: Episode, violation: Violation): Promise<Failure> {
    const { invariant } = violation
    let best = { episode: failed, violation, script }
    let reproducible = true
    const fails = async (candidate: ReadonlyArray<Step>): Promise<boolean> => {
      const episode = await this.#replay(seed, candidate)
      const found = episode.checker.violation
      if (found?.invariant !== invariant) return false
      best = { episode, violation: found, script: candidate }
      return true
    }
    if (await fails(script)) await Script.shrink(script, fails, shrinkBudget)
    else reproducible = false
    return {
      ...best.violation,
      seed,
      steps: best.script.length,
      trace: best.episode.trace,
      reproducible
    }
  }

  async run(): Promise<Outcome> {
    const total = { sessions: 0, requests: 0, operations: 0, faults: 0, crashes: 0 }
    for (let episodes = 0;; episodes++) {
      if (total.sessions >= this.#plan.sessions) return { ...total, episodes, failure: undefined }
      const seed = (this.#plan.seed + episodes) >>> 0
      const [episode, script] = await this.#improvise(seed)
      total.sessions += episode.checker.history.chains.length
      total.requests += episode.counts.requests
      total.operations += episode.counts.operations
      total.faults += episode.counts.faults
      total.crashes += episode.counts.crashes
      const { violation } = episode.checker
      if (violation !== undefined) {
        return { ...total, episodes: episodes + 1, failure: await this.#explain(seed, script, episode, violation) }
      }
    }
  }

  async dispose(): Promise<void> {
    for (const app of this.#apps.values()) await app.dispose()
  }
}

/** Runs a plan on the store of the context. */
export const run = (plan: Plan): Effect.Effect<Outcome, never, SessionStore | SessionPort | Scope.Scope> =>
  Effect.gen(function*() {
    const crypto = yield* Effect.map(Layer.build(Crypto.layer), (context) => Context.get(context, Crypto.Crypto))
    const runner = new Runner(
      plan,
      yield* SessionStore,
      yield* SessionPort,
      crypto,
      yield* Effect.context<never>()
    )
    yield* Effect.addFinalizer(() => Effect.promise(() => runner.dispose()))
    return yield* Effect.promise(() => runner.run())
  })
