/** A fault in the parser itself: it costs one message its answer, and nobody else anything. */
import { expect, jest, test } from '@jest/globals'

const parse = await import('../../../protocols/email/parse.ts')
const opening = jest.fn(parse.openMessage)
jest.unstable_mockModule('../../../protocols/email/parse.ts', () => ({ ...parse, openMessage: opening }))
const { Reading } = await import('../../../protocols/email/message.ts')
const { mailText, recorder, serve } = await import('./support.ts')

const faulty = () => {
  throw new Error('a fault')
}

test.each([
  ['at all', () => Promise.reject(new Error('a fault'))],
  ['without a promise', faulty],
  ['when somebody asks what it says', (raw: Uint8Array) => new Reading(raw, faulty)],
])(
  'a message that cannot be parsed %s is refused for now, and gives back its room in the spool',
  async (_when, fault) => {
    const { router, received } = recorder(({ email }) => email.subject)
    const body = 'x'.repeat(600)
    await using served = await serve(router, { maxSize: '1KiB', maxSpool: '1KiB' })
    const client = await served.connect()
    opening.mockImplementationOnce(fault)
    expect(await client.mail(mailText({}, body))).toMatch(/^451 4\.3\.0 /)
    received.length = 0
    expect(await client.mail(mailText({}, body))).toMatch(/^250 /)
    expect(received).toHaveLength(1)
  },
)
