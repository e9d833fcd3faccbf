/** What the command line says of a run. */
export interface Options {
  /** Only to see that everything runs: nothing is judged. */
  readonly short: boolean
  /** With ten million sessions in Postgres. */
  readonly long: boolean
}
