/** delivery: when the peers of an application get their positive answer, and how often a stored event is tried. */
import { z } from 'zod'
import type { DeliveryOptions } from '../asgi/delivery.ts'
import type { Application, Protocol, Resolution, Step } from '../asgi/protocol.ts'
import { count, duration } from '../runtime/options.ts'
import type { MiddlewareDefinition } from './definition.ts'

export const deliveryModes = z.enum(['stored', 'handled', 'none']).meta({
  description: 'when the peer has its positive answer: the event is on disk (stored), is handled, or at once (none)',
})

export const deliveryOptions = z.strictObject({
  mode: deliveryModes.optional(),
  attempts: count(1, 100).optional().meta({ description: 'how often a stored event is tried, such as 5' }),
  backoff: duration()
    .optional()
    .meta({ description: 'how long before the second attempt, such as 1s; then twice as long' }),
  maxBackoff: duration().optional().meta({ description: 'the longest wait between two attempts, such as 5m' }),
  concurrency: count(1, 10_000).optional().meta({ description: 'how many stored events are handled at once' }),
  key: z.string().min(1).optional().meta({
    description: 'a param, or a field of the scope: stored events with the same value are handled one after the other',
  }),
})

/** It runs nothing: adapters and the journal ask for it, through `resolve`. What is said further inside counts first. */
export function delivery(application: Application, options: DeliveryOptions): Application {
  const { resolve } = application
  const said = application.bind(undefined)
  if (!resolve) return Object.assign(said, { delivery: { ...options, ...application.delivery } })
  const known = new WeakMap<DeliveryOptions, DeliveryOptions>()
  const merged = (inner: DeliveryOptions | undefined): DeliveryOptions => {
    if (!inner) return options
    const both = known.get(inner) ?? { ...options, ...inner }
    known.set(inner, both)
    return both
  }
  return Object.assign(said, {
    resolve(scope: Protocol['scope'], trace?: (step: Step) => void): Resolution | undefined {
      const resolution = resolve(scope, trace)
      return resolution && { ...resolution, delivery: merged(resolution.delivery) }
    },
  })
}

export const deliveryDefinition: MiddlewareDefinition<z.output<typeof deliveryOptions>> = {
  name: 'delivery',
  description: 'when the positive answer is given, and how often an event is tried',
  options: deliveryOptions,
  refuse({ mode }, { name, delivery: modes }) {
    if (!modes) return `${name} has no delivery to choose: its answers are the application's own`
    if (mode === undefined || modes.includes(mode)) return undefined
    return `found ${mode}, expected for ${name} ${modes.join(' or ')}`
  },
  wrap: delivery,
}
