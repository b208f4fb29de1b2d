/** Ids that wait: a byte or two each, first in, first out. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { Ids } from '../../src/journal/ids.ts'

test('whatever is put in and taken out, they come in the order in which they came', () => {
  const id = fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 2 ** 50 }))
  const steps = fc.array(fc.oneof(fc.array(id, { maxLength: 40 }), fc.nat({ max: 50 })), { maxLength: 30 })
  fc.assert(
    fc.property(steps, (list) => {
      const ids = new Ids()
      const model: number[] = []
      for (const step of list) {
        if (typeof step === 'number') {
          expect(ids.first(step)).toEqual(model.slice(0, step))
          ids.drop(step)
          model.splice(0, step)
        } else {
          for (const one of step) ids.push(one)
          model.push(...step)
        }
        expect(ids.length).toBe(model.length)
        expect(ids.has(model[0] ?? 1)).toBe(model.length > 0)
        expect(ids.has(0.5)).toBe(false)
      }
      expect(ids.first(model.length + 1)).toEqual(model)
    }),
  )
})
