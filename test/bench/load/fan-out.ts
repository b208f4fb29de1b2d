/** The loop of one that speaks and many that hear: so many messages in flight, one more when everyone has heard one. */
import type { Answers, Requests } from './closed-loop.ts'
import type { LoadConfig, Tally } from './load.ts'
import type { Peer } from './peer.ts'

export interface Audience {
  readonly speaker: Peer
  readonly members: readonly Peer[]
  readonly requests: Requests
  readonly answers: () => Answers
}

/** Counts deliveries. */
export function fanOut({ speaker, members, requests, answers }: Audience, config: LoadConfig, tally: Tally): void {
  const { inFlight } = config
  /** How many members have heard each message that is in flight. */
  const heard = new Uint32Array(inFlight)
  let complete = 0
  const speak = () => {
    speaker.write(requests(complete))
    complete = 0
  }
  for (const member of members) {
    const count = answers()
    let next = 0
    member.mustStay()
    member.onBytes = (bytes) => {
      const messages = count(bytes)
      tally.done += messages
      for (let index = 0; index < messages; index++) {
        const slot = next
        next = (next + 1) % inFlight
        heard[slot] = (heard[slot] as number) + 1
        if (heard[slot] < members.length) continue
        heard[slot] = 0
        if (++complete === 1) setImmediate(speak)
      }
    }
  }
  speaker.write(requests(inFlight))
}
