/** Random sequences of operations, and the search for one that fails: all that needs the package fast-check. */
import * as fc from "fast-check"

/** The age of a key or a handle, 0 for the newest. */
const past = fc.oneof({ weight: 3, arbitrary: fc.nat({ max: 2 }) }, { weight: 1, arbitrary: fc.nat({ max: 12 }) })
const fresh = fc.constant(-1)
const reference = fc.oneof({ weight: 9, arbitrary: past }, { weight: 1, arbitrary: fresh })
const mostlyFresh = fc.oneof({ weight: 3, arbitrary: fresh }, { weight: 1, arbitrary: past })
const ttl = fc.constantFrom(60, 60, 60, 20, 4, 0)
const wait = fc.constantFrom(0, 0, 1, 2, 6)
const rarely = fc.constantFrom(true, false, false, false)
const index = fc.subarray([0, 1, 2, 3])
const info = ["a", "b", "c"]

const remember = fc.option(
  fc.record({ ttl, replaces: fc.constantFrom("current", "current", "another", undefined), key: reference }),
  { nil: undefined, freq: 2 }
)

/** The key of a version of the cookie that an operation is for, or of the other one's. */
const keyOf = (age: fc.Arbitrary<number>) =>
  fc.record({ age, confused: fc.constantFrom(false, false, false, false, false, false, true) })
const key = keyOf(reference)

const operations = fc.array(
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        _tag: fc.constant("create"),
        wait,
        key: keyOf(mostlyFresh),
        handle: mostlyFresh,
        ttl,
        index,
        remember
      })
    },
    {
      weight: 5,
      arbitrary: fc.record({
        _tag: fc.constant("supersede"),
        wait,
        key,
        renew: rarely,
        ttl,
        index,
        remember,
        seen: fc.option(fc.nat({ max: 5 }), { nil: undefined })
      })
    },
    {
      weight: 4,
      arbitrary: fc.record({ _tag: fc.constant("rescue"), wait, key, renew: rarely, ttl, index, remember: ttl })
    },
    {
      weight: 4,
      arbitrary: fc.record({
        _tag: fc.constant("touch"),
        wait,
        key,
        ttl: fc.option(ttl, { nil: undefined }),
        seen: fc.option(fc.nat({ max: 5 }), { nil: undefined })
      })
    },
    {
      weight: 2,
      arbitrary: fc.record({
        _tag: fc.constant("saveInfo"),
        wait,
        handle: reference,
        set: fc.subarray(info),
        remove: fc.subarray(info)
      })
    },
    { weight: 1, arbitrary: fc.record({ _tag: fc.constant("revoke"), wait, handle: reference }) },
    {
      weight: 1,
      arbitrary: fc.record({
        _tag: fc.constant("revokeAll"),
        wait,
        audience: fc.nat({ max: 1 }),
        subjects: fc.subarray([0, 1]),
        except: fc.option(reference, { nil: undefined })
      })
    }
  ),
  { minLength: 1, maxLength: 25, size: "max" }
)

export type Operation = typeof operations extends fc.Arbitrary<Array<infer A>> ? A : never

/** The error of a shortest sequence that fails, and a report of how to come to it. */
export const search = async (
  carryOut: (sequence: ReadonlyArray<Operation>) => Promise<void>
): Promise<{ readonly error: unknown; readonly report: string | undefined } | undefined> => {
  const details = await fc.check(fc.asyncProperty(operations, carryOut), { numRuns: 100 })
  return details.failed ? { error: details.errorInstance, report: fc.defaultReportMessage(details) } : undefined
}
