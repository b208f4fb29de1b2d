/** `signalbox send http`: one request to a running gateway. */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Client } from '../../src/asgi/definition.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { https, request as httpRequest } from '../../src/runtime/node-http.ts'
import { reachable } from '../../src/runtime/options.ts'
import type { HttpOptions } from './options.ts'

export const client: Client = {
  async send([method, path], options, { options: parsed, signal }) {
    if (!method || !path?.startsWith('/')) {
      throw new SignalboxError(
        'bad_address',
        `expected a method and a path${path === undefined ? '' : `, found ${JSON.stringify(path)}`}: npx signalbox send http GET /temperature/kitchen`,
      )
    }
    const { address, tls } = parsed as HttpOptions // by this protocol's own schema
    const { host, port } = reachable(address)
    const body = options['body'] ?? ''
    const headers = { 'content-length': Buffer.byteLength(body), ...headerOf(options['header']) }
    const target = { host, port, method: method.toUpperCase(), path, headers, signal }
    // The certificate names the public host, and this goes to the operator's own address: there is nobody else to ask for.
    const request = tls ? https().request({ ...target, rejectUnauthorized: false }) : httpRequest(target)
    request.end(body)
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    const status = response.statusCode ?? 0
    return {
      positive: status >= 200 && status < 400,
      text: `${status} ${response.statusMessage}\n\n${await text(response)}`.trimEnd(),
    }
  },
}

function headerOf(line: string | undefined): Readonly<Record<string, string>> {
  if (!line) return {}
  const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(line) ?? []
  if (name === undefined || value === undefined) {
    throw new SignalboxError(
      'bad_address',
      `expected a header such as "accept: text/html", found ${JSON.stringify(line)}`,
    )
  }
  return { [name]: value }
}
