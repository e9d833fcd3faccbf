/** One short history of a few browsers, an attacker, two servers and a store. */
import { Effect, Result } from "effect"
import { Base64Url } from "effect/encoding"
import type { Crypto } from "../Crypto.ts"
import { address } from "./simApp.ts"
import type { App } from "./simApp.ts"
import { Call } from "./simCall.ts"
import type { Action, Reply } from "./simCall.ts"
import { Checker } from "./simChecker.ts"
import { glance, parseSetCookie, textOf } from "./simCookie.ts"
import { label } from "./simHistory.ts"
import type { Cookie, Times, Version } from "./simHistory.ts"
import type { AtRest } from "./simPort.ts"
import * as Random from "./simRandom.ts"
import { cookieNames } from "./simRecord.ts"
import { text } from "./simScript.ts"
import type { Fate, Step } from "./simScript.ts"
import type { Operation, World } from "./simWorld.ts"

export type Jar = Map<string, string>

/** What there is to an episode from its beginning. */
export interface Setting {
  readonly world: World
  readonly app: App
  readonly times: Times
  readonly onReuseRevokes: boolean
  /** Whether rows are in this library's own layout, where nothing may be readable. */
  readonly sealed: boolean
  readonly crypto: Crypto["Service"]
}

/** All that happened, as numbers. */
export interface Counts {
  sessions: number
  requests: number
  operations: number
  faults: number
  crashes: number
}

const audited: Action = {
  kind: "read",
  user: "",
  look: true,
  pause: "none",
  remember: true,
  early: false,
  ending: "empty"
}

const written: Action = { ...audited, kind: "note" }

/** As many old cookies and stolen rows as are tried at the end of an episode, and as many visits as are paid then. */
const most = { cookies: 8, rows: 2, visits: 8 }

export class Episode {
  readonly checker: Checker
  readonly trace: Array<string> = []
  readonly jars = new Map<string, Jar>()
  readonly calls = new Map<number, Call>()
  /** What responses set, by the number of the request. */
  readonly issued = new Map<number, Map<Cookie, string>>()
  readonly counts: Counts = { sessions: 0, requests: 0, operations: 0, faults: 0, crashes: 0 }
  readonly #setting: Setting
  readonly #bytes: Random.Source
  readonly #made: Random.Source
  readonly #began: number
  /** Whether it ends with a user who keeps coming back. */
  readonly #patient: boolean
  readonly #successors: Array<Uint8Array> = []
  readonly #sids = new Map<string, string>()
  readonly #users = new Set<string>()
  #next = 1_000
  readonly #answered = new Set<Call>()

  /** `attempt` makes other bytes for the same seed: a store may still have those of an earlier attempt. */
  constructor(setting: Setting, seed: number, attempt: number) {
    this.#setting = setting
    this.checker = new Checker(setting.times, setting.onReuseRevokes)
    this.#bytes = Random.make(seed ^ 0x5eed ^ Math.imul(attempt, 0x9e37_79b1))
    this.#made = Random.make(seed ^ 0xbad)
    this.#patient = seed % 4 === 0
    this.#began = setting.world.now
    setting.world.clear()
  }

  get now(): number {
    return this.#setting.world.now
  }

  get times(): Times {
    return this.#setting.times
  }

  jar(name: string): Jar {
    const jar = this.jars.get(name) ?? new Map<string, string>()
    this.jars.set(name, jar)
    return jar
  }

  /** The version whose cookie is in a jar. */
  held(name: string, cookie: Cookie = "session"): Version | undefined {
    const value = this.jar(name).get(cookieNames[cookie])
    const seen = value === undefined ? undefined : glance(value)
    return seen === undefined ? undefined : this.checker.bySid.get(seen.sid)
  }

  get operations(): ReadonlyArray<Operation> {
    return this.#setting.world.operations
  }

  randomBytes(size: number): Uint8Array {
    const bytes = Uint8Array.from({ length: size }, () => this.#bytes.below(256))
    if (size === 32) {
      this.checker.drawn.add(textOf(bytes))
      this.#sids.set(textOf(bytes), Base64Url.encode(bytes))
    }
    return bytes
  }

  readonly atRest: AtRest = {
    check: (call, operation, bytes, words) => {
      if (!this.#setting.sealed) return
      for (const part of bytes) {
        const written = textOf(part)
        if (written.includes("plaintext of ")) {
          return this.checker.violate("I6", `r${call.id} has the store ${operation} readable data`)
        }
        for (const [sid, encoded] of this.#sids) {
          if (written.includes(sid) || written.includes(encoded)) {
            return this.checker.violate("I6", `r${call.id} has the store ${operation} a sid`)
          }
        }
      }
      if (words.some((word) => this.#users.has(word))) {
        this.checker.violate("I6", `r${call.id} has the store ${operation} a subject in clear`)
      }
    },
    sealed: (successor) => {
      this.#successors.push(new Uint8Array(successor))
    }
  }

  #tell(line: string): void {
    this.trace.push(`${String(this.now - this.#began).padStart(6)} s  ${line}`)
  }

  // ---------------------------------------------------------------------------
  // steps
  // ---------------------------------------------------------------------------

  async perform(step: Step): Promise<void> {
    switch (step._tag) {
      case "Send":
        await this.#send(step)
        break
      case "Store":
        await this.#store(step.call, step.index, step.fate)
        break
      case "Deliver":
      case "Lose":
        this.#deliver(step.call, step._tag)
        break
      case "Abort":
        await this.#abort(step.call)
        break
      case "Advance":
        this.#tell(text(step))
        await this.#setting.world.advance(step.seconds)
        break
      case "Crash":
        this.#crash(step.server)
        break
      case "Restart":
        if (this.jar(step.browser).delete(cookieNames.session)) this.#tell(text(step))
        break
      case "Plant":
        this.#plant(step.from, step.to)
        break
      case "Stall":
        await this.#stall()
        break
    }
    await this.#responses()
  }

  async #send(step: Extract<Step, { readonly _tag: "Send" }>): Promise<void> {
    const replayed = step.replayed && this.issued.get(step.replayed.of)?.get(step.replayed.cookie)
    if (step.replayed !== undefined && replayed === undefined) return
    const target = step.target === undefined ? undefined : this.held(step.target)
    if (step.target !== undefined && target === undefined) return
    const value = step.forged === undefined ? replayed : forge(step.forged, replayed, this.now, this.#made)
    const cookies = value === undefined
      ? new Map(this.jar(step.sender))
      : new Map([[cookieNames[step.replayed?.as ?? "session"], value]])
    await this.#request(step.call, step.sender, step.action, cookies, target, text(step))
  }

  async #request(
    id: number,
    sender: string,
    action: Action,
    cookies: Jar,
    target: Version | undefined,
    line: string
  ): Promise<Call> {
    const call = new Call({
      id,
      sender,
      server: id % 2,
      action,
      cookies,
      target: target?.chain.handle,
      sentAt: this.now
    }, (call, seen) => this.checker.looked(call, seen, this.now))
    this.calls.set(id, call)
    this.#setting.world.calls.push(call)
    this.counts.requests++
    if (action.user !== "") this.#users.add(action.user)
    this.checker.sent(call)
    const presented = this.checker.presentedBy(call)
    const presents = presented.length > 0
      ? presented.map(label).join(", ")
      : cookies.size > 0
      ? "nothing that a response has set"
      : "no cookie"
    this.#tell(`${line} (${presents})`)
    const header = Array.from(cookies, ([name, value]) => `${name}=${value}`).join("; ")
    const request = new Request(address, {
      headers: header === "" ? {} : { cookie: header },
      signal: call.abort.signal
    })
    this.#setting.app.send(request, call).then(
      (response) => {
        call.reply = replyOf(response)
      },
      (cause: unknown) => {
        this.checker.violate("I8", `r${id} gets no response but an exception: ${cause}`)
      }
    )
    await this.#setting.world.settle()
    return call
  }

  async #store(id: number, index: number, fate: Fate): Promise<void> {
    const operation = this.operations.find((operation) => operation.call.id === id && operation.index === index)
    if (operation !== undefined) await this.#decide(operation, fate)
  }

  async #decide(operation: Operation, fate: Fate): Promise<void> {
    const { about, call, name } = operation
    const line = `r${call.id}: ${name}${about === "" ? "" : ` ${about}`}`
    const late = call.crashed || operation.abandoned ? ", and nobody waits for it" : ""
    if (operation.state === "Waiting" && (fate !== "FailBefore" || name === "pause")) {
      await operation.execute()
      this.counts.operations++
      this.#tell(`  ${line} -> ${operation.said === "" ? "goes on" : operation.said}${late}`)
    } else if (operation.state === "Executed") this.#tell(`  ${line}: the answer arrives${late}`)
    if (name !== "pause" && (fate === "FailBefore" || fate === "FailAfter")) {
      this.counts.faults++
      this.#tell(`  ${line}: fails${fate === "FailAfter" ? ", though it was done" : ""}${late}`)
      operation.answer(true)
    } else if (fate !== "Execute") operation.answer(false)
    await this.#setting.world.settle()
  }

  #deliver(id: number, how: "Deliver" | "Lose"): void {
    const call = this.calls.get(id)
    if (call?.reply === undefined || call.delivered || call.crashed || call.aborted) return
    call.delivered = true
    this.#tell(text({ _tag: how, call: id }))
    if (how === "Lose") return
    const jar = this.jar(call.sender)
    for (const { deleted, name, value } of call.reply.setCookies.map(parseSetCookie)) {
      if (deleted) jar.delete(name)
      else jar.set(name, value)
    }
  }

  async #abort(id: number): Promise<void> {
    const call = this.calls.get(id)
    if (call === undefined || call.reply !== undefined || call.crashed || call.aborted) return
    call.aborted = true
    this.#tell(text({ _tag: "Abort", call: id }))
    call.abort.abort()
    await this.#setting.world.settle()
  }

  #crash(server: number): void {
    const calls = [...this.calls.values()].filter((call) =>
      call.server === server && call.reply === undefined && !call.crashed
    )
    if (calls.length === 0) return
    this.counts.crashes++
    this.#tell(`server ${server} crashes, with ${calls.map(({ id }) => `r${id}`).join(", ")}`)
    for (const call of calls) call.crashed = true
  }

  #plant(from: string, to: string): void {
    const jar = this.jar(from)
    if (jar.size === 0) return
    for (const [name, value] of jar) this.jar(to).set(name, value)
    this.#tell(text({ _tag: "Plant", from, to }))
  }

  /** Nothing answers: who waits for the store has to give up in time. */
  async #stall(): Promise<void> {
    const waiting = this.#setting.world.calls.filter((call) =>
      call.reply === undefined && !call.crashed &&
      // A handler may wait as long as it likes.
      !this.operations.some((operation) => operation.call === call && !bounded(operation))
    )
    if (waiting.length === 0) return
    this.#tell(text({ _tag: "Stall" }))
    // A load, then a commit; each has its time.
    for (let turn = 0; turn < 3; turn++) await this.#setting.world.advance(this.times.commitTimeout + 1)
    await this.#responses()
    for (const call of waiting) if (call.reply === undefined) this.checker.hangs(call)
  }

  async #responses(): Promise<void> {
    for (const call of this.#setting.world.calls) {
      const { reply } = call
      if (reply === undefined || call.crashed || this.#answered.has(call)) continue
      this.#answered.add(call)
      const labels = await this.checker.answered(call, reply, (sid) => this.#keyOf(sid))
      this.#tell(`  r${call.id}: ${reply.status}${labels.length === 0 ? "" : `, Set-Cookie ${labels.join(", ")}`}`)
      const issued = new Map<Cookie, string>()
      for (const { deleted, name, value } of reply.setCookies.map(parseSetCookie)) {
        const cookie = name === cookieNames.session ? "session" : name === cookieNames.remember ? "remember" : undefined
        if (cookie !== undefined && !deleted) issued.set(cookie, value)
      }
      if (issued.size > 0) this.issued.set(call.id, issued)
    }
  }

  async #keyOf(sid: Uint8Array): Promise<string> {
    return textOf(await Effect.runPromise(this.#setting.crypto.sha256(sid)))
  }

  // ---------------------------------------------------------------------------
  // the end
  // ---------------------------------------------------------------------------

  /** Lets all that is under way come to its end, then asks who still has a session. */
  async finish(): Promise<void> {
    await this.#drain()
    this.#tell("all is quiet; who still has a session?")
    await this.#auditAll()
    this.#tell("everybody writes once more; who has a session when all grace is over?")
    await this.#setting.world.advance(this.times.staleTtl + 1)
    for (const [name, jar] of this.jars) {
      if (this.checker.violation !== undefined) return
      if (this.#alive(name)) await this.#visit(name, jar, written)
    }
    await this.#auditAll()
    if (this.#patient) await this.#comeBack()
    for (const bytes of this.#successors.slice(0, most.rows)) {
      for (const stolen of [bytes.slice(0, 82), bytes.slice(-82)]) {
        if (this.checker.violation !== undefined) return
        for (const cookie of cookies) {
          await this.#audit("thief", new Map([[cookieNames[cookie], Base64Url.encode(stolen)]]))
        }
      }
    }
  }

  #alive(name: string): boolean {
    const version = this.held(name)
    return version !== undefined && this.checker.history.standing(version.key, this.now)._tag === "Current"
  }

  /** A request from which and to which nothing is lost. */
  async #visit(name: string, jar: Jar, action: Action): Promise<void> {
    const call = await this.#request(this.#next++, name, action, new Map(jar), undefined, `${name} comes back`)
    await this.#drain()
    this.#deliver(call.id, "Deliver")
  }

  /** One user comes back before anything times out, until the session is too old. */
  async #comeBack(): Promise<void> {
    const { absoluteTimeout, idlingTimeout, rollingTimeout } = this.times
    const [name, jar] = [...this.jars].find(([name]) => this.#alive(name)) ?? []
    if (name === undefined || jar === undefined || absoluteTimeout === 0) return
    const interval = Math.min(...[idlingTimeout, rollingTimeout].filter((timeout) => timeout > 0))
    for (let left = Math.ceil(absoluteTimeout / interval) + 1; left > 0 && left <= most.visits; left--) {
      if (this.checker.violation !== undefined) return
      this.#tell(`${interval} s pass`)
      await this.#setting.world.advance(interval)
      await this.#visit(name, jar, audited)
    }
  }

  /** The cookies in the jars, and old ones. */
  async #auditAll(): Promise<void> {
    const kept = [...this.jars.values()].filter(({ size }) => size > 0).map((jar) => new Map(jar))
    const alone = [...this.issued.values()].flatMap((issued) =>
      Array.from(issued, ([cookie, value]): Jar => new Map([[cookieNames[cookie], value]]))
    )
    for (const jar of [...kept, ...alone.slice(0, most.cookies)]) {
      if (this.checker.violation !== undefined) return
      await this.#audit("auditor", jar)
    }
  }

  async #audit(sender: string, jar: Jar): Promise<void> {
    const id = this.#next++
    await this.#request(id, sender, audited, jar, undefined, `${sender} asks with r${id}`)
    await this.#drain()
  }

  async #drain(): Promise<void> {
    await this.#responses()
    for (let next = this.operations[0]; next !== undefined; next = this.operations[0]) {
      if (this.checker.violation !== undefined) return
      await this.#decide(next, "Run")
      await this.#responses()
    }
    for (const call of this.#setting.world.calls) {
      if (call.reply === undefined && !call.crashed) this.checker.hangs(call)
    }
  }
}

const cookies: ReadonlyArray<Cookie> = ["session", "remember"]

/** Whether the library says how long it waits. A handler's own use of the store is the handler's. */
const bounded = ({ call, name }: Operation): boolean =>
  name !== "pause" && !(call.stage === "Handling" && (name === "revoke" || name === "revokeAll"))

/** A cookie that no response has set: used more recently than it was, or from the first byte to the last. */
const forge = (
  how: "stretched" | "made up",
  value: string | undefined,
  now: number,
  random: Random.Source
): string | undefined => {
  const bytes = how === "stretched"
    ? Base64Url.decode(value ?? "").pipe(Result.getOrElse(() => new Uint8Array(0)))
    : Uint8Array.from({ length: 82 }, () => random.below(256))
  if (bytes.length !== 82) return undefined
  const view = new DataView(bytes.buffer)
  if (how === "stretched") view.setUint8(63, view.getUint8(63) ^ 1)
  else {
    bytes.set([1, 1, 0])
    view.setUint32(35, now, true)
    bytes.fill(0, 39, 44)
    bytes.fill(0, 63, 66)
  }
  return Base64Url.encode(bytes)
}

const replyOf = (response: Response): Reply => ({
  status: response.status,
  setCookies: response.headers.getSetCookie(),
  cacheControl: response.headers.get("cache-control") ?? undefined,
  vary: response.headers.get("vary") ?? undefined
})
