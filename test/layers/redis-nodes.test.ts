/** The Redis channel layer on a cluster of several nodes: it keeps the contract, and each name has its own node. */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import type { SignalboxError } from '../../src/runtime/errors.ts'
import { RedisLayer } from '../../src/layers/redis.ts'
import type { RedisLayerOptions } from '../../src/layers/redis-options.ts'
import { requires } from '../support/requirements.ts'
import { layerContract } from './contract.ts'
import { text, until, wordsOf } from './messages.ts'
import { RedisNodes } from './redis-nodes.ts'
import { talk } from './talk.ts'

requires('redis-server', 'redis-cli').describe('a cluster whose nodes have replicas', () => {
  test('a replica that takes the place of a dead node goes on with its groups and its work', async () => {
    const cluster = await RedisNodes.start({ replicas: true })
    const [a, b] = [await RedisLayer.open({ url: cluster.url }), await RedisLayer.open({ url: cluster.url })]
    try {
      // The tests ask the first: another one is to die.
      const name = await nameOn(
        'chat',
        async (group) => (await cluster.nodeOf(`signalbox:group:${group}`)) !== cluster.first,
      )
      const channel = await nameOn(
        'tasks',
        async (tasks) =>
          (await cluster.nodeOf(`signalbox:channel:${tasks}`)) === (await cluster.nodeOf(`signalbox:group:${name}`)),
      )
      let heard = 0
      await b.groupAdd(name, b.newChannel({ deliverMessage: () => ++heard > 0 }))
      const work = new Work(a, b, channel)
      await until(() => work.done.size > 20)
      // A copy is a moment late: what was stored within it may die with its node.
      await work.settle()
      const node = await cluster.nodeOf(`signalbox:channel:${channel}`)
      await node.kill()
      await until(async () => (await cluster.nodeOf(`signalbox:channel:${channel}`)) !== node)
      const before = work.done.size
      work.send()
      await until(() => work.done.size > before + 20)
      const heardBefore = heard
      await until(async () => {
        await a.groupSend(name, text('after'))
        return heard > heardBefore
      })
      await work.finish()
    } finally {
      await a.close()
      await b.close()
      await cluster.stop()
    }
  })
})

requires('redis-server', 'redis-cli').describe('a cluster of three nodes', () => {
  let cluster: RedisNodes
  let tests = 0
  let prefix = ''
  const layers: RedisLayer[] = []

  beforeAll(async () => {
    cluster = await RedisNodes.start()
  })

  afterEach(async () => {
    for (const layer of layers.splice(0)) await layer.close()
    prefix = `test${++tests}`
  })

  afterAll(async () => {
    await cluster?.stop()
  })

  const open = async (options: RedisLayerOptions = {}) => {
    const layer = await RedisLayer.open({ url: cluster.url, prefix, ...options })
    layers.push(layer)
    return layer
  }

  /** A name for each node, such that `key` of it is there. */
  const spread = async (key: (name: string) => string) => {
    const names = new Map<number, string>()
    for (let number = 0; names.size < 3; number++) {
      const { port } = await cluster.nodeOf(key(`n${number}`))
      if (!names.has(port)) names.set(port, `n${number}`)
    }
    return [...names.values()]
  }

  layerContract(
    'three nodes',
    (options) => RedisLayer.open({ ...options, url: cluster.url, prefix: `c${++tests}` }),
    10,
  )

  test('processes talk to each other, whichever node they found first', async () => {
    const [a, b] = [await open(), await open({ url: cluster.nodes[2]?.url ?? '' })]
    await talk(a, b)
    expect([await a.groupSize('chat'), (await a.groupMembers('chat')).length]).toEqual([1, 1])
  })

  test('a group message is one SPUBLISH, on the node of the group, and its order holds', async () => {
    const [a, b] = [await open(), await open()]
    const groups = await spread((group) => `${prefix}:group:${group}`)
    for (const group of groups) {
      const got: string[] = []
      await b.groupAdd(group, b.newChannel({ deliverMessage: (message) => got.push(wordsOf(message)) > 0 }))
      const watching = await Promise.all(cluster.nodes.map((node) => node.monitor()))
      await a.groupSend(group, text('0'))
      await until(() => got.length === 1)
      const seen = await Promise.all(watching.map(({ stop }) => stop()))
      const holder = cluster.nodes.indexOf(await cluster.nodeOf(`${prefix}:group:${group}`))
      expect(seen.map((commands) => commands.map((command) => command.split('"')[1]).filter(isMessage))).toEqual(
        cluster.nodes.map((_, index) => (index === holder ? ['SPUBLISH'] : [])),
      )
      await Promise.all(Array.from({ length: 100 }, (_, number) => a.groupSend(group, text(String(number + 1)))))
      await until(() => got.length === 101)
      expect(got).toEqual(Array.from({ length: 101 }, (_, number) => String(number)))
    }
  })

  test('work is on the node of its channel, and the keys of one channel are together', async () => {
    const [a, b] = [await open(), await open({ retry: { attempts: 1 } })]
    const channels = await spread((channel) => `${prefix}:channel:${channel}`)
    for (const channel of channels) {
      const stream = `${prefix}:channel:${channel}`
      await a.send(channel, text(channel))
      expect(await (await cluster.nodeOf(stream)).cli('XLEN', stream)).toBe('1')
      const controller = new AbortController()
      const fail = () => {
        controller.abort()
        throw new Error('to a dead letter')
      }
      await b.consume(channel, fail, { signal: controller.signal })
      expect(await (await cluster.nodeOf(stream)).cli('XLEN', `{${stream}}:dead`)).toBe('1')
    }
    expect(b.stats().dropped).toEqual({ dead: 3 })
  })

  test('a group that moves to another node is heard there', async () => {
    const [a, b] = [await open(), await open({ presenceTimeout: 300 })]
    const got: string[] = []
    await b.groupAdd('chat', b.newChannel({ deliverMessage: (message) => got.push(wordsOf(message)) > 0 }))
    await a.groupSend('chat', text('before'))
    await until(() => got.includes('before'))
    const name = `${prefix}:group:chat`
    const holder = await cluster.nodeOf(name)
    const other = cluster.nodes.find((node) => node !== holder)
    if (!other) throw new Error('there are three')
    await cluster.move(name, other)
    await until(async () => {
      await a.groupSend('chat', text('after'))
      return got.includes('after')
    })
    expect(await other.cli('PUBSUB', 'SHARDNUMSUB', name)).toMatch(/1$/)
    expect(await cluster.nodeOf(name)).toBe(other)
  })

  test('work that moves to another node is done to the end, by who waits for it', async () => {
    const work = new Work(await open(), await open(), 'tasks')
    const stream = `${prefix}:channel:tasks`
    for (let moves = 0; moves < 4; moves++) {
      const before = work.done.size
      await until(() => work.done.size > before + 20)
      const holder = await cluster.nodeOf(stream)
      await cluster.move(stream, cluster.nodes.find((node) => node !== holder) ?? holder)
    }
    const before = work.done.size
    await until(() => work.done.size > before + 20)
    await work.finish()
  })

  test('a node that goes away and comes back takes nothing else with it', async () => {
    const [a, b] = [await open({ answerTimeout: 1000 }), await open({ answerTimeout: 1000 })]
    const groups = await spread((group) => `${prefix}:group:${group}`)
    const got: string[] = []
    for (const group of groups) {
      await b.groupAdd(
        group,
        b.newChannel({ deliverMessage: (message) => got.push(`${group} ${wordsOf(message)}`) > 0 }),
      )
    }
    const node = await cluster.nodeOf(`${prefix}:group:${groups[1] ?? ''}`)
    await node.kill()
    for (const group of groups)
      await expect(b.groupSend(group, text('local'))).resolves.toEqual({ delivered: 1, dropped: 0 })
    await node.start()
    await cluster.untilUp()
    for (const group of groups) {
      await until(async () => {
        await a.groupSend(group, text('back'))
        return got.includes(`${group} back`)
      })
    }
  })
})

/** One process sends work to a channel, and another one does it. */
class Work {
  readonly done = new Set<string>()
  readonly #from: RedisLayer
  readonly #channel: string
  readonly #stored: string[] = []
  readonly #stop = new AbortController()
  readonly #working: Promise<void>
  #sending = Promise.resolve()
  #going = true
  #number = 0

  constructor(from: RedisLayer, to: RedisLayer, channel: string) {
    this.#from = from
    this.#channel = channel
    this.#working = to.consume(channel, async (message) => void this.done.add(wordsOf(message)), this.#stop)
    this.send()
  }

  /** From now on, until `settle`. */
  send(): void {
    this.#going = true
    this.#sending = this.#sendOn()
  }

  /** Sends nothing more; resolves when everything that was stored is done. */
  async settle(): Promise<void> {
    this.#going = false
    await this.#sending
    await until(() => this.#stored.every((task) => this.done.has(task)))
  }

  async finish(): Promise<void> {
    await this.settle()
    this.#stop.abort()
    await this.#working
  }

  async #sendOn(): Promise<void> {
    while (this.#going) {
      const task = String(++this.#number)
      try {
        await this.#from.send(this.#channel, text(task))
        this.#stored.push(task)
      } catch (error) {
        // In the middle of a move or of a takeover; or the other one cannot keep up.
        expect(['send_failed', 'channel_full']).toContain((error as SignalboxError).code)
      }
      await new Promise((resolve) => void setImmediate(resolve))
    }
  }
}

/** The first of `NAME`, `NAME1`, `NAME2` … for which it holds. */
async function nameOn(name: string, holds: (name: string) => Promise<boolean>): Promise<string> {
  let number = 0
  while (!(await holds(`${name}${number}`))) number++
  return `${name}${number}`
}

const isMessage = (command: string | undefined) => command === 'SPUBLISH' || command === 'PUBLISH'
