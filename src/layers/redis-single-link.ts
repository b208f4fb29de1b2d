/** The connections to one Redis server. */
import type { RedisClientType } from '@redis/client'
import { Answers } from './answers.ts'
import {
  type BlockingConnection,
  type LinkEvents,
  type RedisLink,
  deleteKeysOf,
  ignore,
  openBlocking,
} from './redis-link.ts'

export class SingleLink implements RedisLink {
  readonly #client: RedisClientType
  readonly #subscriber: RedisClientType
  readonly #events: LinkEvents
  readonly #answers: Answers

  static async open(client: RedisClientType, events: LinkEvents, answerTimeout: number): Promise<SingleLink> {
    const link = new SingleLink(client, events, answerTimeout)
    await link.#subscriber.connect()
    return link
  }

  private constructor(client: RedisClientType, events: LinkEvents, answerTimeout: number) {
    this.#client = client
    this.#subscriber = client.duplicate()
    this.#events = events
    this.#answers = new Answers(answerTimeout, events.onSilence)
    this.#subscriber.on('error', events.onDown)
    for (const each of [this.#client, this.#subscriber]) {
      each.on('ready', () => {
        if (this.ready) events.onReady()
      })
    }
  }

  get ready(): boolean {
    return this.#client.isReady && this.#subscriber.isReady
  }

  command(_key: string, args: readonly string[]): Promise<unknown> {
    return this.#answers.of(this.#client.sendCommand(args))
  }

  publish(name: string, message: string): Promise<number> {
    return this.#answers.of(this.#client.sendCommand<number>(['PUBLISH', name, message]))
  }

  async subscribe(names: readonly string[]): Promise<void> {
    await this.#subscriber.subscribe([...names], this.#onMessage, true)
  }

  async unsubscribe(name: string): Promise<void> {
    await this.#subscriber.unsubscribe(name, this.#onMessage, true)
  }

  block(): Promise<BlockingConnection> {
    const { socket } = this.#client.options
    const client = this.#client.duplicate({ socket: { ...socket, reconnectStrategy: false } }) as RedisClientType
    client.on('error', ignore) // whoever waits on it is told by its command
    return openBlocking(client)
  }

  async deleteKeys(patterns: readonly string[]): Promise<void> {
    for (const pattern of patterns) await deleteKeysOf(this.#client, pattern)
  }

  settled(): Promise<void> {
    return this.#answers.settled()
  }

  close(): void {
    this.#answers.close()
    this.#subscriber.destroy()
    this.#client.destroy()
  }

  readonly #onMessage = (payload: Buffer, name: Buffer): void => this.#events.onMessage(name.toString(), payload)
}
