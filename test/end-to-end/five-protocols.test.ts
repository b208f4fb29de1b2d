/** A group with members on all five protocols: a text that one gateway receives reaches each of them on another. */
import { afterAll, beforeAll, expect } from '@jest/globals'
import path from 'node:path'
import { connectAsync } from 'mqtt'
import { RedisServer } from '../layers/redis-server.ts'
import { Gateways, type RunningGateway } from '../support/gateways.ts'
import { requires } from '../support/requirements.ts'

const { describe, test } = requires('redis-server', 'redis-cli')

describe('a group with members on five protocols', () => {
  let redis: RedisServer
  let gateways: Gateways
  let a: RunningGateway
  let b: RunningGateway

  beforeAll(async () => {
    redis = await RedisServer.start()
    gateways = await Gateways.create(path.join(import.meta.dirname, 'fixtures', 'five'), { REDIS: redis.url })
    ;[a, b] = await Promise.all([gateways.serve('a'), gateways.serve('b')])
  })
  afterAll(async () => {
    await gateways?.[Symbol.asyncDispose]()
    await redis?.stop()
  })

  test('a text that another gateway receives reaches them all, and they leave the group when they end', async () => {
    const page = await gateways.connect(b, '/')
    const stop = new AbortController()
    const feed = await fetch(b.urls['http'] as URL, { signal: stop.signal })
    const panel = await connectAsync(String(b.urls['mqtt']), { reconnectPeriod: 0 })
    const published = new Promise((resolve) =>
      panel.once('message', (topic, payload) => resolve([topic, payload.toString()])),
    )
    await panel.publishAsync('panels/hall', 'here I am', { qos: 1 })
    await gateways.run(['send', 'sms', '+447700900123', 'what is new?'], b)
    await gateways.run(['send', 'email', 'news@example.org', 'what is new?'], b)
    await gateways.untilGroupSize(a, 'news', 5)

    expect(await gateways.run(['send', 'sms', '+14155550100', 'hello'], a)).toContain('thank you')
    await page.hears('websocket: hello')
    expect(await published).toEqual(['news', 'mqtt: hello'])
    expect(await linesOf(feed, 2)).toEqual(['listening', 'http: hello'])
    await page.hears('sms: hello')
    await page.hears('email: hello')

    // Those whose peers only send have ended.
    await gateways.untilGroupSize(a, 'news', 3)
    stop.abort()
    await panel.endAsync()
    page.close()
    await gateways.untilGroupSize(a, 'news', 0)
  })
})

/** The first lines of a response that goes on. */
async function linesOf({ body }: Response, count: number): Promise<readonly string[]> {
  const reader = (body ?? new ReadableStream()).pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (text.split('\n').length <= count) text += (await reader.read()).value ?? ''
  return text.split('\n').slice(0, count)
}
