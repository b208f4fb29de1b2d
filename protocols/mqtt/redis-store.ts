/** The sessions, retained messages and wills of several gateways, in one Redis; the gateways tell each other what changes there. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Readable } from 'node:stream'
import type { AedesPublishPacket } from 'aedes'
import type { SharedRedis } from '../../src/asgi/adapter.ts'
import type { Log } from '../../src/asgi/context.ts'
import { reason } from '../../src/runtime/errors.ts'
import { expiryInterval } from './away.ts'
import { SharedEmitter } from './redis-emitter.ts'
import { longestRetry, RedisLink } from './redis-link.ts'
import { RedisPersistence } from './redis-persistence.ts'
import { RedisOwners, type OwnersPolicy } from './redis-owners.ts'
import { clientOf } from './redis-scripts.ts'
import { RedisTalk, type TalkEmitter } from './redis-talk.ts'
import type { Qos } from './scope.ts'
import { SessionIndex, type SessionChange, type Subscription } from './session-index.ts'
import { RedisWills, type Will, type WillClient } from './redis-wills.ts'
import {
  isNoSuchPacket,
  noSuchPacket,
  type Identified,
  type Store,
  type StoredClient,
  type StoredPacket,
  type StorePolicy,
} from './store.ts'

/** When Redis is back, nothing is published before the other gateways had time to come back as well; in milliseconds. */
const settleTime = 2 * longestRetry
/** Clients whose subscriptions are asked for at once. */
const chunk = 500

/** A client of Aedes, of which more is used than its types have. */
export interface ConnectedClient extends WillClient {
  readonly clean: boolean
  readonly subscriptions: Readonly<Record<string, { readonly qos: Qos }>>
}

/** Aedes, as the store sees it. */
interface BrokerPart {
  readonly id: string
  readonly clients: Readonly<Record<string, ConnectedClient>>
  readonly mq: TalkEmitter
}
/** What there is once the broker is known. */
interface Opened extends Pick<BrokerPart, 'clients'> {
  readonly talk: RedisTalk
  readonly owners: RedisOwners
}

export interface SharedPolicy extends StorePolicy, OwnersPolicy {
  /** Bytes of one message between gateways, topic and payload together. */
  readonly maxMessage: number
  /** Sends this client, if it is here, what waits in its session and was not sent. */
  catchUp(clientId: string, waiting: AsyncIterable<AedesPublishPacket>): Promise<void>
  /** Something in Redis is nothing that a gateway has written there. */
  rejected(why: string): void
}

/** What a broker is made of; `shared` are options of Aedes for one that is not alone. */
export interface BrokerParts {
  readonly store: Store
  readonly shared?: { readonly mq: SharedEmitter; readonly heartbeatInterval: number }
}

/** The store, and what Aedes is told beside. Nothing is connected before the store is set up. */
export function openRedisStore(address: SharedRedis, policy: SharedPolicy, log: Log): BrokerParts {
  const rejected = (why: string) => policy.rejected(why)
  const link = new RedisLink(address, log, (error) => rejected(reason(error)))
  const mq = new SharedEmitter(link, { maxBytes: policy.maxMessage, rejected })
  return { store: new RedisStore(link, policy), shared: { mq, heartbeatInterval: link.heartbeat } }
}

class RedisStore implements Store {
  readonly #link: RedisLink
  readonly #policy: SharedPolicy
  readonly #persistence: RedisPersistence
  readonly #wills: RedisWills
  /** Of all gateways. */
  #index = new SessionIndex()
  /** What was heard since it is being read anew. */
  #heard: SessionChange[] | undefined
  #opened: Opened | undefined
  #expiryTimer: NodeJS.Timeout | undefined
  /** The latest message to be stored for those who are away. */
  #enqueuing = Promise.resolve()
  /** The list of a SUBSCRIBE that is stored: Aedes stores it once for each of its filters. */
  readonly #storing = new WeakMap<object, Promise<void>>()

  constructor(link: RedisLink, policy: SharedPolicy) {
    this.#link = link
    this.#policy = policy
    this.#persistence = new RedisPersistence(link.commands, policy.sessionExpiry, (why) => policy.rejected(why))
    this.#wills = new RedisWills(link)
  }

  get ready(): boolean {
    return this.#link.ready
  }

  async setup(broker: unknown): Promise<void> {
    const { id, mq, clients } = broker as BrokerPart
    const failed = (error: unknown) => this.#failed(error)
    const talk = new RedisTalk(id, mq, failed)
    const letGo = (clientId: string) => this.#policy.letGo(clientId)
    this.#opened = { clients, talk, owners: new RedisOwners(this.#link, talk, { letGo, failed }) }
    this.#wills.open(id)
    talk.hear<SessionChange>('$SYS/+/sessions', (change, from) => {
      if (from !== id) this.#apply(change)
    })
    await this.#link.start({ up: (again) => this.#up(again), beat: () => this.#wills.beat() })
    this.#expiryTimer = setInterval(() => void this.#expire(), expiryInterval(this.#policy.sessionExpiry))
  }

  async claim(clientId: string): Promise<void> {
    const { owners } = this.#open
    const gone = await owners.claim(clientId)
    // The client is back before its will was published.
    if (gone !== undefined) await this.#wills.delete(gone, clientId)
  }

  release(clientId: string): void {
    this.#open.owners.release(clientId)
  }

  // Redis comes and goes.

  async #up(again: boolean): Promise<void> {
    await this.#wills.beat()
    if (again) {
      await this.#restore()
      // Until the others have come back as well, and have said what they have.
      await pause(settleTime, undefined, { ref: false })
    }
    await this.#readSessions()
    if (!again) return
    // All of them, before anything new comes.
    for (const client of Object.values(this.#open.clients)) if (!client.clean) void this.#deliverMissed(client)
  }

  async #readSessions(): Promise<void> {
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

  /** A Redis that forgot everything gets back what the clients that are here have. */
  async #restore(): Promise<void> {
    const { clients, owners } = this.#open
    for (const client of Object.values(clients)) {
      // It may have gone to another gateway while this one could not hear of it.
      if (!(await owners.keeps(client.id))) continue
      await this.#wills.restore(client)
      const subscriptions = Object.entries(client.subscriptions).map(([topic, { qos }]) => ({ topic, qos }))
      if (!client.clean && subscriptions.length > 0) await this.#write(client.id, subscriptions)
    }
  }

  /** What others published for a client that is here, while this gateway did not hear it. */
  async #deliverMissed(client: ConnectedClient): Promise<void> {
    try {
      await this.#policy.catchUp(client.id, this.outgoingStream(client))
    } catch (error) {
      this.#failed(error)
    }
  }

  async #expire(): Promise<void> {
    if (!this.ready) return
    try {
      const names = await this.#link.scripts.expire(this.#policy.sessionExpiry)
      for (const clientId of names.flatMap(clientOf)) await this.#changed({ clientId, removed: true })
      if (names.length > 0) this.#policy.expired(names.length)
    } catch (error) {
      this.#failed(error)
    }
  }

  // What Aedes asks for: subscriptions.

  addSubscriptions(client: StoredClient, subscriptions: readonly Subscription[]): Promise<void> {
    const before = this.#storing.get(subscriptions)
    if (before) return before
    // Aedes hands over the whole SUBSCRIBE, with what was refused.
    const added = subscriptions.filter((subscription) => this.#policy.mayKeep(client, subscription))
    const stored = this.#add(client.id, added)
    this.#storing.set(subscriptions, stored)
    return stored
  }

  async #add(clientId: string, subscriptions: readonly Subscription[]): Promise<void> {
    if (subscriptions.length === 0) return
    const added = subscriptions.map(({ topic, qos }) => ({ topic, qos }))
    await this.#write(clientId, added)
    await this.#changed({ clientId, added })
  }

  async removeSubscriptions({ id: clientId }: StoredClient, filters: readonly string[]): Promise<void> {
    await this.#link.scripts.removeSubscriptions(encodeURIComponent(clientId), filters)
    await this.#changed({ clientId, removed: filters })
  }

  async subscriptionsByClient({ id: clientId }: StoredClient): Promise<readonly Subscription[]> {
    const added = await this.#read(clientId)
    this.#apply({ clientId, removed: true })
    this.#apply({ clientId, added })
    return added
  }

  async subscriptionsByTopic(topic: string): Promise<readonly { readonly clientId: string }[]> {
    // What came about elsewhere while Redis was away is not known before.
    if (!this.ready) await this.#link.whenReady()
    return this.#index.match(topic)
  }

  async cleanSubscriptions({ id: clientId }: StoredClient): Promise<void> {
    const had = await this.#link.scripts.forget(encodeURIComponent(clientId))
    if (had) await this.#changed({ clientId, removed: true })
  }

  async #read(clientId: string): Promise<readonly Subscription[]> {
    const found = await this.#link.commands.hgetall(`subscriptions:${encodeURIComponent(clientId)}`)
    return Object.entries(found).map(([topic, qos]) => ({ topic, qos: Number(qos) as Qos }))
  }

  async #write(clientId: string, subscriptions: readonly Subscription[]): Promise<void> {
    const name = encodeURIComponent(clientId)
    const fields = subscriptions.flatMap(({ topic, qos }) => [topic, String(qos)])
    await Promise.all([
      this.#link.commands.hset(`subscriptions:${name}`, ...fields),
      this.#link.commands.sadd('clients', name),
    ])
  }

  /** Here, and everywhere else before a promise that it is so is kept. */
  async #changed(change: SessionChange): Promise<void> {
    this.#apply(change)
    const { talk } = this.#open
    await talk.tell(`$SYS/${talk.id}/sessions`, change)
  }

  #apply(change: SessionChange): void {
    this.#index.change(change)
    this.#heard?.push(change)
  }

  // Messages.

  async storeRetained(packet: StoredPacket): Promise<void> {
    const { topic, payload } = packet
    if (payload.length > 0) {
      const { count, has } = await this.#persistence.retained(topic)
      if (!has && count >= this.#policy.maxRetained) return this.#policy.dropped({ topic }, 'maxRetained')
    }
    await this.#persistence.storeRetained(packet)
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    const stream = this.#persistence.createRetainedStreamCombi(filters)
    // Aedes pipes it without listening for errors: one more would end the process.
    stream.on('error', (error) => this.#failed(error))
    return stream
  }

  outgoingEnqueue(to: { readonly clientId: string }, packet: StoredPacket): Promise<void> {
    return this.outgoingEnqueueCombi([to], packet)
  }

  /** Ends after those that began before: what is stored for nobody would overtake what is. */
  outgoingEnqueueCombi(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void> {
    const before = this.#enqueuing
    const stored = this.#enqueueAll(to, packet)
    const inTurn = Promise.all([stored, before.catch(() => undefined)]).then(() => undefined)
    this.#enqueuing = inTurn
    inTurn.catch(() => undefined)
    return inTurn
  }

  async #enqueueAll(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void> {
    if (to.length === 0) return
    const { generation } = this.#link
    await this.#enqueue(to, packet)
    if (generation === this.#link.generation) return
    // Redis was away meanwhile: there may be sessions that this gateway has not heard of.
    const done = new Set(to.map(({ clientId }) => clientId))
    const all = await this.subscriptionsByTopic(packet.topic)
    await this.#enqueueAll(
      all.filter(({ clientId }) => !done.has(clientId)),
      packet,
    )
  }

  async #enqueue(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void> {
    const kept = await Promise.all(to.map(({ clientId }) => this.#hasRoom(clientId)))
    await this.#persistence.outgoingEnqueueCombi(
      to.filter((_, index) => kept[index]),
      packet,
    )
  }

  async #hasRoom(clientId: string): Promise<boolean> {
    if ((await this.#persistence.queued(clientId)) < this.#policy.maxQueued) return true
    this.#policy.dropped({ clientId }, 'maxQueued')
    return false
  }

  async outgoingUpdate(client: StoredClient, packet: StoredPacket): Promise<void> {
    const { owners } = this.#open
    // It is with another gateway by now, which says what was sent.
    if (!owners.has(client.id)) return
    try {
      await owners.during(client.id, this.#persistence.outgoingUpdate(client, packet))
    } catch (error) {
      // There was no room for it, or the client means a message of a session that is gone. It is sent all the same.
      if (!isNoSuchPacket(error)) throw error
    }
  }

  async outgoingClearMessageId(client: StoredClient, packet: Identified): Promise<StoredPacket | undefined> {
    if (packet.messageId === undefined) return undefined
    return this.#open.owners.during(client.id, this.#persistence.outgoingClearMessageId(client, packet))
  }

  outgoingStream(client: StoredClient): Readable {
    return this.#persistence.outgoingStream(client)
  }

  incomingStorePacket(client: StoredClient, packet: Identified): Promise<void> {
    return this.#persistence.incomingStorePacket(client, packet)
  }

  /** Aedes asks only whether it is there. */
  async incomingGetPacket(client: StoredClient, packet: Identified): Promise<Identified> {
    if (!(await this.hasIncoming(client, packet))) throw noSuchPacket()
    return packet
  }

  hasIncoming(client: StoredClient, packet: Identified): Promise<boolean> {
    return this.#persistence.hasIncoming(client, packet)
  }

  incomingDelPacket(client: StoredClient, packet: Identified): Promise<void> {
    return this.#persistence.incomingDelPacket(client, packet)
  }

  cleanIncoming(client: StoredClient): Promise<void> {
    return this.#persistence.cleanIncoming(client)
  }

  // Wills.

  async putWill(client: WillClient, will: Will): Promise<void> {
    await this.#wills.put(client, will)
  }

  async delWill(client: StoredClient & { readonly brokerId?: string }): Promise<undefined> {
    try {
      await this.#wills.done(client)
    } catch (error) {
      // Aedes does not listen for this one either.
      this.#failed(error)
    }
    return undefined
  }

  /** Those of gateways that are gone. */
  streamWill(): AsyncIterable<Will> {
    return this.#wills.left()
  }

  async destroy(): Promise<void> {
    clearInterval(this.#expiryTimer)
    if (this.ready)
      await Promise.race([this.#wills.close(), pause(1000, undefined, { ref: false })]).catch((error) =>
        this.#failed(error),
      )
    this.#link.close()
  }

  get #open(): Opened {
    if (!this.#opened) throw new Error('the store was not set up')
    return this.#opened
  }

  #failed(error: unknown): void {
    if (!this.#link.closed) this.#policy.failed(error)
  }
}
