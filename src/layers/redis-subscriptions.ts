/** What this process listens to: one subscription a name, kept over every outage. */
import type { RedisBase } from './redis-base.ts'
import type { RedisLink } from './redis-link.ts'

export class Subscriptions {
  readonly #base: RedisBase
  readonly #wanted = new Set<string>()
  /** Left while Redis was away: the client will come back with them. */
  readonly #stale = new Set<string>()
  #again: NodeJS.Timeout | undefined
  /** The last thing that is under way for a name. */
  readonly #pending = new Map<string, Promise<void>>()

  constructor(base: RedisBase) {
    this.#base = base
  }

  /** Resolves when messages arrive; at once while Redis is away, because then they will when it is back. */
  add(name: string): Promise<void> {
    this.#wanted.add(name)
    return this.#inTurn(name, async (link) => {
      if (this.#wanted.has(name)) await link.subscribe([name])
    })
  }

  /** Resolves when nothing is under way for the name. */
  settled(name: string): Promise<void> | undefined {
    return this.#pending.get(name)
  }

  remove(name: string): void {
    this.#wanted.delete(name)
    if (!this.#base.link) this.#stale.add(name)
    void this.#inTurn(name, async (link) => {
      if (!this.#wanted.has(name)) await link.unsubscribe(name)
    })
  }

  /** Redis is back. */
  async restore(link: RedisLink): Promise<void> {
    const stale = [...this.#stale].filter((name) => !this.#wanted.has(name))
    this.#stale.clear()
    try {
      if (this.#wanted.size > 0) await link.subscribe([...this.#wanted])
      for (const name of stale) await link.unsubscribe(name)
    } catch (error) {
      this.#failed(error)
    }
  }

  #inTurn(name: string, act: (link: RedisLink) => Promise<void>): Promise<void> {
    if (!this.#base.link) return Promise.resolve()
    const before = this.#pending.get(name) ?? Promise.resolve()
    const after = before
      .then(async () => {
        const { link } = this.#base
        if (link) await act(link)
      })
      .catch((error: unknown) => this.#failed(error))
      .then(() => {
        if (this.#pending.get(name) === after) this.#pending.delete(name)
      })
    this.#pending.set(name, after)
    return after
  }

  close(): void {
    clearTimeout(this.#again)
    this.#wanted.clear()
  }

  /** When the connection broke, it is done again as soon as there is one; a server that is not yet willing is asked later. */
  #failed(error: unknown): void {
    if (!this.#base.link || this.#wanted.size === 0) return
    this.#base.log.warn({ err: error }, 'Redis refused a subscription')
    this.#again ??= setTimeout(() => {
      this.#again = undefined
      const { link } = this.#base
      if (link) void this.restore(link)
    }, 1000).unref()
  }
}
