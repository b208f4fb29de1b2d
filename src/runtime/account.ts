/** The account of one scope: which of its events were handled, by which rule and how fast, told to the tallies and the log. */
import type { Log } from '../asgi/context.ts'
import type { BaseScope } from '../asgi/protocol.ts'
import type { Tallies, Tally } from './tally.ts'

/** What all scopes of a gateway have in common. */
export interface Accounts {
  readonly tallies: Tallies
  /** Whether each event that was handled has a line in the log, at debug. */
  readonly logEvents: boolean
}

/** Whose events they are. */
interface Owner {
  readonly scope: BaseScope
  readonly log: Log
}

export type Ending = 'handled' | 'failed' | 'interrupted'

export class Account {
  readonly #accounts: Accounts
  readonly #owner: Owner
  /** The rule that took the scope; undefined until a router says so. */
  rule: string | undefined
  /** What the event in hand is, or was; the first one that came, when none was taken. */
  event = ''
  #tally: Tally | undefined
  /** Events that came before it was known whose they are. */
  #early = 0
  /** Events that the application may still take. */
  #waiting = 0
  /** Those that it has in its hands, and since when; 0: that is not measured. */
  #inHand = 0
  #since: number

  constructor(accounts: Accounts, owner: Owner) {
    this.#accounts = accounts
    this.#owner = owner
    this.#since = accounts.logEvents ? performance.now() : accounts.tallies.sampler.start()
  }

  /** An event came. */
  received(type: string): void {
    if (this.event === '') this.event = type
    this.#waiting++
    if (this.#tally) this.#tally.events++
    else this.#early++
  }

  /** The application took one. */
  taken(type: string): void {
    this.#waiting--
    this.#inHand++
    this.event = type
    const { sampler } = this.#known
    this.#since = this.#accounts.logEvents ? performance.now() : sampler.start()
  }

  /** It asked for the next one, so it is done with what it has. */
  asked(): void {
    if (this.#inHand > 0) this.#settle('handled')
  }

  /** The application has ended, with all that it has and all that it will not take any more. */
  ended(ending: Ending): void {
    // Who answers a request need not have asked for its body: then the whole call is what it took.
    if (this.#inHand > 0 || this.#waiting > 0) this.#settle(ending)
    this.#known[ending] += this.#waiting
    this.#waiting = 0
  }

  #settle(ending: Ending): void {
    const tally = this.#known
    tally[ending] += this.#inHand
    if (this.#since !== 0) {
      const took = performance.now() - this.#since
      tally.took(took)
      // What was not handled has a line already, with the error.
      if (this.#accounts.logEvents && ending === 'handled') this.#log(took)
    }
    this.#inHand = 0
    this.#since = 0
  }

  /** From the first that is taken on it stands fast whose they are. */
  get #known(): Tally {
    if (this.#tally) return this.#tally
    const tally = this.#accounts.tallies.of(this.#owner.scope.type, this.rule ?? '')
    tally.events += this.#early
    this.#tally = tally
    return tally
  }

  #log(took: number): void {
    const { log } = this.#owner
    log.debug({ route: this.rule ?? '', event: this.event, ms: Math.round(took * 1000) / 1000 }, 'an event was handled')
  }
}
