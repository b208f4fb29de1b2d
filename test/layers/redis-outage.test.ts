/** Redis goes away in the middle of everything, and comes back: nobody is restarted. */
import { afterEach, expect, test } from '@jest/globals'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Event } from '../../src/asgi/protocol.ts'
import { RedisLayer } from '../../src/layers/redis.ts'
import type { RedisLayerOptions } from '../../src/layers/redis-options.ts'
import { requires } from '../support/requirements.ts'
import { collecting } from './collecting.ts'
import { text, until, wordsOf } from './messages.ts'
import { RedisServer } from './redis-server.ts'

requires('redis-server', 'redis-cli').describe('when Redis goes away', () => {
  let server: RedisServer
  const layers: RedisLayer[] = []

  afterEach(async () => {
    await Promise.all(layers.splice(0).map((layer) => layer.close()))
    await server.stop()
  })

  const open = async (options: RedisLayerOptions = {}) => {
    const layer = await RedisLayer.open({ url: server.url, ...options })
    layers.push(layer)
    return layer
  }

  const member = async (layer: RedisLayer, group: string) => {
    const got: string[] = []
    await layer.groupAdd(group, layer.newChannel({ deliverMessage: (message) => got.push(wordsOf(message)) > 0 }))
    return got
  }

  test('local traffic goes on, the rest is dropped and counted; when it is back, all is as before', async () => {
    server = await RedisServer.start()
    const lines: string[] = []
    // Signs of life so seldom that none of them mends anything.
    const [a, b] = [await open({ log: collecting(lines) }), await open({ presenceTimeout: 3_600_000 })]
    const [inA, inB, early] = [await member(a, 'chat'), await member(b, 'chat'), await member(b, 'early')]
    const remote = b.newChannel()
    const left = b.newChannel({ deliverMessage: () => true })
    await b.groupAdd('left', left)
    await server.kill()
    await until(() => !a.stats().connected && !b.stats().connected)

    await expect(a.groupSend('chat', text('1'))).resolves.toEqual({ delivered: 1, dropped: 0 })
    await expect(a.send(remote, text('lost'))).resolves.toBe('unreachable')
    await expect(a.send('work', text('no'))).rejects.toMatchObject({
      code: 'send_failed',
      message: 'the message for channel work was not stored: Redis is away',
    })
    expect(inA).toEqual(['1'])
    expect(a.stats()).toMatchObject({ connected: false, dropped: { unreachable: 3 } })
    // Joined, left, listed and received while it is away.
    const late = await member(b, 'late')
    await b.groupDiscard('left', left)
    expect([await a.groupSize('chat'), (await b.groupMembers('late')).length]).toEqual([1, 1])
    const received = a.receive('work')
    const controller = new AbortController()
    const cancelled = a.receive('work', { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(cancelled).rejects.toThrow('enough')

    await server.start()
    await until(() => Boolean(a.stats().connected && b.stats().connected))
    await until(async () => (await a.groupSize('late')) === 1 && (await a.groupSize('chat')) === 2)
    expect(await a.groupSize('left')).toBe(0)
    for (const group of ['chat', 'early', 'late']) {
      await until(async () =>
        (await server.cli('PUBSUB', 'NUMSUB', `signalbox:group:${group}`)).endsWith(group === 'chat' ? '2' : '1'),
      )
      await a.groupSend(group, text('2'))
    }
    await until(() => late.length > 0)
    expect([inA, inB, early, late]).toEqual([['1', '2'], ['2'], ['2'], ['2']])
    expect(await server.cli('PUBSUB', 'NUMSUB', 'signalbox:group:left')).toMatch(/0$/)
    await expect(a.send(remote, text('back'))).resolves.toBe('published')
    await expect(b.receive(remote)).resolves.toEqual(text('back'))
    await a.send('work', text('work'))
    await expect(received).resolves.toEqual(text('work'))
    // Said once when it goes, once when it comes.
    expect(lines).toEqual([
      'error Redis is away: going on within this process, trying to connect again',
      'info Redis is back',
    ])
  })

  test('nothing of a stream is lost, and what was being handled is acknowledged when it is back', async () => {
    server = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
    const [a, b] = [await open(), await open()]
    for (let number = 0; number < 20; number++) await a.send('work', text(String(number)))
    const controller = new AbortController()
    const handled: string[] = []
    const middle = Promise.withResolvers<void>()
    const away = Promise.withResolvers<void>()
    const working = b.consume(
      'work',
      async (message: Event) => {
        if (handled.length === 5) {
          middle.resolve()
          await away.promise
        }
        handled.push(wordsOf(message))
        if (handled.length === 21) controller.abort()
      },
      { signal: controller.signal },
    )
    await middle.promise
    await server.kill()
    await until(() => !b.stats().connected && !a.stats().connected)
    away.resolve()
    await server.start()
    await until(() => Boolean(a.stats().connected))
    await a.send('work', text('20'))
    await working
    expect(handled).toEqual(Array.from({ length: 21 }, (_, number) => String(number)))
    expect(await server.cli('XLEN', 'signalbox:channel:work')).toBe('0')
    expect(await server.cli('XPENDING', 'signalbox:channel:work', 'workers')).toMatch(/^0/)
  })

  test('whatever connections break, and whoever stops in the middle, nothing of a stream is lost', async () => {
    server = await RedisServer.start()
    const retry = { delay: 5, maxDelay: 20, attempts: 1000 }
    const [a, b] = [await open({ claimAfter: 150, retry }), await open({ claimAfter: 150, retry })]
    const count = 100
    const handled = new Set<string>()
    const done = () => handled.size === count
    const attempts: number[] = []
    const turn = () => AbortSignal.timeout(Math.ceil(20 + Math.random() * 100))
    const handler = (message: Event, { attempt }: { readonly attempt: number }) => {
      attempts.push(attempt)
      if (Math.random() < 0.2) throw new Error('not yet')
      handled.add(wordsOf(message))
    }
    const consume = async (layer: RedisLayer) => {
      while (!done()) await layer.consume('work', handler, { signal: turn(), concurrency: 3 })
    }
    const receive = async (layer: RedisLayer) => {
      while (!done()) {
        const received = await layer.receive('work', { signal: turn() }).catch(() => undefined)
        if (received) handled.add(wordsOf(received))
      }
    }
    const working = [consume(a), consume(b), receive(b)]
    const cutting = (async () => {
      while (!done()) {
        await new Promise((resolve) => setTimeout(resolve, 50))
        await server.cli('CLIENT', 'KILL', 'TYPE', 'normal')
      }
    })()
    for (let number = 0; number < count; number++) {
      const stored = () =>
        a.send('work', text(String(number))).then(
          () => true,
          () => false,
        )
      await until(stored)
    }
    await Promise.all([...working, cutting])
    expect(attempts.filter((attempt) => !Number.isInteger(attempt))).toEqual([])
  })

  test('a server that comes back without its streams is worked with as a new one', async () => {
    server = await RedisServer.start()
    const layer = await open()
    const controller = new AbortController()
    const handled: string[] = []
    const working = layer.consume('work', (message) => void handled.push(wordsOf(message)), {
      signal: controller.signal,
    })
    await layer.send('work', text('1'))
    await until(() => handled.length === 1)
    await server.cli('FLUSHALL')
    await layer.send('work', text('2'))
    await until(() => handled.length === 2)
    await server.kill()
    await until(() => !layer.stats().connected)
    await server.start()
    await until(() => Boolean(layer.stats().connected))
    await layer.send('work', text('3'))
    await until(() => handled.length === 3)
    controller.abort()
    await working
  })

  test('a flood while it is away is dropped and not kept', async () => {
    server = await RedisServer.start()
    const layer = await open()
    await server.kill()
    await until(() => !layer.stats().connected)
    const before = held()
    const words = 'x'.repeat(10_000)
    for (let number = 0; number < 10_000; number++) await layer.groupSend('chat', text(words))
    expect(layer.stats().dropped).toEqual({ unreachable: 10_000 })
    // 100 MB were sent.
    expect(held() - before).toBeLessThan(20_000_000)
  })

  test('a Redis that hangs is as one that is away, and it comes back', async () => {
    server = await RedisServer.start()
    const [a, b] = [await open({ answerTimeout: 300 }), await open({ answerTimeout: 300 })]
    const [inA, inB] = [await member(a, 'chat'), await member(b, 'chat')]
    const received = b.receive('work')
    await until(() => Boolean(a.stats().connected && b.stats().connected))
    server.hang()
    const stored = expect(b.send('work', text('no'))).rejects.toMatchObject({
      code: 'send_failed',
      message:
        'the message for channel work may not have been stored: the connection to Redis broke before the answer came',
    })
    const words = 'x'.repeat(10_000)
    for (let number = 0; number < 100; number++) {
      await expect(a.groupSend('chat', text(words))).resolves.toEqual({ delivered: 1, dropped: 0 })
    }
    await stored
    await until(() => !a.stats().connected && !b.stats().connected)
    expect(inA).toHaveLength(100)
    expect(a.stats().dropped['unreachable']).toBe(100)
    server.wake()
    await until(() => Boolean(a.stats().connected && b.stats().connected))
    await until(async () => {
      await a.groupSend('chat', text('back'))
      return inB.at(-1) === 'back'
    })
    await a.send('work', text('work'))
    // What was sent while it hung it may have taken after all: it had its bytes.
    expect(['no', 'work']).toContain(wordsOf(await received))
  })

  test('a gateway that starts before Redis connects to it when it comes', async () => {
    server = await RedisServer.start()
    await server.kill()
    const [a, b] = await Promise.all([open({ connectTimeout: 10 }), open({ connectTimeout: 10 })])
    const [inA, inB] = [await member(a, 'chat'), await member(b, 'chat')]
    await expect(a.groupSend('chat', text('1'))).resolves.toEqual({ delivered: 1, dropped: 0 })
    await server.start()
    await until(() => Boolean(a.stats().connected && b.stats().connected))
    await until(async () => (await a.groupSize('chat')) === 2)
    await until(async () => (await server.cli('PUBSUB', 'NUMSUB', 'signalbox:group:chat')).endsWith('2'))
    await a.groupSend('chat', text('2'))
    await until(() => inB.length > 0)
    expect([inA, inB]).toEqual([['1', '2'], ['2']])
  })

  test('a layer that is closed at once has sent what it was given', async () => {
    server = await RedisServer.start()
    const [a, b] = [await open(), await open()]
    const got = await member(b, 'chat')
    const remote = b.newChannel({ deliverMessage: (message) => got.push(wordsOf(message)) > 0 })
    const sent = [
      ...Array.from({ length: 100 }, (_, number) => a.groupSend('chat', text(String(number)))),
      a.send(remote, text('you')),
      a.send('work', text('work')),
    ]
    await a.close()
    await Promise.all(sent)
    expect(a.stats().dropped).toEqual({})
    await until(() => got.length === 101)
    await expect(b.receive('work')).resolves.toEqual(text('work'))
  })

  test('a layer can be closed while Redis hangs', async () => {
    server = await RedisServer.start()
    const layer = await open()
    await member(layer, 'chat')
    server.hang()
    await layer.groupSend('chat', text('nobody hears it'))
    const stored = expect(layer.send('work', text('no'))).rejects.toMatchObject({ code: 'send_failed' })
    await Promise.all([layer.close(), layer.close()])
    await stored
    await until(() => layer.stats().dropped['unreachable'] === 2)
  })

  test('a layer can be closed while Redis is away, whoever waits', async () => {
    server = await RedisServer.start()
    const layer = await open()
    await member(layer, 'chat')
    await server.kill()
    await until(() => !layer.stats().connected)
    const never = await RedisLayer.open({ url: server.url, connectTimeout: 10 })
    const { signal } = new AbortController()
    const told = Promise.allSettled([
      layer.receive('work'),
      layer.consume('work', () => {}, { signal }),
      never.receive('work'),
    ])
    await Promise.all([layer.close(), never.close()])
    expect((await told).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    await layer.close()
  })
})

/** Bytes on the heap, after what nobody holds any more is gone. */
function held(): number {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect === 'function') collect()
  return process.memoryUsage().heapUsed
}
