/** TLS, and MQTT over WebSocket. */
import { once, type EventEmitter } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { describe, expect, test } from '@jest/globals'
import type { MqttClient } from 'mqtt'
import { WebSocket } from 'ws'
import { bytes, messagesOf, recorder, serveMqtt, tls, tlsBase, until, type MqttServer } from './support.ts'

/** However that comes about: it may be cut in the middle of its handshake. */
async function closed(peer: EventEmitter): Promise<void> {
  peer.on('error', () => undefined)
  await new Promise((resolve) => void peer.once('close', resolve))
}

/** A client that connects in the time that it has, as soon as this machine lets one. */
async function quick(server: MqttServer, url?: string): Promise<MqttClient> {
  for (;;) {
    const client = await server.connect({}, url).catch(() => undefined)
    if (client) return client
  }
}

describe('over TLS', () => {
  test('clients are served, and the URL says so', async () => {
    const { application, texts, scopes } = recorder()
    await using server = await serveMqtt(application, { tls }, { base: tlsBase })
    expect(server.url).toMatch(/^mqtts:/)
    expect(server.listener.example.command('a', '')).toContain('--cafile cert.pem')
    const client = await server.connect()
    await client.subscribeAsync('#', { qos: 1 })
    await client.publishAsync('a', 'x'.repeat(100_000), { qos: 2 })
    await until(() => messagesOf(client).length === 1)
    expect(texts()[0]).toHaveLength(100_000)
    expect(scopes[0]?.client).toEqual(['127.0.0.1', expect.any(Number)])
    await client.endAsync()
    await server.idle()
  })

  test('who speaks plainly, or never finishes the handshake, is closed', async () => {
    const { application, events } = recorder()
    await using server = await serveMqtt(application, { tls, connectTimeout: '100ms' }, { base: tlsBase })
    const plain = await server.raw()
    plain.send(bytes.connect())
    await plain.closed
    const silent = await server.raw()
    await silent.closed
    const mute = connectTls({ port: Number(new URL(server.url).port), rejectUnauthorized: false })
    await closed(mute)
    expect(events).toEqual([])
    await quick(server)
  })

  test('the listener closes while a handshake is under way', async () => {
    const { application } = recorder()
    await using server = await serveMqtt(application, { tls }, { base: tlsBase })
    const half = connectTcp(Number(new URL(server.url).port))
    half.on('error', () => undefined)
    await once(half, 'connect')
    await server.listener.close(AbortSignal.timeout(50))
  })

  test.each([
    [{ cert: 'missing.pem', key: 'key.pem' }, 'the certificate missing.pem cannot be read'],
    [{ cert: 'cert.pem', key: 'missing.pem' }, 'the key missing.pem cannot be read'],
    [{ cert: 'key.pem', key: 'key.pem' }, 'cannot be used'],
  ])('%j is refused in words', async (files, words) => {
    const { application } = recorder()
    await expect(serveMqtt(application, { tls: files }, { base: tlsBase })).rejects.toThrow(words)
  })
})

describe('over WebSocket', () => {
  const start = (application = recorder().application, options: object = {}) =>
    serveMqtt(application, { websocketPath: '/mqtt', ...options })
  const address = (server: MqttServer) => server.listener.urls[1] ?? ''

  test('clients are served on the http listener, beside those of TCP', async () => {
    const { application, texts, scopes } = recorder()
    await using server = await start(application)
    expect(address(server)).toMatch(/^ws:\/\/127\.0\.0\.1:\d+\/mqtt$/)
    const browser = await server.connect({}, address(server))
    await browser.subscribeAsync('#', { qos: 1 })
    const device = await server.connect()
    await device.publishAsync('a', 'from TCP', { qos: 1 })
    await browser.publishAsync('b', 'x'.repeat(200_000), { qos: 1 })
    await until(() => messagesOf(browser).length === 2)
    expect(messagesOf(browser)[0]).toBe('a from TCP')
    expect(texts().map(({ length }) => length)).toEqual([8, 200_000])
    expect(scopes[0]?.server).toEqual(['127.0.0.1', Number(new URL(address(server)).port)])
    await browser.endAsync()
    await device.endAsync()
    await server.idle()
  })

  test('packets may be cut into messages anyhow', async () => {
    const { application, texts } = recorder()
    await using server = await start(application)
    const socket = new WebSocket(address(server), 'mqtt')
    await once(socket, 'open')
    expect(socket.protocol).toBe('mqtt')
    const all = Buffer.concat([bytes.connect(), bytes.publish('a', 'one'), bytes.publish('a', 'two', { qos: 1 })])
    for (let at = 0; at < all.length; at += 5) socket.send(all.subarray(at, at + 5))
    let answer = ''
    socket.on('message', (data) => (answer += (data as Buffer).toString('latin1')))
    await until(() => answer === '\x20\x02\x00\x00\x40\x02\x00\x01')
    expect(texts()).toEqual(['one', 'two'])
    socket.terminate()
    await server.idle()
  })

  test.each<[string, string[], Readonly<Record<string, string>>, number]>([
    ['without the subprotocol', [], {}, 400],
    ['with another one', ['chat'], {}, 400],
    ['from a page of another site', ['mqtt'], { origin: 'https://evil.example.org' }, 403],
    ['from a page of nowhere', ['mqtt'], { origin: 'null' }, 403],
  ])('a handshake %s is refused', async (_, protocols, headers, status) => {
    await using server = await start()
    const socket = new WebSocket(address(server), protocols, { headers })
    const [error] = (await once(socket, 'error')) as [Error]
    expect(error.message).toContain(String(status))
  })

  test('a page that the YAML names, or that the listener serves itself, may connect', async () => {
    await using server = await start(undefined, { websocketOrigins: ['https://panel.example.org/'] })
    for (const origin of ['https://panel.example.org', address(server).replace('ws', 'http').replace('/mqtt', '')]) {
      const socket = new WebSocket(address(server), ['mqttv3.1', 'mqtt'], { headers: { origin } })
      await once(socket, 'open')
      expect(socket.protocol).toBe('mqtt')
      socket.terminate()
    }
    await server.idle()
  })

  test.each<[string, string | Buffer, number | undefined]>([
    ['text', 'hello', 1003],
    ['a message that is too long', Buffer.alloc(600_000), 1009],
    ['no MQTT', Buffer.from('GET / HTTP/1.1'), undefined],
  ])('%s closes the connection', async (_, sent, code) => {
    await using server = await start()
    const socket = new WebSocket(address(server), 'mqtt')
    await once(socket, 'open')
    socket.send(sent)
    const [closed] = (await once(socket, 'close')) as [number]
    if (code !== undefined) expect(closed).toBe(code)
    await server.idle()
  })

  test('a client that vanishes, and one that never connects, are noticed', async () => {
    const { application, events } = recorder()
    await using server = await start(application, { connectTimeout: '100ms' })
    await closed(new WebSocket(address(server), 'mqtt'))
    const client = await quick(server, address(server))
    client.stream.destroy()
    await server.idle()
    expect(events.at(-1)).toEqual({ type: 'mqtt.disconnect', reason: 'closed' })
  })

  test('clients are let go when the gateway closes, and none is let in', async () => {
    await using server = await start()
    const client = await server.connect({}, address(server))
    const closed = new Promise<void>((resolve) => void client.once('close', resolve))
    await server.listener.close(AbortSignal.timeout(2000))
    await closed
    const late = new WebSocket(address(server), 'mqtt')
    const [error] = (await once(late, 'error')) as [Error]
    expect(error.message).toContain('503')
  })
})
