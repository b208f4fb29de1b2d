/** The connections to a Redis cluster: keys on their nodes, and sharded pub/sub, which only the node of the name carries. */
import type { RedisClientType, RedisClusterType } from '@redis/client'
import { reason } from '../runtime/errors.ts'
import { Answers } from './answers.ts'
import {
  type BlockingConnection,
  type LinkEvents,
  type Patience,
  type RedisLink,
  clientOptions,
  connectTimeout,
  deleteKeysOf,
  ignore,
  openBlocking,
  retryDelay,
} from './redis-link.ts'
import type { RedisLayerOptions } from './redis-options.ts'

export async function openClusterLink(
  options: RedisLayerOptions,
  events: LinkEvents,
  { answerTimeout, signal }: Patience,
): Promise<RedisLink> {
  const { createCluster } = await import('@redis/client')
  const { url, RESP, ...defaults } = clientOptions(options)
  const cluster = createCluster({
    rootNodes: [{ url: url as string, socket: { reconnectStrategy: false } }],
    defaults: {
      ...defaults,
      // Each node's connections are mended for themselves, so that the others go on; a silent one is a broken one.
      socket: { ...defaults.socket, reconnectStrategy: retryDelay, socketTimeout: answerTimeout },
      pingInterval: Math.ceil(answerTimeout / 2),
    },
    RESP,
    // A node that is gone has a successor soon: who it is, is asked when it was away for so long, in milliseconds.
    topologyRefreshOnReconnectionAttemptStrategy: 1000,
  } as never) as unknown as RedisClusterType
  const ended = AbortSignal.any([signal, AbortSignal.timeout(connectTimeout + answerTimeout)])
  const giveUp = () => destroy(cluster)
  cluster.on('error', events.onDown)
  cluster.on('node-error', (error: unknown) => {
    if (reason(error).startsWith('NOPERM ')) events.onRefused(error)
    else events.onDown(error)
  })
  ended.throwIfAborted()
  ended.addEventListener('abort', giveUp, { once: true })
  try {
    await cluster.connect()
    ended.throwIfAborted()
  } catch (error) {
    destroy(cluster)
    throw error
  } finally {
    ended.removeEventListener('abort', giveUp)
  }
  cluster.on('node-ready', () => events.onReady())
  // What was subscribed to on a node that lost it is subscribed to again from here.
  cluster.on('sharded-channel-moved-error', () => events.onReady())
  return new ClusterLink(cluster, events, answerTimeout)
}

/** A client that is destroyed before it has its connection gets it all the same. */
function destroy(cluster: RedisClusterType): void {
  const connecting = cluster.masters.flatMap(({ connectPromise, pubSub }) => [connectPromise, pubSub?.connectPromise])
  cluster.destroy()
  for (const each of connecting) each?.then((client) => client.destroy()).catch(ignore)
}

class ClusterLink implements RedisLink {
  readonly #cluster: RedisClusterType
  readonly #events: LinkEvents
  readonly #answerTimeout: number
  readonly #answers: Answers
  readonly #closed = new AbortController()

  constructor(cluster: RedisClusterType, events: LinkEvents, answerTimeout: number) {
    this.#cluster = cluster
    this.#events = events
    this.#answerTimeout = answerTimeout
    this.#answers = new Answers(answerTimeout, events.onLost)
  }

  get ready(): boolean {
    return this.#cluster.isOpen && this.#cluster.masters.some(({ client }) => client?.isReady)
  }

  command(key: string, args: readonly string[]): Promise<unknown> {
    return this.#answers.of(this.#cluster.sendCommand(key, false, [...args]))
  }

  publish(name: string, message: string): Promise<number> {
    return this.#answers.of(this.#cluster.sendCommand<number>(name, false, ['SPUBLISH', name, message]))
  }

  async subscribe(names: readonly string[]): Promise<void> {
    // Each name has a slot of its own.
    await Promise.all(names.map((name) => this.#cluster.sSubscribe(name, this.#onMessage, true)))
  }

  async unsubscribe(name: string): Promise<void> {
    await this.#cluster.sUnsubscribe(name, this.#onMessage, true)
  }

  /** Its clients ask by themselves. */
  probe(): void {}

  async block(key: string): Promise<BlockingConnection> {
    const node = await this.#cluster.getNodeClientForKey(key)
    return openBlocking(node, { answerTimeout: this.#answerTimeout, signal: this.#closed.signal })
  }

  async deleteKeys(patterns: readonly string[]): Promise<void> {
    for (const master of this.#cluster.masters) {
      const client = (await this.#cluster.nodeClient(master)) as RedisClientType
      for (const pattern of patterns) await deleteKeysOf(client, pattern)
    }
  }

  settled(): Promise<void> {
    return this.#answers.settled()
  }

  close(): void {
    this.#closed.abort(new Error('the link to Redis is closed'))
    this.#answers.close()
    destroy(this.#cluster)
  }

  readonly #onMessage = (payload: Buffer, name: Buffer): void => this.#events.onMessage(name.toString(), payload)
}
