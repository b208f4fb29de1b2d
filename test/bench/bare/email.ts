/** `smtp-server` alone: reads each message to its end. With `parse`, `mailparser` says what is in it, as the gateway does. */
import { simpleParser } from 'mailparser'
import { SMTPServer, type SMTPServerDataStream } from 'smtp-server'
import { serve } from './serve.ts'

const parses = process.argv.includes('parse')
let length = 0

async function handle(stream: SMTPServerDataStream): Promise<void> {
  const parts: Buffer[] = []
  for await (const part of stream) parts.push(part as Buffer)
  const message = Buffer.concat(parts)
  if (!parses) {
    length += message.length
    return
  }
  const { subject = '', text = '' } = await simpleParser(message)
  length += subject.length + text.length
}

async function answer(stream: SMTPServerDataStream, done: (error?: Error) => void): Promise<void> {
  try {
    await handle(stream)
    done()
  } catch (error) {
    done(error as Error) // what a library throws
  }
}

const smtp = new SMTPServer({
  disabledCommands: ['AUTH', 'STARTTLS'],
  disableReverseLookup: true,
  onData(stream, _session, done) {
    void answer(stream, done)
  },
})
smtp.on('error', () => undefined)
process.once('exit', () => {
  if (length < 0) throw new Error('a sum of lengths is not negative')
})
serve(smtp.server, 'smtp')
