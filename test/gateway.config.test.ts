import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { parse } from "yaml"
import type { Gateway } from "../examples/gateway/model.ts"
import { resolve } from "../examples/gateway/resolve.ts"
import * as Router from "../examples/gateway/router.ts"

const problemsOf = (yaml: string): ReadonlyArray<string> =>
  Result.match(resolve(parse(`_format_version: "3.0"\n${yaml}`)), {
    onFailure: (problems) => problems,
    onSuccess: () => []
  })

const gatewayOf = (yaml: string) => Result.getOrThrow(resolve(parse(`_format_version: "3.0"\n${yaml}`)))

describe("what is refused", () => {
  const refused: ReadonlyArray<readonly [yaml: string, ...problems: ReadonlyArray<string>]> = [
    ["upstreams: []", "upstreams is not supported"],
    ["_transform: false", "_transform is not supported; passwords are read as plain text"],
    [
      "services: [{url: \"http://a\", tls_verify: true}, {url: \"http://b\", ca_certificates: []}]",
      "services[0].tls_verify is not supported",
      "services[1].ca_certificates is not supported"
    ],
    [
      "services: [{host: a, protocol: grpc}]",
      "services[0].protocol is not supported; it may be http or https"
    ],
    ["services: [{name: a}]", "services[0]: must have a url or a host"],
    ["services: [{url: \"ftp://a\"}]", "services[0].url is no http or https URL"],
    [
      "services: [{url: \"http://u:p@a/?q\"}]",
      "services[0].url: credentials, a query and a fragment are not supported"
    ],
    [
      "services: [{url: \"http://a\", routes: [{paths: [\"~/a\"], snis: [a], headers: {x: [y]}}]}]",
      "services[0].routes[0].paths[0] is not supported; only paths that begin with / are, no regular expressions",
      "services[0].routes[0].snis is not supported",
      "services[0].routes[0].headers is not supported"
    ],
    ["routes: [{name: a}]", "routes[0] must set one of methods, hosts, paths"],
    ["routes: [{paths: [/], service: nowhere}]", "routes[0].service: there is no nowhere among services"],
    ["routes: [{paths: [/], path_handling: v1}]", "routes[0].path_handling is not supported; it may be v0"],
    [
      "routes: [{paths: [/], protocols: [https]}]",
      "routes[0].protocols must include http, which is all that the gateway speaks"
    ],
    ["routes: [{hosts: [\"a.*.b\"]}]", "routes[0].hosts[0] is no host, nor one with a wildcard label at an end"],
    ["routes: [{methods: [get]}]", "routes[0].methods[0] is no method in capital letters"],
    ["consumers: [{tags: [a]}]", "consumers[0] must have a username or a custom_id"],
    ["consumers: [{username: a}, {username: a}]", "consumers[1]: another of consumers is called a"],
    ["consumers: [{username: a, id: \"1\"}]", "consumers[0].id is no UUID"],
    ["consumers: [{username: a, jwt_secrets: []}]", "consumers[0].jwt_secrets is not supported"],
    ["keyauth_credentials: [{key: a}]", "keyauth_credentials[0].consumer is missing"],
    ["keyauth_credentials: [{key: a, consumer: b}]", "keyauth_credentials[0].consumer: there is no b among consumers"],
    [
      "consumers: [{username: a, keyauth_credentials: [{key: k}, {key: k}], basicauth_credentials: [{username: a}]}]",
      "consumers[0].basicauth_credentials[0].password is missing"
    ],
    [
      "consumers: [{username: a, keyauth_credentials: [{key: k}, {key: k}]}]",
      "consumers[0].keyauth_credentials[1].key is another credential's too"
    ],
    [
      "plugins: [{name: rate-limiting}, {name: key-auth, config: {anonymous: nobody}}]",
      "plugins[0].name: the plugin rate-limiting is not supported; session, key-auth, basic-auth and request-termination are",
      "plugins[1].config.anonymous: there is no nobody among consumers"
    ],
    [
      "plugins: [{name: key-auth, ordering: {}}, {name: key-auth}, {name: key-auth}]",
      "plugins[0].ordering is not supported"
    ],
    ["plugins: [{name: key-auth}, {name: key-auth}]", "plugins[1]: another key-auth plugin has the same place"],
    [
      "consumers: [{username: a, plugins: [{name: session}]}]",
      "consumers[0].plugins[0]: session cannot be limited to a consumer"
    ],
    [
      "plugins: [{name: request-termination, config: {echo: true}}, {name: request-termination, route: r, config: {message: a, body: b}}]",
      "plugins[0].config.echo is not supported",
      "plugins[1].config message cannot be used with content_type or body",
      "plugins[1].route: there is no r among routes"
    ],
    [
      "plugins: [{name: key-auth, config: {key_names: [], hide_credentials: \"yes\"}}]",
      "plugins[0].config.key_names must name one at least",
      "plugins[0].config.hide_credentials: Expected boolean"
    ],
    [
      "services: [{name: a, url: \"http://a\"}, {name: b, url: \"http://b\", routes: [{paths: [/], service: a}]}]",
      "services[1].routes[0].service: contradicts the entity that this one is nested in"
    ]
  ]

  for (const [yaml, ...problems] of refused) {
    it(`as in ${yaml}`, () => assert.sameMembers(Array.from(problemsOf(yaml)), problems))
  }

  it("another format, or none", () => {
    const problems = (input: unknown) => Result.getOrThrow(Result.flip(resolve(input)))
    assert.deepStrictEqual(problems({ _format_version: "4.0" }), [
      "_format_version is not supported; it may be 1.1 or 2.1 or 3.0"
    ])
    assert.deepStrictEqual(problems({}), ["_format_version is missing"])
    assert.match(problems(null).join(), /^the file: Expected object/)
  })

  it("tells no secret", () => {
    const problems = problemsOf("consumers: [{username: a, keyauth_credentials: [{key: [s3cret]}]}]")
    assert.lengthOf(problems, 1)
    assert.notInclude(problems[0], "s3cret")
  })
})

describe("what is read", () => {
  it("nested or by reference, with null for what is left out", () => {
    const nested = gatewayOf(`
services:
- name: s
  url: https://a.example/base
  tags: null
  routes: [{name: r, paths: [/r], plugins: [{name: key-auth, config: {anonymous: null}}]}]
  plugins: [{name: basic-auth}]
consumers:
- username: c
  keyauth_credentials: [{key: k}]
  basicauth_credentials: [{username: u, password: p}]
  acls: [{group: g}]
  plugins: [{name: request-termination}]
`)
    const flat = gatewayOf(`
services: [{name: s, protocol: https, host: a.example, port: 443, path: /base}]
routes: [{name: r, paths: [/r], service: s}]
consumers: [{username: c}]
keyauth_credentials: [{key: k, consumer: c}]
basicauth_credentials: [{username: u, password: p, consumer: c}]
acls: [{group: g, consumer: c}]
plugins:
- {name: key-auth, route: r}
- {name: basic-auth, service: s}
- {name: request-termination, consumer: c}
`)
    const sorted = (gateway: Gateway) => ({
      ...gateway,
      plugins: gateway.plugins.toSorted((a, b) => a.plugin.name < b.plugin.name ? -1 : 1)
    })
    assert.deepStrictEqual(sorted(nested), sorted(flat))
  })

  it("with all that an export of Kong's has in it", () => {
    const problems = problemsOf(`
_transform: true
services:
- {name: app, host: a, port: 80, protocol: http, path: null, enabled: true, retries: 5, tls_verify: null, tags: [x],
   connect_timeout: 60000, write_timeout: 60000, read_timeout: 60000, created_at: 1, updated_at: 2}
routes:
- {name: r, service: app, paths: [/], methods: null, hosts: null, headers: null, snis: null, protocols: [http, https],
   https_redirect_status_code: 426, path_handling: v0, preserve_host: false, strip_path: true, regex_priority: 0,
   request_buffering: true, response_buffering: true}
consumers: [{username: a, custom_id: null, id: 81823632-10c0-4098-a4f7-31062520c1e6}]
plugins:
- {name: key-auth, service: app, protocols: [grpc, grpcs, http, https], enabled: true,
   config: {anonymous: 81823632-10c0-4098-a4f7-31062520c1e6, realm: null}}
- {name: request-termination, consumer: a, config: {status_code: 403, body: null, trigger: null, echo: false}}
`)
    assert.deepStrictEqual(problems, [])
  })

  it("what is not enabled does not run", () => {
    const { plugins, routes } = gatewayOf(`
services: [{url: "http://a", enabled: false, routes: [{paths: [/]}]}]
plugins: [{name: key-auth, enabled: false}]
`)
    assert.deepStrictEqual([plugins, routes], [[], []])
  })

  it("with ids that Kong gives to who has none", () => {
    const { consumers, keys, passwords } = gatewayOf(`
consumers: [{username: ada, keyauth_credentials: [{key: bob-key}], basicauth_credentials: [{username: u, password: p}]}]
`)
    // uuid.uuid5 of Python's, from the namespace and the names of Kong's declarative_config.lua
    assert.strictEqual(consumers[0]?.id, "a2a04ff5-79a4-5c1c-b1c1-119c710d936b")
    assert.strictEqual(Array.from(keys.values(), ({ id }) => id).join(), "862c0784-bba7-52de-8064-4768d4349f14")
    assert.strictEqual(passwords.get("u")?.credential.id, "b8b13216-f8d0-5482-8264-f38e673a5811")
  })
})

describe("routes", () => {
  const routesOf = (yaml: string) => {
    const { routes } = gatewayOf(yaml)
    const find = Router.make(routes)
    return (method: string, host: string, path: string) => {
      const match = find({ method, host, path: Router.normalize(path) })
      return match && [routes.indexOf(match.route), match.upstreamPath]
    }
  }

  it("with more criteria go first, then hosts without wildcards, then the longest path", () => {
    const find = routesOf(`
routes:
- {paths: [/, /long/path]}
- {paths: [/long]}
- {methods: [PUT], paths: [/]}
- {hosts: ["*.example"], paths: [/host]}
- {hosts: [a.example], paths: [/]}
- {hosts: ["b.*", "c.example:8000"]}
`)
    assert.deepStrictEqual([
      find("GET", "x", "/long"),
      find("GET", "x", "/long/path"),
      find("PUT", "x", "/long"),
      find("GET", "a.example", "/host"),
      find("GET", "z.example", "/host"),
      find("GET", "B.anything:80", "/"),
      find("GET", "c.example", "/other"),
      find("GET", "c.example:8000", "/other")
    ], [[1, "/"], [0, "/"], [2, "/long"], [4, "/host"], [3, "/"], [0, "/"], [0, "/other"], [0, "/other"]])
  })

  it("join paths as Kong does", () => {
    const joined = (base: string, strip: boolean, path: string) =>
      routesOf(`services: [{host: a, path: ${base}, routes: [{paths: [/open], strip_path: ${strip}}]}]`)(
        "GET",
        "x",
        path
      )?.[1]
    assert.deepStrictEqual([
      joined("/", true, "/open"),
      joined("/", true, "/open/x"),
      joined("/s", true, "/open"),
      joined("/s", true, "/open/"),
      joined("/s/", true, "/open"),
      joined("/s/", true, "/open/"),
      joined("/s/", true, "/open/x"),
      joined("/s", true, "/openx"),
      joined("/s", true, "/open../x"),
      joined("/s", true, "/open."),
      joined("/s", false, "/open/x"),
      joined("/s/", false, "/open/x")
    ], ["/", "/x", "/s", "/s/", "/s", "/s/", "/s/x", "/s/x", "/s/x", "/s", "/s/open/x", "/s/open/x"])
  })

  it("see one spelling of each path", () => {
    const spellings = {
      "/a/../b": "/b",
      "/a/%2e%2E/b": "/b",
      "/a//b/": "/a/b/",
      "/a/.": "/a/",
      "/a/b/..": "/a/",
      "/..": "/",
      "/%7euser/%41%2f%c3%a9": "/~user/A%2F%C3%A9",
      "/a\\..\\b": "/a%5C..%5Cb",
      "/a#b": "/a%23b",
      "/a%252e": "/a%252e",
      "/\u00c3\u00a9 ": "/%C3%A9%20"
    }
    assert.deepStrictEqual(
      Object.fromEntries(Object.keys(spellings).map((path) => [path, Router.normalize(path)])),
      spellings
    )
    assert.deepStrictEqual(routesOf("routes: [{paths: [/é]}]")("GET", "x", "/%c3%A9/x"), [0, "/x"])
  })
})
