/** MQTT 3.1.1 as scope and events: one scope is one client's connection (below a TopicRouter: and one rule). */
import type { BaseScope, Params, Protocol } from '../../src/asgi/protocol.ts'

export type Qos = 0 | 1 | 2

export interface MqttScope extends BaseScope {
  readonly type: 'mqtt'
  readonly clientId: string
  /** The user who logged in; empty when anonymous. */
  readonly username: string
  /** The protocol level of CONNECT: 3 is MQTT 3.1, 4 is MQTT 3.1.1. */
  readonly protocolVersion: number
  /** Whether the client asked for a clean session. */
  readonly clean: boolean
  /** Seconds; 0 is off. */
  readonly keepalive: number
  /** What TopicRouter matches: the topic of the publish that this instance was opened for. Undefined for the connection itself. */
  readonly topic?: string
  /** What the routers on the way have left of the topic; undefined before the first. */
  readonly topicRemaining?: string
}

/** First event of every instance. Without a TopicRouter CONNACK waits for the answer: accept or close. */
export interface MqttConnect {
  readonly type: 'mqtt.connect'
}
/** The client published. It is brokered to the subscribers when the application is done with it. */
export interface MqttPublish {
  readonly type: 'mqtt.publish'
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: Qos
  /** The client asked the broker to keep it. */
  readonly retain: boolean
  /** The client sent it before and is not sure that it arrived. */
  readonly dup: boolean
  /** The levels that the rule's filter named, e.g. `{ room: 'kitchen' }`. */
  readonly params: Params
}
export interface MqttSubscribe {
  readonly type: 'mqtt.subscribe'
  readonly filter: string
  readonly qos: Qos
}
export interface MqttUnsubscribe {
  readonly type: 'mqtt.unsubscribe'
  readonly filter: string
}
/** Last event. `reason`: `disconnect` (the client said so), `keepalive`, `takeover`, `error`, `closed`, `shutdown`. */
export interface MqttDisconnect {
  readonly type: 'mqtt.disconnect'
  readonly reason: string
}
export interface MqttAccept {
  readonly type: 'mqtt.accept'
}
export interface MqttPublishSend {
  readonly type: 'mqtt.publish'
  readonly topic: string
  readonly payload: Uint8Array | string
  /** Default 0. */
  readonly qos?: Qos
  /** Default false. */
  readonly retain?: boolean
  /** True: to this client alone, whether or not it subscribed. Default false: to the broker, and so to every subscriber. */
  readonly direct?: boolean
}
/** Before accept: refuses with CONNACK 5 (not authorized). After: cuts the connection. */
export interface MqttClose {
  readonly type: 'mqtt.close'
}

export interface MqttProtocol extends Protocol {
  readonly scope: MqttScope
  readonly receive: MqttConnect | MqttPublish | MqttSubscribe | MqttUnsubscribe | MqttDisconnect
  readonly send: MqttAccept | MqttPublishSend | MqttClose
}
