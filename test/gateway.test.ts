import { assert, describe, it } from "@effect/vitest"
import { request } from "node:http"
import { connect } from "node:net"
import { runGateway, startGateway, startRaw, startUpstream } from "./utils/gateway.ts"
import type { Asked } from "./utils/gateway.ts"
import { makeClient } from "./utils/process.ts"

const basic = (text: string) => ({ authorization: `Basic ${Buffer.from(text).toString("base64")}` })

const consumers = `
consumers:
- username: anonymous
  plugins: [{name: request-termination, config: {status_code: 403, message: not you}}]
- username: ada
  custom_id: "42"
  keyauth_credentials: [{key: ada-key}, {key: ada-other-key, id: 7c9e6679-7425-40de-944b-e07fc1f90ae7}]
  basicauth_credentials: [{username: ada, password: "pass:word"}]
  acls: [{group: admins}, {group: staff}]
- username: bob
  keyauth_credentials: [{key: bob-key}]
`

const service = (url: string, rest: string) => `
_format_version: "3.0"
services:
- name: app
  url: ${url}
${rest}
${consumers}`

describe("a proxy", () => {
  it("asks upstream by the rules of paths, hosts and methods", async () => {
    const { asked, url } = await startUpstream()
    const gateway = await startGateway(service(
      `${url}/base`,
      `
  routes:
  - {paths: [/a]}
  - {paths: [/a/deep], strip_path: false}
  - {hosts: [api.example], preserve_host: true}
  - {methods: [PURGE], paths: [/a]}
- url: ${url}
  routes:
  - {paths: [/plain]}
`
    ))
    const { send } = makeClient(gateway.url)
    await send("/a/x?q=a%20b+c&q")
    await send("/a/deep/x")
    await send("/a")
    await send("/plain")
    await send("/a", { method: "PURGE" })
    assert.deepStrictEqual(asked.map(({ url }) => url), [
      "/base/x?q=a%20b+c&q",
      "/base/a/deep/x",
      "/base",
      "/",
      "/base"
    ])
    const missed = await send("/elsewhere")
    assert.strictEqual(missed.status, 404)
    assert.strictEqual(JSON.parse(missed.body).message, "no Route matched with those values")
    const byHost = await ask(gateway.url, "GET /any HTTP/1.1\r\nHost: API.example:8000")
    assert.match(byHost, /^HTTP\/1.1 200 /)
    assert.deepStrictEqual([asked.at(-1)?.url, asked.at(-1)?.headers.host], ["/base/any", "API.example:8000"])
  })

  it("reads a path as upstream does", async () => {
    const { asked, url } = await startUpstream()
    const gateway = await startGateway(service(
      url,
      `
  routes:
  - {paths: [/open], strip_path: false}
  - {paths: [/closed], plugins: [{name: request-termination, config: {status_code: 403}}]}
`
    ))
    for (
      const path of [
        "/open/../closed",
        "/open/%2e%2e/closed",
        "/open/x/.%2E/../closed",
        "/open//../closed",
        "/%63losed",
        "//closed"
      ]
    ) {
      assert.match(await ask(gateway.url, `GET ${path} HTTP/1.1\r\nHost: x`), /^HTTP\/1.1 403 /, path)
    }
    assert.lengthOf(asked, 0)
    for (const path of ["/open/..\\closed", "/open/..%2Fclosed", "/open../closed", "/open/%252e%252e/closed"]) {
      await ask(gateway.url, `GET ${path} HTTP/1.1\r\nHost: x`)
    }
    assert.deepStrictEqual(asked.map(({ url }) => url), [
      "/open/..%5Cclosed",
      "/open/..%2Fclosed",
      "/open../closed",
      "/open/%252e%252e/closed"
    ])
  })

  it("makes up no type for a body that has none", async () => {
    const { asked, url } = await startUpstream((_asked, response) => {
      response.writeHead(200)
      response.end("of no type")
    })
    const gateway = await startGateway(service(url, "  routes: [{paths: [/a]}]"))
    const answer = await ask(gateway.url, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
    assert.match(answer, /^HTTP\/1.1 200 [^]*of no type/)
    assert.notMatch(answer, /content-type/i)
    assert.deepStrictEqual([asked[0]?.body, asked[0]?.headers["content-type"]], ["hi", undefined])
  })

  it("tells upstream where requests come from, and passes no header of one connection on", async () => {
    const { asked, url } = await startUpstream()
    const gateway = await startGateway(service(url, "  routes: [{paths: [/a]}]"))
    const { port } = new URL(gateway.url)
    await ask(
      gateway.url,
      [
        "GET /a/b?c=d HTTP/1.1",
        `Host: shop.example:${port}`,
        "Connection: x-private, close",
        "X-Private: 1",
        "Keep-Alive: timeout=9",
        "TE: trailers",
        "Proxy-Connection: keep-alive",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Prefix: /evil",
        "X-Consumer-Username: root",
        "X-Authenticated-Groups: admins",
        "X-Mine: kept"
      ].join("\r\n")
    )
    const { headers } = asked[0] as Asked
    assert.include(headers, {
      host: new URL(url).host,
      "x-forwarded-for": "10.0.0.1, 127.0.0.1",
      "x-forwarded-proto": "http",
      "x-forwarded-host": "shop.example",
      "x-forwarded-port": port,
      "x-forwarded-path": "/a/b",
      "x-forwarded-prefix": "/a",
      "x-real-ip": "127.0.0.1",
      "x-mine": "kept"
    })
    assert.doesNotHaveAnyKeys(headers, [
      "x-private",
      "keep-alive",
      "te",
      "proxy-connection",
      "x-consumer-username",
      "x-authenticated-groups",
      "traceparent"
    ])
  })

  it("passes answers on as they are, cookies to the letter", async () => {
    const cookies = ["a=1; Path=/; Priority=High", "a=2; Path=/x", "b=%20 ; Expires=Thu, 01 Jan 2032 00:00:00 GMT"]
    const { url } = await startUpstream(({ method }, response) => {
      if (method === "DELETE") return response.writeHead(204).end()
      response.writeHead(418, {
        "set-cookie": cookies,
        "x-powered-by": "tea",
        connection: "close, x-hop",
        "x-hop": "1"
      })
      return response.end("short and stout")
    })
    const gateway = await startGateway(service(url, "  routes: [{paths: [/]}]"))
    const { send } = makeClient(gateway.url)
    const reply = await send("/")
    assert.deepStrictEqual([reply.status, reply.body, reply.headers["x-powered-by"]], [418, "short and stout", "tea"])
    assert.deepStrictEqual(reply.setCookies, cookies)
    assert.notProperty(reply.headers, "x-hop")
    assert.deepStrictEqual([
      (await send("/", { method: "HEAD" })).status,
      (await send("/", { method: "DELETE" })).status
    ], [
      418,
      204
    ])
  })

  it("passes each piece of a body on before the next one comes, in both directions", async () => {
    const arrived: Array<string> = []
    let arrival = Promise.withResolvers<void>()
    const wake = () => {
      arrival.resolve()
      arrival = Promise.withResolvers()
    }
    const url = await startRaw((request, response) => {
      response.writeHead(200)
      request.on("data", (chunk: Buffer) => {
        arrived.push(chunk.toString())
        wake()
        response.write(`got ${chunk}`)
      })
      request.on("end", () => response.end())
    })
    const gateway = await startGateway(service(url, "  routes: [{paths: [/]}]"))
    const upload = request(gateway.url, { method: "POST" })
    const responses: Array<string> = []
    const answered = new Promise<void>((resolve, reject) => {
      upload.on("error", reject)
      upload.on("response", (response) => {
        response.on("data", (chunk: Buffer) => {
          responses.push(chunk.toString())
          wake()
        })
        response.on("end", resolve)
      })
    })
    const until = async (condition: () => boolean) => {
      while (!condition()) await arrival.promise
    }
    upload.write("one")
    await until(() => arrived.length === 1 && responses.length === 1)
    upload.write("two")
    await until(() => arrived.length === 2 && responses.length === 2)
    upload.end()
    await answered
    assert.deepStrictEqual(responses, ["got one", "got two"])
  })

  it("passes large bodies whole", async () => {
    const { asked, url } = await startUpstream(({ body }, response) => void response.end(body))
    const gateway = await startGateway(service(url, "  routes: [{paths: [/]}]"))
    const { send } = makeClient(gateway.url)
    const text = "0123456789abcdef".repeat(300_000)
    const reply = await send("/", { body: { text } })
    assert.isTrue(reply.body === JSON.stringify({ text }), "another body came back")
    assert.strictEqual(asked[0]?.headers["content-length"], String(text.length + 11))
  })

  it("ends the request to upstream when the client goes away", async () => {
    const [begins, ends] = [Promise.withResolvers<void>(), Promise.withResolvers<string>()]
    const url = await startRaw((_, response) => {
      response.on("close", () => ends.resolve("ended"))
      begins.resolve()
    })
    const gateway = await startGateway(service(url, "  routes: [{paths: [/]}]"))
    const socket = connect({ host: "127.0.0.1", port: Number(new URL(gateway.url).port) })
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await begins.promise
    socket.destroy()
    assert.strictEqual(await ends.promise, "ended")
  })

  it("answers in Kong's words where upstream does not", async () => {
    const silent = await startRaw(() => undefined)
    const gateway = await startGateway(`
_format_version: "3.0"
services:
- {url: "http://127.0.0.1:1", routes: [{paths: [/refused]}]}
- {url: "${silent}", read_timeout: 100, connect_timeout: 100, routes: [{paths: [/silent]}]}
- {url: "http://no-such-host.invalid", routes: [{paths: [/unknown]}]}
routes:
- {paths: [/nowhere]}
`)
    const { send } = makeClient(gateway.url)
    const messageOf = async (path: string, body?: unknown) => {
      const reply = await send(path, body === undefined ? {} : { body })
      const { message, request_id: id } = JSON.parse(reply.body)
      assert.match(id, /^[\da-f]{32}$/)
      return [reply.status, reply.headers["content-type"], message]
    }
    const json = "application/json; charset=utf-8"
    const failed = [502, json, "An invalid response was received from the upstream server"]
    const timedOut = [504, json, "The upstream server is timing out"]
    assert.deepStrictEqual(await messageOf("/refused"), failed)
    assert.deepStrictEqual(await messageOf("/refused", {}), failed)
    assert.deepStrictEqual(await messageOf("/silent"), timedOut)
    assert.deepStrictEqual(await messageOf("/silent", {}), timedOut)
    assert.deepStrictEqual(await messageOf("/unknown"), [503, json, "name resolution failed"])
    assert.deepStrictEqual(await messageOf("/nowhere"), [503, json, "no Service found with those values"])
  })

  it("tries again what failed, unless it may have been done or its body is gone", async () => {
    const attempts: Array<string> = []
    const url = await startRaw((request, response) => {
      attempts.push(request.method ?? "")
      if (attempts.length % 3 === 0) response.end("at last")
      else request.socket.destroy()
    })
    const gateway = await startGateway(service(url, "  retries: 2\n  routes: [{paths: [/]}]"))
    const { send } = makeClient(gateway.url)
    assert.strictEqual((await send("/")).body, "at last")
    assert.strictEqual((await send("/", { method: "POST" })).status, 502)
    assert.strictEqual((await send("/", { method: "PUT", body: {} })).status, 502)
    assert.deepStrictEqual(attempts, ["GET", "GET", "GET", "POST", "PUT"])
  })

  it("does not wait for an upstream that takes nothing", async () => {
    const url = await startRaw((request) => void request.pause())
    const gateway = await startGateway(service(url, "  write_timeout: 100\n  routes: [{paths: [/]}]"))
    const upload = request(gateway.url, { method: "POST" })
    const status = new Promise((resolve, reject) => {
      upload.on("response", ({ statusCode }) => resolve(statusCode))
      upload.on("error", reject)
    })
    upload.end(Buffer.alloc(50_000_000))
    assert.strictEqual(await status, 504)
  })

  it("cuts an answer off that stops half way", async () => {
    const url = await startRaw((_, response) => void response.write("half"))
    const gateway = await startGateway(service(url, "  read_timeout: 100\n  routes: [{paths: [/]}]"))
    const outcome = await makeClient(gateway.url).send("/").then(() => "whole", () => "cut off")
    assert.strictEqual(outcome, "cut off")
  })

  it("refuses WebSockets by name", async () => {
    const { asked, url } = await startUpstream()
    const gateway = await startGateway(service(url, "  routes: [{paths: [/]}]"))
    const reply = await ask(gateway.url, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket")
    assert.match(reply, /^HTTP\/1.1 501 /)
    assert.include(reply, "WebSocket upgrades are not supported")
    assert.lengthOf(asked, 0)
  })
})

describe("authentication", () => {
  const identityOf = ({ headers }: Asked) =>
    Object.fromEntries(
      Object.entries(headers).filter(([name]) => /^x-(consumer|credential|authenticated|anonymous)/.test(name))
    )

  it("by a key tells upstream who asks, whatever the client says", async () => {
    const { asked, url } = await startUpstream()
    const gateway = await startGateway(service(
      url,
      `
  routes: [{paths: [/]}]
  plugins: [{name: key-auth}]
`
    ))
    const { send } = makeClient(gateway.url)
    await send("/", {
      headers: { apikey: "ada-other-key", "x-consumer-username": "root", "x-anonymous-consumer": "true" }
    })
    await send("/?apikey=bob-key")
    const [ada, bob] = asked as [Asked, Asked]
    assert.deepStrictEqual(identityOf(ada), {
      "x-consumer-id": "a2a04ff5-79a4-5c1c-b1c1-119c710d936b",
      "x-consumer-custom-id": "42",
      "x-consumer-username": "ada",
      "x-credential-identifier": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
      "x-authenticated-groups": "admins, staff"
    })
    assert.deepStrictEqual(Object.keys(identityOf(bob)).toSorted(), [
      "x-consumer-id",
      "x-consumer-username",
      "x-credential-identifier"
    ])
    assert.strictEqual(ada.headers["apikey"], "ada-other-key")
    assert.strictEqual(bob.url, "/?apikey=bob-key")
    const refusals = [
      await send("/"),
      await send("/", { headers: { apikey: "no-key" } }),
      await send("/?apikey=ada-key&apikey=bob-key")
    ].map(({ body, headers, status }) => [status, headers["www-authenticate"], JSON.parse(body).message])
    assert.deepStrictEqual(refusals, [
      [401, "Key", "No API key found in request"],
      [401, "Key", "Unauthorized"],
      [401, "Key", "Duplicate API key found"]
    ])
  })

  it("hides keys, wherever they are", async () => {
    const { asked, url } = await startUpstream()
    const gateway = await startGateway(service(
      url,
      `
  routes: [{paths: [/]}]
  plugins: [{name: key-auth, config: {key_names: [X-Key, key], key_in_body: true, hide_credentials: true, realm: all}}]
`
    ))
    const { send } = makeClient(gateway.url)
    await send("/?a=%20&key=bob-key&b=+")
    await send("/", { headers: { "X-Key": "ada-key" } })
    await send("/", { body: { key: "ada-key", rest: [1] } })
    await send("/", { body: new URLSearchParams("rest=1&key=ada-key") })
    assert.deepStrictEqual(asked.map(({ body, headers, url }) => [url, body, headers["x-key"]]), [
      ["/?a=%20&b=+", "", undefined],
      ["/", "", undefined],
      ["/", "{\"rest\":[1]}", undefined],
      ["/", "rest=1", undefined]
    ])
    assert.strictEqual((await send("/", { body: { key: 1 } })).headers["www-authenticate"], "Key realm=\"all\"")
  })

  it("by a name and a password", async () => {
    const { asked, url } = await startUpstream()
    const gateway = await startGateway(service(
      url,
      `
  routes: [{paths: [/]}]
  plugins: [{name: basic-auth, config: {hide_credentials: true}}]
`
    ))
    const { send } = makeClient(gateway.url)
    await send("/", { headers: basic("ada:pass:word") })
    assert.include(identityOf(asked[0] as Asked), { "x-consumer-username": "ada", "x-credential-identifier": "ada" })
    assert.notProperty(asked[0]?.headers, "authorization")
    for (const text of ["ada:wrong", "ada:", "eve:pass:word", "ada", ":"]) {
      const refused = await send("/", { headers: basic(text) })
      assert.deepStrictEqual([refused.status, refused.headers["www-authenticate"]], [401, "Basic realm=\"service\""])
      assert.strictEqual(JSON.parse(refused.body).message, "Unauthorized")
    }
    assert.lengthOf(asked, 1)
  })

  it("falls back to an anonymous consumer, whom a plugin of its own may send away", async () => {
    const { asked, url } = await startUpstream()
    const gateway = await startGateway(
      service(
        url,
        `
  plugins:
  - {name: key-auth, config: {anonymous: nobody}}
  - {name: basic-auth, config: {anonymous: anonymous}}
  routes:
  - {paths: [/strict]}
  - {paths: [/either], plugins: [{name: basic-auth, config: {anonymous: nobody}}]}
- url: ${url}/open
  routes: [{paths: [/open]}]
`
      ).replace("consumers:", "consumers:\n- username: nobody")
    )
    const { send } = makeClient(gateway.url)
    const either = await send("/either/x")
    assert.strictEqual(either.status, 200)
    assert.include(identityOf(asked[0] as Asked), { "x-consumer-username": "nobody", "x-anonymous-consumer": "true" })
    assert.notProperty(asked[0]?.headers, "x-credential-identifier")
    const strict = await send("/strict")
    assert.deepStrictEqual([strict.status, strict.body], [403, "{\"message\":\"not you\"}"])
    await send("/strict", { headers: { apikey: "ada-key" } })
    await send("/strict", { headers: basic("ada:pass:word") })
    await send("/open")
    assert.deepStrictEqual(asked.slice(1).map(({ headers }) => headers["x-consumer-username"]), [
      "ada",
      "ada",
      undefined
    ])
  })
})

describe("its configuration", () => {
  it("is refused by name before it listens", async () => {
    const program = runGateway(service(
      "http://127.0.0.1:1",
      `
  routes:
  - {paths: [/]}
  - paths: [/x]
    plugins: [{name: key-auth, config: {foo: 1}}, {name: rate-limiting}]
`
    ))
    assert.strictEqual(await program.exit, 1)
    assert.include(program.output(), "services[0].routes[1].plugins[0].config.foo is not supported")
    assert.include(program.output(), "services[0].routes[1].plugins[1].name: the plugin rate-limiting is not supported")
    assert.notInclude(program.output(), "listening on")
  })

  it("is refused if it is no YAML, or not there", async () => {
    const broken = runGateway("services: [")
    const missing = runGateway("", { KONG_CONFIG: "/no/such/file.yaml" })
    assert.deepStrictEqual([await broken.exit, await missing.exit], [1, 1])
    assert.include(missing.output(), "KONG_CONFIG /no/such/file.yaml cannot be used:\nError: ENOENT")
  })
})

/** The reply to a request that is sent as it is written, on a connection that closes. */
const ask = (url: string, text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port: Number(new URL(url).port) })
    let received = ""
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1")
      // The head is enough; a body comes with it.
      if (received.includes("\r\n\r\n")) socket.end()
    })
    socket.on("close", () => resolve(received))
    socket.on("error", reject)
    socket.write(`${text}\r\n\r\n`)
  })
