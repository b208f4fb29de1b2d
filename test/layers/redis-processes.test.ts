/** Several processes on one Redis: groups, channels of each other, work, presence, and what all that costs. */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Event } from '../../src/asgi/protocol.ts'
import { RedisLayer } from '../../src/layers/redis.ts'
import type { RedisLayerOptions } from '../../src/layers/redis-options.ts'
import { requires } from '../support/requirements.ts'
import { text, until, wordsOf } from './messages.ts'
import { RedisServer } from './redis-server.ts'

requires('redis-server', 'redis-cli').describe('several processes on one Redis', () => {
  let server: RedisServer
  let prefix = ''
  let tests = 0
  const layers: RedisLayer[] = []
  const children: ChildProcess[] = []

  beforeAll(async () => {
    server = await RedisServer.start()
  })

  afterEach(async () => {
    for (const layer of layers.splice(0)) await layer.close()
    for (const child of children.splice(0)) child.kill('SIGKILL')
    prefix = `test${++tests}`
  })

  afterAll(async () => {
    await server.stop()
  })

  const open = async (options: RedisLayerOptions = {}) => {
    const layer = await RedisLayer.open({ url: server.url, prefix, ...options })
    layers.push(layer)
    return layer
  }

  const start = async (process: string) => {
    const child = fork(join(import.meta.dirname, 'child.ts'), [server.url, prefix, process], { execArgv: [] })
    children.push(child)
    await said(child, 'ready')
    return child
  }

  const member = async (layer: RedisLayer, group: string) => {
    const got: Event[] = []
    const channel = layer.newChannel({ deliverMessage: (message) => got.push(message) > 0 })
    await layer.groupAdd(group, channel)
    return { got, channel }
  }

  test('a group message reaches the members of every process once, and the sender hears of its own', async () => {
    const [a, b] = [await open(), await open()]
    const [inA, inB, alsoInB] = [await member(a, 'chat'), await member(b, 'chat'), await member(b, 'chat')]
    await member(b, 'other')
    const message = { type: 'chat.message', text: 'hi', bytes: new Uint8Array([0, 255]), $from: 'x', at: new Date(5) }
    await expect(a.groupSend('chat', message)).resolves.toEqual({ delivered: 1, dropped: 0 })
    await until(() => alsoInB.got.length > 0)
    for (const { got } of [inA, inB, alsoInB]) expect(got).toStrictEqual([message])
    expect(Object.isFrozen(inB.got[0])).toBe(true)
    await b.groupSend('chat', text('back'))
    await until(() => inA.got.length === 2)
    expect(inB.got).toHaveLength(2)
  })

  test('a message to a channel of another process arrives there, in order', async () => {
    const [a, b] = [await open(), await open()]
    const channel = b.newChannel()
    await Promise.all(Array.from({ length: 50 }, (_, number) => a.send(channel, text(String(number)))))
    for (let number = 0; number < 50; number++) expect(await b.receive(channel)).toEqual(text(String(number)))
    await expect(a.receive(channel)).rejects.toMatchObject({ code: 'bad_name' })
    await b.closeChannel(channel)
    await a.send(channel, text('late'))
    await until(() => b.stats().dropped['closed'] === 1)
    await b.close()
    await a.send(channel, text('nobody'))
    await until(() => a.stats().dropped['closed'] === 1)
  })

  test('a channel of another process can be put into a group, and taken out', async () => {
    const [a, b] = [await open(), await open()]
    const got: Event[] = []
    const channel = b.newChannel({ deliverMessage: (message) => got.push(message) > 0 })
    await a.groupAdd('chat', channel)
    await until(async () => (await a.groupSize('chat')) === 1)
    await a.groupSend('chat', text('1'))
    await until(() => got.length === 1)
    await a.groupDiscard('chat', channel)
    await until(async () => (await a.groupSize('chat')) === 0)
    await a.groupSend('chat', text('2'))
    await a.send(channel, text('3'))
    await until(() => got.length === 2)
    expect(got).toEqual([text('1'), text('3')])
  })

  test('a named channel that two processes put into a group gets each message once', async () => {
    const [a, b, c] = [await open(), await open(), await open()]
    for (const layer of [a, b]) await layer.groupAdd('chat', 'archive')
    expect([await c.groupMembers('chat'), await c.groupSize('chat')]).toEqual([['archive'], 1])
    await member(b, 'chat')
    expect([await a.groupSize('chat'), await b.groupSize('chat'), await c.groupSize('chat')]).toEqual([2, 2, 2])
    for (const [index, layer] of [a, b, c].entries()) await layer.groupSend('chat', text(String(index)))
    const words = new Set<string>()
    while (words.size < 3) words.add(wordsOf(await c.receive('archive')))
    await a.groupSend('chat', text('last'))
    await expect(c.receive('archive')).resolves.toEqual(text('last'))
    expect(await server.cli('XLEN', `${prefix}:channel:archive`)).toBe('0')
  })

  test('a group message to 1,000 members in two processes is one PUBLISH', async () => {
    const [a, b] = [await open(), await open()]
    let got = 0
    const join = async (layer: RedisLayer) => {
      for (let number = 0; number < 500; number++)
        await layer.groupAdd('chat', layer.newChannel({ deliverMessage: () => ++got > 0 }))
    }
    const joining = await server.monitor()
    await Promise.all([join(a), join(b)])
    const joined = await joining.stop()
    expect(named(joined).filter((name) => name === 'SUBSCRIBE')).toHaveLength(2)
    const sending = await server.monitor()
    await a.groupSend('chat', text('hi'))
    await until(() => got === 1000)
    expect(named(await sending.stop())).toEqual(['PUBLISH'])
  })

  test('a group message to 1,000 members in this and in a real second process is one PUBLISH', async () => {
    const a = await open()
    const child = await start('second')
    child.send(['join', 'chat', 500])
    await said(child, 'joined')
    let got = 0
    for (let number = 0; number < 500; number++)
      await a.groupAdd('chat', a.newChannel({ deliverMessage: () => ++got > 0 }))
    expect([await a.groupSize('chat'), (await a.groupMembers('chat')).length]).toEqual([1000, 1000])
    const answer = once(child, 'message')
    const sending = await server.monitor()
    await expect(a.groupSend('chat', text('hi'))).resolves.toEqual({ delivered: 500, dropped: 0 })
    expect((await answer)[0]).toEqual({ got: 500, last: text('hi') })
    const commands = named(await sending.stop())
    expect(commands.filter((name) => name === 'PUBLISH')).toHaveLength(1)
    // What else there may be is the signs of life of two processes.
    expect(commands.filter((name) => name !== 'PUBLISH' && name !== 'PEXPIRE' && !name.startsWith('Z'))).toEqual([])
    expect(got).toBe(500)

    const order: string[] = []
    await a.groupAdd('order', a.newChannel({ deliverMessage: (message) => order.push(wordsOf(message)) > 0 }))
    child.send(['send', 'order', 500])
    await until(() => order.length === 500)
    expect(order).toEqual(Array.from({ length: 500 }, (_, number) => String(number)))

    // Presence: killed, it says nothing more.
    child.kill('SIGKILL')
    await once(child, 'exit')
    await until(async () => (await a.groupSize('chat')) === 500)
    expect(await a.groupMembers('chat')).toHaveLength(500)
  })

  test('the traffic of one process costs no command', async () => {
    const layer = await open({ presenceTimeout: 30 })
    const monitor = await server.monitor()
    const got: Event[] = []
    const channel = layer.newChannel({ deliverMessage: (message) => got.push(message) > 0 })
    const pulled = layer.newChannel()
    for (let number = 0; number < 100; number++) {
      await layer.send(channel, text('echo'))
      await layer.send(pulled, text('echo'))
      await layer.receive(pulled)
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
    await layer.closeChannel(channel)
    expect(await monitor.stop()).toEqual([])
    expect(got).toHaveLength(100)
  })

  test('an idle worker costs no command until there is work', async () => {
    const layer = await open()
    const controller = new AbortController()
    const handled = Promise.withResolvers<Event>()
    const working = layer.consume('work', (message) => handled.resolve(message), {
      signal: controller.signal,
      concurrency: 4,
    })
    await until(async () => (await server.cli('INFO', 'clients')).includes('blocked_clients:1'))
    const monitor = await server.monitor()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(await monitor.stop()).toEqual([])
    await layer.send('work', text('hi'))
    expect(await handled.promise).toEqual(text('hi'))
    controller.abort()
    await working
  })

  test('joins of one turn are one write, and the process that leaves is seen to leave', async () => {
    const [a, b] = [await open(), await open()]
    const channels = Array.from({ length: 300 }, () => a.newChannel({ deliverMessage: () => true }))
    const monitor = await server.monitor()
    await Promise.all(channels.flatMap((channel) => [a.groupAdd('x', channel), a.groupAdd('y', channel)]))
    expect(named(await monitor.stop()).toSorted()).toEqual(['PEXPIRE', 'SUBSCRIBE', 'SUBSCRIBE', 'ZADD', 'ZADD'])
    expect([await b.groupSize('x'), (await b.groupMembers('y')).toSorted()]).toEqual([300, channels.toSorted()])
    for (const channel of channels.slice(1)) await a.closeChannel(channel)
    await until(async () => (await b.groupSize('x')) === 1)
    await a.close()
    expect([
      await b.groupSize('x'),
      await server.cli('EXISTS', `${prefix}:processes`, `${prefix}:members:${a.process}`),
    ]).toEqual([0, '0'])
  })

  test('a process that was taken for dead by mistake comes back', async () => {
    const [a, b] = [await open({ presenceTimeout: 600 }), await open()]
    const { channel } = await member(a, 'chat')
    expect(await server.cli('DEL', `${prefix}:members:${a.process}`)).toBe('1')
    await until(async () => (await b.groupSize('chat')) === 1)
    expect(await b.groupMembers('chat')).toEqual([channel])
  })

  test('the task of a worker that is killed in the middle of it is done by another', async () => {
    const child = await start('doomed')
    const took = said(child, 'took')
    child.send(['work', 'tasks', 0])
    const a = await open({ claimAfter: 300 })
    await a.send('tasks', text('the task'))
    expect(await took).toEqual({ took: text('the task') })
    const controller = new AbortController()
    const done = Promise.withResolvers<readonly [Event, number]>()
    const working = a.consume('tasks', (message, { attempt }) => done.resolve([message, attempt]), {
      signal: controller.signal,
    })
    child.kill('SIGKILL')
    expect(await done.promise).toEqual([text('the task'), 2])
    controller.abort()
    await working
    expect(await server.cli('XLEN', `${prefix}:channel:tasks`)).toBe('0')
  })

  test('a task that takes longer than claimAfter is not given to another while its worker lives', async () => {
    const [a, b] = [await open({ claimAfter: 1500 }), await open({ claimAfter: 1500 })]
    const controller = new AbortController()
    const { signal } = controller
    const handled: string[] = []
    const release = Promise.withResolvers<void>()
    const working = [a, b].map((layer) =>
      layer.consume(
        'tasks',
        async (message) => {
          handled.push(wordsOf(message))
          if (wordsOf(message) === 'slow') await release.promise
        },
        { signal },
      ),
    )
    await a.send('tasks', text('slow'))
    await new Promise((resolve) => setTimeout(resolve, 3000))
    await a.send('tasks', text('quick'))
    await until(() => handled.length === 2)
    release.resolve()
    controller.abort()
    await Promise.all(working)
    expect(handled).toEqual(['slow', 'quick'])
  })

  test('what waits for its next attempt when its worker stops is for the others', async () => {
    const a = await open({ retry: { delay: 60_000 } })
    const controller = new AbortController()
    await a.send('tasks', text('again'))
    const failed = Promise.withResolvers<void>()
    const fail = () => {
      failed.resolve()
      throw new Error('not here')
    }
    const working = a.consume('tasks', fail, { signal: controller.signal })
    await failed.promise
    controller.abort()
    await working
    const b = await open()
    const handled = Promise.withResolvers<number>()
    const other = new AbortController()
    const otherWorking = b.consume('tasks', (_, { attempt }) => handled.resolve(attempt), { signal: other.signal })
    expect(await handled.promise).toBe(2)
    other.abort()
    await otherWorking
  })

  test('what a stopped worker gives back goes before what is new, however few take it over at once', async () => {
    const [a, b] = [await open({ retry: { delay: 60_000 } }), await open()]
    const controller = new AbortController()
    for (const words of ['1', '2', '3']) await a.send('work', text(words))
    let tried = 0
    const fail = () => {
      if (++tried === 3) controller.abort()
      throw new Error('not yet')
    }
    await a.consume('work', fail, { signal: controller.signal, concurrency: 3 })
    await a.send('work', text('4'))
    for (const words of ['1', '2', '3', '4']) await expect(b.receive('work')).resolves.toEqual(text(words))
  })

  /** One that a worker took, and with which it ended. */
  const abandon = async (layer: RedisLayer, ...messages: readonly string[]) => {
    const { signal } = new AbortController()
    const taken = Promise.withResolvers<void>()
    let count = 0
    const handler = () => {
      if (++count === messages.length) taken.resolve()
      return new Promise<void>(() => undefined)
    }
    for (const words of messages) await layer.send('work', text(words))
    layer.consume('work', handler, { signal, concurrency: messages.length }).catch(() => undefined)
    await taken.promise
  }

  test('what many dead workers left is looked for in one go, also while nothing new comes', async () => {
    const [a, b] = [await open({ capacity: 200 }), await open({ claimAfter: 900, retry: { attempts: 1 } })]
    await abandon(a, ...Array.from({ length: 200 }, (_, number) => String(number)))
    await a.close()
    const controller = new AbortController()
    const working = b.consume('work', () => undefined, { signal: controller.signal })
    // With one a look this would take longer than a test may.
    await until(() => b.stats().dropped['dead'] === 200)
    controller.abort()
    await working
  })

  test('who waits on a read that could not be called off is given what a dead worker left', async () => {
    const [a, b] = [await open({ claimAfter: 600 }), await open({ claimAfter: 600 })]
    await abandon(b, 'old')
    const controller = new AbortController()
    await server.cli('ACL', 'SETUSER', 'default', '-client|unblock')
    try {
      const cancelled = a.receive('work', { signal: controller.signal })
      await until(async () => /name=\S* .*cmd=xreadgroup/.test(await server.cli('CLIENT', 'LIST')))
      controller.abort(new Error('enough'))
      await expect(cancelled).rejects.toThrow('enough')
      // Longer than two looks at what there is to do: now it rests.
      await new Promise((resolve) => setTimeout(resolve, 500))
      const received = a.receive('work')
      await b.close()
      await expect(received).resolves.toEqual(text('old'))
    } finally {
      await server.cli('ACL', 'SETUSER', 'default', '+client|unblock')
    }
  })

  test('a layer that is closed while it begins to read keeps no connection', async () => {
    for (let turns = 0; turns < 20; turns++) {
      const layer = await open()
      const told = expect(layer.receive('work')).rejects.toMatchObject({ code: 'closing' })
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
      await layer.close()
      await told
    }
    const clients = async () => (await server.cli('CLIENT', 'LIST')).split('\n').length
    // The server hears of the end of the last ones a moment later.
    for (let looks = 0; looks < 200 && (await clients()) > 1; looks++) await new Promise(setImmediate)
    expect(await clients()).toBe(1)
  })

  test('a Redis that does not say which connection is which is not asked on ever more of them', async () => {
    const layer = await open()
    await server.cli('ACL', 'SETUSER', 'default', '-client|id')
    try {
      const received = layer.receive('work')
      await until(async () => (await server.cli('ACL', 'LOG')).includes('client|id'))
      await until(async () => Number(/count\n(\d+)/.exec(await server.cli('ACL', 'LOG'))?.[1]) >= 5)
      // Its two, the one that asks, and perhaps the one that is being tried and the one before.
      expect((await server.cli('CLIENT', 'LIST')).split('\n').length).toBeLessThanOrEqual(5)
      await server.cli('ACL', 'SETUSER', 'default', '+client|id')
      await layer.send('work', text('hi'))
      await expect(received).resolves.toEqual(text('hi'))
    } finally {
      await server.cli('ACL', 'SETUSER', 'default', '+client|id')
    }
  })

  test('an attempt that Redis would not count is counted all the same', async () => {
    const layer = await open({ retry: { delay: 1 } })
    await layer.send('work', text('again'))
    const controller = new AbortController()
    const attempts: number[] = []
    const handler = async (_: Event, { attempt }: { readonly attempt: number }) => {
      attempts.push(attempt)
      if (attempts.length === 1) {
        await server.cli('ACL', 'SETUSER', 'default', '-eval')
        throw new Error('not yet')
      }
      await server.cli('ACL', 'SETUSER', 'default', '+eval')
      controller.abort()
    }
    await layer.consume('work', handler, { signal: controller.signal })
    expect(attempts).toEqual([1, 2])
  })

  test('workers that end leave nothing behind', async () => {
    const [a, b] = [await open(), await open()]
    const controller = new AbortController()
    const working = [a, b].map((layer) => layer.consume('tasks', () => {}, { signal: controller.signal }))
    for (let number = 0; number < 20; number++) await a.send('tasks', text(String(number)))
    await until(async () => (await server.cli('XLEN', `${prefix}:channel:tasks`)) === '0')
    controller.abort()
    await Promise.all(working)
    await a.close()
    expect(await server.cli('XINFO', 'CONSUMERS', `${prefix}:channel:tasks`, 'workers')).not.toContain(a.process)
    await b.close()
    expect(await server.cli('KEYS', `*${prefix}:*`)).toBe('')
  })

  test('dead letters are kept in a stream, with what was wrong', async () => {
    const layer = await open({ retry: { attempts: 1 }, maxDeadLetters: 10 })
    await layer.send('tasks', text('bad'))
    const controller = new AbortController()
    const fail = () => Promise.reject(new Error('no such file'))
    const working = layer.consume('tasks', fail, { signal: controller.signal })
    await until(() => layer.stats().dropped['dead'] === 1)
    controller.abort()
    await working
    const letters = await server.cli('XRANGE', `{${prefix}:channel:tasks}:dead`, '-', '+')
    expect(letters).toContain('{"type":"chat.message","text":"bad"}')
    expect(letters).toContain('no such file')
  })
})

function named(commands: readonly string[]): readonly string[] {
  return commands.map((command) => command.split('"')[1]?.toUpperCase() ?? '')
}

/** The child's next message that is `what`, or that has it as a key. */
async function said(child: ChildProcess, what: string): Promise<unknown> {
  for (;;) {
    const [message] = (await once(child, 'message')) as readonly unknown[]
    if (message === what || (typeof message === 'object' && message !== null && what in message)) return message
  }
}
