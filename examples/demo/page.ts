/** The document around the panels. */
import { html } from "./html.ts"
import type { Html } from "./html.ts"
import { accountPanel, cartPanel, cookiePanel, dataPanel, timePanel } from "./panels.ts"
import type { View } from "./panels.ts"

const document = (title: string, body: Html): string =>
  html`<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>${title}</title>
  <link rel="icon" href="/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/style.css">
</head>
<body>
  ${body}
</body>
</html>
`.source

const steps = [
  {
    title: "Look around",
    text: "Reading costs nothing: no cookie, no storage. A session begins when there is something to remember."
  },
  {
    title: "Fill the cart",
    text:
      "The cart is checked against its schema, encrypted and authenticated. Every save is a new version of the session, " +
      "with a new id and new keys."
  },
  {
    title: "Log in",
    text: "The session gets a subject and is renewed, so that an id that somebody planted in your browser before " +
      "leads nowhere."
  },
  {
    title: "Wait",
    text: "A request after some idle seconds touches the session: the same id, the idle clock full again. " +
      "When a clock has run out, the server refuses the cookie."
  },
  {
    title: "Log out",
    text: "The cookie is cleared. A copy that somebody kept opens until its clocks run out; with sessions at a " +
      "store, it ends at once."
  }
]

const lede = "All that this little shop knows about you is in one session. Fill the cart, log in, or just wait, " +
  "and see what the server makes of it."

/** The page, with a sentence on what just happened. */
export const page = (view: View, notice: string): string => {
  const list = steps.map(({ text, title }) =>
    html`
        <li><h3>${title}</h3><p>${text}</p></li>`
  )
  const body = html`
  <a class="skip" href="#panels">Skip to the demo</a>
  <header>
    <p class="brand">effect-session</p>
    <h1>A session you can watch</h1>
    <p class="lede">${lede}</p>
  </header>
  <main>
    <p id="notice" role="status">${notice}</p>
    <div id="panels" tabindex="-1">
      <div class="column">${accountPanel(view)}${cartPanel(view)}${dataPanel(view)}
      </div>
      <div class="column">${timePanel(view)}${cookiePanel(view)}
      </div>
    </div>
    <section class="steps" aria-labelledby="steps-title">
      <h2 id="steps-title">What happens</h2>
      <ol>${list}
      </ol>
    </section>
  </main>
  <script src="/page.js" type="module"></script>`
  return document("effect-session: a session you can watch", body)
}

/** What is shown in place of the page where a request cannot be served. */
export const problemPage = (notice: string): string => {
  const body = html`
  <main class="problem">
    <h1>That did not work</h1>
    <p id="notice">${notice}</p>
    <p><a href="/">Back to the demo</a></p>
  </main>`
  return document("effect-session: that did not work", body)
}
