/** What waits for clients, and what is retained, in a Redis: aedes-persistence-redis, put right where it would lose messages. */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
// @ts-expect-error: the package has no types
import AsyncRedisPersistence from 'aedes-persistence-redis/asyncPersistence.js'
import type { Redis } from 'ioredis'
import { freeIdentifier, takeIdentifier } from './identifiers.ts'
import { fromSession, retainedFor } from './kept.ts'
import { noSuchPacket, type Identified, type StoredClient, type StoredPacket } from './store.ts'

/** What is used of the package. */
interface Inner {
  storeRetained(packet: StoredPacket): Promise<void>
  createRetainedStreamCombi(filters: readonly string[]): AsyncIterable<StoredPacket>
  outgoingEnqueueCombi(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void>
  outgoingUpdate(client: StoredClient, packet: Partial<StoredPacket>): Promise<void>
  outgoingStream(client: StoredClient): AsyncIterable<StoredPacket>
}

/** A client's own copy of a message, and how far the client has got with it. */
interface Copy {
  readonly brokerId: string
  readonly brokerCounter: number | undefined
  /** The client has received it, with QoS 2: what waits is PUBREL. */
  readonly released: boolean
}

/** A message is kept twice as long as a session that is away, and at least for a day: then nobody has forgotten to delete it. */
const leastExpiry = 86_400

export class RedisPersistence {
  readonly #redis: Redis
  readonly #inner: Inner
  readonly #rejected: (why: string) => void
  /**
   * What was sent to a client and is not acknowledged, by packet identifier. The package has one list for all clients, from which
   * that of a slow one is gone after many messages to others.
   */
  readonly #sent = new WeakMap<StoredClient, Map<number, Copy>>()

  /** `expiry`: of a session that is away, in milliseconds. `rejected` hears of what no gateway has written there. */
  constructor(redis: Redis, expiry: number, rejected: (why: string) => void) {
    this.#redis = redis
    this.#rejected = rejected
    const seconds = Math.max(leastExpiry, Math.ceil((2 * expiry) / 1000))
    this.#inner = new AsyncRedisPersistence({
      conn: redis,
      // Otherwise those beyond the first thousand would wait for another connect.
      maxSessionDelivery: 2 ** 31,
      packetTTL: () => seconds,
    }) as Inner
  }

  /** How many topics have a retained message, and whether this one has. */
  async retained(topic: string): Promise<{ readonly count: number; readonly has: boolean }> {
    const [count, has] = await Promise.all([this.#redis.hlen('retained'), this.#redis.hexists('retained', topic)])
    return { count, has: has === 1 }
  }

  storeRetained(packet: StoredPacket): Promise<void> {
    return this.#inner.storeRetained(packet)
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    // A scan of Redis may find something twice.
    return Readable.from(retainedFor(filters, this.#packets(this.#inner.createRetainedStreamCombi(filters))))
  }

  /** How many messages wait for this client. */
  queued(clientId: string): Promise<number> {
    return this.#redis.llen(`outgoing:${encodeURIComponent(clientId)}`)
  }

  async outgoingEnqueueCombi(to: readonly { readonly clientId: string }[], packet: StoredPacket): Promise<void> {
    await Promise.all(to.map((one) => this.#inner.outgoingEnqueueCombi([one], ownCopy(one.clientId, packet))))
  }

  /** @throws Error `no such packet`. */
  async outgoingUpdate(client: StoredClient, packet: StoredPacket): Promise<void> {
    const { cmd, messageId } = packet
    takeIdentifier(client, messageId)
    const released = cmd === 'pubrel'
    const copy = copyOf(client.id, packet) ?? (released ? this.#sentTo(client).get(messageId ?? 0) : undefined)
    if (copy === undefined) throw noSuchPacket()
    const { brokerId, brokerCounter } = copy
    // The package would write what nobody is going to delete.
    if ((await this.#redis.exists(`packet:${brokerId}:${brokerCounter}`)) === 0) throw noSuchPacket()
    await this.#inner.outgoingUpdate(
      client,
      released ? { cmd, messageId, brokerId, brokerCounter } : ownCopy(client.id, packet),
    )
    if (messageId !== undefined) this.#sentTo(client).set(messageId, { ...copy, released })
    if (released) await this.#keepReleased(client, copy)
  }

  /** When Redis crashes the package may have taken the message from the list, and not put the PUBREL there. */
  async #keepReleased(client: StoredClient, { brokerId, brokerCounter }: Copy): Promise<void> {
    const list = `outgoing:${encodeURIComponent(client.id)}`
    const script = `if not redis.call('LPOS', KEYS[1], ARGV[1]) then redis.call('RPUSH', KEYS[1], ARGV[1]) end`
    await this.#redis.eval(script, 1, list, `${list}:${brokerId}:${brokerCounter}`)
  }

  /** Nothing happens for an identifier that nothing was sent under. */
  async outgoingClearMessageId(client: StoredClient, { messageId = 0 }: Identified): Promise<void> {
    freeIdentifier(client, messageId)
    const sent = this.#sentTo(client)
    const copy = sent.get(messageId)
    if (copy === undefined) return
    sent.delete(messageId)
    const list = `outgoing:${encodeURIComponent(client.id)}`
    const name = `${copy.brokerId}:${copy.brokerCounter}`
    const kept = `packet:${name}`
    await Promise.all([
      this.#redis.lrem(list, 0, kept),
      copy.released && this.#redis.lrem(list, 0, `${list}:${name}`),
      this.#redis.del(kept, `${kept}:offlineCount`, `${list}:${name}`),
    ])
  }

  #sentTo(client: StoredClient): Map<number, Copy> {
    const sent = this.#sent.get(client) ?? new Map<number, Copy>()
    this.#sent.set(client, sent)
    return sent
  }

  outgoingStream(client: StoredClient): Readable {
    return Readable.from(this.#waiting(client))
  }

  /** First what the client has received and not released: the package puts it behind what it was sent before. */
  async *#waiting(client: StoredClient): AsyncGenerator<StoredPacket> {
    const keys = await this.#redis.lrange(`outgoing:${encodeURIComponent(client.id)}`, 0, -1)
    const received = keys.some((key) => key.startsWith('outgoing:'))
    for (const released of received ? [true, false] : [false]) {
      // A Redis that crashes may be told twice to keep one.
      const seen = new Set<string>()
      for await (const packet of this.#packets(this.#inner.outgoingStream(client))) {
        const name = `${packet.brokerId} ${packet.brokerCounter}`
        if ((packet.cmd === 'pubrel') === released && !seen.has(name)) yield fromSession(unmarked(packet))
        seen.add(name)
      }
    }
  }

  /** Aedes trusts what it reads. */
  async *#packets(found: AsyncIterable<StoredPacket>): AsyncGenerator<StoredPacket> {
    for await (const packet of found) {
      if (isPacket(packet)) yield packet
      else this.#rejected('what is kept there is no packet')
    }
  }

  /** That a message of QoS 2 came is all that is asked later. */
  async incomingStorePacket(client: StoredClient, { messageId = 0 }: Identified): Promise<void> {
    await this.#redis.hset(`incoming:${encodeURIComponent(client.id)}`, String(messageId), '1')
  }

  async hasIncoming(client: StoredClient, { messageId = 0 }: Identified): Promise<boolean> {
    return (await this.#redis.hexists(`incoming:${encodeURIComponent(client.id)}`, String(messageId))) === 1
  }

  async incomingDelPacket(client: StoredClient, { messageId = 0 }: Identified): Promise<void> {
    await this.#redis.hdel(`incoming:${encodeURIComponent(client.id)}`, String(messageId))
  }

  async cleanIncoming(client: StoredClient): Promise<void> {
    await this.#redis.del(`incoming:${encodeURIComponent(client.id)}`)
  }
}

/**
 * The package keeps one copy of a message for all that wait for it, with the packet identifier of the client that got it last:
 * another would get it under an identifier that is in use there. So each client has a copy of its own, under a name of its own.
 */
function ownCopy(clientId: string, packet: StoredPacket): StoredPacket {
  const { brokerId, brokerCounter, cmd, topic, payload, qos, retain, messageId, clientId: publisher } = packet
  const name = brokerId && brokerId + markOf(clientId)
  return { brokerId: name, brokerCounter, cmd, topic, payload, qos, retain, messageId, clientId: publisher }
}

/** Undefined for what says only under which identifier it was sent: PUBREL. */
function copyOf(clientId: string, { brokerId, brokerCounter }: StoredPacket): Copy | undefined {
  return brokerId ? { brokerId: brokerId + markOf(clientId), brokerCounter, released: false } : undefined
}

/** No broker's name has a dot in it. */
const markOf = (clientId: string): string => `.${createHash('sha1').update(clientId).digest('base64url')}`

/** As it was before `ownCopy`. */
function unmarked(packet: StoredPacket): StoredPacket {
  return { ...packet, brokerId: packet.brokerId?.split('.', 1)[0] }
}

function isPacket(found: unknown): boolean {
  if (typeof found !== 'object' || found === null) return false
  const { cmd, topic, payload, messageId } = found as Partial<StoredPacket>
  if (cmd === 'pubrel') return typeof messageId === 'number'
  return typeof topic === 'string' && Buffer.isBuffer(payload)
}
