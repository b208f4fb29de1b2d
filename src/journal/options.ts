/** What the operator may set of the journal. */
import { z } from 'zod'
import { count, duration, size } from '../runtime/options.ts'

export const journalOptions = z.strictObject({
  maxSize: size().prefault('1GiB').meta({
    description: 'How much the journal may keep, such as 1GiB; when it is full, senders are told to come again later.',
  }),
  deadLetterAge: duration().prefault('30d').meta({ description: 'How long dead letters are kept, such as 30d.' }),
  dedupeWindow: duration()
    .prefault('1d')
    .meta({ description: 'How long an event that comes again is known as the same one, such as 1d.' }),
  attempts: count(1, 1000).default(5).meta({ description: 'How often an event is tried before it is a dead letter.' }),
  backoff: duration()
    .prefault('1s')
    .meta({ description: 'How long it waits before its second attempt; doubled for each further one.' }),
  maxBackoff: duration().prefault('5m').meta({ description: 'The longest wait between two attempts.' }),
  concurrency: count(1, 10_000).default(64).meta({ description: 'How many stored events are handled at once.' }),
})

export type JournalOptions = z.output<typeof journalOptions>
