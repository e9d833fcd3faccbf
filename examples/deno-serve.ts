/**
 * Sessions on any server that takes a web handler, here `Deno.serve`: a shop that
 * remembers which pages a visitor has seen last.
 *
 *     SESSION_SECRET=$(openssl rand -base64 32) deno run -A examples/deno-serve.ts
 */
import { Config, Effect, Layer, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { Session, SessionConfig, SessionHttp, SessionStore } from "../src/index.ts"

/** As much of Deno as is used here, for compilers that only know Node. */
declare const Deno: {
  readonly serve: (
    options: {
      readonly hostname: string
      readonly port: number
      readonly onListen: (address: { readonly hostname: string; readonly port: number }) => void
    },
    handler: (request: Request) => Promise<Response>
  ) => unknown
}

const Page = Schema.String.check(Schema.isMaxLength(50))

class Recent extends Session.Service<Recent>()("shop/Recent", {
  data: Schema.Struct({ pages: Schema.Array(Page) }),
  initial: { pages: [] }
}) {}

const visit = Effect.gen(function*() {
  const { page } = yield* HttpRouter.schemaPathParams(Schema.Struct({ page: Page }))
  const recent = yield* Recent
  yield* recent.update(({ pages }) => ({ pages: [page, ...pages.filter((other) => other !== page)].slice(0, 5) }))
  return HttpServerResponse.jsonUnsafe(yield* recent.get)
})

const Shop = HttpRouter.add("GET", "/pages/:page", visit).pipe(
  Layer.provide(SessionHttp.layer(Recent)),
  Layer.provide(SessionStore.layerCookie)
)

const main = Effect.gen(function*() {
  const port = yield* Config.Int("PORT").pipe(Config.withDefault(3000))
  // A web handler that cannot be built says so at its first request; a missing secret should stop the start.
  const Settings = Layer.succeed(SessionConfig.SessionConfig, yield* SessionConfig.SessionConfig)
  const { handler } = HttpRouter.toWebHandler(Layer.provide(Shop, Settings))
  Deno.serve({
    hostname: "127.0.0.1",
    port,
    onListen: ({ hostname, port }) => console.log(`Listening on http://${hostname}:${port}`)
  }, handler)
}).pipe(Effect.provide(SessionConfig.layerConfig()))

if ("Deno" in globalThis) {
  await Effect.runPromise(main)
} else {
  console.error("This example needs Deno: deno run -A examples/deno-serve.ts")
  process.exitCode = 1
}
