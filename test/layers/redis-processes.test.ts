/** Several processes on one Redis: groups, channels of each other, presence, and what all that costs. */
import { expect, test } from '@jest/globals'
import { once } from 'node:events'
import type { Event } from '../../src/asgi/protocol.ts'
import type { RedisLayer } from '../../src/layers/redis.ts'
import { requires } from '../support/requirements.ts'
import { text, until, wordsOf } from './messages.ts'
import { Processes, member, named, said } from './processes.ts'

requires('redis-server', 'redis-cli').describe('several processes on one Redis', () => {
  const on = new Processes()

  test('a group message reaches the members of every process once, and the sender hears of its own', async () => {
    const [a, b] = [await on.open(), await on.open()]
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
    const [a, b] = [await on.open(), await on.open()]
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
    const [a, b] = [await on.open(), await on.open()]
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
    const [a, b, c] = [await on.open(), await on.open(), await on.open()]
    for (const layer of [a, b]) await layer.groupAdd('chat', 'archive')
    expect([await c.groupMembers('chat'), await c.groupSize('chat')]).toEqual([['archive'], 1])
    await member(b, 'chat')
    expect([await a.groupSize('chat'), await b.groupSize('chat'), await c.groupSize('chat')]).toEqual([2, 2, 2])
    for (const [index, layer] of [a, b, c].entries()) await layer.groupSend('chat', text(String(index)))
    const words = new Set<string>()
    while (words.size < 3) words.add(wordsOf(await c.receive('archive')))
    await a.groupSend('chat', text('last'))
    await expect(c.receive('archive')).resolves.toEqual(text('last'))
    expect(await on.server.cli('XLEN', `${on.prefix}:channel:archive`)).toBe('0')
  })

  test('a group message to 1,000 members in two processes is one PUBLISH', async () => {
    const [a, b] = [await on.open(), await on.open()]
    let got = 0
    const join = async (layer: RedisLayer) => {
      for (let number = 0; number < 500; number++)
        await layer.groupAdd('chat', layer.newChannel({ deliverMessage: () => ++got > 0 }))
    }
    const joining = await on.server.monitor()
    await Promise.all([join(a), join(b)])
    const joined = await joining.stop()
    expect(named(joined).filter((name) => name === 'SUBSCRIBE')).toHaveLength(2)
    const sending = await on.server.monitor()
    await a.groupSend('chat', text('hi'))
    await until(() => got === 1000)
    expect(named(await sending.stop())).toEqual(['PUBLISH'])
  })

  test('a group message to 1,000 members in this and in a real second process is one PUBLISH', async () => {
    const a = await on.open()
    const child = await on.start('second')
    child.send(['join', 'chat', 500])
    await said(child, 'joined')
    let got = 0
    for (let number = 0; number < 500; number++)
      await a.groupAdd('chat', a.newChannel({ deliverMessage: () => ++got > 0 }))
    expect([await a.groupSize('chat'), (await a.groupMembers('chat')).length]).toEqual([1000, 1000])
    const answer = once(child, 'message')
    const sending = await on.server.monitor()
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
    const layer = await on.open({ presenceTimeout: 30 })
    const monitor = await on.server.monitor()
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
    const layer = await on.open()
    const controller = new AbortController()
    const handled = Promise.withResolvers<Event>()
    const working = layer.consume('work', (message) => handled.resolve(message), {
      signal: controller.signal,
      concurrency: 4,
    })
    await until(async () => (await on.server.cli('INFO', 'clients')).includes('blocked_clients:1'))
    const monitor = await on.server.monitor()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(await monitor.stop()).toEqual([])
    await layer.send('work', text('hi'))
    expect(await handled.promise).toEqual(text('hi'))
    controller.abort()
    await working
  })

  test('joins of one turn are one write, and the process that leaves is seen to leave', async () => {
    const [a, b] = [await on.open(), await on.open()]
    const channels = Array.from({ length: 300 }, () => a.newChannel({ deliverMessage: () => true }))
    const monitor = await on.server.monitor()
    await Promise.all(channels.flatMap((channel) => [a.groupAdd('x', channel), a.groupAdd('y', channel)]))
    expect(named(await monitor.stop()).toSorted()).toEqual(['PEXPIRE', 'SUBSCRIBE', 'SUBSCRIBE', 'ZADD', 'ZADD'])
    expect([await b.groupSize('x'), (await b.groupMembers('y')).toSorted()]).toEqual([300, channels.toSorted()])
    for (const channel of channels.slice(1)) await a.closeChannel(channel)
    await until(async () => (await b.groupSize('x')) === 1)
    await a.close()
    expect([
      await b.groupSize('x'),
      await on.server.cli('EXISTS', `${on.prefix}:processes`, `${on.prefix}:members:${a.process}`),
    ]).toEqual([0, '0'])
  })

  test('a process that was taken for dead by mistake comes back', async () => {
    const [a, b] = [await on.open({ presenceTimeout: 600 }), await on.open()]
    const { channel } = await member(a, 'chat')
    expect(await on.server.cli('DEL', `${on.prefix}:members:${a.process}`)).toBe('1')
    await until(async () => (await b.groupSize('chat')) === 1)
    expect(await b.groupMembers('chat')).toEqual([channel])
  })
})
