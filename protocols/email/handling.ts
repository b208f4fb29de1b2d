/** What delivering a message to one recipient comes to. */
import type { SmtpAnswer } from './answers.ts'
import type { EmailScope } from './scope.ts'
import type { Rejection } from './transport.ts'

export type Handling =
  | { readonly kind: 'handled' }
  | ({ readonly kind: 'rejected'; readonly scope: EmailScope } & Rejection)
  | { readonly kind: 'failed'; readonly answer: SmtpAnswer }

/** One for all that were handled: there are many of them, and they are remembered. */
export const handled: Handling = { kind: 'handled' }

/** Who wants to know what it came to. */
export interface Waiter {
  settled(): void
}

/** What it will have come to: a promise without the turns that one takes, of which there is one for each message. */
export class Fate {
  /** Undefined until it is known. */
  handling: Handling | undefined
  /** When that was, by `performance.now`. */
  since = Infinity
  #waiters: Waiter[] | undefined

  static of(handling: Handling): Fate {
    const fate = new Fate()
    fate.settle(handling)
    return fate
  }

  /** The first time counts. */
  settle(handling: Handling, now = performance.now()): void {
    if (this.handling) return
    this.handling = handling
    this.since = now
    const waiters = this.#waiters ?? []
    this.#waiters = undefined
    for (const waiter of waiters) waiter.settled()
  }

  /** At once, when it is known already. */
  tell(waiter: Waiter): void {
    if (this.handling) waiter.settled()
    else (this.#waiters ??= []).push(waiter)
  }
}
