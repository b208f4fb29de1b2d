/** `layer`: which channel layer carries messages between scopes, and what it can be told. */
import { z } from 'zod'
import type { LayerOptions } from '../layers/limits.ts'
import type { Report } from './diagnostics.ts'
import { checkPemFile, checkPemPair } from './files.ts'
import { layerOptions } from './layer-options.ts'
import type { ConfigNode } from './nodes.ts'
import { redisSchema, redisSettings, type RedisSettings } from './redis-layer.ts'

/** Which channel layer, with its options. */
export type LayerSettings =
  | { readonly kind: 'memory'; readonly options: LayerOptions }
  | { readonly kind: 'redis'; readonly options: RedisSettings }

const maps = z
  .strictObject({
    memory: z.strictObject(layerOptions).optional().meta({ description: 'Within this process.' }),
    redis: redisSchema.optional().meta({ description: 'Between any number of processes, over Redis or Valkey.' }),
  })
  .refine((layers) => Object.keys(layers).length === 1, {
    error: 'expected one of memory, redis',
    // Of a key that is unknown enough is said already.
    when: ({ issues }) => issues.length === 0,
  })

/** `memory`, `redis`, or one of them with its options. */
export const layerSchema = z
  .union([z.enum(['memory', 'redis']), maps], 'expected one of memory, redis, or a map of one of them to its options')
  .default('memory')
  .transform((given): LayerSettings => {
    const layers = typeof given === 'string' ? maps.parse({ [given]: {} }) : given
    if (layers.redis) return { kind: 'redis', options: redisSettings(layers.redis) }
    return { kind: 'memory', options: layers.memory ?? {} }
  })

/** Reports the certificates that cannot be read or used. `node` is what the YAML says of the layer. */
export function checkLayerFiles(
  report: Report,
  base: string,
  { kind, options }: LayerSettings,
  node: ConfigNode,
): void {
  const files = kind === 'redis' && typeof options.tls === 'object' ? options.tls : {}
  const place = { node, path: ['layer'], setting: ['redis', 'tls'] }
  const { ca, cert, key } = files
  if (ca !== undefined) checkPemFile(report, base, ca, { ...place, setting: [...place.setting, 'ca'] })
  if (cert !== undefined && key !== undefined) checkPemPair(report, base, { cert, key }, place)
}
