/** Keys in memory against a map: whatever is put and taken back. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { digestWords, KeyEntries, KeySegment } from '../../src/journal/key-segment.ts'

/** Digests that fall on the same places. */
const digest = fc.array(fc.nat(3), { minLength: digestWords, maxLength: digestWords })
const puts = fc.array(fc.tuple(digest, fc.integer({ min: 1, max: 2 ** 50 })), { maxLength: 200 })

function entryOf(words: readonly number[], id: number): KeyEntries {
  const entry = KeyEntries.empty(1)
  for (const [which, word] of words.entries()) entry.setWord(0, which, word)
  entry.set(0, { id, at: 5 })
  return entry
}

test('what was put is found, and what was taken back is as it was before', () => {
  fc.assert(
    fc.property(puts, puts, (kept, undone) => {
      const segment = new KeySegment(5)
      const model = new Map<string, number>()
      for (const [words, id] of kept) {
        segment.put(entryOf(words, id), 0)
        model.set(words.join(), id)
      }
      const before = undone.map(([words, id]) => {
        const known = segment.find(entryOf(words, 0), 0)
        segment.put(entryOf(words, id), 0)
        return [words, known?.id ?? -1] as const
      })
      for (const [words, id] of before.toReversed()) segment.takeBack(entryOf(words, id), 0)
      for (const [words] of [...kept, ...undone]) {
        expect(segment.find(entryOf(words, 0), 0)?.id).toBe(model.get(words.join()))
      }
      expect(segment.entries).toBe(kept.length)
    }),
  )
})
