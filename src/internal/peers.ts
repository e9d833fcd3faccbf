/** The packages that a command or a check needs, and that not everybody has installed. */
import { Predicate } from "effect"

type Peer = "@effect/platform-node" | "@effect/sql-pg" | "fast-check"

/** Whether an import failed because this package is not there; anything else that fails is a bug, or a broken install. */
export const isMissing = (cause: unknown, peer: Peer): boolean =>
  cause instanceof Error && Predicate.hasProperty(cause, "code") && cause.code === "ERR_MODULE_NOT_FOUND" &&
  cause.message.includes(peer)

export const missing = (peer: Peer): string => `${peer} is not installed. Run \`npm install ${peer}\``
