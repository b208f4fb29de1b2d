/** The channel layer: messages between scopes, of any protocol, in this process and beyond it. */
import type { Event, Protocol, BaseScope } from './protocol.ts'

/** How many local members got a group message, and how many had no room for it. */
export interface GroupSendResult {
  readonly delivered: number
  readonly dropped: number
}

/**
 * Delivery is at most once and in order for each sender and channel; every message has exactly one receiver a channel.
 * Names are 1 to 100 characters of `A-Z a-z 0-9 - _ .` and, in channels made by `newChannel`, one `!`.
 * Messages are plain data with a dotted `type`; receivers get frozen ones.
 */
export interface ChannelLayer {
  /**
   * @throws SignalboxError `channel_full` exactly when the channel already holds its capacity.
   * @throws SignalboxError `bad_name` / `bad_message`.
   */
  send(channel: string, message: Event): Promise<void>
  /** The next message of a channel; a cancelled receive loses nothing. */
  receive(channel: string, options?: { readonly signal?: AbortSignal }): Promise<Event>
  /**
   * Makes a channel of this process and gives its name. With `deliver` its messages are pushed there at once instead of
   * waiting for `receive`; `deliver` answers false when it has no room, and the message is dropped and counted.
   */
  newChannel(deliver?: (message: Event) => boolean): string
  /** Frees a channel of this process: its messages, its memberships. Unknown names are fine. */
  closeChannel(channel: string): Promise<void>
  groupAdd(group: string, channel: string): Promise<void>
  groupDiscard(group: string, channel: string): Promise<void>
  /** Never throws for a full member: see the result. */
  groupSend(group: string, message: Event): Promise<GroupSendResult>
  /** The channels in a group. */
  groupMembers(group: string): Promise<readonly string[]>
  /** Forgets every message, channel and group. */
  flush(): Promise<void>
  /** How many channels and groups there are now, and how many messages were dropped since the start, by reason. */
  stats(): { readonly channels: number; readonly groups: number; readonly dropped: Readonly<Record<string, number>> }
  close(): Promise<void>
}

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
