/** The channels and groups of this process: all of the memory layer, and the part of the Redis layer that Redis never sees. */
import type { GroupSendResult, Receiver } from '../asgi/channel-layer.ts'
import type { Event } from '../asgi/protocol.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { Mailbox } from '../runtime/mailbox.ts'
import type { Drops } from './drops.ts'
import { type LayerOptions, type Limits, layerDefaults, limitsOf } from './limits.ts'

/** What waits in a channel. */
export interface Entry {
  readonly message: Event
  readonly deadline: number
  /** How often it was tried before. */
  readonly failures: number
  /** What was sent later has a higher one. */
  readonly order: number
}

interface Channel {
  readonly name: string
  /** Where messages are pushed; or they wait in the mailbox. */
  readonly receiver: Receiver | undefined
  readonly mailbox: Mailbox<Entry>
  /** What is to be tried again, in order: it goes before what nobody has had, and takes none of its room. */
  again?: Entry[]
  readonly groups: Set<string>
  readonly capacity: number
  readonly expiry: number
}

interface Member {
  readonly channel: Channel
  /** Those of the channel: a group message looks at every member, and each object less counts. */
  readonly receiver: Receiver | undefined
  readonly capacity: number
  /** Undefined: never. That is no number, for which V8 would make an object. */
  readonly lapses: number | undefined
}

export interface LocalHooks {
  /** The last member of a group in this process has left it. */
  readonly onEmpty?: (group: string) => void
  /** A membership has lapsed or ended with its channel. */
  readonly onLeave?: (group: string, channel: string) => void
  /** A message was not taken in time. */
  readonly onExpired?: (channel: string, entry: Entry) => void
}

export type SendOutcome = 'sent' | 'full' | 'overloaded' | 'closed'

/** How often everything is looked through for what is too old. What is touched is looked at when it is touched. */
const sweepEvery = 60_000

const noMailbox = new Mailbox<Entry>()

export class LocalChannels {
  readonly limits: Limits
  readonly now: () => number
  readonly #groupExpiry: number
  readonly #maxMessages: number
  readonly #drops: Drops
  readonly #hooks: LocalHooks
  readonly #channels = new Map<string, Channel>()
  readonly #groups = new Map<string, Map<string, Member>>()
  #waiting = 0
  #order = 0
  #sweep: NodeJS.Timeout | undefined

  constructor(options: LayerOptions, drops: Drops, hooks: LocalHooks = {}) {
    this.limits = limitsOf(options)
    this.now = options.now ?? Date.now
    this.#groupExpiry = options.groupExpiry ?? layerDefaults.groupExpiry
    this.#maxMessages = options.maxMessages ?? layerDefaults.maxMessages
    this.#drops = drops
    this.#hooks = hooks
  }

  get size(): { readonly channels: number; readonly groups: number } {
    return { channels: this.#channels.size, groups: this.#groups.size }
  }

  get groups(): IterableIterator<string> {
    return this.#groups.keys()
  }

  has(name: string): boolean {
    return this.#channels.has(name)
  }

  open(name: string, receiver?: Receiver): void {
    this.#channels.set(name, {
      name,
      receiver,
      mailbox: receiver ? noMailbox : new Mailbox(),
      groups: new Set(),
      capacity: this.limits.capacity(name),
      expiry: this.limits.expiry(name),
    })
  }

  /** What waits in it is dropped, and counted. */
  close(name: string): void {
    this.#drops.add('closed', this.#free(name))
  }

  /** A dropped message is counted. A named channel is opened by what is sent to it. */
  send(name: string, message: Event): SendOutcome {
    const channel = this.#channels.get(name) ?? this.#openNamed(name)
    const outcome = channel ? this.#push(channel, message, this.now()) : 'closed'
    if (outcome !== 'sent') this.#drops.add(outcome)
    return outcome
  }

  /** Back into its named channel after a failure, whatever room there is, and where it was. */
  putBack(name: string, entry: Entry): void {
    const channel = this.#channels.get(name) ?? this.#openNamed(name)
    if (!channel) return
    const { mailbox, again = [] } = channel
    // Somebody waits for it.
    if (mailbox.length === 0 && !mailbox.idle) return mailbox.put(entry)
    const at = again.findLastIndex(({ order }) => order < entry.order)
    channel.again = again.toSpliced(at + 1, 0, entry)
    this.#waiting++
    this.#sweepLater()
  }

  /** Rejects for a channel of a process that is gone. */
  async take(name: string, signal?: AbortSignal): Promise<Entry> {
    const channel = this.#channels.get(name) ?? this.#openNamed(name)
    if (!channel) throw new SignalboxError('scope_ended', `channel ${name} is closed`)
    if (channel.receiver)
      throw new SignalboxError('bad_name', `the messages of channel ${name} are pushed: nothing is left to receive`)
    this.#expire(channel, this.now())
    const failed = signal?.aborted ? undefined : channel.again?.shift()
    const stored = failed || (channel.mailbox.length > 0 && !signal?.aborted)
    if (stored) this.#waiting--
    try {
      return failed ?? (await channel.mailbox.take(signal))
    } finally {
      this.#forget(channel)
    }
  }

  /** Answers whether the group is new to this process; undefined when the channel is gone. */
  join(group: string, name: string): boolean | undefined {
    const channel = this.#channels.get(name) ?? this.#openNamed(name)
    if (!channel) return undefined
    // What is pushed to lives until it is closed, and so do its memberships: a socket of two days is still in its groups.
    const lapses = channel.receiver && name.includes('!') ? undefined : this.now() + this.#groupExpiry
    if (lapses !== undefined) this.#sweepLater()
    channel.groups.add(group)
    const { receiver, capacity } = channel
    const member = { channel, receiver, capacity, lapses }
    const members = this.#groups.get(group)
    if (members) members.set(name, member)
    else this.#groups.set(group, new Map([[name, member]]))
    return !members
  }

  leave(group: string, name: string): void {
    const channel = this.#channels.get(name)
    if (!channel?.groups.delete(group)) return
    this.#removeMember(group, name)
    this.#forget(channel)
  }

  groupSend(group: string, message: Event): GroupSendResult {
    const members = this.#groups.get(group)
    let delivered = 0
    let dropped = 0
    if (!members) return { delivered, dropped }
    const now = this.now()
    const present: Member[] = []
    // In a loop of its own: members know nothing of each other, and the processor fetches many of them side by side.
    for (const member of members.values()) {
      if (member.lapses !== undefined && member.lapses <= now) this.leave(group, member.channel.name)
      else present.push(member)
    }
    for (const { channel, receiver, capacity } of present) {
      const outcome = receiver ? pushed(receiver, message, capacity) : this.#keep(channel, message, now)
      if (outcome === 'sent') delivered++
      else {
        dropped++
        this.#drops.add(outcome)
      }
    }
    return { delivered, dropped }
  }

  members(group: string): readonly string[] {
    const now = this.now()
    const members = this.#groups.get(group)
    if (!members) return []
    for (const [name, { lapses }] of members) if (lapses !== undefined && lapses <= now) this.leave(group, name)
    return [...members.keys()]
  }

  /** Every membership, as group and channel. */
  *memberships(): Generator<readonly [group: string, channel: string]> {
    for (const [group, members] of this.#groups) for (const name of members.keys()) yield [group, name]
  }

  /** Looks through everything for what is too old. */
  sweep(): void {
    const now = this.now()
    for (const group of this.#groups.keys()) this.members(group)
    for (const channel of this.#channels.values()) {
      this.#expire(channel, now)
      this.#forget(channel)
    }
  }

  clear(): void {
    for (const name of this.#channels.keys()) this.#free(name)
    clearTimeout(this.#sweep)
    this.#sweep = undefined
  }

  /** Answers how many messages nobody will get. */
  #free(name: string): number {
    const channel = this.#channels.get(name)
    if (!channel) return 0
    this.#channels.delete(name)
    for (const group of channel.groups) this.#removeMember(group, name)
    if (channel.receiver) return 0
    const lost = channel.mailbox.close(new SignalboxError('scope_ended', `channel ${name} is closed`))
    const count = lost.length + (channel.again?.length ?? 0)
    this.#waiting -= count
    return count
  }

  #push(channel: Channel, message: Event, now: number): SendOutcome {
    const { receiver, capacity } = channel
    return receiver ? pushed(receiver, message, capacity) : this.#keep(channel, message, now)
  }

  #keep(channel: Channel, message: Event, now: number): SendOutcome {
    this.#expire(channel, now)
    if (channel.mailbox.length >= channel.capacity) return 'full'
    if (this.#waiting >= this.#maxMessages) this.sweep()
    if (this.#waiting >= this.#maxMessages) return 'overloaded'
    this.#put(channel, { message, deadline: now + channel.expiry, failures: 0, order: ++this.#order })
    return 'sent'
  }

  #put({ mailbox }: Channel, entry: Entry): void {
    const before = mailbox.length
    mailbox.put(entry)
    if (mailbox.length === before) return
    this.#waiting++
    this.#sweepLater()
  }

  /** Those at the front are the oldest. */
  #expire({ name, mailbox, again }: Channel, now: number): void {
    for (let entry = again?.[0]; entry && entry.deadline <= now; entry = again?.[0]) {
      again?.shift()
      this.#hasExpired(name, entry)
    }
    for (let entry = mailbox.first; entry && entry.deadline <= now; entry = mailbox.first) {
      mailbox.shift()
      this.#hasExpired(name, entry)
    }
  }

  #hasExpired(channel: string, entry: Entry): void {
    this.#waiting--
    this.#drops.add('expired')
    this.#hooks.onExpired?.(channel, entry)
  }

  #openNamed(name: string): Channel | undefined {
    // The name of a process's own channel after its end: nobody will ever receive what is sent there.
    if (name.includes('!')) return undefined
    this.open(name)
    return this.#channels.get(name)
  }

  /** Frees a named channel that holds nothing and that nobody waits for. Those of `newChannel` live until they are closed. */
  #forget(channel: Channel): void {
    const { name, mailbox, again, groups } = channel
    if (!mailbox.idle || again?.length || groups.size > 0 || name.includes('!')) return
    if (this.#channels.get(name) === channel) this.#channels.delete(name)
  }

  #removeMember(group: string, channel: string): void {
    const members = this.#groups.get(group)
    if (!members?.delete(channel)) return
    this.#hooks.onLeave?.(group, channel)
    if (members.size > 0) return
    this.#groups.delete(group)
    this.#hooks.onEmpty?.(group)
  }

  #sweepLater(): void {
    this.#sweep ??= setTimeout(() => {
      this.#sweep = undefined
      this.sweep()
      if (this.#waiting > 0 || this.#groups.size > 0) this.#sweepLater()
    }, sweepEvery).unref()
  }
}

/** Whoever pushes to one member must not be stopped by it from pushing to the next. */
function pushed(receiver: Receiver, message: Event, capacity: number): SendOutcome {
  try {
    return receiver.deliverMessage(message, capacity) ? 'sent' : 'full'
  } catch {
    return 'full'
  }
}
