/** What is counted as events pass: plain numbers for each rule, which cost next to nothing until somebody asks for them. */

/** Upper bounds of the handling times, in seconds; what took longer is in one more bucket behind them. */
export const timeBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60] as const

/** Milliseconds, and how many are measured in them for certain. */
const window = 100
const certain = 100
/** Of the rest one in so many, a power of two. */
const oneIn = 64

/**
 * Says what is measured: everything, up to a thousand a second, and beyond that a sample. Reading the clock twice costs as much
 * as all the rest that is counted of an event.
 */
export class Sampler {
  #left = certain
  #skipped = 0
  #until = 0

  /** When what begins now has begun, in milliseconds; 0: it is not measured. */
  start(): number {
    if (this.#left > 0) this.#left--
    else if ((++this.#skipped & (oneIn - 1)) !== 0) return 0
    const now = performance.now()
    if (now >= this.#until) {
      this.#until = now + window
      this.#left = certain
    }
    return now
  }
}

/** The events that one rule gave to its application: `events` = `handled` + `failed` + `interrupted` + those in its hands. */
export class Tally {
  events = 0
  /** The application asked for the next event, or returned. */
  handled = 0
  /** It raised, or was abandoned. */
  failed = 0
  /** It ended because its peer had left or the gateway was closing. */
  interrupted = 0
  /** Which handling times are measured. */
  readonly sampler = new Sampler()
  /** How many were, by `timeBounds`, and how long they were together, in seconds. */
  readonly times: number[] = Array.from({ length: timeBounds.length + 1 }, () => 0)
  seconds = 0

  /** An event was in the application's hands for so many milliseconds. */
  took(milliseconds: number): void {
    const seconds = milliseconds / 1000
    this.seconds += seconds
    let bucket = 0
    while (seconds > (timeBounds[bucket] ?? Infinity)) bucket++
    this.times[bucket] = (this.times[bucket] ?? 0) + 1
  }
}

/** How many rules of a protocol are told apart: more than that were made up by somebody, and the rest is one. */
const mostRules = 10_000

/** The tallies of a gateway, by protocol and rule. */
export class Tallies {
  readonly #byProtocol = new Map<string, Map<string, Tally>>()
  /** Which scopes are measured as a whole. */
  readonly sampler = new Sampler()

  /** Addresses that no rule took, by protocol. */
  readonly unrouted = new Map<string, number>()
  /** Peers that were turned away, by protocol and the code that they were told. */
  readonly refused = new Map<string, Map<number, number>>()
  /** Messages that a protocol did not keep for its peers, by protocol and reason. */
  readonly dropped = new Map<string, Map<string, number>>()

  countUnrouted(protocol: string): void {
    this.unrouted.set(protocol, (this.unrouted.get(protocol) ?? 0) + 1)
  }

  countRefused(protocol: string, code: number): void {
    countIn(this.refused, protocol, code)
  }

  countDropped(protocol: string, why: string): void {
    countIn(this.dropped, protocol, why)
  }

  /** `route` is a rule's place, as `file:line`; empty outside of every rule. */
  of(protocol: string, route: string): Tally {
    let rules = this.#byProtocol.get(protocol)
    if (!rules) this.#byProtocol.set(protocol, (rules = new Map()))
    const known = rules.get(route)
    if (known) return known
    if (rules.size >= mostRules && route !== 'other') return this.of(protocol, 'other')
    const tally = new Tally()
    rules.set(route, tally)
    return tally
  }

  *[Symbol.iterator](): Generator<readonly [protocol: string, route: string, tally: Tally]> {
    for (const [protocol, rules] of this.#byProtocol) {
      for (const [route, tally] of rules) yield [protocol, route, tally]
    }
  }
}

function countIn<K>(counts: Map<string, Map<K, number>>, protocol: string, key: K): void {
  let inner = counts.get(protocol)
  if (!inner) counts.set(protocol, (inner = new Map()))
  inner.set(key, (inner.get(key) ?? 0) + 1)
}
