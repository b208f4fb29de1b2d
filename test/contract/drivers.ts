/** One real client a protocol, and what its wire says, so that one suite can be run on every adapter. */
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { expect } from '@jest/globals'
import mqtt from 'mqtt'
import nodemailer from 'nodemailer'
import twilio from 'twilio/lib/webhooks/webhooks.js'
import { WebSocket } from 'ws'
import type { ProtocolDefinition } from '../../src/asgi/definition.ts'
import type { Event } from '../../src/asgi/protocol.ts'
import { email as emailDefinition } from '../../protocols/email/protocol.ts'
import { http as httpDefinition } from '../../protocols/http/protocol.ts'
import { mqtt as mqttDefinition } from '../../protocols/mqtt/protocol.ts'
import { sms as smsDefinition } from '../../protocols/sms/protocol.ts'
import { websocket as websocketDefinition } from '../../protocols/websocket/protocol.ts'

/** `text` is what the peer says; `known` is whether a rule takes its address. */
export interface Exchange {
  readonly text: string
  readonly known?: boolean
  /** Which of the peers says it. Default 0. */
  readonly sender?: number
}

export interface Driver {
  readonly name: string
  readonly definition: ProtocolDefinition
  /** `listen.NAME`, as the YAML would have it. */
  readonly options: unknown
  /** The one address that has a rule, as its router's key and value. */
  readonly rule: Readonly<Record<string, string>>
  /** What the peer said, when this event says something. */
  said(event: Event): string | undefined
  /** The application's events before it is spoken to, and its answer. */
  readonly welcome: readonly Event[]
  answer(text: string): readonly Event[]
  /** A fresh client that says one thing and leaves; answers what the wire said to it. */
  exchange(url: string, exchange: Exchange): Promise<string>
  /** What the wire says: to an answer `hello`, when the application raises, and when no rule takes the address. */
  readonly wire: { readonly answered: string; readonly raised: string; readonly unrouted: string }
  /** A client that stays connected, and what it is told when the gateway goes. */
  hold(url: string): Promise<{ readonly told: Promise<unknown>; leave(): void }>
  readonly farewell: unknown
  /** A scope has one event. */
  readonly single?: true
  /** Of a protocol that stores what comes before it answers. */
  readonly stores?: {
    /** What the peer is told while that cannot be; undefined: nothing, it waits. */
    readonly refusal: string | undefined
    /** `listen.NAME` where applications take their time. */
    readonly options: object
  }
}

const port = (url: string) => Number(new URL(url).port)
const anywhere = '127.0.0.1:0'
const token = 'development'
const publicUrl = 'https://gateway.example.org'

const http: Driver = {
  name: 'http',
  definition: httpDefinition,
  options: { address: anywhere },
  rule: { path: '/known' },
  said: (event) => (event.type === 'http.request' ? Buffer.from(Reflect.get(event, 'body')).toString() : undefined),
  welcome: [],
  answer: (text) => [
    { type: 'http.response.start', status: 200, headers: [['content-type', 'text/plain']] } as Event,
    { type: 'http.response.body', body: text } as Event,
  ],
  async exchange(url, { text, known = true }) {
    const response = await fetch(`${url}/${known ? 'known' : 'unknown'}`, {
      method: 'POST',
      body: text,
      headers: { connection: 'close' },
    })
    return `${response.status} ${response.ok ? await response.text() : ''}`.trim()
  },
  wire: { answered: '200 hello', raised: '500', unrouted: '404' },
  hold: holdTcp(undefined),
  farewell: '',
}

const websocket: Driver = {
  name: 'websocket',
  definition: websocketDefinition,
  options: {},
  rule: { path: '/known' },
  said: (event) => (event.type === 'websocket.receive' ? String(Reflect.get(event, 'text')) : undefined),
  welcome: [{ type: 'websocket.accept' }],
  answer: (text) => [{ type: 'websocket.send', text } as Event],
  async exchange(url, { text, known = true }) {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/${known ? 'known' : 'unknown'}`)
    const answer = Promise.withResolvers<string>()
    socket.on('open', () => socket.send(text))
    socket.on('message', (data) => answer.resolve(String(data)))
    socket.on('close', (code) => answer.resolve(String(code)))
    socket.on('error', (error) => answer.resolve(/\d{3}/.exec(error.message)?.[0] ?? error.message))
    const said = await answer.promise
    if (socket.readyState !== WebSocket.CLOSED) {
      const closed = once(socket, 'close')
      socket.close()
      await closed
    }
    return said
  },
  wire: { answered: 'hello', raised: '1011', unrouted: '403' },
  async hold(url) {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/known`)
    await once(socket, 'open')
    const told = once(socket, 'close').then(([code]) => code as number)
    return { told, leave: () => socket.terminate() }
  },
  farewell: 1001, // RFC 6455 7.4.1: going away
}

const mqttDriver: Driver = {
  name: 'mqtt',
  definition: mqttDefinition,
  options: { address: anywhere, anonymous: true },
  rule: { topic: 'known/#' },
  said: (event) => (event.type === 'mqtt.publish' ? Buffer.from(Reflect.get(event, 'payload')).toString() : undefined),
  welcome: [{ type: 'mqtt.accept' }],
  answer: (text) => [{ type: 'mqtt.publish', topic: 'answers', payload: text, direct: true } as Event],
  async exchange(url, { text, known = true, sender }) {
    const own = sender === undefined ? {} : { clientId: `client-${sender}` }
    const client = await mqtt.connectAsync({ host: '127.0.0.1', port: port(url), reconnectPeriod: 0, ...own })
    const answer = Promise.withResolvers<string>()
    client.on('message', (_topic, payload) => answer.resolve(String(payload)))
    await client.publishAsync(known ? 'known/a' : 'unknown/a', text, { qos: 1 })
    const said = text === 'hello' && known ? await answer.promise : 'PUBACK'
    await client.endAsync()
    return said
  },
  wire: { answered: 'hello', raised: 'PUBACK', unrouted: 'PUBACK' },
  async hold(url) {
    const client = await mqtt.connectAsync({ host: '127.0.0.1', port: port(url), reconnectPeriod: 0 })
    const told = Promise.withResolvers<unknown>()
    client.on('close', () => told.resolve('closed'))
    client.on('error', () => undefined)
    await client.publishAsync('known/a', 'hello', { qos: 1 })
    return { told: told.promise, leave: () => client.stream.destroy() }
  },
  farewell: 'closed', // MQTT 3.1.1 has no word for it
  stores: { refusal: undefined, options: {} },
}

const email: Driver = {
  name: 'email',
  single: true,
  definition: emailDefinition,
  options: { address: anywhere, maxClients: 200 },
  rule: { domain: 'known.example' },
  said: (event) => (event.type === 'email.message' ? String(Reflect.get(event, 'text')).trim() : undefined),
  welcome: [],
  answer: () => [],
  async exchange(url, { text, known = true, sender = 0 }) {
    const transport = nodemailer.createTransport({ host: '127.0.0.1', port: port(url), ignoreTLS: true })
    try {
      const to = `bob@${known ? 'known' : 'unknown'}.example`
      const sent = await transport.sendMail({ from: `ann${sender}@example.net`, to, subject: 'A test', text })
      return sent.response.slice(0, 3)
    } catch (error) {
      return String(Reflect.get(Object(error), 'responseCode'))
    }
  },
  wire: { answered: '250', raised: '250', unrouted: '550' },
  hold: holdTcp('220'),
  farewell: expect.stringMatching(/^421 /), // RFC 5321 3.8
  stores: { refusal: '452', options: {} },
}

const sms: Driver = {
  name: 'sms',
  single: true,
  definition: smsDefinition,
  options: { provider: { twilio: { authToken: token, publicUrl } } },
  rule: { phone: '+1' },
  said: (event) => (event.type === 'sms.message' ? String(Reflect.get(event, 'body')) : undefined),
  welcome: [],
  answer: (text) => [{ type: 'sms.reply', body: text } as Event],
  async exchange(url, { text, known = true, sender = 0 }) {
    const fields = {
      MessageSid: `SM${crypto.randomUUID().replaceAll('-', '')}`,
      AccountSid: `AC${'0'.repeat(32)}`,
      From: known ? `+1415555010${sender}` : '+442079460000',
      To: '+14155550199',
      Body: text,
      NumMedia: '0',
      NumSegments: '1',
    }
    const signature = twilio.getExpectedTwilioSignature(token, `${publicUrl}/sms`, fields)
    const headers = { 'x-twilio-signature': signature, connection: 'close' }
    const response = await fetch(url, { method: 'POST', body: new URLSearchParams(fields), headers })
    const twiml = await response.text()
    return `${response.status} ${/<Message>(.*?)<\/Message>/.exec(twiml)?.[1] ?? ''}`.trim()
  },
  wire: { answered: '200 hello', raised: '200', unrouted: '200' },
  hold: holdTcp(undefined),
  farewell: '',
  stores: { refusal: '503', options: { replyTimeout: '50ms' } },
}

/** A bare TCP client, which waits for the server's first line where the server speaks first. */
function holdTcp(greeting: string | undefined): Driver['hold'] {
  return async (url) => {
    const socket: Socket = connectTcp(port(url), '127.0.0.1')
    const told = Promise.withResolvers<string>()
    let text = ''
    socket.on('error', () => undefined)
    socket.on('close', () => told.resolve(text))
    await once(socket, 'connect')
    if (greeting) expectStart(String((await once(socket, 'data'))[0]), greeting)
    socket.on('data', (data) => (text += String(data)))
    return { told: told.promise, leave: () => socket.destroy() }
  }
}

function expectStart(text: string, start: string): void {
  if (!text.startsWith(start)) throw new Error(`expected ${start}, found ${text}`)
}

export const drivers: readonly Driver[] = [http, websocket, mqttDriver, email, sms]
