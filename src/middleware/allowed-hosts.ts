/** allowedHosts: requests and sockets only for the names that this gateway is known by. */
import { z } from 'zod'
import type { Application } from '../asgi/protocol.ts'
import { headerOf } from './address.ts'
import type { MiddlewareDefinition } from './definition.ts'
import { refuse } from './refuse.ts'

const options = z.strictObject({
  hosts: z
    .array(z.string().min(1))
    .min(1)
    .meta({ description: 'names without port, such as example.org, or *.example.org for all names below' }),
})

/** A Host header with another name, or none, gets 400 (WebSocket: 403): what DNS rebinding looks like. */
export function allowedHosts(application: Application, { hosts }: z.output<typeof options>): Application {
  const allowed = hosts.map((host) => host.toLowerCase())
  return async (scope, receive, send, context) => {
    const name = (headerOf(scope, 'host') ?? '').replace(/:\d+$/, '').toLowerCase()
    if (allowed.some((host) => matches(host, name))) return application(scope, receive, send, context)
    context.log.info({ host: name }, 'refused: the host is not allowed')
    await refuse(scope.type, 400, 'this host is not served here', { receive, send })
  }
}

function matches(host: string, name: string): boolean {
  return host.startsWith('*.') ? name.endsWith(host.slice(1)) && name.length > host.length - 1 : name === host
}

export const allowedHostsDefinition: MiddlewareDefinition<z.output<typeof options>> = {
  name: 'allowedHosts',
  description: 'refuses requests and sockets for other host names',
  options,
  protocols: ['http', 'websocket'],
  wrap: allowedHosts,
}
