/**
 * The definition of an API with sessions. It imports no store, no settings and no
 * secret, so clients share it with the server.
 */
import { Schema } from "effect"
import { HttpApi, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import * as Session from "../../src/Session.ts"
import * as SessionHttpApi from "../../src/SessionHttpApi.ts"

export const Item = Schema.NonEmptyString.check(Schema.isMaxLength(40))

/** Everybody has a cart. */
export class Cart extends Session.Service<Cart>()("shop/Cart", {
  audience: "cart",
  data: Schema.Struct({ items: Schema.Array(Item) }),
  initial: { items: [] },
  // Without HTTPS there is no `__Host-` prefix; leave this out where there is.
  cookieName: "session"
}) {}

/** Who has logged in has an account. */
export class Account extends Session.Service<Account>()("shop/Account", {
  audience: "account",
  data: Schema.Struct({ name: Schema.NonEmptyString }),
  cookieName: "session"
}) {}

export class CartSession extends SessionHttpApi.Service<CartSession>()("shop/CartSession", { session: Cart }) {}

export class AccountSession extends SessionHttpApi.Service<AccountSession>()("shop/AccountSession", {
  session: Account
}) {}

/** Answers 401 to those who have not logged in. */
export class Member extends SessionHttpApi.Service<Member>()("shop/Member", { session: Account, required: true }) {}

export const Shop = HttpApi.make("shop").add(
  HttpApiGroup.make("cart").add(
    HttpApiEndpoint.get("items", "/cart", { success: Schema.Array(Item) }),
    HttpApiEndpoint.post("add", "/cart", { payload: Schema.Struct({ item: Item }), success: Schema.Array(Item) })
  ).middleware(CartSession),
  HttpApiGroup.make("account").add(
    HttpApiEndpoint.post("login", "/login", { payload: Schema.Struct({ name: Schema.NonEmptyString }) })
      .middleware(AccountSession),
    HttpApiEndpoint.get("me", "/me", { success: Schema.Struct({ name: Schema.String }) }).middleware(Member),
    HttpApiEndpoint.post("logout", "/logout").middleware(Member)
  )
)
