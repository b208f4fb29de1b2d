/** Opens the connections to Redis, as one server or as a cluster, whichever answers. */
import type { RedisClientType } from '@redis/client'
import { openClusterLink } from './redis-cluster-link.ts'
import { type LinkEvents, type RedisLink, clientOptions, defaultAnswerTimeout } from './redis-link.ts'
import type { RedisLayerOptions } from './redis-options.ts'
import { SingleLink } from './redis-single-link.ts'

/** Waits for the first contact, for as long as it takes, and learns from it whether the server is a cluster. */
export async function openLink(
  options: RedisLayerOptions,
  events: LinkEvents,
  signal: AbortSignal,
): Promise<RedisLink> {
  // Loaded when a layer is opened: a gateway without Redis does not pay for it.
  const { createClient } = await import('@redis/client')
  const client = createClient(clientOptions(options)) as RedisClientType
  client.on('error', events.onDown)
  const giveUp = () => client.destroy()
  signal.addEventListener('abort', giveUp, { once: true })
  try {
    await client.connect()
    if (options.cluster ?? (await isCluster(client))) {
      client.destroy()
      return await openClusterLink(options, events, signal)
    }
    return await SingleLink.open(client, events, options.answerTimeout ?? defaultAnswerTimeout)
  } finally {
    signal.removeEventListener('abort', giveUp)
  }
}

export async function isCluster(client: RedisClientType): Promise<boolean> {
  try {
    return (await client.sendCommand<string>(['INFO', 'cluster'])).includes('cluster_enabled:1')
  } catch {
    return false // not allowed to ask: then the option `cluster` must say it
  }
}
