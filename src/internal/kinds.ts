/**
 * Kinds of values that a setting can have: how to know one at run time, and how
 * to read one from the environment.
 */
import {
  Config,
  Duration,
  Effect,
  Option,
  Predicate,
  Redacted,
  Result,
  Schema,
  SchemaGetter,
  SchemaIssue
} from "effect"
import { Base64Url } from "effect/encoding"

export interface Kind<A> {
  readonly is: (value: unknown) => value is A
  /** As in "is not a boolean". */
  readonly name: string
  /** What to write instead of a value of another kind. */
  readonly fix: string
  readonly read: (variable: string) => Config.Config<A>
}

/** Most providers take an empty variable for a missing one, so that "nothing" needs a word. */
const orNone = <A, const N>(read: (variable: string) => Config.Config<A>, nothing: N) => (variable: string) =>
  Config.orElse(Config.map(Config.Literals(["none", ""], variable), () => nothing), () => read(variable))

const quoted = (values: ReadonlyArray<string>): string => values.map((value) => `"${value}"`).join(", ")

export const boolean: Kind<boolean> = {
  is: Predicate.isBoolean,
  name: "a boolean",
  fix: "Write true or false",
  read: Config.Boolean
}

/** Yes, no, or a word for something between. */
export const booleanOr = <const W extends string>(word: W): Kind<boolean | W> => {
  const schema = Schema.Literal(word)
  return {
    is: (value): value is boolean | W => Predicate.isBoolean(value) || value === word,
    name: `a boolean or "${word}"`,
    fix: `Write true, false or "${word}"`,
    read: (variable) =>
      Config.orElse(
        Config.map(Config.schema(schema, variable), (): boolean | W => word),
        () => Config.Boolean(variable)
      )
  }
}

export const integer: Kind<number> = {
  is: Schema.is(Schema.Int),
  name: "a whole number",
  fix: "Write a number without a fraction",
  read: Config.Int
}

export const text: Kind<string> = {
  is: Predicate.isString,
  name: "a string",
  fix: "Write a string",
  read: Config.String
}

/** Text where "none" in the environment is the empty string. */
export const textOrNone: Kind<string> = { ...text, read: orNone(Config.String, "") }

export const oneOf = <const L extends ReadonlyArray<string>>(...values: L): Kind<L[number]> => {
  const schema = Schema.Literals(values)
  return {
    is: Schema.is(schema),
    name: "one of its values",
    fix: `Write one of ${quoted(values)}`,
    read: (variable) => Config.schema(schema, variable)
  }
}

/** One of the values or, as `""`, none of them. */
export const oneOfOrNone = <const L extends ReadonlyArray<string>>(...values: L): Kind<L[number] | ""> => ({
  ...oneOf(...values, ""),
  read: orNone(oneOf(...values).read, "")
})

const isList = <A>(isItem: (value: unknown) => value is A) => (value: unknown): value is ReadonlyArray<A> =>
  Array.isArray(value) && Array.from(value).every(isItem)

const readList = <S extends Schema.ConstraintCodec<unknown, string>>(item: S) =>
  orNone((variable) => Config.Array(Schema.Trim.pipe(Schema.decodeTo(item)), variable), [])

export const listOf = <const L extends ReadonlyArray<string>>(...values: L): Kind<ReadonlyArray<L[number]>> => {
  const schema = Schema.Literals(values)
  return {
    is: isList(Schema.is(schema)),
    name: "a list of its values",
    fix: `Write a list of any of ${quoted(values)}`,
    read: readList(schema)
  }
}

/** A wiped `Redacted` throws when it is read. */
const unwrap = Option.liftThrowable(Redacted.value)

const isRedacted = <A>(is: (value: unknown) => value is A) => (value: unknown): value is Redacted.Redacted<A> =>
  Redacted.isRedacted(value) && Option.exists(unwrap(value), is)

const RedactedText = Schema.RedactedFromValue(Schema.String)

export const secret: Kind<Redacted.Redacted<string>> = {
  is: isRedacted(Predicate.isString),
  name: "a string in a Redacted",
  fix: "Write Redacted.make(text)",
  read: Config.Redacted
}

export const secrets: Kind<ReadonlyArray<Redacted.Redacted<string>>> = {
  is: isList(secret.is),
  name: "a list of strings in Redacted",
  fix: "Write [Redacted.make(text)]",
  read: readList(RedactedText)
}

/** Not `Uint8ArrayFromBase64`: that takes one of the two alphabets, and its error would hold the key. */
export const RedactedBytes = RedactedText.pipe(
  Schema.decodeTo(Schema.Redacted(Schema.Uint8Array), {
    decode: SchemaGetter.transformEffect((input, options) =>
      Result.match(Base64Url.decode(Redacted.value(input).trim().replaceAll("+", "-").replaceAll("/", "_")), {
        onFailure: () =>
          Effect.fail(new SchemaIssue.InvalidValue({ expected: "bytes in base64 or base64url" }, input, options)),
        onSuccess: (bytes) => Effect.succeed(Redacted.make(bytes))
      })
    ),
    encode: SchemaGetter.transform((bytes) => Redacted.make(Base64Url.encode(Redacted.value(bytes))))
  })
)

export const key: Kind<Redacted.Redacted<Uint8Array>> = {
  is: isRedacted(Predicate.isUint8Array),
  name: "a Uint8Array in a Redacted",
  fix: "Write Redacted.make(bytes)",
  read: (variable) => Config.schema(RedactedBytes, variable)
}

export const keys: Kind<ReadonlyArray<Redacted.Redacted<Uint8Array>>> = {
  is: isList(key.is),
  name: "a list of Uint8Array in Redacted",
  fix: "Write [Redacted.make(bytes)]",
  read: readList(RedactedBytes)
}

const units: ReadonlySet<string> = new Set([
  "weeks",
  "days",
  "hours",
  "minutes",
  "seconds",
  "milliseconds",
  "microseconds",
  "nanoseconds"
])

/** `Duration` reads NaN, and objects without a known unit, as zero: here that would switch a timeout off. */
const hasLength = (input: unknown): boolean => {
  if (Duration.isDuration(input) || !Predicate.isObjectOrArray(input)) {
    return !Number.isNaN(input)
  }
  const parts = Object.entries(input).filter(([, amount]) => amount !== undefined)
  return parts.length > 0 &&
    parts.every(([unit, amount]) =>
      (Array.isArray(input) || units.has(unit)) && Predicate.isNumber(amount) && !Number.isNaN(amount)
    )
}

const isDurationInput = (value: unknown): value is Duration.Input =>
  // the cast is what is being checked: `fromInput` answers none for what it cannot read
  hasLength(value) && Option.isSome(Duration.fromInput(value as Duration.Input))

export const duration: Kind<Duration.Input> = {
  is: isDurationInput,
  name: "a duration",
  fix: "Write one with its unit, such as \"15 minutes\"",
  read: Config.Duration
}
