/** `signalbox send websocket`: connects, says its messages, and prints what comes back until it is quiet. */
import { WebSocket } from 'ws'
import type { Client, ClientAnswer, ClientTarget } from '../../src/asgi/definition.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { addressText, reachable } from '../../src/runtime/options.ts'
import type { WebsocketOptions } from './options.ts'

export const client: Client = {
  async send([path, ...texts], options, target) {
    const quiet = Number(options['wait'] ?? 500)
    if (!path?.startsWith('/') || !Number.isFinite(quiet)) {
      throw new SignalboxError('bad_address', 'expected a path: signalbox send websocket /chat/ hello')
    }
    // The certificate names the public host, and this goes to the operator's own address: there is nobody else to ask for.
    const socket = new WebSocket(urlOf(target) + path, { rejectUnauthorized: false })
    const stop = () => socket.terminate()
    target.signal.addEventListener('abort', stop, { once: true })
    try {
      return await talk(socket, texts, quiet)
    } finally {
      target.signal.removeEventListener('abort', stop)
    }
  },
}

function urlOf({ options, http }: ClientTarget): string {
  const own = options as WebsocketOptions // parsed by this protocol's own schema
  const secure = (own.address ? own.tls : http.tls) !== undefined
  return `${secure ? 'wss' : 'ws'}://${addressText(reachable(own.address ?? http.address))}`
}

function talk(socket: WebSocket, texts: readonly string[], quiet: number): Promise<ClientAnswer> {
  const { promise, resolve } = Promise.withResolvers<ClientAnswer>()
  const lines: string[] = []
  let accepted = false
  let timer: NodeJS.Timeout | undefined
  const waitOn = () => {
    clearTimeout(timer)
    timer = setTimeout(() => socket.close(1000), quiet)
  }
  socket.on('open', () => {
    accepted = true
    for (const text of texts) socket.send(text)
    waitOn()
  })
  socket.on('message', (data, isBinary) => {
    const bytes = data as Buffer // what the default binaryType gives
    lines.push(isBinary ? `[${bytes.length} bytes]` : bytes.toString())
    waitOn()
  })
  socket.on('error', (error) => lines.push(error.message))
  socket.on('close', (code, reason) => {
    clearTimeout(timer)
    const fine = accepted && code === 1000
    if (accepted && !fine) lines.push(`closed: ${code} ${String(reason)}`.trimEnd())
    resolve({ positive: fine, text: lines.join('\n') })
  })
  return promise
}
