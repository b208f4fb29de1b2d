/** A fault in the parser itself: it costs one message its answer, and nobody else anything. */
import { expect, jest, test } from '@jest/globals'

const { parseMessage, sightMessage } = await import('../../../protocols/email/parse.ts')
const parsing = jest.fn(parseMessage)
jest.unstable_mockModule('../../../protocols/email/parse.ts', () => ({ parseMessage: parsing, sightMessage }))
const { mailText, recorder, serve } = await import('./support.ts')

test('a message that cannot be parsed at all is refused for now, and gives back its room in the spool', async () => {
  const { router, received } = recorder()
  const body = 'x'.repeat(600)
  await using served = await serve(router, { maxSize: '1KiB', maxSpool: '1KiB' })
  const client = await served.connect()
  parsing.mockRejectedValueOnce(new Error('a fault'))
  expect(await client.mail(mailText({}, body))).toMatch(/^451 4\.3\.0 /)
  expect(await client.mail(mailText({}, body))).toMatch(/^250 /)
  expect(received).toHaveLength(1)
})
