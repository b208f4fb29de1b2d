/** Several layers on one Redis, in this process and in others, for the tests of one suite: each test has a prefix of its own. */
import { afterAll, afterEach, beforeAll } from '@jest/globals'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Event } from '../../src/asgi/protocol.ts'
import { RedisLayer } from '../../src/layers/redis.ts'
import type { RedisLayerOptions } from '../../src/layers/redis-options.ts'
import { RedisServer } from './redis-server.ts'

export class Processes {
  #server: RedisServer | undefined
  #tests = 0
  readonly #layers: RedisLayer[] = []
  readonly #children: ChildProcess[] = []

  /** To be called where a suite is described. */
  constructor() {
    beforeAll(async () => {
      this.#server = await RedisServer.start()
    })
    afterEach(async () => {
      for (const layer of this.#layers.splice(0)) await layer.close()
      for (const child of this.#children.splice(0)) child.kill('SIGKILL')
      this.#tests++
    })
    afterAll(async () => {
      await this.#server?.stop()
    })
  }

  get server(): RedisServer {
    if (!this.#server) throw new Error('expected a test to be running')
    return this.#server
  }

  get prefix(): string {
    return `test${this.#tests}`
  }

  readonly open = async (options: RedisLayerOptions = {}): Promise<RedisLayer> => {
    const layer = await RedisLayer.open({ url: this.server.url, prefix: this.prefix, ...options })
    this.#layers.push(layer)
    return layer
  }

  /** A real process, which is told what to do: see child.ts. */
  readonly start = async (process: string): Promise<ChildProcess> => {
    const options = [this.server.url, this.prefix, process]
    const child = fork(join(import.meta.dirname, 'child.ts'), options, { execArgv: [] })
    this.#children.push(child)
    await said(child, 'ready')
    return child
  }
}

export async function member(layer: RedisLayer, group: string) {
  const got: Event[] = []
  const channel = layer.newChannel({ deliverMessage: (message) => got.push(message) > 0 })
  await layer.groupAdd(group, channel)
  return { got, channel }
}

/** The child's next message that is `what`, or that has it as a key. */
export async function said(child: ChildProcess, what: string): Promise<unknown> {
  for (;;) {
    const [message] = (await once(child, 'message')) as readonly unknown[]
    if (message === what || (typeof message === 'object' && message !== null && what in message)) return message
  }
}

/** The commands of a monitor's lines. */
export function named(commands: readonly string[]): readonly string[] {
  return commands.map((command) => command.split('"')[1]?.toUpperCase() ?? '')
}
