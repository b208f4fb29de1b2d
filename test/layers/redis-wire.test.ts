/** Others on the same Redis: redis-cli, other languages, and those who send what is no message. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Event } from '../../src/asgi/protocol.ts'
import type { DeadLetter } from '../../src/layers/limits.ts'
import { RedisLayer } from '../../src/layers/redis.ts'
import { requires } from '../support/requirements.ts'
import { text, until } from './messages.ts'
import { RedisServer } from './redis-server.ts'

const readme = join(import.meta.dirname, '../../src/layers/README.md')

requires('redis-server', 'redis-cli').describe('others on the same Redis', () => {
  let server: RedisServer
  let layer: RedisLayer
  let got: Event[]
  let channel: string

  beforeAll(async () => {
    server = await RedisServer.start()
  })

  beforeEach(async () => {
    layer = await RedisLayer.open({ url: server.url, maxMessageSize: 10_000 })
    got = []
    channel = layer.newChannel({ deliverMessage: (message) => got.push(message) > 0 })
    await layer.groupAdd('chat', channel)
  })

  afterEach(async () => {
    await layer.flush()
    await layer.close()
  })

  afterAll(async () => {
    await server.stop()
  })

  test('redis-cli sends to a group', async () => {
    expect(await server.cli('PUBLISH', 'signalbox:group:chat', '{"type":"chat.message","text":"hi"}')).toBe('1')
    await until(() => got.length > 0)
    expect(got).toStrictEqual([text('hi')])
  })

  test('redis-cli sends bytes and dates', async () => {
    await server.cli(
      'PUBLISH',
      'signalbox:group:chat',
      '{"type":"a.b","bytes":{"$bytes":"AP8="},"at":{"$date":"2026-01-02T03:04:05Z"}}',
    )
    await until(() => got.length > 0)
    expect(got).toStrictEqual([{ type: 'a.b', bytes: new Uint8Array([0, 255]), at: new Date('2026-01-02T03:04:05Z') }])
  })

  test('redis-cli sends to a channel of a process, and puts it into a group', async () => {
    const inbox = `signalbox:process:${layer.process}`
    await server.cli('PUBLISH', inbox, JSON.stringify({ $to: channel, type: 'chat.message', text: 'you' }))
    await until(() => got.length === 1)
    await server.cli('PUBLISH', inbox, JSON.stringify({ $to: channel, $join: 'news' }))
    await until(async () => (await layer.groupSize('news')) === 1)
    await server.cli('PUBLISH', inbox, JSON.stringify({ $to: channel, $leave: 'chat' }))
    await until(async () => (await layer.groupSize('chat')) === 0)
    await layer.groupSend('news', text('all'))
    expect(got).toEqual([text('you'), text('all')])
  })

  test('redis-cli sends to a worker, and reads who is in a group', async () => {
    await server.cli('XADD', 'signalbox:channel:thumbnails', '*', 'message', '{"type":"image.resize","path":"a.png"}')
    await expect(layer.receive('thumbnails')).resolves.toEqual({ type: 'image.resize', path: 'a.png' })
    expect(await server.cli('ZRANGEBYLEX', `signalbox:members:${layer.process}`, '[chat ', '(chat!')).toBe(
      `chat ${channel}`,
    )
  })

  test('redis-cli hears what is sent to a group', async () => {
    const monitor = await server.monitor()
    await layer.groupSend('chat', { type: 'chat.message', bytes: new Uint8Array([1]) } as Event)
    const [published = ''] = await monitor.stop()
    const json: unknown = JSON.parse(JSON.parse(published.slice(published.indexOf('"{'))) as string)
    expect(json).toEqual({ $from: `${layer.process}.1`, type: 'chat.message', bytes: { $bytes: 'AQ==' } })
  })

  const bad: readonly (readonly [string, string])[] = [
    ['nothing', ''],
    ['no JSON', '{"type":'],
    ['no message', '"hi"'],
    ['no type', '{"text":"hi"}'],
    ['a type without a dot', '{"type":"constructor"}'],
    ['bytes that are none', '{"type":"a.b","x":{"$bytes":1}}'],
    ['a request that is for an inbox', '{"$to":"x!1","$join":"chat"}'],
  ]
  test.each(bad)('%s in a group is a counted drop, and the members live', async (_, message) => {
    await server.cli('PUBLISH', 'signalbox:group:chat', message)
    await server.cli('PUBLISH', 'signalbox:group:chat', '{"type":"chat.message","text":"hi"}')
    await until(() => got.length > 0)
    expect(got).toEqual([text('hi')])
    expect(layer.stats().dropped).toEqual({ malformed: 1 })
  })

  test.each([
    ...bad,
    ['no channel', '{"type":"a.b"}'],
    ['the channel of another process', '{"$to":"other!1","type":"a.b"}'],
    ['a bad group name', '{"$to":"CHANNEL","$join":"a b"}'],
  ])('%s in an inbox is a counted drop', async (_, message) => {
    await server.cli('PUBLISH', `signalbox:process:${layer.process}`, message.replace('CHANNEL', channel))
    await until(() => layer.stats().dropped['malformed'] === 1)
    expect(got).toEqual([])
  })

  test('a huge message is a counted drop, and the members live', async () => {
    await server.cli('PUBLISH', 'signalbox:group:chat', JSON.stringify({ type: 'a.b', text: 'x'.repeat(100_000) }))
    await server.cli('PUBLISH', 'signalbox:group:chat', '{"type":"chat.message","text":"hi"}')
    await until(() => got.length > 0)
    expect([got, layer.stats().dropped]).toEqual([[text('hi')], { too_large: 1 }])
  })

  test('what is no message in a stream is a dead letter that says what is wrong and what was there', async () => {
    const stream = 'signalbox:channel:thumbnails'
    const letters: DeadLetter[] = []
    const worker = await RedisLayer.open({
      url: server.url,
      maxMessageSize: 10_000,
      onDeadLetter: (letter) => letters.push(letter),
    })
    const huge = JSON.stringify({ type: 'a.b', text: 'x'.repeat(20_000) })
    await server.cli('XADD', stream, '*', 'foo', 'bar', 'text', 'hi')
    await server.cli('XADD', stream, '*', 'message', '')
    await server.cli('XADD', stream, '*', 'message', '{"type":"nodot"}')
    await server.cli('XADD', stream, '*', 'message', huge)
    await worker.send('thumbnails', text('hi'))
    await expect(worker.receive('thumbnails')).resolves.toEqual(text('hi'))
    await until(() => letters.length === 4)
    expect(letters.toSorted((one, other) => one.error.localeCompare(other.error))).toMatchObject([
      { reason: 'too_large', message: huge, error: `it has ${huge.length} bytes, and 10000 is the limit` },
      { reason: 'malformed', message: '["foo","bar","text","hi"]', error: 'it has no field message, but foo, text' },
      { reason: 'malformed', message: '{"type":"nodot"}', error: 'it has no type with a dot in it' },
      { reason: 'malformed', message: '', error: 'it is empty' },
    ])
    expect(worker.stats().dropped).toEqual({ malformed: 3, too_large: 1 })
    expect([await server.cli('XLEN', stream), await server.cli('XLEN', `{${stream}}:dead`)]).toEqual(['0', '4'])
    expect(await server.cli('XRANGE', `{${stream}}:dead`, '-', '+')).toContain('["foo","bar","text","hi"]')
    await worker.close()
  })

  test('what is too old and no message is a dead letter that says what was there', async () => {
    const stream = 'signalbox:channel:full'
    const letters: DeadLetter[] = []
    const sender = await RedisLayer.open({
      url: server.url,
      capacity: 1,
      onDeadLetter: (letter) => letters.push(letter),
    })
    await server.cli('XADD', stream, '*', 'foo', 'bar', 'at', '0')
    await sender.send('full', text('hi'))
    expect(letters).toMatchObject([{ reason: 'expired', message: '["foo","bar","at","0"]' }])
    await sender.close()
  })

  test('a key that is no stream is an error for the sender, and nothing else', async () => {
    await server.cli('SET', 'signalbox:channel:wrong', 'x')
    await expect(layer.send('wrong', text('hi'))).rejects.toMatchObject({ code: 'send_failed' })
    await layer.groupSend('chat', text('hi'))
    expect(got).toEqual([text('hi')])
  })

  const python = pythonWithRedis()
  // oxlint-disable-next-line jest/no-disabled-tests -- which Python has the package, no program on the PATH says
  const pythonTest = python === undefined && process.env['SIGNALBOX_REQUIRE_TOOLS'] !== '1' ? test.skip : test
  pythonTest(
    `the page's Python sends and hears [python3 with the package redis: ${python ?? 'skipped: not installed'}]`,
    async () => {
      const page = readFileSync(readme, 'utf8')
      const program = /```python\n([\s\S]*?)```/.exec(page)?.[1]?.replace('redis://127.0.0.1:6379', server.url) ?? ''
      const child = spawn(python ?? '', ['-u', '-c', program], { stdio: ['ignore', 'pipe', 'inherit'] })
      try {
        await until(() => got.length > 0)
        expect(got).toEqual([text('hello from Python')])
        await expect(layer.receive('thumbnails')).resolves.toEqual({
          type: 'image.resize',
          png: new Uint8Array([0x89, 0x50, 0x4e, 0x47]),
        })
        await until(async () => (await server.cli('PUBSUB', 'NUMSUB', 'signalbox:group:chat')).endsWith('2'))
        const line = once(createInterface({ input: child.stdout }), 'line')
        await layer.groupSend('chat', text('hello from Node'))
        expect(await line).toEqual(['hello from Node'])
      } finally {
        child.kill('SIGKILL')
      }
    },
  )

  test('the page of the wire format names every key that there is', async () => {
    await layer.send('work', text('hi'))
    const page = readFileSync(readme, 'utf8')
    const keys = (await server.cli('KEYS', '*'))
      .split('\n')
      .map((key) => key.replace(layer.process, 'PROCESS').replace('work', 'CHANNEL'))
    for (const key of keys) expect(page).toContain(`\`${key}\``)
  })
})

function pythonWithRedis(): string | undefined {
  return ['python3', '/usr/bin/python3'].find((python) => spawnSync(python, ['-c', 'import redis']).status === 0)
}
