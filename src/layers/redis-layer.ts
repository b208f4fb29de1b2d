/** The Redis layer for the package's face, which handlers import: what it is made of is loaded with the first that is opened. */
import type { RedisLayer as Opened } from './redis.ts'
import type { RedisLayerOptions } from './redis-options.ts'

export type RedisLayer = Opened

export const RedisLayer = {
  /** Resolves when Redis is there, or has not been for `connectTimeout`: then it goes on without, and connects when it can. */
  async open(options: RedisLayerOptions = {}): Promise<RedisLayer> {
    const { RedisLayer: Layer } = await import('./redis.ts')
    return await Layer.open(options)
  },
}
