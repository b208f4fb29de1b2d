/** Load over SMTP: one mail of 2 KB after the other on connections that stay. */
import { each, urlOf, type Load, type LoadConfig, type Tally } from './load.ts'
import { Peer } from './peer.ts'

const envelopeTo = (recipient: string) =>
  Buffer.from(`MAIL FROM:<ann@example.org>\r\nRCPT TO:<${recipient}>\r\nDATA\r\n`)
const head = [
  'Message-ID: <0000000000@bench.example.org>',
  'Date: Thu, 01 Jan 2026 12:00:00 +0000',
  'From: Ann Example <ann@example.org>',
  'To: Help <help@support.org>',
  'Subject: The kitchen is too warm',
  'MIME-Version: 1.0',
  'Content-Type: text/plain; charset=utf-8',
  'Content-Transfer-Encoding: 7bit',
  '\r\n',
].join('\r\n')
const line = 'It has been too warm in the kitchen since this morning, please have a look.\r\n'
const template = Buffer.from(`${head.padEnd(2048, line).slice(0, 2044)}\r\n.\r\n`)
const idAt = template.indexOf('0000000000')

let next = 0

/** Each has an id of its own: a mail that comes again is no new one. */
function mail(): Buffer {
  const bytes = Buffer.from(template)
  bytes.write(String(next++).padStart(10, '0'), idAt, 'latin1')
  return bytes
}

/** To a mailbox whose owner takes mails as they are, or to one who reads them. */
const mailsTo = (recipient: string): Load => {
  const envelope = envelopeTo(recipient)
  return async (config, tally) => {
    await each(config.connections, async () => {
      const peer = await openSmtp(config)
      sendOn(peer, envelope, tally)
    })
  }
}

export const mails = mailsTo('help@support.org')
export const mailsToRead = mailsTo('read@support.org')

/** MAIL, RCPT and DATA leave together (RFC 2920), the message when they are answered, and so on. */
function sendOn(peer: Peer, envelope: Buffer, tally: Tally): void {
  let expected = '223'
  let answered = ''
  let text = ''
  peer.onBytes = (bytes) => {
    text += bytes.toString('latin1')
    for (let end = text.indexOf('\r\n'); end >= 0; end = text.indexOf('\r\n')) {
      if (text[3] === ' ') answered += text[0]
      text = text.slice(end + 2)
    }
    if (answered.length < expected.length) return
    if (answered !== expected) throw new Error(`expected answers with ${expected}, the server answers ${answered}`)
    if (expected === '2') tally.done++
    expected = expected === '2' ? '223' : '2'
    answered = ''
    peer.write(expected === '2' ? mail() : envelope)
  }
  peer.mustStay()
  peer.write(envelope)
}

export async function openSmtp(config: LoadConfig): Promise<Peer> {
  const peer = await Peer.open(urlOf(config, 'smtp'))
  await peer.until((text) => /^220 .*\r\n$/m.test(text))
  peer.write(Buffer.from('EHLO client.example.org\r\n'))
  await peer.until((text) => /^250 .*\r\n$/m.test(text))
  return peer
}
