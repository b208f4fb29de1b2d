/** One request of the provider's: read within its limits, its signature checked, and turned into parameters. */
import type { IncomingMessage } from 'node:http'
import { reason } from '../../src/runtime/errors.ts'
import { bodyLength } from '../../src/runtime/http-message.ts'
import { type Answer, sentence } from './answer.ts'
import type { FormReader, Parameters } from './form.ts'
import { hasSigned } from './signature.ts'

export interface WebhookRules {
  /** The URL that the provider was told to call, without a query. */
  readonly url: string
  readonly tokens: readonly string[]
  readonly forms: FormReader
  readonly maxBodySize: number
  readonly bodyTimeout: number
}

export type Received =
  | { readonly parameters: Parameters }
  /** What to answer instead. */
  | { readonly refusal: Answer }
  /** What to answer before the body has come to its end: the connection is of no more use. */
  | { readonly cut: 408 | 413 }
  /** The peer went before it had said all. */
  | { readonly gone: true }

/** Reads and checks a request, and says once what it is; never throws. Nothing of it is believed before its signature is. */
export function receive(request: IncomingMessage, rules: WebhookRules, received: (what: Received) => void): void {
  const refusal = refuseByHead(request)
  if (refusal) received({ refusal })
  else readBody(request, rules, (body) => received(judge(request, body, rules)))
}

type Body = Buffer | 'gone' | 408 | 413

const empty = Buffer.alloc(0)

function judge(request: IncomingMessage, body: Body, rules: WebhookRules): Received {
  if (body === 'gone') return { gone: true }
  if (body === 408 || body === 413) return { cut: body }
  let parameters: Parameters
  try {
    parameters = rules.forms.read(body)
  } catch (error) {
    return { refusal: sentence(400, `The body cannot be read: ${reason(error)}.`) }
  }
  if (!isSigned(request, parameters, rules)) return { refusal: sentence(403, 'The signature does not match.') }
  return { parameters }
}

function refuseByHead({ method, headers }: IncomingMessage): Answer | undefined {
  if (method !== 'POST') return sentence(405, 'Expected POST.', { allow: 'POST' })
  if (!/^application\/x-www-form-urlencoded\s*(?:;\s*charset="?utf-8"?\s*)?$/i.test(headers['content-type'] ?? '')) {
    return sentence(415, 'Expected application/x-www-form-urlencoded in UTF-8.')
  }
  if ((headers['content-encoding'] ?? 'identity') !== 'identity') return sentence(415, 'Expected no content encoding.')
  if (headers['x-twilio-signature'] === undefined) return sentence(403, 'Expected the header X-Twilio-Signature.')
  return undefined
}

function readBody(request: IncomingMessage, rules: WebhookRules, read: (body: Body) => void): void {
  const length = bodyLength(request)
  if (length === 0) return read(empty)
  if (length !== undefined && length > rules.maxBodySize) return read(413)
  process.nextTick(takeBody, request, rules, read)
}

/** Mostly the body has come with the head, and is there by now: it is taken in one piece, without listeners and a deadline. */
function takeBody(request: IncomingMessage, rules: WebhookRules, read: (body: Body) => void): void {
  const { readableLength, headers } = request
  if (String(readableLength) === headers['content-length']) read(request.read() as Buffer) // it is not empty
  else awaitBody(request, rules, read)
}

/** The deadline is for the whole body: a sender that trickles does not move it. */
function awaitBody(
  request: IncomingMessage,
  { maxBodySize, bodyTimeout }: WebhookRules,
  read: (body: Body) => void,
): void {
  const chunks: Buffer[] = []
  let size = 0
  let over = false
  const end = (body: Body) => {
    if (over) return
    over = true
    clearTimeout(timer)
    request.off('data', take)
    read(body)
  }
  const take = (chunk: Buffer) => {
    size += chunk.length
    if (size > maxBodySize) end(413)
    else chunks.push(chunk)
  }
  const timer = setTimeout(end, bodyTimeout, 408)
  request
    .on('data', take)
    .on('end', () => end(Buffer.concat(chunks)))
    .on('close', () => end('gone'))
    .on('error', () => end('gone'))
}

/**
 * Twilio signs the URL it calls, with its query as it stands, and every parameter. The URL comes from the configuration: a
 * Host header is the sender's own choice. Names and values are signed without a separator, so that `a=1b2` and `a=1&b=2`
 * sign alike: what follows therefore looks only at names that Twilio gives and at values that they may have.
 */
function isSigned(request: IncomingMessage, parameters: Parameters, { url, tokens }: WebhookRules): boolean {
  const signature = request.headers['x-twilio-signature']
  if (typeof signature !== 'string' || signature === '') return false
  const target = request.url ?? ''
  const query = target.includes('?') ? target.slice(target.indexOf('?')) : ''
  const signed = { url: url + query, joined: parameters.joined }
  // Each token is tried: while a token is being replaced, either may have signed.
  return tokens.some((token) => hasSigned(token, signed, signature))
}
