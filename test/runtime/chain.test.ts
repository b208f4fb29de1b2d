/** Objects that come and go, in the order of their coming. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { Chain, type Linked } from '../../src/runtime/chain.ts'

interface Item extends Linked<Item> {
  readonly number: number
}

test('what was added and not deleted is there, in the order of its coming, whatever goes first', () => {
  const moves = fc.array(fc.tuple(fc.boolean(), fc.nat(9)), { maxLength: 60 })
  fc.assert(
    fc.property(moves, (steps) => {
      const items = Array.from({ length: 10 }, (_, number): Item => ({ number }))
      const chain = new Chain<Item>()
      const expected = new Set<Item>()
      for (const [adds, number] of steps) {
        const item = items[number] as Item // one of ten
        if (!adds) expect(chain.delete(item)).toBe(expected.delete(item))
        else if (!expected.has(item)) {
          chain.add(item)
          expected.add(item)
        }
        expect([...chain]).toEqual([...expected])
        expect([chain.size, chain.first]).toEqual([expected.size, [...expected][0]])
      }
    }),
  )
})

test('what goes while somebody looks at all of them disturbs nobody, and keeps none of its neighbours', () => {
  const items = Array.from({ length: 5 }, (_, number): Item => ({ number }))
  const chain = new Chain<Item>()
  for (const item of items) chain.add(item)
  const seen: number[] = []
  for (const item of chain) {
    seen.push(item.number)
    chain.delete(item)
  }
  expect(seen).toEqual([0, 1, 2, 3, 4])
  expect(chain.size).toBe(0)
  for (const { before, after } of items) expect([before, after]).toEqual([undefined, undefined])
})
