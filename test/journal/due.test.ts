/** Records that wait for a time: each is told of once, in the order of their times, and none before its own. */
import { expect, jest, test } from '@jest/globals'
import fc from 'fast-check'
import { Due } from '../../src/journal/due.ts'

test('each comes when its time has, and in the order of the times', () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 5000 }), { maxLength: 60 }), (waits) => {
      jest.useFakeTimers({ now: 1_000_000 })
      try {
        const come: { readonly id: number; readonly at: number }[] = []
        const due = new Due((ids) => {
          for (const id of ids) come.push({ id, at: Date.now() - 1_000_000 })
        })
        for (const [id, wait] of waits.entries()) due.add(id, 1_000_000 + wait)
        jest.advanceTimersByTime(10_000)
        expect(come.map(({ at }) => at)).toEqual(waits.toSorted((a, b) => a - b))
        expect(come.map(({ id }) => id).toSorted((a, b) => a - b)).toEqual([...waits.keys()])
        for (const { id, at } of come) expect(at).toBeGreaterThanOrEqual(waits[id] ?? Infinity)
      } finally {
        jest.useRealTimers()
      }
    }),
  )
})

test('none comes when it was stopped', () => {
  jest.useFakeTimers()
  try {
    const come: number[] = []
    const due = new Due((ids) => void come.push(...ids))
    due.add(1, Date.now() + 10)
    due.stop()
    due.add(2, Date.now() + 5)
    jest.advanceTimersByTime(1000)
    expect(come).toEqual([])
  } finally {
    jest.useRealTimers()
  }
})
