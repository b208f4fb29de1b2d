/** Asks a running gateway's admin listener. */
import { once } from 'node:events'
import type { IncomingMessage, RequestOptions } from 'node:http'
import { text } from 'node:stream/consumers'
import type { AdminSettings } from '../config/admin.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { request as httpRequest } from '../runtime/node-http.ts'
import { reachable } from '../runtime/options.ts'

/** @throws SignalboxError `send_failed` with what the gateway said, when it did not do as it was told. */
export async function postTo(
  admin: AdminSettings,
  path: string,
  message: string,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(message) }
  return await answerOf(admin, { method: 'POST', path, headers, signal }, message)
}

/** @throws SignalboxError `send_failed` with what the gateway said instead of an answer. */
export function askAdmin<T>(admin: AdminSettings, path: string, signal: AbortSignal): Promise<T> {
  return answerOf(admin, { method: 'GET', path, headers: {}, signal })
}

type Asked = Required<Pick<RequestOptions, 'method' | 'path' | 'signal'>> & { readonly headers: object }

/** The answer is the gateway's own: it has the shape that its side says. */
async function answerOf<T>({ address, token }: AdminSettings, asked: Asked, body = ''): Promise<T> {
  const headers = { ...asked.headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) }
  const request = httpRequest({ ...reachable(address), ...asked, headers })
  request.end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const answer = (await text(response)).trim()
  if (response.statusCode === 200) return JSON.parse(answer) as T
  throw new SignalboxError('send_failed', `the gateway answers ${response.statusCode}: ${answer}`)
}
