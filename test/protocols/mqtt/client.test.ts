/** `signalbox send mqtt` against a running gateway. */
import { describe, expect, test } from '@jest/globals'
import { createServer } from 'node:net'
import { client } from '../../../protocols/mqtt/client.ts'
import { mqttOptions } from '../../../protocols/mqtt/options.ts'
import { mqtt } from '../../../protocols/mqtt/protocol.ts'
import { recorder, serveMqtt, tls, tlsBase } from './support.ts'

const http = { address: { host: '127.0.0.1', port: 0 } }

function target(url: string, options: object = {}) {
  const address = new URL(url).host
  return { options: mqttOptions.parse({ address, ...options }), http, signal: AbortSignal.timeout(5000) }
}

const user = {
  name: 'ann',
  password: 'scrypt$ln=1,r=1,p=1$c2FsdHNhbHRzYWx0$epgeT5w7ekrmCKhj2PqldY1OeOsbxra89ELSnerWPj4',
}

test.each<[Readonly<Record<string, string>>, string, object]>([
  [{}, 'PUBACK', { qos: 1, retain: false }],
  [{ qos: '0' }, 'sent: QoS 0 has no acknowledgement', { qos: 0 }],
  [{ qos: '2', retain: 'true' }, 'PUBCOMP', { qos: 2, retain: true }],
])('publishes with %j and says what came back', async (options, text, expected) => {
  const { application, events } = recorder()
  await using server = await serveMqtt(application)
  expect(await client.send(['a/b', '21.5'], options, target(server.url))).toEqual({ positive: true, text })
  await server.idle()
  expect(events[1]).toMatchObject({ topic: 'a/b', payload: new Uint8Array(Buffer.from('21.5')), ...expected })
})

test('logs in over TLS, and says why it may not', async () => {
  const { application, scopes } = recorder()
  await using server = await serveMqtt(application, { tls, users: [user], anonymous: false }, { base: tlsBase })
  const to = target(server.url, { tls })
  expect(await client.send(['a', 'x'], { username: 'ann', password: 'secret' }, to)).toEqual({
    positive: true,
    text: 'PUBACK',
  })
  expect(scopes[0]?.username).toBe('ann')
  expect(await client.send(['a', 'x'], { username: 'ann', password: 'wrong' }, to)).toEqual({
    positive: false,
    text: 'CONNACK 4: bad user name or password',
  })
  expect(await client.send(['a', 'x'], {}, to)).toEqual({ positive: false, text: 'CONNACK 5: not authorized' })
})

test('says that a message to $SYS goes nowhere', async () => {
  const { application } = recorder()
  await using server = await serveMqtt(application)
  expect((await client.send(['$SYS/x', 'y'], {}, target(server.url))).text).toContain('goes nowhere')
})

describe('fails in words', () => {
  test.each<[readonly string[], Readonly<Record<string, string>>, string]>([
    [['a'], {}, 'expected a topic and a message'],
    [['a/+', 'x'], {}, 'a wildcard'],
    [['', 'x'], {}, 'is empty'],
    [['a', 'x'], { qos: '3' }, '--qos: found "3", expected 0, 1 or 2'],
  ])('on %j %j', async (given, options, words) => {
    await expect(client.send(given, options, target('mqtt://127.0.0.1:1'))).rejects.toThrow(words)
  })

  test('where nothing listens, where nobody answers, and where something else does', async () => {
    await expect(client.send(['a', 'x'], {}, target('mqtt://127.0.0.1:1'))).rejects.toMatchObject({
      code: 'ECONNREFUSED',
    })
    const answers = ['', 'HTTP/1.1 400 Bad Request\r\n\r\n', '\xd0\x00']
    const server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.once('data', () => socket.end(answers.shift() ?? '', 'latin1'))
    })
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const to = target(`mqtt://127.0.0.1:${port}`)
    await expect(client.send(['a', 'x'], {}, to)).rejects.toThrow('closed the connection instead of CONNACK')
    await expect(client.send(['a', 'x'], {}, to)).rejects.toThrow()
    await expect(client.send(['a', 'x'], {}, to)).rejects.toThrow('PINGRESP instead of CONNACK')
    server.close()
  })

  test('when the time is over', async () => {
    const server = createServer((socket) => void socket.on('error', () => undefined))
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const to = { ...target(`mqtt://127.0.0.1:${port}`), signal: AbortSignal.timeout(50) }
    await expect(client.send(['a', 'x'], {}, to)).rejects.toThrow()
    server.close()
  })
})

test('the registry entry has a scope for a topic, and none for what is no topic', () => {
  expect(mqtt.sampleScope('sensors/kitchen/temperature')).toMatchObject({
    type: 'mqtt',
    topic: 'sensors/kitchen/temperature',
  })
  expect(() => mqtt.sampleScope('sensors/+')).toThrow('a wildcard')
})
