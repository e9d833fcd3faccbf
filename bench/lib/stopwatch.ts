/** Time that something took. */
export interface Took {
  /** Milliseconds of CPU time, of all threads of the process: what a busy server cannot spend on anything else. */
  readonly cpu: number
  /** Milliseconds that have passed, whatever else the machine did. */
  readonly elapsed: number
}

/** Starts; what it returns stops. */
export const start = (): () => Took => {
  const cpu = process.cpuUsage()
  const begin = performance.now()
  return () => {
    const elapsed = performance.now() - begin
    const { system, user } = process.cpuUsage(cpu)
    return { cpu: (user + system) / 1000, elapsed }
  }
}

/** Microseconds for each of so many. */
export const each = ({ cpu, elapsed }: Took, count: number): Took => ({
  cpu: cpu / count * 1000,
  elapsed: elapsed / count * 1000
})
