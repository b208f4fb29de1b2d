/** `signalbox send websocket`: connects, says its messages, and prints what comes back until it is quiet. */
import { WebSocket } from 'ws'
import type { Client, ClientAnswer, ClientTarget } from '../../src/asgi/definition.ts'
import { SignalboxError, hasCode } from '../../src/runtime/errors.ts'
import { addressText, longestTimer, reachable } from '../../src/runtime/options.ts'
import type { WebsocketOptions } from './options.ts'

export const client: Client = {
  async send([path, ...texts], options, target) {
    const quiet = Number(options['wait'] ?? 500)
    if (!path?.startsWith('/')) {
      const found = path === undefined ? '' : `, found ${JSON.stringify(path)}`
      throw new SignalboxError('bad_address', `expected a path${found}: npx signalbox send websocket /chat/ hello`)
    }
    if (!(quiet >= 0 && quiet <= longestTimer)) {
      const found = JSON.stringify(options['wait'])
      throw new SignalboxError('bad_address', `--wait: found ${found}, expected milliseconds up to ${longestTimer}`)
    }
    // The certificate names the public host, and this goes to the operator's own address: there is nobody else to ask for.
    const socket = new WebSocket(urlOf(target) + path, { rejectUnauthorized: false })
    const stop = () => socket.terminate()
    target.signal.addEventListener('abort', stop, { once: true })
    try {
      return await talk(socket, texts, { quiet, target })
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

interface Talk {
  /** Milliseconds. */
  readonly quiet: number
  readonly target: ClientTarget
}

function talk(socket: WebSocket, texts: readonly string[], { quiet, target }: Talk): Promise<ClientAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<ClientAnswer>()
  const lines: string[] = []
  const print = target.print ?? ((line: string) => void lines.push(line))
  let accepted = false
  let timer: NodeJS.Timeout | undefined
  const waitOn = () => {
    clearTimeout(timer)
    timer = setTimeout(() => socket.close(1000), quiet)
  }
  socket.on('open', () => {
    accepted = true
    target.answered?.()
    for (const text of texts) socket.send(text)
    waitOn()
  })
  socket.on('message', (data, isBinary) => {
    const bytes = data as Buffer // what the default binaryType gives
    print(isBinary ? `[${bytes.length} bytes]` : bytes.toString())
    waitOn()
  })
  socket.on('error', (error) => {
    // Nobody answered: that is for the command to explain.
    if (hasCode(error, 'ECONNREFUSED')) reject(error)
    lines.push(error.message)
  })
  socket.on('close', (code, reason) => {
    clearTimeout(timer)
    const fine = accepted && code === 1000
    if (accepted && !fine) lines.push(`closed: ${code} ${String(reason)}`.trimEnd())
    resolve({ positive: fine, text: lines.join('\n') })
  })
  return promise
}
