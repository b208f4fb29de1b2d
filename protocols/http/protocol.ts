/** HTTP as the registry holds it. */
import type { ProtocolDefinition } from '../../src/asgi/definition.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { requestTarget } from '../../src/runtime/http-message.ts'
import { urlRouterDefinition } from '../../src/routing/url-router.ts'
import { httpOptions, type HttpOptions } from './options.ts'
import type { HttpProtocol } from './scope.ts'

export const http: ProtocolDefinition<HttpProtocol, HttpOptions> = {
  name: 'http',
  options: httpOptions,
  routers: [urlRouterDefinition],
  load: () => import('./adapter.ts'),
  loadClient: () => import('./client.ts'),
  sendUsage: {
    arguments: [
      { name: 'method', description: 'such as GET or POST' },
      { name: 'path', description: 'with its query, such as /tickets/?limit=5' },
    ],
    options: [
      { name: 'body', value: 'text', description: 'the body of the request' },
      { name: 'header', value: 'line', description: 'one header more, such as "accept: text/html"' },
    ],
    example: 'npx signalbox send http GET /temperature/kitchen',
  },
  sampleScope(address) {
    const target = address.startsWith('/') ? requestTarget(address, '') : undefined
    if (!target) {
      throw new SignalboxError('bad_address', `expected a path such as /tickets/, found ${JSON.stringify(address)}`)
    }
    return {
      type: 'http',
      httpVersion: '1.1',
      method: 'GET',
      scheme: 'http',
      ...target,
      rootPath: '',
      headers: [],
      client: null,
      server: null,
    }
  },
}
