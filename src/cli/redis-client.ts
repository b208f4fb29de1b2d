/** A Redis layer for one command: opened, used, closed; a Redis that is not there is an error at once. */
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Log } from '../asgi/context.ts'
import type { LayerSettings } from '../config/layer.ts'
import { loginText } from '../layers/redis-link.ts'
import { SignalboxError, reason } from '../runtime/errors.ts'
import { openLayer } from './layer.ts'

interface Where {
  /** Where the relative paths of the YAML start. */
  readonly base: string
  readonly signal: AbortSignal
}

/** @throws SignalboxError `send_failed` when Redis is not there, or does not let us in. */
export async function withRedis<T>(
  settings: LayerSettings,
  { base, signal }: Where,
  use: (layer: ChannelLayer) => Promise<T>,
): Promise<T> {
  const failed = Promise.withResolvers<never>()
  // For what comes when nobody waits any more.
  failed.promise.catch(() => undefined)
  signal.addEventListener('abort', () => failed.reject(signal.reason), { once: true })
  // A gateway would log it and go on within its process; here is nobody else.
  const log = firstError((error) => failed.reject(awayError(error)))
  const opening = openLayer(settings, { base, log })
  let layer: ChannelLayer
  try {
    layer = await Promise.race([opening, failed.promise])
  } catch (error) {
    opening.then((late) => late.close()).catch(() => undefined)
    throw error
  }
  try {
    return await Promise.race([use(layer), failed.promise])
  } finally {
    await layer.close()
  }
}

function awayError(error: unknown): SignalboxError {
  // Two loopback addresses that refuse make an error without a message.
  const words = loginText(error) ?? `Redis cannot be used: ${reason(error) || 'the connection is refused'}`
  return new SignalboxError('send_failed', words)
}

/** A log that says nothing, and tells of what was logged as an error. */
function firstError(tell: (error: unknown) => void): Log {
  const nothing = () => undefined
  const log: Log = {
    trace: nothing,
    debug: nothing,
    info: nothing,
    warn: nothing,
    error: (fields, message) => tell('err' in fields ? fields.err : message),
    child: () => log,
  }
  return log
}
