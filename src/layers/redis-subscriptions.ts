/** What this process listens to: one subscription a name, kept over every outage. */
import type { RedisBase } from './redis-base.ts'
import { type RedisLink, isRefusal } from './redis-link.ts'
import { Trouble } from './trouble.ts'

export class Subscriptions {
  readonly #base: RedisBase
  readonly #wanted = new Set<string>()
  /** What the link may be subscribed to: it was asked for, and its end has not been answered. */
  readonly #held = new Set<string>()
  #link: RedisLink | undefined
  #again: NodeJS.Timeout | undefined
  /** The last thing that is under way for a name. */
  readonly #pending = new Map<string, Promise<void>>()
  readonly #trouble: Trouble

  constructor(base: RedisBase) {
    this.#base = base
    this.#trouble = new Trouble(base.log, 'hearing from other processes')
  }

  /** Whether Redis refuses some of them. */
  get refused(): boolean {
    return this.#trouble.lasts
  }

  /** Resolves when messages arrive; at once while Redis is away, because then they will when it is back. */
  add(name: string): Promise<void> {
    this.#wanted.add(name)
    return this.#inTurn(name, async (link) => {
      if (this.#wanted.has(name)) await this.#subscribe(link, [name])
    })
  }

  /** Resolves when nothing is under way for the name. */
  settled(name: string): Promise<void> | undefined {
    return this.#pending.get(name)
  }

  remove(name: string): void {
    this.#wanted.delete(name)
    void this.#inTurn(name, async (link) => {
      if (!this.#wanted.has(name)) await this.#unsubscribe(link, name)
    })
  }

  /** The link was refused some of them; when it has them again, Redis is back. */
  refuse(error: unknown): void {
    this.#trouble.failed(error)
  }

  /** Redis is back, perhaps by another link, which has none of them. */
  async restore(link: RedisLink): Promise<void> {
    if (link !== this.#link) this.#held.clear()
    this.#link = link
    try {
      if (this.#wanted.size > 0) await this.#subscribe(link, [...this.#wanted])
      for (const name of this.#held) if (!this.#wanted.has(name)) await this.#unsubscribe(link, name)
      this.#trouble.over()
    } catch (error) {
      this.#failed(error)
    }
  }

  async #subscribe(link: RedisLink, names: readonly string[]): Promise<void> {
    for (const name of names) this.#held.add(name)
    try {
      await link.subscribe(names)
    } catch (error) {
      if (!isRefusal(error)) throw error
      // One of them is enough for all to be refused.
      if (names.length > 1) await Promise.allSettled(names.map((name) => link.subscribe([name])))
      throw error
    }
  }

  async #unsubscribe(link: RedisLink, name: string): Promise<void> {
    await link.unsubscribe(name)
    if (link === this.#link && !this.#wanted.has(name)) this.#held.delete(name)
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
    this.#trouble.failed(error)
    this.#again ??= setTimeout(() => {
      this.#again = undefined
      const { link } = this.#base
      if (link) void this.restore(link)
    }, 1000).unref()
  }
}
