/** The verdict on a sender of three events, all of them acknowledged. */
import { describe, expect, test } from '@jest/globals'
import type { Evidence } from './evidence.ts'
import { judge, type Sent } from './verdict.ts'

const sent: Sent = {
  name: 'sms',
  hasKey: true,
  isTold: true,
  sent: 3,
  answered: new Set(['sms-0', 'sms-1', 'sms-2']),
  answersLost: 1,
  toldLater: 0,
  wrong: [],
}
const kept = { waiting: new Set<string>(), dead: new Set(['sms-2']) }
const counts = { accepted: 3, handled: 2, waiting: 0, dead: 1, discarded: 0, expired: 0 }
const note = (event: string, redelivered = false) => ({ event, redelivered })
const notes = [note('sms-0'), note('sms-1')]
const good: Evidence = { notes, kept, counts }

const broken = (own: Partial<Sent> = {}, found: Partial<Evidence> = {}, hadTrouble = false) =>
  judge({ ...sent, ...own }, { ...good, ...found }, hadTrouble).broken

test('what was handled or stands as a dead letter keeps the promise, and so does a repeat that says what it is', () => {
  expect(broken()).toEqual([])
  const again = { notes: [...notes, note('sms-0', true)] }
  expect(broken({}, again)).toEqual([])
  expect(judge(sent, { ...good, ...again }, false).fate).toMatchObject({ handled: 2, dead: 1, redelivered: 1 })
})

const second = { ...counts, accepted: 4, handled: 3 }

describe('a promise is broken by', () => {
  test.each<[string, Partial<Sent>, Partial<Evidence>, string]>([
    ['an event that is nowhere', {}, { notes: notes.slice(1), counts: { ...counts, handled: 1 } }, '1 lost: sms-0'],
    ['an event without an answer', { answered: new Set(['sms-0']) }, {}, '2 never had a positive answer'],
    ['an answer that is final', { wrong: ['500 no'] }, {}, 'was told 500 no'],
    [
      'a repeat that does not say so',
      {},
      { notes: [...notes, note('sms-0')] },
      '1 handled again without saying so: sms-0',
    ],
    [
      'a second record, though its repeat says so',
      {},
      { notes: [...notes, note('sms-0', true)], counts: second },
      '1 accepted twice',
    ],
    ['a sum that is wrong', {}, { counts: { ...counts, handled: 1 } }, 'the journal does not add up'],
    [
      'a count that is not what was seen',
      {},
      { counts: { ...counts, handled: 1, dead: 2 } },
      'the journal does not add up',
    ],
    ['a record that was never made', {}, { counts: { ...counts, accepted: 2, handled: 1 } }, '1 never accepted'],
    ['one that still waits', {}, { counts: { ...counts, accepted: 4, waiting: 1 } }, 'the journal does not add up'],
  ])('%s', (_, own, found, words) => {
    expect(broken(own, found)).toContainEqual(expect.stringContaining(`sms: ${words}`))
  })
})

test('without a key what is sent again is another event, and has to arrive', () => {
  const own = { hasKey: false }
  expect(broken(own, { notes: [...notes, note('sms-0')], counts: second })).toEqual([])
  expect(broken(own)).toEqual(['sms: not tried: what it sent again did not arrive'])
})

test('a run in which nothing was sent again, or nobody was told to come later, shows nothing', () => {
  expect(broken({ answersLost: 0 })).toEqual(['sms: not tried: had every answer, so that nothing was sent again'])
  expect(broken({}, {}, true)).toEqual(['sms: not tried: was never told to come later'])
  expect(broken({ isTold: false }, {}, true)).toEqual([])
})
