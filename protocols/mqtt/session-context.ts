/** What the sessions of a broker have in common. */
import type { AedesPublishPacket, Client, PublishPacket } from 'aedes'
import type { Log } from '../../src/asgi/context.ts'
import type { Access } from './access.ts'
import type { Session } from './session.ts'
import type { SlotOptions } from './slot.ts'
import type { Store } from './store.ts'
import type { TopicLimits } from './topic.ts'

export interface SessionLimits extends TopicLimits {
  readonly maxClients: number
  readonly maxClientIdLength: number
  readonly maxSubscriptions: number
  /** In milliseconds. */
  readonly keepaliveLimit?: number | undefined
}

export interface SessionContext {
  readonly store: Store
  readonly access: Access
  readonly log: Log
  readonly instances: Pick<SlotOptions, 'services' | 'storing' | 'limits' | 'handlerTimeout'>
  readonly limits: SessionLimits
  /** The sessions of clients that are connected here or about to be, by the id that Aedes knows them by. */
  readonly sessions: Map<string, Session>
  readonly closing: boolean
  /** What may wait for a client that does not read, in bytes; undefined: those who publish to it wait. */
  readonly unreadLimit: number | undefined
  /** A PUBLISH of QoS 0 as bytes. */
  readonly framed: (packet: AedesPublishPacket) => Buffer
  /** To every subscriber. */
  publish(packet: PublishPacket, done: (error?: Error) => void): void
  /** The same for what a client published. */
  broker(packet: PublishPacket, client: Client, done: (error?: Error) => void): void
}
