/** What gateways that share a Redis tell each other, on topics of `$SYS` that no client may publish to. */
import type { StoredPacket } from './store.ts'

type Listener = (packet: StoredPacket, done: () => void) => void

/** Aedes' emitter. */
export interface TalkEmitter {
  on(topic: string, listener: Listener): void
  emit(message: object, done: (error?: Error) => void): void
}

export class RedisTalk {
  /** The name of this gateway's broker. */
  readonly id: string
  readonly #emitter: TalkEmitter
  readonly #failed: (error: unknown) => void

  constructor(id: string, emitter: TalkEmitter, failed: (error: unknown) => void) {
    this.id = id
    this.#emitter = emitter
    this.#failed = failed
  }

  /** Resolves when Redis has it. */
  tell(topic: string, content: object): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const message = { cmd: 'publish', topic, payload: Buffer.from(JSON.stringify(content)), qos: 0, retain: false }
    this.#emitter.emit(message, (error) => (error ? reject(error) : resolve()))
    return promise
  }

  /** `from` is the second level of the topic. What cannot be read is reported, and left alone. */
  hear<Content>(topic: string, heard: (content: Content, from: string | undefined) => void): void {
    this.#emitter.on(topic, (packet, done) => {
      try {
        heard(JSON.parse(Buffer.from(packet.payload).toString()) as Content, packet.topic.split('/')[1])
      } catch (error) {
        this.#failed(error)
      }
      done()
    })
  }
}
