/**
 * Sequences of requests, clock moves and changes of configuration, on which rules and
 * model have to agree.
 */
import * as fc from "fast-check"
import { json } from "./codec.ts"
import { Configure, garbage, MoveTo, nothingHeld, Plant, Request, Rotate, Wait } from "./stateCommands.ts"
import type * as Model from "./stateModel.ts"
import type { Config, Operation } from "./stateModel.ts"
import type { Rules } from "./stateWorld.ts"

const audience = fc.constantFrom("a", "b", "c")
const subject = fc.constantFrom(undefined, "alice", "bob")
/** What takes three cookies: nothing can compress it. */
const large = Array.from({ length: 1000 }, (_, i) => Math.sin(i + 1).toString(36).slice(-9)).join("")
const data = fc.oneof({ weight: 8, arbitrary: fc.nat(9) }, { weight: 2, arbitrary: json }, fc.constant(large))

const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("write"), audience, data }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("subject"), audience, subject }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("logout"), audience }) },
  fc.record({ do: fc.constant("remember"), wanted: fc.boolean() }),
  fc.record({ do: fc.constant("renew") }),
  fc.record({ do: fc.constant("destroy") })
)

const presents = fc.oneof(
  { weight: 12, arbitrary: fc.constant("held" as const) },
  { weight: 2, arbitrary: fc.nat(20) },
  { weight: 2, arbitrary: fc.constant("remembered" as const) },
  fc.constant("nothing" as const),
  fc.constant(garbage)
)

const refresh = fc.constantFrom(true, true, true, false)

const quiet = fc.tuple(presents, refresh).map(([presents, refresh]) => new Request(presents, [], refresh))

const request = fc.tuple(presents, fc.array(operation, { minLength: 1, maxLength: 5 }), refresh)
  .map(([presents, operations, refresh]) => new Request(presents, operations, refresh))

const offset = fc.oneof(fc.constant(0), fc.nat(100), fc.nat(5000), fc.nat(2 ** 24 - 1))

const plant = fc.tuple(
  fc.record({
    forget: fc.boolean(),
    parts: fc.uniqueArray(fc.record({ audience, data: fc.nat(9), subject }), {
      selector: ({ audience }) => audience,
      minLength: 1
    })
  }),
  fc.record({ created: fc.oneof(fc.integer({ min: -62, max: 5000 }), fc.nat(2 ** 33)), saved: offset, touched: offset })
).map(([version, ages]) => new Plant(version, ages))

const timeout = fc.oneof(
  fc.constantFrom(0, 0, 1, 2, 3, 4, 5, 7, 10, 61, 900, 3600, 86_400),
  fc.constantFrom(2 ** 24 - 1, 2 ** 24, 2 ** 25, 400 * 86_400, 2 ** 32 - 1, 2 ** 33),
  fc.integer({ min: 1, max: 100_000 })
)

const settings = {
  idlingTimeout: timeout,
  rollingTimeout: timeout,
  absoluteTimeout: timeout,
  remember: fc.constantFrom(true, true, false),
  rememberRollingTimeout: timeout,
  rememberAbsoluteTimeout: timeout,
  touchThreshold: fc.constantFrom(0, 1, 3, 60, 60, 899, 2 ** 24),
  enforceSameSubject: fc.boolean(),
  placement: fc.constantFrom<Array<Config["placement"]>>("Cookie", "Cookie", "Cookie", "Server")
}

/** Where sessions live so long that the 24 bits of the idling offset do not suffice. */
const patient = { idlingTimeout: 2 ** 25, rollingTimeout: 0, absoluteTimeout: 0, touchThreshold: 60 }

const configure = fc.oneof(
  { weight: 4, arbitrary: fc.record(settings, { requiredKeys: [] }) },
  fc.constant(patient)
).map((change) => new Configure(change))

const wait = fc.oneof(
  fc.constantFrom(1, 60, 61, 900, -1, -60, -61),
  fc.integer({ min: -100, max: 5000 }),
  fc.integer({ min: -10_000, max: 2 ** 25 })
).map((seconds) => new Wait(seconds))

const boundary = fc.constantFrom<Array<Model.Boundary>>(
  "skew",
  "created",
  "saved",
  "touched",
  "touch",
  "save",
  "idling",
  "rolling",
  "absolute",
  "cap",
  "lifetime"
)

const of = fc.constantFrom<Array<MoveTo["of"]>>("session", "session", "remember")

const moveTo = fc.tuple(of, boundary, fc.constantFrom(-1, 0, 1, 2))
  .map(([of, name, delta]) => new MoveTo(of, name, delta))

const rotate = fc.nat(2).map((keep) => new Rotate(keep))

// What stands here twice comes twice as often.
const sequence = fc.commands(
  [request, request, request, quiet, quiet, moveTo, moveTo, moveTo, wait, configure, plant, rotate],
  { maxCommands: 40, size: "max" }
)

const config: fc.Arbitrary<Config> = fc.record({ ...settings, keys: fc.constant<Config["keys"]>(["key 0"]) })

/** What a long enough search comes across: outcomes, refusals, and rare circumstances. */
export const everything = Object.values({
  deeds: ["nothing", "clear", "touch", "save Create", "save Create, ends another", "save Supersede", "save Renew"],
  verdicts: ["stands", "no session", "InvalidType", "InvalidFlags", "CreatedInFuture", "LifetimeExceeded"],
  timeouts: ["AbsoluteTimeout", "RollingTimeout", "IdlingTimeout"],
  rotation: ["InvalidMac", "old key, clear", "old key, nothing", "old key, save", "old key, touch"],
  clocks: ["clock behind, clear", "clock behind, nothing", "clock behind, save", "capped"],
  remembered: ["save Create, remembered", "save Supersede, remembered", "save Renew, remembered"],
  notRemembered: ["save Create, not remembered", "save Supersede, not remembered", "save Renew, not remembered"],
  rescues: ["rescued, nothing", "rescued, clear", "rescued, save", "save Rescue, remembered"],
  renewedRescues: ["save RescueAndRenew, remembered"],
  refusedRescues: ["remember: RollingTimeout", "remember: AbsoluteTimeout", "remember: InvalidMac"],
  moreRefusedRescues: ["remember: InvalidFlags", "remember: CreatedInFuture", "remember: LifetimeExceeded"],
  forgetful: ["forget, Create", "forget, Supersede", "forget, Renew"]
}).flat()

/** That these rules and the model agree on whatever happens. What did is added to `seen`. */
export const agreement = (rules: Rules, seen = new Set<string>()): fc.IAsyncProperty<unknown> =>
  fc.asyncProperty(config, sequence, (config, sequence) =>
    fc.asyncModelRun(
      () => ({
        model: { now: 1_795_400_000, config, holds: nothingHeld, past: [] },
        real: { rules, rows: new Map(), cookies: "", past: [], compared: undefined, seen }
      }),
      sequence
    ))
