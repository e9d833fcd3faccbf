#!/usr/bin/env node
/**
 * The command line, `effect-session`: makes secrets, explains and makes cookies,
 * looks after the sessions of a database. `effect-session --help` tells the rest.
 *
 * No module to import: it runs when it is loaded.
 *
 * @since 0.1.0
 */
import { isMissing, missing } from "./internal/peers.ts"

// Who uses the library without the command line needs no platform package, and so it is an optional peer.
const load = async () => {
  const [NodeRuntime, NodeServices] = await Promise.all([
    import("@effect/platform-node/NodeRuntime"),
    import("@effect/platform-node/NodeServices")
  ])
  const { main, teardown } = await import("./cli/main.ts")
  NodeRuntime.runMain(main(NodeServices.layer), { disableErrorReporting: true, teardown })
}

await load().catch((cause: unknown) => {
  if (!isMissing(cause, "@effect/platform-node")) throw cause
  process.stderr.write(`effect-session: ${missing("@effect/platform-node")}\n`)
  process.exitCode = 3
})
