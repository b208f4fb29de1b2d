/** allowedOrigins: requests and sockets of a browser only from the pages that are named. */
import { z } from 'zod'
import type { Application } from '../asgi/protocol.ts'
import { headerOf } from './address.ts'
import type { MiddlewareDefinition } from './definition.ts'
import { refuse } from './refuse.ts'

const options = z.strictObject({
  origins: z.array(z.string().min(1)).min(1).meta({
    description: 'origins such as https://example.org, with the port where it is not the default; * takes every one',
  }),
  required: z
    .boolean()
    .default(false)
    .meta({ description: 'refuse peers that send no Origin: everything but browsers' }),
})

/** Another Origin (RFC 6454 7) gets 403. */
export function allowedOrigins(application: Application, { origins, required }: z.output<typeof options>): Application {
  const allowed = new Set(origins.map((origin) => origin.toLowerCase()))
  return async (scope, receive, send, context) => {
    const origin = headerOf(scope, 'origin')?.toLowerCase()
    const fine = origin === undefined ? !required : allowed.has('*') || allowed.has(origin)
    if (fine) return application(scope, receive, send, context)
    context.log.info({ origin }, 'refused: the origin is not allowed')
    await refuse(scope.type, 403, 'this origin is not allowed', { receive, send })
  }
}

export const allowedOriginsDefinition: MiddlewareDefinition<z.output<typeof options>> = {
  name: 'allowedOrigins',
  description: 'refuses requests and sockets from other origins',
  options,
  protocols: ['http', 'websocket'],
  wrap: allowedOrigins,
}
