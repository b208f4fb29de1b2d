/** accessLog: one line a scope, when it ends. */
import { z } from 'zod'
import type { Application } from '../asgi/protocol.ts'
import { hasCode } from '../runtime/errors.ts'
import { addressOf } from './address.ts'
import type { MiddlewareDefinition } from './definition.ts'

const options = z.strictObject({
  level: z.enum(['debug', 'info']).default('info').meta({ description: 'the level of its lines' }),
})

/**
 * Logs protocol, peer, method, address, what was answered last, and how long the scope lived in milliseconds. The lifespan is
 * nobody's access.
 */
export function accessLog(application: Application, { level }: z.output<typeof options>): Application {
  return async (scope, receive, send, context) => {
    if (scope.type === 'lifespan') return await application(scope, receive, send, context)
    const start = performance.now()
    let answer = ''
    let status: unknown
    const observed: typeof send = (event) => {
      answer = event.type
      status = Reflect.get(event, 'status') ?? Reflect.get(event, 'code') ?? status
      return send(event)
    }
    let failed = false
    try {
      await application(scope, receive, observed, context)
    } catch (error) {
      failed = !hasCode(error, 'no_route')
      throw error
    } finally {
      // Scope, protocol and client stand on each line of the scope.
      const fields = {
        method: Reflect.get(scope, 'method'),
        address: addressOf(scope),
        answer,
        status,
        failed,
        ms: Math.round(performance.now() - start),
      }
      context.log[level](fields, 'access')
    }
  }
}

export const accessLogDefinition: MiddlewareDefinition<z.output<typeof options>> = {
  name: 'accessLog',
  description: 'one log line a scope, when it ends',
  options,
  wrap: accessLog,
}
