/** The channel layer that a YAML asks for, opened: the one place that knows which there are. */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { SharedRedis } from '../asgi/adapter.ts'
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Log } from '../asgi/context.ts'
import type { LayerSettings } from '../config/layer.ts'
import type { LayerTlsFiles } from '../config/redis-layer.ts'
import type { DeadLetter } from '../layers/limits.ts'
import { MemoryLayer } from '../layers/memory.ts'
import type { RedisTlsOptions } from '../layers/redis-options.ts'

export interface LayerParts {
  /** Where the relative paths of the YAML start. */
  readonly base: string
  readonly log: Log
  /** Told of each message of a named channel that is given up, when that is logged. */
  readonly onDeadLetter?: (letter: DeadLetter) => void
}

/** A Redis that is not there is waited for, for a moment, and then done without until it comes. */
export async function openLayer(settings: LayerSettings, parts: LayerParts): Promise<ChannelLayer> {
  const { base, log, onDeadLetter = () => undefined } = parts
  if (settings.kind === 'memory') {
    const give = (letter: DeadLetter) => {
      const { channel, attempts, reason, error } = letter
      log.error({ channel, attempts, reason, error }, `a message of channel ${channel} is a dead letter`)
      onDeadLetter(letter)
    }
    return new MemoryLayer({ ...settings.options, onDeadLetter: give })
  }
  const { tls, ...options } = settings.options
  const files = typeof tls === 'object' ? await read(tls, base) : tls
  // Loaded only when the YAML names it.
  const { RedisLayer } = await import('../layers/redis.ts')
  return await RedisLayer.open({ ...options, ...(files !== undefined && { tls: files }), log, onDeadLetter })
}

/**
 * The Redis that a YAML's layer is on, for the protocols that share something there; undefined: it names none. What the layer has
 * `waited` for it, in milliseconds, they need not wait again: it is one start.
 */
export async function sharedRedis(
  settings: LayerSettings,
  base: string,
  waited: number,
): Promise<SharedRedis | undefined> {
  if (settings.kind === 'memory') return undefined
  const { url = 'redis://127.0.0.1:6379', prefix = 'signalbox', tls, ...options } = settings.options
  const { username, password, database, cluster, connectTimeout = 5000, answerTimeout, presenceTimeout } = options
  const files = typeof tls === 'object' ? await read(tls, base) : tls
  const place = { url, username, password, database, tls: files, prefix, cluster }
  const left = Math.max(1, Math.floor(connectTimeout - waited))
  return { ...place, connectTimeout: left, answerTimeout, presenceTimeout }
}

async function read({ servername, ...files }: LayerTlsFiles, base: string): Promise<RedisTlsOptions> {
  const texts = Object.entries(files).map(
    async ([key, file]) => [key, await readFile(path.resolve(base, file))] as const,
  )
  return { ...Object.fromEntries(await Promise.all(texts)), ...(servername !== undefined && { servername }) }
}
