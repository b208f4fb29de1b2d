/** The base of MQTT consumers: one object for a client's connection, or below a TopicRouter for one of its rules. */
import { Consumer } from '../../src/consumers/consumer.ts'
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

export abstract class MqttConsumer extends Consumer<MqttProtocol> {
  protected readonly lastEvent = 'mqtt.disconnect'

  protected override disconnectEvent(): MqttDisconnect {
    return { type: 'mqtt.disconnect', reason: 'error' }
  }

  async 'mqtt.connect'(_event: MqttConnect): Promise<void> {
    await this.connect()
  }

  async 'mqtt.publish'(event: MqttPublish): Promise<void> {
    await this.message(event)
  }

  async 'mqtt.subscribe'({ filter, qos }: MqttSubscribe): Promise<void> {
    await this.subscribed(filter, qos)
  }

  async 'mqtt.unsubscribe'({ filter }: MqttUnsubscribe): Promise<void> {
    await this.unsubscribed(filter)
  }

  async 'mqtt.disconnect'({ reason }: MqttDisconnect): Promise<void> {
    await this.disconnect(reason)
  }

  /** The client connects: `accept()` or `close()`. Also called when a fresh consumer follows one that raised. */
  async connect(): Promise<void> {
    await this.accept()
  }

  /** The client published. Raising counts the message as failed; the client stays connected and knows nothing of it. */
  async message(_publish: MqttPublish): Promise<void> {}

  async subscribed(_filter: string, _qos: Qos): Promise<void> {}

  async unsubscribed(_filter: string): Promise<void> {}

  /** The client is gone; what is published here still reaches the others. */
  async disconnect(_reason: string): Promise<void> {}

  accept(): Promise<void> {
    return this.send({ type: 'mqtt.accept' })
  }

  /** Before `accept()` refuses the client; after it, cuts the connection. */
  close(): Promise<void> {
    return this.send({ type: 'mqtt.close' })
  }

  /** To every subscriber, or with `direct` to this client alone. Resolves when the broker has taken it. */
  publish(
    topic: string,
    payload: Uint8Array | string,
    options: Pick<MqttPublishSend, 'qos' | 'retain' | 'direct'> = {},
  ): Promise<void> {
    return this.send({ type: 'mqtt.publish', topic, payload, ...options })
  }
}
