import * as PgClient from "@effect/sql-pg/PgClient"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as PgSessionStore from "../src/PgSessionStore.ts"
import * as Session from "../src/Session.ts"
import * as SessionConfig from "../src/SessionConfig.ts"
import * as SessionHttp from "../src/SessionHttp.ts"
import { Database, layerClient, layerDatabase } from "./utils/postgres.ts"
import { execute } from "./utils/process.ts"

class Account extends Session.Service<Account>()("test/Account", { data: Schema.Struct({}), initial: {} }) {}

class Admin extends Session.Service<Admin>()("test/Admin", {
  data: Schema.Struct({}),
  initial: {},
  audience: "admin"
}) {}

const secret = "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4"

const run = Effect.fnUntraced(function*(args: ReadonlyArray<string>, env: { readonly [name: string]: string } = {}) {
  const { url } = yield* Database
  return yield* Effect.promise(() =>
    execute("src/cli.ts", args, { env: { DATABASE_URL: url.href, SESSION_SECRET: secret, ...env } })
  )
})

const json = Effect.fnUntraced(function*(args: ReadonlyArray<string>) {
  const { code, stderr, stdout } = yield* run([...args, "--json"])
  assert.strictEqual(stderr, "")
  const answer: unknown = JSON.parse(stdout)
  return { code, answer }
})

const login = <Self, Id extends string>(session: Session.Class<Self, Id, {}, {}, never>, subject: string) =>
  Effect.gen(function*() {
    const account = yield* session
    yield* account.login(subject)
    yield* account.commit
    return HttpServerResponse.text(Option.getOrThrow(yield* account.handle))
  })

const Routes = HttpRouter.addAll([
  HttpRouter.route("POST", "/alice", login(Account, "alice")),
  HttpRouter.route("POST", "/alice/admin", login(Admin, "alice")),
  HttpRouter.route("POST", "/bob", login(Account, "bob")),
  HttpRouter.route("GET", "/me", Effect.as(Session.required(Account), HttpServerResponse.empty()))
])

/** A server whose sessions are in these tables. */
const serve = Effect.fnUntraced(function*(prefix: string) {
  const sql = yield* PgClient.PgClient
  const { handler } = yield* Effect.acquireRelease(
    Effect.sync(() =>
      HttpRouter.toWebHandler(
        Routes.pipe(
          Layer.provide(SessionHttp.layer(Account, Admin)),
          Layer.provide(PgSessionStore.layerStorage({ prefix })),
          Layer.provide(PgClient.layerFrom(Effect.succeed(sql))),
          Layer.provide(SessionConfig.layer({ secret: Redacted.make(secret) }))
        ),
        { disableLogger: true }
      )
    ),
    ({ dispose }) => Effect.promise(dispose)
  )
  const call = (method: string, path: string, cookie = "") =>
    Effect.promise(() => handler(new Request(`https://example.com${path}`, { method, headers: { cookie } })))
  return {
    login: (path: string) =>
      Effect.flatMap(call("POST", path), (response) =>
        Effect.map(Effect.promise(() => response.text()), (handle) => ({
          handle,
          cookie: response.headers.getSetCookie()[0]?.split(";")[0] ?? ""
        }))),
    isLive: (cookie: string) => Effect.map(call("GET", "/me", cookie), ({ status }) => status === 204)
  }
})

const handles = (answer: unknown): ReadonlyArray<string> =>
  Schema.decodeUnknownSync(Schema.Array(Schema.Struct({ handle: Schema.String })))(answer)
    .map(({ handle }) => handle).toSorted()

layer(layerClient().pipe(Layer.provideMerge(layerDatabase)), { excludeTestServices: true })("a database", (it) => {
  it.effect("is migrated, as often as one likes", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* json(["migrate", "--prefix", "twice"]), { code: 0, answer: { prefix: "twice" } })
      const again = yield* run(["migrate", "--prefix", "twice"])
      assert.deepStrictEqual(again, { code: 0, stdout: "The tables twice_... are up to date.\n", stderr: "" })
      const sql = yield* PgClient.PgClient
      assert.lengthOf(yield* sql`SELECT FROM twice_sessions`, 0)
    }))

  it.effect("lists and ends the sessions of a subject, and no others", () =>
    Effect.gen(function*() {
      yield* run(["migrate"])
      const server = yield* serve("session")
      const phone = yield* server.login("/alice")
      const laptop = yield* server.login("/alice")
      const admin = yield* server.login("/alice/admin")
      const bob = yield* server.login("/bob")

      const listed = yield* json(["list", "--subject", "alice"])
      assert.strictEqual(listed.code, 0)
      assert.deepStrictEqual(handles(listed.answer), [phone.handle, laptop.handle].toSorted())
      const others = yield* json(["list", "--subject", "alice", "--audience", "admin"])
      assert.deepStrictEqual(handles(others.answer), [admin.handle])
      assert.deepStrictEqual(yield* json(["list", "--subject", "carol"]), { code: 0, answer: [] })
      const people = yield* run(["list", "--subject", "bob"])
      assert.match(people.stdout, /^\S{36} {2}created 20\S+Z {2}last seen 20\S+Z {2}ends 20\S+Z\n$/)
      assert.isTrue(people.stdout.startsWith(bob.handle))

      assert.deepStrictEqual(yield* json(["revoke", "--subject", "alice"]), { code: 0, answer: { revoked: 2 } })
      assert.deepStrictEqual(
        yield* Effect.forEach([phone, laptop, bob], ({ cookie }) => server.isLive(cookie)),
        [false, false, true]
      )
      assert.deepStrictEqual(yield* json(["revoke", "--subject", "alice"]), { code: 1, answer: { revoked: 0 } })
      const left = yield* json(["list", "--subject", "alice", "--audience", "admin"])
      assert.deepStrictEqual(handles(left.answer), [admin.handle])
    }))

  it.effect("ends a session by its handle, for which it needs no key", () =>
    Effect.gen(function*() {
      yield* run(["migrate", "--prefix", "handles"])
      const server = yield* serve("handles")
      const { cookie, handle } = yield* server.login("/alice")
      const args = ["revoke", "--prefix", "handles", "--handle", handle]
      const ended = yield* run(args, { SESSION_SECRET: "" })
      assert.deepStrictEqual(ended, { code: 0, stdout: "Ended 1 session(s).\n", stderr: "" })
      assert.isFalse(yield* server.isLive(cookie))
      const again = yield* run(args)
      assert.deepStrictEqual(again, { code: 1, stdout: "No such session.\n", stderr: "" })
      const nonsense = yield* run(["revoke", "--prefix", "handles", "--handle", "nonsense"])
      assert.strictEqual(nonsense.code, 1)
    }))

  it.effect("is swept", () =>
    Effect.gen(function*() {
      yield* run(["migrate", "--prefix", "dust"])
      const server = yield* serve("dust")
      const gone = yield* server.login("/alice")
      yield* server.login("/alice")
      const sql = yield* PgClient.PgClient
      yield* sql`UPDATE dust_sessions SET deadline = 1, created_at = 0, last_seen_at = 0 WHERE handle = ${gone.handle}::uuid`
      assert.deepStrictEqual(yield* json(["sweep", "--prefix", "dust"]), {
        code: 0,
        answer: { sessions: 1, superseded: 0 }
      })
      assert.lengthOf(yield* sql`SELECT FROM dust_sessions`, 1)
      const people = yield* run(["sweep", "--prefix", "dust"])
      assert.strictEqual(people.stdout, "Removed 0 expired sessions and 0 superseded versions.\n")
    }))

  it.effect("has its URL from the environment or a file", () =>
    Effect.gen(function*() {
      const { url } = yield* Database
      const directory = mkdtempSync(join(tmpdir(), "effect-session-cli-"))
      const file = join(directory, "url")
      writeFileSync(file, `${url.href}\n`)
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(directory, { recursive: true })))
      const fromFile = yield* run(["migrate", "--prefix", "file", "--database-url-file", file], { DATABASE_URL: "" })
      assert.deepStrictEqual([fromFile.code, fromFile.stderr], [0, ""])
      const none = yield* run(["migrate"], { DATABASE_URL: "" })
      assert.deepStrictEqual(none, {
        code: 2,
        stdout: "",
        stderr: "effect-session: Set DATABASE_URL, or give --database-url-file.\n"
      })
    }))

  it.effect("that does not answer, or has no tables, is told in a line without the password", () =>
    Effect.gen(function*() {
      const { restrictedUrl, url } = yield* Database
      const closed = new URL(url)
      closed.port = "1"
      closed.password = "hunter2"
      const wrong = new URL(url)
      wrong.password = "hunter2"
      wrong.username = "nobody"
      const tables = yield* run(["sweep", "--prefix", "missing"])
      assert.match(tables.stderr, /^effect-session: the database: .*relation "missing_sessions" does not exist\n$/)
      const answers = yield* Effect.forEach(
        [
          [["list", "--subject", "a"], closed.href],
          [["migrate"], wrong.href],
          [["migrate", "--prefix", "forbidden"], restrictedUrl.href],
          [["migrate"], "this is no URL"]
        ] as const,
        ([args, DATABASE_URL]) => run(args, { DATABASE_URL })
      )
      for (const { code, stderr, stdout } of [tables, ...answers]) {
        assert.deepStrictEqual([code, stdout], [3, ""], stderr)
        assert.match(stderr, /^effect-session: the database: .+\n$/)
        assert.notInclude(stderr, "hunter2")
        assert.notInclude(stderr, restrictedUrl.password)
      }
    }))

  it.effect("is not asked where arguments or settings are wrong", () =>
    Effect.gen(function*() {
      for (
        const [args, told] of [
          [["migrate", "--prefix", "no-prefix"], /^effect-session: prefix: "no-prefix" is not the beginning/],
          [["list"], /Missing required flag: --subject/],
          [["revoke"], /one of --handle and --subject/],
          [["revoke", "--handle", "a", "--subject", "b"], /one of --handle and --subject/],
          [["revoke", "--handle", "a", "--audience", "b"], /--audience goes with --subject/]
        ] as const
      ) {
        const { code, stderr, stdout } = yield* run(args)
        assert.deepStrictEqual([code, stdout], [2, ""], stderr)
        assert.match(stderr, told)
      }
      const noSecret = yield* run(["list", "--subject", "a"], { SESSION_SECRET: "" })
      assert.deepStrictEqual([noSecret.code, noSecret.stdout], [2, ""])
      assert.match(noSecret.stderr, /^effect-session: secret: is missing/)
    }))
})
