import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { startGateway, startUpstream } from "./utils/gateway.ts"
import type { Asked, Upstream } from "./utils/gateway.ts"
import { names } from "./utils/http.ts"
import type { Jar, Reply } from "./utils/http.ts"
import { connect as openDatabase, Database, layerDatabase } from "./utils/postgres.ts"
import { makeClient } from "./utils/process.ts"
import type { Client } from "./utils/process.ts"

const secret = "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4"

interface Configuration {
  readonly upstream: Upstream
  /** Fields of the session plugin, in YAML's flow style. */
  readonly session?: string
  readonly more?: string
  /** Consumers beside the anonymous one. */
  readonly consumers?: string
}

const ada = `
- username: ada
  custom_id: "42"
  keyauth_credentials: [{key: ada-key}]
  basicauth_credentials: [{username: ada, password: password}]
  acls: [{group: admins}, {group: staff}]`

const bob = `
- username: bob
  keyauth_credentials: [{key: bob-key}]`

/** Kong's documented setup: a session, several ways to authenticate, an anonymous consumer who is sent away. */
const configure = ({ consumers = ada + bob, more = "", session = "", upstream: { url } }: Configuration) => `
_format_version: "3.0"
services:
- name: app
  url: ${url}
  routes: [{name: app, paths: [/]}]
${more}
plugins:
- {name: session, service: app, config: {secret: ${secret}${session === "" ? "" : `, ${session}`}}}
- {name: key-auth, config: {anonymous: anonymous}}
- {name: basic-auth, config: {anonymous: anonymous}}
- {name: request-termination, consumer: anonymous, config: {status_code: 403}}
consumers:
- username: anonymous${consumers}
`

const key = (key: string) => ({ headers: { apikey: key } })

const identityOf = ({ headers }: Asked) =>
  Object.fromEntries(
    Object.entries(headers).filter(([name]) => /^x-(consumer|credential|authenticated|anonymous)/.test(name))
  )

const of = (reply: Reply, name: string): string | undefined =>
  reply.setCookies.find((cookie) => cookie.startsWith(`${name}=`))

/** A login by key; the jar holds the session then. */
const login = async (client: Client, credential = "ada-key"): Promise<Reply> => {
  const reply = await client.send("/", key(credential))
  assert.strictEqual(reply.status, 200)
  return reply
}

const statusWith = async (url: string, jar: Jar): Promise<number> =>
  (await makeClient(url, jar.copy()).send("/")).status

describe("a session at the gateway", () => {
  it("begins with an authentication, in a cookie that is safe by default, and lets the next request in", async () => {
    const upstream = await startUpstream()
    const client = makeClient((await startGateway(configure({ upstream }))).url)
    const first = await login(client)
    assert.match(first.setCookies.join(), /^session=[\w-]+; Path=\/; SameSite=Strict; Secure; HttpOnly$/)
    assert.strictEqual(first.headers["cache-control"], "no-store")
    const second = await client.send("/")
    assert.deepStrictEqual([second.status, second.setCookies], [200, []])
    assert.deepStrictEqual(identityOf(upstream.asked[1] as Asked), identityOf(upstream.asked[0] as Asked))
    assert.include(identityOf(upstream.asked[1] as Asked), {
      "x-consumer-username": "ada",
      "x-consumer-custom-id": "42",
      "x-authenticated-groups": "admins, staff"
    })
  })

  it("tells upstream the credential's id, and nothing that the client claims", async () => {
    const upstream = await startUpstream()
    const client = makeClient((await startGateway(configure({ upstream }))).url)
    const authorization = `Basic ${Buffer.from("ada:password").toString("base64")}`
    await client.send("/", { headers: { authorization } })
    await client.send("/", { headers: { "x-consumer-username": "root", "x-anonymous-consumer": "true" } })
    const [byPassword, bySession] = upstream.asked.map(identityOf)
    assert.strictEqual(byPassword?.["x-credential-identifier"], "ada")
    assert.match(String(bySession?.["x-credential-identifier"]), /^[\da-f]{8}-[\da-f]{4}-5[\da-f]{3}-/)
    assert.strictEqual(bySession?.["x-consumer-username"], "ada")
    assert.notProperty(bySession, "x-anonymous-consumer")
  })

  it("has the cookie that the plugin's settings describe, for each place in the file", async () => {
    const upstream = await startUpstream()
    const more = `
  - {name: other, paths: [/other], plugins: [{name: session, config: {
      secret: ${secret}, cookie_name: second, cookie_same_site: Lax, cookie_secure: false, cookie_http_only: false,
      cookie_path: /other}}]}`
    const gateway = await startGateway(
      configure({ upstream }).replace("routes: [{name: app, paths: [/]}]", `routes:\n  - {paths: [/]}${more}`)
    )
    const client = makeClient(gateway.url)
    const other = await client.send("/other", key("ada-key"))
    assert.match(other.setCookies.join(), /^second=[\w-]+; Path=\/other; SameSite=Lax$/)
    assert.strictEqual((await client.send("/other/x")).status, 200)
    assert.strictEqual((await client.send("/")).status, 403)
    assert.deepStrictEqual(names(await login(client)), ["session"])
  })

  it("may be remembered", async () => {
    const upstream = await startUpstream()
    const session = "remember: true, remember_cookie_name: keep, remember_rolling_timeout: 1000, cookie_secure: false"
    const gateway = await startGateway(configure({ upstream, session }))
    const client = makeClient(gateway.url)
    const reply = await login(client)
    assert.match(
      String(of(reply, "keep")),
      /^keep=[\w-]+; Path=\/; SameSite=Strict; HttpOnly; Expires=\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT; Max-Age=1000$/
    )
    assert.match(String(of(reply, "session")), /^session=[\w-]+; Path=\/; SameSite=Strict; HttpOnly$/)
    client.jar.set("session", "")
    const rescued = await client.send("/")
    assert.strictEqual(rescued.status, 200)
    assert.sameMembers(Array.from(names(rescued)), ["keep", "session"])
    assert.include(identityOf(upstream.asked[1] as Asked), { "x-consumer-username": "ada" })
  })

  it("is not for the anonymous consumer, who gets 403 and no cookie", async () => {
    const upstream = await startUpstream()
    const { url } = await startGateway(configure({ upstream }))
    for (const message of [{}, key("wrong"), { headers: { cookie: "session=AQAA" } }]) {
      const reply = await makeClient(url).send("/", message)
      assert.deepStrictEqual([reply.status, reply.setCookies], [403, []])
    }
    assert.lengthOf(upstream.asked, 0)
  })

  it("passes to whom authenticates next only without a fallback, as in Kong", async () => {
    const upstream = await startUpstream()
    const strict = `
- url: ${upstream.url}/strict
  routes: [{name: strict, paths: [/strict]}]
  plugins:
  - {name: session, config: {secret: ${secret}}}
  - {name: key-auth}`
    const client = makeClient((await startGateway(configure({ upstream, more: strict }))).url)
    await login(client)
    const before = client.jar.get("session")
    // With a fallback, who has a session needs no key, and another one's changes nothing.
    await client.send("/", key("bob-key"))
    assert.strictEqual(client.jar.get("session"), before)
    assert.strictEqual((await client.send("/strict")).status, 401)
    const changed = await client.send("/strict", key("bob-key"))
    assert.deepStrictEqual([changed.status, names(changed)], [200, ["session"]])
    await client.send("/")
    assert.deepStrictEqual(upstream.asked.map(({ headers }) => headers["x-consumer-username"]), [
      "ada",
      "ada",
      "bob",
      "bob"
    ])
  })

  it("keeps the cookies of upstream, also several of one name", async () => {
    const cookies = ["a=1; Path=/", "a=2; Path=/x"]
    const upstream = await startUpstream((_, response) => void response.writeHead(200, { "set-cookie": cookies }).end())
    const reply = await login(makeClient((await startGateway(configure({ upstream }))).url))
    assert.deepStrictEqual(reply.setCookies.slice(0, 2), cookies)
    assert.deepStrictEqual(names(reply), ["a", "a", "session"])
  })

  it("needs settings that the plugin knows", async () => {
    const upstream = await startUpstream()
    const start = (session: string) =>
      startGateway(configure({ upstream, session })).then(() => "started", (error: unknown) => String(error))
    const outputs = await Promise.all([
      start("cookie_name: [x]"),
      start("cookie_domain: no domain"),
      start("cookie_nmae: x")
    ])
    assert.include(outputs[0], "plugins[0].config.cookie_name:")
    assert.include(outputs[1], "plugins[0].config.cookie_domain:")
    assert.include(outputs[2], "plugins[0].config.cookie_nmae:")
  })

  it("dies with the process where there is no secret, which is said", async () => {
    const upstream = await startUpstream()
    const gateway = await startGateway(configure({ upstream }).replace(`secret: ${secret}`, "audience: app"))
    await login(makeClient(gateway.url))
    assert.include(gateway.output(), "plugins[0].config.secret is missing: made one up")
  })
})

describe("logout at the gateway", () => {
  const logoutOf = async (url: string, path: string, message: Parameters<Client["send"]>[1]) => {
    const client = makeClient(url)
    await login(client)
    const reply = await client.send(path, message)
    return { reply, isOut: client.jar.get("session") === undefined }
  }

  it("is by an argument of the query and the methods that are allowed", async () => {
    const upstream = await startUpstream()
    const { url } = await startGateway(configure({ upstream }))
    const outcomes = []
    for (const method of ["GET", "PUT", "POST", "DELETE"]) {
      const { isOut, reply } = await logoutOf(url, "/x?a=1&session_logout", { method })
      outcomes.push([method, isOut, reply.status, reply.body === ""])
    }
    assert.deepStrictEqual(outcomes, [
      ["GET", false, 200, false],
      ["PUT", false, 200, false],
      ["POST", true, 200, true],
      ["DELETE", true, 200, true]
    ])
    const { reply } = await logoutOf(url, "/?session_logout=1", { method: "POST" })
    assert.match(
      reply.setCookies.join(),
      /^session=; Path=\/; SameSite=Strict; Secure; HttpOnly; Expires=.*; Max-Age=0$/
    )
  })

  it("is by an argument of the body, if it is to be read", async () => {
    const upstream = await startUpstream()
    const unread = await startGateway(configure({ upstream }))
    const read = await startGateway(configure({
      upstream,
      session: "read_body_for_logout: true, logout_post_arg: out, logout_query_arg: quit, logout_methods: [POST, GET]"
    }))
    const form = (text: string) => ({ body: new URLSearchParams(text) })
    const isOut = async (url: string, path: string, message: Parameters<Client["send"]>[1]) =>
      (await logoutOf(url, path, message)).isOut
    assert.deepStrictEqual([
      await isOut(unread.url, "/", form("session_logout=1")),
      await isOut(read.url, "/", form("a=1&out=1")),
      await isOut(read.url, "/", { body: { out: true } }),
      await isOut(read.url, "/", { ...form("out=1"), method: "DELETE" }),
      await isOut(read.url, "/", form("session_logout=1")),
      await isOut(read.url, "/?quit", {}),
      await isOut(read.url, "/?session_logout", { method: "POST" })
    ], [false, true, true, false, false, true, false])
  })

  it("leaves bodies whole that ask for nothing, short and long, with and without their length", async () => {
    const upstream = await startUpstream()
    const { url } = await startGateway(configure({ upstream, session: "read_body_for_logout: true" }))
    const client = makeClient(url)
    await login(client)
    const long = "long ".repeat(100_000)
    const bodies = [{ a: 1 }, { a: long }, new URLSearchParams({ a: "1" }), new URLSearchParams({ a: long })]
    for (const body of bodies) assert.strictEqual((await client.send("/", { body })).status, 200)
    for (const text of ["{\"a\":1}", JSON.stringify({ a: long })]) {
      const response = await fetch(url, {
        method: "POST",
        body: new Blob([text]).stream(),
        headers: { cookie: client.jar.header ?? "", "content-type": "application/json" },
        duplex: "half"
      } as RequestInit)
      assert.strictEqual(response.status, 200)
      await response.text()
    }
    const arrived = upstream.asked.slice(1).map(({ body }) => body)
    const sent = ["{\"a\":1}", JSON.stringify({ a: long }), "a=1", `a=${long.replaceAll(" ", "+")}`]
    assert.isTrue(JSON.stringify(arrived) === JSON.stringify([...sent, sent[0], sent[1]]), "another body arrived")
  })
})

describe("the consumers of sessions", () => {
  it("keep their sessions when the gateway starts again", async () => {
    const upstream = await startUpstream()
    const before = await startGateway(configure({ upstream }))
    const client = makeClient(before.url)
    await login(client)
    await before.stop()
    const after = await startGateway(configure({ upstream, consumers: bob + ada }))
    assert.strictEqual(await statusWith(after.url, client.jar), 200)
  })

  it("lose them when they are deleted", async () => {
    const upstream = await startUpstream()
    const before = await startGateway(configure({ upstream }))
    const client = makeClient(before.url)
    await login(client)
    await before.stop()
    const after = await startGateway(configure({ upstream, consumers: bob }))
    const late = makeClient(after.url, client.jar)
    const reply = await late.send("/")
    assert.strictEqual(reply.status, 403)
    assert.match(reply.setCookies.join(), /^session=; .*Max-Age=0$/)
  })
})

describe("sessions in Kong's tables", () => {
  const rows = Effect.flatMap(
    openDatabase(),
    (sql) =>
      sql<{ readonly sessions: number; readonly metadata: number }>`SELECT
      (SELECT count(*)::int FROM sessions) AS sessions,
      (SELECT count(*)::int FROM session_metadatas) AS metadata`
  )

  it.live("are there when the answer is", () =>
    Effect.gen(function*() {
      const { url } = yield* Database
      yield* Effect.promise(async () => {
        const upstream = await startUpstream()
        const session = "storage: kong, store_metadata: true, cookie_secure: false"
        const gateway = await startGateway(configure({ upstream, session }), { DATABASE_URL: url.href })
        for (let time = 0; time < 50; time++) {
          const client = makeClient(gateway.url)
          await login(client)
          assert.strictEqual((await client.send("/")).status, 200, `login ${time}`)
        }
        const client = makeClient(gateway.url)
        await login(client)
        const jar = client.jar.copy()
        assert.strictEqual((await client.send("/?session_logout", { method: "POST" })).status, 200)
        assert.strictEqual(await statusWith(gateway.url, jar), 403)
      })
      assert.deepStrictEqual(yield* rows, [{ sessions: 50, metadata: 50 }])
    }).pipe(Effect.provide(layerDatabase), Effect.scoped))

  it.skipIf(process.env["DATABASE_URL"] !== undefined)(
    "are in a database of the gateway's own without one",
    async () => {
      const upstream = await startUpstream()
      const sample = readFileSync(new URL("../examples/gateway/kong.yaml", import.meta.url), "utf8")
      const gateway = await startGateway(sample.replace("http://127.0.0.1:3000", upstream.url))
      const client = makeClient(gateway.url)
      assert.strictEqual((await client.send("/")).status, 403)
      const reply = await login(client)
      assert.match(reply.setCookies.join(), /^session=[\w-]{110}; Path=\/; SameSite=Strict; HttpOnly$/)
      assert.strictEqual(await statusWith(gateway.url, client.jar), 200)
    }
  )
})
