/** What is on its way to the provider: in order for each person, in parallel across people, and bounded. */
import { SignalboxError } from '../../src/runtime/errors.ts'
import type { Outgoing } from './outgoing.ts'

/** Takes one message to where it goes. */
export interface Carrier {
  /** @throws when it could not, for good. An aborted signal ends its waits and attempts. */
  carry(message: Outgoing, signal: AbortSignal): Promise<void>
}

/** From this many on, who sends waits. */
const comfortable = 100

export class Outbox {
  readonly #carrier: Carrier
  readonly #closing = new AbortController()
  /** The last message to each person: the next one follows it. */
  readonly #tails = new Map<string, Promise<void>>()
  #pending = 0
  #waiting: (() => void)[] = []

  constructor(carrier: Carrier) {
    this.#carrier = carrier
  }

  /** How many messages are not yet carried. */
  get pending(): number {
    return this.#pending
  }

  /** Resolves when there is room for more. `failed` is told when the message could not be carried; a promise of it is waited for by nobody. */
  async post(message: Outgoing, failed: (error: unknown) => void): Promise<void> {
    this.#pending++
    const before = this.#tails.get(message.to)
    const tail = this.#carry(message, failed, before).finally(() => {
      this.#pending--
      if (this.#tails.get(message.to) === tail) this.#tails.delete(message.to)
      this.#wake()
    })
    this.#tails.set(message.to, tail)
    while (this.#pending > comfortable) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Waits until everything is carried; what is not when `signal` aborts has failed. */
  async close(signal: AbortSignal): Promise<void> {
    const give = () =>
      this.#closing.abort(new SignalboxError('closing', 'the gateway closed before the message could be sent'))
    if (signal.aborted) give()
    signal.addEventListener('abort', give, { once: true })
    while (this.#tails.size > 0) await Promise.all(this.#tails.values())
    signal.removeEventListener('abort', give)
  }

  async #carry(message: Outgoing, failed: (error: unknown) => void, before: Promise<void> | undefined): Promise<void> {
    await before
    try {
      this.#closing.signal.throwIfAborted()
      await this.#carrier.carry(message, this.#closing.signal)
    } catch (error) {
      failed(error)
    }
  }

  #wake(): void {
    if (this.#pending > comfortable) return
    for (const resume of this.#waiting.splice(0)) resume()
  }
}
