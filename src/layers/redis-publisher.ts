/** What goes to other processes: published at once, at most once, and bounded while Redis is slow. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Drops } from './drops.ts'
import type { RedisBase } from './redis-base.ts'
import { isRefusal } from './redis-link.ts'
import { Trouble } from './trouble.ts'

/** When so much waits for Redis to take it, senders wait too, for a moment: a burst is slowed down, and nobody is stopped. */
const slow = 128 * 1024
const moment = 1000

/** And when so much waits, what is sent is dropped. The unit is characters. */
const most = 64 * 1024 * 1024

/** What a command costs besides its text. */
const overhead = 500

export class Publisher {
  readonly #base: RedisBase
  readonly #drops: Drops
  readonly #trouble: Trouble
  /** What Redis has not yet taken. */
  #unsent = 0
  #moment: Promise<void> | undefined

  constructor(base: RedisBase, drops: Drops) {
    this.#base = base
    this.#drops = drops
    this.#trouble = new Trouble(base.log, 'publishing to other processes')
  }

  /** Whether Redis refuses it. */
  get refused(): boolean {
    return this.#trouble.lasts
  }

  /**
   * Written before it returns, so that each sender's order holds; what it answers is to be waited for, if there is something.
   * `unheard`: to be counted when nobody listens.
   */
  publish(name: string, message: string, unheard?: 'closed'): Promise<void> | undefined {
    const { link } = this.#base
    if (!link || this.#unsent > most) {
      this.#drops.add('unreachable')
      return undefined
    }
    const cost = message.length + overhead
    this.#unsent += cost
    const sent = link.publish(name, message).then(
      (count) => {
        this.#unsent -= cost
        this.#trouble.over()
        if (count === 0 && unheard) this.#drops.add(unheard)
      },
      (error: unknown) => {
        this.#unsent -= cost
        if (isRefusal(error)) this.#trouble.failed(error)
        this.#drops.add('unreachable')
      },
    )
    if (this.#unsent <= slow) return undefined
    this.#moment ??= pause(moment, undefined, { ref: false }).then(() => void (this.#moment = undefined))
    return Promise.race([sent, this.#moment])
  }
}
