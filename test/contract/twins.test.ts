/** A consumer that blocks is one like any other: the same peers, in process and over the wire, get the same answers. */
import { afterAll, describe, expect, test } from '@jest/globals'
import { EmailCommunicator } from '../../protocols/email/communicator.ts'
import { HttpCommunicator, type HttpRequestLike } from '../../protocols/http/communicator.ts'
import { MqttCommunicator } from '../../protocols/mqtt/communicator.ts'
import { SmsCommunicator } from '../../protocols/sms/communicator.ts'
import { WebsocketCommunicator, type HandshakeLike } from '../../protocols/websocket/communicator.ts'
import type { ChannelProtocol } from '../../src/asgi/channel.ts'
import type { Application, Event, Protocol } from '../../src/asgi/protocol.ts'
import { BridgePool } from '../../src/bridge/pool.ts'
import { syncApplication } from '../../src/bridge/sync-application.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import { scopeOf } from '../support/scopes.ts'
import { drivers } from './drivers.ts'
import { startGateway } from './gateway.ts'
import * as twins from './twins.ts'

const pool = new BridgePool({ threads: 2, timeout: 60_000 })
afterAll(() => pool.close())

const module = new URL('./twins.ts', import.meta.url)
const applications = {
  http: [twins.HttpAsync.asApplication(), syncApplication(twins.HttpSync, module)],
  websocket: [twins.WebsocketAsync.asApplication(), syncApplication(twins.WebsocketSync, module)],
  mqtt: [twins.MqttAsync.asApplication(), syncApplication(twins.MqttSync, module)],
  email: [twins.EmailAsync.asApplication(), syncApplication(twins.EmailSync, module)],
  channel: [twins.ChannelAsync.asApplication(), syncApplication(twins.ChannelSync, module)],
  sms: [twins.SmsAsync.asApplication(), syncApplication(twins.SmsSync, module)],
} as const

/** What the same play gives with both of them. */
async function both<P extends Protocol>(
  [async, sync]: readonly [Application<P>, Application<P>],
  play: (application: Application<P>) => Promise<unknown>,
): Promise<unknown> {
  const expected = await play(async)
  expect(await play(sync)).toEqual(expected)
  return expected
}

const work = scopeOf('channel', { channel: 'pictures' })

const patient = { timeout: 20_000, closeTimeout: 20_000 }
const told = (error: unknown) => {
  if (!Error.isError(error)) return error
  return [error.name, 'code' in error ? error.code : '', error.message.replace(/Async|Sync/, 'Twin')]
}
/** Of any realm and kind of array. */
const bytesOf = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

describe('played in process', () => {
  test('http', async () => {
    const requests: readonly HttpRequestLike[] = [
      { method: 'POST', body: 'hello' },
      { method: 'POST', body: ['in ', 'parts ', 'ö'] },
      { method: 'PUT', path: '/json?name=ann', body: '{"a":[1]}' },
      { method: 'POST', path: '/json', body: '{"a":' },
      { path: '/head', headers: { 'x-told': 'yes' } },
      { method: 'POST', body: 'raise' },
      { method: 'POST', body: 'refuse' },
    ]
    const answers = await both(applications.http, async (application) => {
      const seen: unknown[] = []
      for (const request of requests) {
        const client = new HttpCommunicator(application, request, { layer: new MemoryLayer(), ...patient })
        const { status, text, headers } = await client.response()
        client.disconnect()
        const { kind } = await client.application.wait()
        seen.push({ status, text, headers: Object.fromEntries(headers), kind })
      }
      return seen
    })
    expect(answers).toMatchObject([
      { status: 200, text: 'hello', headers: { 'content-type': 'text/plain' }, kind: 'finished' },
      { status: 200, text: 'in parts ö' },
      { text: '{"method":"PUT","name":"ann","got":{"a":[1]}}', headers: { 'content-type': 'application/json' } },
      { status: 400, text: expect.stringMatching(/^expected JSON: /), kind: 'finished' },
      { status: 204, text: '', headers: { 'x-told': 'yes' } },
      { status: 500, kind: 'raised' },
      { status: 403, text: 'not yours', headers: { 'content-type': 'text/plain;charset=UTF-8' }, kind: 'finished' },
    ])
  })

  test('websocket', async () => {
    const story = await both(applications.websocket, async (application) => {
      const layer = new MemoryLayer()
      const ends: Event[] = []
      await layer.groupAdd('ends', layer.newChannel({ deliverMessage: (word) => ends.push(word) > 0 }))
      const open = (handshake: HandshakeLike) =>
        new WebsocketCommunicator(application, handshake, { layer, ...patient })
      const seen: unknown[] = []
      const client = open({ subprotocols: ['chat', 'x'] })
      const { accepted, subprotocol } = await client.connect()
      seen.push([accepted, subprotocol])
      await client.sendText('hello')
      seen.push(await client.receiveText())
      await client.sendBytes(new Uint8Array([1, 2, 3]))
      seen.push(bytesOf(await client.receiveBytes()))
      await client.sendText('everyone')
      seen.push(await client.receiveText())
      await client.sendText('count')
      seen.push(await client.receiveJson(), await layer.groupSize('chat'))
      await client.disconnect(1001, 'away')
      const stranger = open({ path: '/refused' })
      const refused = await stranger.connect()
      await stranger.disconnect(1006)
      seen.push([refused.status, refused.text, refused.headers.get('www-authenticate')])
      for (const text of ['close', 'raise']) {
        const other = open({})
        await other.connect()
        const said = await other.sendText(text).catch(told)
        seen.push([said, await other.receiveClose()])
        await other.disconnect(1006)
      }
      return [...seen, ends.map((word) => Reflect.get(word, 'text')), await layer.groupSize('chat')]
    })
    expect(story).toEqual([
      [true, 'chat'],
      'hello',
      '030201',
      'word: all',
      { count: 3 },
      1,
      [401, 'who are you?', 'Basic'],
      [undefined, 4001],
      [['RangeError', 'E_TOLD', 'as told'], 1011],
      ['1001 3', '1006 0', '1006 1', '1011 1'],
      0,
    ])
  })

  test('mqtt', async () => {
    const story = await both(applications.mqtt, async (application) => {
      const options = { layer: new MemoryLayer(), handlerTimeout: 20_000, ...patient }
      const client = new MqttCommunicator(application, options)
      const seen: unknown[] = [await client.connect()]
      await client.publish('a', 'hello', { qos: 1 })
      await client.subscribe('b/#', 1)
      await client.unsubscribe('b/#')
      seen.push(await client.publish('a', 'raise').catch(told))
      await client.publish('a', 'again')
      await client.publish('a', 'close')
      seen.push(client.closed)
      await client.disconnect()
      while (client.pending > 0) {
        const { topic, payload, qos, retain, direct } = await client.receivePublish()
        seen.push([topic, Buffer.from(payload).toString(), qos, retain, direct])
      }
      const other = new MqttCommunicator(application, { ...options, scope: { clientId: 'refused' } })
      return [...seen, await other.connect()]
    })
    expect(story).toEqual([
      true,
      ['RangeError', 'E_TOLD', 'as told'],
      true,
      ['answers', 'hello', 0, false, true],
      ['sums', '5', 1, true, false],
      ['told', 'b/# 1', 0, false, false],
      ['told', 'b/#', 0, false, false],
      // The consumer that raised has said its last word, and a fresh one has taken its place.
      ['last', 'error', 0, false, false],
      ['answers', 'again', 0, false, true],
      ['sums', '5', 1, true, false],
      false,
    ])
  })

  test('email', async () => {
    const letters = ['hello', 'raise', 'refuse', 'later', 'nothing to say']
    const story = await both(applications.email, async (application) => {
      const desk = new EmailCommunicator(application, {
        recipient: 'help@support.org',
        layer: new MemoryLayer(),
        ...patient,
      })
      const seen: unknown[] = []
      for (const text of letters) {
        const attachments = [{ filename: 'a.bin', content: Buffer.alloc(100_000, text) }]
        const { code, text: words, replies, sent, error } = await desk.send({ subject: 'News', text, attachments })
        seen.push({ code, words, replies, sent, error: told(error) })
      }
      return seen
    })
    expect(story).toMatchObject([
      {
        code: 250,
        replies: [{ text: expect.stringMatching(/^News\nhello\na\.bin [\da-f]{64}$/) }],
        sent: [{ text: 'help@support.org' }],
      },
      { code: 451, replies: [], sent: [], error: ['RangeError', 'E_TOLD', 'as told'] },
      { code: 554, words: '5.7.1 as told' },
      { code: 450 },
      { code: 250, replies: [], sent: [] },
    ])
  })

  test('sms', async () => {
    const story = await both(applications.sms, async (application) => {
      const phone = new SmsCommunicator(application, { from: '+14155550100', layer: new MemoryLayer(), ...patient })
      const seen: unknown[] = []
      for (const body of ['hello', 'long', 'nothing to say', 'raise']) seen.push(await phone.send(body).catch(told))
      await phone.status('delivered')
      return [...seen, phone.sent]
    })
    expect(story).toEqual([
      [{ type: 'sms.reply', body: 'hello' }],
      [{ body: 'long' }, { body: '1 0', media: ['https://example.org/a.png'] }].map((reply) => ({
        type: 'sms.reply',
        ...reply,
      })),
      [],
      ['RangeError', 'E_TOLD', 'as told'],
      ['and you?', 'delivered'].map((body) => ({ type: 'sms.send', to: '+14155550123', body })),
    ])
  })
})

test('work on a named channel: done, failed, or understood by nobody', async () => {
  const story = await both<ChannelProtocol>(applications.channel, async (application) => {
    const layer = new MemoryLayer()
    const hashes: Event[] = []
    await layer.groupAdd('hashes', layer.newChannel({ deliverMessage: (message) => hashes.push(message) > 0 }))
    const seen: unknown[] = []
    for (const message of [
      { type: 'image.hash', bytes: Buffer.from('a') },
      { type: 'image.hash', bytes: Buffer.alloc(0) },
      { type: 'image.unknown' },
    ]) {
      const communicator = new ApplicationCommunicator(application, { ...work }, { layer, ...patient })
      const handled = await communicator.sendInput(message, { last: true }).catch(told)
      seen.push([handled, (await communicator.wait()).kind, await layer.groupSize('pictures')])
    }
    return [...seen, hashes]
  })
  const sha = expect.stringMatching(/^[\da-f]{64}$/) as unknown
  expect(story).toEqual([
    [undefined, 'unanswered', 0],
    [['RangeError', 'E_TOLD', 'as told'], 'raised', 0],
    [['SignalboxError', 'bad_message', expect.stringContaining('no method for a message of the type')], 'raised', 0],
    [{ type: 'image.hashed', hash: sha, channel: 'pictures' }],
  ])
})

test.each(drivers.map((driver) => [driver.name, driver] as const))('over the wire: %s', async (name, driver) => {
  const twin = applications[name as keyof typeof applications] as readonly Application[]
  const answers = await Promise.all(
    twin.map(async (application) => {
      const { url } = await startGateway(driver, application, { closeTimeout: 5000, drainTimeout: 5000 })
      const seen: string[] = []
      for (const text of ['hello', 'raise', 'hello', 'refuse']) seen.push(await driver.exchange(url, { text }))
      return seen
    }),
  )
  expect(answers[1]).toEqual(answers[0])
  expect(answers[0]?.[0]).toBe(driver.wire.answered)
})
