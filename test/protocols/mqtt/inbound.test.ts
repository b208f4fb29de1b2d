/** The order of what a client publishes, by the hooks alone, and what Aedes is kept from. */
import { describe, expect, test } from '@jest/globals'
import type { Client, PublishPacket } from 'aedes'
import fc from 'fast-check'
import { GuardedAedes } from '../../../protocols/mqtt/guarded-aedes.ts'
import { Inbound } from '../../../protocols/mqtt/inbound.ts'

/** An Inbound between an application and an Aedes that do as they are told. */
function open({ closed = false, lasting = false, pastAedes = false } = {}) {
  const delivered = new Map<number, () => void>()
  const lookups = new Map<number, (repeated: boolean) => void>()
  const told: string[] = []
  const returned = new Map<PublishPacket, ReturnType<Inbound['handedBack']>>()
  const inbound = new Inbound({
    client: { closed, clean: !lasting },
    allowed: ({ topic }) => topic !== 'denied',
    isRepeated: ({ messageId = 0 }) => new Promise((resolve) => void lookups.set(messageId, resolve)),
    deliver: ({ messageId = 0 }, done) => {
      told.push(`deliver ${messageId}`)
      delivered.set(messageId, done)
    },
    broker: (_packet, done) => done(),
    acknowledge: (messageId) => told.push(`acknowledge ${messageId}`),
    settled: (bytes, qos) => told.push(`settled ${bytes} ${qos}`),
  })
  const publish = (messageId: number, qos: 0 | 1 | 2, own: Partial<PublishPacket> = {}) => {
    const packet: PublishPacket = {
      cmd: 'publish',
      topic: 't',
      payload: '',
      qos,
      dup: false,
      retain: false,
      messageId,
      length: 10,
      ...own,
    }
    if (pastAedes) inbound.publish(packet)
    else
      inbound.publish(packet, () => {
        told.push(`hand back ${messageId} ${packet.qos}`)
        // As Aedes does with QoS 0, at once.
        if (packet.qos === 0) returned.set(packet, inbound.handedBack(packet))
      })
    return packet
  }
  const brokered = (packet: PublishPacket, error?: Error) => returned.get(packet)?.done(error)
  return {
    inbound,
    told,
    publish,
    brokered,
    handled: (id: number) => delivered.get(id)?.(),
    lookedUp: (id: number, repeated: boolean) => lookups.get(id)?.(repeated),
  }
}

test('packets are handed back in their order, whatever order they are handled in, and acknowledged in it too', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ qos: fc.constantFrom(0, 1), retain: fc.boolean(), denied: fc.boolean() }), {
        minLength: 1,
        maxLength: 15,
      }),
      fc.infiniteStream(fc.nat(1000)),
      (list, random) => {
        const { told, publish, brokered, handled } = open()
        const packets = list.map(({ qos, retain, denied }, index) =>
          publish(index + 1, qos, { retain, topic: denied ? 'denied' : 't' }),
        )
        const pending = packets.flatMap((_, index) => (list[index]?.denied ? [] : [index + 1]))
        const released = () =>
          told.filter((line) => line.startsWith('hand back')).map((line) => Number(line.split(' ')[2]))
        const left = new Set(packets.map((_, index) => index + 1))
        for (let step = 0; left.size > 0 && step < 500; step++) {
          const { value } = random.next() as { value: number }
          if (value % 2 === 0 && pending.length > 0) handled(pending.splice(value % pending.length, 1)[0] as number)
          const open = released().filter((id) => left.has(id))
          const id = open[value % Math.max(open.length, 1)]
          if (value % 3 !== 0 || id === undefined) continue
          left.delete(id)
          brokered(packets[id - 1] as PublishPacket)
        }
        expect(released()).toEqual(packets.map((_, index) => index + 1))
        const acknowledged = told.filter((line) => line.startsWith('acknowledge'))
        expect(acknowledged).toEqual(list.flatMap(({ qos }, index) => (qos === 1 ? [`acknowledge ${index + 1}`] : [])))
        expect(told.filter((line) => line.startsWith('settled'))).toHaveLength(list.length)
      },
    ),
  )
})

test('however many wait for one that is brokered at once, they follow it in order', () => {
  const { told, publish, handled } = open({ pastAedes: true })
  const ids = Array.from({ length: 20_000 }, (_, index) => index + 1)
  for (const id of ids) publish(id, 1)
  for (const id of ids.toReversed()) handled(id)
  const acknowledged = told.filter((line) => line.startsWith('acknowledge'))
  expect(acknowledged).toEqual(ids.map((id) => `acknowledge ${id}`))
})

describe('a message of QoS 2', () => {
  test('waits for its look-up, and those behind it wait too', async () => {
    const { told, publish, lookedUp, handled } = open()
    publish(1, 2)
    publish(2, 0)
    expect(told).toEqual([])
    lookedUp(1, false)
    await Promise.resolve()
    expect(told).toEqual(['deliver 1', 'deliver 2'])
    handled(2)
    handled(1)
    expect(told.slice(2)).toEqual(['hand back 1 2'])
  })

  test('that is a repetition is not delivered, and counts no longer', async () => {
    const { told, publish, lookedUp, inbound } = open()
    const packet = publish(1, 2)
    lookedUp(1, true)
    await Promise.resolve()
    expect(told).toEqual(['settled 10 2', 'hand back 1 2'])
    expect(inbound.handedBack(packet)).toBeUndefined()
  })

  test('whose look-up outlasts the connection still reaches the application before that is told of the end', async () => {
    const { told, publish, lookedUp, inbound } = open()
    publish(1, 2)
    const closed = inbound.closed().then(() => told.push('closed'))
    await Promise.resolve()
    lookedUp(1, false)
    await closed
    expect(told).toEqual(['deliver 1', 'closed'])
  })
})

test('a message that the broker failed on is not acknowledged', () => {
  const { told, publish, brokered, handled } = open()
  const packet = publish(1, 1)
  handled(1)
  brokered(packet, new Error('the disk is full'))
  expect(told).toEqual(['deliver 1', 'hand back 1 0', 'settled 10 1'])
  expect(packet.qos).toBe(1)
})

test('a client that left while its session was looked up is not listed', () => {
  const aedes = new GuardedAedes({}, new WeakMap())
  aedes.registerClient({ id: 'gone', closed: true } as Client)
  expect(Reflect.get(aedes, 'clients')).toEqual({})
})
