/**
 * A world in which nothing happens by itself: fibers, time and stores go on when
 * the simulator says so, one after the other, and so the same way every time.
 *
 * The application runs on Effect's own runtime, on a scheduler that is a queue.
 * Each operation of its store waits until it is decided what becomes of it.
 * Everything is quiet when the queue is empty, and then the next decision is due.
 */
import { Context, Duration, Effect } from "effect"
import type { Clock, Exit, Fiber, Scheduler } from "effect"
import { SessionError, StoreFailed } from "../SessionError.ts"
import type { Call, OperationName } from "./simCall.ts"

/** What a call asked of the store, or of the world. */
export interface Operation {
  readonly call: Call
  /** Its number among those of its call. */
  readonly index: number
  readonly name: OperationName
  /** What it is about, for the trace. */
  readonly about: string
  state: "Waiting" | "Executed" | "Answered"
  /** Whether nobody waits for the answer any more. It may still reach the store. */
  abandoned: boolean
  /** What the store answered, for the trace. */
  said: string
  /** Carries it out at the store. */
  readonly execute: () => Promise<void>
  /** Tells the call what the store said, or that it failed. */
  readonly answer: (failed: boolean) => void
}

/** Those who follow an operation. */
export interface Watch<A> {
  /** The store has carried it out; in words. */
  readonly executed: (exit: Exit.Exit<A, SessionError>) => string
  /** The call was told that it succeeded. */
  readonly acknowledged?: () => void
}

/** The call that a fiber works for. */
export const Current: Context.Reference<Call | undefined> = Context.Reference<Call | undefined>(
  "effect-session/simulator/Call",
  { defaultValue: () => undefined }
)

interface Sleeper {
  readonly at: number
  readonly call: Call | undefined
  readonly wake: () => void
}

/** Whole seconds at which the first episode begins; any would do. */
const beginning = 1_800_000_000

/** As many turns of the event loop as a call gets that waits for something which is not the simulator's; then it hangs. */
const patience = 5000

export class World {
  readonly #tasks: Array<() => void> = []
  readonly #real: Context.Context<never>
  #sleepers: Array<Sleeper> = []
  #millis = beginning * 1000
  operations: Array<Operation> = []
  calls: Array<Call> = []

  /** `real` is the context in which stores work: with timers, sockets and a scheduler of their own. */
  constructor(real: Context.Context<never>) {
    this.#real = real
  }

  /** Whole unix seconds. */
  get now(): number {
    return Math.floor(this.#millis / 1000)
  }

  /** Forgets what is under way. */
  clear(): void {
    this.#tasks.length = 0
    this.#sleepers = []
    this.operations = []
    this.calls = []
  }

  readonly scheduler: Scheduler.Scheduler = {
    executionMode: "async",
    shouldYield: () => false,
    makeDispatcher: () => ({
      scheduleTask: (task) => {
        this.#tasks.push(task)
      },
      flush: () => this.#drain()
    })
  }

  readonly clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => this.#millis,
    currentTimeMillis: Effect.sync(() => this.#millis),
    currentTimeNanosUnsafe: () => BigInt(this.#millis) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => BigInt(this.#millis) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => BigInt(this.#millis) * 1_000_000n,
    monotonicTimeNanos: Effect.sync(() => BigInt(this.#millis) * 1_000_000n),
    sleep: (duration) => this.#sleep(duration)
  }

  #sleep(duration: Duration.Duration): Effect.Effect<void> {
    return Effect.withFiber((fiber) =>
      Effect.callback((resume) => {
        const sleeper: Sleeper = {
          at: this.#millis + Duration.toMillis(duration),
          call: Context.get(fiber.context, Current),
          wake: () => resume(Effect.void)
        }
        this.#sleepers.push(sleeper)
        return Effect.sync(() => {
          this.#sleepers = this.#sleepers.filter((other) => other !== sleeper)
        })
      })
    )
  }

  /** Lets time pass, and those wake up whose time has come. */
  async advance(seconds: number): Promise<void> {
    const until = this.#millis + seconds * 1000
    for (;;) {
      const next = this.#sleepers.reduce<Sleeper | undefined>(
        (first, sleeper) => sleeper.at <= until && (first === undefined || sleeper.at < first.at) ? sleeper : first,
        undefined
      )
      if (next === undefined) break
      this.#sleepers = this.#sleepers.filter((other) => other !== next)
      this.#millis = next.at
      if (next.call?.crashed !== true) next.wake()
      await this.settle()
    }
    this.#millis = until
  }

  #drain(): void {
    for (let index = 0; index < this.#tasks.length; index++) this.#tasks[index]?.()
    this.#tasks.length = 0
  }

  /** Lets everything run until it waits for the simulator. */
  async settle(): Promise<void> {
    for (let turns = 0; turns < patience; turns++) {
      do {
        this.#drain()
        // A response is a promise.
        await undefined
      } while (this.#tasks.length > 0)
      if (!this.calls.some((call) => this.#works(call))) return
      // A runtime whose crypto is asynchronous.
      await Effect.runPromise(turns < patience / 2 ? Effect.yieldNow : Effect.sleep(1))
    }
  }

  /**
   * An operation that waits for the simulator's decision. `watch` sees who asks for it.
   */
  operation<A>(
    name: OperationName,
    about: string,
    run: Effect.Effect<A, SessionError>,
    watch: (call: Call) => Watch<A>
  ): Effect.Effect<A, SessionError> {
    return Effect.withFiber((fiber) => {
      const call = Context.get(fiber.context, Current)
      if (call === undefined) return run
      const { acknowledged, executed } = watch(call)
      return Effect.callback((resume) => {
        let exit: Exit.Exit<A, SessionError> | undefined
        const operation: Operation = {
          call,
          index: call.operations++,
          name,
          about,
          state: "Waiting",
          abandoned: false,
          said: "",
          execute: async () => {
            const result = exitOf(Effect.runForkWith(this.#real)(run))
            exit = result instanceof Promise ? await result : result
            operation.said = executed(exit)
            operation.state = "Executed"
          },
          answer: (failed) => {
            operation.state = "Answered"
            this.operations = this.operations.filter((other) => other !== operation)
            if (operation.abandoned || call.crashed) return
            if (failed || exit === undefined) {
              call.faulted = true
              resume(outage(name))
            } else {
              if (exit._tag === "Success") acknowledged?.()
              resume(exit)
            }
          }
        }
        this.operations.push(operation)
        return Effect.sync(() => {
          operation.abandoned = true
          call.faulted = true
        })
      })
    })
  }

  /** Whether a call has something to do that does not depend on the simulator. */
  #works(call: Call): boolean {
    return !call.crashed && call.reply === undefined &&
      !this.operations.some((operation) => operation.call === call && !operation.abandoned)
  }
}

const exitOf = <A, E>(fiber: Fiber.Fiber<A, E>): Exit.Exit<A, E> | Promise<Exit.Exit<A, E>> =>
  fiber.pollUnsafe() ?? new Promise((resolve) => {
    fiber.addObserver(resolve)
  })

const outage = (name: OperationName): Effect.Effect<never, SessionError> =>
  Effect.fail(
    new SessionError({
      reason: new StoreFailed({
        operation: name === "pause" ? "commit" : name,
        cause: new Error("The simulated network lost it")
      })
    })
  )
