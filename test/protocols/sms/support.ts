/** Runs the SMS adapter on real sockets, signs requests as Twilio does, and stands in for its REST interface. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks.js'
import { adapter } from '../../../protocols/sms/adapter.ts'
import { smsOptions } from '../../../protocols/sms/options.ts'
import type { SmsProtocol, SmsScope } from '../../../protocols/sms/scope.ts'
import type { Application, Event } from '../../../src/asgi/protocol.ts'
import { Mailbox } from '../../../src/runtime/mailbox.ts'
import { createServices, type ServicesOptions } from '../../support/services.ts'

export const publicUrl = 'https://sms.example.org'
export const token = 'a token that only the account knows'
export const person = '+14155550100'
export const ours = '+15005550006'

/** Unless the test says otherwise. */
interface SmsSetup {
  readonly twilio?: Readonly<Record<string, unknown>>
  readonly options?: Readonly<Record<string, unknown>>
  readonly services?: ServicesOptions
}

export interface Posted {
  readonly status: number
  readonly body: string
  readonly headers: Headers
}

interface PostOptions {
  readonly path?: string
  /** With the question mark. */
  readonly query?: string
  readonly token?: string
  /** What is signed, if it is not what is called. */
  readonly signedUrl?: string
  readonly headers?: Readonly<Record<string, string>>
  /** What is sent instead of the encoded parameters. */
  readonly body?: string | Uint8Array<ArrayBuffer>
  readonly signal?: AbortSignal
}

export async function startSms(application: Application<SmsProtocol>, setup: SmsSetup = {}) {
  const twilio = { authToken: token, publicUrl, backoff: '1ms', ...setup.twilio }
  const options = smsOptions.parse({ provider: { twilio }, ...setup.options })
  const made = createServices(application, setup.services)
  const failures = new Mailbox<{ readonly event: Event; readonly error: unknown }>()
  const refused: number[] = []
  const services = {
    ...made.services,
    refused: (code: number) => void refused.push(code),
    failed: (...[scope, event, error]: Parameters<typeof made.services.failed>) => {
      made.services.failed(scope, event, error)
      failures.put({ event, error })
    },
  }
  const listener = await adapter.start(options, services)
  made.attach(listener)
  await made.listen()
  const url = new URL(listener.urls[0] ?? '')

  async function post(parameters: Readonly<Record<string, string>>, how: PostOptions = {}): Promise<Posted> {
    const { path: target = '/sms', query = '', headers = {} } = how
    const signed = how.signedUrl ?? publicUrl + target + query
    const response = await fetch(new URL(target + query, url), {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'x-twilio-signature': getExpectedTwilioSignature(how.token ?? token, signed, parameters),
        ...headers,
      },
      body: how.body ?? new URLSearchParams(parameters).toString(),
      ...(how.signal && { signal: how.signal }),
    })
    return { status: response.status, body: await response.text(), headers: response.headers }
  }

  return {
    ...made,
    listener,
    url,
    post,
    /** The codes that were counted as refusals. */
    refused,
    /** The next event that was given up. */
    failure: () => failures.take(),
    /** Posts, and hangs up when this resolves; the gateway has seen it then. */
    async hangUp(parameters: Readonly<Record<string, string>>, when: Promise<unknown>): Promise<void> {
      const hanging = new AbortController()
      const connected = once(services.httpHost().server, 'connection')
      const lost = post(parameters, { signal: hanging.signal }).then(
        () => Promise.reject(new Error('it was answered')),
        () => undefined,
      )
      const [socket] = (await connected) as [Socket]
      const gone = once(socket, 'close')
      await when
      hanging.abort()
      await Promise.all([lost, gone])
    },
    [Symbol.asyncDispose]: () => made.close(listener),
  }
}

/** An application that does this with its message, and does not end before the test lets it. */
export function held(work: (send: Parameters<Application<SmsProtocol>>[2]) => Promise<void>) {
  const go = Promise.withResolvers<void>()
  const application: Application<SmsProtocol> = async (_scope, receive, send) => {
    await receive()
    await go.promise
    await work(send)
  }
  return { go: go.resolve, application }
}

/** An application that sends this to somebody else for each message. */
export function sending(body: string): Application<SmsProtocol> {
  return async (_scope, receive, send) => {
    await receive()
    await send({ type: 'sms.send', to: '+14155550111', body })
  }
}

/** A folder of its own, which is gone when the test is over. */
export function temporaryFolder() {
  const folder = mkdtempSync(path.join(tmpdir(), 'signalbox-test-'))
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}

let sids = 0

/** The parameters of a message as Twilio posts it. */
export function message(body: string, more: Readonly<Record<string, string>> = {}): Record<string, string> {
  const sid = `SM${(++sids).toString(16).padStart(32, '0')}`
  return {
    ToCountry: 'US',
    SmsMessageSid: sid,
    NumMedia: '0',
    SmsSid: sid,
    SmsStatus: 'received',
    Body: body,
    To: ours,
    NumSegments: '1',
    MessageSid: sid,
    AccountSid: `AC${'a'.repeat(32)}`,
    From: person,
    ApiVersion: '2010-04-01',
    ...more,
  }
}

/** The parameters of a status report as Twilio posts it. */
export function report(messageSid: string, status: string, more: Readonly<Record<string, string>> = {}) {
  return {
    MessageSid: messageSid,
    SmsSid: messageSid,
    MessageStatus: status,
    SmsStatus: status,
    AccountSid: `AC${'a'.repeat(32)}`,
    ApiVersion: '2010-04-01',
    From: ours,
    To: person,
    ...more,
  }
}

/** What TwiML says around its messages. */
export const twiml = (inside: string) =>
  `<?xml version="1.0" encoding="UTF-8"?>${inside === '' ? '<Response/>' : `<Response>${inside}</Response>`}`

export interface RestCall {
  readonly url: string
  readonly authorization: string
  readonly form: URLSearchParams
}

type RestAnswer = { readonly status: number; readonly code?: number } | 'cut'

/** Twilio's REST interface: takes every message, or gives these answers first. */
export async function startRest(...answers: RestAnswer[]) {
  const calls: RestCall[] = []
  const arrived = new Mailbox<RestCall>()
  const server = createServer((request, response) => {
    void handle(request, response)
  })
  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const form = new URLSearchParams(await text(request))
    const call = { url: request.url ?? '', authorization: request.headers.authorization ?? '', form }
    calls.push(call)
    arrived.put(call)
    const answer = answers.shift() ?? { status: 201 }
    if (answer === 'cut') return void request.socket.destroy()
    const { status, code } = answer
    const body = status === 201 ? { sid: `SM${'b'.repeat(32)}` } : { status, code, message: 'no' }
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(JSON.stringify(body))
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    calls,
    next: () => arrived.take(),
    twilio: { accountSid: `AC${'a'.repeat(32)}`, apiUrl: `http://127.0.0.1:${port}` },
    [Symbol.asyncDispose]: async () => {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** Answers with what was written. */
export const echo: Application<SmsProtocol> = async (_scope, receive, send) => {
  const event = await receive()
  if (event.type === 'sms.message') await send({ type: 'sms.reply', body: `you wrote: ${event.body}` })
}

/** Keeps what it was given. */
export function recorder() {
  const seen: { scope: SmsScope; event: SmsProtocol['receive'] }[] = []
  const application: Application<SmsProtocol> = async (scope, receive) => {
    seen.push({ scope, event: await receive() })
  }
  return { seen, application }
}
