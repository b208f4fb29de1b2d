/** What goes between gateways: the names in Redis that topics and filters have, and messages that are none. */
import { EventEmitter } from 'node:events'
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { SharedEmitter } from '../../../protocols/mqtt/redis-emitter.ts'
import type { RedisLink } from '../../../protocols/mqtt/redis-link.ts'
import { filterMatches, parseFilter } from '../../../protocols/mqtt/topic.ts'

function emitter() {
  const rejected: string[] = []
  const psubscribe = () => undefined
  const subscriber = Object.assign(new EventEmitter(), { psubscribe })
  const sent: Buffer[] = []
  const publish = async (_: string, message: Buffer) => sent.push(message)
  const link = { channelPrefix: 'p:mqtt/', subscriber, publish, ready: true } as unknown as RedisLink
  const shared = new SharedEmitter(link, { maxBytes: 1000, rejected: (why) => void rejected.push(why) })
  /** As one that came for a pattern. */
  const come = (pattern: string, message: Buffer) => subscriber.emit('pmessageBuffer', pattern, 'p:mqtt/a', message)
  return { shared, rejected, sent, come }
}

/** What the patterns of Redis mean, as far as there is nothing in one but stars and text. */
function takes(pattern: string, name: string): boolean {
  expect(pattern).not.toMatch(/[?[\]\\]/)
  const parts = pattern.split('*').map((part) => part.replaceAll(/[$()+./^{|}]/g, String.raw`\$&`))
  return new RegExp(`^${parts.join('.*')}$`, 'su').test(name)
}

const level = fc.string({
  unit: fc.constantFrom('a', 'b', '*', '?', '[', ']', '^', '-', '\\', '%', '2', 'A', '$', 'é'),
  maxLength: 3,
})
const topic = fc.array(level, { minLength: 1, maxLength: 3 }).map((levels) => levels.join('/') || 'a')

test('the pattern of a filter takes the channel of every topic that the filter takes', () => {
  const { shared } = emitter()
  const filter = fc
    .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 3 }), fc.boolean())
    .map(([levels, all]) => (all ? [...levels, '#'] : levels).join('/') || '#')
  fc.assert(
    fc.property(filter, topic, (wanted, name) => {
      fc.pre(filterMatches(parseFilter(wanted), name))
      expect(takes(shared._subTopic(wanted), shared._subTopic(name))).toBe(true)
    }),
    { numRuns: 300 },
  )
})

test('two topics never have the same channel, nor a topic the name of a pattern', () => {
  const { shared } = emitter()
  fc.assert(
    fc.property(topic, topic, (one, other) => {
      expect(shared._subTopic(one) === shared._subTopic(other)).toBe(one === other)
      expect(shared._subTopic(one)).not.toContain('*')
    }),
  )
})

test('a message that is none, or is too large, is dropped and said', () => {
  const { shared, rejected } = emitter()
  const got: unknown[] = []
  shared.on('#', (message: unknown, done: () => void) => {
    got.push(message)
    done()
  })
  const message = { cmd: 'publish', topic: 'a', payload: Buffer.from('x'), qos: 1, retain: false }
  const wrong = [
    undefined,
    5,
    {},
    { ...message, topic: 5 },
    { ...message, topic: '' },
    { ...message, topic: 'a/+' },
    { ...message, topic: 'a/'.repeat(100) },
    { ...message, payload: 5 },
    { ...message, qos: 3 },
    { ...message, cmd: 'pubrel' },
    { ...message, payload: Buffer.alloc(1001) },
  ]
  for (const one of wrong) shared._emit(one)
  shared._emit(message)
  expect(got).toEqual([message])
  expect(rejected).toHaveLength(wrong.length)
  expect(rejected.at(-1)).toBe('it has 1002 bytes, and 1000 are taken')
  fc.assert(
    fc.property(fc.anything(), (anything) => {
      shared._emit(anything)
    }),
  )
})

test('each message that is none is said; one that comes for several patterns is taken once', () => {
  const { shared, rejected, sent, come } = emitter()
  const got: unknown[] = []
  shared.on('#', (message: unknown, done: () => void) => {
    got.push(message)
    done()
  })
  for (let time = 0; time < 3; time++) come('p:mqtt/*', Buffer.from('garbage'))
  expect(rejected).toEqual(Array.from({ length: 3 }, () => 'it is no message'))
  for (const text of ['one', 'two'])
    shared.emit({ cmd: 'publish', topic: 'a', payload: Buffer.from(text), qos: 1, retain: false })
  for (const message of sent) for (const pattern of ['p:mqtt/*', 'p:mqtt/a*']) come(pattern, message)
  expect(got).toMatchObject([{ payload: Buffer.from('one') }, { payload: Buffer.from('two') }])
  expect(rejected).toHaveLength(3)
})
