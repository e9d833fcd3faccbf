/** All commands. */
import { Command } from "effect/cli"
import { list, migrate, revoke, sweep } from "./database.ts"
import { codes } from "./failure.ts"
import { inspect } from "./inspect.ts"
import { seal } from "./seal.ts"
import { secret } from "./secret.ts"
import { help } from "./settings.ts"

export const root = Command.make("effect-session").pipe(
  Command.withDescription(
    `Makes secrets, explains and makes session cookies, and looks after the sessions of a database.\n\n${help}\n\n${codes}`
  ),
  Command.withSubcommands([secret, inspect, seal, migrate, sweep, list, revoke])
)
