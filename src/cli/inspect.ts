/** `inspect`: what the library makes of cookies. */
import { Effect, Option, Stdio } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Crypto from "../Crypto.ts"
import type { Settings } from "../SessionConfig.ts"
import { explain, show } from "./explain.ts"
import { refused, usage } from "./failure.ts"
import { inspectLines } from "./inspectLines.ts"
import * as Output from "./output.ts"
import * as Sender from "./sender.ts"
import * as SettingsFlags from "./settings.ts"
import { engine } from "./verdict.ts"

/** A Cookie header, however much of it was copied; a value alone is that of the session cookie. */
const cookiesOf = (text: string, { cookieName }: Settings): string => {
  const header = text.trim().replace(/^(set-)?cookie:\s*/i, "")
  return header.includes("=") ? header : `${cookieName}=${header}`
}

export const inspect = Command.make(
  "inspect",
  {
    cookie: Argument.String("cookie").pipe(
      Argument.withDescription("A Cookie header, or the session cookie's value alone; `-` for standard input"),
      Argument.optional
    ),
    stdin: Flag.Boolean("stdin").pipe(
      Flag.withDescription("Read lines of JSON from standard input, as without an argument"),
      Flag.withDefault(false),
      Flag.withoutNegation
    ),
    storage: Flag.Literals("storage", ["cookie", "server"]).pipe(
      Flag.withDescription("Where the payload lives: with \"server\", the header alone is judged (default: cookie)"),
      Flag.withDefault("cookie")
    ),
    now: Sender.now,
    ...Sender.flags,
    ...SettingsFlags.flags,
    json: Output.json
  },
  Effect.fnUntraced(function*({ cookie, json, now, stdin, storage, ...flags }) {
    const given = Option.filter(cookie, (text) => text !== "-")
    if (Option.isNone(given)) {
      const { stdinIsTerminal } = yield* Stdio.Stdio
      if (Option.isNone(cookie) && !stdin && (yield* stdinIsTerminal)) {
        return yield* usage("Give a cookie, or lines of JSON on standard input. Try `effect-session inspect --help`.")
      }
      return yield* inspectLines(flags, json)
    }
    if (stdin) return yield* usage("Give a cookie, or --stdin, but not both.")
    const settings = yield* SettingsFlags.resolve(flags)
    const explanation = yield* explain(yield* engine(settings, storage === "cookie" ? "Cookie" : "Server"), {
      cookies: cookiesOf(given.value, settings),
      sender: Sender.sender(flags),
      now: Option.getOrUndefined(now)
    })
    yield* Output.answer(json, explanation, () => show(explanation))
    if (!explanation.exists) return yield* refused
  }, Effect.provide(Crypto.layer))
).pipe(
  Command.withShortDescription("Explain a cookie, or judge many"),
  Command.withDescription(
    "Explains a cookie: the fields of its header, which key verifies it, the time left on each timeout, the verdict " +
      "in the words of lua-resty-session, and the data. Exits with 1 if it opens no session.\n\n" +
      "Without an argument it reads lines of JSON from standard input, such as " +
      "{\"cookie_header\": \"session=...\", \"now\": 1795400010, \"config\": {\"secret\": \"...\"}}, and answers each " +
      "with a line: {\"exists\", \"err\", \"data_json\", \"audience\", \"subject\"} with --json. `config` has the " +
      "names, units and defaults of lua-resty-session; keys that it leaves out are the environment's, and without " +
      "`config` all settings are. A line may also have \"ip\", \"scheme\" and \"user_agent\". A line that cannot be " +
      "used is answered with what is wrong; then the exit code is 2.\n\n" +
      SettingsFlags.help
  ),
  Command.withExamples([
    { command: "effect-session inspect 'session=AQAA...'", description: "Explain a cookie" },
    { command: "effect-session inspect --json < lines.jsonl", description: "Judge many in one process" }
  ])
)
