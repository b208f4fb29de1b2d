/** The parser of a session against the package's own, which it is to be no different from but in what it costs. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { EmailParser } from '../../../protocols/email/server.ts'
import { DataReading, type DataReader } from '../../../protocols/email/receive-data.ts'
import { SMTPStream } from '../../../protocols/email/smtp-server.ts'
import { Spool } from '../../../protocols/email/spool.ts'
import { emailOptions } from '../../../protocols/email/options.ts'

const reading = () => new DataReading(emailOptions.parse({ bareNewlines: 'reject' }), new Spool(2 ** 20))

type Stream = InstanceType<typeof SMTPStream>

/** What the parser makes of the bytes: commands, and messages. */
async function parsed(
  parser: Stream,
  read: (data: unknown) => Promise<string>,
  chunks: readonly Buffer[],
): Promise<string[]> {
  const seen: string[] = []
  parser.oncommand = (command, next = () => undefined) => {
    seen.push(command.toString())
    if (command.toString() === 'DATA') {
      void read(parser.startDataMode()).then((message) => {
        seen.push(message)
        parser.continue()
      })
    }
    next()
  }
  for (const chunk of chunks) {
    parser.write(chunk)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await new Promise((resolve) => parser.end(resolve))
  return seen
}

async function byStream(data: unknown): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of data as AsyncIterable<Buffer>) parts.push(part)
  return Buffer.concat(parts).toString('latin1')
}

function byReader(data: unknown): Promise<string> {
  return new Promise((resolve, reject) => {
    ;(data as DataReader).read({ message: (raw) => resolve(raw.toString('latin1')), failed: reject })
  })
}

test('however a message is cut into chunks, it is the same one, and so is what follows it', async () => {
  const line = fc.constantFrom('', '.', '..', '...', '.a', 'a.', 'a', 'DATA', '. ', '\t.')
  await fc.assert(
    fc.asyncProperty(fc.array(line, { maxLength: 8 }), fc.array(fc.nat(80), { maxLength: 4 }), async (lines, cuts) => {
      const body = lines.map((text) => `${text.replace(/^\./, '..')}\r\n`).join('')
      const bytes = Buffer.from(`NOOP\r\nDATA\r\n${body}.\r\nNOOP\r\nQUIT\r\n`)
      const places = [...new Set([0, ...cuts.map((cut) => cut % bytes.length), bytes.length])].toSorted((x, y) => x - y)
      const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end))
      const [theirs, ours] = [new SMTPStream(), new EmailParser({}, reading())]
      const expected = ['NOOP', 'DATA', lines.map((text) => `${text}\r\n`).join(''), 'NOOP', 'QUIT']
      expect(await parsed(theirs, byStream, chunks)).toEqual(expected)
      expect(await parsed(ours, byReader, chunks)).toEqual(expected)
    }),
    { numRuns: 200 },
  )
})

test('a message that comes alone, whole and without a dot at the beginning of a line is the same one too', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom('', 'a', 'a.', 'a.b', ' .', 'DATA'), { maxLength: 8 }), async (lines) => {
      const body = lines.map((text) => `${text}\r\n`).join('')
      const chunks = ['DATA\r\n', `${body}.\r\n`, 'QUIT\r\n'].map((text) => Buffer.from(text))
      expect(await parsed(new EmailParser({}, reading()), byReader, chunks)).toEqual(['DATA', body, 'QUIT'])
    }),
  )
})

test('in the middle of a message it stands as the package would', () => {
  const fields = [
    '_dataMode',
    '_maxBytes',
    'dataBytes',
    '_atDataStart',
    '_lastBytes',
    '_remainder',
    '_continueCallback',
  ] as const
  const state = (stream: Stream) => Object.fromEntries(fields.map((field) => [field, stream[field]]))
  const [theirs, ours] = [new SMTPStream(), new EmailParser({}, reading())]
  for (const parser of [theirs, ours]) parser.startDataMode(1000)
  expect(state(ours)).toEqual(state(theirs))
  for (const parser of [theirs, ours]) parser.write('From: ann@example.org\r\n\r\nhalf a message')
  expect(state(ours)).toEqual(state(theirs))
  expect(Object.keys(ours).toSorted()).toEqual(Object.keys(theirs).toSorted())
  ours._dataStream?.destroy()
})
