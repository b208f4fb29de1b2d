/** Two gateways, each a process of its own, that share MQTT through one real Redis: with mosquitto's clients, and with a crash. */
import { afterAll, afterEach, beforeAll, expect } from '@jest/globals'
import { execFile } from 'node:child_process'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { promisify } from 'node:util'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { RedisServer } from '../layers/redis-server.ts'
import { Gateways, type RunningGateway } from '../support/gateways.ts'
import { requires } from '../support/requirements.ts'

const { describe, test } = requires('redis-server', 'redis-cli')
const fixtures = path.join(import.meta.dirname, 'fixtures', 'mqtt-cluster')
const execute = promisify(execFile)

describe('two gateways on one Redis', () => {
  let redis: RedisServer
  let gateways: Gateways
  let a: RunningGateway
  let b: RunningGateway
  const clients: MqttClient[] = []

  beforeAll(async () => {
    redis = await RedisServer.start('--appendonly', 'yes', '--appendfsync', 'always')
    gateways = await Gateways.create(fixtures, { REDIS: redis.url })
    ;[a, b] = await Promise.all([gateways.serve('a'), gateways.serve('b')])
  })
  afterEach(() => {
    for (const client of clients.splice(0)) client.end(true)
  })
  afterAll(async () => {
    await gateways?.[Symbol.asyncDispose]()
    await redis?.stop()
  })

  const urlOf = ({ urls }: RunningGateway) => urls['mqtt']?.href ?? ''
  async function connect(gateway: RunningGateway, options: IClientOptions = {}) {
    const client = mqtt.connect(urlOf(gateway), { reconnectPeriod: 100, ...options })
    clients.push(client)
    const heard: string[] = []
    client.on('message', (topic, payload) => heard.push(`${topic} ${payload.toString()}`))
    const hears = async (message: string) => {
      while (!heard.includes(message)) await next(client, 'message')
    }
    await next(client, 'connect')
    return { client, heard, hears }
  }
  type Connected = Awaited<ReturnType<typeof connect>>
  const lasting = (clientId: string): IClientOptions => ({ clientId, clean: false })

  requires('redis-server', 'redis-cli', 'mosquitto_pub', 'mosquitto_sub').test(
    'mosquitto_pub on one reaches mosquitto_sub on the other; one application gets it, and answers everywhere',
    async () => {
      const place = ({ urls }: RunningGateway) => ['-h', '127.0.0.1', '-p', urls['mqtt']?.port ?? '']
      const filters = ['-t', 'question', '-t', 'answer']
      const listening = execute('mosquitto_sub', [
        ...place(b),
        '-c',
        '-i',
        'page',
        '-q',
        '1',
        '-v',
        '-C',
        '2',
        ...filters,
      ])
      const subscribed = 'signalbox:mqtt:subscriptions:%2Fpage'
      while ((await redis.cli('HLEN', subscribed)) !== '2') await pause(20)
      await execute('mosquitto_pub', [...place(a), '-q', '1', '-t', 'question', '-m', 'from a'])
      const { stdout } = await listening
      expect(stdout.trim().split('\n').toSorted()).toEqual(['answer to from a', 'question from a'])
      await a.process.sees('error', /"text":"from a","msg":"got"/)
      expect(b.process.error).not.toContain('from a')
    },
  )

  test('a session that moves keeps what waits for it', async () => {
    const { client } = await connect(a, lasting('device'))
    await client.subscribeAsync('commands/#', { qos: 1 })
    await client.endAsync()
    const sender = await connect(a)
    for (const text of ['one', 'two']) await sender.client.publishAsync('commands/x', text, { qos: 1 })
    const moved = await connect(b, lasting('device'))
    await moved.hears('commands/x two')
    expect(moved.heard).toEqual(['commands/x one', 'commands/x two'])
  })

  test('a client that comes and goes, here and there, gets everything that was acknowledged meanwhile', async () => {
    const { client: first } = await connect(b, lasting('restless'))
    const witness = await connect(a)
    await witness.client.subscribeAsync('known')
    await first.subscribeAsync('numbers', { qos: 1 })
    // What the other gateway hears from this one it hears in order: now it knows of the subscription.
    await first.publishAsync('known', '', { qos: 1 })
    await witness.hears('known ')
    await first.endAsync()
    let going = true
    const acknowledged: string[] = []
    const publish = async ({ client }: Connected, name: string) => {
      for (let number = 0; going; number++) {
        await client.publishAsync('numbers', `${name}${number}`, { qos: 1 })
        acknowledged.push(`numbers ${name}${number}`)
      }
    }
    const traffic = [publish(await connect(a), 'a'), publish(await connect(b), 'b')]
    const heard = new Set<string>()
    for (let round = 0; round < 40; round++) {
      const gateway = round % 3 ? b : a
      const device = await connect(gateway, { ...lasting('restless'), reconnectPeriod: 0 })
      while (device.heard.length < round % 5) await next(device.client, 'message')
      // Every other time it is not even said goodbye.
      if (round % 2) device.client.stream.destroy()
      await device.client.endAsync()
      for (const message of device.heard) heard.add(message)
    }
    going = false
    await Promise.all(traffic)
    const device = await connect(a, lasting('restless'))
    const missing = () => acknowledged.filter((message) => !heard.has(message) && !device.heard.includes(message))
    while (missing().length > 0) await next(device.client, 'message')
  })

  test('Redis goes and comes back: nobody ends, and nothing that was acknowledged is lost', async () => {
    const [sender, onA, onB] = [await connect(a), await connect(a), await connect(b)]
    await onA.client.subscribeAsync('count', { qos: 1 })
    await onB.client.subscribeAsync('count', { qos: 1 })
    let going = true
    let acknowledged = 0
    const traffic = (async () => {
      while (going) await sender.client.publishAsync('count', String(acknowledged++), { qos: 1 })
    })()
    await onB.hears('count 100')
    await redis.kill()
    await Promise.all([a, b].map(({ process }) => process.sees('error', /Redis is away, MQTT waits/)))
    await redis.start()
    await Promise.all([a, b].map(({ process }) => process.sees('error', /Redis is there: MQTT goes on/)))
    const before = acknowledged
    while (acknowledged < before + 100) await next(onB.client, 'message')
    going = false
    await traffic
    const all = Array.from({ length: acknowledged }, (_, number) => `count ${number}`)
    for (const { heard, hears } of [onA, onB]) {
      await hears(all.at(-1) as string)
      expect(heard).toEqual(all)
    }
  })

  test('one is killed: the other publishes the wills of its clients, and takes over their sessions', async () => {
    const doomed = await gateways.serve('doomed')
    const witness = await connect(b)
    await witness.client.subscribeAsync('status/#', { qos: 1 })
    const will = (name: string) =>
      ({ topic: `status/${name}`, payload: Buffer.from('gone'), qos: 1, retain: false }) as const
    const lost = await connect(doomed, { ...lasting('lost'), will: will('lost') })
    await lost.client.subscribeAsync('commands/lost', { qos: 1 })
    const moving = await connect(doomed, { ...lasting('moving'), will: will('moving') })
    await moving.client.subscribeAsync('commands/moving', { qos: 1 })
    await witness.client.publishAsync('commands/lost', 'on its way', { qos: 1 })
    await lost.hears('commands/lost on its way')
    for (const { client } of [lost, moving]) client.options.reconnectPeriod = 0
    doomed.process.kill('SIGKILL')
    await doomed.process.ended()
    await witness.client.publishAsync('commands/moving', 'waiting', { qos: 1 })
    const moved = await connect(a, lasting('moving'))
    await moved.hears('commands/moving waiting')
    await witness.hears('status/lost gone')
    expect(witness.heard).toEqual(['status/lost gone'])
    const told = [a, b].flatMap(({ process }) => process.error.match(/"text":"gone"/g) ?? [])
    expect(told).toHaveLength(1)
  })

  test('both end well', async () => {
    for (const { process } of [a, b]) process.kill('SIGTERM')
    for (const { process } of [a, b]) expect(await process.ended()).toMatchObject({ code: 0 })
  })
})

function next(client: MqttClient, event: 'connect' | 'message'): Promise<void> {
  return new Promise((resolve) => void client.once(event, () => resolve()))
}
