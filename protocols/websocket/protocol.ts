/** WebSocket as the registry holds it. */
import type { ProtocolDefinition } from '../../src/asgi/definition.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { requestTarget } from '../../src/runtime/http-message.ts'
import { urlRouterDefinition } from '../../src/routing/url-router.ts'
import { websocketOptions, type WebsocketOptions } from './options.ts'
import type { WebsocketProtocol } from './scope.ts'

export const websocket: ProtocolDefinition<WebsocketProtocol, WebsocketOptions> = {
  name: 'websocket',
  options: websocketOptions,
  routers: [urlRouterDefinition],
  load: () => import('./adapter.ts'),
  loadClient: () => import('./client.ts'),
  sendUsage: {
    arguments: [
      { name: 'path', description: 'such as /chat/' },
      { name: 'text...', description: 'messages, sent one after the other', optional: true },
    ],
    options: [
      { name: 'wait', value: 'milliseconds', description: 'how long to wait for each further message (default 500)' },
    ],
    example: 'npx signalbox send websocket /chat/ hello',
  },
  sampleScope(address) {
    const target = address.startsWith('/') ? requestTarget(address, '') : undefined
    if (!target) {
      throw new SignalboxError('bad_address', `expected a path such as /chat/, found ${JSON.stringify(address)}`)
    }
    return {
      type: 'websocket',
      httpVersion: '1.1',
      scheme: 'ws',
      ...target,
      rootPath: '',
      headers: [],
      subprotocols: [],
      client: null,
      server: null,
    }
  },
  refuseProcesses: (_, { redis }) =>
    redis
      ? undefined
      : 'the groups of WebSocket consumers have members in every process, which the memory layer does not reach: write layer: { redis: { url: … } }',
}
