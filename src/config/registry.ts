/** What a YAML file may name: handed in, because the parts that know protocols stand above this folder. */
import type { ProtocolDefinition } from '../asgi/definition.ts'
import type { RouterDefinition } from '../asgi/router.ts'
import type { MiddlewareDefinition } from '../middleware/definition.ts'

export interface Registry {
  readonly definitions: readonly ProtocolDefinition[]
  /** Routers beside those of the protocols, such as ChannelNameRouter. */
  readonly routers: readonly RouterDefinition[]
  readonly middleware: readonly MiddlewareDefinition[]
}

/** The scope types that ProtocolTypeRouter knows beside the protocols. */
const ownTypes = ['channel', 'lifespan']

/** What ProtocolTypeRouter may have as keys. */
export function scopeTypes({ definitions }: Registry): readonly string[] {
  return [...definitions.map(({ name }) => name), ...ownTypes]
}

/** Every router, each once. */
export function routersOf({ definitions, routers }: Registry): readonly RouterDefinition[] {
  return [...new Set([...definitions.flatMap((definition) => definition.routers), ...routers])]
}
