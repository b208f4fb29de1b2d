/** Gateways whose Redis goes, hangs, forgets everything, is not let in to, or says things that nobody understands. */
import { afterEach, beforeEach, expect, test } from '@jest/globals'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { MqttClient } from 'mqtt'
import { freePort, RedisServer } from '../../layers/redis-server.ts'
import { requires } from '../../support/requirements.ts'
import { isReady, logOf, Systems, Way } from './gateways.ts'
import { bytes, connack, messagesOf, recorder, until } from './support.ts'

const { describe } = requires('redis-server', 'redis-cli')
const lasting = (clientId: string) => ({ clientId, clean: false })

let redis: RedisServer
let systems: Systems
beforeEach(async () => {
  redis = await RedisServer.start()
  systems = new Systems(redis)
})
afterEach(() => redis?.stop())

/** Whether it is settled after a moment. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  return await Promise.race([promise.then(() => true), pause(100, false)])
}

describe('while Redis is away', () => {
  test('what is published waits and is not acknowledged; when it is back everything arrives, in order', async () => {
    const application = recorder()
    await using system = await systems.start([application, recorder()])
    const [a, b] = system.servers
    const [sender, onA, onB] = await Promise.all([a.connect(), a.connect(), b.connect()])
    await Promise.all([onA.subscribeAsync('t', { qos: 1 }), onB.subscribeAsync('t', { qos: 2 })])
    await redis.kill()
    await until(() => !isReady(a) && !isReady(b))
    const published = Array.from({ length: 60 }, (_, number) =>
      sender.publishAsync('t', String(number), { qos: number % 2 ? 1 : 0 }),
    )
    // So many as may be under way are with the application; the rest waits in the socket.
    await until(() => application.texts().length === 32)
    expect(await isSettled(published[1] as Promise<unknown>)).toBe(false)
    expect(messagesOf(onA)).toEqual([])
    await redis.start()
    await Promise.all(published)
    await until(() => messagesOf(onA).length === 60 && messagesOf(onB).length === 60)
    const expected = Array.from({ length: 60 }, (_, number) => `t ${number}`)
    expect([messagesOf(onA), messagesOf(onB)]).toEqual([expected, expected])
    expect(application.texts()).toHaveLength(60)
  })

  test('clients stay, PINGREQ is answered, and new clients are asked to come again', async () => {
    await using system = await systems.start([recorder(), recorder()])
    const [a] = system.servers
    const raw = await a.raw()
    raw.send(bytes.connect())
    await raw.until(/^\x20\x02\x00\x00/)
    await redis.kill()
    await until(() => !isReady(a))
    raw.send(bytes.ping)
    await raw.until(/\xd0\x00$/)
    const late = await a.raw()
    late.send(bytes.connect({ clientId: 'late' }))
    await late.closed
    expect(late.text).toBe(connack(3))
    raw.end()
    await a.idle()
    await redis.start()
    await until(() => isReady(a))
    const again = await a.connect({ clientId: 'late' })
    expect(again.connected).toBe(true)
  })

  test('a gateway starts, takes nobody, and takes everybody when Redis comes', async () => {
    await using system = await systems.start([recorder(), recorder()])
    await redis.kill()
    const late = await system.add(recorder(), { connectTimeout: 50 })
    const raw = await late.raw()
    raw.send(bytes.connect())
    await raw.closed
    expect(raw.text).toBe(connack(3))
    await redis.start()
    await until(() => [...system.servers, late].every(isReady))
    const [onA, onLate] = await Promise.all([system.servers[0].connect(), late.connect()])
    await onLate.subscribeAsync('t', { qos: 1 })
    await onA.publishAsync('t', 'x', { qos: 1 })
    await until(() => messagesOf(onLate).length === 1)
  })

  test('a gateway closes in time', async () => {
    await using system = await systems.start([recorder(), recorder()])
    const [a] = system.servers
    const sender = await a.connect()
    await sender.subscribeAsync('t', { qos: 1 })
    await redis.kill()
    await until(() => !isReady(a))
    sender.publish('t', 'x', { qos: 1 })
    await a.listener.close(AbortSignal.timeout(200))
  })

  test('one that hangs is away as well', async () => {
    await using system = await systems.start([recorder(), recorder()], {}, { answerTimeout: 200 })
    const [a, b] = system.servers
    const [sender, onB] = await Promise.all([a.connect(), b.connect()])
    await onB.subscribeAsync('t', { qos: 1 })
    redis.hang()
    const published = sender.publishAsync('t', 'x', { qos: 1 })
    await until(() => !isReady(a) && !isReady(b))
    redis.wake()
    await published
    await until(() => messagesOf(onB).length === 1)
    expect(messagesOf(onB)).toEqual(['t x'])
  })
})

describe('a Redis that forgot everything', () => {
  test('gets back the sessions and wills of the clients that are there', async () => {
    await using system = await systems.start([recorder(), recorder()])
    const [a, b] = system.servers
    const will = { topic: 'will', payload: Buffer.from('gone'), qos: 1, retain: false } as const
    const device = await a.connect({ ...lasting('device'), will })
    await device.subscribeAsync('t', { qos: 1 })
    await redis.kill()
    await until(() => !isReady(a) && !isReady(b))
    await redis.start()
    await until(() => isReady(a) && isReady(b))
    await system.untilKeys(/:wills:/, 1)
    const sender = await b.connect()
    await sender.publishAsync('t', 'now', { qos: 1 })
    await until(() => messagesOf(device).length === 1)
    await device.endAsync()
    await sender.publishAsync('t', 'later', { qos: 1 })
    const moved = await b.connect(lasting('device'))
    await until(() => messagesOf(moved).length === 1)
    expect(messagesOf(moved)).toEqual(['t later'])
  })
})

describe('a gateway that is cut off alone', () => {
  test('gives its clients what was published for their sessions meanwhile, once and in order', async () => {
    await using way = await Way.to(redis.port)
    await using system = await systems.start([recorder(), recorder()])
    const [a] = system.servers
    const cutOff = await system.add(recorder(), { url: way.url })
    const device = await cutOff.connect(lasting('device'))
    await device.subscribeAsync('t', { qos: 2 })
    const sender = await a.connect()
    await sender.publishAsync('t', '0', { qos: 1 })
    await until(() => messagesOf(device).length === 1)
    way.cut()
    await until(() => !isReady(cutOff))
    for (const text of ['1', '2', '3']) await sender.publishAsync('t', text, { qos: 2 })
    way.mend()
    await until(() => messagesOf(device).length === 4)
    await sender.publishAsync('t', '4', { qos: 1 })
    await until(() => messagesOf(device).length === 5)
    expect(messagesOf(device)).toEqual(['t 0', 't 1', 't 2', 't 3', 't 4'])
    await system.untilKeys(/:(?:packet|outgoing):/, 0)
  })

  test('lets go of a client that went elsewhere meanwhile, and knows the sessions that came meanwhile', async () => {
    const application = recorder()
    await using way = await Way.to(redis.port)
    await using system = await systems.start([recorder(), recorder()])
    const [a] = system.servers
    const cutOff = await system.add(application, { url: way.url })
    const older = await cutOff.connect(lasting('device'))
    await older.subscribeAsync('t', { qos: 1 })
    const sender = await cutOff.connect()
    const gone = new Promise<void>((resolve) => void older.once('close', resolve))
    way.cut()
    await until(() => !isReady(cutOff))
    const newer = await a.connect(lasting('device'))
    const other = await a.connect(lasting('other'))
    await other.subscribeAsync('t', { qos: 1 })
    await other.endAsync()
    way.mend()
    await gone
    expect(application.events.at(-1)).toEqual({ type: 'mqtt.disconnect', reason: 'takeover' })
    await sender.publishAsync('t', 'x', { qos: 1 })
    await until(() => messagesOf(newer).length === 1)
    const back = await a.connect(lasting('other'))
    await until(() => messagesOf(back).length === 1)
    expect([messagesOf(newer), messagesOf(back)]).toEqual([['t x'], ['t x']])
  })
})

describe('a gateway that is gone', () => {
  test('without a word has the wills of its clients published by one of the others, whose application gets them, once', async () => {
    const applications = [recorder(), recorder()] as const
    await using way = await Way.to(redis.port)
    await using system = await systems.start(applications, {}, { presenceTimeout: 1000 })
    const [a, b] = system.servers
    const dying = await system.add(recorder(), { url: way.url })
    const witness = await b.connect()
    await witness.subscribeAsync('status/#', { qos: 1 })
    const will = (name: string) =>
      ({ topic: `status/${name}`, payload: Buffer.from('gone'), qos: 1, retain: false }) as const
    await dying.connect({ clientId: 'lost', will: will('lost') })
    await dying.connect({ clientId: 'back', will: will('back') })
    way.cut()
    await a.connect({ clientId: 'back' })
    await until(() => messagesOf(witness).length > 0)
    await system.untilKeys(/:wills:|:claim:/, 0)
    expect(messagesOf(witness)).toEqual(['status/lost gone'])
    expect([...applications[0].texts(), ...applications[1].texts()]).toEqual(['gone'])
    const told = applications.find(({ texts }) => texts().length > 0)
    expect(told?.scopes.at(-1)).toMatchObject({ clientId: 'lost', username: '', topic: 'status/lost', clean: true })
    await until(() => told?.types().at(-1) === 'disconnect')
  })
})

describe('what is no message of a gateway', () => {
  test('harms nobody', async () => {
    await using system = await systems.start([recorder(), recorder()])
    const [a, b] = system.servers
    const [onA, onB] = await Promise.all([a.connect(), b.connect()])
    await Promise.all([onA.subscribeAsync('#', { qos: 1 }), onB.subscribeAsync('+/c', { qos: 1 })])
    const channel = (topic: string) => `${system.prefix}:mqtt/${topic}`
    const huge = 'x'.repeat(3 * 2 ** 20)
    for (const text of ['', 'no msgpack', '{"a":1}', '\u00c1', '\u0081', huge]) {
      for (const topic of ['a', 'b/c', '$SYS/x/sessions', '$SYS/x/heartbeat', '$SYS/x/new/clients'])
        await redis.cli('PUBLISH', channel(topic), text === huge ? huge.slice(0, 100_000) : text)
    }
    await redis.cli('HSET', `${system.prefix}:mqtt:retained`, 'b/c', 'no msgpack')
    await redis.cli('HSET', `${system.prefix}:mqtt:wills:nobody`, 'x', 'no will')
    await redis.cli('SADD', `${system.prefix}:mqtt:clients`, '%', 'nobody')
    await redis.cli('ZADD', `${system.prefix}:mqtt:away`, '0', '%')
    await redis.cli('SADD', `${system.prefix}:mqtt:brokers`, 'nobody')
    const newcomer = await system.add(recorder())
    expect(isReady(newcomer)).toBe(true)
    const late = await b.connect()
    await late.subscribeAsync('b/#', { qos: 1 })
    await onA.publishAsync('b/c', 'after all that', { qos: 1 })
    await until(() => [onA, onB, late].every((client) => messagesOf(client).length > 0))
    expect([onA, onB, late].map(messagesOf)).toEqual(Array.from({ length: 3 }, () => ['b/c after all that']))
  })

  test('a key that is something else is said, and waited for', async () => {
    await using system = await systems.start([recorder(), recorder()])
    await redis.cli('SET', `${system.prefix}:mqtt:clients`, 'nonsense')
    const late = await system.add(recorder(), { connectTimeout: 50 })
    expect(isReady(late)).toBe(false)
    await until(() => logOf(late).some((line) => line.includes('WRONGTYPE')))
    await redis.cli('DEL', `${system.prefix}:mqtt:clients`)
    await until(() => isReady(late))
    const client = await late.connect()
    expect(client.connected).toBe(true)
  })
})

describe('a way to Redis', () => {
  test('with a user, a password and a database', async () => {
    await redis.cli('ACL', 'SETUSER', 'gateway', 'on', '>se cret', '~*', '&*', '+@all')
    await redis.cli('CONFIG', 'SET', 'requirepass', 'default')
    const address = { username: 'gateway', password: 'se cret', database: 3 }
    await using system = await systems.start([recorder(), recorder()], {}, address)
    const inUrl = `redis://gateway:se%20cret@127.0.0.1:${redis.port}/3`
    const third = await system.add(recorder(), {
      url: inUrl,
      username: undefined,
      password: undefined,
      database: undefined,
    })
    const [onA, onThird] = await Promise.all([system.servers[0].connect(), third.connect()])
    await onThird.subscribeAsync('t', { qos: 1 })
    await onA.publishAsync('t', 'x', { qos: 1, retain: true })
    await until(() => messagesOf(onThird).length === 1)
    expect(
      await redis.cli('-a', 'default', '--no-auth-warning', '-n', '3', 'HLEN', `${system.prefix}:mqtt:retained`),
    ).toBe('1')
  })

  test('with a user who may only what is needed, and one who may less is told', async () => {
    const may = ['+@all', '-@admin', '-@dangerous', '+info', '+client|unblock']
    const rules = ['on', '>pass', '~test-*', '~{test-*', ...may]
    await redis.cli('ACL', 'SETUSER', 'gateway', ...rules, 'allchannels')
    await redis.cli('ACL', 'SETUSER', 'other', ...rules, 'resetchannels', '&test-*')
    await using system = await systems.start([recorder(), recorder()], {}, { username: 'gateway', password: 'pass' })
    const [onA, onB] = await Promise.all(system.servers.map((server) => server.connect()))
    await onB?.subscribeAsync('#', { qos: 1 })
    await onA?.publishAsync('t', 'x', { qos: 1 })
    await until(() => messagesOf(onB as MqttClient).length === 1)
    expect(await redis.cli('ACL', 'LOG')).toBe('')
    const less = await system.add(recorder(), { username: 'other', connectTimeout: 200 })
    await until(() => logOf(less).some((line) => line.includes('NOPERM')))
    expect(isReady(less)).toBe(false)
  })

  test('with a prefix: another is another system', async () => {
    await using one = await systems.start([recorder(), recorder()])
    await using other = await systems.start([recorder(), recorder()])
    const [here, there] = await Promise.all([
      one.servers[0].connect(lasting('same')),
      other.servers[0].connect(lasting('same')),
    ])
    await Promise.all([here.subscribeAsync('#', { qos: 1 }), there.subscribeAsync('#', { qos: 1 })])
    await here.publishAsync('t', 'here', { qos: 1, retain: true })
    await there.publishAsync('t', 'there', { qos: 1 })
    await until(() => messagesOf(here).length > 0 && messagesOf(there).length > 0)
    expect([messagesOf(here), messagesOf(there)]).toEqual([['t here'], ['t there']])
  })

  test('with a wrong password is said, and the gateway waits for a right one', async () => {
    await redis.cli('CONFIG', 'SET', 'requirepass', 'right')
    await using system = await systems.start([recorder(), recorder()], {}, { password: 'right' })
    const wrong = await system.add(recorder(), { password: 'wrong', connectTimeout: 100 })
    const raw = await wrong.raw()
    raw.send(bytes.connect())
    await raw.closed
    expect(raw.text).toBe(connack(3))
    expect(logOf(wrong).join('\n')).toContain('WRONGPASS')
  })

  test('that leads to a cluster is refused in words', async () => {
    const cluster = await RedisServer.start('--cluster-enabled', 'yes', '--cluster-port', String(await freePort()))
    try {
      await using system = await systems.start([recorder(), recorder()])
      const message = /^SignalboxError: MQTT cannot share its sessions through a Redis cluster: write persistence: disk/
      for (const address of [{ url: cluster.url }, { cluster: true }]) {
        const error: unknown = await system.add(recorder(), address).catch((reason: unknown) => reason)
        expect(String(error)).toMatch(message)
      }
    } finally {
      await cluster.stop()
    }
  })

  requires('redis-server', 'redis-cli', 'openssl').test('over TLS, with a certificate that is checked', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'signalbox-tls-'))
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert]
    execFileSync('openssl', [...request, ...subject], { stdio: 'ignore' })
    const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert]
    const secure = await RedisServer.start(...files, '--tls-auth-clients', 'no')
    try {
      const port = await freePort()
      await secure.cli('CONFIG', 'SET', 'tls-port', String(port))
      const ca = readFileSync(cert)
      await using system = await systems.start(
        [recorder(), recorder()],
        {},
        { url: `rediss://127.0.0.1:${port}`, tls: { ca } },
      )
      const [a, b] = system.servers
      const [onA, onB] = await Promise.all([a.connect(), b.connect()])
      await onB.subscribeAsync('t', { qos: 1 })
      await onA.publishAsync('t', 'x', { qos: 1 })
      await until(() => messagesOf(onB).length === 1)
      const distrustful = await system.add(recorder(), { tls: true, connectTimeout: 50 })
      expect(isReady(distrustful)).toBe(false)
    } finally {
      await secure.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
