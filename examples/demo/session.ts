/** What the demo keeps of a visitor, and for how long. */
import { Schema } from "effect"
import * as Session from "../../src/Session.ts"
import type * as SessionConfig from "../../src/SessionConfig.ts"

export const ProductId = Schema.Literals(["coffee", "cup", "notebook"])
export type ProductId = typeof ProductId.Type

export const maxQuantity = 9

const Quantity = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: maxQuantity }))

const CartData = Schema.Struct({ lines: Schema.Array(Schema.Struct({ product: ProductId, quantity: Quantity })) })
export type CartData = typeof CartData.Type

export class Cart extends Session.Service<Cart>()("demo/Cart", { data: CartData, initial: { lines: [] } }) {}

export const quantityOf = ({ lines }: CartData, product: ProductId): number =>
  lines.find((line) => line.product === product)?.quantity ?? 0

/** The cart with so many pieces of a product; with none, without the product. */
export const withQuantity = (product: ProductId, quantity: number) => ({ lines }: CartData): CartData => {
  const others = lines.filter((line) => line.product !== product)
  return { lines: quantity === 0 ? others : [...others, { product, quantity }] }
}

/** The cart with one piece more of a product. */
export const withOneMore = (product: ProductId) => (cart: CartData): CartData =>
  withQuantity(product, Math.min(maxQuantity, quantityOf(cart, product) + 1))(cart)

/** Short enough to watch; see `SessionConfig.Options` for the defaults. */
export const timeouts = {
  idlingTimeout: "2 minutes",
  rollingTimeout: "10 minutes",
  absoluteTimeout: "30 minutes",
  touchThreshold: "5 seconds"
} satisfies SessionConfig.Options
