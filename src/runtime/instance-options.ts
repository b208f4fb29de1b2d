/** What all instances of a gateway share. */
import type { Outcome } from '../asgi/adapter.ts'
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Log } from '../asgi/context.ts'
import type { Protocol } from '../asgi/protocol.ts'
import type { Accounts } from './account.ts'
import type { Instance } from './instance.ts'

export interface InstanceOptions {
  readonly layer: ChannelLayer
  readonly log: Log
  /** How long an application may go on after its scope ended, in milliseconds. */
  readonly closeTimeout: number
  readonly limits: MailboxLimits
  /** Where events are counted. Default: nowhere. */
  readonly accounts?: Accounts | undefined
  /**
   * Aborted when the gateway drains: then an application that has handled all that its peer said gets no messages of its groups
   * any more. Whoever aborts it calls `drain` of each instance. Default: never.
   */
  readonly drain?: AbortSignal | undefined
  /** Told once, when the instance has ended. */
  readonly onEnd?: (instance: Instance<Protocol>, outcome: Outcome) => void
}

/** How many messages of its groups may wait is for the channel layer to say. */
export interface MailboxLimits {
  /** Events from the peer that may wait before its socket is paused. */
  readonly events: number
  /** Bytes of them. */
  readonly bytes: number
}

export const defaultMailboxLimits: MailboxLimits = { events: 64, bytes: 1024 * 1024 }
