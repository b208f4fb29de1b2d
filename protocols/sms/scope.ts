/** SMS as scope and events: one scope is one message, or one status report of a message that was sent. */
import type { BaseScope, Protocol } from '../../src/asgi/protocol.ts'

export interface SmsScope extends BaseScope {
  readonly type: 'sms'
  /** Which of the two it is, and so which event comes. */
  readonly kind: 'message' | 'status'
  /** The person at the other end: E.164, or a short code or sender name as it came. What SMSFromRouter matches. */
  readonly from: string
  /** Our number. */
  readonly to: string
  readonly messageSid: string
  /** Empty when the provider names none. */
  readonly accountSid: string
}

export interface SmsMedia {
  /** Where the provider keeps it. Never fetch it without a check of the host. */
  readonly url: string
  readonly contentType: string
}
export interface SmsMessage {
  readonly type: 'sms.message'
  readonly body: string
  readonly media: readonly SmsMedia[]
  /** How many segments the text took on the air. */
  readonly segments: number
  /**
   * `stop`: the text is an opt-out word such as STOP; it is remembered, and nothing more goes to this person. `start`: an
   * opt-in word such as START; they may be written to again. Empty for every other text. The provider answers these itself.
   */
  readonly consent: '' | 'stop' | 'start'
}
/** What became of a message that was sent: `queued`, `sent`, `delivered`, `undelivered`, `failed`. */
export interface SmsStatus {
  readonly type: 'sms.status'
  readonly messageSid: string
  readonly status: string
  /** The provider's code; empty when there is none. */
  readonly errorCode: string
}
/** Answers the message: in the webhook's own response while there is time, by the REST interface after that. */
export interface SmsReply {
  readonly type: 'sms.reply'
  readonly body: string
  readonly media?: readonly string[]
}
/** A new message, from the scope's own number. */
export interface SmsSend {
  readonly type: 'sms.send'
  readonly to: string
  readonly body: string
  readonly media?: readonly string[]
}

export interface SmsProtocol extends Protocol {
  readonly scope: SmsScope
  readonly receive: SmsMessage | SmsStatus
  readonly send: SmsReply | SmsSend
}
