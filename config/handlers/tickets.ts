/** The support desk: mail to `…@support.org` opens a ticket, a reply finds its ticket, and the sender is told the number. */
import { SyncEmailConsumer, type EmailAttachment, type EmailMessage } from 'signalbox'
import { oneLine } from './clean.ts'
import { storeOf } from './store.ts'
import type { NewAttachment, NewMessage } from './store/tickets.ts'
import { digestOf, threadOf } from './ticket-thread.ts'

const longestSubject = 300
const longestText = 256 * 1024
const longestFilename = 150
/** The addresses of one mail that may later continue its ticket by the number alone. */
const mostParticipants = 50

/**
 * Hashing attachments and waiting for the disk would stop everything else, so this handler blocks where it may: on a worker
 * thread, which has the database open a second time.
 */
export class SupportTicketHandler extends SyncEmailConsumer {
  override message(email: EmailMessage): void {
    const { tickets, signer } = storeOf(this.scope)
    const message = this.#stored(email)
    // A sender that did not see our 250 sends it again; and one mail may come for two of our addresses.
    if (tickets.has(message.digest)) return this.log.info({ messageId: email.messageId }, 'this mail is stored already')
    if (email.automatic === 'bounce') return this.#bounced(email, message)

    const known = threadOf(email, message.from, { tickets, signer })
    if (known !== undefined) {
      tickets.append(known, message)
      return this.#show(known)
    }
    const number = tickets.open(message)
    this.#show(number)
    // RFC 3834 2: robots and lists get no answer.
    if (email.automatic === '') this.#confirm(number, message)
  }

  /** A report on a mail of ours (RFC 3464): belongs to its ticket, and is never worth a new one. */
  #bounced(email: EmailMessage, message: NewMessage): void {
    const { tickets, signer } = storeOf(this.scope)
    // The report holds the mail that it is about, or its headers, and so the Message-ID that we signed.
    const raw = Buffer.from(email.raw).toString('latin1')
    const number = threadOf(email, '', { tickets, signer }) ?? signer.ticketIn(raw)
    if (number === undefined || !tickets.find(number)) {
      return this.log.info({ subject: message.subject }, 'a bounce of no ticket of ours')
    }
    // `delayed` only says that it takes longer (RFC 3464 2.3.3).
    const isFinal = !/^Action:\s*delayed/im.test(raw) || /^Action:\s*failed/im.test(raw)
    tickets.append(number, { ...message, kind: isFinal ? 'bounce' : 'notice', participants: [] })
    this.#show(number)
  }

  /** The signed Message-ID comes back in the References of an answer, the number in its subject. */
  #confirm(number: number, { subject, to }: NewMessage): void {
    const { signer } = storeOf(this.scope)
    this.reply({
      messageId: signer.messageId(number, to.slice(to.lastIndexOf('@') + 1)),
      subject: `Re: ${subject.replace(/^(re:\s*)+/i, '')} [#${number}]`,
      text: `Your message is ticket #${number}. To add to it, reply to this mail.\n`,
    })
  }

  #show(number: number): void {
    const ticket = storeOf(this.scope).tickets.find(number)
    this.groupSend('live', { type: 'live.update', update: { kind: 'ticket', ticket } })
  }

  #stored(email: EmailMessage): NewMessage {
    const { recipient, sender } = this.scope
    const from = (email.from[0]?.address || sender).toLowerCase()
    const addresses = [...email.from, ...email.replyTo, ...email.to, ...email.cc].map(({ address }) =>
      address.toLowerCase(),
    )
    return {
      kind: 'mail',
      messageId: email.messageId,
      digest: digestOf(email),
      from: oneLine(from, 320),
      to: recipient,
      subject: oneLine(email.subject, longestSubject) || '(no subject)',
      text: cleanText(email.text),
      participants: addresses.filter((address) => address !== '' && address !== recipient).slice(0, mostParticipants),
      attachments: email.attachments.map(cleanAttachment),
    }
  }
}

function cleanText(text: string): string {
  const clean = text.toWellFormed().replaceAll('\0', '')
  return clean.length <= longestText ? clean : `${clean.slice(0, longestText).toWellFormed()}\n[…]`
}

/** A name to show and to save under: no path, nothing unseen, never empty. The type is the sender's claim, no more. */
function cleanAttachment({ filename, contentType, content }: EmailAttachment, index: number): NewAttachment {
  const name = oneLine(filename.split(/[/\\]/).at(-1) ?? '', longestFilename).replace(/^\.+/, '')
  const isType = /^[\w.+-]{1,60}\/[\w.+-]{1,60}$/.test(contentType)
  return {
    filename: name || `attachment-${index + 1}`,
    contentType: isType ? contentType.toLowerCase() : 'application/octet-stream',
    content,
  }
}
