/** Whether a middleware may stand where the YAML puts it. */
import type { MiddlewareDefinition } from '../middleware/definition.ts'
import type { Registry } from './registry.ts'

interface Spot {
  /** The scope types that come there. */
  readonly protocols: readonly string[]
  readonly registry: Registry
}

/** Why not, in words; undefined: it may. */
export function refusalOf(
  definition: MiddlewareDefinition,
  options: unknown,
  { protocols, registry }: Spot,
): string | undefined {
  const { name, protocols: own } = definition
  if (own && !protocols.every((protocol) => own.includes(protocol))) {
    return `found ${name}, which is for ${own.join(' and ')}, expected what takes ${protocols.join(', ')}`
  }
  const reached = registry.definitions.filter((known) => protocols.includes(known.name))
  return reached.map((protocol) => definition.refuse?.(options, protocol)).find((why) => why !== undefined)
}
