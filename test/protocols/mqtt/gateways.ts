/** Gateways that share a Redis, with clients for them; and a way to one of them that can be cut. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { pino } from 'pino'
import type { SharedRedis } from '../../../src/asgi/adapter.ts'
import type { RedisServer } from '../../layers/redis-server.ts'
import { serveMqtt, type MqttServer, type recorder } from './support.ts'

export type Recorder = ReturnType<typeof recorder>

export interface System extends AsyncDisposable {
  /** One for each application, in that order. */
  readonly servers: readonly [MqttServer, MqttServer]
  readonly prefix: string
  /** One more gateway, which is closed with the others. */
  add(application: Recorder, address?: Partial<SharedRedis>): Promise<MqttServer>
  /** Resolves when Redis has so many keys of MQTT that match. */
  untilKeys(pattern: RegExp, count: number): Promise<void>
}

const logs = new WeakMap<MqttServer, string[]>()

/** What a gateway has said in its log. */
export const logOf = (server: MqttServer): readonly string[] => logs.get(server) ?? []

/** Whether a gateway has its Redis, as its log says. */
export function isReady(server: MqttServer): boolean {
  const last = logOf(server).findLast((line) => line.includes('"msg":"Redis is '))
  return last === undefined || last.includes('Redis is there')
}

/** Each has a prefix of its own in one Redis. */
export class Systems {
  static #count = 0
  readonly #redis: RedisServer

  constructor(redis: RedisServer) {
    this.#redis = redis
  }

  /** `options` are of `listen.mqtt`. */
  async start(
    applications: readonly [Recorder, Recorder],
    options: Readonly<Record<string, unknown>> = {},
    address: Partial<SharedRedis> = {},
  ): Promise<System> {
    const redis = this.#redis
    const prefix = `test-${process.pid}-${++Systems.#count}`
    const all: MqttServer[] = []
    const add: System['add'] = async ({ application }, own) => {
      const shared = { url: redis.url, prefix, ...address, ...own }
      const lines: string[] = []
      const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
      const server = await serveMqtt(application, { persistence: 'auto', ...options }, { redis: shared, log })
      all.push(server)
      logs.set(server, lines)
      return server
    }
    const servers: [MqttServer, MqttServer] = [await add(applications[0]), await add(applications[1])]
    return {
      servers,
      prefix,
      add,
      async untilKeys(pattern, count) {
        const keys = async () => (await redis.cli('KEYS', `${prefix}:mqtt:*`)).split('\n')
        while ((await keys()).filter((key) => pattern.test(key)).length !== count) await pause(10)
      },
      async [Symbol.asyncDispose]() {
        await Promise.all(all.map((server) => server[Symbol.asyncDispose]()))
      },
    }
  }
}

/** A way to a server that can be cut: connections break, and no new one comes about until it is mended. */
export class Way implements AsyncDisposable {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #open = true
  #toMute = 0
  #muted = 0

  static async to(port: number): Promise<Way> {
    const way = new Way(port)
    way.#server.listen(0, '127.0.0.1')
    await once(way.#server, 'listening')
    return way
  }

  private constructor(port: number) {
    this.#server = createServer((near) => {
      if (!this.#open) {
        near.destroy()
        return
      }
      if (this.#muted < this.#toMute) {
        this.#muted++
        this.#keep(near.resume())
        return
      }
      const far = connect(port, '127.0.0.1')
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#keep(one)
        one.pipe(other)
        one.on('close', () => other.destroy())
      }
    })
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => this.#sockets.delete(socket))
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}` // it listens
  }

  cut(): void {
    this.#open = false
    for (const socket of this.#sockets) socket.destroy()
  }

  mend(): void {
    this.#open = true
  }

  /** So many of the next connections come about, and nobody says anything there. */
  mute(connections: number): void {
    this.#toMute = this.#muted + connections
  }

  /** How many that were. */
  get muted(): number {
    return this.#muted
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }
}
