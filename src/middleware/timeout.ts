/** timeout: a deadline for the handling of each event. */
import { z } from 'zod'
import type { Context } from '../asgi/context.ts'
import type { Application } from '../asgi/protocol.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { timeout as timeLimit } from '../runtime/options.ts'
import type { MiddlewareDefinition } from './definition.ts'

export const timeoutOptions = z.strictObject({
  after: timeLimit().meta({ description: 'how long an application may work on one event, such as 5s' }),
})

/**
 * From the moment an event is taken until the next one is asked for, or the application returns, at most `after`
 * milliseconds may pass. Then the scope's signal aborts and the application counts as raised with `timed_out`
 * (http: 503; websocket: close 1011; the others: the event failed).
 */
export function timeout(application: Application, { after }: z.output<typeof timeoutOptions>): Application {
  return async (scope, receive, send, context) => {
    const late = Promise.withResolvers<never>()
    const controller = new AbortController()
    let timer: NodeJS.Timeout | undefined
    const expire = () => {
      const error = new SignalboxError('timed_out', `the application worked on one event for more than ${after} ms`)
      controller.abort(error)
      late.reject(error)
    }
    const timed: typeof receive = async () => {
      clearTimeout(timer)
      const event = await receive()
      timer = setTimeout(expire, after)
      return event
    }
    const run = application(scope, timed, send, limited(context, controller.signal, after))
    try {
      await Promise.race([run, late.promise])
    } finally {
      clearTimeout(timer)
      // The application that lost the race is over for everybody: what it throws later is nobody's.
      run.catch(() => undefined)
    }
  }
}

function limited(context: Context, signal: AbortSignal, timeout: number): Context {
  let joined: AbortSignal | undefined
  return {
    get signal() {
      joined ??= AbortSignal.any([context.signal, signal])
      return joined
    },
    get channel() {
      return context.channel
    },
    layer: context.layer,
    log: context.log,
    routed: (route) => context.routed?.(route),
    timeout: Math.min(timeout, context.timeout ?? Infinity),
  }
}

export const timeoutDefinition: MiddlewareDefinition<z.output<typeof timeoutOptions>> = {
  name: 'timeout',
  description: 'a deadline for the handling of each event',
  options: timeoutOptions,
  wrap: timeout,
}
