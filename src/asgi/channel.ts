/** The channel protocol: one scope is one message of a named channel, on the worker that serves it. */
import type { BaseScope, Event, Protocol } from './protocol.ts'

/** One named channel, served by a worker. */
export interface ChannelScope extends BaseScope {
  readonly type: 'channel'
  readonly channel: string
}

/** What a worker's application receives: whatever was sent to the channel. It answers through the layer. */
export interface ChannelProtocol extends Protocol {
  readonly scope: ChannelScope
  readonly receive: Event
  readonly send: never
}
