/** TopicRouter and the grammar of topics, against the words of MQTT 3.1.1, section 4.7. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { TopicRouter, topicRouterDefinition } from '../../../protocols/mqtt/router.ts'
import type { MqttScope } from '../../../protocols/mqtt/scope.ts'
import { covers, filterMatches, filterProblem, parseFilter, topicProblem } from '../../../protocols/mqtt/topic.ts'
import { SubscriptionIndex } from '../../../protocols/mqtt/subscription-index.ts'
import type { MqttApplication } from './support.ts'

const { compile } = topicRouterDefinition.keys.topic
const limits = { maxTopicLevels: 100, maxTopicLength: 1024 }

test.each<[string, string, object | undefined]>([
  ['sensors/+room/temperature', 'sensors/kitchen/temperature', { params: { room: 'kitchen' }, rest: '' }],
  ['sensors/+/temperature', 'sensors/kitchen/temperature', { params: {}, rest: '' }],
  ['sensors/+room/temperature', 'sensors/kitchen/humidity', undefined],
  ['sensors/+room/temperature', 'sensors/kitchen', undefined],
  ['a/#', 'a', { params: {}, rest: '' }], // section 4.7.1.2
  ['a/#', 'a/b/c', { params: {}, rest: 'b/c' }],
  ['a/+x/#', 'a/b/c/d', { params: { x: 'b' }, rest: 'c/d' }],
  ['a/#', 'ab', undefined],
  ['#', 'a/b', { params: {}, rest: 'a/b' }],
  ['+', 'a', { params: {}, rest: '' }],
  ['+', '/a', undefined],
  ['+/+', '/a', { params: {}, rest: '' }], // section 4.7.1.3
  ['a/+x', 'a/', { params: { x: '' }, rest: '' }],
  ['/+', '/a', { params: {}, rest: '' }],
  ['#', '$SYS/x', undefined], // [MQTT-4.7.2-1]
  ['+/x', '$SYS/x', undefined],
  ['$SYS/#', '$SYS/x', { params: {}, rest: 'x' }],
  ['$SYS/+', '$SYS/x', { params: {}, rest: '' }],
  ['a/+', 'a/$b', { params: {}, rest: '' }],
  ['a', 'A', undefined],
])('%s on %s', (filter, topic, expected) => {
  expect(compile(filter).match(topic)).toEqual(expected)
})

test.each([
  ['', 'an empty one'],
  ['a/#/b', 'expected it as the last level'],
  ['a#', 'expected it as the last level'],
  ['a/b+', '"b+"'],
  ['a/+room-1', 'expected text, + or +name'],
  ['a/++', 'expected text, + or +name'],
  ['+x/+x', 'the level +x stands twice'],
  ['a\0', 'a character that no topic has'],
])('the filter %j is refused in words', (filter, words) => {
  expect(() => compile(filter)).toThrow(words)
})

const word = fc.constantFrom('', 'a', 'b', '$a', 'ab')
const topics = fc.array(word, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
const filters = fc
  .tuple(fc.array(fc.oneof(word, fc.constant('+')), { minLength: 0, maxLength: 4 }), fc.boolean())
  .map(([levels, open]) => [...levels, ...(open || levels.length === 0 ? ['#'] : [])].join('/'))
  .filter((filter) => filter !== '')

/** The specification's sentences, as naively as they can be written. */
function matches(filter: string, topic: string): boolean {
  if (/^[+#]/.test(filter) && topic.startsWith('$')) return false
  const source = filter
    .replaceAll(/[$]/g, '\\$')
    .replace(/^#$/, '.*')
    .replace(/\/#$/, '(?:/.*)?')
    .replaceAll('+', '[^/]*')
  return new RegExp(`^${source}$`).test(topic)
}

describe('every filter on every topic', () => {
  test('agrees with the specification: the router, its index, the filters of rights, the kept subscriptions', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(filters, { minLength: 1, maxLength: 6 }),
        topics.filter((topic) => topic !== ''),
        (list, topic) => {
          const expected = list.map((filter) => matches(filter, topic))
          expect(list.map((filter) => compile(filter).match(topic) !== undefined)).toEqual(expected)
          expect(list.map((filter) => filterMatches(parseFilter(filter), topic))).toEqual(expected)

          const found = TopicRouter(list.map((filter) => ({ topic: filter, app: nowhere }))).resolve?.(scopeOf(topic))
          const first = expected.indexOf(true)
          expect((found?.rules.at(-1) as { route: string } | undefined)?.route).toBe(
            first === -1 ? undefined : `TopicRouter[${first}]`,
          )

          const index = new SubscriptionIndex()
          list.forEach((filter, client) => index.add({ clientId: String(client), topic: filter, qos: 1 }))
          const clients = index.match(topic).map(({ clientId }) => Number(clientId))
          expect(clients.toSorted((first, second) => first - second)).toEqual(
            list.flatMap((_, client) => (expected[client] ? client : [])),
          )
          list.forEach((filter, client) => index.remove(String(client), filter))
          expect(index.match(topic)).toEqual([])
        },
      ),
    )
  })

  test('a filter covers another one exactly when it takes all of its topics', () => {
    fc.assert(
      fc.property(
        filters,
        filters,
        fc.array(
          topics.filter((topic) => topic !== ''),
          { minLength: 1, maxLength: 30 },
        ),
        (wide, narrow, list) => {
          if (!covers(parseFilter(wide), parseFilter(narrow))) return
          expect(list.filter((topic) => matches(narrow, topic) && !matches(wide, topic))).toEqual([])
        },
      ),
      { numRuns: 500 },
    )
    const pairs: readonly [string, string, boolean][] = [
      ['#', 'a/+/b', true],
      ['a/#', 'a', true],
      ['a/#', 'a/#', true],
      ['a/+', 'a/#', false],
      ['a/+', 'a/+', true],
      ['a/b', 'a/+', false],
      ['#', '$SYS/#', false],
      ['+/#', '$SYS/x', false],
      ['$SYS/#', '$SYS/x', true],
    ]
    for (const [wide, narrow, expected] of pairs)
      expect([wide, narrow, covers(parseFilter(wide), parseFilter(narrow))]).toEqual([wide, narrow, expected])
  })
})

test('a client with overlapping subscriptions is found once, with the highest QoS', () => {
  const index = new SubscriptionIndex()
  index.add({ clientId: 'a', topic: 'x/#', qos: 1 })
  index.add({ clientId: 'a', topic: 'x/y', qos: 2 })
  expect(index.match('x/y')).toEqual([{ clientId: 'a', topic: 'x/y', qos: 2 }])
  expect(index.match('x/z')).toEqual([{ clientId: 'a', topic: 'x/#', qos: 1 }])
  index.remove('a', 'x/y')
  index.remove('a', 'never/was')
  expect(index.match('x/y')).toEqual([{ clientId: 'a', topic: 'x/#', qos: 1 }])
})

test('a nested router sees the levels that # took, and captures are merged', async () => {
  const seen: MqttScope[] = []
  const app: MqttApplication = async (scope) => void seen.push(scope)
  const inner = TopicRouter([{ topic: '+room/temperature', app }])
  const outer = TopicRouter([
    { topic: '+building/#', app: inner },
    { topic: '#', app: nowhere },
  ])
  const scope = scopeOf('house/kitchen/temperature')
  await outer(scope, undefined as never, undefined as never, {} as never)
  expect(seen).toEqual([
    expect.objectContaining({ params: { building: 'house', room: 'kitchen' }, topic: scope.topic, topicRemaining: '' }),
  ])
  expect(outer.resolve?.(scope)?.params).toEqual({ building: 'house', room: 'kitchen' })
  expect(outer.resolve?.(scopeOf('house/kitchen/other'))?.rules).toHaveLength(1)
  const { topic: _, ...connection } = scope
  expect(outer.resolve?.(connection)).toBeUndefined()
})

test.each([
  ['', 'is empty'],
  ['a/+', 'a wildcard'],
  ['#', 'a wildcard'],
  ['a\0b', 'NUL'],
  ['a\uD800', 'no valid Unicode'],
  [`${'a/'.repeat(100)}a`, '101 levels'],
  ['é'.repeat(513), '1026 bytes'],
])('%j is no topic', (topic, words) => {
  expect(topicProblem(topic, limits)).toContain(words)
})

test.each([
  ['a/b#', 'a # that is not'],
  ['#/a', 'a # that is not'],
  ['a+/b', 'a + that is not'],
  ['', 'is empty'],
])('%j is no topic filter', (filter, words) => {
  expect(filterProblem(filter, limits)).toContain(words)
})

test.each(['a', '/', '+', '#', '+/+/#', '$SYS/#', 'ü/+'])('%j is a topic filter', (filter) => {
  expect(filterProblem(filter, limits)).toBeUndefined()
})

const nowhere: MqttApplication = () => Promise.reject(new Error('not to be called'))

function scopeOf(topic: string): MqttScope {
  const ends = { client: null, server: null } as const
  const client = { clientId: 'c', username: '', protocolVersion: 4, clean: true, keepalive: 0 }
  return { type: 'mqtt', id: 's', ...ends, ...client, params: {}, route: '', state: {}, topic }
}
