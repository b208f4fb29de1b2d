/** Where records stand: under the rule of their resolution, and in the lane that its key says. */
import { expect, test } from '@jest/globals'
import type { NewRecord } from '../../src/asgi/delivery.ts'
import type { Entry } from '../../src/journal/entry.ts'
import { Line } from '../../src/journal/line.ts'
import { Places } from '../../src/journal/places.ts'
import { record } from './processes.ts'

const rule = {
  protocol: 'toy',
  direction: 'in',
  route: 'a.yaml:1',
  limit: 1,
  running: 0,
  ready: new Line<Entry>(),
} as const
const places = () => new Places('toy', { rule: () => rule })
const from = (device: string, more: Partial<NewRecord>): NewRecord =>
  record('hot', { scope: { type: 'toy', client: null, server: null, device } as NewRecord['scope'], ...more })

test('those of one rule stand in the lanes of the senders that its key names', () => {
  const resolution = { route: 'a.yaml:1', params: {}, delivery: { key: 'device' } }
  const toy = places()
  const lanes = ['one', 'two', 'one'].map((device) => toy.find(from(device, { resolution })).lane)
  expect(lanes).toEqual(['toy in a.yaml:1 one', 'toy in a.yaml:1 two', 'toy in a.yaml:1 one'])
})

test('where the rule has no key it is one place for all senders, and another one for each lane', () => {
  const resolution = { route: 'a.yaml:1', params: {} }
  const toy = places()
  const first = toy.find(from('one', { resolution }))
  expect(toy.find(from('two', { resolution }))).toBe(first)
  expect(toy.find(from('two', { resolution, lane: 'red' }))).toMatchObject({ lane: 'toy in red' })
  expect(first).toMatchObject({ route: 'a.yaml:1', lane: '' })
})
