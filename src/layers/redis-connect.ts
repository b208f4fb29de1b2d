/** Opens the connections to Redis, as one server or as a cluster, whichever answers. */
import type { RedisClientType } from '@redis/client'
import { openClusterLink } from './redis-cluster-link.ts'
import { type LinkEvents, type RedisLink, attempt, clientOptions, defaultAnswerTimeout, ignore } from './redis-link.ts'
import type { RedisLayerOptions } from './redis-options.ts'
import { SingleLink } from './redis-single-link.ts'

/** Tries it once, and learns from the first contact whether the server is a cluster. */
export async function openLink(
  options: RedisLayerOptions,
  events: LinkEvents,
  signal: AbortSignal,
): Promise<RedisLink> {
  // Loaded when a layer is opened: a gateway without Redis does not pay for it.
  const { createClient } = await import('@redis/client')
  const client = createClient(clientOptions(options)) as RedisClientType
  client.on('error', ignore) // it is thrown here, and heard of by the link
  const patience = { answerTimeout: options.answerTimeout ?? defaultAnswerTimeout, signal }
  const cluster = await attempt(client, patience, async () => options.cluster ?? (await isCluster(client)))
  if (!cluster) return await SingleLink.open(client, events, patience)
  client.destroy()
  return await openClusterLink(options, events, patience)
}

async function isCluster(client: RedisClientType): Promise<boolean> {
  try {
    return (await client.sendCommand<string>(['INFO', 'cluster'])).includes('cluster_enabled:1')
  } catch {
    return false // not allowed to ask: then the option `cluster` must say it
  }
}
