/** Plays an MQTT client in a test: what it publishes reaches the application as it would through the broker, without one. */
import type { Unrouted } from '../../src/asgi/adapter.ts'
import type { Application, State } from '../../src/asgi/protocol.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { Instance } from '../../src/runtime/instance.ts'
import { defaultMailboxLimits } from '../../src/runtime/instance-options.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { Mailbox } from '../../src/runtime/mailbox.ts'
import type { CommunicatorOptions } from '../../src/testing/application-communicator.ts'
import { Instances, type PublishDraft } from './instances.ts'
import type { MqttProtocol, MqttPublishSend, MqttScope, Qos } from './scope.ts'
import type { Settled } from './slot.ts'

export interface MqttCommunicatorOptions extends Omit<CommunicatorOptions, 'log'> {
  /** What the client says of itself. Default: client id `test`, nobody's user name, a clean session, keep alive 60. */
  readonly scope?: Partial<Pick<MqttScope, 'clientId' | 'username' | 'protocolVersion' | 'clean' | 'keepalive'>>
  /** What the lifespan application would have left. */
  readonly state?: State
  /** How long the application may take for one event, in milliseconds. Default 1000. */
  readonly handlerTimeout?: number
  readonly log?: typeof silentLog
}

/** What the application published. */
export type Published = Required<Omit<MqttPublishSend, 'type' | 'payload'>> & { readonly payload: Uint8Array }

const limits = { maxPacketSize: 256 * 1024, maxTopicLevels: 100, maxTopicLength: 1024 }

/**
 * @example
 * const device = new MqttCommunicator(Thermometer.asApplication(), { layer })
 * await device.connect()
 * await device.publish('sensors/kitchen/temperature', '35')
 * expect(await device.receivePublish()).toMatchObject({ topic: 'sensors/kitchen/alarm' })
 */
export class MqttCommunicator {
  /** The topics that no rule took. */
  readonly unrouted: string[] = []
  readonly #options: MqttCommunicatorOptions
  readonly #instances: Instances
  readonly #published = new Mailbox<Published>()
  #closed = false
  #scopes = 0

  constructor(application: Application<MqttProtocol>, options: MqttCommunicatorOptions) {
    this.#options = options
    this.#instances = new Instances(this.#scope(), {
      services: {
        open: (scope, transport) =>
          new Instance(application, this.#fill(scope), transport, {
            layer: options.layer,
            log: options.log ?? silentLog,
            closeTimeout: options.closeTimeout ?? 1000,
            limits: defaultMailboxLimits,
          }),
        resolve: (scope) =>
          application.resolve ? application.resolve(this.#fill(scope)) : { rules: [application], params: {} },
        unrouted: (_scope, topic) => void this.unrouted.push(topic),
        failed: () => undefined, // `publish` throws it
      },
      limits,
      handlerTimeout: options.handlerTimeout ?? 1000,
      publish: async (event) => this.#published.put(asPublished(event)),
      close: () => void (this.#closed = true),
    })
  }

  /** True when the application has cut the connection. */
  get closed(): boolean {
    return this.#closed
  }

  /** Whether the application accepts the client. Below a TopicRouter everybody is accepted. */
  async connect(): Promise<boolean> {
    const answer = await this.#instances.connect()
    this.#closed = answer !== 'accepted'
    return !this.#closed
  }

  /**
   * Publishes, and resolves when the application has handled it, or no rule takes the topic.
   * @throws what the application failed with; the connection goes on, as it would over a socket.
   */
  async publish(
    topic: string,
    payload: Uint8Array | string,
    { qos = 0, retain = false, dup = false }: { qos?: Qos; retain?: boolean; dup?: boolean } = {},
  ): Promise<void> {
    const bytes = new Uint8Array(Buffer.from(payload as Uint8Array))
    const event: PublishDraft = { type: 'mqtt.publish', topic, payload: bytes, qos, retain, dup, params: {} }
    await this.#settled((done) => this.#instances.publish(event, { done }))
  }

  /** Tells the instances that are open; resolves when they have handled it. */
  async subscribe(filter: string, qos: Qos = 0): Promise<void> {
    await this.#settled((done) => this.#instances.subscribe(filter, qos, done))
  }

  async unsubscribe(filter: string): Promise<void> {
    await this.#settled((done) => this.#instances.unsubscribe(filter, done))
  }

  /** Leaves; resolves when every instance has ended. */
  async disconnect(reason = 'disconnect'): Promise<void> {
    this.#closed = true
    await this.#instances.end(reason)
  }

  /**
   * The next message that the application published, to everybody or, with `direct`, to this client.
   * @throws SignalboxError `timed_out` after `timeout` milliseconds; the application goes on and nothing is lost.
   */
  async receivePublish(timeout = this.#options.timeout ?? 1000): Promise<Published> {
    const controller = new AbortController()
    const late = new SignalboxError('timed_out', `the application published nothing within ${timeout} ms`)
    const timer = setTimeout(() => controller.abort(late), timeout)
    try {
      return await this.#published.take(controller.signal)
    } finally {
      clearTimeout(timer)
    }
  }

  /** How many messages the application published that were not received yet. */
  get pending(): number {
    return this.#published.length
  }

  async #settled(put: (done: Settled) => void): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    put((error) => (error === undefined ? resolve() : reject(error)))
    await promise
  }

  #scope(): Unrouted<MqttScope> {
    const {
      clientId = 'test',
      username = '',
      protocolVersion = 4,
      clean = true,
      keepalive = 60,
    } = this.#options.scope ?? {}
    const ends = { client: ['127.0.0.1', 40_000], server: ['127.0.0.1', 1883] } as const
    return { type: 'mqtt', ...ends, clientId, username, protocolVersion, clean, keepalive }
  }

  #fill(scope: Unrouted<MqttScope>): MqttScope {
    return { ...scope, id: `test-${++this.#scopes}`, params: {}, route: '', state: this.#options.state ?? {} }
  }
}

function asPublished({ topic, payload, qos = 0, retain = false, direct = false }: MqttPublishSend): Published {
  return { topic, payload: new Uint8Array(Buffer.from(payload as Uint8Array)), qos, retain, direct }
}
