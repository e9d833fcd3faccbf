/** The page: one function from what is known of a visitor to HTML. */
import type { CookieFacts } from "./cookie.ts"
import type { Child, Html } from "./html.ts"
import { html } from "./html.ts"
import { maxQuantity, ProductId, quantityOf } from "./session.ts"
import type { Cart } from "./session.ts"
