/** The loop of every load with answers: so many requests in flight on each connection, and one more for each answer. */
import type { LoadConfig, Tally } from './load.ts'
import type { Peer } from './peer.ts'

/** The next so many requests as bytes. */
export type Requests = (count: number) => Buffer

/** How many answers a chunk completes. */
export type Answers = (bytes: Buffer) => number

export function closedLoop(peer: Peer, { inFlight }: LoadConfig, tally: Tally, dialogue: Dialogue): void {
  const { requests, answers } = dialogue
  peer.onBytes = (bytes) => {
    const count = answers(bytes)
    if (count === 0) return
    tally.done += count
    peer.write(requests(count))
  }
  peer.mustStay()
  peer.write(requests(inFlight))
}

export interface Dialogue {
  readonly requests: Requests
  readonly answers: Answers
}

/** Requests of one length, in turn and again from the first; a ring has more of them than are ever in flight. */
export function ring(all: readonly Buffer[]): Requests {
  const length = all[0]?.length ?? 0
  if (all.some((request) => request.length !== length)) throw new RangeError('expected requests of one length')
  const twice = Buffer.concat([...all, ...all])
  let next = 0
  return (count) => {
    const bytes = twice.subarray(next * length, (next + count) * length)
    next = (next + count) % all.length
    return bytes
  }
}

/** Always the same request. */
export function repeated(request: Buffer, inFlight: number): Requests {
  return ring(Array.from({ length: Math.max(inFlight, 1) }, () => request))
}

/** Answers of one length that begin alike: whatever is no such answer ends the run. */
export function alike(length: number, beginning: Buffer): Answers {
  let at = 0
  return (bytes) => {
    if (at === 0) {
      for (let index = 0; index < beginning.length && index < bytes.length; index++) {
        if (bytes[index] === beginning[index]) continue
        throw new Error(
          `expected ${beginning.toString('latin1')}, the server answers ${bytes.toString('latin1', 0, 200)}`,
        )
      }
    }
    at += bytes.length
    const count = Math.floor(at / length)
    at -= count * length
    return count
  }
}
