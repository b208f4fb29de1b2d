/** The sessions and retained messages of the broker: aedes-persistence-level, put right where Aedes would lose messages. */
import { Readable } from 'node:stream'
import { hasCode, reason, SignalboxError } from '../../src/runtime/errors.ts'
import { MemoryLevel } from './memory-level.ts'
import { OrderedLevel, type Level } from './ordered-level.ts'
import type { Qos } from './scope.ts'
import { SubscriptionIndex, type KeptSubscription } from './subscription-index.ts'
import { filterMatches, parseFilter } from './topic.ts'

interface Identified {
  readonly messageId?: number | undefined
}
interface StoredPacket extends Identified {
  readonly topic: string
  readonly payload: Uint8Array
}
interface Client {
  readonly id: string
}
interface Subscription {
  readonly topic: string
  readonly qos: Qos
}

/** What is used of the persistence package, which has no types. */
interface Persistence {
  setup(broker: unknown): Promise<void>
  storeRetained(packet: StoredPacket): Promise<void>
  createRetainedStreamCombi(filters: readonly string[]): Readable
  addSubscriptions(client: Client, subscriptions: readonly Subscription[]): Promise<void>
  removeSubscriptions(client: Client, filters: readonly string[]): Promise<void>
  subscriptionsByClient(client: Client): Promise<Subscription[]>
  outgoingEnqueue(to: { readonly clientId: string }, packet: StoredPacket): Promise<void>
  outgoingEnqueueCombi(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void>
  outgoingUpdate(client: Client, packet: StoredPacket): Promise<void>
  outgoingClearMessageId(client: Client, packet: StoredPacket): Promise<StoredPacket | undefined>
  outgoingStream(client: Client): Readable
  incomingStorePacket(client: Client, packet: StoredPacket): Promise<void>
  incomingGetPacket(client: Client, packet: Identified): Promise<StoredPacket>
  incomingDelPacket(client: Client, packet: StoredPacket): Promise<void>
  cleanIncoming(client: Client): Promise<void>
  putWill(client: Client, packet: object): Promise<void>
  delWill(client: Client): Promise<object | undefined>
  streamWill(brokers: object): Readable
  destroy(): Promise<void>
}

/** What the store asks of the broker. */
export interface StorePolicy {
  /** Messages kept for a client that is away. */
  readonly maxQueued: number
  /** Whether this client may have this subscription. */
  mayKeep(client: Client, subscription: Subscription): boolean
  /** Topics with a retained message. */
  readonly maxRetained: number
  /** A message was not kept, because of this setting. */
  dropped(what: { readonly clientId: string } | { readonly topic: string }, setting: string): void
  failed(error: unknown): void
}

const nothing = Promise.resolve()

/** Opens the store in this folder; undefined keeps everything in memory. @throws SignalboxError `listen_failed`. */
export async function openStore(folder: string | undefined, policy: StorePolicy): Promise<SessionStore> {
  // @ts-expect-error: the package has no types
  const { default: persistenceLevel } = await import('aedes-persistence-level')
  const level = new OrderedLevel(folder === undefined ? new MemoryLevel() : await openLevel(folder))
  const { asyncPersistence } = persistenceLevel(level) as { readonly asyncPersistence: Persistence }
  return new SessionStore(asyncPersistence, level, policy)
}

async function openLevel(folder: string): Promise<Level> {
  const { ClassicLevel } = await import('classic-level')
  const level = new ClassicLevel<string, Buffer>(folder)
  try {
    await level.open()
    return level
  } catch (error) {
    const cause: unknown = Error.isError(error) ? error.cause : undefined
    const why = hasCode(cause, 'LEVEL_LOCKED') ? 'another gateway uses it' : reason(cause ?? error)
    throw new SignalboxError('listen_failed', `the sessions of MQTT in ${folder} cannot be opened: ${why}`, {
      cause: error,
    })
  }
}

/**
 * Aedes takes it for its persistence. What it knows of a client without asking the database is what keeps connects cheap:
 * most clients have nothing there.
 */
export class SessionStore {
  readonly #persistence: Persistence
  readonly #level: OrderedLevel
  readonly #policy: StorePolicy
  readonly #index = new SubscriptionIndex()
  readonly #subscriptions = new Map<string, Map<string, KeptSubscription>>()
  /** How many messages wait for a client. */
  readonly #queued = new Map<string, number>()
  /** Clients with messages of QoS 2 that are not complete. */
  readonly #incoming = new Set<string>()
  /** Topics. */
  readonly #retained = new Set<string>()
  /** The list of a SUBSCRIBE that is stored: Aedes stores it once for each of its filters. */
  readonly #storing = new WeakMap<object, Promise<void>>()

  constructor(persistence: Persistence, level: OrderedLevel, policy: StorePolicy) {
    this.#persistence = persistence
    this.#level = level
    this.#policy = policy
  }

  async setup(broker: unknown): Promise<void> {
    await this.#persistence.setup(broker)
    for (const id of await this.#clientsWith('subscriptions')) {
      for (const { topic, qos } of await this.#persistence.subscriptionsByClient({ id }))
        this.#keep({ clientId: id, topic, qos })
    }
    for (const id of await this.#clientsWith('outgoing')) this.#count(id, 1)
    for (const id of await this.#clientsWith('incoming')) this.#incoming.add(id)
    for await (const key of this.#level.keys({ gte: 'retained:', lt: 'retained;' }))
      this.#retained.add(key.slice('retained:'.length))
  }

  async storeRetained(packet: StoredPacket): Promise<void> {
    const { topic, payload } = packet
    if (payload.length === 0) this.#retained.delete(topic)
    else if (this.#retained.has(topic) || this.#retained.size < this.#policy.maxRetained) this.#retained.add(topic)
    else return this.#policy.dropped({ topic }, 'maxRetained')
    // A copy of its own: what it came in is kept as long as it is.
    await this.#persistence.storeRetained({ ...packet, payload: Buffer.from(payload) })
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    // Below, every retained message is read and decoded.
    const wanted = filters.filter((filter) => this.#hasRetained(filter))
    return wanted.length === 0 ? Readable.from([]) : this.#retainedMessages(wanted)
  }

  #hasRetained(filter: string): boolean {
    if (!/[+#]/.test(filter)) return this.#retained.has(filter)
    const levels = parseFilter(filter)
    for (const topic of this.#retained) if (filterMatches(levels, topic)) return true
    return false
  }

  #retainedMessages(filters: readonly string[]): Readable {
    const stream = this.#persistence.createRetainedStreamCombi(filters)
    // Aedes pipes it without listening for errors: one more would end the process.
    stream.on('error', (error) => this.#policy.failed(error))
    return stream
  }

  addSubscriptions(client: Client, subscriptions: readonly Subscription[]): Promise<void> {
    const before = this.#storing.get(subscriptions)
    if (before) return before
    // Aedes hands over the whole SUBSCRIBE, with what was refused.
    const granted = subscriptions.filter((subscription) => this.#policy.mayKeep(client, subscription))
    for (const { topic, qos } of granted) this.#keep({ clientId: client.id, topic, qos })
    const stored = this.#persistence.addSubscriptions(client, granted)
    this.#storing.set(subscriptions, stored)
    return stored
  }

  async removeSubscriptions(client: Client, filters: readonly string[]): Promise<void> {
    const kept = this.#subscriptions.get(client.id)
    const known = filters.filter((filter) => kept?.delete(filter))
    for (const filter of known) this.#index.remove(client.id, filter)
    if (kept?.size === 0) this.#subscriptions.delete(client.id)
    if (known.length > 0) await this.#persistence.removeSubscriptions(client, known)
  }

  async subscriptionsByClient(client: Client): Promise<Subscription[]> {
    return Array.from(this.#subscriptions.get(client.id)?.values() ?? [], ({ topic, qos }) => ({ topic, qos }))
  }

  subscriptionsByTopic(topic: string): Promise<KeptSubscription[]> {
    return Promise.resolve(this.#index.match(topic))
  }

  async cleanSubscriptions(client: Client): Promise<void> {
    await this.removeSubscriptions(client, Array.from(this.#subscriptions.get(client.id)?.keys() ?? []))
  }

  async outgoingEnqueue(to: { readonly clientId: string }, packet: StoredPacket): Promise<void> {
    await this.outgoingEnqueueCombi([to], packet)
  }

  outgoingEnqueueCombi(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void> {
    return to.length === 0 ? nothing : this.#enqueue(to, packet)
  }

  async #enqueue(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void> {
    const kept = to.filter(({ clientId }) => this.#hasRoom(clientId))
    for (const { clientId } of kept) this.#count(clientId, 1)
    await this.#persistence.outgoingEnqueueCombi(kept, packet)
  }

  async outgoingUpdate(client: Client, packet: StoredPacket): Promise<void> {
    try {
      await this.#persistence.outgoingUpdate(client, packet)
    } catch (error) {
      // There was no room for it, or the client means a message of a session that is gone. It is sent all the same.
      if (reason(error) !== 'no such packet') throw error
    }
  }

  async outgoingClearMessageId(client: Client, packet: StoredPacket): Promise<StoredPacket | undefined> {
    if (packet.messageId === undefined) return undefined
    const cleared = await this.#persistence.outgoingClearMessageId(client, packet)
    if (cleared) this.#count(client.id, -1)
    return cleared
  }

  outgoingStream(client: Client): Readable {
    return this.#queued.has(client.id) ? this.#persistence.outgoingStream(client) : Readable.from([])
  }

  async incomingStorePacket(client: Client, packet: StoredPacket): Promise<void> {
    this.#incoming.add(client.id)
    // That it came is all that is asked later.
    await this.#persistence.incomingStorePacket(client, { ...packet, payload: Buffer.alloc(0) })
  }

  async incomingGetPacket(client: Client, packet: Identified): Promise<StoredPacket> {
    if (!this.#incoming.has(client.id)) throw new Error('no such packet')
    return this.#persistence.incomingGetPacket(client, packet)
  }

  /** Whether this message of QoS 2 was published before [MQTT-4.3.3-2]. */
  async hasIncoming(client: Client, packet: Identified): Promise<boolean> {
    try {
      await this.incomingGetPacket(client, packet)
      return true
    } catch (error) {
      if (reason(error) !== 'no such packet') throw error
      return false
    }
  }

  incomingDelPacket(client: Client, packet: StoredPacket): Promise<void> {
    return this.#persistence.incomingDelPacket(client, packet)
  }

  async cleanIncoming(client: Client): Promise<void> {
    if (this.#incoming.delete(client.id)) await this.#persistence.cleanIncoming(client)
  }

  putWill(client: Client, will: object): Promise<void> {
    return this.#persistence.putWill(client, will)
  }

  async delWill(client: Client): Promise<object | undefined> {
    try {
      return await this.#persistence.delWill(client)
    } catch (error) {
      // Aedes does not listen for this one either.
      this.#policy.failed(error)
      return undefined
    }
  }

  streamWill(brokers: object): Readable {
    return this.#persistence.streamWill(brokers)
  }

  /** Closes the database. Called once. */
  destroy(): Promise<void> {
    return this.#persistence.destroy()
  }

  #keep(subscription: KeptSubscription): void {
    const { clientId, topic, qos } = subscription
    const kept = this.#subscriptions.get(clientId) ?? new Map<string, KeptSubscription>()
    this.#subscriptions.set(clientId, kept.set(topic, subscription))
    // Messages for a subscription of QoS 0 are not kept for a client that is away.
    if (qos > 0) this.#index.add(subscription)
    else this.#index.remove(clientId, topic)
  }

  #hasRoom(clientId: string): boolean {
    if ((this.#queued.get(clientId) ?? 0) < this.#policy.maxQueued) return true
    this.#policy.dropped({ clientId }, 'maxQueued')
    return false
  }

  #count(clientId: string, by: number): void {
    const now = (this.#queued.get(clientId) ?? 0) + by
    if (now > 0) this.#queued.set(clientId, now)
    else this.#queued.delete(clientId)
  }

  /** The client of each entry of a kind, as the keys say it. */
  async #clientsWith(kind: string): Promise<readonly string[]> {
    const clients: string[] = []
    const distinct = kind !== 'outgoing'
    for await (const key of this.#level.keys({ gte: `${kind}:`, lt: `${kind};` })) {
      const id = decodeURIComponent(key.split(':', 2)[1] ?? '')
      if (!distinct || clients.at(-1) !== id) clients.push(id)
    }
    return clients
  }
}
