/** Cookies by the thousand: a line of JSON for each, and a line of JSON for each answer. */
import { Cache, Data, Effect, FileSystem, Option, Redacted, References, Schema, Sink, Stdio, Stream } from "effect"
import * as SessionConfig from "../SessionConfig.ts"
import type { Settings } from "../SessionConfig.ts"
import { code, failed, Failure, oneLine, usage } from "./failure.ts"
import * as Reference from "./referenceConfig.ts"
import { presetOf, resolve, type Source } from "./settings.ts"
import { type Answer, engine, no, open } from "./verdict.ts"

/** What else stands in a line is for its reader: vectors have names and notes. */
const Line = Schema.fromJsonString(Schema.Struct({
  cookie_header: Schema.NullOr(Schema.String),
  now: Schema.optionalKey(Schema.NullOr(Schema.Int)),
  config: Schema.optionalKey(Schema.NullOr(Schema.Json)),
  ip: Schema.optionalKey(Schema.NullOr(Schema.String)),
  scheme: Schema.optionalKey(Schema.NullOr(Schema.Literals(["http", "https"]))),
  user_agent: Schema.optionalKey(Schema.NullOr(Schema.String))
}))

const decodeLine = Schema.decodeUnknownEffect(Line)

/** As many configurations as are kept ready. */
const maxEngines = 64

/** As many cookies as are opened at once: PBKDF2 works beside the event loop. */
const concurrency = 8

/** What stands in a line and cannot be used. */
class Unusable extends Data.TaggedError("Unusable")<{ readonly text: string }> {}

const unusable = (what: string) => (error: { readonly message: string }): Unusable =>
  new Unusable({ text: oneLine(`${what}: ${error.message}`) })

/** The keys of the environment, as options. */
const keyOptions = ({ keys }: Settings): SessionConfig.Options => {
  const isText = (key: Redacted.Redacted<string | Uint8Array>): key is Redacted.Redacted<string> =>
    typeof Redacted.value(key) === "string"
  const isBytes = (key: Redacted.Redacted<string | Uint8Array>): key is Redacted.Redacted<Uint8Array> => !isText(key)
  const [primary, ...fallbacks] = keys
  return {
    ...(isText(primary) ? { secret: primary } : { ikm: primary as Redacted.Redacted<Uint8Array> }),
    secretFallbacks: fallbacks.filter(isText),
    ikmFallbacks: fallbacks.filter(isBytes)
  }
}

/** Answers lines; every line gets one, even if it cannot be read. */
const makeAnswer = Effect.fnUntraced(function*(source: Source, count: () => void) {
  const fs = yield* FileSystem.FileSystem
  const own = yield* Effect.cached(Effect.provideService(resolve(source), FileSystem.FileSystem, fs))

  const settingsOf = (decoded: Reference.Decoded) => {
    const base = Option.isNone(source.preset) ? SessionConfig.lua : presetOf(source)
    const make = (keys: SessionConfig.Options) => SessionConfig.make({ ...base, ...decoded.options, ...keys })
    return decoded.hasKey ? make({}) : Effect.flatMap(own, (settings) => make(keyOptions(settings)))
  }

  const engines = yield* Cache.make({
    capacity: maxEngines,
    // Equal configurations that are spelled differently have an engine each, which costs no more than time.
    lookup: (config: string) => {
      const parsed: unknown = JSON.parse(config)
      return parsed === null
        ? Effect.flatMap(own, (settings) => engine(settings, "Cookie"))
        : Effect.flatMap(
          Reference.decode(parsed),
          (decoded) => Effect.flatMap(settingsOf(decoded), (settings) => engine(settings, decoded.placement))
        )
    }
  })

  return (line: string): Effect.Effect<Answer> =>
    decodeLine(line).pipe(
      Effect.mapError(unusable("invalid line")),
      Effect.flatMap(({ config = null, cookie_header, ip, now, scheme, user_agent }) =>
        Cache.get(engines, JSON.stringify(config)).pipe(
          Effect.mapError(unusable("invalid config")),
          Effect.flatMap((engine) =>
            open(engine, {
              cookies: cookie_header ?? undefined,
              sender: { ip: ip ?? undefined, scheme: scheme ?? undefined, userAgent: user_agent ?? undefined },
              now: now ?? undefined
            })
          )
        )
      ),
      Effect.map(({ answer }) => answer),
      Effect.catchTag("Unusable", ({ text }) =>
        Effect.sync(() => {
          count()
          return no(text)
        })),
      // The store is in memory, and cannot fail.
      Effect.orDie
    )
})

const inWords = ({ data_json, err, exists, subject }: Answer): string =>
  exists ? `opens: ${data_json}${subject === null ? "" : ` (subject ${subject})`}` : `refused: ${err}`

/** A reader that has gone away, as `head` does, needs no more answers, and no complaint. */
const closed = new Failure({ code: code.failed, text: undefined })

/** Answers standard input, line by line and in its order. */
export const inspectLines = Effect.fnUntraced(
  function*(source: Source, asJson: boolean) {
    const { stdin, stdout } = yield* Stdio.Stdio
    let lines = 0
    let bad = 0
    const answer = yield* makeAnswer(source, () => {
      bad++
    })
    yield* stdin.pipe(
      Stream.mapError((error) => failed(`standard input: ${error.message}`)),
      Stream.decodeText,
      Stream.splitLines,
      Stream.tap(() =>
        Effect.sync(() => {
          lines++
        })
      ),
      Stream.mapEffect(answer, { concurrency }),
      Stream.map((answer) => `${asJson ? JSON.stringify(answer) : inWords(answer)}\n`),
      Stream.run(Sink.mapError(stdout(), () => closed))
    )
    if (bad > 0) return yield* usage(`${bad} of ${lines} lines could not be read; their answers say why`)
  },
  // What the reference accepts is no news in a line that is written for it.
  Effect.provideService(References.MinimumLogLevel, "Error")
)
