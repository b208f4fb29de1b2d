/** The wills of connected clients in Redis, and which gateways are alive to publish them: one that is not has it done by another. */
import type { RedisLink } from './redis-link.ts'
import { ownerOf } from './redis-scripts.ts'
import type { Qos } from './scope.ts'

export interface Will {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  /** Of the client's connection. */
  readonly scope?: object
  clientId?: string
  brokerId?: string
  brokerCounter?: number
}
/** A client of Aedes. */
export interface WillClient {
  readonly id: string
  readonly closed: boolean
  readonly will: Will | null
}

export class RedisWills {
  readonly #link: RedisLink
  #brokerId = ''
  /** The connections whose wills are kept, by client. */
  readonly #owners = new Map<string, WillClient>()

  constructor(link: RedisLink) {
    this.#link = link
  }

  open(brokerId: string): void {
    this.#brokerId = brokerId
  }

  /** A sign of life; answers whether the one before still held, so that nobody took this gateway for one that is gone. */
  async beat(): Promise<boolean> {
    const id = this.#brokerId
    const [before] = await Promise.all([
      this.#link.commands.set(`alive:${id}`, '1', 'PX', this.#link.presenceTimeout, 'GET'),
      this.#link.commands.sadd('brokers', id),
    ])
    return before !== null
  }

  async put(client: WillClient, will: Will): Promise<void> {
    this.#owners.set(client.id, client)
    // Aedes looks at these when it publishes it.
    will.clientId = client.id
    will.brokerId = this.#brokerId
    await this.#write(client.id, will)
  }

  async restore({ id, will }: WillClient): Promise<void> {
    if (will) await this.#write(id, will)
  }

  /** The will was published, or is not to be; without `brokerId` it is of a connection before, of this client here. */
  async done({ id, brokerId = this.#brokerId }: { readonly id: string; readonly brokerId?: string }): Promise<void> {
    const owner = this.#owners.get(id)
    // The client has connected again meanwhile: this one is that connection's.
    if (brokerId === this.#brokerId && owner && !owner.closed) return
    if (brokerId === this.#brokerId) this.#owners.delete(id)
    await this.delete(brokerId, id)
  }

  async delete(brokerId: string, clientId: string): Promise<void> {
    await this.#link.commands.hdel(`wills:${brokerId}`, encodeURIComponent(clientId))
  }

  /** Those of gateways that are gone, and whose clients are nowhere else. */
  async *left(): AsyncGenerator<Will> {
    // After an outage the others need time to say that they are alive.
    if (this.#link.readyFor < this.#link.presenceTimeout) return
    const redis = this.#link.commands
    for (const broker of await redis.smembers('brokers')) {
      if (broker === this.#brokerId || (await redis.exists(`alive:${broker}`)) === 1) continue
      if (!(await this.#claim(broker))) continue
      await this.#sendAway(broker)
      const wills = Object.entries(await redis.hgetall(`wills:${broker}`))
      if (wills.length === 0) await redis.srem('brokers', broker)
      for (const [index, [name, text]] of wills.entries()) {
        const will = read(text)
        // A number that none of its messages had.
        const brokerCounter = Date.now() * 1000 + index
        const [owned, alive] = await Promise.all([redis.hexists('owners', name), redis.exists(`alive:${broker}`)])
        // It had only stood still.
        if (alive === 1) break
        if (will && owned === 0) yield { ...will, brokerId: broker, brokerCounter }
        else await redis.hdel(`wills:${broker}`, name)
      }
    }
  }

  /** Says that this gateway is gone for good, unless there is something left for others to do. */
  async close(): Promise<void> {
    const redis = this.#link.commands
    if ((await redis.hlen(`wills:${this.#brokerId}`)) > 0) return
    await Promise.all([redis.srem('brokers', this.#brokerId), redis.del(`alive:${this.#brokerId}`)])
  }

  /** Only one gateway publishes what another has left; when it is gone too, the next one does. */
  async #claim(broker: string): Promise<boolean> {
    const key = `claim:${broker}`
    const redis = this.#link.commands
    if ((await redis.set(key, this.#brokerId, 'PX', 4 * this.#link.presenceTimeout, 'NX')) === 'OK') return true
    return (await redis.get(key)) === this.#brokerId
  }

  /** The clients of a gateway that is gone are away from now on. */
  async #sendAway(broker: string): Promise<void> {
    const redis = this.#link.commands
    for await (const found of redis.hscanStream('owners', { count: 1000 })) {
      const entries = found as readonly string[]
      for (let index = 0; index < entries.length; index += 2) {
        const owner = ownerOf(entries[index + 1])
        if (owner?.broker === broker) await this.#link.scripts.sendAway(entries[index] as string, owner)
      }
    }
  }

  async #write(clientId: string, { topic, payload, qos, retain, scope }: Will): Promise<void> {
    const bytes = Buffer.from(payload).toString('base64')
    const text = JSON.stringify({ topic, payload: bytes, qos, retain, clientId, scope })
    await this.#link.commands.hset(`wills:${this.#brokerId}`, encodeURIComponent(clientId), text)
  }
}

/** Undefined for what no gateway of ours has written. */
function read(text: string): Will | undefined {
  try {
    const will = JSON.parse(text) as Omit<Will, 'payload'> & { readonly payload: string }
    return { ...will, payload: Buffer.from(will.payload, 'base64') }
  } catch {
    return undefined
  }
}
