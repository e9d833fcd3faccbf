import { assert, describe, it } from "@effect/vitest"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as SessionConfig from "../src/SessionConfig.ts"
import { refusals } from "../src/SessionState.ts"
import { call, type Env, run } from "./utils/commandLine.ts"
import { differences, openCases, steps } from "./utils/vectors.ts"

const secret = "Wq3Zk0nJ5vXo8uT1rYc6sBd9hLf2mAe4"
const withSecret = { SESSION_SECRET: secret }

const commands = ["secret", "inspect", "seal", "migrate", "sweep", "list", "revoke"]

interface Answer {
  readonly exists: boolean
  readonly err: string | null
  readonly data_json: string | null
  readonly audience: string | null
  readonly subject: string | null
}

const parse = (line: string): Answer => JSON.parse(line)

const lines = (text: string): ReadonlyArray<string> => text.split("\n").slice(0, -1)

/** Asks in one process, and expects an answer to each. */
const ask = async (questions: ReadonlyArray<unknown>, env?: Env) => {
  const asked = questions.map((question) => typeof question === "string" ? question : JSON.stringify(question))
  const ended = await run(["inspect", "--json"], env, `${asked.join("\n")}\n`)
  const answers = lines(ended.stdout).map(parse)
  assert.lengthOf(answers, questions.length)
  return { ...ended, answers }
}

interface Case {
  readonly name: string
  readonly cookie_header: string | null
}

const recorded: ReadonlyArray<Case> =
  JSON.parse(readFileSync(new URL("vectors/x-open-behaviour.json", import.meta.url), "utf8")).cases

/** The configurations of all steps, as the reference had them. */
const configs: ReadonlyArray<{ readonly remember?: boolean }> = readdirSync(new URL("vectors/", import.meta.url))
  .filter((name) => !name.startsWith("x-"))
  .toSorted()
  .flatMap((name) => {
    const { config, steps } = JSON.parse(readFileSync(new URL(`vectors/${name}`, import.meta.url), "utf8"))
    return steps.map((step: { readonly config?: unknown }) => step.config ?? config)
  })

const expected = openCases(SessionConfig.lua)

/** Whether an answer is the reference's, or differs as we say. */
const assertVerdict = (
  answer: Answer,
  odd: Pick<typeof expected[number], "name" | "exists" | "error" | "data">
): void => {
  const difference = differences.find((difference) => difference.case === odd.name)
  if (difference !== undefined) {
    if (difference.ours === "opens") return assert.isTrue(answer.exists, odd.name)
    assert.deepStrictEqual([answer.exists, answer.err], [false, refusals[difference.ours]], odd.name)
    return
  }
  assert.strictEqual(answer.exists, odd.exists, odd.name)
  if (odd.exists) {
    assert.strictEqual(answer.err, null, odd.name)
    assert.deepStrictEqual(JSON.parse(answer.data_json ?? ""), JSON.parse(odd.data ?? ""), odd.name)
    return
  }
  // The reference says more than we do, in brackets.
  assert.isTrue(odd.error === answer.err || odd.error?.startsWith(`${answer.err} (`), `${odd.name}: ${answer.err}`)
  assert.deepStrictEqual([answer.data_json, answer.audience, answer.subject], [null, null, null], odd.name)
}

/** A remember cookie that lua-resty-session made. */
const remembered = {
  cookie_header:
    "remember=AQAACEhZYw1f4-0AbhvnGPMcODHP6X8V3-mSeoCAU3BfF-0RiwNrAAAAAAAqAADzn-qHguCkoUS5bMnTF-2PAAAAgM9j" +
    "TE4zDQsczFe8oeQh1AyTtgDOfWg0Oi3eJ_YzvXY6x1JA_1Kgbt27amHe3XUQ",
  now: 1795394321,
  config: { secret: "correct horse battery staple 0001", remember: true, remember_safety: "None" }
}

describe("inspect, of many", () => {
  it("gives the verdicts of lua-resty-session, in its order of checks", async () => {
    const { answers, code, stderr } = await ask(recorded)
    assert.deepStrictEqual([code, stderr], [0, ""])
    assert.lengthOf(answers, expected.length)
    answers.forEach((answer, index) => assertVerdict(answer, expected[index]!))
    assert.deepStrictEqual(Object.keys(answers[0]!), ["exists", "err", "data_json", "audience", "subject"])
  })

  it("gives those of every recorded request that brings its payload along", async () => {
    const requests = steps(SessionConfig.lua).map((step, index) => ({ step, config: configs[index] }))
      .filter(({ step }) => step.exists !== undefined && step.storage === "cookie")
    const { answers, code } = await ask(requests.map(({ config, step: { cookies, now, sender } }) => ({
      cookie_header: cookies === "" ? null : cookies,
      now,
      config,
      ip: sender.ip,
      scheme: sender.scheme,
      user_agent: sender.userAgent
    })))
    assert.strictEqual(code, 0)
    assert.isAbove(requests.filter(({ config }) => config?.remember).length, 10)
    answers.forEach((answer, index) => {
      const { error, exists = false, name, ops, plaintext } = requests[index]!.step
      assertVerdict(answer, { name, exists, error, data: answer.data_json ?? undefined })
      // What a call changed was another at first.
      const isAsOpened = !ops.some(([method]) => typeof method === "string" && /^(set|info)/.test(method))
      if (!answer.exists || !exists || !isAsOpened) return
      const entry = [JSON.parse(answer.data_json ?? ""), answer.audience]
      assert.deepInclude(JSON.parse(plaintext), answer.subject === null ? entry : [...entry, answer.subject], name)
    })
  })

  it("answers a thousand in their order", async () => {
    const chosen = Array.from({ length: 1000 }, (_, index) => (index * 7) % recorded.length)
    // Its key takes a while to derive: the others would overtake it.
    const slow = { ...remembered, config: { ...remembered.config, remember_safety: "High" } }
    const isSlow = (index: number) => index % 100 === 50
    const { answers, code } = await ask(chosen.map((choice, index) => isSlow(index) ? slow : recorded[choice]))
    assert.strictEqual(code, 0)
    answers.forEach((answer, index) => {
      if (!isSlow(index)) return assertVerdict(answer, expected[chosen[index]!]!)
      assert.strictEqual(answer.err, "missing session cookie")
    })
  })

  it("keeps more configurations apart than it keeps ready", async () => {
    const { cookie_header: cookie } = recorded[0]!
    const questions = Array.from({ length: 200 }, (_, index) => ({
      cookie_header: cookie,
      now: 1795400010,
      config: { secret: index % 2 === 0 ? "error vector secret" : "another", stale_ttl: index }
    }))
    const { answers } = await ask(questions)
    answers.forEach(({ exists }, index) => assert.strictEqual(exists, index % 2 === 0))
  })

  it("asks the remember cookie where the session cookie opens nothing", async () => {
    const { config } = remembered
    const { answers } = await ask([
      remembered,
      { ...remembered, cookie_header: `session=${"A".repeat(120)}; ${remembered.cookie_header}` },
      { ...remembered, config: { ...config, remember: false } },
      // Another key is derived: it does not open, and the session cookie's error stands.
      { ...remembered, config: { ...config, remember_safety: "Low" } },
      { ...remembered, config: { ...config, audience: "other" } },
      { ...remembered, now: remembered.now + 2592001, config: { ...config, remember_rolling_timeout: 0 } }
    ])
    const yes = {
      exists: true,
      err: null,
      data_json: "{\"who\":\"me\"}",
      audience: "default",
      subject: "me"
    }
    const no = { exists: false, err: "missing session cookie", data_json: null, audience: null, subject: null }
    assert.deepStrictEqual(answers, [yes, yes, no, no, no, no])
  })

  it("judges the header alone where the payload is at a store", async () => {
    const { answers } = await ask(["shm", "postgres", "cookie", false].map((storage) => ({
      // STORAGE flag set
      cookie_header: recorded.find(({ name }) => name === "STORAGE flag set, cookie storage")?.cookie_header,
      now: 1795400010,
      config: { secret: "error vector secret", storage }
    })))
    assert.deepStrictEqual(answers.map(({ err }) => err), [
      "unable to load session",
      "unable to load session",
      "invalid session flags",
      "invalid session flags"
    ])
  })

  it("takes the sender for cookies that are bound to theirs", async () => {
    const sender = { ip: "192.0.2.1", scheme: "https", user_agent: "Test/1.0" }
    const bind = { SESSION_BIND: "ip,scheme,user-agent" }
    const args = ["--ip", sender.ip, "--scheme", sender.scheme, "--user-agent", sender.user_agent]
    const sealed = await call(["seal", "1", "--preset", "lua", "--json", ...args], { ...withSecret, ...bind })
    const { cookie } = JSON.parse(sealed.stdout)
    const question = { cookie_header: cookie, config: { secret } }
    const { answers } = await ask([
      { ...question, ...sender },
      { ...question, ...sender, ip: "192.0.2.2" },
      { ...question, ...sender, scheme: "http" },
      { ...question, ...sender, user_agent: null },
      question
    ])
    assert.deepStrictEqual(answers.map(({ exists }) => exists), [true, false, false, false, false])
    const alone = await call(["inspect", "--preset", "lua", "--json", cookie, ...args], withSecret)
    assert.deepStrictEqual([alone.code, parse(alone.stdout).exists], [0, true])
  })

  it("answers what it cannot read with what is wrong, and goes on", async () => {
    const good = recorded[0]!
    const config = { secret: "error vector secret" }
    const { answers, code, stderr } = await ask([
      "this is no JSON",
      "",
      good,
      { now: 1 },
      { ...good, now: "yesterday" },
      { ...good, config: { ...config, cookie_nam: "session" } },
      { ...good, config: { ...config, remember_safety: 4 } },
      { ...good, config: { ...config, idling_timeout: "5m" } },
      { ...good, config: { ...config, ikm: "hunter2hunter2" } },
      { ...good, config: { secret: ["hunter2hunter2"] } },
      { ...good, config: { ...config, cookie_path: "nowhere" } },
      good
    ])
    assert.strictEqual(code, 2)
    assert.strictEqual(stderr, "effect-session: 10 of 12 lines could not be read; their answers say why\n")
    assert.deepStrictEqual(answers.map(({ exists }) => exists), answers.map((_, index) => index === 2 || index === 11))
    assert.deepStrictEqual(answers.map(({ err }) => /^invalid (line|config): /.exec(err ?? "")?.[1]), [
      "line",
      "line",
      undefined,
      "line",
      "line",
      ...Array.from({ length: 6 }, () => "config"),
      undefined
    ])
    const errors = JSON.stringify(answers)
    for (const name of ["cookie_header", "cookie_nam", "remember_safety", "idling_timeout", "ikm", "cookiePath"]) {
      assert.include(errors, name)
    }
    assert.notInclude(errors, "hunter2")
  })

  it("takes the keys that a configuration leaves out from the environment", async () => {
    const { cookie_header: cookie } = recorded[0]!
    const question = { cookie_header: cookie, now: 1795400010, config: {} }
    const text = await ask([question], {
      SESSION_SECRET: "another of at least thirty-two bytes",
      SESSION_SECRET_FALLBACKS: "error vector secret, and yet another one of enough bytes"
    })
    // The environment is held to our rules, and that fallback is too short for them.
    assert.match(text.answers[0]!.err ?? "", /^invalid config: secretFallbacks: has fewer than 32 bytes/)
    const kong = await call(
      ["inspect", "--json", "--preset", "kong"],
      { SESSION_SECRET: "another", SESSION_SECRET_FALLBACKS: "x, error vector secret" },
      JSON.stringify(question)
    )
    assert.strictEqual(parse(kong.stdout).exists, true)
    const none = await ask([question])
    assert.match(none.answers[0]!.err ?? "", /^invalid config: secret: is missing/)
    assert.strictEqual(none.code, 2)
  })

  it("takes all settings from the environment for a line without a configuration", async () => {
    const env = { ...withSecret, SESSION_COOKIE_NAME: "shop", SESSION_AUDIENCE: "till" }
    const sealed = await call(["seal", "[1]", "--json"], env)
    const { cookie } = JSON.parse(sealed.stdout)
    assert.match(cookie, /^__Host-shop=/)
    const { answers } = await ask([{ cookie_header: cookie }], env)
    assert.deepStrictEqual(answers, [
      { exists: true, err: null, data_json: "[1]", audience: "till", subject: null }
    ])
  })

  it("answers for people, a line each", async () => {
    const { code, stdout } = await run(
      ["inspect", "-"],
      {},
      recorded.slice(0, 2).map((each) => JSON.stringify(each)).join("\n")
    )
    assert.deepStrictEqual([code, stdout], [0, "opens: {\"k\":\"v\"}\nrefused: missing session cookie\n"])
    const none = await call(["inspect", "--stdin"])
    assert.deepStrictEqual(none, { code: 0, stdout: "", stderr: "" })
  })
})

describe("seal and inspect", () => {
  it("round-trip, whatever the form of the argument", async () => {
    const sealed = await run(["seal", "{\"a\":\"b/c\"}", "--subject", "alice", "--json"], withSecret)
    const made: { readonly cookie: string; readonly set_cookie: ReadonlyArray<string> } = JSON.parse(sealed.stdout)
    assert.strictEqual(sealed.stderr, "")
    assert.strictEqual(made.set_cookie[0], `${made.cookie}; Path=/; SameSite=Strict; Secure; HttpOnly`)
    const forms = [
      made.cookie,
      `other=1; ${made.cookie}`,
      `Cookie: ${made.cookie}`,
      `Set-Cookie: ${made.set_cookie[0]}`,
      made.cookie.slice("__Host-session=".length)
    ]
    for (const form of forms) {
      const { code, stdout } = await call(["inspect", form, "--json"], withSecret)
      const { audience, data_json, err, exists, subject } = parse(stdout)
      assert.strictEqual(code, 0, form)
      assert.deepStrictEqual(
        { audience, data_json, err, exists, subject },
        { audience: "default", data_json: "{\"a\":\"b\\/c\"}", err: null, exists: true, subject: "alice" }
      )
    }
  })

  it("makes the cookies of lua-resty-session, byte for byte", async () => {
    const vector = JSON.parse(readFileSync(new URL("vectors/a01-small.json", import.meta.url), "utf8"))
    const [step] = vector.steps
    const args = [
      "seal",
      "{\"hello\":\"world\"}",
      "--json",
      "--preset",
      "lua",
      "--now",
      `${step.now}`,
      "--sid",
      Buffer.from(step.meta.sid, "base64").toString("base64url")
    ]
    const { code, stdout } = await call(args, { SESSION_SECRET: vector.config.secret })
    assert.strictEqual(code, 0)
    assert.deepStrictEqual(JSON.parse(stdout).set_cookie, step.set_cookie)
  })

  it("make a remember cookie, which opens as one", async () => {
    const env = { ...withSecret, SESSION_REMEMBER: "true" }
    const at = ["--json", "--now", "1795400000"]
    const { stdout } = await call(["seal", "7", "--remember", ...at], env)
    const { cookie, set_cookie: [header] } = JSON.parse(stdout)
    assert.match(header, /^__Host-remember=[\w-]+; .*; Expires=.* GMT; Max-Age=604800$/)
    const opened = await call(["inspect", cookie, ...at], env)
    const { data_json: data, opened_by: by, presented } = JSON.parse(opened.stdout)
    assert.deepStrictEqual([opened.code, data, by], [0, "7", "remember cookie"])
    assert.deepStrictEqual([presented[0].cookie_name, presented[0].key], ["__Host-remember", "primary"])
    assert.deepStrictEqual(presented[0].time_left, { idling: null, rolling: 604800, absolute: 2592000 })
  })

  it("cut long data into chunks, from standard input", async () => {
    const data = JSON.stringify(Array.from({ length: 3000 }, (_, index) => index))
    const env = { ...withSecret, SESSION_COMPRESSION_THRESHOLD: "0" }
    const { stdout } = await run(["seal", "--json"], env, data)
    const made = JSON.parse(stdout)
    assert.isAbove(made.set_cookie.length, 1)
    const opened = await call(["inspect", made.cookie, "--json"], env)
    assert.strictEqual(parse(opened.stdout).data_json, data)
    const tooLarge = await call(["seal", "-"], env, JSON.stringify("x".repeat(40_000)))
    assert.deepStrictEqual([tooLarge.code, tooLarge.stdout], [2, ""])
    assert.match(tooLarge.stderr, /^effect-session: The session needs \d+ characters of cookie, and at most \d+ fit\n$/)
  })

  it("tell what is in a cookie, and what its times are", async () => {
    const sealed = await call(
      ["seal", "{}", "--json", "--creation-time", "1795000000", "--now", "1795001000"],
      { ...withSecret, SESSION_IDLING_TIMEOUT: "none" }
    )
    // "none" is no duration.
    assert.strictEqual(sealed.code, 2)
    const env = { ...withSecret, SESSION_IDLING_TIMEOUT: "0 seconds" }
    const { stdout } = await call(
      ["seal", "{}", "--json", "--creation-time", "1795000000", "--now", "1795001000"],
      env
    )
    const { cookie } = JSON.parse(stdout)
    const opened = await call(["inspect", cookie, "--json", "--now", "1795001010"], {
      ...env,
      SESSION_SECRET: "an entirely different secret, 32 bytes long",
      SESSION_SECRET_FALLBACKS: secret
    })
    const { presented: [presented] } = JSON.parse(opened.stdout)
    assert.deepStrictEqual(presented, {
      cookie_name: "__Host-session",
      header: {
        type: 1,
        flags: 0,
        creationTime: 1795000000,
        rollingOffset: 1000,
        dataSize: presented.header.dataSize,
        idlingOffset: 0
      },
      flags: [],
      cookies: 1,
      key: "fallback 1",
      time_left: { idling: null, rolling: 3590, absolute: 85390 },
      storage_key: null
    })
    const people = await call(["inspect", cookie, "--now", "1795001010"], env)
    for (
      const line of [
        /signed with +primary key/,
        /created +1795000000 \(2026-11-18T11:06:40Z\)/,
        /saved +1795001000/,
        /idling +disabled/,
        /rolling +3590 s left/,
        /verdict +opens, by the session cookie/,
        /data +\{\}/
      ]
    ) assert.match(people.stdout, line)
  })

  it("exit with 1 for a cookie that opens nothing, and say why", async () => {
    const { stdout } = await run(["seal", "{}", "--json"], withSecret)
    const { cookie } = JSON.parse(stdout)
    const forged = await run(["inspect", cookie], { SESSION_SECRET: "an entirely different secret, 32 bytes long" })
    assert.deepStrictEqual([forged.code, forged.stderr], [1, ""])
    assert.match(forged.stdout, /signed with +none of the keys/)
    assert.match(forged.stdout, /verdict +refused: invalid session message authentication code/)
    const bare = await call(["inspect", "abc", "--json"], withSecret)
    assert.deepStrictEqual([bare.code, parse(bare.stdout).err], [1, "invalid session header"])
    const stored = await call(["inspect", cookie, "--storage", "server", "--json"], withSecret)
    assert.deepStrictEqual([stored.code, parse(stored.stdout).err], [1, "invalid session flags"])
  })

  it("refuse data that is no JSON, times that cannot be, and sids that are none", async () => {
    for (
      const [args, told] of [
        [["seal", "{no"], /^effect-session: data: /],
        [["seal", "1", "--now", "10", "--creation-time", "11"], /--creation-time/],
        [["seal", "1", "--now", "-10"], /--now/],
        [["seal", "1", "--sid", "abc"], /--sid.*32 bytes in base64url/],
        [["inspect", "a=b", "--stdin"], /not both/],
        [["inspect", "a=b", "--now", "soon"], /--now/],
        [["inspect", "a=b", "--preset", "nginx"], /--preset/]
      ] as const
    ) {
      const { code, stderr, stdout } = await call(args, withSecret)
      assert.deepStrictEqual([code, stdout], [2, ""], args.join(" "))
      assert.match(stderr, told)
    }
  })
})

describe("secrets", () => {
  it("are made", async () => {
    const made = await Promise.all([run(["secret"]), run(["secret"])])
    const sizes = made.map(({ stdout }) => Buffer.from(stdout.trim(), "base64").length)
    assert.deepStrictEqual(sizes, [32, 32])
    assert.notStrictEqual(made[0].stdout, made[1].stdout)
    const longer = await call(["secret", "--bytes", "48", "--json"])
    assert.strictEqual(Buffer.from(JSON.parse(longer.stdout).secret, "base64").length, 48)
    const shorter = await call(["secret", "--bytes", "16"])
    assert.deepStrictEqual([shorter.code, shorter.stdout], [2, ""])
    const sealed = await call(["seal", "1"], { SESSION_SECRET: made[0].stdout.trim() })
    assert.strictEqual(sealed.code, 0)
    const ikm = await run(["seal", "1"], { SESSION_IKM: made[0].stdout.trim() })
    assert.strictEqual(ikm.code, 0)
  })

  it("come from a file, which goes before the environment's", async () => {
    const directory = mkdtempSync(join(tmpdir(), "effect-session-cli-"))
    try {
      const file = join(directory, "secret")
      writeFileSync(file, `${secret}\n`)
      const { stdout } = await call(["seal", "1", "--json"], withSecret)
      const { cookie } = JSON.parse(stdout)
      for (const env of [{}, { SESSION_SECRET: "an entirely different secret, 32 bytes long" }, { SESSION_IKM: "x" }]) {
        const { code } = await call(["inspect", "--secret-file", file, cookie], env)
        assert.strictEqual(code, 0)
      }
      writeFileSync(file, "short")
      const short = await call(["inspect", "--secret-file", file, cookie])
      assert.strictEqual(short.code, 2)
      assert.match(short.stderr, /^effect-session: secret: has fewer than 32 bytes.*\(read from .*secret\)\n$/)
      rmSync(file)
      const none = await run(["inspect", "--secret-file", file, cookie], withSecret)
      assert.deepStrictEqual([none.code, none.stdout], [3, ""])
      assert.match(none.stderr, /^effect-session: .*secret cannot be read: NotFound\n$/)
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  it("are no arguments, and not repeated by whoever refuses them", async () => {
    const attempts = [
      ...commands.map((command) => [command, "--secret", "hunter2hunter2"]),
      ["inspect", "--secret=hunter2hunter2"],
      ["inspect", "--secret-fallbacks", "hunter2hunter2"],
      ["seal", "--ikm", "hunter2hunter2"],
      ["list", "--database-url", "postgres://hunter2hunter2@localhost/"]
    ]
    for (const args of attempts) {
      const { code, stderr, stdout } = await call(args)
      assert.deepStrictEqual([code, stdout], [2, ""], args.join(" "))
      assert.include(stderr, "A secret is never an argument")
      assert.notInclude(stderr, "hunter2")
    }
  })

  it("are not shown where they are wrong", async () => {
    for (const env of [{ SESSION_SECRET: "hunter2" }, { SESSION_IKM: "hunter2" }, { SESSION_IKM: "hunter2!" }]) {
      const { code, stderr, stdout } = await call(["inspect", "x"], env)
      assert.deepStrictEqual([code, stdout], [2, ""])
      assert.match(stderr, /^effect-session: .*SESSION_(SECRET|IKM).*\n$/)
      assert.notInclude(stderr, "hunter2")
    }
  })

  it("that only a preset accepts are a warning, on standard error", async () => {
    const { code, stderr, stdout } = await run(["seal", "1", "--preset", "kong"], { SESSION_SECRET: "hunter2" })
    assert.strictEqual(code, 0)
    assert.match(stdout, /^Cookie: session=\S+\nSet-Cookie: session=\S+; Path=\/; SameSite=Strict; Secure; HttpOnly\n$/)
    assert.match(stderr, /Accepted for compatibility with kong: secret: has fewer than 32 bytes/)
  })
})

describe("help", () => {
  it("names every command, every exit code, and where secrets come from", async () => {
    const { code, stderr, stdout } = await run(["--help"])
    assert.deepStrictEqual([code, stderr], [0, ""])
    for (const text of [...commands, "Exit codes: 0", "1 ", "2 ", "3 ", "70 ", "SESSION_SECRET"]) {
      assert.include(stdout, text)
    }
  })

  it.each(commands)("of %s explains each of its flags and arguments", async (command) => {
    const { code, stderr, stdout } = await call([command, "--help"])
    assert.deepStrictEqual([code, stderr], [0, ""])
    const [, listed = ""] = /\n(?:ARGUMENTS|FLAGS)\n([^]*)\nGLOBAL FLAGS\n/.exec(stdout) ?? []
    const entries = listed.split("\n").filter((line) => line.startsWith("  "))
    assert.isAbove(entries.length, 0)
    for (const entry of entries) assert.match(entry, /^ {2}\S+( \S+)? {2,}[A-Z]\S* \S+ /)
    assert.include(stdout, "--json")
  })

  it("stands in for a wrong command line on standard error, in a line or two", async () => {
    const wrong = await run(["inspct"])
    assert.deepStrictEqual([wrong.code, wrong.stdout], [2, ""])
    assert.match(wrong.stderr, /Unknown subcommand "inspct"[^]*inspect[^]*Try `effect-session --help`/)
  })

  it("tells the version of the package", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"))
    const { code, stdout } = await run(["--version"])
    assert.deepStrictEqual([code, stdout], [0, `effect-session v${version}\n`])
  })
})
