/** The channel layer: messages between scopes, of any protocol, in this process and beyond it. */

/** A message between scopes: plain data whose `type` has a dot in it and names the method that handles it. */
export interface Message {
  readonly type: string
}

/** Where the messages of a channel are pushed. An object, and no function: a group has thousands of them, and each closure has a place of its own. */
export interface Receiver {
  /** False: it has no room, `capacity` messages wait there already, and this one is dropped and counted. */
  deliverMessage(message: Message, capacity: number): boolean
}

/** How many local members got a group message, and how many had no room for it. */
export interface GroupSendResult {
  readonly delivered: number
  readonly dropped: number
}

/**
 * What a sender knows of its message: it is in its channel, or was dropped, because the channel is gone (`closed`) or Redis is away
 * (`unreachable`). `published`: it is on its way to another process, and whether the channel is there nobody says.
 */
export type SendResult = 'sent' | 'closed' | 'unreachable' | 'published'

/** One message on its way through a worker. */
export interface Work {
  /** 1 the first time; a message that failed, or whose worker died, comes again with the next number. */
  readonly attempt: number
  /** That of `consume`: aborted when no further message will be taken. The handler may finish. */
  readonly signal: AbortSignal
}

/** Handles one message of a named channel. When it settles the message is done; when it rejects, the message is tried again. */
export type WorkHandler = (message: Message, work: Work) => Promise<void> | void

export interface ConsumeOptions {
  /** Ends the consuming: nothing more is taken, and what is being handled may finish. */
  readonly signal: AbortSignal
  /** How many messages may be handled at once. Default 1, which keeps the channel's order. */
  readonly concurrency?: number
}

/** How many channels and groups this process has now, and how many messages were dropped since the start, by reason. */
export interface LayerStats {
  readonly channels: number
  readonly groups: number
  readonly dropped: Readonly<Record<string, number>>
  /** Whether other processes can be reached; absent from a layer that has one process only. */
  readonly connected?: boolean
}

/**
 * There are two kinds of channel. One that `newChannel` made (its name has a `!`) belongs to a process: delivery is at most
 * once. A named channel carries work for whichever worker is free: `consume` acknowledges a message when its handler has settled.
 *
 * Order holds for each sender and channel; a message has exactly one receiver at a time. Names are 1 to 100 characters of
 * `A-Z a-z 0-9 - _ .` and, in channels of a process, one `!`. Messages are plain data with a dotted `type`: null, booleans,
 * numbers, text, `Uint8Array`, `Date`, bigint, arrays and objects of these. Receivers get frozen copies.
 */
export interface ChannelLayer {
  /**
   * To a channel that is gone, or to another process while it cannot be reached, the message is dropped and counted: see the result.
   * @throws SignalboxError `channel_full` exactly when as many messages as the channel's capacity wait in it.
   * @throws SignalboxError `send_failed` when a named channel's message could not be stored.
   * @throws SignalboxError `bad_name` / `bad_message`.
   */
  send<M extends Message>(channel: string, message: M): Promise<SendResult>
  /** The next message of a channel, which is done with that; a cancelled receive loses nothing. */
  receive(channel: string, options?: { readonly signal?: AbortSignal }): Promise<Message>
  /**
   * Handles a named channel's messages until the signal aborts; resolves when the last handler has settled. A message is
   * acknowledged after its handler: it is tried again, later each time, when the handler rejects, and is a dead letter after
   * the last attempt. One whose process died is handled by another.
   */
  consume(channel: string, handler: WorkHandler, options: ConsumeOptions): Promise<void>
  /**
   * Makes a channel of this process and gives its name. With a receiver its messages are pushed there at once instead of
   * waiting for `receive`.
   */
  newChannel(receiver?: Receiver): string
  /** Frees a channel of this process: its messages, its memberships. Unknown names are fine. */
  closeChannel(channel: string): Promise<void>
  /**
   * A membership ends with `groupDiscard`, with its channel, with its process, or when it lapses: one of a channel without
   * a receiver does a day after it was last added.
   */
  groupAdd(group: string, channel: string): Promise<void>
  groupDiscard(group: string, channel: string): Promise<void>
  /** Never throws for a member: see the result, which counts the members in this process. */
  groupSend<M extends Message>(group: string, message: M): Promise<GroupSendResult>
  /** The channels in a group, of every process. */
  groupMembers(group: string): Promise<readonly string[]>
  /** How many they are. */
  groupSize(group: string): Promise<number>
  /** Forgets every message, channel and group. */
  flush(): Promise<void>
  stats(): LayerStats
  close(): Promise<void>
}
