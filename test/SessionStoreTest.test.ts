import { NodeFileSystem } from "@effect/platform-node"
import { Layer } from "effect"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { afterAll } from "vitest"
import * as CustomStore from "../examples/custom-store.ts"
import * as SessionStoreTest from "../src/testing/SessionStoreTest.ts"

// In memory where that is: the disk's part in a durable write is not under test, and thousands of them take a minute.
const directory = mkdtempSync(`${existsSync("/dev/shm") ? "/dev/shm" : tmpdir()}/effect-session-`)
afterAll(() => rmSync(directory, { recursive: true }))

SessionStoreTest.suite({
  name: "examples/custom-store.ts",
  layer: Layer.provide(CustomStore.layer(directory), NodeFileSystem.layer)
})
