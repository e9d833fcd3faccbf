/**
 * A program of a user: `pack-test.ts` type-checks and runs it against the packed package.
 */
import { Effect, Layer, Redacted, Schema } from "effect"
import { SessionConfig, SessionStore } from "effect-session"
import * as Session from "effect-session/Session"
import * as SessionHttp from "effect-session/SessionHttp"
import { HttpRouter, HttpServerResponse } from "effect/http"
import * as assert from "node:assert/strict"

class Visits extends Session.Service<Visits>()("Visits", { data: Schema.Number, initial: 0 }) {}

const Count = HttpRouter.add(
  "GET",
  "/",
  Effect.gen(function*() {
    const visits = yield* Visits
    yield* visits.update((n) => n + 1)
    return HttpServerResponse.text(`visit ${yield* visits.get}`)
  })
)

const App = Count.pipe(
  Layer.provide(SessionHttp.layer(Visits)),
  Layer.provide(SessionStore.layerCookie),
  Layer.provide(SessionConfig.layer({ secret: Redacted.make("at least 32 bytes that nobody can guess") }))
)

const { dispose, handler } = HttpRouter.toWebHandler(App, { disableLogger: true })
const first = await handler(new Request("https://example.com/"))
assert.equal(await first.text(), "visit 1")
const cookie = first.headers.getSetCookie().map((each) => each.split(";")[0]).join("; ")
const second = await handler(new Request("https://example.com/", { headers: { cookie } }))
assert.equal(await second.text(), "visit 2")
await dispose()
