import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { html } from "../examples/demo/html.ts"
import { names } from "./utils/http.ts"
import { deno, makeClient, run, serve } from "./utils/process.ts"
import type { Client } from "./utils/process.ts"

const env = { SESSION_SECRET: "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4" }

const isRunning = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe("hello.ts", () => {
  it("has less than 20 lines", () => {
    const source = readFileSync(new URL("../examples/hello.ts", import.meta.url), "utf8")
    assert.isBelow(source.trimEnd().split("\n").length, 20)
  })

  it("counts the visits of each visitor", async () => {
    const { url } = await serve("examples/hello.ts", { env })
    const ada = makeClient(url)
    const eve = makeClient(url)
    const bodies = [await ada.send("/"), await ada.send("/"), await eve.send("/"), await ada.send("/")]
      .map(({ body }) => body)
    assert.deepStrictEqual(bodies, ["Visit number 1\n", "Visit number 2\n", "Visit number 1\n", "Visit number 3\n"])
  })

  it("keeps its sessions in a cookie that is safe by default", async () => {
    const { url } = await serve("examples/hello.ts", { env })
    const reply = await makeClient(url).send("/")
    assert.match(reply.setCookies.join(), /^__Host-session=[\w-]+; Path=\/; SameSite=Strict; Secure; HttpOnly$/)
    assert.strictEqual(reply.headers["cache-control"], "no-store")
  })

  it("does not start without a secret", async () => {
    const program = run("examples/hello.ts", { env: { PORT: "0" } })
    assert.strictEqual(await program.exit, 1)
    assert.include(program.output(), "secret: is missing. Set SESSION_SECRET")
  })

  it("ends when it is asked to", async () => {
    const server = await serve("examples/hello.ts", { env })
    await makeClient(server.url).send("/")
    await server.stop()
    assert.isFalse(isRunning(server.pid))
    const refused = await makeClient(server.url).send("/").then(() => "answered", () => "refused")
    assert.strictEqual(refused, "refused")
  })
})

describe("node-http.ts", () => {
  it("logs in and out, with one cookie for two session classes", async () => {
    const { url } = await serve("examples/node-http.ts", { env })
    const { jar, send } = makeClient(url)

    assert.strictEqual((await send("/me")).status, 401)
    assert.strictEqual((await send("/preferences")).body, "{\"language\":\"en\"}")
    assert.strictEqual(jar.header, undefined)

    const chosen = await send("/preferences", { method: "PUT", body: { language: "fr" } })
    assert.deepStrictEqual([chosen.status, names(chosen)], [204, ["__Host-session"]])
    const planted = jar.copy()
    const loggedIn = await send("/login", { body: { name: "Ada" } })
    assert.deepStrictEqual([loggedIn.status, names(loggedIn)], [204, ["__Host-session"]])

    const me = JSON.parse((await send("/me")).body)
    assert.strictEqual(me.name, "Ada")
    assert.strictEqual(new Date(me.since).toISOString(), me.since)
    assert.strictEqual((await makeClient(url, planted).send("/me")).status, 401)

    const loggedInJar = jar.copy()
    assert.strictEqual((await send("/logout", { method: "POST" })).status, 204)
    assert.strictEqual((await send("/me")).status, 401)
    assert.strictEqual((await send("/preferences")).body, "{\"language\":\"fr\"}")
    assert.strictEqual((await makeClient(url, loggedInJar).send("/me")).status, 401)
  })

  it("ends the other sessions of a member", async () => {
    const { url } = await serve("examples/node-http.ts", { env })
    const [phone, laptop, eve] = [makeClient(url), makeClient(url), makeClient(url)]
    await phone.send("/login", { body: { name: "Ada" } })
    await laptop.send("/login", { body: { name: "Ada" } })
    await eve.send("/login", { body: { name: "Eve" } })
    const ended = await laptop.send("/logout/elsewhere", { method: "POST" })
    assert.deepStrictEqual([ended.status, ended.body], [200, "{\"ended\":1}"])
    const statusOf = async ({ send }: Client) => (await send("/me")).status
    assert.deepStrictEqual([await statusOf(phone), await statusOf(laptop), await statusOf(eve)], [401, 200, 200])
  })

  it("refuses what does not fit its schemas", async () => {
    const { url } = await serve("examples/node-http.ts", { env })
    const { jar, send } = makeClient(url)
    const statuses = [
      await send("/login", { body: { name: "" } }),
      await send("/login", { body: { name: "A".repeat(20_000) } }),
      await send("/preferences", { method: "PUT", body: { language: "tlh" } })
    ].map(({ status }) => status)
    assert.deepStrictEqual(statuses, [400, 413, 400])
    assert.strictEqual(jar.header, undefined)
  })
})

describe("deno-serve.ts", () => {
  it.skipIf(deno === undefined)("remembers the last pages, under Deno (which has to be installed)", async () => {
    const { url } = await serve("examples/deno-serve.ts", { env, runtime: deno })
    const { send } = makeClient(url)
    await send("/pages/tea")
    await send("/pages/cups")
    assert.strictEqual((await send("/pages/tea")).body, "{\"pages\":[\"tea\",\"cups\"]}")
    assert.strictEqual((await send(`/pages/${"x".repeat(51)}`)).status, 400)
  })

  it.skipIf(deno === undefined)("does not start without a secret", async () => {
    const program = run("examples/deno-serve.ts", { env: { PORT: "0" }, runtime: deno })
    assert.strictEqual(await program.exit, 1)
    assert.include(program.output(), "secret: is missing. Set SESSION_SECRET")
  })

  it.skipIf("Deno" in globalThis)("says on Node that it needs Deno", async () => {
    const program = run("examples/deno-serve.ts", { env })
    assert.strictEqual(await program.exit, 1)
    assert.include(program.output(), "This example needs Deno")
  })
})

describe("http-api", () => {
  it("has a typed client", async () => {
    const { url } = await serve("examples/http-api/server.ts", { env })
    const client = run("examples/http-api/client.ts", { env: { BASE_URL: url } })
    assert.strictEqual(await client.exit, 0, client.output())
    assert.strictEqual(client.output(), "Ada has tea and cup\nLogged out: Unauthorized\n")
  })

  it("describes its cookie", async () => {
    const { url } = await serve("examples/http-api/server.ts", { env })
    const { send } = makeClient(url)
    const { components, paths } = JSON.parse((await send("/openapi.json")).body)
    const added = await send("/cart", { body: { item: "tea" } })
    assert.deepStrictEqual(names(added), [components.securitySchemes.session.name])
    assert.deepStrictEqual(components.securitySchemes, { session: { type: "apiKey", in: "cookie", name: "session" } })
    assert.deepStrictEqual(paths["/me"].get.security, [{ session: [] }])
    assert.containsAllKeys(paths["/me"].get.responses, ["200", "401"])
  })
})

describe("demo", () => {
  const form = (fields: Record<string, string> = {}): URLSearchParams => new URLSearchParams(fields)
  const start = async (env: Record<string, string> = {}) => {
    const server = await serve("examples/demo/main.ts", { env: { SESSION_STORE: "cookie", ...env } })
    const client = makeClient(server.url)
    const post = (path: string, fields?: Record<string, string>, headers: Record<string, string> = {}) =>
      client.send(path, { body: form(fields), headers: { origin: server.url, ...headers } })
    return { ...server, ...client, post }
  }

  it("makes up a secret where there is none, and says so", async () => {
    const { output, url } = await start()
    assert.deepStrictEqual(output().split("\n"), [
      "There is no SESSION_SECRET: made one up, and sessions end with this process.",
      `Listening on ${url}`,
      ""
    ])
  })

  it("prints nothing but its address where there is a secret", async () => {
    const { output, post, send, url } = await start(env)
    await post("/login", { name: "Ada" })
    await send("/")
    assert.strictEqual(output(), `Listening on ${url}\n`)
  })

  it("costs nothing to look at", async () => {
    const { send } = await start(env)
    const reply = await send("/")
    assert.deepStrictEqual([reply.status, reply.setCookies], [200, []])
    assert.include(reply.body, "You have no session")
    assert.strictEqual(reply.headers["cache-control"], "no-store")
    assert.include(reply.headers["vary"], "Cookie")
    assert.include(reply.headers["content-security-policy"], "default-src 'self'")
  })

  it("answers forms with a redirect to the page", async () => {
    const { post, send } = await start(env)
    const reply = await post("/cart/add", { product: "cup" })
    assert.deepStrictEqual([reply.status, reply.headers["location"]], [303, "/?did=cart-changed"])
    assert.match(reply.setCookies.join(), /^session=[\w-]+; Path=\/; SameSite=Strict; HttpOnly$/)
    const page = await send("/?did=cart-changed")
    assert.include(page.body, "Saved.")
    assert.include(page.body, "1 piece<")
  })

  it("escapes what users write", async () => {
    const { post, send } = await start(env)
    const reply = await post("/login", { name: "<script>alert('&\"')</script>" })
    assert.strictEqual(reply.status, 303)
    const { body } = await send("/")
    assert.notInclude(body, "<script>alert")
    assert.include(body, "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;")
  })

  it("refuses forms of other origins, and those that do not say where they come from", async () => {
    const { jar, post, send, url } = await start(env)
    const from = (headers: Record<string, string>) => post("/login", { name: "Eve" }, headers)
    const replies = [
      await from({ origin: "https://evil.example" }),
      await from({ origin: "null" }),
      await from({ origin: url.replace("http://", "http://sub.") }),
      await from({ "sec-fetch-site": "cross-site" }),
      await from({ "sec-fetch-site": "same-site" }),
      await from({ "sec-fetch-site": "none" }),
      await send("/login", { body: form({ name: "Eve" }) })
    ]
    assert.deepStrictEqual(replies.map(({ status }) => status), [403, 403, 403, 403, 403, 403, 403])
    assert.strictEqual(jar.header, undefined)
    assert.strictEqual((await from({ "sec-fetch-site": "same-origin" })).status, 303)
  })

  it("refuses forms that do not fit their schemas", async () => {
    const { jar, post } = await start(env)
    const replies = [
      await post("/login", { name: "  " }),
      await post("/login", { name: "A".repeat(41) }),
      await post("/login", { name: "A".repeat(10_000) }),
      await post("/cart/add", { product: "<script>" }),
      await post("/cart/quantity", { product: "cup", quantity: "10" }),
      await post("/cart/quantity", { product: "cup", quantity: "-1" }),
      await post("/cart/quantity", { product: "cup", quantity: "0.5" }),
      await post("/cart/quantity", { product: "cup", quantity: "many" })
    ]
    assert.deepStrictEqual(replies.map(({ status }) => status), [400, 400, 413, 400, 400, 400, 400, 400])
    assert.strictEqual(jar.header, undefined)
  })

  it("tells why a session ended", async () => {
    const { post, send } = await start({
      ...env,
      SESSION_IDLING_TIMEOUT: "1 second",
      SESSION_TOUCH_THRESHOLD: "0 seconds"
    })
    await post("/cart/add", { product: "cup" })
    // A second that is exceeded is two on the clock.
    await sleep(2_100)
    assert.include((await send("/")).body, "nobody used it for too long")
  })

  it("tells when a cookie is not one of its own", async () => {
    const { jar, post, send } = await start(env)
    await post("/cart/add", { product: "cup" })
    jar.set("session", `${jar.get("session")?.slice(0, 100)}AAAAAAAAAA${jar.get("session")?.slice(110)}`)
    assert.include((await send("/")).body, "invalid session message authentication code")
  })

  it("shows no session id", async () => {
    const { jar, post, send } = await start(env)
    await post("/login", { name: "Ada" })
    const sid = Buffer.from(jar.get("session") ?? "", "base64url").subarray(3, 35)
    assert.lengthOf(sid, 32)
    const { body } = await send("/")
    for (const encoding of ["base64url", "base64", "hex"] as const) {
      assert.notInclude(body, sid.toString(encoding).slice(4, 16))
    }
  })

  it("has HTML templates that escape all but HTML", () => {
    const { source } = html`<p title="${"\"'>"}">${["a&b", 1, html`<b>${"<"}</b>`]}${false}${undefined}</p>`
    assert.strictEqual(source, "<p title=\"&quot;&#39;&gt;\">a&amp;b1<b>&lt;</b></p>")
  })
})
