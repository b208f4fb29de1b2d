/** Asks a running gateway's admin listener. */
import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import type { AdminSettings } from '../config/admin.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { reachable } from '../runtime/options.ts'

/** @throws SignalboxError `send_failed` with what the gateway said, when it did not do as it was told. */
export async function postTo(
  { address, token }: AdminSettings,
  path: string,
  message: string,
  signal: AbortSignal,
): Promise<Readonly<Record<string, unknown>>> {
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(message),
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  }
  const request = httpRequest({ ...reachable(address), method: 'POST', path, headers, signal })
  request.end(message)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  const answer = (await text(response)).trim()
  if (response.statusCode === 200) return JSON.parse(answer) as Record<string, unknown>
  throw new SignalboxError('send_failed', `the gateway answers ${response.statusCode}: ${answer}`)
}
