/** The admin listener: sends to groups and channels for other programs, by plain HTTP and JSON. */
import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ListenAddress } from '../asgi/adapter.ts'
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Log } from '../asgi/context.ts'
import { checkName } from '../layers/names.ts'
import { SignalboxError, hasCode, reason } from '../runtime/errors.ts'
import { createHttpHost, type ListeningHttpHost } from '../runtime/http-host.ts'
import { addressText, isLoopback } from '../runtime/options.ts'
import { refuseCaller } from './admin-guard.ts'
import { parseMessage } from './message-text.ts'

export interface AdminOptions {
  readonly address: ListenAddress
  /** What callers must bring. Undefined: nothing, for a listener on loopback. */
  readonly token?: string
  /** Bytes; a larger request is refused. */
  readonly maxBodySize: number
}

interface AdminParts {
  readonly layer: ChannelLayer
  readonly log: Log
}

interface Answer {
  readonly status: number
  /** A sentence, or, as an object, JSON. */
  readonly text: string | object
  readonly headers?: Readonly<Record<string, string>>
}

/** Callers at a time: they are few, and one more is closed. */
const maxConnections = 100

/** What a path can be asked. `name` is the last part of it. */
interface Place {
  readonly path: RegExp
  readonly get?: (layer: ChannelLayer, name: string) => Promise<object>
  readonly post?: (layer: ChannelLayer, name: string, body: string) => Promise<object>
}

const places: readonly Place[] = [
  {
    path: /^\/groups\/([^/]+)$/,
    get: async (layer, name) => {
      checkName('group', name)
      const members = await layer.groupMembers(name)
      return { group: name, size: members.length, members }
    },
    post: async (layer, name, body) => ({ group: name, ...(await layer.groupSend(name, parseMessage(body))) }),
  },
  {
    path: /^\/channels\/([^/]+)$/,
    post: async (layer, name, body) => {
      await layer.send(name, parseMessage(body))
      return { channel: name, sent: true }
    },
  },
]

export class AdminListener {
  readonly #options: AdminOptions
  readonly #parts: AdminParts
  readonly #host: ListeningHttpHost

  /** @throws SignalboxError `listen_failed`. */
  static async start(options: AdminOptions, parts: AdminParts): Promise<AdminListener> {
    if (options.token === undefined && !isLoopback(options.address)) {
      const where = addressText(options.address)
      throw new SignalboxError('listen_failed', `the admin listener needs a token on ${where}, which is not loopback`)
    }
    const listener = new AdminListener(options, parts)
    await listener.#host.listen()
    return listener
  }

  private constructor(options: AdminOptions, parts: AdminParts) {
    this.#options = options
    this.#parts = parts
    this.#host = createHttpHost({ address: options.address, maxConnections }, '', parts.log)
    this.#host.onRequest(undefined, (request, response) => void this.#serve(request, response))
  }

  get url(): string {
    return this.#host.url
  }

  close(signal: AbortSignal): Promise<void> {
    return this.#host.close(signal)
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer | undefined
    try {
      answer = await this.#answer(request)
    } catch (error) {
      answer = answerTo(error)
      if (answer.status === 500) this.#parts.log.error({ err: error }, 'the admin listener failed on a request')
    }
    if (answer) write(response, answer)
  }

  /** Undefined when the caller has left in the middle of its request. */
  async #answer(request: IncomingMessage): Promise<Answer | undefined> {
    const { token, maxBodySize } = this.#options
    const refused = refuseCaller(request, token)
    if (refused) return refused
    const [path = ''] = (request.url ?? '').split('?', 1)
    const place = places.find((known) => known.path.test(path))
    if (!place) return { status: 404, text: 'There are /groups/NAME and /channels/NAME' }
    const name = unescaped(place.path.exec(path)?.[1] ?? '')
    const { layer } = this.#parts
    if (place.get && (request.method === 'GET' || request.method === 'HEAD')) return ok(await place.get(layer, name))
    if (!place.post || request.method !== 'POST') return notAllowed(place)
    // No form of a web page can have this type without asking first.
    if (!/^application\/json *(?:;|$)/i.test(request.headers['content-type'] ?? '')) {
      return { status: 415, text: 'Expected a message as content-type: application/json' }
    }
    const body = await read(request, maxBodySize)
    if (body === 'too large') return { status: 413, text: `Expected at most ${maxBodySize} bytes` }
    return body && ok(await place.post(layer, name, decoded(body)))
  }
}

const ok = (text: object): Answer => ({ status: 200, text })

function notAllowed({ get, post }: Place): Answer {
  const allow = [...(get ? ['GET', 'HEAD'] : []), ...(post ? ['POST'] : [])].join(', ')
  return { status: 405, text: `Expected ${allow}`, headers: { allow } }
}

/** What the layer says to what it was asked. */
function answerTo(error: unknown): Answer {
  const text = reason(error)
  if (hasCode(error, 'bad_name') || hasCode(error, 'bad_message')) return { status: 422, text }
  const later = ['channel_full', 'send_failed', 'closing'].some((code) => hasCode(error, code))
  return later ? { status: 503, text } : { status: 500, text: 'The gateway failed on this: see its log' }
}

/** What comes after the limit is not kept. Undefined: the caller has left. */
function read(request: IncomingMessage, limit: number): Promise<Buffer | 'too large' | undefined> {
  const { promise, resolve } = Promise.withResolvers<Buffer | 'too large' | undefined>()
  const chunks: Buffer[] = []
  let size = 0
  request.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size <= limit) chunks.push(chunk)
    else resolve('too large')
  })
  request.once('end', () => resolve(Buffer.concat(chunks)))
  request.once('close', () => resolve(undefined))
  return promise
}

/** @throws SignalboxError `bad_message`: what is no UTF-8 would be sent as something else. */
function decoded(body: Buffer): string {
  if (isUtf8(body)) return body.toString('utf8')
  throw new SignalboxError('bad_message', 'expected a message in UTF-8')
}

/** `!` may come as `%21`. What is malformed stays as it is, and is no name. */
function unescaped(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

function write(response: ServerResponse, { status, text, headers }: Answer): void {
  if (response.destroyed) return
  const json = typeof text === 'object'
  const body = `${json ? JSON.stringify(text) : text}\n`
  response.writeHead(status, {
    'content-type': json ? 'application/json' : 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  response.end(body)
}
