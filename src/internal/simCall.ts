/** A request on its way through the simulated application, and what the simulator knows of it. */
import type { Port } from "../SessionStore.ts"

/** What a handler does to the session. */
export interface Action {
  readonly kind:
    /** Does not ask for the session. */
    | "ignore"
    | "read"
    /** Adds a note to the session's. */
    | "note"
    | "login"
    | "renew"
    | "logout"
    /** Ends all sessions of the user of whom it is, but the own one. */
    | "logoutElsewhere"
    /** Ends another session by its handle. */
    | "revoke"
  /** Who logs in. */
  readonly user: string
  /** Whether it reads the session before it does something to it. */
  readonly look: boolean
  /** Where it takes its time: others come between. */
  readonly pause: "none" | "before" | "between" | "after"
  /** Whether it commits before it ends. */
  readonly early: boolean
  /** Whether who logs in wants to be remembered. */
  readonly remember: boolean
  readonly ending: "empty" | "redirect" | "stream" | "fail" | "die"
}

/** What a handler saw when it read the session. */
export interface Seen {
  readonly exists: boolean
  readonly notes: ReadonlyArray<string>
  readonly subject: string | undefined
  readonly handle: string | undefined
}

/** What a save does beyond making a new version. */
export interface Intent {
  readonly call: Call
  readonly note: string | undefined
  readonly subject: string | undefined
  readonly renewed: boolean
}

export interface Reply {
  readonly status: number
  readonly setCookies: ReadonlyArray<string>
  readonly cacheControl: string | undefined
  readonly vary: string | undefined
}

/** Whether the handler's data count: a handler that dies or is cut short vouches for nothing. */
export type Stage = "Handling" | "Committing" | "Done" | "Dropped"

export class Call {
  readonly id: number
  /** The browser, or the attacker. */
  readonly sender: string
  readonly server: number
  readonly action: Action
  readonly cookies: ReadonlyMap<string, string>
  /** The handle of the session that `revoke` is to end. */
  readonly target: string | undefined
  readonly sentAt: number
  stage: Stage = "Handling"
  /** Whether the handler failed; the status is its own then. */
  failed = false
  /** What the handler has asked for so far. */
  noted = false
  renewed = false
  loggedIn = false
  ended = false
  seen: Seen | undefined
  reply: Reply | undefined
  /** Whether its server went down under it: nothing that it waits for ever comes. */
  crashed = false
  /** Whether its client went away. */
  aborted = false
  /** Whether the store failed it, or kept it waiting. */
  faulted = false
  delivered = false
  /** How many operations it has asked for. */
  operations = 0
  readonly abort = new AbortController()
  readonly #watcher: (call: Call, seen: Seen) => void

  constructor(
    fields: Pick<Call, "id" | "sender" | "server" | "action" | "cookies" | "target" | "sentAt">,
    watcher: (call: Call, seen: Seen) => void
  ) {
    this.#watcher = watcher
    this.id = fields.id
    this.sender = fields.sender
    this.server = fields.server
    this.action = fields.action
    this.cookies = fields.cookies
    this.target = fields.target
    this.sentAt = fields.sentAt
  }

  /** The note that this call adds: it says who made it, and must not be readable at the store. */
  get note(): string {
    return `plaintext of r${this.id}`
  }

  /** The handler has read the session. */
  look(seen: Seen): void {
    this.seen = seen
    this.#watcher(this, seen)
  }

  /** What a version that it makes now has to hold. */
  get intent(): Intent {
    const data = this.noted && this.counts
    return {
      call: this,
      note: data ? this.note : undefined,
      subject: data && this.loggedIn ? this.action.user : undefined,
      renewed: this.renewed
    }
  }

  /** Whether its data are part of what is committed now. */
  get counts(): boolean {
    return this.stage === "Committing" || this.stage === "Done"
  }
}

/** What a call can wait for: the store, or time to pass in a handler. */
export type OperationName = keyof Port | "pause"
