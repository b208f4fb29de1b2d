/** Groups and channels as the command line sends to them: by a layer of its own, or by what a gateway answers. */
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Event } from '../asgi/protocol.ts'
import { SignalboxError } from '../runtime/errors.ts'

export interface Receiver {
  readonly kind: 'group' | 'channel'
  readonly description: string
  readonly example: string
  /** Sends, waits until it has left, and says what became of it. */
  readonly send: (layer: ChannelLayer, name: string, message: Event) => Promise<string>
  /** The same of a gateway's answer. */
  readonly told: (name: string, answer: Readonly<Record<string, unknown>>) => string
}

const counted = (count: unknown, word: string): string => `${String(count)} ${word}${count === 1 ? '' : 's'}`

export const group: Receiver = {
  kind: 'group',
  description: 'Sends a message to every member of a group, in every process.',
  example: `npx signalbox group send chat '{"type":"chat.message","text":"hi"}'`,
  async send(layer, name, message) {
    await layer.groupSend(name, message)
    // It is answered after the message: when this is here, that is there.
    const size = await layer.groupSize(name)
    checkDrops(layer)
    return `sent to group ${name}, which has ${counted(size, 'member')}`
  },
  told: (name, { delivered, dropped }) =>
    `sent to group ${name}: ${counted(delivered, 'member')} got it, ${String(dropped)} had no room for it`,
}

export const channel: Receiver = {
  kind: 'channel',
  description: 'Sends a message to a channel: a named one, which workers serve, or that of one scope.',
  example: `npx signalbox channel send thumbnails '{"type":"image.resize","path":"a.png"}'`,
  async send(layer, name, message) {
    const known = await layer.send(name, message)
    // What is published is answered before this is.
    if (known === 'published') await layer.groupSize('none')
    checkDrops(layer)
    return sentTo(name, known === 'published')
  },
  told: (name, { published }) => sentTo(name, published === true),
}

const sentTo = (channel: string, published: boolean): string =>
  published
    ? `sent to the process of channel ${channel}: whether the channel is still open there it does not say`
    : `sent to channel ${channel}`

/** @throws SignalboxError `send_failed` when the layer has dropped it. */
function checkDrops(layer: ChannelLayer): void {
  const [why] = Object.keys(layer.stats().dropped)
  if (why === undefined) return
  const words = why === 'closed' ? 'no process has this channel' : `it was dropped (${why})`
  throw new SignalboxError('send_failed', words)
}
