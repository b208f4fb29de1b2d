/** Which session has which subscriptions, of all gateways that share a Redis: kept there, and known to each of them. */
import type { RedisLink } from './redis-link.ts'
import { clientOf } from './redis-scripts.ts'
import type { RedisTalk } from './redis-talk.ts'
import type { Qos } from './scope.ts'
import { noSubscription, SessionIndex, type SessionChange, type Subscription } from './session-index.ts'

/** Clients whose subscriptions are asked for at once. */
const chunk = 500

export class RedisSessions {
  readonly #link: RedisLink
  readonly #talk: RedisTalk
  readonly #failed: (error: unknown) => void
  #index = new SessionIndex()
  /** What was heard since it is being read anew. */
  #heard: SessionChange[] | undefined
  /** The filters that are being removed, by client: until that is done the client has them still. */
  readonly #removing = new Map<string, Set<string>>()

  constructor(link: RedisLink, talk: RedisTalk, failed: (error: unknown) => void) {
    this.#link = link
    this.#talk = talk
    this.#failed = failed
    talk.hear<SessionChange>('$SYS/+/sessions', (change, from) => {
      if (from !== talk.id) this.#apply(change)
    })
  }

  /** Those that a message on this topic is kept for: one for each client. */
  match(topic: string): readonly { readonly clientId: string }[] {
    return this.#index.match(topic)
  }

  /** Reads them all, when others may have changed them unheard. */
  async readAll(): Promise<void> {
    const index = new SessionIndex()
    const heard: SessionChange[] = []
    this.#heard = heard
    const names = await this.#link.commands.smembers('clients')
    for (let start = 0; start < names.length; start += chunk) {
      const some = names.slice(start, start + chunk).flatMap(clientOf)
      const all = await Promise.all(some.map(async (clientId) => ({ clientId, added: await this.#read(clientId) })))
      for (const change of all) index.change(change)
    }
    // What was said meanwhile is newer than some of what was read.
    for (const change of heard) index.change(change)
    this.#index = index
    this.#heard = undefined
  }

  /** Of a client that comes, and has a session from now on. */
  async read(clientId: string): Promise<readonly Subscription[]> {
    const [begun, added] = await Promise.all([this.#begin(clientId), this.#read(clientId)])
    this.#apply({ clientId, removed: true })
    this.#apply({ clientId, added })
    return begun === 0 && added.length === 0 ? [noSubscription] : added
  }

  async add(clientId: string, subscriptions: readonly Subscription[]): Promise<void> {
    if (subscriptions.length === 0) return
    const added = subscriptions.map(({ topic, qos }) => ({ topic, qos }))
    await this.#write(clientId, added)
    await this.#changed({ clientId, added })
  }

  /** Of a client that is here; the others hear of what was not there any more, as soon as Redis is ready. */
  async restore(clientId: string, subscriptions: readonly Subscription[]): Promise<void> {
    const removing = this.#removing.get(clientId)
    const kept = subscriptions.filter(({ topic }) => !removing?.has(topic))
    if (kept.length === 0) return void (await this.#begin(clientId))
    const added = kept.map(({ topic, qos }) => ({ topic, qos }))
    if ((await this.#write(clientId, added)) > 0) this.#changed({ clientId, added }).catch(this.#failed)
  }

  async remove(clientId: string, filters: readonly string[]): Promise<void> {
    const removing = this.#removing.get(clientId) ?? new Set()
    this.#removing.set(clientId, removing)
    for (const filter of filters) removing.add(filter)
    try {
      await this.#link.commands.hdel(`subscriptions:${encodeURIComponent(clientId)}`, ...filters)
      await this.#changed({ clientId, removed: filters })
    } finally {
      for (const filter of filters) removing.delete(filter)
      if (removing.size === 0) this.#removing.delete(clientId)
    }
  }

  /** With all that waits in it. */
  async forget(clientId: string): Promise<void> {
    const had = await this.#link.scripts.forget(encodeURIComponent(clientId))
    if (had) await this.#changed({ clientId, removed: true })
  }

  /** Deletes those of clients that are away for longer than this many milliseconds, and answers how many that were. */
  async expire(sessionExpiry: number): Promise<number> {
    const names = await this.#link.scripts.expire(sessionExpiry)
    for (const clientId of names.flatMap(clientOf)) await this.#changed({ clientId, removed: true })
    return names.length
  }

  /** Whether it has subscriptions or not; answers 0 when it had begun. */
  #begin(clientId: string): Promise<number> {
    return this.#link.commands.sadd('clients', encodeURIComponent(clientId))
  }

  async #read(clientId: string): Promise<readonly Subscription[]> {
    const found = await this.#link.commands.hgetall(`subscriptions:${encodeURIComponent(clientId)}`)
    return Object.entries(found).map(([topic, qos]) => ({ topic, qos: Number(qos) as Qos }))
  }

  /** Answers how many were not there. */
  async #write(clientId: string, subscriptions: readonly Subscription[]): Promise<number> {
    const name = encodeURIComponent(clientId)
    const fields = subscriptions.flatMap(({ topic, qos }) => [topic, String(qos)])
    const [fresh] = await Promise.all([
      this.#link.commands.hset(`subscriptions:${name}`, ...fields),
      this.#begin(clientId),
    ])
    return fresh
  }

  /** Here, and everywhere else before a promise that it is so is kept. */
  async #changed(change: SessionChange): Promise<void> {
    this.#apply(change)
    await this.#talk.tell(`$SYS/${this.#talk.id}/sessions`, change)
  }

  #apply(change: SessionChange): void {
    this.#index.change(change)
    this.#heard?.push(change)
  }
}
