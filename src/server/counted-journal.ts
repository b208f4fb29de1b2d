/** What the metrics count of journals: apart from what counts them, which a start does not load. */
import type { Counts } from '../journal/messages.ts'

export type JournalCounts = Pick<Counts, 'bytes' | 'byProtocolAndRoute'>

/** The journal, as far as it is counted. */
export interface CountedJournal {
  counts(): Promise<JournalCounts>
}

/** Several as one; undefined when there is none. */
export function countedTogether(journals: readonly CountedJournal[]): CountedJournal | undefined {
  if (journals.length === 0) return undefined
  return {
    async counts() {
      const all = await Promise.all(journals.map((journal) => journal.counts()))
      return {
        bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
        byProtocolAndRoute: all.flatMap(({ byProtocolAndRoute }) => byProtocolAndRoute),
      }
    },
  }
}
