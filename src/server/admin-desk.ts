/** Answers the requests of people and their tools: over TCP for who has the token, over a socket in the data folder for its owner. */
import { isUtf8 } from 'node:buffer'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Log } from '../asgi/context.ts'
import { SignalboxError, hasCode, isTemporary, reason } from '../runtime/errors.ts'
import { STATUS_CODES } from '../runtime/node-http.ts'
import type { Refused } from './admin-guard.ts'
import type { Answer, Place } from './admin-places.ts'

export interface AdminDeskParts {
  /** What it can be asked, beside each other. */
  readonly places: readonly Place[]
  readonly log: Log
  /** Bytes; a larger request is refused. */
  readonly maxBodySize: number
  /** Whether a probe that is refused is still told the status. */
  readonly probes: boolean
  /** Undefined: the caller may go on. */
  readonly refuse: (request: IncomingMessage) => Refused | undefined
}

export class AdminDesk {
  readonly #parts: AdminDeskParts

  constructor(parts: AdminDeskParts) {
    this.#parts = parts
  }

  /** Answers whatever comes. Never rejects. */
  async serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
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
    const { places, maxBodySize, probes, refuse } = this.#parts
    const refused = refuse(request)
    const [path = ''] = (request.url ?? '').split('?', 1)
    const place = places.find((known) => known.path.test(path))
    if (refused && !(place?.probed && probes)) return refused
    if (!place) return { status: 404, text: `There are ${places.map(({ shown }) => shown).join(', ')}` }
    const name = unescaped(place.path.exec(path)?.[1] ?? '')
    if (place.get && (request.method === 'GET' || request.method === 'HEAD')) {
      const answer = await place.get(name)
      // Whoever runs probes has no token to give; why it is not ready is for those who have.
      return refused ? { status: answer.status, text: STATUS_CODES[answer.status] ?? '' } : answer
    }
    if (refused) return refused
    if (!place.post || request.method !== 'POST') return notAllowed(place)
    // No form of a web page can have this type without asking first.
    if (!/^application\/json *(?:;|$)/i.test(request.headers['content-type'] ?? '')) {
      return { status: 415, text: 'Expected the header content-type: application/json' }
    }
    const body = await read(request, maxBodySize)
    if (body === 'too large') return { status: 413, text: `Expected at most ${maxBodySize} bytes` }
    return body && (await place.post(name, decoded(body)))
  }
}

function notAllowed({ get, post }: Place): Answer {
  const allow = [...(get ? ['GET', 'HEAD'] : []), ...(post ? ['POST'] : [])].join(', ')
  return { status: 405, text: `Expected ${allow}`, headers: { allow } }
}

/** What the layer says to what it was asked. */
function answerTo(error: unknown): Answer {
  const text = reason(error)
  if (hasCode(error, 'bad_name') || hasCode(error, 'bad_message')) return { status: 422, text }
  const later = isTemporary(error) || ['channel_full', 'send_failed'].some((code) => hasCode(error, code))
  return later ? { status: 503, text } : { status: 500, text: 'The gateway failed on this: see its log' }
}

/** What comes after the limit is not kept. Undefined: the caller has left. */
function read(request: IncomingMessage, limit: number): Promise<Buffer | 'too large' | undefined> {
  // A request that announces no body has had its end before anybody could listen for it.
  if (request.readableEnded) return Promise.resolve(Buffer.alloc(0))
  // Nor has one whose caller left before.
  if (request.destroyed) return Promise.resolve(undefined)
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
  const written = json ? JSON.stringify(text) : text
  const body = written.endsWith('\n') ? written : `${written}\n`
  response.writeHead(status, {
    'content-type': json ? 'application/json' : 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...headers,
  })
  response.end(body)
}
