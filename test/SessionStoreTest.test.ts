import { NodeFileSystem } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FileSystem, Layer } from "effect"
import { existsSync } from "node:fs"
import { tmpdir } from "node:os"
import { fileURLToPath } from "node:url"
import * as CustomStore from "../examples/custom-store.ts"
import { SessionError, StoreFailed } from "../src/SessionError.ts"
import * as SessionStore from "../src/SessionStore.ts"
import {
  create,
  createRemembered,
  list,
  load,
  loadInfo,
  loadRemember,
  newEntry,
  newSession,
  replace,
  saveInfo,
  start
} from "../src/testing/checks/sessions.ts"
import * as FaultyStore from "../src/testing/FaultyStore.ts"
import * as SessionStoreTest from "../src/testing/SessionStoreTest.ts"
import * as Simulator from "../src/testing/Simulator.ts"
import { brokenStores } from "./fixtures/brokenStores.ts"
import { execute } from "./utils/process.ts"

// In memory where that is: what a disk does is not under test, and to wait for it a thousand times takes long.
const parent = existsSync("/dev/shm") ? "/dev/shm" : tmpdir()

const temporary = FileSystem.FileSystem.use((files) => files.makeTempDirectoryScoped({ directory: parent }))

const layerCustom = Layer.unwrap(Effect.map(temporary, CustomStore.layer)).pipe(Layer.provide(NodeFileSystem.layer))

SessionStoreTest.suite({ name: "examples/custom-store.ts", layer: layerCustom })

/** A store in memory with something about it that is not as it should be. */
const layerBroken = (broken: (port: SessionStore.Port) => SessionStore.Port) =>
  SessionStore.layerPort(Effect.map(SessionStore.SessionPort, broken)).pipe(Layer.provide(SessionStore.layerMemory))

const names = SessionStoreTest.checks.map(({ name }) => name)

const failedNames = ({ failed }: SessionStoreTest.Report) => failed.map(({ name }) => name)

describe("check", () => {
  it.live("finds that a store keeps every promise", () =>
    Effect.gen(function*() {
      const report = yield* SessionStoreTest.check({ layer: SessionStore.layerMemory })
      assert.deepStrictEqual(report, { passed: names, failed: [] })
    }))

  it.live("names the promises that a store breaks, and says what does not hold", () =>
    Effect.gen(function*() {
      const { failed, passed } = yield* SessionStoreTest.check({ layer: layerBroken(brokenStores.revokeAlwaysTrue) })
      assert.includeMembers(failed.map(({ name }) => name), [
        "revoke, of a version that never was",
        "of 20 revokes at once, one finds the session"
      ])
      assert.sameMembers([...passed, ...failed.map(({ name }) => name)], names)
      assert.include(passed, "a created session loads and is listed as it was given")
      for (const { message, name } of failed) assert.match(message, /AssertionError/, name)
    }))

  it.live("reports the operations that throw, die or fail, and goes on", () =>
    Effect.gen(function*() {
      const down = () => new SessionError({ reason: new StoreFailed({ operation: "list", cause: "down" }) })
      const stores: ReadonlyArray<readonly [string, (port: SessionStore.Port) => SessionStore.Port]> = [
        ["not implemented", (port) => ({
          ...port,
          list: () => {
            throw new Error("not implemented")
          }
        })],
        ["a bug", (port) => ({ ...port, list: () => Effect.die(new Error("a bug")) })],
        ["failed to list", (port) => ({ ...port, list: () => Effect.fail(down()) })]
      ]
      for (const [complaint, broken] of stores) {
        const report = yield* SessionStoreTest.check({ layer: layerBroken(broken) })
        assert.include(failedNames(report), "list, of a version that is current")
        assert.include(report.passed, "touch, of a version that is current")
        for (const { message, name } of report.failed) assert.include(message, complaint, name)
      }
    }))

  it.live("of a store that can do nothing, nothing holds", () =>
    Effect.gen(function*() {
      const layer = FaultyStore.layer({
        layer: SessionStore.layerMemory,
        around: () => Effect.die(new Error("out of order"))
      })
      assert.deepStrictEqual(failedNames(yield* SessionStoreTest.check({ layer })), names)
    }))

  it.live("fails where the layer does", () =>
    Effect.gen(function*() {
      const layer = SessionStore.layerPort(Effect.fail("no database"))
      assert.strictEqual(yield* Effect.flip(SessionStoreTest.check({ layer })), "no database")
    }))

  it.live("releases the store", () =>
    Effect.gen(function*() {
      const events: Array<string> = []
      const layer = SessionStore.layerPort(
        Effect.acquireRelease(SessionStore.SessionPort, () => Effect.sync(() => events.push("released")))
      ).pipe(Layer.provide(SessionStore.layerMemory))
      yield* SessionStoreTest.check({ layer })
      assert.deepStrictEqual(events, ["released"])
    }))
})

describe("format", () => {
  it("shows what failed, each line of it, and counts", () => {
    assert.strictEqual(SessionStoreTest.format({ passed: ["a", "b"], failed: [] }), "2 of 2 checks hold")
    assert.strictEqual(
      SessionStoreTest.format({
        passed: ["a"],
        failed: [{ name: "b", message: "not equal\n+ 1" }, { name: "c", message: "thrown" }]
      }),
      ["✗ b", "    not equal", "    + 1", "✗ c", "    thrown", "1 of 3 checks hold"].join("\n")
    )
  })
})

describe("suite", () => {
  it("without vitest says what to use", async () => {
    const { code, stderr } = await execute(fileURLToPath(new URL("fixtures/suiteOutside.ts", import.meta.url)), [])
    assert.strictEqual(code, 1)
    assert.include(stderr, "SessionStoreTest.suite runs in vitest; use SessionStoreTest.check elsewhere")
  })
})

describe("examples/custom-store.ts", () => {
  it.live("keeps the invariants in a simulation", () =>
    Effect.gen(function*() {
      const { failure } = yield* Simulator.run({ layer: layerCustom, seed: 1, sessions: 200 })
      assert.isUndefined(failure, failure && Simulator.format(failure))
    }))

  /** As another process does that comes after. */
  const withStore = <A, E>(directory: string, use: (port: SessionStore.Port) => Effect.Effect<A, E>) =>
    Effect.provide(SessionStore.SessionPort.use(use), CustomStore.layer(directory))

  it.live("keeps everything until the next start, but what was ended", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const entry = newEntry()
      const before = yield* withStore(
        directory,
        Effect.fnUntraced(function*(port) {
          const session = yield* createRemembered(port, { index: [entry] })
          const next = yield* replace(port, session.key, { index: [entry] })
          yield* saveInfo(port, session.handle, { a: "1" })
          yield* port.revoke((yield* create(port, { index: [entry] })).handle)
          return { handle: session.handle, keys: [session.key, next.key, session.remember.key] }
        })
      )
      const ask = Effect.fnUntraced(function*(port: SessionStore.Port) {
        const loaded = yield* Effect.forEach(before.keys, (key) => Effect.zip(load(port, key), loadRemember(port, key)))
        return { loaded, info: yield* loadInfo(port, before.handle), listed: yield* list(port, entry) }
      })
      const first = yield* withStore(directory, ask)
      assert.deepStrictEqual(first.loaded.map((each) => each.map((version) => version?._tag)), [
        ["Superseded", undefined],
        ["Current", undefined],
        [undefined, "Current"]
      ])
      assert.deepStrictEqual(first.info, { a: "1" })
      assert.deepStrictEqual(first.listed.map(({ handle }) => handle), [before.handle])
      assert.deepStrictEqual(yield* withStore(directory, ask), first)
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.live("a write that a crash cut off has not happened", () =>
    Effect.gen(function*() {
      const files = yield* FileSystem.FileSystem
      const directory = yield* temporary
      const { handle, key } = yield* withStore(directory, create)
      yield* files.writeFileString(`${directory}/${handle}.row.new`, "half of")
      assert.strictEqual((yield* withStore(directory, (port) => load(port, key)))?._tag, "Current")
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  /** The files, with something about them that is different. */
  const withFiles = (different: (files: FileSystem.FileSystem) => Partial<FileSystem.FileSystem>) =>
    Effect.provide(
      Layer.effect(
        FileSystem.FileSystem,
        FileSystem.FileSystem.useSync((files) => ({ ...files, ...different(files) }))
      )
    )

  it.live("acknowledges a write when the file and the directory are flushed", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const log: Array<string> = []
      const note = (what: string, path: string) =>
        Effect.sync(() => log.push(`${what} ${path.slice(directory.length)}`))
      const noted = withFiles((files) => ({
        writeFile: (path, data) => Effect.andThen(note("write", path), files.writeFile(path, data)),
        rename: (from, to) => Effect.andThen(note("rename to", to), files.rename(from, to)),
        remove: (path) => Effect.andThen(note("remove", path), files.remove(path)),
        open: (path) =>
          Effect.map(files.open(path), (file) => ({ ...file, sync: Effect.andThen(file.sync, note("flushed", path)) }))
      }))
      yield* withStore(
        directory,
        Effect.fnUntraced(function*(port) {
          yield* create(port, { handle: "a" })
          yield* note("created", directory)
          yield* port.revoke("a")
          yield* note("revoked", directory)
        })
      ).pipe(noted)
      const put = ["write /a.row.new", "flushed /a.row.new", "rename to /a.row", "flushed ", "created "]
      assert.deepStrictEqual(log, [...put, "remove /a.row", "flushed ", "revoked "])
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.live("a write that is interrupted is carried out, or not begun", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const renamed = yield* Deferred.make<void>()
      const released = yield* Deferred.make<void>()
      const slow = withFiles((files) => ({
        rename: (from, to) =>
          files.rename(from, to).pipe(
            Effect.andThen(Deferred.succeed(renamed, undefined)),
            Effect.andThen(Deferred.await(released))
          )
      }))
      const [begun, waiting] = [newSession(), newSession()]
      yield* withStore(
        directory,
        Effect.fnUntraced(function*(port) {
          const first = yield* Effect.forkChild(port.create(begun, start))
          yield* Deferred.await(renamed)
          const second = yield* Effect.forkChild(port.create(waiting, start))
          yield* Effect.yieldNow
          yield* Fiber.interrupt(second)
          yield* Effect.forkChild(Fiber.interrupt(first))
          yield* Effect.yieldNow
          yield* Deferred.succeed(released, undefined)
          yield* Fiber.await(first)
          assert.strictEqual((yield* load(port, begun.key))?._tag, "Current")
          assert.isUndefined(yield* load(port, waiting.key))
        })
      ).pipe(slow)
      const again = (key: Uint8Array) => withStore(directory, (port) => load(port, key))
      assert.strictEqual((yield* again(begun.key))?._tag, "Current")
      assert.isUndefined(yield* again(waiting.key))
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.live("a write that the disk refuses fails, and leaves what was", () =>
    Effect.gen(function*() {
      const directory = yield* temporary
      const refused = withFiles((files) => ({ rename: () => files.remove(`${directory}/none`) }))
      const session = newSession()
      yield* withStore(directory, (port) => port.create(session, start))
      yield* withStore(
        directory,
        Effect.fnUntraced(function*(port) {
          const error = yield* Effect.flip(port.supersede(session.key, newSession(), undefined, start))
          assert.strictEqual(error.message, "The session store failed to supersede")
          assert.strictEqual((yield* load(port, session.key))?._tag, "Current")
        })
      ).pipe(refused)
      assert.strictEqual((yield* withStore(directory, (port) => load(port, session.key)))?._tag, "Current")
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.live("expired sessions leave with the next one that is created, and no file stays behind", () =>
    Effect.gen(function*() {
      const files = yield* FileSystem.FileSystem
      const directory = yield* temporary
      yield* withStore(
        directory,
        Effect.fnUntraced(function*(port) {
          yield* create(port, { deadline: start + 5 })
          const { handle } = yield* create(port, { deadline: start + 6 }, start + 6)
          assert.deepStrictEqual(yield* files.readDirectory(directory), [`${handle}.row`])
          yield* port.revoke(handle)
          assert.deepStrictEqual(yield* files.readDirectory(directory), [])
        })
      )
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.live("of a version that was replaced, no data stays", () =>
    Effect.gen(function*() {
      const files = yield* FileSystem.FileSystem
      const directory = yield* temporary
      const data = Buffer.from("sealed under the old key")
      const written = yield* withStore(
        directory,
        Effect.fnUntraced(function*(port) {
          const { handle, key } = yield* create(port, { data })
          const read = Effect.map(files.readFile(`${directory}/${handle}.row`), (bytes) => Buffer.from(bytes))
          const before = yield* read
          yield* replace(port, key)
          return [before.includes(data), (yield* read).includes(data)]
        })
      )
      assert.deepStrictEqual(written, [true, false])
    }).pipe(Effect.provide(NodeFileSystem.layer)))

  it.live("a handle is no path", () =>
    Effect.gen(function*() {
      const files = yield* FileSystem.FileSystem
      const directory = yield* temporary
      const inside = `${directory}/sessions`
      for (const handle of ["../escaped", "..", ""]) {
        yield* withStore(inside, (port) => create(port, { handle }))
        assert.deepStrictEqual(yield* files.readDirectory(directory), ["sessions"])
        assert.isTrue(yield* withStore(inside, (port) => port.revoke(handle)))
      }
    }).pipe(Effect.provide(NodeFileSystem.layer)))
})
