/** The adapter's side of one e-mail scope: what its application may say, and when. */
import type { Outcome, Transport } from '../../src/asgi/adapter.ts'
import { SignalboxError, permanent } from '../../src/runtime/errors.ts'
import type { Said } from '../../src/runtime/said.ts'
import type { EmailMessage, EmailProtocol, EmailReject, EmailReply, EmailScope, EmailSend } from './scope.ts'

/** Where replies and new messages go. */
export interface Outbound {
  reply(event: EmailReply, about: About): Promise<void>
  send(event: EmailSend, about: About): Promise<void>
}

/** What is being answered. */
export interface About {
  readonly scope: EmailScope
  readonly message: EmailMessage
  /** Of a message that may be tried again: so that what was sent is not sent again. */
  readonly said?: Said | undefined
}

/** Whoever has the application try. */
export interface Attempt {
  ended(outcome: Outcome): void
}

/** An application's refusal, checked. */
export interface Rejection {
  readonly code: number
  readonly text: string
}

const defaultText = 'The message was refused'
const hint = ' (a rule that refuses says delivery: handled)'

export class EmailTransport implements Transport<EmailProtocol> {
  /** Being silent is a complete answer to a mail: the sender gets its 250 by the application's return. */
  readonly progress = 'finished'
  /** Set when the scope is open; the application speaks a turn later at the earliest. */
  scope: EmailScope | undefined
  rejection: Rejection | undefined
  isReported = false
  readonly #message: EmailMessage
  readonly #outbound: Outbound
  readonly #attempt: Attempt
  readonly #said: Said | undefined
  #replied = false
  #answered = false

  /** `said`: the message is out of the journal, and its sender has had its answer. */
  constructor(message: EmailMessage, outbound: Outbound, attempt: Attempt, said?: Said) {
    this.#message = message
    this.#outbound = outbound
    this.#attempt = attempt
    this.#said = said
  }

  /** The sender has its answer: there is nothing left to refuse. */
  answered(): void {
    this.#answered = true
  }

  send(event: EmailProtocol['send']): void | Promise<void> {
    const { scope } = this
    if (!scope) throw unexpected('before the scope was open', event.type)
    if (event.type === 'email.reject') return this.#reject(event)
    const about = { scope, message: this.#message, said: this.#said }
    if (event.type === 'email.send') return this.#outbound.send(event, about)
    if (event.type === 'email.reply') {
      if (this.rejection) throw unexpected('after email.reject, which the sender is told by its own server', event.type)
      this.#replied = true
      return this.#outbound.reply(event, about)
    }
    throw unexpected('in an e-mail scope', (event satisfies never as { type: string }).type)
  }

  end(outcome: Outcome): void {
    this.#attempt.ended(outcome)
  }

  #reject({ code = 550, text = defaultText }: EmailReject): void {
    if (this.#said) throw permanent(unexpected(`after the sender had its answer${hint}`, 'email.reject'))
    if (this.#answered) throw unexpected('after the sender had its answer', 'email.reject')
    if (this.rejection) throw unexpected('after another email.reject', 'email.reject')
    if (this.#replied)
      throw unexpected('after email.reply: one message is not both answered and refused', 'email.reject')
    // 421 closes the connection and 4yz/5yz is all that refuses (RFC 5321 4.2.1).
    if (!Number.isInteger(code) || code < 400 || code > 599 || code === 421) {
      throw unexpected(`with code ${String(code)}: expected 400 to 599, and not 421`, 'email.reject')
    }
    const words = String(text)
      .replaceAll(/[^\x20-\x7e]+/g, ' ')
      .trim()
      .slice(0, 400)
    this.rejection = { code, text: words || defaultText }
  }
}

function unexpected(state: string, found: string): SignalboxError {
  return new SignalboxError(
    'unexpected_event',
    `${found} ${state}: expected email.reply, email.send or email.reject while the sender waits`,
  )
}
