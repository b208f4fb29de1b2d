/** The sessions and retained messages of the broker: aedes-persistence-level, put right where Aedes would lose messages. */
import { Readable } from 'node:stream'
import { hasCode, reason, SignalboxError } from '../../src/runtime/errors.ts'
import { AwayClients } from './away.ts'
import { freeIdentifier, hasIdentifier, takeIdentifier } from './identifiers.ts'
import { forSubscriber, fromSession, retainedFor } from './kept.ts'
import { MemoryLevel } from './memory-level.ts'
import { OrderedLevel, type Level } from './ordered-level.ts'
import type { Qos } from './scope.ts'
import { noSubscription, SessionIndex, type Subscription } from './session-index.ts'
import type { KeptSubscription } from './subscription-index.ts'
import { filterMatches, parseFilter } from './topic.ts'

export interface Identified {
  readonly messageId?: number | undefined
}
export interface StoredPacket extends Identified {
  readonly cmd?: string | undefined
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos?: Qos | undefined
  readonly retain?: boolean | undefined
  readonly dup?: boolean | undefined
  /** Which broker took it, and its number there. */
  readonly brokerId?: string | undefined
  readonly brokerCounter?: number | undefined
  /** Who published it, or who alone it is for. */
  readonly clientId?: string | undefined
}
export interface StoredClient {
  readonly id: string
}

/** What the broker asks of its store, beside what Aedes asks of its persistence. */
export interface Store {
  /** Whether clients can be served now. */
  readonly ready: boolean
  /** Aedes looks for this very function, and asks for the others by their names. */
  setup(broker: unknown): Promise<void>
  /** The message is sent to the client, under its packet identifier: it waits until it is acknowledged. */
  outgoingUpdate(client: StoredClient, packet: StoredPacket): Promise<void>
  /** Whether this message of QoS 2 was published before [MQTT-4.3.3-2]. */
  hasIncoming(client: StoredClient, packet: Identified): Promise<boolean>
  /** The client is about to be let in: resolves when it is nowhere else. Its session does not expire until `release`. */
  claim(clientId: string): Promise<void>
  /** The client is gone. */
  release(clientId: string): void
  /** Called once. */
  destroy(): Promise<void>
}

/** What is used of the persistence package, which has no types. */
interface Persistence {
  setup(broker: unknown): Promise<void>
  storeRetained(packet: StoredPacket): Promise<void>
  createRetainedStreamCombi(filters: readonly string[]): AsyncIterable<StoredPacket>
  addSubscriptions(client: StoredClient, subscriptions: readonly Subscription[]): Promise<void>
  removeSubscriptions(client: StoredClient, filters: readonly string[]): Promise<void>
  subscriptionsByClient(client: StoredClient): Promise<Subscription[]>
  outgoingEnqueue(to: { readonly clientId: string }, packet: StoredPacket): Promise<void>
  outgoingEnqueueCombi(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void>
  outgoingUpdate(client: StoredClient, packet: StoredPacket): Promise<void>
  outgoingClearMessageId(client: StoredClient, packet: StoredPacket): Promise<StoredPacket | undefined>
  outgoingStream(client: StoredClient): AsyncIterable<StoredPacket>
  incomingStorePacket(client: StoredClient, packet: StoredPacket): Promise<void>
  incomingGetPacket(client: StoredClient, packet: Identified): Promise<StoredPacket>
  incomingDelPacket(client: StoredClient, packet: StoredPacket): Promise<void>
  cleanIncoming(client: StoredClient): Promise<void>
  putWill(client: StoredClient, packet: object): Promise<void>
  delWill(client: StoredClient): Promise<object | undefined>
  streamWill(brokers: object): Readable
  destroy(): Promise<void>
}

/** What the store asks of the broker. */
export interface StorePolicy {
  /** Messages kept for a client that is away. */
  readonly maxQueued: number
  /** Whether this client may have this subscription. */
  mayKeep(client: StoredClient, subscription: Subscription): boolean
  /** Topics with a retained message. */
  readonly maxRetained: number
  /** How long the session of a client that is away is kept, in milliseconds. */
  readonly sessionExpiry: number
  /** So many sessions were deleted, because nobody took them up. */
  expired(sessions: number): void
  /** A message was not kept, because of this setting. */
  dropped(what: { readonly clientId: string } | { readonly topic: string }, setting: string): void
  failed(error: unknown): void
}

const nothing = Promise.resolve(undefined)
/** For Aedes to read: a stream that is empty would cost as much as all the rest of a connect. */
const noMessages: readonly StoredPacket[] = []

export const noSuchPacket = () => new Error('no such packet')
export const isNoSuchPacket = (error: unknown): boolean => reason(error) === noSuchPacket().message

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
export class SessionStore implements Store {
  readonly ready = true
  readonly #persistence: Persistence
  readonly #level: OrderedLevel
  readonly #policy: StorePolicy
  readonly #index = new SessionIndex()
  /** The clients with a session, which may be empty. */
  readonly #sessions = new Set<string>()
  /** How many messages wait for a client. */
  readonly #queued = new Map<string, number>()
  /** Clients with messages of QoS 2 that are not complete. */
  readonly #incoming = new Set<string>()
  /** Clients with a will. */
  readonly #wills = new Set<string>()
  /** Topics. */
  readonly #retained = new Set<string>()
  readonly #away: AwayClients
  /** The list of a SUBSCRIBE that is stored: Aedes stores it once for each of its filters. */
  readonly #storing = new WeakMap<object, Promise<void>>()

  constructor(persistence: Persistence, level: OrderedLevel, policy: StorePolicy) {
    this.#persistence = persistence
    this.#level = level
    this.#policy = policy
    const { sessionExpiry } = policy
    this.#away = new AwayClients(level, {
      sessionExpiry,
      forget: (clientId) => this.#forget(clientId),
      expired: (sessions) => policy.expired(sessions),
      failed: (error) => policy.failed(error),
    })
  }

  async setup(broker: unknown): Promise<void> {
    await this.#persistence.setup(broker)
    for (const id of await this.#clientsWith('subscriptions')) {
      this.#index.change({ clientId: id, added: await this.#persistence.subscriptionsByClient({ id }) })
    }
    for (const id of await this.#clientsWith('outgoing')) this.#count(id, 1)
    for (const id of await this.#clientsWith('incoming')) this.#incoming.add(id)
    for (const id of await this.#clientsWith('will')) this.#wills.add(id)
    for await (const key of this.#level.keys({ gte: 'retained:', lt: 'retained;' }))
      this.#retained.add(key.slice('retained:'.length))
    await this.#away.open(new Set([...this.#index.clients, ...this.#queued.keys(), ...this.#incoming]))
    for (const id of this.#away.clients) this.#sessions.add(id)
  }

  claim(clientId: string): Promise<void> {
    return this.#away.back(clientId)
  }

  release(clientId: string): void {
    if (this.#sessions.has(clientId)) this.#away.left(clientId)
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
    const stream = Readable.from(retainedFor(filters, this.#persistence.createRetainedStreamCombi(filters)))
    // Aedes pipes it without listening for errors: one more would end the process.
    stream.on('error', (error) => this.#policy.failed(error))
    return stream
  }

  addSubscriptions(client: StoredClient, subscriptions: readonly Subscription[]): Promise<void> {
    const before = this.#storing.get(subscriptions)
    if (before) return before
    // Aedes hands over the whole SUBSCRIBE, with what was refused.
    const granted = subscriptions.filter((subscription) => this.#policy.mayKeep(client, subscription))
    this.#index.change({ clientId: client.id, added: granted })
    const stored = this.#persistence.addSubscriptions(client, granted)
    this.#storing.set(subscriptions, stored)
    return stored
  }

  removeSubscriptions(client: StoredClient, filters: readonly string[]): Promise<void> {
    const known = this.#index.change({ clientId: client.id, removed: filters })
    return known.length > 0 ? this.#persistence.removeSubscriptions(client, known) : nothing
  }

  /** Of one that comes, and has a session from now on. */
  async subscriptionsByClient({ id }: StoredClient): Promise<readonly Subscription[]> {
    const isThere = this.#sessions.has(id)
    this.#sessions.add(id)
    const kept = this.#index.of(id)
    return isThere && kept.length === 0 ? [noSubscription] : kept
  }

  subscriptionsByTopic(topic: string): Promise<KeptSubscription[]> {
    return Promise.resolve(this.#index.match(topic))
  }

  cleanSubscriptions(client: StoredClient): Promise<void> {
    this.#sessions.delete(client.id)
    if (!this.#index.has(client.id)) return nothing
    const filters = this.#index.of(client.id).map(({ topic }) => topic)
    return this.removeSubscriptions(client, filters)
  }

  /** For one client alone. */
  outgoingEnqueue(to: { readonly clientId: string }, packet: StoredPacket): Promise<void> {
    return this.#enqueue([to], packet)
  }

  /** For subscribers. */
  outgoingEnqueueCombi(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void> {
    return to.length === 0 ? nothing : this.#enqueue(to, forSubscriber(packet))
  }

  async #enqueue(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void> {
    const kept = to.filter(({ clientId }) => this.#hasRoom(clientId))
    for (const { clientId } of kept) this.#count(clientId, 1)
    await this.#persistence.outgoingEnqueueCombi(kept, packet)
  }

  async outgoingUpdate(client: StoredClient, packet: StoredPacket): Promise<void> {
    // Of what was never sent nothing stands there; whoever acknowledges it over and over is not to keep the store busy.
    if (packet.cmd === 'pubrel' && !hasIdentifier(client, packet.messageId)) return
    takeIdentifier(client, packet.messageId)
    try {
      await this.#persistence.outgoingUpdate(client, packet)
    } catch (error) {
      // There was no room for it, or the client means a message of a session that is gone. It is sent all the same.
      if (!isNoSuchPacket(error)) throw error
    }
  }

  async outgoingClearMessageId(client: StoredClient, packet: StoredPacket): Promise<StoredPacket | undefined> {
    if (!hasIdentifier(client, packet.messageId)) return undefined
    freeIdentifier(client, packet.messageId)
    const cleared = await this.#persistence.outgoingClearMessageId(client, packet)
    if (cleared) this.#count(client.id, -1)
    return cleared
  }

  outgoingStream(client: StoredClient): AsyncIterable<StoredPacket> | readonly StoredPacket[] {
    return this.#queued.has(client.id) ? this.#waiting(client) : noMessages
  }

  async *#waiting(client: StoredClient): AsyncGenerator<StoredPacket> {
    for await (const packet of this.#persistence.outgoingStream(client)) yield fromSession(packet)
  }

  async incomingStorePacket(client: StoredClient, packet: StoredPacket): Promise<void> {
    this.#incoming.add(client.id)
    // That it came is all that is asked later.
    await this.#persistence.incomingStorePacket(client, { ...packet, payload: Buffer.alloc(0) })
  }

  async incomingGetPacket(client: StoredClient, packet: Identified): Promise<StoredPacket> {
    if (!this.#incoming.has(client.id)) throw noSuchPacket()
    return this.#persistence.incomingGetPacket(client, packet)
  }

  async hasIncoming(client: StoredClient, packet: Identified): Promise<boolean> {
    try {
      await this.incomingGetPacket(client, packet)
      return true
    } catch (error) {
      if (!isNoSuchPacket(error)) throw error
      return false
    }
  }

  incomingDelPacket(client: StoredClient, packet: StoredPacket): Promise<void> {
    return this.#persistence.incomingDelPacket(client, packet)
  }

  cleanIncoming(client: StoredClient): Promise<void> {
    return this.#incoming.delete(client.id) ? this.#persistence.cleanIncoming(client) : nothing
  }

  putWill(client: StoredClient, will: object): Promise<void> {
    this.#wills.add(client.id)
    return this.#persistence.putWill(client, will)
  }

  delWill(client: StoredClient): Promise<object | undefined> {
    // Aedes asks of every client that comes, and again of one that had a will.
    return this.#wills.delete(client.id) ? this.#deleteWill(client) : nothing
  }

  async #deleteWill(client: StoredClient): Promise<object | undefined> {
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

  destroy(): Promise<void> {
    this.#away.close()
    return this.#persistence.destroy()
  }

  /** What begins after this finds nothing: operations end in the order in which they began. */
  async #forget(id: string): Promise<void> {
    this.#queued.delete(id)
    const name = encodeURIComponent(id)
    const kinds = ['outgoing', 'outgoing-id'].map((kind) => `${kind}:${name}`)
    await Promise.all([
      this.cleanSubscriptions({ id }),
      this.cleanIncoming({ id }),
      ...kinds.map((start) => this.#level.clear({ gte: `${start}:`, lt: `${start};` })),
    ])
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
