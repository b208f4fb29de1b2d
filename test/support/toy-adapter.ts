/** The adapter of the toy http: answers which rule takes a path, and does what its path says to the process. */
import type { Adapter } from '../../src/asgi/adapter.ts'

export const adapter: Adapter = {
  start(_options, services) {
    const host = services.httpHost()
    let late: NodeJS.Timeout | undefined
    host.onRequest(undefined, (request, response) => {
      const path = request.url ?? '/'
      if (path === '/throw')
        setImmediate(() => {
          throw new Error('thrown where nobody catches')
        })
      if (path === '/reject') void Promise.reject(new Error('rejected where nobody catches'))
      if (path === '/hollow')
        setImmediate(() => {
          throw Object.create(null)
        })
      if (path === '/hang') late = setTimeout(() => undefined, 60_000)
      const scope = { type: 'http', client: null, server: null, path, rootPath: '' }
      const found = services.resolve(scope)
      response.end(found ? 'a rule takes it\n' : 'no rule takes it\n')
    })
    return Promise.resolve({
      get urls() {
        return [host.url]
      },
      example: { address: '/', command: (path) => `curl ${host.url}${path}` },
      connections: 0,
      // Somebody is still there: only the end of the drain, or a second signal, ends it.
      close: async (signal: AbortSignal) => {
        if (late) await new Promise((resolve) => signal.addEventListener('abort', resolve))
        clearTimeout(late)
      },
    })
  },
}
