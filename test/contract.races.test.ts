/**
 * Invariants I1 to I5 as clients see them: races on real sockets, against a server in a process of its own. Each check
 * also has to fail on a server that makes the usual mistakes.
 */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { layerServer } from "./utils/blackBox.ts"
import { checks } from "./utils/raceSuite.ts"

/** Time is that of the server. */
const live = { excludeTestServices: true }

const servers = {
  memory: layerServer("examples/contract.ts", { SESSION_STORE: "memory" })
}

for (const [store, server] of Object.entries(servers)) {
  layer(server, live)(`the races, with sessions in ${store}`, (it) => {
    for (const { name, run } of checks) it.effect(name, () => run)
  })
}

const resurrection = "the browser is logged in again; the late response sets a cookie"

/** How each check shows that the broken server is broken. */
const symptoms: { readonly [check: string]: RegExp } = {
  "the row is there when its cookie arrives": /^row \d+ ms later$/,
  "nothing leaves while the write is held": /^header block while the write is held$/,
  "a redirect followed on its headers is logged in": /^logged in \d+ ms later$/,
  "a stream begins after its changes are stored": /^stored \d+ ms later$/,
  "a store that fails makes a 5xx without cookie":
    /^login: 200 with a cookie; redirect: 302 with a cookie; write: 200 with a cookie$/,
  "all is as it was when the store works again": /^logged out$/,
  "a logout during a slow write": new RegExp(`^${resurrection}$`),
  "a logout during a slow read": new RegExp(`^the old cookie is logged in again; ${resurrection}$`),
  "a logout during a slow renewal": new RegExp(`^${resurrection}$`),
  "a logout during a slow read that has to refresh": new RegExp(`^${resurrection}$`),
  "a logout while a write waits at the store": new RegExp(`^${resurrection}$`),
  "a revocation from another client during a slow write": new RegExp(`^${resurrection}$`),
  "a revocation of all sessions during slow writes and reads": new RegExp(`^${resurrection}$`),
  "two tabs that write different keys at once": /^the (first|second) is lost$/,
  "20 parallel refreshes have one successor (GET /read)": /^20 successors; more rows$/,
  "20 parallel refreshes have one successor (GET /me)": /^20 successors; more rows$/,
  "20 parallel renewals leave one live cookie": /^20 live cookies; .*20 responses with a cookie; more rows$/,
  "a late response that carries an older cookie": /^the second is lost$/,
  "a replaced cookie that is presented after its grace": /^logged in after its grace$/,
  "a cookie that was planted before a login": /^the planted cookie is logged in$/,
  "a cookie that was planted, and used during the login": /^the planted cookie is logged in$/,
  "a cookie that the client made up": /^it is logged in$/
}

layer(layerServer("test/fixtures/earlyServer.ts", { OLD_IDS: "kept" }), live)(
  "a server that answers before it writes",
  (it) => {
    for (const { name, run } of checks) {
      it.effect(`fails: ${name}`, () =>
        Effect.map(Effect.flip(run), (error) => {
          assert.strictEqual(error._tag, "Broken")
          assert.match(error.message, symptoms[name] ?? assert.fail("No symptom is known"))
        }))
    }
  }
)

layer(layerServer("test/fixtures/earlyServer.ts", { OLD_IDS: "deleted" }), live)(
  "a server that leaves replaced ids no grace",
  (it) => {
    for (const { name, run } of checks.filter(({ name }) => /grace$/.test(name))) {
      it.effect(`fails: ${name}`, () =>
        Effect.map(Effect.flip(run), ({ message }) =>
          assert.strictEqual(message, "refused though nobody has seen its successor")))
    }
  }
)
