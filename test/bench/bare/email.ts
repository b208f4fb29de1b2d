/** `smtp-server` alone: reads each message to its end. With `parse`, `mailparser` says what is in it, as the gateway does. */
import { simpleParser } from 'mailparser'
import { SMTPServer, type SMTPServerDataStream } from 'smtp-server'
import { serve } from './serve.ts'

const parses = process.argv.includes('parse')
let length = 0

type Done = (error?: Error) => void

/** By events, which costs a tenth less than a loop over the stream. */
function read(stream: SMTPServerDataStream, done: Done): void {
  const parts: Buffer[] = []
  stream.on('data', (part: Buffer) => parts.push(part))
  stream.on('end', () => take(Buffer.concat(parts), done))
}

function take(message: Buffer, done: Done): void {
  if (parses) return void parse(message, done)
  length += message.length
  done()
}

async function parse(message: Buffer, done: Done): Promise<void> {
  try {
    const { subject = '', text = '' } = await simpleParser(message)
    length += subject.length + text.length
    done()
  } catch (error) {
    done(error as Error) // what a library throws
  }
}

const smtp = new SMTPServer({
  disabledCommands: ['AUTH', 'STARTTLS'],
  disableReverseLookup: true,
  onData(stream, _session, done) {
    read(stream, done)
  },
})
smtp.on('error', () => undefined)
process.once('exit', () => {
  if (length < 0) throw new Error('a sum of lengths is not negative')
})
serve(smtp.server, 'smtp')
