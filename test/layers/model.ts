/** A channel layer against a model of it that is plain to see: random lives of channels and groups, on any backend. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { ChannelLayer } from '../../src/asgi/channel-layer.ts'
import type { Event } from '../../src/asgi/protocol.ts'
import type { LayerOptions } from '../../src/layers/limits.ts'

const capacity = 3
const expiry = { default: 100, named: 150 }
const groupExpiry = 250

const text = (words: number): Event => ({ type: 'chat.message', text: words }) as Event

interface ModelChannel {
  readonly pushed: boolean
  readonly named: boolean
  open: boolean
  waiting: { readonly number: number; readonly deadline: number }[]
}

/** Channels by their place; the first two are named. */
class Model {
  readonly channels: ModelChannel[] = [named(), named()]
  readonly groups = new Map<string, Map<number, number>>()
  /** How often there was no room. */
  full = 0
  /** Messages to channels of the process that nobody got, because they are closed or because it is too late. */
  lost = 0
  /** Messages of named channels that are too old; when that is noticed, and counted, is the layer's to say. */
  old = 0
  now = 0
  next = 0

  at(index: number): number {
    return index % this.channels.length
  }

  channel(index: number): ModelChannel {
    return this.channels[this.at(index)] as ModelChannel
  }

  fresh(channel: ModelChannel): ModelChannel['waiting'] {
    const before = channel.waiting.length
    channel.waiting = channel.waiting.filter(({ deadline }) => deadline > this.now)
    if (channel.named) this.old += before - channel.waiting.length
    else this.lost += before - channel.waiting.length
    return channel.waiting
  }

  push(channel: ModelChannel, number: number): 'sent' | 'full' | 'closed' {
    if (!channel.open) {
      this.lost++
      return 'closed'
    }
    if (channel.pushed) return 'sent'
    if (this.fresh(channel).length >= capacity) {
      this.full++
      return 'full'
    }
    channel.waiting.push({ number, deadline: this.now + (channel.named ? expiry.named : expiry.default) })
    return 'sent'
  }

  close(channel: ModelChannel): void {
    channel.open = false
    this.lost += channel.waiting.length
    channel.waiting = []
  }

  members(group: string): number[] {
    const members = this.groups.get(group) ?? new Map<number, number>()
    for (const [channel, lapses] of members) if (lapses <= this.now) members.delete(channel)
    return [...members.keys()]
  }
}

function named(): ModelChannel {
  return { pushed: false, named: true, open: true, waiting: [] }
}

interface Real {
  readonly layer: ChannelLayer
  readonly names: string[]
  /** What was pushed, for each channel. */
  readonly got: Event[][]
  readonly clock: { now: number }
}

type Command = fc.AsyncCommand<Model, Real>

const command = (
  title: string,
  run: (model: Model, real: Real) => Promise<void>,
  check: (model: Readonly<Model>) => boolean = () => true,
): Command => ({ check, run, toString: () => title })

const open = (pushed: boolean) =>
  command(`open ${pushed ? 'pushed' : 'pulled'}`, async (model, real) => {
    const got: Event[] = []
    model.channels.push({ pushed, named: false, open: true, waiting: [] })
    real.names.push(real.layer.newChannel(pushed ? { deliverMessage: (message) => got.push(message) > 0 } : undefined))
    real.got.push(got)
  })

const close = (index: number) =>
  command(
    `close ${index}`,
    async (model, real) => {
      await real.layer.closeChannel(real.names[model.at(index)] as string)
      model.close(model.channel(index))
      for (const members of model.groups.values()) members.delete(model.at(index))
    },
    (model) => !model.channel(index).named,
  )

const send = (index: number) =>
  command(`send ${index}`, async (model, real) => {
    const number = model.next++
    const sent = real.layer.send(real.names[model.at(index)] as string, text(number))
    if (model.push(model.channel(index), number) === 'full')
      await expect(sent).rejects.toMatchObject({ code: 'channel_full' })
    else await sent
    if (model.channel(index).pushed && model.channel(index).open)
      expect(real.got[model.at(index)]?.at(-1)).toEqual(text(number))
  })

const receive = (index: number) =>
  command(
    `receive ${index}`,
    async (model, real) => {
      const name = real.names[model.at(index)] as string
      const expected = model.fresh(model.channel(index)).shift()
      if (expected) {
        expect(await real.layer.receive(name)).toEqual(text(expected.number))
        return
      }
      const number = model.next++
      const [received] = await Promise.all([real.layer.receive(name), real.layer.send(name, text(number))])
      expect(received).toEqual(text(number))
    },
    (model) => model.channel(index).open && !model.channel(index).pushed,
  )

const cancel = (index: number) =>
  command(
    `cancel ${index}`,
    async (model, real) => {
      const controller = new AbortController()
      const received = real.layer.receive(real.names[model.at(index)] as string, { signal: controller.signal })
      controller.abort(new Error('enough'))
      await expect(received).rejects.toThrow('enough')
    },
    (model) => {
      const { open, pushed, waiting } = model.channel(index)
      return open && !pushed && !waiting.some(({ deadline }) => deadline > model.now)
    },
  )

const join = (group: string, index: number) =>
  command(
    `join ${group} ${index}`,
    async (model, real) => {
      await real.layer.groupAdd(group, real.names[model.at(index)] as string)
      const channel = model.channel(index)
      if (!channel.open) return
      const members = model.groups.get(group) ?? new Map<number, number>()
      model.groups.set(group, members.set(model.at(index), channel.pushed ? Infinity : model.now + groupExpiry))
    },
    (model) => !model.channel(index).named,
  )

const leave = (group: string, index: number) =>
  command(`leave ${group} ${index}`, async (model, real) => {
    await real.layer.groupDiscard(group, real.names[model.at(index)] as string)
    model.groups.get(group)?.delete(model.at(index))
  })

const groupSend = (group: string) =>
  command(`groupSend ${group}`, async (model, real) => {
    const number = model.next++
    const outcomes = model.members(group).map((member) => model.push(model.channel(member), number))
    const delivered = outcomes.filter((outcome) => outcome === 'sent').length
    expect(await real.layer.groupSend(group, text(number))).toEqual({ delivered, dropped: outcomes.length - delivered })
  })

const list = (group: string) =>
  command(`members ${group}`, async (model, real) => {
    const expected = model.members(group).map((member) => real.names[member] as string)
    expect([...(await real.layer.groupMembers(group))].toSorted()).toEqual(expected.toSorted())
    expect(await real.layer.groupSize(group)).toBe(expected.length)
  })

const pass = (time: number) =>
  command(`pass ${time}`, async (model, real) => {
    model.now += time
    real.clock.now += time
  })

const index = fc.nat({ max: 7 })
const group = fc.constantFrom('a', 'b')

const commands = fc.commands(
  [
    fc.boolean().map(open),
    index.map(close),
    index.map(send),
    index.map(send),
    index.map(receive),
    index.map(cancel),
    fc.tuple(group, index).map(([name, channel]) => join(name, channel)),
    fc.tuple(group, index).map(([name, channel]) => leave(name, channel)),
    group.map(groupSend),
    group.map(list),
    fc.integer({ min: 1, max: 120 }).map(pass),
  ],
  { maxCommands: 60, size: 'max' },
)

/** Every message that nobody got is counted, once. */
function checkDrops(model: Model, dropped: Readonly<Record<string, number>>): void {
  const { full = 0, closed = 0, expired = 0, ...others } = dropped
  expect([full, others]).toEqual([model.full, {}])
  for (const channel of model.channels) model.fresh(channel)
  expect(closed + expired).toBeGreaterThanOrEqual(model.lost)
  expect(closed + expired).toBeLessThanOrEqual(model.lost + model.old)
}

export function layerModel(
  name: string,
  makeLayer: (options?: LayerOptions) => Promise<ChannelLayer>,
  numRuns: number,
): void {
  describe(`${name}: the model`, () => {
    test('whatever is done with channels and groups, the layer answers as the model does', async () => {
      await fc.assert(
        fc.asyncProperty(commands, async (chosen) => {
          const clock = { now: 1_700_000_000_000 }
          const layer = await makeLayer({ capacity, expiry, groupExpiry, now: () => clock.now })
          const real = { layer, names: ['work', 'tasks'], got: [[], []], clock }
          const model = new Model()
          try {
            await fc.asyncModelRun(() => ({ model, real }), chosen)
            // Afterwards nothing is left.
            for (const [index, channel] of model.channels.entries()) {
              if (channel.named) continue
              await layer.closeChannel(real.names[index] as string)
              model.close(channel)
            }
            clock.now += 1000
            checkDrops(model, layer.stats().dropped)
            for (const name of ['a', 'b']) expect(await layer.groupSize(name)).toBe(0)
            expect(layer.stats().groups).toBe(0)
          } finally {
            await layer.close()
          }
        }),
        { numRuns },
      )
    }, 60_000)
  })
}
