/**
 * The invariants, checked from outside: on what clients see, what handlers read,
 * and what the store was made to do.
 */
import type { Call, Intent, Reply, Seen } from "./simCall.ts"
import { glance, parseSetCookie } from "./simCookie.ts"
import type { Glance, SetCookie } from "./simCookie.ts"
import { headOf, History, isAwaited, label, lastSecond, stands } from "./simHistory.ts"
import type { Chain, Cookie, Times, Version } from "./simHistory.ts"
import { added, cookieNames, cookieOf, isOver, longest, opened, unknown, wayOf } from "./simRecord.ts"
import type { Invariant, Presented, Record, Violation, Way } from "./simRecord.ts"

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

  /** What a call presents, of what responses have set. */
  presentedBy(call: Call): ReadonlyArray<Version> {
    const { remember, session } = this.recordOf(call)
    return [session, remember].flatMap((presented) => presented?.version ?? [])
  }

  // ---------------------------------------------------------------------------
  // requests
  // ---------------------------------------------------------------------------

  sent(call: Call): void {
    this.#records.set(call, {
      order: ++this.history.order,
      session: this.#presented(call, "session"),
      remember: this.times.remember ? this.#presented(call, "remember") : undefined,
      loads: [],
      refused: false,
      overtaken: false,
      touched: new Set(),
      swept: false,
      noted: false
    })
  }

  #presented(call: Call, cookie: Cookie): Presented | undefined {
    const value = call.cookies.get(cookieNames[cookie])
    const seen = value === undefined ? undefined : glance(value)
    const version = seen === undefined ? undefined : this.bySid.get(seen.sid)
    if (value === undefined || seen === undefined || version === undefined) return undefined
    return !this.genuine.has(value) || version.cookie !== cookie
      ? undefined
      : { version, glance: seen, valid: (now) => this.#valid(cookie, seen, now) }
  }

  #valid(cookie: Cookie, { createdAt, savedAt, usedAt }: Glance, now: number): boolean {
    const { absoluteTimeout, idlingTimeout, rememberAbsoluteTimeout, rememberRollingTimeout, rollingTimeout } =
      this.times
    const within = (since: number, timeout: number): boolean => timeout === 0 || now - since <= timeout
    return cookie === "session"
      ? within(createdAt, absoluteTimeout) && within(savedAt, rollingTimeout) && within(usedAt, idlingTimeout)
      : within(createdAt, rememberAbsoluteTimeout) && within(savedAt, rememberRollingTimeout)
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
    const { loads, remember, session } = this.recordOf(call)
    const allowed = [session, remember].filter((presented) => presented?.valid(call.sentAt))
    const what = `r${call.id} only looks`
    // A remember cookie that is sent as a session cookie is the server's own word too, until somebody opens it.
    const confused = this.genuine.has(call.cookies.get(cookieNames.session) ?? "") &&
      this.recordOf(call).session === undefined
    if (operation === "touch" && confused) return
    if (allowed.length === 0) return this.violate("I7", `${what}, without a session, and makes the store ${operation}`)
    switch (operation) {
      case "note":
        return
      case "rescue":
        return allowed.includes(remember) ? undefined : this.violate("I7", `${what}, and makes the store rescue`)
      case "revoke":
        if (this.onReuseRevokes && allowed.some((presented) => presented?.version.graceEnds !== undefined)) return
    }
    // Who is forwarded gets the cookie as it was before any touch; others may have been forwarded further since.
    const reached = loads.flatMap(({ standing }) => stands(standing) ? standing.head : [])
    const heads = allowed.flatMap((presented) => presented === undefined ? [] : headOf(presented.version.chain))
    const due =
      allowed.some((presented) => presented && this.#due(presented.glance.savedAt, presented.glance.usedAt, now)) ||
      [...reached, ...heads].some(({ savedAt, usedAt }) =>
        this.#due(savedAt, usedAt, now) || this.#due(savedAt, savedAt, now)
      )
    if (!due) this.violate("I7", `${what}, nothing is due, and it makes the store ${operation}`)
  }

  loaded(call: Call, cookie: Cookie, key: string, now: number, found: boolean): void {
    const { history } = this
    // What had expired when the store was last told the time may be gone, or not.
    const time = found ? now : Math.max(now, history.latest)
    // One cookie's key under the other's name opens nothing.
    const standing = history.versions.get(key)?.cookie === cookie ? history.standing(key, time) : unknown
    const record = this.recordOf(call)
    record.loads.push({ cookie, standing, awaited: isAwaited(standing), now, order: ++history.order })
    if (record.overtaken && isOver(standing)) record.refused = true
  }

  created(intent: Intent, key: string, handle: string, now: number): Version | undefined {
    const { history } = this
    const { call, note, subject } = intent
    history.order++
    if (history.versions.has(key)) {
      this.violate("I5", `r${call.id} creates a session under an id that was in use`)
      return undefined
    }
    const way = wayOf(this.recordOf(call), call.sentAt, now)
    // A login with a remember cookie alone: the data go into a session that no old cookie leads to.
    const before = way.cookie === "remember" && !call.ended && way.last !== undefined && stands(way.last.standing)
      ? way.last.standing.head
      : undefined
    return history.create(handle, {
      key,
      maker: call,
      createdAt: now,
      savedAt: now,
      epoch: 0,
      era: 0,
      notes: added(before?.notes ?? [], note),
      subject: subject ?? before?.subject
    })
  }

  /** A save was asked for; whether there was something to save shows in what stood. */
  superseded(
    intent: Intent,
    old: string,
    key: string,
    now: number,
    done: boolean,
    seen: boolean
  ): Version | undefined {
    const version = this.#replaced(intent, old, key, now, done)
    if (version !== undefined && seen) this.history.saw(version, now)
    return version === undefined ? undefined : this.history.replace(version, {
      key,
      maker: intent.call,
      createdAt: version.createdAt,
      savedAt: now,
      epoch: version.epoch + (intent.renewed ? 1 : 0),
      era: version.era,
      notes: added(version.notes, intent.note),
      subject: intent.subject ?? version.subject
    })
  }

  /** The same from a remember cookie. */
  rescued(intent: Intent, old: string, key: string, now: number, done: boolean): Version | undefined {
    const remember = this.#replaced(intent, old, key, now, done)
    if (remember === undefined) return undefined
    const head = headOf(remember.chain)
    return this.history.replace(head, {
      key,
      maker: intent.call,
      createdAt: now,
      savedAt: now,
      epoch: remember.epoch + (intent.renewed ? 1 : 0),
      era: head.era + 1,
      notes: added(head.notes, intent.note),
      subject: intent.subject ?? head.subject
    })
  }

  /** What a save replaced, where it did. */
  #replaced(intent: Intent, old: string, key: string, now: number, done: boolean): Version | undefined {
    const { history } = this
    const { call, note, renewed } = intent
    history.order++
    const standing = history.standing(old, now)
    const record = this.recordOf(call)
    if (!done) {
      if (standing._tag === "Forwarded" || standing._tag === "Spent") record.overtaken = true
      else if (isOver(history.standing(old, history.latest))) record.refused = true
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
    if (standing._tag === "Forwarded" && ((note === undefined && !renewed) || version.cookie === "remember")) {
      this.violate("I4", `r${call.id} refreshes ${label(version)}, which has a successor: now it has two`)
    }
    return version
  }

  /** A remember cookie was stored with a version. */
  remembered(beside: Version, key: string, deadline: number, replaces: string | undefined): Version | undefined {
    if (this.history.versions.has(key)) {
      this.violate("I5", `r${beside.maker.id} saves a remember cookie under an id that was in use`)
      return undefined
    }
    return this.history.remember(beside, key, deadline, replaces)
  }

  /** `used` is whether it moved the deadline, `seen` whether it noted that the version was presented. */
  touched(call: Call, key: string, used: boolean, seen: boolean, now: number): Version | undefined {
    const { history } = this
    history.order++
    const standing = history.standing(key, now)
    if (isOver(history.standing(key, history.latest))) this.recordOf(call).refused = true
    if (standing._tag !== "Current") return undefined
    if (used) standing.version.usedAt = now
    if (seen) history.saw(standing.version, now)
    return standing.version
  }

  /** No row may die before its cookie, or long after it. */
  keeps(version: Version, deadline: number, now: number): void {
    const expected = Math.min(lastSecond(version, now, this.times), now + longest)
    if (deadline !== expected) {
      this.violate("Times", `${label(version)} is kept until ${deadline - now} s from now, not ${expected - now}`)
    }
  }

  revoked(call: Call, handle: string, now: number): void {
    this.history.order++
    const chain = this.history.byHandle(handle)
    // What has ended is no more to go on from.
    if (chain !== undefined && this.history.isOver(chain, now)) this.recordOf(call).refused = true
    this.history.end(chain, `r${call.id}`)
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
    const record = this.recordOf(call)
    const way = wayOf(record, call.sentAt, now)
    if (!seen.exists) return this.#sawNothing(call, record, way, now)
    const who = `r${call.id}`
    const { first, last, presented } = way
    if (presented === undefined) {
      return call.sender === "thief"
        ? this.violate("I6", `${who} opens a session with what the store's rows hold`)
        : this.violate("I5", `${who} opens a session with a cookie that nobody was given`)
    }
    const name = label(presented.version)
    if (!presented.valid(call.sentAt)) {
      return this.violate("Times", `${who} presents ${name}, which has timed out, and has a session`)
    }
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

  #sawNothing(call: Call, { loads, remember, session }: Record, taken: Way, now: number): void {
    const who = `r${call.id}`
    const usable = (presented: Presented | undefined): presented is Presented =>
      presented !== undefined && presented.valid(call.sentAt) && presented.valid(now)
    for (const [presented, cookie] of [[session, "session"], [remember, "remember"]] as const) {
      if (usable(presented) && !loads.some((load) => load.cookie === cookie)) {
        return this.violate("Times", `${who} presents ${label(presented.version)}, which is valid, and is refused`)
      }
    }
    const { first, last, open, presented } = taken
    if (!open || first === undefined || last === undefined || presented === undefined || !stands(last.standing)) return
    const name = label(presented.version)
    if (first.standing._tag === "Current") {
      return this.violate("Times", `${who} presents ${name}, which stands, and has no session`)
    }
    const { head } = last.standing
    // Each step of the way has times of its own; who was touched while the next one was saved outlives that by moments.
    const way = head.chain.versions.slice(presented.version.cookie === "session" ? presented.version.number : -1)
    const lasts = way.every((version) => lastSecond(version, version.savedAt, this.times) >= last.now)
    if (last.cookie === "remember" || lasts) {
      this.violate("Grace", `${who} presents ${name}, whose grace is not over, and has no session`)
    }
  }

  // ---------------------------------------------------------------------------
  // responses
  // ---------------------------------------------------------------------------

  /** A response leaves. `keyOf` is the store's key for a sid. */
  async answered(
    call: Call,
    reply: Reply,
    keyOf: (sid: Uint8Array) => Promise<string>
  ): Promise<ReadonlyArray<string>> {
    const order = ++this.history.order
    const labels: Array<string> = []
    let given: Version | undefined
    let tells = false
    for (const setCookie of reply.setCookies.map(parseSetCookie)) {
      const cookie = cookieOf(setCookie.name)
      if (cookie === undefined) continue
      if (cookie === "session") tells = true
      if (setCookie.deleted) {
        labels.push(`deletion of ${setCookie.name}`)
        if (!call.ended && (cookie === "session" || !call.renewed)) {
          this.violate("I2", `r${call.id} did not log out, and its response deletes ${setCookie.name}`)
        }
      } else {
        const version = await this.#gives(call, reply, cookie, setCookie, keyOf)
        if (cookie === "session") given = version
        labels.push(version === undefined ? "unknown" : label(version))
      }
    }
    this.#hygiene(call, reply)
    const { status } = reply
    const excused = call.faulted || call.aborted
    if (status >= 500 && !excused && call.action.ending !== "fail" && call.action.ending !== "die") {
      this.violate("I8", `r${call.id} answers ${status}, and nothing had failed`)
    }
    if (status < 400) this.#keptItsWord(call, given, tells, order)
    return labels
  }

  async #gives(
    call: Call,
    reply: Reply,
    cookie: Cookie,
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
    if (version === undefined || version.cookie !== cookie) {
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
    this.#entitled(call, record, version)
    const name = label(version)
    if (seen.touched && !record.touched.has(version)) {
      this.violate("I1", `${who} sets a touched cookie of ${name}, and the store has not acknowledged the touch`)
    }
    if (!seen.touched) {
      version.value ??= value
      if (version.value !== value) this.violate("I4", `${who} sets another cookie of ${name} than others got`)
    }
    if (cookie === "remember") this.#remembers(who, version, seen)
    return version
  }

  /** Whether a call may answer with this version. */
  #entitled(call: Call, { loads, order }: Record, version: Version): void {
    const who = `r${call.id}`
    const name = label(version)
    const { chain } = version
    const mine = version.maker === call
    const since = mine ? version.order : loads[loads.length - 1]?.order ?? order
    if (chain.ended !== undefined && chain.ended.order < since) {
      this.violate("I2", `${who} sets the cookie of ${name}, a session that ${chain.ended.by} had ended before`)
    }
    if (mine && !version.acknowledged) {
      this.violate("I1", `${who} sets the cookie of ${name}, which the store has not acknowledged`)
    }
    if (!mine) {
      const own = this.presentedBy(call).filter((presented) => presented.chain === chain)
      const [presented] = own
      if (presented === undefined) {
        this.violate("I5", `${who} is handed ${name}, a session that is not its own`)
      } else if (!own.some(({ epoch }) => epoch >= version.epoch)) {
        this.violate("I5", `${who} presents ${label(presented)} and is handed ${name}, which a renewal made`)
      }
    }
    if (version.replaced < order) {
      this.violate("I4", `${who} is handed ${name}, which had been replaced before it came`)
    }
  }

  /** A remember cookie lives as long as its row. */
  #remembers(who: string, version: Version, { createdAt, savedAt }: Glance): void {
    const { rememberAbsoluteTimeout, rememberRollingTimeout } = this.times
    const expected = Math.min(createdAt + rememberAbsoluteTimeout, savedAt + rememberRollingTimeout)
    if (version.deadline !== expected) {
      this.violate("Times", `${who} sets ${label(version)}, whose row ends ${version.deadline - expected} s after it`)
    }
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
    const [entry] = loads
    if (call.noted && call.counts) {
      if (given === undefined) {
        if (!record.refused) this.violate("I3", `${who} answers well; what it wrote is neither stored nor refused`)
      } else if (given.maker !== call) {
        this.violate("I3", `${who} answers with ${label(given)}; what it wrote itself is lost`)
      }
    }
    if (
      entry?.standing._tag === "Current" && entry.awaited && !record.noted &&
      entry.standing.version.chain.ended === undefined
    ) {
      this.violate(
        "Grace",
        `${who} is the first to present ${label(entry.standing.version)}, and the store is not told`
      )
    }
    this.#ended(call, record, order)
    const { cookie, first } = wayOf(record, call.sentAt, call.sentAt)
    if (
      !tells && call.seen?.exists === true && !call.faulted && !call.aborted && !record.refused && !call.ended &&
      (first?.standing._tag === "Forwarded" || (first?.standing._tag === "Current" && cookie === "remember"))
    ) {
      const { chain, epoch } = first.standing.version
      if (chain.ended === undefined && epoch === headOf(chain).epoch) {
        this.violate("I4", `${who} presents ${label(first.standing.version)}, and is not told its successor`)
      }
    }
  }

  /** What was acknowledged as ended has ended, whatever the store was told. */
  #ended(call: Call, { loads, swept }: Record, order: number): void {
    const end = (chain: Chain | undefined): void => {
      if (chain !== undefined) chain.ended ??= { order, by: `r${call.id}` }
    }
    const last = loads[loads.length - 1]?.standing
    if (call.ended && last !== undefined && stands(last)) end(last.version.chain)
    if (call.action.kind === "revoke" && call.target !== undefined) end(this.history.byHandle(call.target))
    if (call.action.kind === "logoutElsewhere" && !swept) {
      this.violate("I2", `r${call.id} says that other sessions are ended, and the store was not asked`)
    }
  }

  /** A response that does not come although all is well again. */
  hangs(call: Call): void {
    this.violate("I1", `r${call.id} never answers`)
  }
}
