/** Commands on the wire against the package's own server: the short way for those of a transaction answers what the long one does. */
import { expect, test } from '@jest/globals'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import fc from 'fast-check'
import type { SMTPServerOptions } from 'smtp-server'
import { emailOptions } from '../../../protocols/email/options.ts'
import { DataReading, type DataReader } from '../../../protocols/email/receive-data.ts'
import { EmailServer } from '../../../protocols/email/server.ts'
import { SMTPServer } from '../../../protocols/email/smtp-server.ts'
import { Spool } from '../../../protocols/email/spool.ts'
import { Dialogue } from './support.ts'

const common: SMTPServerOptions = {
  name: 'host.example.org',
  disabledCommands: ['AUTH', 'STARTTLS'],
  disableReverseLookup: true,
  hideENHANCEDSTATUSCODES: false,
  size: 1000,
  maxRecipients: 2,
  onMailFrom: ({ address }, _session, callback) => callback(address.startsWith('bad') ? new Error('no') : undefined),
}

const theirs = () =>
  new SMTPServer({
    ...common,
    onData(stream, _session, callback) {
      stream.resume()
      stream.on('end', () => callback())
    },
  })

const ours = () =>
  new EmailServer(
    {
      ...common,
      onData(stream, _session, callback) {
        const reader = stream as unknown as DataReader // what EmailParser has made
        reader.read({ message: () => callback(), failed: callback })
      },
    },
    new DataReading(emailOptions.parse({}), new Spool(2 ** 20)),
  )

async function listen(smtp: InstanceType<typeof SMTPServer>) {
  const server = createServer((socket) => smtp.connect(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = await Dialogue.connect((server.address() as AddressInfo).port) // it listens on a port
  await client.reply()
  const [connection] = smtp.connections
  return {
    /** The replies, and those to messages where one is asked for. */
    async say(commands: readonly string[]): Promise<string[]> {
      const replies: string[] = []
      for (const command of commands) {
        const reply = await client.command(command)
        replies.push(reply)
        if (reply.startsWith('354')) replies.push(await client.command('Subject: x\r\n\r\nx\r\n.'))
      }
      return replies
    },
    get pending() {
      return connection?._handlerPending
    },
    async [Symbol.asyncDispose]() {
      client.end()
      await client.closed
      server.close()
    },
  }
}

const mail = [
  'MAIL FROM:<ann@example.org>',
  'MAIL FROM:<ann@example.org> SIZE=10',
  'MAIL FROM:<ann@example.org> SIZE=9999',
  'mail from:<ann@example.org>',
  'MAIL FROM:<bad@example.org>',
  'MAIL FROM: ann',
  'MAIL',
  'MAIL GET / HTTP/1.1',
]
const rcpt = [
  'RCPT TO:<bob@support.org>',
  'Rcpt To:<eve@support.org>',
  'RCPT TO:<dan@support.org>',
  'RCPT TO:<>',
  'RCPT',
]
const others = [
  'DATA',
  'data',
  'DATA x',
  'RSET',
  'NOOP',
  'EHLO client.example.org',
  'HELO client.example.org',
  'VRFY x',
]

test('whatever the order of commands, the replies are those of the package', async () => {
  await using one = await listen(theirs())
  await using other = await listen(ours())
  const wanted = fc.constantFrom(...mail, ...rcpt, ...rcpt, ...others)
  const commands = fc.array(wanted, { minLength: 1, maxLength: 12 })
  let first = true
  await fc.assert(
    fc.asyncProperty(commands, async (list) => {
      // At first nobody has said who it is.
      const all = first ? list : ['RSET', ...list]
      first = false
      expect(await other.say(all)).toEqual(await one.say(all))
      expect(other.pending).toBe(false)
    }),
    { numRuns: 150 },
  )
})

test('without EHLO there is no mail, and after it each mail of a connection is answered alike', async () => {
  await using one = await listen(theirs())
  await using other = await listen(ours())
  const transaction = ['MAIL FROM:<ann@example.org>', 'RCPT TO:<bob@support.org>', 'DATA']
  const all = [
    ...transaction,
    'EHLO client.example.org',
    ...transaction,
    'NOOP',
    'RSET',
    ...transaction,
    ...transaction,
  ]
  const replies = await other.say(all)
  expect(replies).toEqual(await one.say(all))
  expect(replies.filter((reply) => reply.startsWith('250 2.6.0'))).toHaveLength(3)
})
