/**
 * A program of somebody who writes a store: `pack-test.ts` type-checks it against the packed package and runs it, in
 * projects with and without the optional peers. Its arguments are the messages that the report shall have.
 */
import { Effect } from "effect"
import * as SessionStore from "effect-session/SessionStore"
import { FaultyStore, SessionStoreTest } from "effect-session/testing"
import * as assert from "node:assert/strict"

const report = await Effect.runPromise(SessionStoreTest.check({ layer: SessionStore.layerMemory }))
const messages = report.failed.map(({ message }) => message.split("\n")[0])
assert.deepEqual(messages, process.argv.slice(2), SessionStoreTest.format(report))
assert.equal(report.passed.length + report.failed.length, SessionStoreTest.checks.length)

const forgetful = FaultyStore.layer({ layer: SessionStore.layerMemory, around: FaultyStore.failBefore("revoke") })
const { failed } = await Effect.runPromise(SessionStoreTest.check({ layer: forgetful }))
assert.ok(failed.some(({ name }) => name === "revoke, of a version that is current"))

assert.throws(() => SessionStoreTest.suite({ layer: SessionStore.layerMemory }), /runs in vitest/)
