/** Documents, a file each and in memory too, that are found by their name and by keys. One process at a time. */
import { Effect, FileSystem, Semaphore } from "effect"
import type { PlatformError } from "effect"
import { deserialize, serialize } from "node:v8"

/** What is answered, and what becomes of the documents. */
export interface Decision<A, B> {
  readonly answer: B
  readonly put?: A
  readonly remove?: ReadonlyArray<A>
}

export interface Documents<A> {
  readonly all: () => ReadonlyArray<A>
  readonly byName: (name: string) => A | undefined
  readonly byKey: (key: string) => A | undefined
  /**
   * Decides what becomes of what stands, and answers when that is durable. Nobody comes between, or interrupts it; of
   * several removals, a crash may leave some undone.
   */
  readonly write: <B>(decide: () => Decision<A, B>) => Effect.Effect<B, PlatformError.PlatformError | Error>
}

export const open = Effect.fnUntraced(function*<A>(options: {
  readonly directory: string
  readonly nameOf: (document: A) => string
  /** No other document may have one of them. */
  readonly keysOf: (document: A) => ReadonlyArray<string>
}) {
  const { directory, keysOf, nameOf } = options
  const files = yield* FileSystem.FileSystem
  const oneAtATime = yield* Semaphore.make(1)
  const byName = new Map<string, A>()
  const byKey = new Map<string, A>()

  const forget = (document: A): void => {
    byName.delete(nameOf(document))
    keysOf(document).forEach((key) => byKey.delete(key))
  }
  const know = (document: A): void => {
    const old = byName.get(nameOf(document))
    if (old !== undefined) forget(old)
    byName.set(nameOf(document), document)
    keysOf(document).forEach((key) => byKey.set(key, document))
  }

  const pathOf = (document: A): string => `${directory}/${encodeURIComponent(nameOf(document))}.row`
  const flush = (path: string) => Effect.scoped(Effect.flatMap(files.open(path), (file) => file.sync))
  const remove = (document: A) => Effect.map(files.remove(pathOf(document)), () => forget(document))
  // Under another name until it is complete: a crash leaves the old document or the new one.
  const put = Effect.fnUntraced(function*(document: A) {
    const path = pathOf(document)
    const bytes = serialize(document)
    yield* files.writeFile(`${path}.new`, bytes)
    yield* flush(`${path}.new`)
    yield* files.rename(`${path}.new`, path)
    know(deserialize(bytes))
  })

  yield* files.makeDirectory(directory, { recursive: true, mode: 0o700 })
  for (const file of yield* files.readDirectory(directory)) {
    if (file.endsWith(".row")) know(deserialize(yield* files.readFile(`${directory}/${file}`)))
  }

  const documents: Documents<A> = {
    all: () => [...byName.values()],
    byName: (name) => byName.get(name),
    byKey: (key) => byKey.get(key),
    write: (decide) =>
      Effect.suspend(() => {
        const { answer, put: made, remove: doomed = [] } = decide()
        const clashes = made !== undefined &&
          keysOf(made).some((key) => nameOf(byKey.get(key) ?? made) !== nameOf(made))
        if (clashes) return Effect.fail(new Error("A key is in use"))
        if (made === undefined && doomed.length === 0) return Effect.succeed(answer)
        return Effect.forEach(doomed, remove).pipe(
          Effect.andThen(made === undefined ? Effect.void : put(made)),
          Effect.andThen(flush(directory)),
          Effect.as(answer)
        )
      }).pipe(Effect.uninterruptible, oneAtATime.withPermit)
  }
  return documents
})
