/** Several workers on one Redis: what one of them was given and did not do is done by another, and nothing is left behind. */
import { expect, test } from '@jest/globals'
import type { Event } from '../../src/asgi/protocol.ts'
import type { RedisLayer } from '../../src/layers/redis.ts'
import { requires } from '../support/requirements.ts'
import { text, until, wordsOf } from './messages.ts'
import { Processes, said } from './processes.ts'

requires('redis-server', 'redis-cli').describe('several workers on one Redis', () => {
  const on = new Processes()

  test('the task of a worker that is killed in the middle of it is done by another', async () => {
    const child = await on.start('doomed')
    const took = said(child, 'took')
    child.send(['work', 'tasks', 0])
    const a = await on.open({ claimAfter: 300 })
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
    expect(await on.server.cli('XLEN', `${on.prefix}:channel:tasks`)).toBe('0')
  })

  test('a task that takes longer than claimAfter is not given to another while its worker lives', async () => {
    const [a, b] = [await on.open({ claimAfter: 1500 }), await on.open({ claimAfter: 1500 })]
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
    const a = await on.open({ retry: { delay: 60_000 } })
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
    const b = await on.open()
    const handled = Promise.withResolvers<number>()
    const other = new AbortController()
    const otherWorking = b.consume('tasks', (_, { attempt }) => handled.resolve(attempt), { signal: other.signal })
    expect(await handled.promise).toBe(2)
    other.abort()
    await otherWorking
  })

  test('what a stopped worker gives back goes before what is new, however few take it over at once', async () => {
    const [a, b] = [await on.open({ retry: { delay: 60_000 } }), await on.open()]
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
    const [a, b] = [await on.open({ capacity: 200 }), await on.open({ claimAfter: 900, retry: { attempts: 1 } })]
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
    const [a, b] = [await on.open({ claimAfter: 600 }), await on.open({ claimAfter: 600 })]
    await abandon(b, 'old')
    const controller = new AbortController()
    await on.server.cli('ACL', 'SETUSER', 'default', '-client|unblock')
    try {
      const cancelled = a.receive('work', { signal: controller.signal })
      await until(async () => /name=\S* .*cmd=xreadgroup/.test(await on.server.cli('CLIENT', 'LIST')))
      controller.abort(new Error('enough'))
      await expect(cancelled).rejects.toThrow('enough')
      // Longer than two looks at what there is to do: now it rests.
      await new Promise((resolve) => setTimeout(resolve, 500))
      const received = a.receive('work')
      await b.close()
      await expect(received).resolves.toEqual(text('old'))
    } finally {
      await on.server.cli('ACL', 'SETUSER', 'default', '+client|unblock')
    }
  })

  test('a layer that is closed while it begins to read keeps no connection', async () => {
    for (let turns = 0; turns < 20; turns++) {
      const layer = await on.open()
      const told = expect(layer.receive('work')).rejects.toMatchObject({ code: 'closing' })
      for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
      await layer.close()
      await told
    }
    const clients = async () => (await on.server.cli('CLIENT', 'LIST')).split('\n').length
    // The server hears of the end of the last ones a moment later.
    for (let looks = 0; looks < 200 && (await clients()) > 1; looks++) await new Promise(setImmediate)
    expect(await clients()).toBe(1)
  })

  test('a Redis that does not say which connection is which is not asked on ever more of them', async () => {
    const layer = await on.open()
    await on.server.cli('ACL', 'SETUSER', 'default', '-client|id')
    try {
      const received = layer.receive('work')
      await until(async () => (await on.server.cli('ACL', 'LOG')).includes('client|id'))
      await until(async () => Number(/count\n(\d+)/.exec(await on.server.cli('ACL', 'LOG'))?.[1]) >= 5)
      // Its two, the one that asks, and perhaps the one that is being tried and the one before.
      expect((await on.server.cli('CLIENT', 'LIST')).split('\n').length).toBeLessThanOrEqual(5)
      await on.server.cli('ACL', 'SETUSER', 'default', '+client|id')
      await layer.send('work', text('hi'))
      await expect(received).resolves.toEqual(text('hi'))
    } finally {
      await on.server.cli('ACL', 'SETUSER', 'default', '+client|id')
    }
  })

  test('an attempt that Redis would not count is counted all the same', async () => {
    const layer = await on.open({ retry: { delay: 1 } })
    await layer.send('work', text('again'))
    const controller = new AbortController()
    const attempts: number[] = []
    const handler = async (_: Event, { attempt }: { readonly attempt: number }) => {
      attempts.push(attempt)
      if (attempts.length === 1) {
        await on.server.cli('ACL', 'SETUSER', 'default', '-eval')
        throw new Error('not yet')
      }
      await on.server.cli('ACL', 'SETUSER', 'default', '+eval')
      controller.abort()
    }
    await layer.consume('work', handler, { signal: controller.signal })
    expect(attempts).toEqual([1, 2])
  })

  test('workers that end leave nothing behind', async () => {
    const [a, b] = [await on.open(), await on.open()]
    const controller = new AbortController()
    const working = [a, b].map((layer) => layer.consume('tasks', () => {}, { signal: controller.signal }))
    for (let number = 0; number < 20; number++) await a.send('tasks', text(String(number)))
    await until(async () => (await on.server.cli('XLEN', `${on.prefix}:channel:tasks`)) === '0')
    controller.abort()
    await Promise.all(working)
    await a.close()
    expect(await on.server.cli('XINFO', 'CONSUMERS', `${on.prefix}:channel:tasks`, 'workers')).not.toContain(a.process)
    await b.close()
    expect(await on.server.cli('KEYS', `*${on.prefix}:*`)).toBe('')
  })

  test('dead letters are kept in a stream, with what was wrong', async () => {
    const layer = await on.open({ retry: { attempts: 1 }, maxDeadLetters: 10 })
    await layer.send('tasks', text('bad'))
    const controller = new AbortController()
    const fail = () => Promise.reject(new Error('no such file'))
    const working = layer.consume('tasks', fail, { signal: controller.signal })
    await until(() => layer.stats().dropped['dead'] === 1)
    controller.abort()
    await working
    const letters = await on.server.cli('XRANGE', `{${on.prefix}:channel:tasks}:dead`, '-', '+')
    expect(letters).toContain('{"type":"chat.message","text":"bad"}')
    expect(letters).toContain('no such file')
  })
})
