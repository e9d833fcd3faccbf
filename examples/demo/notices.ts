/** One sentence or two on what just happened, for the reader of the page. */
import { refusals } from "../../src/SessionState.ts"
import type { Refusal } from "../../src/SessionState.ts"
import type { CookieFacts } from "./cookie.ts"

/** What a form can do, and what it did. */
export const deeds = {
  "logged-in":
    "Logged in, and renewed: the session has a subject and a new id. An id that was planted before leads nowhere.",
  "cart-changed":
    "Saved. The cart went through its schema into a new version of the session, with a new id and new keys.",
  "renewed": "Renewed: the same data, under a new session id and with new keys.",
  "logged-out": "Logged out: the browser was told to forget the cookie, and the cart went with it."
} as const

export type Deed = keyof typeof deeds

/** A request that changed nothing, and what time made of it. */
export const visited: Readonly<Record<CookieFacts["due"], string>> = {
  Nothing: "Your session is open. Nothing was due, so this response sets no cookie.",
  Touch: "Your request touched the session: the same id, and the idle clock is full again.",
  Save: "Three quarters of the rolling timeout had passed, so your request saved the session under a new id."
}

/** A request without a session, and why it has none. */
export const refused = (refusal: Refusal): string => {
  switch (refusal) {
    case "MissingCookie":
      return "You have no session, because there is nothing to remember yet. Put something into the cart."
    case "IdlingTimeout":
      return "Your session has ended: nobody used it for too long. The browser still sends its cookie, in vain."
    case "RollingTimeout":
      return "Your session has ended: it was not saved for too long. The browser still sends its cookie, in vain."
    case "AbsoluteTimeout":
      return "Your session has ended: it reached its greatest age. The browser still sends its cookie, in vain."
    default:
      return `The server does not take the cookie that the browser sent (${refusals[refusal]}), and begins anew.`
  }
}
