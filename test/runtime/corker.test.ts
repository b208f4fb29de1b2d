/** What is said in a turn of the event loop leaves when it is over, or in lots. */
import { expect, test } from '@jest/globals'
import { Corker } from '../../src/runtime/corker.ts'

function cork(corker: Corker, names: string): readonly string[] {
  const left: string[] = []
  for (const name of names) corker.add({ flush: () => left.push(name) })
  return left
}

const turnEnds = () => new Promise(setImmediate)

test('everything of a turn leaves when it is over, in order', async () => {
  const left = cork(new Corker(), 'abcdefgh')
  expect(left).toEqual([])
  await turnEnds()
  expect(left.join('')).toBe('abcdefgh')
})

test('with lots those of a full one leave when there is another, and all of them in order', async () => {
  const corker = new Corker(3)
  const left = cork(corker, 'abcdefgh')
  expect(left.join('')).toBe('abcdef')
  await turnEnds()
  expect(left.join('')).toBe('abcdefgh')
  const next = cork(corker, 'abc')
  expect(next).toEqual([])
  await turnEnds()
  expect(next.join('')).toBe('abc')
})

test('what is flushed early does not leave twice, and what comes after it leaves with the turn', async () => {
  const corker = new Corker()
  const left = cork(corker, 'ab')
  corker.flush()
  expect(left.join('')).toBe('ab')
  const right = cork(corker, 'c')
  expect(right).toEqual([])
  await turnEnds()
  expect([...left, ...right].join('')).toBe('abc')
})
