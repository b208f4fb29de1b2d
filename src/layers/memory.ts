/** The in-memory channel layer: the default, for one process. */
import { randomUUID } from 'node:crypto'
import type { ChannelLayer, GroupSendResult } from '../asgi/channel-layer.ts'
import type { Event } from '../asgi/protocol.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { Mailbox } from '../runtime/mailbox.ts'
import { checkMessage, checkName } from './names.ts'

export interface MemoryLayerOptions {
  /** Messages that a channel holds while nobody receives them. Default 100. */
  readonly capacity?: number
}

interface Channel {
  readonly mailbox: Mailbox<Event>
  /** Where messages are pushed instead of the mailbox. */
  readonly deliver: ((message: Event) => boolean) | undefined
  readonly groups: Set<string>
  /** How many receives wait on it. */
  waiting: number
}

export class MemoryLayer implements ChannelLayer {
  readonly #capacity: number
  readonly #prefix = randomUUID().slice(0, 8)
  readonly #channels = new Map<string, Channel>()
  readonly #groups = new Map<string, Set<string>>()
  readonly #dropped: Record<string, number> = {}
  #next = 0

  constructor({ capacity = 100 }: MemoryLayerOptions = {}) {
    this.#capacity = capacity
  }

  async send(channel: string, message: Event): Promise<void> {
    checkName('channel', channel)
    // The name of a process's own channel after its end: nobody will ever receive it.
    if (channel.includes('!') && !this.#channels.has(channel)) return this.#drop('closed')
    if (this.#push(this.#channel(channel), checkMessage(message))) return
    this.#drop('full')
    throw new SignalboxError('channel_full', `channel ${channel} already holds ${this.#capacity} messages`)
  }

  async receive(name: string, { signal }: { readonly signal?: AbortSignal } = {}): Promise<Event> {
    checkName('channel', name)
    const channel = this.#channel(name)
    channel.waiting++
    try {
      return await channel.mailbox.take(signal)
    } finally {
      channel.waiting--
      this.#forget(name, channel)
    }
  }

  newChannel(deliver?: (message: Event) => boolean): string {
    const name = `local.${this.#prefix}!${(++this.#next).toString(36)}`
    this.#open(name, deliver)
    return name
  }

  async closeChannel(name: string): Promise<void> {
    const channel = this.#channels.get(name)
    if (!channel) return
    this.#channels.delete(name)
    for (const group of channel.groups) this.#leave(group, name)
    channel.mailbox.close(new SignalboxError('scope_ended', `channel ${name} is closed`))
  }

  async groupAdd(group: string, channel: string): Promise<void> {
    checkName('group', group)
    checkName('channel', channel)
    this.#channel(channel).groups.add(group)
    const members = this.#groups.get(group)
    if (members) members.add(channel)
    else this.#groups.set(group, new Set([channel]))
  }

  async groupDiscard(group: string, name: string): Promise<void> {
    const channel = this.#channels.get(name)
    if (!channel?.groups.delete(group)) return
    this.#leave(group, name)
    this.#forget(name, channel)
  }

  async groupSend(group: string, message: Event): Promise<GroupSendResult> {
    checkName('group', group)
    // One copy for all members: they get it frozen.
    const copy = checkMessage(message)
    let delivered = 0
    let dropped = 0
    for (const name of this.#groups.get(group) ?? []) {
      if (this.#push(this.#channel(name), copy)) delivered++
      else {
        dropped++
        this.#drop('full')
      }
    }
    return { delivered, dropped }
  }

  async groupMembers(group: string): Promise<readonly string[]> {
    return [...(this.#groups.get(group) ?? [])]
  }

  async flush(): Promise<void> {
    for (const name of this.#channels.keys()) void this.closeChannel(name)
    this.#groups.clear()
  }

  stats(): { readonly channels: number; readonly groups: number; readonly dropped: Readonly<Record<string, number>> } {
    return { channels: this.#channels.size, groups: this.#groups.size, dropped: { ...this.#dropped } }
  }

  async close(): Promise<void> {
    await this.flush()
  }

  #push({ deliver, mailbox }: Channel, message: Event): boolean {
    if (deliver) return deliver(message)
    if (mailbox.length >= this.#capacity) return false
    mailbox.put(message)
    return true
  }

  #channel(name: string): Channel {
    return this.#channels.get(name) ?? this.#open(name)
  }

  #open(name: string, deliver?: (message: Event) => boolean): Channel {
    const channel: Channel = { mailbox: new Mailbox(), deliver, groups: new Set(), waiting: 0 }
    this.#channels.set(name, channel)
    return channel
  }

  /** Frees a named channel that holds nothing and that nobody waits for. Those of `newChannel` live until they are closed. */
  #forget(name: string, { mailbox, groups, waiting }: Channel): void {
    if (waiting === 0 && mailbox.length === 0 && groups.size === 0 && !name.includes('!')) this.#channels.delete(name)
  }

  #leave(group: string, channel: string): void {
    const members = this.#groups.get(group)
    members?.delete(channel)
    if (members?.size === 0) this.#groups.delete(group)
  }

  #drop(why: string): void {
    this.#dropped[why] = (this.#dropped[why] ?? 0) + 1
  }
}
