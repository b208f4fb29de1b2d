/** Finds the ticket that a mail belongs to: by what only its readers can know first, by what anyone can write last. */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { EmailMessage } from 'signalbox'
import type { Tickets } from './store/tickets.ts'

/** Signs ticket numbers into the Message-IDs of our mails, so that a reply proves that it answers one of them. */
export class TicketSigner {
  readonly #secret: Buffer

  constructor(secret: Buffer) {
    this.#secret = secret
  }

  /** `<ticket-12-NONCE-MAC@support.org>`, in letters that survive a change of case on the way. */
  messageId(ticket: number, domain: string): string {
    const nonce = randomBytes(8).toString('hex')
    return `<ticket-${ticket}-${nonce}-${this.#mac(ticket, nonce)}@${domain}>`
  }

  /** The ticket of the first of our own Message-IDs in a text. */
  ticketIn(text: string): number | undefined {
    for (const [, ticket = '', nonce = '', mac = ''] of text.matchAll(
      /ticket-(\d{1,9})-([\da-f]{16})-([\da-f]{32})@/gi,
    )) {
      const expected = this.#mac(Number(ticket), nonce.toLowerCase())
      if (timingSafeEqual(Buffer.from(mac.toLowerCase()), Buffer.from(expected))) return Number(ticket)
    }
    return undefined
  }

  #mac(ticket: number, nonce: string): string {
    return createHmac('sha256', this.#secret).update(`${ticket} ${nonce}`).digest('hex').slice(0, 32)
  }
}

/** The signer of a data folder; its secret is made once and stays there. */
export function signerOf(folder: string): TicketSigner {
  const file = path.join(folder, 'ticket-secret')
  try {
    writeFileSync(file, randomBytes(32).toString('hex'), { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if (!Error.isError(error) || !('code' in error) || error.code !== 'EEXIST') throw error
  }
  const secret = Buffer.from(readFileSync(file, 'utf8'), 'hex')
  if (secret.length !== 32) throw new Error(`${file}: expected 64 hexadecimal digits; remove it, and a new one is made`)
  return new TicketSigner(secret)
}

/** What of a mail says where it belongs. */
export type Threaded = Pick<EmailMessage, 'inReplyTo' | 'references' | 'subject'>

/**
 * In this order, because each step is easier to forge than the one before it: a Message-ID that we signed; one that we
 * have stored; a number in the subject, which anyone can write, so only from somebody who takes part in that ticket.
 */
export function threadOf(mail: Threaded, sender: string, { tickets, signer }: Desk): number | undefined {
  // The nearest ancestor first: In-Reply-To, then References from its end (RFC 5322 3.6.4).
  const ancestors = [mail.inReplyTo, ...mail.references.toReversed()].flatMap((text) => text.match(/<[^<>\s]+>/g) ?? [])
  const signed = signer.ticketIn(ancestors.join(' '))
  if (signed !== undefined && tickets.find(signed)) return signed
  const stored = tickets.byMessageId(ancestors.slice(0, mostAncestors))
  if (stored !== undefined) return stored
  const named = /\[#(\d{1,9})\]/.exec(mail.subject)?.[1]
  if (named !== undefined && tickets.hasParticipant(Number(named), sender)) return Number(named)
  return undefined
}

/** What threading looks things up in. */
export interface Desk {
  readonly tickets: Pick<Tickets, 'find' | 'byMessageId' | 'hasParticipant'>
  readonly signer: TicketSigner
}

/** The References of an honest mail are fewer. */
const mostAncestors = 100

/**
 * Equal for two deliveries of one mail. A Message-ID alone does not do: some are missing, some senders use one twice, and
 * a mail to two of our addresses comes twice with the same.
 */
export function digestOf(mail: EmailMessage): string {
  const { messageId, date, subject, text, html, from, attachments } = mail
  const hash = createHash('sha256')
  hash.update(JSON.stringify([messageId, date, subject, text, html, from.map(({ address }) => address)]))
  for (const { filename, content } of attachments)
    hash.update(JSON.stringify([filename, content.length])).update(content)
  return hash.digest('hex')
}
