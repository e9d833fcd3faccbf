import { Effect } from "effect"

/**
 * What contenders measure, round after round: A B C, C B A, A B C. Whatever else the machine does then hits all of
 * them, and none is always the first.
 */
export const interleave = <Contender, A, E, R>(
  contenders: ReadonlyArray<Contender>,
  rounds: number,
  measure: (contender: Contender, round: number) => Effect.Effect<A, E, R>
): Effect.Effect<ReadonlyMap<Contender, ReadonlyArray<A>>, E, R> =>
  Effect.gen(function*() {
    const measured = new Map(contenders.map((contender) => [contender, new Array<A>()]))
    for (let round = 0; round < rounds; round++) {
      for (const contender of round % 2 === 0 ? contenders : contenders.toReversed()) {
        measured.get(contender)?.push(yield* measure(contender, round))
      }
    }
    return measured
  })
