/** What a load generator is told, and what it counts. */

/** What it is to do. */
export interface LoadPlan {
  readonly load: string
  readonly connections: number
  readonly inFlight: number
  /** How long it will be at work, about. */
  readonly seconds: number
}

export interface LoadConfig extends LoadPlan {
  /** Where the server listens, by scheme. */
  readonly urls: Readonly<Record<string, string>>
  /** Whose processor time is read. */
  readonly serverPid: number
}

/** What was done since the start. */
export interface Tally {
  done: number
}

/** Begins, and goes on until the process ends. */
export type Load = (config: LoadConfig, tally: Tally) => Promise<void>

export function urlOf({ urls }: LoadConfig, scheme: string): string {
  const url = urls[scheme]
  if (url === undefined) throw new Error(`the server says nothing of ${scheme}: ${JSON.stringify(urls)}`)
  return url
}

/** For each connection in turn, a few at a time, so that no backlog overflows. */
export async function each(count: number, open: (index: number) => Promise<void>): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < count) await open(next++)
  }
  await Promise.all(Array.from({ length: 50 }, lane))
}
