/**
 * The invariants, checked from outside: on what clients see, what handlers read,
 * and what the store was made to do.
 */
import type { Call, Intent, Reply, Seen } from "./simCall.ts"
import { glance, parseSetCookie } from "./simCookie.ts"
import type { Glance, SetCookie } from "./simCookie.ts"
import { headOf, History, label, lastSecond } from "./simHistory.ts"
import type { Standing, Times, Version } from "./simHistory.ts"

/** The invariants of the protocol, and three promises that stand beside them. */
export type Invariant = "I1" | "I2" | "I3" | "I4" | "I5" | "I6" | "I7" | "I8" | "I9" | "Grace" | "Times"

export interface Violation {
  readonly invariant: Invariant
  readonly message: string
}

interface Load {
  readonly standing: Standing
  /** Whether older versions wait for this one to be presented. */
  readonly unseen: boolean
  readonly now: number
  readonly order: number
}

/** What the checker knows of a call. */
interface Record {
  readonly version: Version | undefined
  readonly glance: Glance | undefined
  /** Whether the times of the presented cookie allowed it when it came. */
  readonly valid: boolean
  readonly order: number
  readonly loads: Array<Load>
  /** Whether the store had a reason to refuse what it asked for. */
  refused: boolean
  /** Whether it was told that another one was quicker. */
  overtaken: boolean
  /** The versions whose touch was acknowledged. */
  readonly touched: Set<Version>
  /** Whether it has ended the other sessions of its user. */
  swept: boolean
  /** Whether it told the store that its version was presented. */
  noted: boolean
}

const sessionCookie = "__Host-session"

export class Checker {
  readonly history: History
  readonly times: Times
  readonly onReuseRevokes: boolean
  violation: Violation | undefined
  /** Sids that the library drew, and all else that was random. */
  readonly drawn = new Set<string>()
  /** The versions by the sid in their cookies, of those whose cookie has left. */
  readonly bySid = new Map<string, Version>()
  /** The cookies that have left, touched ones too. */
  readonly genuine = new Set<string>()
  readonly #records = new Map<Call, Record>()

  constructor(times: Times, onReuseRevokes: boolean) {
    this.times = times
    this.onReuseRevokes = onReuseRevokes
    this.history = new History(times)
  }

  violate(invariant: Invariant, message: string): void {
    this.violation ??= { invariant, message }
  }

  recordOf(call: Call): Record {
    const record = this.#records.get(call)
    if (record === undefined) throw new Error(`r${call.id} was never sent`)
    return record
  }

  // ---------------------------------------------------------------------------
  // requests
  // ---------------------------------------------------------------------------

  sent(call: Call): void {
    const value = call.cookies.get(sessionCookie)
    const seen = value === undefined ? undefined : glance(value)
    const genuine = value !== undefined && this.genuine.has(value)
    const version = seen === undefined || !genuine ? undefined : this.bySid.get(seen.sid)
    this.#records.set(call, {
      version,
      glance: seen,
      valid: version !== undefined && seen !== undefined && this.#valid(seen, call.sentAt),
      order: ++this.history.order,
      loads: [],
      refused: false,
      overtaken: false,
      touched: new Set(),
      swept: false,
      noted: false
    })
  }

  #valid({ createdAt, savedAt, usedAt }: Glance, now: number): boolean {
    const { absoluteTimeout, idlingTimeout, rollingTimeout } = this.times
    const within = (since: number, timeout: number): boolean => timeout === 0 || now - since <= timeout
    return within(createdAt, absoluteTimeout) && within(savedAt, rollingTimeout) && within(usedAt, idlingTimeout)
  }

  /** Whether time alone asks for a write. */
  #due(savedAt: number, usedAt: number, now: number): boolean {
    const { idlingTimeout, rollingTimeout, touchThreshold } = this.times
    return (rollingTimeout > 0 && now - savedAt > Math.ceil(rollingTimeout * 0.75)) ||
      (idlingTimeout > 0 && now - usedAt > touchThreshold)
  }

  // ---------------------------------------------------------------------------
  // the store
  // ---------------------------------------------------------------------------

  /** Reading is free. */
  wrote(call: Call, operation: string, now: number): void {
    const { kind } = call.action
    if (kind !== "ignore" && kind !== "read") return
    const { glance, valid, version } = this.recordOf(call)
    if (version === undefined || glance === undefined || !valid) {
      return this.violate("I7", `r${call.id} has no session, only looks, and makes the store ${operation}`)
    }
    if (operation === "revoke" && this.onReuseRevokes && version.graceEnds !== undefined) return
    const head = headOf(version.chain)
    if (operation !== "note" && !this.#due(glance.savedAt, glance.usedAt, now) &&
      // Who is forwarded gets the cookie as it was before any touch.
      !this.#due(head.savedAt, head.savedAt, now)) {
      this.violate("I7", `r${call.id} only looks, nothing is due, and it makes the store ${operation}`)
    }
  }

  loaded(call: Call, key: string, now: number): void {
    const { history } = this
    const standing = history.standing(key, now)
    const record = this.recordOf(call)
    record.loads.push({ standing, unseen: waitsFor(standing), now, order: ++history.order })
    if (record.overtaken && isOver(standing)) record.refused = true
  }

  created({ call, note, subject }: Intent, key: string, handle: string, now: number): Version | undefined {
    const { history } = this
    history.order++
    if (history.versions.has(key)) {
      this.violate("I5", `r${call.id} creates a session under an id that was in use`)
      return undefined
    }
    return history.create({
      key,
      handle,
      maker: call,
      savedAt: now,
      notes: note === undefined ? [] : [note],
      subject
    })
  }

  /** A save was asked for; whether there was something to save shows in what stood. */
  superseded(intent: Intent, old: string, key: string, now: number, done: boolean): Version | undefined {
    const { history } = this
    const { call, note, renewed, subject } = intent
    history.order++
    const standing = history.standing(old, now)
    const record = this.recordOf(call)
    if (!done) {
      if (standing._tag === "Forwarded" || standing._tag === "Spent") record.overtaken = true
      else if (isOver(standing)) record.refused = true
      return undefined
    }
    if (standing._tag === "Unknown") {
      this.violate("I5", `r${call.id} saves over an id that the store never had`)
      return undefined
    }
    if (history.versions.has(key)) {
      this.violate("I5", `r${call.id} saves under an id that was in use: the sid is kept`)
      return undefined
    }
    const { version } = standing
    if (standing._tag === "Forwarded" && note === undefined && !renewed) {
      this.violate("I4", `r${call.id} refreshes ${label(version)}, which has a successor: now it has two`)
    }
    return history.replace(version, {
      key,
      maker: call,
      savedAt: now,
      epoch: version.epoch + (renewed ? 1 : 0),
      notes: note === undefined ? version.notes : [...version.notes, note],
      subject: subject ?? version.subject
    })
  }

  /** `used` is whether it moved the deadline, `seen` whether it noted that the version was presented. */
  touched(call: Call, key: string, used: boolean, seen: boolean, now: number): Version | undefined {
    const { history } = this
    history.order++
    const standing = history.standing(key, now)
    if (isOver(standing)) this.recordOf(call).refused = true
    if (standing._tag !== "Current") return undefined
    if (used) standing.version.usedAt = now
    if (seen) history.saw(standing.version, now)
    return standing.version
  }

  /** No row may die before its cookie, or long after it. */
  keeps(version: Version, deadline: number, now: number): void {
    const expected = Math.min(lastSecond(version, now, this.times), now + 400 * 24 * 60 * 60)
    if (deadline !== expected) {
      this.violate("Times", `${label(version)} is kept until ${deadline - now} s from now, not ${expected - now}`)
    }
  }

  revoked(call: Call, handle: string): void {
    this.history.order++
    this.history.end(this.history.byHandle(handle), `r${call.id}`)
  }

  revokedAll(call: Call, except: string | undefined): void {
    this.history.order++
    this.recordOf(call).swept = true
    for (const chain of this.history.chains) {
      if (headOf(chain).subject === call.action.user && chain.handle !== except) this.history.end(chain, `r${call.id}`)
    }
  }

  // ---------------------------------------------------------------------------
  // what handlers see
  // ---------------------------------------------------------------------------

  looked(call: Call, seen: Seen, now: number): void {
    const { glance, loads, valid, version } = this.recordOf(call)
    const [first] = loads
    const last = loads[loads.length - 1]
    const who = `r${call.id}`
    if (!seen.exists) {
      if (version === undefined || glance === undefined || !valid || !this.#valid(glance, now)) return
      if (first === undefined || last === undefined) {
        return this.violate("Times", `${who} presents ${label(version)}, which is valid, and is refused`)
      }
      if (!loads.every(({ standing }) => stands(standing))) return
      if (first.standing._tag === "Current") {
        return this.violate("Times", `${who} presents ${label(version)}, which stands, and has no session`)
      }
      const { standing } = last
      if (stands(standing) && lastSecond(standing.head, standing.head.savedAt, this.times) >= last.now) {
        this.violate("Grace", `${who} presents ${label(version)}, whose grace is not over, and has no session`)
      }
      return
    }
    if (version === undefined) {
      return call.sender === "thief"
        ? this.violate("I6", `${who} opens a session with what the store's rows hold`)
        : this.violate("I5", `${who} opens a session with a cookie that nobody was given`)
    }
    if (!valid) return this.violate("Times", `${who} presents ${label(version)}, which has timed out, and has a session`)
    if (first === undefined || last === undefined) {
      return this.violate("I2", `${who} has a session, and nobody asked the store whether it was ended`)
    }
    for (const { standing } of [first, last]) {
      if (!stands(standing)) return this.violate(...opened(who, standing))
    }
    if (!stands(last.standing)) return
    const { head } = last.standing
    const missing = head.notes.filter((note) => !seen.notes.includes(note))
    if (missing.length > 0) return this.violate("I3", `${who} reads ${label(head)}, and misses ${missing.join(", ")}`)
    if (seen.notes.length !== head.notes.length) {
      return this.violate("I3", `${who} reads ${label(head)}, and finds [${seen.notes.join(", ")}]`)
    }
    if (seen.subject !== head.subject) {
      this.violate("I5", `${who} reads ${label(head)}, of ${head.subject}, as ${seen.subject}`)
    }
  }

  // ---------------------------------------------------------------------------
  // responses
  // ---------------------------------------------------------------------------

  /** A response leaves. `keyOf` is the store's key for a sid. */
  async answered(call: Call, reply: Reply, keyOf: (sid: Uint8Array) => Promise<string>): Promise<ReadonlyArray<string>> {
    const order = ++this.history.order
    const cookies = reply.setCookies.map(parseSetCookie).filter(({ name }) => name.startsWith(sessionCookie))
    const labels: Array<string> = []
    let given: Version | undefined
    for (const cookie of cookies) {
      if (cookie.deleted) {
        labels.push("deletion")
        if (!call.ended) this.violate("I2", `r${call.id} did not log out, and its response deletes the cookie`)
      } else {
        given = await this.#gives(call, reply, cookie, keyOf)
        labels.push(given === undefined ? "unknown" : label(given))
      }
    }
    this.#hygiene(call, reply)
    const { status } = reply
    const excused = call.faulted || call.aborted
    if (status >= 500 && !excused && call.action.ending !== "fail" && call.action.ending !== "die") {
      this.violate("I8", `r${call.id} answers ${status}, and nothing had failed`)
    }
    if (status < 400) this.#keptItsWord(call, given, cookies.length > 0, order)
    return labels
  }

  async #gives(
    call: Call,
    reply: Reply,
    { value }: SetCookie,
    keyOf: (sid: Uint8Array) => Promise<string>
  ): Promise<Version | undefined> {
    const record = this.recordOf(call)
    const who = `r${call.id}`
    const seen = glance(value)
    if (seen === undefined) {
      this.violate("I8", `${who} sets a cookie that is none: ${value}`)
      return undefined
    }
    if (!this.drawn.has(seen.sid)) this.violate("I5", `${who} sets a sid that was not drawn at random`)
    if (reply.status === 503 && !call.failed) this.violate("I1", `${who} answers 503 with a session cookie`)
    const version = this.history.versions.get(await keyOf(seen.sidBytes))
    if (version === undefined) {
      this.violate(
        record.refused ? "I2" : "I1",
        record.refused
          ? `${who} sets a cookie though the store refused its version: the session has ended`
          : `${who} sets a cookie before the store has its version`
      )
      return undefined
    }
    this.bySid.set(seen.sid, version)
    this.genuine.add(value)
    const { chain } = version
    const name = label(version)
    const mine = version.maker === call
    const since = mine ? version.order : record.loads[record.loads.length - 1]?.order ?? record.order
    if (chain.ended !== undefined && chain.ended.order < since) {
      this.violate("I2", `${who} sets the cookie of ${name}, a session that ${chain.ended.by} had ended before`)
    }
    if (mine && !version.acknowledged) {
      this.violate("I1", `${who} sets the cookie of ${name}, which the store has not acknowledged`)
    }
    if (seen.touched && !record.touched.has(version)) {
      this.violate("I1", `${who} sets a touched cookie of ${name}, and the store has not acknowledged the touch`)
    }
    if (!mine && (record.version === undefined || record.version.chain !== chain)) {
      this.violate("I5", `${who} is handed ${name}, a session that is not its own`)
    }
    if (!mine && record.version !== undefined && record.version.epoch < version.epoch) {
      this.violate("I5", `${who} presents ${label(record.version)} and is handed ${name}, which a renewal made`)
    }
    if (version.replaced < record.order) {
      this.violate("I4", `${who} is handed ${name}, which had been replaced before it came`)
    }
    if (!seen.touched) {
      version.value ??= value
      if (version.value !== value) this.violate("I4", `${who} sets another cookie of ${name} than others got`)
    }
    return version
  }

  #hygiene(call: Call, { cacheControl, setCookies, status, vary }: Reply): void {
    if (setCookies.length > 0 && cacheControl !== "no-store") {
      this.violate("I9", `r${call.id} sets a cookie, and caches may keep it`)
    }
    if (call.seen !== undefined && status < 400 && vary?.toLowerCase().includes("cookie") !== true) {
      this.violate("I9", `r${call.id} depends on the cookie, and does not say so`)
    }
  }

  /** What a good answer promises. */
  #keptItsWord(call: Call, given: Version | undefined, tells: boolean, order: number): void {
    const record = this.recordOf(call)
    const who = `r${call.id}`
    const { loads } = record
    const last = loads[loads.length - 1]?.standing
    const own = last !== undefined && stands(last) ? last.version.chain : undefined
    const end = (chain: Version["chain"] | undefined): void => {
      if (chain !== undefined) chain.ended ??= { order, by: who }
    }
    if (call.noted && call.counts) {
      if (given === undefined) {
        if (!record.refused) this.violate("I3", `${who} answers well; what it wrote is neither stored nor refused`)
      } else if (given.maker !== call) {
        this.violate("I3", `${who} answers with ${label(given)}; what it wrote itself is lost`)
      }
    }
    if (call.ended) end(own)
    if (call.action.kind === "revoke" && call.target !== undefined) end(this.history.byHandle(call.target))
    if (call.action.kind === "logoutElsewhere" && !record.swept) {
      this.violate("I2", `${who} says that other sessions are ended, and the store was not asked`)
    }
    const [first] = loads
    if (first?.standing._tag === "Current" && first.unseen && !record.noted) {
      this.violate("Grace", `${who} is the first to present ${label(first.standing.version)}, and the store is not told`)
    }
    if (
      !tells && call.seen?.exists === true && first?.standing._tag === "Forwarded" && !call.faulted && !call.aborted &&
      !record.refused && !call.ended
    ) {
      const { chain, epoch } = first.standing.version
      if (chain.ended === undefined && epoch === headOf(chain).epoch) {
        this.violate("I4", `${who} presents ${label(first.standing.version)}, and is not told its successor`)
      }
    }
  }

  /** A response that does not come although all is well again. */
  hangs(call: Call): void {
    this.violate("I1", `r${call.id} never answers`)
  }
}

const stands = (
  standing: Standing
): standing is Extract<Standing, { readonly _tag: "Current" | "Forwarded" }> =>
  standing._tag === "Current" || standing._tag === "Forwarded"

const waitsFor = (standing: Standing): boolean =>
  standing._tag === "Current" && standing.head.chain.versions.some((version) =>
    version !== standing.head && version.epoch === standing.head.epoch && version.graceEnds === undefined
  )

/** Whether a request has no way on. */
const isOver = ({ _tag }: Standing): boolean => _tag === "Ended" || _tag === "Renewed" || _tag === "Expired"

const opened = (who: string, standing: Standing): [Invariant, string] => {
  switch (standing._tag) {
    case "Unknown":
      return ["I5", `${who} opens a version that the store never had`]
    case "Ended":
      return ["I2", `${who} opens ${label(standing.version)}; ${standing.version.chain.ended?.by} has ended the session`]
    case "Renewed":
      return ["I5", `${who} opens ${label(standing.version)}, from before a renewal`]
    case "Spent":
      return ["Grace", `${who} opens ${label(standing.version)}, whose grace is over`]
    case "Expired":
      return ["Times", `${who} opens ${label(standing.version)}, whose row has expired`]
    case "Current":
    case "Forwarded":
      throw new Error("It stands")
  }
}
