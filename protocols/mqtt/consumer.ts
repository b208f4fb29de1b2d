/** The bases of MQTT consumers: one object for a client's connection, or below a TopicRouter for one of its rules. */
import type { Async, Kind, Sync } from '../../src/asgi/sync.ts'
import { Consumer } from '../../src/consumers/consumer.ts'
import { blocking } from '../../src/runtime/blocking.ts'
import { serves, type Serves } from '../../src/runtime/serves.ts'
import type {
  MqttConnect,
  MqttDisconnect,
  MqttProtocol,
  MqttPublish,
  MqttPublishSend,
  MqttSubscribe,
  MqttUnsubscribe,
  Qos,
} from './scope.ts'

export abstract class MqttConsumer<K extends Kind = Async> extends Consumer<MqttProtocol, K> {
  static override readonly [serves]: Serves = {
    protocols: ['mqtt'],
    methods: ['connect', 'message', 'subscribed', 'unsubscribed', 'disconnect'],
  }

  protected readonly lastEvent = 'mqtt.disconnect'

  protected override disconnectEvent(): MqttDisconnect {
    return { type: 'mqtt.disconnect', reason: 'error' }
  }

  'mqtt.connect'(_event: MqttConnect): void | Promise<void> {
    return this.connect()
  }

  'mqtt.publish'(event: MqttPublish): void | Promise<void> {
    if (this.message === MqttConsumer.prototype.message) return this.missed(event, 'message(publish)')
    return this.message(event)
  }

  'mqtt.subscribe'({ filter, qos }: MqttSubscribe): void | Promise<void> {
    return this.subscribed(filter, qos)
  }

  'mqtt.unsubscribe'({ filter }: MqttUnsubscribe): void | Promise<void> {
    return this.unsubscribed(filter)
  }

  'mqtt.disconnect'({ reason }: MqttDisconnect): void | Promise<void> {
    return this.disconnect(reason)
  }

  /** The client connects: `accept()` or `close()`. Also called when a fresh consumer follows one that raised. */
  connect(): void | Promise<void> {
    return this.accept()
  }

  /**
   * The client published. Raising counts the message as failed; the client stays connected and knows nothing of it. A class without
   * this method fails too, unless it has methods for messages of its groups.
   */
  message(_publish: MqttPublish): void | Promise<void> {}

  subscribed(_filter: string, _qos: Qos): void | Promise<void> {}

  unsubscribed(_filter: string): void | Promise<void> {}

  /** The client is gone; what is published here still reaches the others. */
  disconnect(_reason: string): void | Promise<void> {}

  accept(): K['sent'] {
    return this.send({ type: 'mqtt.accept' })
  }

  /** Before `accept()` refuses the client; after it, cuts the connection. */
  close(): K['sent'] {
    return this.send({ type: 'mqtt.close' })
  }

  /** To every subscriber, or with `direct` to this client alone. Resolves when the broker has taken it. */
  publish(
    topic: string,
    payload: Uint8Array | string,
    options: Pick<MqttPublishSend, 'qos' | 'retain' | 'direct'> = {},
  ): K['sent'] {
    return this.send({ type: 'mqtt.publish', topic, payload, ...options })
  }
}

/** The same for handlers that block: on a worker thread, with plain methods. */
export abstract class SyncMqttConsumer extends MqttConsumer<Sync> {
  static readonly [blocking]: boolean = true
  static readonly moveBytes: boolean = false
}
