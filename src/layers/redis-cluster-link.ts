/** The connections to a Redis cluster: keys on their nodes, and sharded pub/sub, which only the node of the name carries. */
import type { RedisClientType, RedisClusterType } from '@redis/client'
import { Answers } from './answers.ts'
import {
  type BlockingConnection,
  type LinkEvents,
  type RedisLink,
  clientOptions,
  defaultAnswerTimeout,
  deleteKeysOf,
  ignore,
  openBlocking,
} from './redis-link.ts'
import type { RedisLayerOptions } from './redis-options.ts'

export async function openClusterLink(
  options: RedisLayerOptions,
  events: LinkEvents,
  signal: AbortSignal,
): Promise<RedisLink> {
  const { createCluster } = await import('@redis/client')
  const { url, RESP, ...defaults } = clientOptions(options)
  const cluster = createCluster({
    rootNodes: [{ url: url as string }],
    defaults,
    RESP,
    // A node that is gone has a successor soon: who it is, is asked when it was away for so long, in milliseconds.
    topologyRefreshOnReconnectionAttemptStrategy: 1000,
  } as never) as unknown as RedisClusterType
  const giveUp = () => cluster.destroy()
  cluster.on('error', events.onDown)
  cluster.on('node-error', events.onDown)
  signal.throwIfAborted()
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    await cluster.connect()
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
  cluster.on('node-ready', () => events.onReady())
  // What was subscribed to on a node that lost it is subscribed to again from here.
  cluster.on('sharded-channel-moved-error', () => events.onReady())
  return new ClusterLink(cluster, events, options.answerTimeout ?? defaultAnswerTimeout)
}

class ClusterLink implements RedisLink {
  readonly #cluster: RedisClusterType
  readonly #events: LinkEvents
  readonly #answers: Answers

  constructor(cluster: RedisClusterType, events: LinkEvents, answerTimeout: number) {
    this.#cluster = cluster
    this.#events = events
    this.#answers = new Answers(answerTimeout, events.onSilence)
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

  async block(key: string): Promise<BlockingConnection> {
    const node = await this.#cluster.getNodeClientForKey(key)
    const client = node.duplicate({ socket: { ...node.options.socket, reconnectStrategy: false } }) as RedisClientType
    client.on('error', ignore) // whoever waits on it is told by its command
    return openBlocking(client)
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
    this.#answers.close()
    this.#cluster.destroy()
  }

  readonly #onMessage = (payload: Buffer, name: Buffer): void => this.#events.onMessage(name.toString(), payload)
}
