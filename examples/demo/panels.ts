/** The panels of the page: from what the server knows of a visitor to HTML. */
import type { CookieFacts } from "./cookie.ts"
import { html } from "./html.ts"
import type { Html } from "./html.ts"
import { maxQuantity, ProductId, quantityOf } from "./session.ts"
import type { CartData } from "./session.ts"

/** What the server knows of a visitor. */
export interface View {
  readonly cart: CartData
  /** Of who has logged in. */
  readonly name: string | undefined
  /** None without a session. */
  readonly timers: ReadonlyArray<Timer>
  /** None without a session. */
  readonly cookie: CookieFacts | undefined
}

/** One of the timeouts, in seconds. */
export interface Timer {
  readonly timeout: "idling" | "rolling" | "absolute"
  readonly left: number
  readonly total: number
}

const panel = (id: string, title: Html, body: Html): Html =>
  html`
      <section class="panel" id="${id}" aria-labelledby="${id}-title">
        <h2 id="${id}-title" tabindex="-1">${title}</h2>
        ${body}
      </section>`

// -----------------------------------------------------------------------------
// who is there
// -----------------------------------------------------------------------------

const login = html`
        <form method="post" action="/login" class="login">
          <label for="name">Your name</label>
          <input id="name" name="name" required maxlength="40" autocomplete="off" aria-describedby="name-hint">
          <button id="login" class="primary">Log in</button>
        </form>
        <p id="name-hint" class="hint">Any name will do: there is no password.</p>`

const logout = html`
        <p class="hint">Your name is the subject of the session. The cart came along; the session id did not.</p>
        <form method="post" action="/logout" class="actions"><button id="logout">Log out</button></form>`

export const accountPanel = ({ name }: View): Html =>
  name === undefined
    ? panel("account", html`Who are you?`, login)
    : panel("account", html`Hello, <span id="subject">${name}</span>`, logout)

// -----------------------------------------------------------------------------
// the cart
// -----------------------------------------------------------------------------

interface Product {
  readonly label: string
  readonly cents: number
  /** Of its icon. */
  readonly path: string
}

const products: Readonly<Record<ProductId, Product>> = {
  coffee: {
    label: "Filter coffee",
    cents: 1250,
    path: "M8 8h8l1 12H7L8 8Zm0-4h8v4H8V4Zm-.5 8h9"
  },
  cup: {
    label: "Stoneware cup",
    cents: 1800,
    path: "M5 8h11v7a4 4 0 0 1-4 4H9a4 4 0 0 1-4-4V8Zm11 2h1.5a2.5 2.5 0 0 1 0 5H16M9 3v2m4-2v2"
  },
  notebook: {
    label: "Dotted notebook",
    cents: 950,
    path: "M7 3h11v18H7a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2Zm2.5 0v18M13 8h2"
  }
}

const euros = (cents: number): string => `€${(cents / 100).toFixed(2)}`

const add = (product: ProductId): Html =>
  html`
            <form method="post" action="/cart/add">
              <input type="hidden" name="product" value="${product}">
              <button id="${product}-more" aria-label="Add ${products[product].label}">Add</button>
            </form>`

/** A button that sets the quantity. */
const setter = (id: string, quantity: number, label: string, text: string): Html => {
  const disabled = quantity > maxQuantity && html`disabled`
  return html`<button id="${id}" name="quantity" value="${quantity}" aria-label="${label}" ${disabled}>${text}</button>`
}

const stepper = (product: ProductId, quantity: number): Html => {
  const { label } = products[product]
  return html`
            <form method="post" action="/cart/quantity" class="stepper">
              <input type="hidden" name="product" value="${product}">
              ${setter(`${product}-less`, quantity - 1, `One ${label} less`, "−")}
              <span class="quantity"><span class="unseen">${label}: </span>${quantity}</span>
              ${setter(`${product}-more`, quantity + 1, `One ${label} more`, "+")}
              ${setter(`${product}-none`, 0, `Remove ${label}`, "×")}
            </form>`
}

const row = (product: ProductId, quantity: number): Html => {
  const { cents, label, path } = products[product]
  return html`
          <li id="${product}">
            <svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d="${path}" /></svg>
            <p><b>${label}</b> <span class="hint">${euros(cents)}</span></p>
            ${quantity === 0 ? add(product) : stepper(product, quantity)}
          </li>`
}

export const cartPanel = ({ cart }: View): Html => {
  const pieces = cart.lines.reduce((sum, { quantity }) => sum + quantity, 0)
  const total = euros(cart.lines.reduce((sum, { product, quantity }) => sum + products[product].cents * quantity, 0))
  const rows = ProductId.literals.map((product) => row(product, quantityOf(cart, product)))
  const body = html`
        <ul class="lines">${rows}</ul>
        <p class="total"><span id="pieces">${pieces} ${pieces === 1 ? "piece" : "pieces"}</span> <b>${total}</b></p>`
  return panel("cart", html`Your cart`, body)
}

/** The typed data, as a handler gets them. */
export const dataPanel = ({ cart, name }: View): Html => {
  const body = html`
        <pre><code>${JSON.stringify({ subject: name ?? null, data: cart }, null, 2)}</code></pre>
        <p class="hint">Checked against its schema each time: what does not fit never gets to a handler.</p>`
  return panel("data", html`What the server reads`, body)
}

// -----------------------------------------------------------------------------
// the time left
// -----------------------------------------------------------------------------

const explanations: Readonly<Record<Timer["timeout"], string>> = {
  idling: "since the last request. Each request fills it up.",
  rolling: "since the last save. Each change fills it up; past three quarters, any request saves.",
  absolute: "since the first save. Nothing fills it up."
}

const clock = (seconds: number): string => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`

const timer = ({ left, timeout, total }: Timer): Html =>
  html`
        <div class="timer ${timeout}">
          <label for="${timeout}">${timeout}</label>
          <span class="clock" aria-hidden="true">${clock(left)}</span>
          <progress id="${timeout}" max="${total}" value="${left}" data-left="${left}">${clock(left)}</progress>
          <p class="hint">At most ${clock(total)} ${explanations[timeout]}</p>
        </div>`

const noTime = html`<p class="empty">No session, no clock. It starts when there is something to remember.</p>`

const renew = html`
        <form method="post" action="/renew" class="actions"><button id="renew">Renew</button></form>`

export const timePanel = ({ timers }: View): Html =>
  panel("time", html`Time left`, timers.length === 0 ? noTime : html`${timers.map(timer)}${renew}`)

// -----------------------------------------------------------------------------
// the cookie
// -----------------------------------------------------------------------------

type Kind = "sid" | "times" | "proof" | "payload" | "plain"

interface Field {
  readonly kind: Kind
  readonly bytes: number
}

/** The fields of a session cookie, in their order. */
const fieldsOf = ({ payload }: CookieFacts): ReadonlyArray<Field> => [
  { kind: "plain", bytes: 3 },
  { kind: "sid", bytes: 32 },
  { kind: "times", bytes: 9 },
  { kind: "plain", bytes: 3 },
  { kind: "proof", bytes: 16 },
  { kind: "times", bytes: 3 },
  { kind: "proof", bytes: 16 },
  { kind: "payload", bytes: payload }
]

const meanings: ReadonlyArray<readonly [kind: Kind, meaning: string]> = [
  ["sid", "random session id: a secret, from which the keys are derived"],
  ["times", "creation, last save, last touch"],
  ["proof", "authentication tag and MAC: nobody changes a bit unnoticed"],
  ["payload", "your cart and your name, encrypted"],
  ["plain", "type, flags, size"]
]

const sum = (fields: ReadonlyArray<Field>): number => fields.reduce((sum, { bytes }) => sum + bytes, 0)

const anatomy = (fields: ReadonlyArray<Field>): Html => {
  const bars = fields.map(({ bytes, kind }, index) =>
    html`<rect class="${kind}" x="${sum(fields.slice(0, index))}" width="${bytes}" height="1" />`
  )
  const legend = meanings.map(([kind, meaning]) => {
    const bytes = sum(fields.filter((field) => field.kind === kind))
    return bytes > 0 && html`<li class="${kind}"><b>${bytes} bytes</b> ${meaning}</li>`
  })
  return html`
        <svg class="anatomy" viewBox="0 0 ${sum(fields)} 1" preserveAspectRatio="none" aria-hidden="true">${bars}</svg>
        <ul class="legend">${legend}</ul>`
}

const time = (seconds: number): Html => {
  const iso = new Date(seconds * 1000).toISOString()
  return html`<time datetime="${iso}">${iso.slice(11, 19)} UTC</time>`
}

const details = ({ chunks, createdAt, fingerprint, savedAt, setCookie }: CookieFacts): Html =>
  html`
        <dl>
          <div><dt>Hash of the session id</dt><dd><code id="fingerprint">${fingerprint}…</code></dd></div>
          <div><dt>First save</dt><dd>${time(createdAt)}</dd></div>
          <div><dt>This version</dt><dd>${time(savedAt)}</dd></div>
          <div><dt>Cookies that it takes</dt><dd>${chunks} <span class="hint">of at most 9</span></dd></div>
          <div class="scripted"><dt>Scripts see</dt><dd id="seen"></dd></div>
        </dl>
        <pre><code>Set-Cookie: ${setCookie}</code></pre>`

const noCookie = html`<p class="empty">None. Who only looks around gets no cookie, and costs the server nothing.</p>`

export const cookiePanel = ({ cookie }: View): Html =>
  panel(
    "cookie",
    html`Your cookie`,
    cookie === undefined ? noCookie : html`${anatomy(fieldsOf(cookie))}${details(cookie)}`
  )
