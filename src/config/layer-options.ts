/** What every channel layer can be told: how much may wait, for how long, and what becomes of work that failed. */
import { z } from 'zod'
import { count, duration, longestTimer, size } from '../runtime/options.ts'

/** For what a timer is set to. */
export const timer = (standard: string, least: string) => {
  const from = duration().parse(least)
  return duration()
    .prefault(standard)
    .refine((value) => value >= from && value <= longestTimer, { error: `expected ${least} to 24d` })
}

const pattern = () =>
  z
    .string()
    .regex(
      /^[\w.!*?-]{1,100}$/,
      'expected the name of a channel, in which * stands for any text and ? for one character',
    )
const capacity = () => count(1).meta({ description: 'A number of messages.' })
const expiry = () => duration().refine((value) => value > 0, { error: 'expected a duration of more than nothing' })

export const layerOptions = {
  capacity: z
    .union(
      [
        capacity(),
        z.strictObject({
          default: capacity().default(100),
          patterns: z
            .array(z.strictObject({ channel: pattern(), capacity: capacity() }))
            .default([])
            .meta({ description: 'For channels by their name, such as thumb*; the first that fits counts.' }),
        }),
      ],
      'expected a number of messages, or a map of default and patterns',
    )
    .default(100)
    .meta({
      description:
        'Messages that may wait in a channel, or for a consumer that is busy: a number, or { default, patterns }.',
    }),
  expiry: z
    .union(
      [
        expiry(),
        z.strictObject({
          default: expiry()
            .prefault('1m')
            .meta({ description: 'In a channel of one process. What waits for a consumer does not become too old.' }),
          named: expiry().prefault('1d').meta({ description: 'In a named channel, whose workers may be away.' }),
          patterns: z
            .array(z.strictObject({ channel: pattern(), expiry: expiry() }))
            .default([])
            .meta({ description: 'For channels by their name, such as thumb*; the first that fits counts.' }),
        }),
      ],
      'expected a duration such as 1m, or a map of default, named and patterns',
    )
    .prefault({})
    .meta({ description: 'How long a message may wait: a duration, or { default, named, patterns }.' }),
  groupExpiry: expiry().prefault('1d').meta({
    description: 'How long a membership lasts, unless it is a socket that is still there.',
  }),
  maxMessages: count(1)
    .default(100_000)
    .meta({ description: 'Messages that may wait in this process, in all channels; those of consumers not counted.' }),
  maxMessageSize: size()
    .prefault('1MiB')
    .refine((bytes) => bytes >= 128 && bytes <= 256 * 2 ** 20, 'expected 128B to 256MiB')
    .meta({ description: 'The largest message, as JSON.' }),
  retry: z
    .strictObject({
      attempts: count(1, 1000).default(5).meta({ description: 'How often it is tried; then it is a dead letter.' }),
      delay: timer('1s', '1ms').meta({
        description: 'The wait before the second attempt; it doubles for each further one.',
      }),
      maxDelay: timer('1m', '1ms').meta({ description: 'The longest wait between two attempts.' }),
    })
    .prefault({})
    .meta({ description: 'What happens to a message of a named channel that a worker failed on.' }),
}
