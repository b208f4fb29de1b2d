/** The sessions, retained messages and wills of several gateways, in one Redis; the gateways tell each other what changes there. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Readable } from 'node:stream'
import type { AedesPublishPacket } from 'aedes'
import type { SharedRedis } from '../../src/asgi/adapter.ts'
import type { Log } from '../../src/asgi/context.ts'
import { reason } from '../../src/runtime/errors.ts'
import { expiryInterval } from './away.ts'
import { forSubscriber } from './kept.ts'
import { SharedEmitter } from './redis-emitter.ts'
import { longestRetry, RedisLink } from './redis-link.ts'
import { RedisPersistence } from './redis-persistence.ts'
import { RedisOwners, type OwnersPolicy } from './redis-owners.ts'
import { RedisSessions } from './redis-sessions.ts'
import { RedisTalk, type TalkEmitter } from './redis-talk.ts'
import type { Subscription } from './session-index.ts'
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
/** Clients that are taken up again at once. */
const chunk = 500

/** A client of Aedes, of which more is used than its types have. */
export interface ConnectedClient extends WillClient {
  readonly clean: boolean
}

/** Aedes, as the store sees it. */
interface BrokerPart {
  readonly id: string
  readonly clients: Readonly<Record<string, ConnectedClient>>
  readonly mq: TalkEmitter
}
/** What there is once the broker is known. */
interface Opened extends Pick<BrokerPart, 'clients'> {
  readonly owners: RedisOwners
  readonly sessions: RedisSessions
}

export interface SharedPolicy extends StorePolicy, OwnersPolicy {
  /** Bytes of one message between gateways, topic and payload together. */
  readonly maxMessage: number
  /** Sends this client, if it is here, what waits in its session and was not sent. */
  catchUp(clientId: string, waiting: AsyncIterable<AedesPublishPacket>): Promise<void>
  /** What this client, which is here, is subscribed to. */
  granted(client: StoredClient): readonly Subscription[]
  /** Something in Redis is nothing that a gateway has written there. */
  rejected(why: string): void
}

/** What a broker is made of; `shared` are options of Aedes for one that is not alone. */
export interface BrokerParts {
  readonly store: Store
  readonly shared?: { readonly mq: SharedEmitter; readonly heartbeatInterval: number }
}

/** The store, and what Aedes is told beside. Nothing is connected before the store is set up. */
export function openRedisStore(
  address: SharedRedis,
  policy: SharedPolicy,
  log: Log,
): Required<BrokerParts> & { readonly store: RedisStore } {
  const rejected = (why: string) => policy.rejected(why)
  const link = new RedisLink(address, log, (error) => rejected(reason(error)))
  const mq = new SharedEmitter(link, { maxBytes: policy.maxMessage, rejected })
  return { store: new RedisStore(link, policy), shared: { mq, heartbeatInterval: link.heartbeat } }
}

export class RedisStore implements Store {
  readonly #link: RedisLink
  readonly #policy: SharedPolicy
  readonly #persistence: RedisPersistence
  readonly #wills: RedisWills
  #opened: Opened | undefined
  /** Its clients were given away, and are not all taken up again. */
  #lapsed = false
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
    const owners = new RedisOwners(this.#link, talk, { letGo, failed })
    this.#opened = { clients, owners, sessions: new RedisSessions(this.#link, talk, failed) }
    this.#wills.open(id)
    await this.#link.start({ up: (again) => this.#up(again), beat: () => this.#beat() })
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
    await this.#open.sessions.readAll()
    if (!again) return
    // All of them, before anything new comes.
    for (const client of Object.values(this.#open.clients)) if (!client.clean) void this.#deliverMissed(client)
  }

  /** A gateway that stood still for too long was taken for one that is gone: its clients were given away. */
  async #beat(): Promise<void> {
    const inTime = await this.#wills.beat()
    if (inTime && !this.#lapsed) return
    this.#lapsed = false
    try {
      // Answered when what the others said meanwhile was heard.
      await this.#link.subscriber.ping()
      await this.#restore()
    } catch (error) {
      this.#lapsed = true
      throw error
    }
  }

  /** Redis may have forgotten everything, or taken this gateway for one that is gone: it is told what the clients here have. */
  async #restore(): Promise<void> {
    const { owners } = this.#open
    const here = [...owners.clients]
    for (let start = 0; start < here.length; start += chunk) {
      const some = here.slice(start, start + chunk)
      await Promise.all(some.map((clientId) => owners.during(clientId, this.#restoreClient(clientId))))
    }
  }

  async #restoreClient(clientId: string): Promise<void> {
    const { clients, owners, sessions } = this.#open
    // It may have gone to another gateway while this one could not hear of it.
    if (!(await owners.keeps(clientId))) return
    const client = clients[clientId]
    if (!client || client.closed) return
    await this.#wills.restore(client)
    if (!client.clean) await sessions.restore(clientId, this.#policy.granted(client))
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
      const expired = await this.#open.sessions.expire(this.#policy.sessionExpiry)
      if (expired > 0) this.#policy.expired(expired)
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
    const stored = this.#open.sessions.add(client.id, added)
    this.#storing.set(subscriptions, stored)
    return stored
  }

  removeSubscriptions({ id }: StoredClient, filters: readonly string[]): Promise<void> {
    return this.#open.sessions.remove(id, filters)
  }

  subscriptionsByClient({ id }: StoredClient): Promise<readonly Subscription[]> {
    return this.#open.sessions.read(id)
  }

  async subscriptionsByTopic(topic: string): Promise<readonly { readonly clientId: string }[]> {
    // What came about elsewhere while Redis was away is not known before.
    if (!this.ready) await this.#link.whenReady()
    return this.#open.sessions.match(topic)
  }

  cleanSubscriptions({ id }: StoredClient): Promise<void> {
    return this.#open.sessions.forget(id)
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

  /** For one client alone. */
  outgoingEnqueue(to: { readonly clientId: string }, packet: StoredPacket): Promise<void> {
    return this.#inTurn(this.#enqueue([to], packet))
  }

  /** For subscribers. */
  outgoingEnqueueCombi(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void> {
    return this.#inTurn(this.#enqueueAll(to, forSubscriber(packet)))
  }

  /** Ends after those that began before: what is stored for nobody would overtake what is. */
  #inTurn(stored: Promise<void>): Promise<void> {
    const before = this.#enqueuing
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

  async outgoingClearMessageId(client: StoredClient, packet: Identified): Promise<void> {
    if (packet.messageId === undefined) return
    await this.#open.owners.during(client.id, this.#persistence.outgoingClearMessageId(client, packet))
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
