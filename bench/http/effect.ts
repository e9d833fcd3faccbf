/** This library: `effect.ts cookie|memory|postgres`, on NodeHttpServer or Deno.serve. */
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Context, Effect, Layer } from "effect"
import { HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import * as App from "./app.ts"
import { listening } from "./contract.ts"

const app = App.layer(process.argv[2])

/** As much of Deno as is used here, for compilers that only know Node. */
declare const Deno: {
  readonly serve: (
    options: { readonly hostname: string; readonly port: number; readonly onListen: (address: unknown) => void },
    handler: (request: Request) => Promise<Response>
  ) => unknown
}

if ("Deno" in globalThis) {
  const { handler } = HttpRouter.toWebHandler(app, { disableLogger: true })
  Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: listening }, handler)
} else {
  const Server = HttpRouter.serve(app, { disableListenLog: true, disableLogger: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" })),
    Layer.tap((context) => Effect.sync(() => listening(Context.get(context, HttpServer.HttpServer).address)))
  )
  NodeRuntime.runMain(Layer.launch(Server))
}
