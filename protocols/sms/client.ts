/** `signalbox send sms`: posts a message to a running gateway as Twilio would, signed with the YAML's own token. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks.js'
import type { Client, ClientTarget } from '../../src/asgi/definition.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { https, request as httpRequest } from '../../src/runtime/node-http.ts'
import type { SmsOptions } from './options.ts'
import { segments } from './text.ts'

/** Twilio's own number for tests. */
const defaultReceiver = '+15005550006'

export const client: Client = {
  async send([from, body], options, target) {
    if (!from || body === undefined) {
      throw new SignalboxError(
        'bad_address',
        'expected a number and a text: npx signalbox send sms +14155550100 "TEMP kitchen"',
      )
    }
    const { path, provider } = target.options as SmsOptions // parsed by this protocol's own schema
    const { authToken, publicUrl } = provider.twilio
    const parameters = parametersOf({ from, to: options['to'] || defaultReceiver, body, media: options['media'] })
    const signature = getExpectedTwilioSignature(authToken[0] ?? '', publicUrl + path, parameters)
    const response = await post(target, path, { body: new URLSearchParams(parameters).toString(), signature })
    const answer = (await text(response)).trim()
    const status = response.statusCode ?? 0
    return { positive: status === 200, text: status === 200 ? answer : `${status} ${answer}` }
  },
}

interface Text {
  readonly from: string
  readonly to: string
  readonly body: string
  readonly media: string | undefined
}

function parametersOf({ from, to, body, media }: Text): Record<string, string> {
  const messageSid = `SM${randomBytes(16).toString('hex')}`
  return {
    ToCountry: '',
    SmsMessageSid: messageSid,
    NumMedia: media ? '1' : '0',
    SmsSid: messageSid,
    SmsStatus: 'received',
    Body: body,
    To: to,
    NumSegments: String(Math.max(1, segments(body))),
    MessageSid: messageSid,
    AccountSid: `AC${'0'.repeat(32)}`,
    From: from,
    ApiVersion: '2010-04-01',
    ...(media && { MediaUrl0: media, MediaContentType0: 'application/octet-stream' }),
  }
}

/** To where the gateway listens, which need not be what `publicUrl` names. */
async function post(
  { options, http, signal }: ClientTarget,
  path: string,
  { body, signature }: { readonly body: string; readonly signature: string },
): Promise<IncomingMessage> {
  const own = options as SmsOptions
  const { host, port } = own.address ?? http.address
  const secure = (own.address ? own.tls : http.tls) !== undefined
  const target = {
    host: reachable[host] ?? host,
    port,
    path,
    method: 'POST',
    signal,
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': Buffer.byteLength(body),
      'x-twilio-signature': signature,
    },
  }
  // The certificate names the public host, and this goes to the operator's own address: there is nobody else to ask for.
  const request = secure ? https().request({ ...target, rejectUnauthorized: false }) : httpRequest(target)
  request.end(body)
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  return response
}

/** One listens on all addresses, but calls one. */
const reachable: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }
