/**
 * Invariants I1 to I5 as clients see them: races on real sockets, against a server in a process of its own. Each check
 * also has to fail on a server that makes the usual mistakes.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { fileURLToPath } from "node:url"
import { layerServer } from "./utils/blackBox.ts"
import { Database, layerDatabase } from "./utils/postgres.ts"
import { checks } from "./utils/raceSuite.ts"

/** Time is that of the server. */
const live = { excludeTestServices: true }

const contract = (env: { readonly [name: string]: string }) => layerServer("examples/contract.ts", env)

const servers = {
  memory: contract({ SESSION_STORE: "memory" }),
  postgres: Layer.unwrap(
    Database.useSync(({ url }) => contract({ SESSION_STORE: "postgres", DATABASE_URL: url.href }))
  ).pipe(Layer.provide(layerDatabase))
}

for (const [store, server] of Object.entries(servers)) {
  layer(server, live)(`the races, with sessions in ${store}`, (it) => {
    for (const { name, run } of checks) it.effect(name, () => run)
  })
}

const earlyServer = fileURLToPath(new URL("fixtures/earlyServer.ts", import.meta.url))

const resurrection = "browser logged in; late Set-Cookie"

/** How each check shows that the broken server is broken. */
const symptoms: { readonly [check: string]: RegExp } = {
  "the row is there when its cookie arrives": /^row \d+ ms later$/,
  "nothing leaves while the write is held": /^headers while the write is held$/,
  "a redirect followed on its headers is logged in": /^logged in \d+ ms later$/,
  "a stream begins after its changes are stored": /^stored \d+ ms later$/,
  "a store that fails makes a 5xx without cookie":
    /^login: 200 with a cookie; redirect: 302 with a cookie; write: 200 with a cookie$/,
  "all is as it was when the store works again": /^logged out$/,
  "a logout during a slow write": new RegExp(`^${resurrection}$`),
  "a logout during a slow read": new RegExp(`^old cookie alive; ${resurrection}$`),
  "a logout during a slow renewal": new RegExp(`^${resurrection}$`),
  "a logout during a slow read that has to refresh": new RegExp(`^${resurrection}$`),
  "a logout while a write waits at the store": new RegExp(`^${resurrection}$`),
  "a revocation from another client during a slow write": new RegExp(`^${resurrection}$`),
  "a revocation of all sessions during slow writes and reads": new RegExp(`^${resurrection}$`),
  "two tabs that write different keys at once": /^(first|second) lost$/,
  "20 parallel refreshes have one successor (GET /read)": /^20 successors; more rows$/,
  "20 parallel refreshes have one successor (GET /me)": /^20 successors; more rows$/,
  "20 parallel renewals leave one live cookie": /^20 live cookies; old cookie alive; 20 Set-Cookies; more rows$/,
  "a late response that carries an older cookie": /^second lost$/,
  "a replaced cookie that is presented after its grace": /^logged in after its grace$/,
  "a cookie that was planted before a login": /^planted cookie logged in$/,
  "a cookie that was planted, and used during the login": /^planted cookie logged in$/,
  "a cookie that the client made up": /^logged in$/
}

layer(layerServer(earlyServer, { OLD_IDS: "kept" }), live)(
  "a server that answers before it writes",
  (it) => {
    for (const { name, run } of checks) {
      it.effect(`fails: ${name}`, () =>
        // A client that a busy machine stops for longer than a write takes sees nothing of it: it looks again.
        Effect.map(Effect.retry(Effect.flip(run), { times: 3 }), (error) => {
          assert.strictEqual(error._tag, "Broken")
          assert.match(error.message, symptoms[name] ?? assert.fail("No symptom is known"))
        }))
    }
  }
)

layer(layerServer(earlyServer, { OLD_IDS: "deleted" }), live)(
  "a server that leaves replaced ids no grace",
  (it) => {
    for (const { name, run } of checks.filter(({ name }) => name.endsWith("grace"))) {
      it.effect(`fails: ${name}`, () =>
        Effect.map(
          Effect.flip(run),
          ({ message }) => assert.strictEqual(message, "refused though nobody has seen its successor")
        ))
    }
  }
)
