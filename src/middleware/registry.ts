/** Every middleware that YAML may name without a file. */
import { accessLogDefinition } from './access-log.ts'
import { allowedHostsDefinition } from './allowed-hosts.ts'
import { allowedOriginsDefinition } from './allowed-origins.ts'
import type { MiddlewareDefinition } from './definition.ts'
import { deliveryDefinition } from './delivery.ts'
import { timeoutDefinition } from './timeout.ts'

export const builtinMiddleware: readonly MiddlewareDefinition[] = [
  accessLogDefinition,
  timeoutDefinition,
  deliveryDefinition,
  allowedHostsDefinition,
  allowedOriginsDefinition,
]
