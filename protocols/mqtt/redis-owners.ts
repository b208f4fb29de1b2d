/** Which gateway each client is connected to: one at a time, and the one before lets go first. */
import { setTimeout as pause } from 'node:timers/promises'
import type { RedisLink } from './redis-link.ts'
import type { Claimed, Owner } from './redis-scripts.ts'
import type { RedisTalk } from './redis-talk.ts'

/** How long another gateway may take to let go of a client, in milliseconds; then it is taken all the same. */
const takeoverTimeout = 5000

/** What a gateway asks of another: to let go of a client, unless it has claimed it again. */
interface Takeover {
  readonly clientId: string
  /** Who asks, and its own claim. */
  readonly by: string
  readonly claim: number
  /** The claim that the other has, or had. */
  readonly number: number
}
interface Release {
  /** Whoever made this claim has the client now. */
  readonly claim: number
}

export interface OwnersPolicy {
  /** Ends this client's connection, if it is here; resolves when its application has heard of that. */
  letGo(clientId: string): Promise<void>
  failed(error: unknown): void
}

export class RedisOwners {
  readonly #link: RedisLink
  readonly #talk: RedisTalk
  readonly #policy: OwnersPolicy
  /** The clients that are here, each with the number of its claim. */
  readonly #claims = new Map<string, number>()
  /** What is under way in Redis for a client, which the next gateway has to find done. */
  readonly #pending = new Map<string, Promise<unknown>>()
  /** By our claim: who waits for another gateway to let go of a client. */
  readonly #released = new Map<number, () => void>()

  constructor(link: RedisLink, talk: RedisTalk, policy: OwnersPolicy) {
    this.#link = link
    this.#talk = talk
    this.#policy = policy
    talk.hear<Takeover>(`$SYS/${talk.id}/takeover`, (takeover) => void this.#giveUp(takeover))
    talk.hear<Release>(`$SYS/${talk.id}/released`, ({ claim }) => this.#released.get(claim)?.())
  }

  /** The client is to be here: resolves when it is nowhere else. Answers the gateway that is gone with it, if one is. */
  async claim(clientId: string): Promise<string | undefined> {
    await this.#pending.get(clientId)
    const { number, before } = await this.#take(clientId)
    if (before === undefined || before.broker === this.#talk.id) return undefined
    return (await this.#askFor(clientId, before, number)) ? undefined : before.broker
  }

  release(clientId: string): void {
    const number = this.#claims.get(clientId)
    if (number === undefined) return
    this.#claims.delete(clientId)
    const owner = { broker: this.#talk.id, number }
    const released = async () => this.#link.scripts.release(encodeURIComponent(clientId), owner)
    const pending = this.#pending.get(clientId)
    const release = this.during(clientId, pending ? pending.then(released) : released())
    release.catch((error: unknown) => this.#policy.failed(error))
  }

  /** Whether the client is here. */
  has(clientId: string): boolean {
    return this.#claims.has(clientId)
  }

  /** Something that takes several steps: nobody else gets the client in the middle of it. */
  during<T>(clientId: string, work: Promise<T>): Promise<T> {
    const all = Promise.allSettled([this.#pending.get(clientId), work])
    this.#pending.set(clientId, all)
    void all.then(() => this.#pending.get(clientId) === all && this.#pending.delete(clientId))
    return work
  }

  /** Those that are here. */
  get clients(): Iterable<string> {
    return this.#claims.keys()
  }

  /** Whether this client still belongs here, and is here; one that belongs to another gateway is let go of. */
  async keeps(clientId: string): Promise<boolean> {
    if (!this.has(clientId)) return false
    const { id: broker } = this.#talk
    const number = await this.#link.scripts.keep(encodeURIComponent(clientId), broker)
    if (number === undefined) {
      this.#policy.letGo(clientId).catch((error: unknown) => this.#policy.failed(error))
      return false
    }
    const before = this.#claims.get(clientId)
    if (before !== undefined) {
      this.#claims.set(clientId, Math.max(before, number))
      return true
    }
    // It left meanwhile, and what it had was given back before it was claimed again.
    await this.#link.scripts.release(encodeURIComponent(clientId), { broker, number })
    return false
  }

  async #take(clientId: string): Promise<Claimed> {
    const claimed = await this.#link.scripts.claim(encodeURIComponent(clientId), this.#talk.id)
    this.#claims.set(clientId, claimed.number)
    return claimed
  }

  /** Whether the gateway that has the client has let it go. */
  async #askFor(clientId: string, { broker, number }: Owner, claim: number): Promise<boolean> {
    const topic = `$SYS/${broker}/takeover`
    const listeners = await this.#link.listeners(this.#link.channelPrefix + topic)
    if (listeners === 0) return false
    const released = Promise.withResolvers<true>()
    this.#released.set(claim, () => released.resolve(true))
    await this.#talk.tell(topic, { clientId, by: this.#talk.id, claim, number } satisfies Takeover)
    const late = new AbortController()
    const answer = await Promise.race([
      released.promise,
      pause(takeoverTimeout, false as const, { signal: late.signal }).catch(() => false as const),
    ])
    late.abort()
    this.#released.delete(claim)
    return answer
  }

  async #giveUp({ clientId, by, claim, number }: Takeover): Promise<void> {
    try {
      if ((this.#claims.get(clientId) ?? Infinity) <= number) await this.#policy.letGo(clientId)
      if (!this.#claims.has(clientId)) await this.#pending.get(clientId)
      await this.#talk.tell(`$SYS/${by}/released`, { claim } satisfies Release)
    } catch (error) {
      this.#policy.failed(error)
    }
  }
}
