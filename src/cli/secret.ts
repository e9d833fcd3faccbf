/** `secret`: a key that nobody can guess. */
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import * as Crypto from "../Crypto.ts"
import * as Output from "./output.ts"

export const secret = Command.make(
  "secret",
  {
    bytes: Flag.Int("bytes").pipe(
      Flag.filter((bytes) => bytes >= 32 && bytes <= 1024, (bytes) => `Expected 32 to 1024 bytes, not ${bytes}`),
      Flag.withDescription("How many random bytes, 32 to 1024 (default: 32)"),
      Flag.withDefault(32)
    ),
    json: Output.json
  },
  Effect.fnUntraced(function*({ bytes, json }) {
    const crypto = yield* Crypto.Crypto
    const made = Buffer.from(yield* crypto.randomBytes(bytes)).toString("base64")
    yield* Output.answer(json, { secret: made }, () => made)
  }, Effect.provide(Crypto.layer))
).pipe(
  Command.withDescription(
    "Makes a secret: random bytes in base64, for SESSION_SECRET. 32 of them, the default, serve as SESSION_IKM as well."
  ),
  Command.withExamples([{ command: "effect-session secret > secret", description: "For --secret-file" }])
)
