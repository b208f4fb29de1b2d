/** The connections to one Redis server: when one of them breaks, or says nothing, the link is over. */
import type { RedisClientType } from '@redis/client'
import { Answers } from './answers.ts'
import {
  type BlockingConnection,
  type LinkEvents,
  type Patience,
  type RedisLink,
  attempt,
  deleteKeysOf,
  ignore,
  openBlocking,
} from './redis-link.ts'

export class SingleLink implements RedisLink {
  readonly #client: RedisClientType
  readonly #subscriber: RedisClientType
  readonly #events: LinkEvents
  readonly #answerTimeout: number
  readonly #answers: Answers
  /** Those of the subscriber: a server answers on one connection and not on the other when the way of one is gone. */
  readonly #echoes: Answers
  readonly #closed = new AbortController()
  #opened = false
  #lost: unknown

  /** `client` is connected. */
  static async open(client: RedisClientType, events: LinkEvents, patience: Patience): Promise<SingleLink> {
    const link = new SingleLink(client, events, patience)
    try {
      await attempt(link.#subscriber, patience, async () => {})
      if (!link.ready) throw new Error('a connection to Redis broke', { cause: link.#lost })
    } catch (error) {
      link.close()
      throw error
    }
    link.#opened = true
    return link
  }

  private constructor(client: RedisClientType, events: LinkEvents, { answerTimeout }: Patience) {
    this.#client = client
    this.#subscriber = client.duplicate()
    this.#events = events
    this.#answerTimeout = answerTimeout
    const lose = (error: unknown) => this.#lose(error)
    this.#answers = new Answers(answerTimeout, lose)
    this.#echoes = new Answers(answerTimeout, lose)
    for (const each of [this.#client, this.#subscriber]) each.on('error', lose)
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
    await this.#echoes.of(this.#subscriber.subscribe([...names], this.#onMessage, true))
  }

  async unsubscribe(name: string): Promise<void> {
    await this.#echoes.of(this.#subscriber.unsubscribe(name, this.#onMessage, true))
  }

  probe(): void {
    // A connection that breaks says so itself.
    this.#echoes.of(this.#subscriber.sendCommand(['PING'])).catch(ignore)
  }

  block(): Promise<BlockingConnection> {
    return openBlocking(this.#client, { answerTimeout: this.#answerTimeout, signal: this.#closed.signal })
  }

  async deleteKeys(patterns: readonly string[]): Promise<void> {
    for (const pattern of patterns) await deleteKeysOf(this.#client, pattern)
  }

  settled(): Promise<void> {
    return this.#answers.settled()
  }

  close(): void {
    this.#closed.abort(new Error('the link to Redis is closed'))
    this.#answers.close()
    this.#echoes.close()
    this.#subscriber.destroy()
    this.#client.destroy()
  }

  /** One that is not open yet is not lost: it does not come about. */
  #lose(error: unknown): void {
    this.#lost ??= error
    if (this.#opened && !this.#closed.signal.aborted) this.#events.onLost(error)
  }

  readonly #onMessage = (payload: Buffer, name: Buffer): void => this.#events.onMessage(name.toString(), payload)
}
