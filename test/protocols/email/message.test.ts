/** `email.message`: read when somebody asks, and plain data for whoever looks. */
import { expect, jest, test } from '@jest/globals'
import { inspect } from 'node:util'
import { Reading, messageOf, type Parts } from '../../../protocols/email/message.ts'
import { parseMessage } from '../../../protocols/email/parse.ts'
import { pack } from '../../../src/bridge/pack.ts'
import { mailText } from './support.ts'

const raw = Buffer.from(mailText({ 'Message-ID': '<1@example.org>' }))
const parts: Parts = {
  headers: [['subject', 'Fire']],
  messageId: '<1@example.org>',
  inReplyTo: '',
  references: [],
  subject: 'Fire',
  from: [{ address: 'ann@example.org', name: 'Ann' }],
  replyTo: [],
  to: [],
  cc: [],
  date: '',
  text: 'My printer is on fire.',
  html: '',
  attachments: [],
  automatic: '',
  defects: [],
}

function unread() {
  const read = jest.fn(() => parts)
  const reading = new Reading(raw, read)
  return { read, reading, message: messageOf(reading) }
}

test('nothing is read for whoever wants the bytes; whatever is asked first, all is read once, also for other recipients', () => {
  const { read, reading, message } = unread()
  expect([message.type, message.raw]).toEqual(['email.message', raw])
  expect(read).not.toHaveBeenCalled()
  expect([message.subject, message.text]).toEqual(['Fire', 'My printer is on fire.'])
  expect(messageOf(reading).automatic).toBe('')
  expect(read).toHaveBeenCalledTimes(1)
})

test.each<[string, (message: object) => unknown]>([
  ['spread', (message) => ({ ...message })],
  ['cloned to another thread', (message) => structuredClone(message)],
  ['packed for another thread', (message) => pack(message).value],
  ['taken apart', (message) => Object.fromEntries(Object.entries(message))],
])('%s it is all there', (_how, copy) => {
  expect(copy(unread().message)).toEqual({ type: 'email.message', raw: expect.anything(), ...parts })
})

test('as JSON and as text it is all there, and its prototype is that of any object', () => {
  const { message } = unread()
  expect(JSON.parse(JSON.stringify(message))).toMatchObject({ type: 'email.message', ...parts })
  expect(inspect(message)).toContain("subject: 'Fire'")
  expect(Object.getPrototypeOf(message)).toBe(Object.getPrototypeOf({}))
})

test('a message that came from bytes compares with what it says', async () => {
  expect(await parseMessage(raw, { sender: 'ann@example.org' })).toEqual({
    ...parts,
    type: 'email.message',
    raw,
    headers: expect.arrayContaining([['subject', 'Fire']]),
    to: [{ address: 'bob@support.org', name: '' }],
    date: '2025-07-01T08:52:37.000Z',
  })
})
