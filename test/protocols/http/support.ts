/** An HTTP listener on a free port around one application. */
import type { Listener } from '../../../src/asgi/adapter.ts'
import type { Application } from '../../../src/asgi/protocol.ts'
import { adapter } from '../../../protocols/http/adapter.ts'
import { httpOptions } from '../../../protocols/http/options.ts'
import type { HttpProtocol } from '../../../protocols/http/scope.ts'
import { createServices, type ServicesOptions, type TestServices } from '../../support/services.ts'

export type HttpApplication = Application<HttpProtocol>

export interface HttpServer extends AsyncDisposable {
  readonly url: string
  readonly listener: Listener
  readonly test: TestServices<HttpProtocol>
}

export async function serveHttp(
  application: HttpApplication,
  options: Readonly<Record<string, unknown>> = {},
  services: ServicesOptions = {},
): Promise<HttpServer> {
  const parsed = httpOptions.parse({ address: '127.0.0.1:0', ...options })
  const test = createServices(application, { ...services, http: parsed })
  const listener = await adapter.start(parsed, test.services)
  await test.listen()
  return {
    url: listener.urls[0] ?? '',
    listener,
    test,
    [Symbol.asyncDispose]: () => test.close(listener),
  }
}

/** An application that answers everything with this text. */
export function text(body: string, status = 200): HttpApplication {
  return async (_scope, _receive, send) => {
    await send({ type: 'http.response.start', status, headers: [['content-type', 'text/plain']] })
    await send({ type: 'http.response.body', body })
  }
}

/** Reads the whole body of the request. */
export async function readBody(receive: Parameters<HttpApplication>[1]): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for (;;) {
    const event = await receive()
    if (event.type !== 'http.request') throw new Error('the peer left before the end of its body')
    parts.push(event.body)
    if (!event.moreBody) return Buffer.concat(parts)
  }
}
