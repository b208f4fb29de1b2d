/** Many equally long deadlines with one timer. */
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals'
import fc from 'fast-check'
import { Deadline, Deadlines } from '../../src/runtime/deadlines.ts'

describe('deadlines', () => {
  beforeEach(() => void jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick'] }))
  afterEach(() => void jest.useRealTimers())

  test('tell what is late when its own time has come, each once, in order, and not what has ended', () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant('begin' as const), number: fc.constant(0) }),
      fc.record({ do: fc.constant('end' as const), number: fc.nat(20) }),
      fc.record({ do: fc.constant('pass' as const), number: fc.nat(150) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const deadlines = new Deadlines(100)
        const begun: { readonly deadline: Deadline; readonly at: number; over: boolean }[] = []
        const late: number[] = []
        const expected: number[] = []
        for (const { do: what, number } of steps) {
          if (what === 'begin') {
            const index = begun.length
            const deadline = new Deadline(() => void late.push(index))
            deadlines.begin(deadline)
            begun.push({ deadline, at: performance.now(), over: false })
          } else if (what === 'end') {
            const one = begun[number]
            if (!one) continue
            deadlines.end(one.deadline)
            one.over = true
          } else jest.advanceTimersByTime(number)
          for (const [index, one] of begun.entries()) {
            if (one.over || one.at + 100 > performance.now()) continue
            one.over = true
            expected.push(index)
          }
          expect(late).toEqual(expected)
          expect(deadlines.size).toBe(begun.filter(({ over }) => !over).length)
        }
        jest.runOnlyPendingTimers()
        jest.clearAllTimers()
      }),
    )
  })

  test('may be begun again when they are over', () => {
    const deadlines = new Deadlines(100)
    let times = 0
    const again: Deadline = new Deadline(() => {
      if (++times < 3) deadlines.begin(again)
    })
    deadlines.begin(again)
    jest.advanceTimersByTime(250)
    expect(times).toBe(2)
    jest.advanceTimersByTime(1000)
    expect([times, deadlines.size]).toEqual([3, 0])
  })

  test('that begin when another is told do not hold up those that began before', () => {
    const deadlines = new Deadlines(100)
    const late: number[] = []
    const again: Deadline = new Deadline(() => deadlines.begin(again))
    deadlines.begin(again)
    jest.advanceTimersByTime(10)
    deadlines.begin(new Deadline(() => late.push(performance.now())))
    const due = performance.now() + 100
    jest.advanceTimersByTime(1000)
    expect(late).toEqual([due])
    deadlines.end(again)
  })

  test('one that throws holds up none of the others', () => {
    const deadlines = new Deadlines(100)
    const late: string[] = []
    deadlines.begin(
      new Deadline(() => {
        throw new Error('of a test')
      }),
    )
    deadlines.begin(new Deadline(() => void late.push('second')))
    expect(() => jest.advanceTimersByTime(100)).toThrow('of a test')
    jest.advanceTimersByTime(100)
    expect([late, deadlines.size]).toEqual([['second'], 0])
  })

  test('that end when another is told are not told', () => {
    const deadlines = new Deadlines(100)
    const late: string[] = []
    const second = new Deadline(() => void late.push('second'))
    deadlines.begin(
      new Deadline(() => {
        late.push('first')
        deadlines.end(second)
      }),
    )
    deadlines.begin(second)
    jest.advanceTimersByTime(1000)
    expect(late).toEqual(['first'])
  })

  test('have one timer for a thousand, and none when they are over', () => {
    const deadlines = new Deadlines(100)
    const begun = Array.from({ length: 1000 }, () => new Deadline(() => undefined))
    for (const deadline of begun) deadlines.begin(deadline)
    expect(jest.getTimerCount()).toBe(1)
    for (const deadline of begun) deadlines.end(deadline)
    jest.advanceTimersByTime(100)
    expect(jest.getTimerCount()).toBe(0)
  })

  test('may be farther away than any timer', () => {
    const days = 24 * 3600 * 1000
    const deadlines = new Deadlines(60 * days)
    const late: string[] = []
    deadlines.begin(new Deadline(() => void late.push('at last')))
    jest.advanceTimersByTime(59 * days)
    expect(late).toEqual([])
    jest.advanceTimersByTime(days)
    expect(late).toEqual(['at last'])
  })
})
