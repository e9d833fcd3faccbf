/** What the checks of a store assert with: node's assertions, which every runtime with tests has. */
import * as node from "node:assert/strict"

/** What an assertion that does not hold throws. */
export const AssertionError = node.AssertionError
export type AssertionError = node.AssertionError

/** Whatever class a store's answers are of. */
const plain = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, plain(field)]))
}

const toBe = <A>(expected: A) => (actual: unknown, message?: string): void =>
  node.strictEqual(actual, expected, message)

interface Assert {
  readonly strictEqual: (actual: unknown, expected: unknown, message?: string) => void
  readonly deepStrictEqual: (actual: unknown, expected: unknown, message?: string) => void
  readonly notDeepEqual: (actual: unknown, expected: unknown, message?: string) => void
  readonly isTrue: (actual: unknown, message?: string) => void
  readonly isFalse: (actual: unknown, message?: string) => void
  readonly isUndefined: (actual: unknown, message?: string) => void
  readonly isDefined: <A>(actual: A, message?: string) => asserts actual is Exclude<A, undefined>
  readonly isAtLeast: (actual: number, least: number, message?: string) => void
  readonly isAtMost: (actual: number, most: number, message?: string) => void
  readonly lengthOf: (actual: { readonly length: number }, length: number, message?: string) => void
  readonly include: <A>(all: ReadonlyArray<A>, one: A, message?: string) => void
  readonly instanceOf: (actual: unknown, of: new(...args: Array<never>) => unknown, message?: string) => void
  readonly fail: (message?: string) => never
}

export const assert: Assert = {
  strictEqual: (actual, expected, message) => node.strictEqual(actual, expected, message),
  deepStrictEqual: (actual, expected, message) => node.deepStrictEqual(plain(actual), plain(expected), message),
  notDeepEqual: (actual, expected, message) => node.notDeepStrictEqual(plain(actual), plain(expected), message),
  isTrue: toBe(true),
  isFalse: toBe(false),
  isUndefined: toBe(undefined),
  isDefined: (actual, message) => node.ok(actual !== undefined, message ?? "is undefined"),
  isAtLeast: (actual, least, message = `${actual} is less than ${least}`) => node.ok(actual >= least, message),
  isAtMost: (actual, most, message = `${actual} is more than ${most}`) => node.ok(actual <= most, message),
  lengthOf: (actual, length, message) => node.strictEqual(actual.length, length, message),
  include: (all, one, message = `${String(one)} is not among ${String(all)}`) => node.ok(all.includes(one), message),
  instanceOf: (actual, of, message = `is no ${of.name}`) => node.ok(actual instanceof of, message),
  fail: (message) => node.fail(message)
}
