/** Several processes of one gateway on the same ports: shared, replaced, drained, and refused where they would not be one. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { request, type IncomingMessage } from 'node:http'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { encode } from '../../src/journal/codec.ts'
import { journalFolder } from '../../src/journal/folders.ts'
import { Journal } from '../../src/journal/journal.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { RedisServer } from '../layers/redis-server.ts'
import { realMain, run } from '../support/child.ts'
import { Gateways, type RunningGateway } from '../support/gateways.ts'
import { requires } from '../support/requirements.ts'

const fixtures = path.join(import.meta.dirname, 'fixtures', 'processes')

/** Each on a connection of its own: whoever is next takes it. */
async function pidOf({ urls }: RunningGateway): Promise<number> {
  const asked = request(new URL('/pid', urls['http']), { agent: false }).end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return Number(await text(response))
}

async function pidsOf(gateway: RunningGateway, asked = 4): Promise<ReadonlySet<number>> {
  const pids = new Set<number>()
  for (let count = 0; count < asked; count++) pids.add(await pidOf(gateway))
  return pids
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('two processes', () => {
  let gateways: Gateways
  let gateway: RunningGateway

  beforeEach(async () => {
    gateways = await Gateways.create(fixtures, {})
    gateway = await gateways.serve('two', 'web.yaml', '--processes', '2')
  })
  afterEach(async () => await gateways[Symbol.asyncDispose]())

  test('share a port, and greet once', async () => {
    expect((await pidsOf(gateway)).size).toBe(2)
    expect(gateway.process.out.match(/serves web\.yaml/g)).toHaveLength(1)
    expect(gateway.process.out).toMatch(/^ {2}processes {2}2$/m)
  })

  test('one that is killed is replaced, and the other goes on meanwhile', async () => {
    const [killed = 0, other = 0] = await pidsOf(gateway)
    process.kill(killed, 'SIGKILL')
    await gateway.process.sees('error', /has ended \(SIGKILL\)/)
    expect([...(await pidsOf(gateway, 2))]).toEqual([other])
    await gateway.process.sees('error', /the process serves again/)
    const pids = await pidsOf(gateway)
    expect(pids.size).toBe(2)
    expect(pids.has(killed)).toBe(false)
    expect(pids.has(other)).toBe(true)
  })

  test('SIGTERM lets both finish what they have in hand, and the whole ends with 0', async () => {
    const requests = [1, 2].map(() => {
      const sent = request(new URL('/length', gateway.urls['http']), { method: 'POST', agent: false })
      sent.write('half ')
      return { sent, response: once(sent, 'response') as Promise<[IncomingMessage]> }
    })
    await gateway.process.sees('error', /"process":1.*"reading"/)
    await gateway.process.sees('error', /"process":2.*"reading"/)
    gateway.process.kill('SIGTERM')
    await gateway.process.sees('error', /"process":1.*closing:/)
    await gateway.process.sees('error', /"process":2.*closing:/)
    for (const { sent } of requests) sent.end('done')
    const answers = requests.map(async ({ response }) => {
      const [answer] = await response
      return await text(answer)
    })
    expect(await Promise.all(answers)).toEqual(['9', '9'])
    const { code, error } = await gateway.process.ended()
    expect(code).toBe(0)
    expect(error.match(/"clean":true/g)).toHaveLength(2)
  })

  test('a second signal ends all of them at once, with 1', async () => {
    const pids = await pidsOf(gateway)
    const sent = request(new URL('/length', gateway.urls['http']), { method: 'POST', agent: false })
    sent.on('error', () => undefined) // it is cut
    sent.write('half ')
    await gateway.process.sees('error', /"reading"/)
    gateway.process.kill('SIGTERM')
    await gateway.process.sees('error', /closing:/)
    gateway.process.kill('SIGTERM')
    expect((await gateway.process.ended()).code).toBe(1)
    for (const pid of pids) while (isAlive(pid)) await pause(10)
  })

  test('SIGHUP has each read the YAML again', async () => {
    const file = path.join(gateways.folder, 'web.yaml')
    await writeFile(file, (await readFile(file, 'utf8')).replace('path: /pid', 'path: /who'))
    gateway.process.kill('SIGHUP')
    await gateway.process.sees('error', /"process":1.*new scopes follow/)
    await gateway.process.sees('error', /"process":2.*new scopes follow/)
    expect([...(await pidsOf(gateway))]).toEqual([NaN])
  })

  test('end by themselves when the one that started them is killed', async () => {
    const pids = await pidsOf(gateway)
    gateway.process.kill('SIGKILL')
    for (const pid of pids) while (isAlive(pid)) await pause(10)
    await gateway.process.ended()
    expect(gateway.process.error.match(/"clean":true/g)).toHaveLength(2)
  })

  test('each has a journal of its own, and the commands see both', async () => {
    const data = path.join(gateways.folder, 'data-two')
    expect(existsSync(path.join(data, 'process-2', 'journal.sqlite'))).toBe(true)
    const environment = { DATA: data }
    const list = ['journal', 'list', '--config', 'web.yaml']
    expect((await run(realMain, list, { folder: gateways.folder, environment })).out).toBe('no records\n')
  })
})

describe('what processes left that are not started any more', () => {
  const note = (said: string) => ({ type: 'note.left', text: said })
  const open = (data: string, number: number) =>
    Journal.open({ folder: journalFolder(data, number), ...journalOptions.parse({}) }, silentLog)

  async function leave(data: string, number: number, said: string, dead = false): Promise<void> {
    await using journal = await open(data, number)
    const scope = { type: 'channel', channel: 'notes', client: null, server: null }
    const record = encode({ direction: 'in', scope, event: note(said) }, { protocol: 'channel', route: '', lane: '' })
    if (dead) journal.deadLetter(record, 'nobody read it')
    else await journal.accept([record])
    await journal.flush()
  }

  test('is delivered by the first process, and an empty journal is taken away', async () => {
    await using gateways = await Gateways.create(fixtures, {})
    const data = path.join(gateways.folder, 'data-left')
    await leave(data, 2, 'from the second')
    await leave(data, 3, 'from the third')
    await leave(data, 3, 'a letter', true)
    const gateway = await gateways.serve('left', 'web.yaml')
    await gateway.process.sees('error', /"text":"from the second"/)
    await gateway.process.sees('error', /"text":"from the third"/)

    const signalbox = async (...line: readonly string[]) => {
      const given = ['journal', ...line, '--config', 'web.yaml']
      return await run(realMain, given, { folder: gateways.folder, environment: { DATA: data } })
    }
    expect((await signalbox('list', '--state', 'dead')).out).toMatch(/^3-2 +dead +channel/m)
    expect((await signalbox('show', '3-2')).out).toContain('a letter')
    const wrong = await signalbox('show', '4-1')
    expect(wrong).toMatchObject({ code: 64, error: 'found no journal of process 4, there is 1, 2, 3\n' })
    expect((await signalbox('retry', '3-2')).out).toBe('1 will be tried again\n')
    await gateway.process.sees('error', /"text":"a letter"/)
    gateway.process.kill('SIGTERM')
    expect((await gateway.process.ended()).code).toBe(0)

    const again = await gateways.serve('left', 'web.yaml')
    expect(existsSync(path.join(data, 'process-2'))).toBe(false)
    expect(existsSync(path.join(data, 'process-3'))).toBe(false)
    again.process.kill('SIGTERM')
    await again.process.ended()
  })
})

describe('refused', () => {
  const http = 'listen: { http: { address: 127.0.0.1:0 }'
  const mqtt = (persistence: string) => `${http}, mqtt: { address: 127.0.0.1:0, persistence: ${persistence} } }\n`
  const apps = (...protocols: readonly string[]) =>
    `application: { ProtocolTypeRouter: { ${protocols.map((name) => `${name}: ./handlers.ts#any`).join(', ')} } }\n`

  test.each([
    [
      'WebSocket without Redis',
      `${http} }\n${apps('http', 'websocket')}`,
      'websocket: the groups of WebSocket consumers',
    ],
    ['MQTT without Redis', `${mqtt('auto')}${apps('http', 'mqtt')}`, 'mqtt: the processes are one MQTT broker only'],
    [
      'MQTT that keeps its sessions on the disk',
      `${mqtt('disk')}layer: redis\n${apps('http', 'mqtt')}`,
      'found persistence: disk, expected auto',
    ],
    [
      'an admin listener beyond the last port',
      `${http} }\nadmin: { address: 127.0.0.1:65535 }\n${apps('http')}`,
      'admin: process 2 would have port 65536',
    ],
  ])('%s: 78', async (_, yaml, why) => {
    await using gateways = await Gateways.create(fixtures, {})
    await writeFile(path.join(gateways.folder, 'other.yaml'), yaml)
    const ended = await run(realMain, ['serve', 'other.yaml', '--processes', '2'], { folder: gateways.folder })
    expect(ended).toMatchObject({ code: 78, out: '' })
    expect(ended.error).toContain(`other.yaml: --processes 2: `)
    expect(ended.error).toContain(why)
  })

  test.each([
    [['--processes', '0'], 'expected a number from 1 to 256'],
    [['--processes', 'two'], 'expected a number from 1 to 256'],
    [['--processes', '2', '--process', '1'], 'expected --processes alone'],
  ])('%s: 64', async (options, why) => {
    const ended = await run(realMain, ['serve', ...options])
    expect(ended.code).toBe(64)
    expect(ended.error).toContain(why)
  })

  test('a handler that does not load: 78, said once', async () => {
    await using gateways = await Gateways.create(fixtures, {})
    await writeFile(path.join(gateways.folder, 'other.yaml'), `${http} }\n${apps('http')}`)
    const ended = await run(realMain, ['serve', 'other.yaml', '--processes', '2'], { folder: gateways.folder })
    expect(ended.code).toBe(78)
    expect(ended.error.match(/other\.yaml: 1 mistake/g)).toHaveLength(1)
  })
})

const withRedis = requires('redis-server')
withRedis.describe('two processes on Redis', () => {
  withRedis.test('a chat crosses them, and the greeting says where the admin listeners are', async () => {
    const redis = await RedisServer.start()
    try {
      await using gateways = await Gateways.create(fixtures, { REDIS: redis.url })
      const gateway = await gateways.serve('redis', 'gateway.yaml', '--processes', '2')
      const sockets = await gateways.connectAll(gateway, '/', 4)
      for (const socket of sockets) socket.send('pid')
      while (sockets.some(({ heard }) => heard.length === 0)) await pause(5)
      expect(new Set(sockets.flatMap(({ heard }) => heard)).size).toBe(2)
      await gateways.untilGroupSize(gateway, 'chat', 4)
      sockets[0]?.send('hello')
      for (const socket of sockets) await socket.hears('hello')
      expect(gateway.process.out).toMatch(
        /^ {2}admin +http\S+ {2}\(process 1; each further one on a port of its own\)$/m,
      )
    } finally {
      await redis.stop()
    }
  })
})
