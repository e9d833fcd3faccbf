/** A store behind a network that the simulator owns, under the eyes of the checker. */
import type { Exit } from "effect"
import type { SessionError } from "../SessionError.ts"
import type { Port, Version as Row } from "../SessionStore.ts"
import type { Call } from "./simCall.ts"
import type { Checker } from "./simChecker.ts"
import { textOf } from "./simCookie.ts"
import { label } from "./simHistory.ts"
import type { Cookie, Version } from "./simHistory.ts"
import type { Watch, World } from "./simWorld.ts"

/** What is at rest must not say. */
export interface AtRest {
  readonly check: (
    call: Call,
    operation: string,
    bytes: ReadonlyArray<Uint8Array>,
    words: ReadonlyArray<string>
  ) => void
  /** A successor was written: bytes that a thief would try. */
  readonly sealed: (successor: Uint8Array) => void
}

const failure = "failed"

/** What succeeded is observed; what failed did nothing. */
const on = <A>(
  observe: (answer: A) => string,
  acknowledged?: () => void
): Watch<A> => ({
  executed: (exit: Exit.Exit<A, SessionError>) => exit._tag === "Success" ? observe(exit.value) : failure,
  ...(acknowledged === undefined ? {} : { acknowledged })
})

/** `checker` is asked anew for each operation: every episode has its own. */
export const make = (world: World, store: Port, checker: () => Checker, atRest: () => AtRest): Port => {
  const nameOf = (key: Uint8Array): string => {
    const version = checker().history.versions.get(textOf(key))
    return version === undefined ? "?" : label(version)
  }
  const words = ({ index }: Row): ReadonlyArray<string> => index.map(({ subject }) => subject)
  /** What is given to the store, and what a thief of its rows would try. */
  const written = (call: Call, operation: string, row: Row, successor: Uint8Array | undefined): void => {
    const { remember } = row
    const successors = [successor, remember?.replaces?.successor].flatMap((bytes) => bytes ?? [])
    const bytes = [row, ...(remember === undefined ? [] : [remember])].flatMap(({ data, key }) => [key, data])
    atRest().check(call, operation, [...bytes, ...successors], words(row))
    successors.forEach(atRest().sealed)
  }
  /** A write of a version, and the checker's own idea of it. */
  const writing = <A>(
    observe: (answer: A) => Version | undefined,
    tell: (answer: A) => string,
    row: Row,
    replaces: Uint8Array | undefined,
    now: number
  ): Watch<A> => {
    let versions: ReadonlyArray<Version> = []
    return on(
      (answer) => {
        const version = observe(answer)
        if (version === undefined) return tell(answer)
        checker().keeps(version, row.deadline, now)
        const { remember } = row
        const beside = remember && checker().remembered(
          version,
          textOf(remember.key),
          remember.deadline,
          replaces && textOf(replaces)
        )
        versions = beside === undefined ? [version] : [version, beside]
        return `${tell(answer)} ${versions.map(label).join(", ")}`
      },
      () => {
        for (const version of versions) version.acknowledged = true
      }
    )
  }
  const loading = (cookie: Cookie, load: Port["load"]): Port["load"] => (key, now) =>
    world.operation(cookie === "session" ? "load" : "loadRemember", nameOf(key), load(key, now), (call) =>
      on((row) => {
        checker().loaded(call, cookie, textOf(key), now, row !== undefined)
        return row?._tag ?? "none"
      }))
  return {
    load: loading("session", store.load),
    loadRemember: loading("remember", store.loadRemember),
    create: (row, now) =>
      world.operation("create", "", store.create(row, now), (call) => {
        const { intent } = call
        checker().wrote(call, "create", now)
        written(call, "create", row, undefined)
        return writing(
          (answer) => answer === "Created" ? checker().created(intent, textOf(row.key), row.handle, now) : undefined,
          (answer) => answer,
          row,
          undefined,
          now
        )
      }),
    supersede: (old, row, successor, now) =>
      world.operation("supersede", nameOf(old), store.supersede(old, row, successor, now), (call) => {
        const { intent } = call
        checker().wrote(call, "supersede", now)
        written(call, "supersede", row, successor)
        const seen = row.seen !== undefined
        if (seen) checker().recordOf(call).noted = true
        return writing(
          ({ _tag }) => checker().superseded(intent, textOf(old), textOf(row.key), now, _tag === "Done", seen),
          ({ _tag }) => _tag,
          row,
          row.remember?.replaces?.key,
          now
        )
      }),
    rescue: (old, row, successor, now) =>
      world.operation("rescue", nameOf(old), store.rescue(old, row, successor, now), (call) => {
        const { intent } = call
        checker().wrote(call, "rescue", now)
        written(call, "rescue", row, successor)
        return writing(
          ({ _tag }) => checker().rescued(intent, textOf(old), textOf(row.key), now, _tag === "Done"),
          ({ _tag }) => _tag,
          row,
          old,
          now
        )
      }),
    touch: (key, touch, now) => {
      const { deadline, seen } = touch
      const kind = deadline === undefined ? "note" : "touch"
      return world.operation("touch", `${kind} ${nameOf(key)}`, store.touch(key, touch, now), (call) => {
        checker().wrote(call, kind, now)
        if (seen !== undefined) checker().recordOf(call).noted = true
        let version: Version | undefined
        return on(
          (answer) => {
            version = checker().touched(call, textOf(key), deadline !== undefined, seen !== undefined, now)
            if (version !== undefined && deadline !== undefined) checker().keeps(version, deadline, now)
            return answer._tag
          },
          () => {
            if (version !== undefined) checker().recordOf(call).touched.add(version)
          }
        )
      })
    },
    revoke: (handle, at) =>
      world.operation("revoke", handleName(checker(), handle), store.revoke(handle, at), (call) => {
        checker().wrote(call, "revoke", world.now)
        return on((was) => {
          checker().revoked(call, handle, world.now)
          return was ? "ended" : "was not there"
        })
      }),
    list: (audience, subjects, now) =>
      world.operation("list", audience, store.list(audience, subjects, now), () => on((listed) => `${listed.length}`)),
    revokeAll: (audience, subjects, except) =>
      world.operation("revokeAll", audience, store.revokeAll(audience, subjects, except), (call) => {
        checker().wrote(call, "revokeAll", world.now)
        return on((count) => {
          checker().revokedAll(call, except)
          return `${count} ended`
        })
      }),
    loadInfo: (...args) => store.loadInfo(...args),
    saveInfo: (...args) => store.saveInfo(...args)
  }
}

const handleName = ({ history }: Checker, handle: string): string => {
  const chain = history.byHandle(handle)
  return chain === undefined ? "?" : `s${chain.number}`
}
