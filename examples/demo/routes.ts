/** What the demo does with requests. */
import { Duration, Effect, Layer, Option, Schema } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { fileURLToPath } from "node:url"
import type { Handle, TimeLeft } from "../../src/Session.ts"
import { SessionConfig } from "../../src/SessionConfig.ts"
import type { SessionError } from "../../src/SessionError.ts"
import * as SessionHttp from "../../src/SessionHttp.ts"
import { cookieFacts } from "./cookie.ts"
import type { CookieFacts } from "./cookie.ts"
import { deeds, refused, visited } from "./notices.ts"
import type { Deed } from "./notices.ts"
import { page, problemPage } from "./page.ts"
import type { Timer } from "./panels.ts"
import { sameOrigin } from "./sameOrigin.ts"
import { Cart, maxQuantity, ProductId, withOneMore, withQuantity } from "./session.ts"
import type { CartData } from "./session.ts"

// -----------------------------------------------------------------------------
// the page
// -----------------------------------------------------------------------------

const Query = Schema.Struct({ did: Schema.optional(Schema.String) })

/** The timeouts in force, as they stand when the response has arrived, with what it refills. */
const timers = (left: TimeLeft, { due }: CookieFacts, settings: SessionConfig["Service"]): ReadonlyArray<Timer> => {
  const seconds = (left: Option.Option<Duration.Duration>, total: number, isRefilled: boolean): number =>
    isRefilled ? total : Option.match(left, { onNone: () => total, onSome: Duration.toSeconds })
  const { absoluteTimeout, idlingTimeout, rollingTimeout } = settings
  const all: ReadonlyArray<Timer> = [
    { timeout: "idling", left: seconds(left.idling, idlingTimeout, due !== "Nothing"), total: idlingTimeout },
    { timeout: "rolling", left: seconds(left.rolling, rollingTimeout, due === "Save"), total: rollingTimeout },
    { timeout: "absolute", left: seconds(left.absolute, absoluteTimeout, false), total: absoluteTimeout }
  ]
  return all.filter(({ total }) => total > 0)
}

const isDeed = (did: string): did is Deed => Object.hasOwn(deeds, did)

const show = Effect.gen(function*() {
  const cart = yield* Cart
  const settings = yield* SessionConfig
  const { did = "" } = yield* HttpServerRequest.schemaSearchParams(Query)
  const refusal = yield* cart.refusal
  const cookie = Option.isNone(refusal) ? yield* cookieFacts : undefined
  const view = {
    cart: yield* cart.get,
    name: Option.getOrUndefined(yield* cart.subject),
    timers: cookie === undefined ? [] : timers(yield* cart.timeLeft, cookie, settings),
    cookie
  }
  const notice = isDeed(did)
    ? deeds[did]
    : Option.match(refusal, { onNone: () => visited[cookie?.due ?? "Nothing"], onSome: refused })
  return HttpServerResponse.html(page(view, notice))
})

const Page = HttpRouter.add("GET", "/", show).pipe(Layer.provide(SessionHttp.layer(Cart)))

// -----------------------------------------------------------------------------
// the forms
// -----------------------------------------------------------------------------

const unknown = HttpServerResponse.html(problemPage("The form had something in it that the demo does not know.")).pipe(
  HttpServerResponse.setStatus(400)
)

/** Decodes a form, changes the session, and sends the browser back to the page, so that a reload repeats nothing. */
const form = <A>(
  path: `/${string}`,
  schema: Schema.Codec<A, Readonly<Record<string, string>>>,
  change: (cart: Handle<CartData, CartData>, form: A) => Effect.Effect<void, SessionError>,
  did: Deed
) =>
  HttpRouter.route(
    "POST",
    path,
    Effect.gen(function*() {
      const cart = yield* Cart
      yield* change(cart, yield* HttpServerRequest.schemaBodyUrlParams(schema))
      return HttpServerResponse.redirect(`/?did=${did}`, { status: 303 })
    }).pipe(Effect.catchTag("SchemaError", () => Effect.succeed(unknown)))
  )

const Nothing = Schema.Struct({})
const Name = Schema.Struct({ name: Schema.Trim.check(Schema.isNonEmpty(), Schema.isMaxLength(40)) })
const Product = Schema.Struct({ product: ProductId })
const ProductQuantity = Schema.Struct({
  product: ProductId,
  quantity: Schema.FiniteFromString.check(Schema.isInt(), Schema.isBetween({ minimum: 0, maximum: maxQuantity }))
})

const Forms = HttpRouter.addAll([
  form("/login", Name, (cart, { name }) => cart.login(name), "logged-in"),
  form("/cart/add", Product, (cart, { product }) => cart.update(withOneMore(product)), "cart-changed"),
  form(
    "/cart/quantity",
    ProductQuantity,
    (cart, { product, quantity }) => cart.update(withQuantity(product, quantity)),
    "cart-changed"
  ),
  form("/renew", Nothing, (cart) => cart.renew, "renewed"),
  form("/logout", Nothing, (cart) => cart.logout, "logged-out")
]).pipe(Layer.provide([SessionHttp.layer(Cart), sameOrigin]))

// -----------------------------------------------------------------------------
// files and headers
// -----------------------------------------------------------------------------

const file = (name: string) =>
  HttpRouter.route(
    "GET",
    `/${name}`,
    HttpServerResponse.file(fileURLToPath(new URL(`./public/${name}`, import.meta.url)), {
      headers: { "cache-control": "no-cache" }
    })
  )

const Files = HttpRouter.addAll([file("style.css"), file("page.js"), file("icon.svg")])

/** For every response: nothing but our own files, in no frame, and no page that the back button shows after a logout. */
const Headers = HttpRouter.middleware(
  (handler) =>
    Effect.map(handler, (response) =>
      HttpServerResponse.setHeaders(response, {
        "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        // Not `no-referrer`, with which browsers hide the origin of forms too.
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
        "cache-control": response.headers["cache-control"] ?? "no-store"
      })),
  { global: true }
)

export const Demo = Layer.mergeAll(Page, Forms, Files, Headers)
