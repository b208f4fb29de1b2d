/** An MQTT listener on a free port around one application, real clients for it, and packets as bytes. */
import { resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import type { Listener } from '../../../src/asgi/adapter.ts'
import type { Application } from '../../../src/asgi/protocol.ts'
import { adapter } from '../../../protocols/mqtt/adapter.ts'
import { MqttConsumer } from '../../../protocols/mqtt/consumer.ts'
import { mqttOptions } from '../../../protocols/mqtt/options.ts'
import type { MqttProtocol, MqttPublish } from '../../../protocols/mqtt/scope.ts'
import { RawClient } from '../../support/raw-client.ts'
import { createServices, type ServicesOptions, type TestServices } from '../../support/services.ts'

export type MqttApplication = Application<MqttProtocol>

export const tls = { cert: 'cert.pem', key: 'key.pem' }
export const tlsBase = resolve(import.meta.dirname, '../../support/tls')

export interface MqttServer extends AsyncDisposable {
  readonly url: string
  readonly listener: Listener
  readonly test: TestServices<MqttProtocol>
  /** A client of the `mqtt` package, which is gone at the end of the test. */
  connect(options?: IClientOptions, url?: string): Promise<MqttClient>
  raw(): Promise<RawClient>
  /** Resolves when nobody is connected and no instance is open. */
  idle(): Promise<void>
}

/** `data`: a data folder that outlives the gateway. */
export async function serveMqtt(
  application: MqttApplication,
  options: Readonly<Record<string, unknown>> = {},
  services: ServicesOptions & { readonly data?: string } = {},
): Promise<MqttServer> {
  const test = createServices(application, services)
  const { data = test.services.data } = services
  const settings = { address: '127.0.0.1:0', anonymous: true, persistence: 'memory', ...options }
  const listener = await adapter.start(mqttOptions.parse(settings), { ...test.services, data })
  test.attach(listener)
  await test.listen()
  const [url = ''] = listener.urls
  const clients: MqttClient[] = []
  return {
    url,
    listener,
    test,
    async connect(own, to = url) {
      const client = mqtt.connect(to, { reconnectPeriod: 0, rejectUnauthorized: false, ...own })
      clients.push(client)
      const messages: string[] = []
      received.set(client, messages)
      client.on('message', (topic, payload) => messages.push(`${topic} ${payload.toString()}`))
      client.on('error', () => undefined)
      const connected = Promise.withResolvers<void>()
      client.once('connect', () => connected.resolve())
      client.once('error', (error) => connected.reject(error))
      client.once('close', () => connected.reject(new Error('closed before CONNACK')))
      await connected.promise
      return client
    },
    raw: () => RawClient.connect(url),
    async idle() {
      while (listener.connections > 0) await new Promise((resolve) => void setImmediate(resolve))
      await test.idle()
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.end(true)
      await test.close(listener)
    },
  }
}

/** An application that accepts, records what it is told, and does what `act` says on each publish. */
export function recorder(act: (event: MqttPublish, consumer: MqttConsumer) => unknown = () => undefined) {
  const events: MqttProtocol['receive'][] = []
  const scopes: MqttProtocol['scope'][] = []
  class Recorder extends MqttConsumer {
    protected override async dispatch(event: MqttProtocol['receive']): Promise<void> {
      events.push(event)
      if (event.type === 'mqtt.connect') scopes.push(this.scope)
      await super.dispatch(event)
    }

    override async message(event: MqttPublish): Promise<void> {
      await act(event, this)
    }
  }
  return {
    application: Recorder.asApplication() as MqttApplication,
    events,
    scopes,
    types: () => events.map(({ type }) => type.slice('mqtt.'.length)),
    /** The payloads, as text, in the order in which the application got them. */
    texts: () =>
      events.flatMap((event) => (event.type === 'mqtt.publish' ? Buffer.from(event.payload).toString() : [])),
  }
}

/** The next message that this client gets, as `topic payload`. */
export function nextMessage(client: MqttClient): Promise<string> {
  return new Promise((resolve) => {
    client.once('message', (topic, payload) => resolve(`${topic} ${payload.toString()}`))
  })
}

const received = new WeakMap<MqttClient, string[]>()

/** What this client got since it connected, as `topic payload`; it grows. */
export function messagesOf(client: MqttClient): string[] {
  return received.get(client) ?? []
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await pause(1)
}

// Packets as bytes.

const string = (value: string | Buffer) => {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes])
}

/** A packet with its header. */
export function packet(first: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content)
  const header = [first]
  let left = body.length
  do {
    const byte = left % 128
    left = Math.floor(left / 128)
    header.push(left > 0 ? byte | 0x80 : byte)
  } while (left > 0)
  return Buffer.concat([Buffer.from(header), body])
}

export const bytes = {
  connect: ({
    clientId = 'raw',
    level = 4,
    flags = 2,
    name = 'MQTT',
    keepalive = 0,
    rest = [] as readonly Buffer[],
  } = {}) =>
    packet(
      0x10,
      string(name),
      Buffer.from([level, flags, keepalive >> 8, keepalive & 0xff]),
      string(clientId),
      ...rest,
    ),
  publish: (topic: string | Buffer, payload = '', { qos = 0, id = 1, flags = 0 } = {}) =>
    packet(
      0x30 | (qos << 1) | flags,
      string(topic),
      qos > 0 ? Buffer.from([id >> 8, id & 0xff]) : Buffer.alloc(0),
      Buffer.from(payload),
    ),
  subscribe: (...filters: readonly (string | Buffer)[]) =>
    packet(0x82, Buffer.from([0, 1]), ...filters.flatMap((filter) => [string(filter), Buffer.from([0])])),
  unsubscribe: (...filters: readonly string[]) => packet(0xa2, Buffer.from([0, 1]), ...filters.map(string)),
  pubrel: (id: number) => packet(0x62, Buffer.from([id >> 8, id & 0xff])),
  ping: Buffer.from([0xc0, 0]),
  disconnect: Buffer.from([0xe0, 0]),
  string,
}

export const connack = (code: number) => String.fromCharCode(0x20, 2, 0, code)
