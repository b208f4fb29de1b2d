/** E-mail as scope and events: one scope is one message for one recipient. */
import type { BaseScope, Protocol } from '../../src/asgi/protocol.ts'

export interface EmailScope extends BaseScope {
  readonly type: 'email'
  /** The envelope recipient, case-folded: what EmailToRouter matches. Never the `To:` header. */
  readonly recipient: string
  /** The plus-tag of the recipient (`bob+invoices@…` -> `invoices`); empty when there is none. */
  readonly tag: string
  /** The envelope sender as it was given; empty for the null return path of bounces (RFC 5321 4.5.5). */
  readonly sender: string
  /** What the client called itself in EHLO or HELO. */
  readonly helo: string
  readonly secure: boolean
}

export interface EmailAddress {
  readonly address: string
  /** Decoded display name; empty when there is none. */
  readonly name: string
}

export interface EmailAttachment {
  /** Decoded, without any path; empty when the sender gave none. */
  readonly filename: string
  readonly contentType: string
  readonly content: Uint8Array
  /** Without angle brackets; empty when there is none. */
  readonly contentId: string
  readonly inline: boolean
}

/** The whole message, as it came and parsed. Parsing never fails: what cannot be read is empty and named in `defects`. */
export interface EmailMessage {
  readonly type: 'email.message'
  /** RFC 5322 bytes as received, dot-unstuffed. */
  readonly raw: Uint8Array
  /** Decoded and unfolded; names lower-case; order and repeats kept. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  /** With angle brackets; empty when missing. */
  readonly messageId: string
  readonly inReplyTo: string
  readonly references: readonly string[]
  readonly subject: string
  readonly from: readonly EmailAddress[]
  readonly replyTo: readonly EmailAddress[]
  readonly to: readonly EmailAddress[]
  readonly cc: readonly EmailAddress[]
  /** ISO 8601; empty when missing or unreadable. */
  readonly date: string
  /** The text part, or the text of the HTML part. */
  readonly text: string
  /** The HTML part as it came: not sanitised. */
  readonly html: string
  readonly attachments: readonly EmailAttachment[]
  /** Why a robot must not be answered (RFC 3834): `auto-submitted`, `list`, `bounce`, …; empty for a person's mail. */
  readonly automatic: string
  readonly defects: readonly string[]
}

interface Outgoing {
  readonly text: string
  readonly html?: string
  readonly attachments?: readonly {
    readonly filename: string
    readonly contentType: string
    readonly content: Uint8Array
  }[]
  /** Additional headers. */
  readonly headers?: Readonly<Record<string, string>>
}
/**
 * An automatic answer to the sender: threaded, marked `Auto-Submitted: auto-replied`, with a null return path.
 * It is not sent, and the log says so, when `message.automatic` is not empty (RFC 3834 2).
 */
export interface EmailReply extends Outgoing {
  readonly type: 'email.reply'
  /** Default: `Re: ` and the subject. */
  readonly subject?: string
  /** With angle brackets; default: a new one of the gateway's. */
  readonly messageId?: string
}
/** A new message, from the scope's recipient. */
export interface EmailSend extends Outgoing {
  readonly type: 'email.send'
  readonly to: string | readonly string[]
  readonly subject: string
  readonly messageId?: string
}
/** Refuses the message: the answer to DATA (while the sender still waits for it). */
export interface EmailReject {
  readonly type: 'email.reject'
  /** 4xx: try again; 5xx: never. Default 550. */
  readonly code?: number
  readonly text?: string
}

export interface EmailProtocol extends Protocol {
  readonly scope: EmailScope
  readonly receive: EmailMessage
  readonly send: EmailReply | EmailSend | EmailReject
}
