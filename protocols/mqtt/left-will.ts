/** The will of a client whose gateway is gone without a word: the application of the gateway that publishes it gets it. */
import type { PublishPacket } from 'aedes'
import type { Unrouted } from '../../src/asgi/adapter.ts'
import { Instances } from './instances.ts'
import type { MqttScope } from './scope.ts'
import type { SlotOptions } from './slot.ts'

type Scope = Unrouted<MqttScope>

/** Whose will it is, is kept with it. */
export function keepScope(will: object, scope: Scope): void {
  Object.assign(will, { scope })
}

/**
 * `done` is called when the application has it, as one of a client that is here would; at once when it was kept without a scope.
 */
export function handLeftWill(will: PublishPacket, options: Omit<SlotOptions, 'close'>, done: () => void): void {
  const { scope } = will as { readonly scope?: unknown }
  if (!isScope(scope)) return done()
  const { topic, payload, qos, retain } = will
  const bytes = new Uint8Array(typeof payload === 'string' ? Buffer.from(payload) : payload)
  // There is no connection to close.
  const instances = new Instances(scope, { ...options, close: () => undefined })
  const event = { type: 'mqtt.publish', topic, payload: bytes, qos, retain, dup: false, params: {} } as const
  instances.publish(event, { done: () => done(), isWill: true })
  void instances.end('closed')
}

/** Anybody who may write to Redis may have put something else there. */
function isScope(found: unknown): found is Scope {
  if (typeof found !== 'object' || found === null) return false
  const { type, clientId, username } = found as Partial<Scope>
  return type === 'mqtt' && typeof clientId === 'string' && typeof username === 'string'
}
