/** Several gateways and workers, each a process of its own, on one real Redis: what one hears the others tell. */
import { afterAll, afterEach, beforeAll, expect } from '@jest/globals'
import path from 'node:path'
import { RedisServer } from '../layers/redis-server.ts'
import { Gateways, type RunningGateway } from '../support/gateways.ts'
import { requires } from '../support/requirements.ts'

const { describe, test } = requires('redis-server', 'redis-cli')
const fixtures = path.join(import.meta.dirname, 'fixtures', 'layers')
const says = (text: string): string => JSON.stringify({ type: 'chat.message', text })

describe('two gateways on one Redis', () => {
  let redis: RedisServer
  let gateways: Gateways
  let a: RunningGateway
  let b: RunningGateway

  beforeAll(async () => {
    redis = await RedisServer.start()
    gateways = await Gateways.create(fixtures, { REDIS: redis.url })
    ;[a, b] = await Promise.all([gateways.serve('a'), gateways.serve('b')])
  })
  afterEach(async () => {
    gateways.closeSockets()
    await gateways.untilGroupSize(a, 'chat', 0)
  })
  afterAll(async () => {
    await gateways?.[Symbol.asyncDispose]()
    await redis?.stop()
  })
  const chat = (gateway: RunningGateway) => gateways.connect(gateway, '/chat/')

  test('a chat between sockets on both: everyone hears every line, once and in the order of its sender', async () => {
    const [onA, alsoOnA, onB] = await Promise.all([chat(a), chat(a), chat(b)])
    for (let number = 0; number < 50; number++) {
      onA.send(`a${number}`)
      onB.send(`b${number}`)
    }
    for (const socket of [onA, alsoOnA, onB]) {
      await socket.hears('a49')
      await socket.hears('b49')
      for (const name of ['a', 'b']) {
        const expected = Array.from({ length: 50 }, (_, number) => `${name}${number}`)
        expect(socket.heard.filter((line) => line.startsWith(name))).toEqual(expected)
      }
    }
  })

  test('a text message that one receives appears on a page of the other', async () => {
    const page = await chat(b)
    expect(await gateways.run(['send', 'sms', '+14155550100', 'hello from a phone'], a)).toContain('thank you')
    await page.hears('a text: hello from a phone')
  })

  test('redis-cli, the command line and the admin listener reach the sockets of both', async () => {
    const sockets = await Promise.all([chat(a), chat(b)])
    const hear = (text: string) => Promise.all(sockets.map((socket) => socket.hears(text)))
    expect(await redis.cli('PUBLISH', 'signalbox:group:chat', says('redis-cli'))).toBe('2')
    await hear('redis-cli')
    expect(await gateways.run(['group', 'send', 'chat', says('command line')])).toBe(
      'sent to group chat, which has 2 members\n',
    )
    await hear('command line')
    const response = await fetch(new URL('/groups/chat', a.urls['admin']), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: says('admin'),
    })
    expect(await response.json()).toEqual({ group: 'chat', delivered: 1, dropped: 0 })
    await hear('admin')
    for (const { heard } of sockets) expect(heard).toEqual(['redis-cli', 'command line', 'admin'])
  })

  test('a named channel is served by one of them, whoever sends to it', async () => {
    const socket = await chat(b)
    expect(await gateways.run(['channel', 'send', 'archive', says('one')])).toBe('sent to channel archive\n')
    await socket.hears('archived: one')
    await redis.cli('XADD', 'signalbox:channel:archive', '*', 'message', says('two'))
    await socket.hears('archived: two')
    expect(socket.heard).toEqual(['archived: one', 'archived: two'])
  })

  test('what is no message harms nobody', async () => {
    const socket = await chat(b)
    const huge = `{"type":"a.b","x":"${'y'.repeat(100_000)}"}`
    for (const nonsense of ['', '{', '[]', '{"type":"chat"}', '{"type":"no.method"}', huge]) {
      await redis.cli('PUBLISH', 'signalbox:group:chat', nonsense)
      await redis.cli('XADD', 'signalbox:channel:archive', '*', 'message', nonsense)
    }
    await redis.cli('PUBLISH', 'signalbox:group:chat', says('after all that'))
    await redis.cli('XADD', 'signalbox:channel:archive', '*', 'message', says('and this'))
    await socket.hears('after all that')
    await socket.hears('archived: and this')
    expect(socket.heard).toHaveLength(2)
  })

  test('the members of a process that died are gone after a while', async () => {
    await using others = await Gateways.create(fixtures, { REDIS: redis.url, PRESENCE: '1s' })
    const doomed = await others.serve('doomed')
    await Promise.all([chat(a), chat(a), chat(doomed), chat(doomed), chat(doomed)])
    await gateways.untilGroupSize(b, 'chat', 5)
    doomed.process.kill('SIGKILL')
    await gateways.untilGroupSize(b, 'chat', 2)
  })
})

describe('what Redis is asked', () => {
  let redis: RedisServer
  let gateways: Gateways

  beforeAll(async () => {
    redis = await RedisServer.start()
    gateways = await Gateways.create(fixtures, { REDIS: redis.url })
  })
  afterAll(async () => {
    await gateways?.[Symbol.asyncDispose]()
    await redis?.stop()
  })

  test('nothing, for a thousand lines through an echo', async () => {
    const gateway = await gateways.serve('echo', 'quiet.yaml')
    const monitor = await redis.monitor()
    const socket = await gateways.connect(gateway, '/echo/')
    for (let number = 0; number < 1000; number++) socket.send(String(number))
    await socket.hears('999')
    socket.close()
    expect(await monitor.stop()).toEqual([])
  })

  test('one PUBLISH, for a line to a thousand sockets of two processes', async () => {
    const [a, b] = await Promise.all([gateways.serve('a', 'quiet.yaml'), gateways.serve('b', 'quiet.yaml')])
    const sockets = [...(await gateways.connectAll(a, '/chat/', 500)), ...(await gateways.connectAll(b, '/chat/', 500))]
    await gateways.untilGroupSize(a, 'chat', 1000)
    const monitor = await redis.monitor()
    sockets[0]?.send('to all')
    await Promise.all(sockets.map((socket) => socket.hears('to all')))
    const commands = await monitor.stop()
    // What else there may be is the signs of life of two processes.
    expect(commands.filter((line) => !/^"(?:ZADD|ZREMRANGEBYSCORE|PEXPIRE)"/.test(line))).toEqual([
      expect.stringMatching(/^"PUBLISH" "signalbox:group:chat" /),
    ])
  })
})

describe('a worker that is killed in the middle of its task', () => {
  test('another one does it', async () => {
    const redis = await RedisServer.start()
    try {
      await using gateways = await Gateways.create(fixtures, { REDIS: redis.url })
      const workers = await Promise.all([gateways.work('tasks'), gateways.work('tasks')])
      await gateways.run(['channel', 'send', 'tasks', '{"type":"task.do","what":"fatal"}'])
      const doomed = await Promise.any(
        workers.map(async (worker) => {
          await worker.sees('error', /"what":"fatal","msg":"stuck"/)
          return worker
        }),
      )
      doomed.kill('SIGKILL')
      const other = workers.find((worker) => worker !== doomed)
      await other?.sees('error', /"what":"fatal","msg":"done"/)
      expect(doomed.error).not.toMatch(/"msg":"done"/)
      other?.kill('SIGTERM')
      expect(await other?.ended()).toMatchObject({ code: 0 })
      expect(await redis.cli('XLEN', 'signalbox:channel:tasks')).toBe('0')
    } finally {
      await redis.stop()
    }
  })
})

describe('Redis goes away in the middle of everything, and comes back', () => {
  test('nobody ends, each goes on within itself, they find together again, and no task that was stored is lost', async () => {
    const redis = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
    try {
      await using gateways = await Gateways.create(fixtures, { REDIS: redis.url, SERVED: 'tasks' })
      const [a, b] = await Promise.all([gateways.serve('a'), gateways.serve('b')])
      const both = [a.process, b.process]
      const [onA, alsoOnA, onB] = await Promise.all([a, a, b].map((gateway) => gateways.connect(gateway, '/chat/')))
      if (!onA || !alsoOnA || !onB) throw new Error('three sockets were opened')
      const stored: string[] = []
      let going = true
      const traffic = (async () => {
        for (let number = 0; going; number++) {
          onA.send(`line ${number}`)
          // One after the other: it lasts as long as the test wants it to.
          const { status } = await fetch(new URL(`/order/task-${number}`, a.urls['http']), { method: 'POST' })
          if (status === 200) stored.push(`task-${number}`)
          else expect(status).toBe(503)
        }
      })()

      await onB.hears('line 5')
      await redis.kill()
      await Promise.all(both.map((process) => process.sees('error', /Redis is away/)))
      onA.send('alone')
      await alsoOnA.hears('alone')
      expect(onB.heard).not.toContain('alone')
      await redis.start()
      await Promise.all(both.map((process) => process.sees('error', /Redis is back/)))
      await onB.hearsMore()
      going = false
      await traffic
      onB.send('after')
      await alsoOnA.hears('after')
      const metrics = await (await fetch(new URL('/metrics', a.urls['admin']))).text()
      expect(metrics).toMatch(/^signalbox_layer_dropped_total\{reason="unreachable"\} [1-9]/m)

      for (const task of stored) {
        const done = new RegExp(`"what":"${task}","msg":"done"`)
        await Promise.any(both.map((process) => process.sees('error', done)))
      }
      for (const process of both) process.kill('SIGTERM')
      for (const process of both) expect(await process.ended()).toMatchObject({ code: 0 })
    } finally {
      await redis.stop()
    }
  })
})
