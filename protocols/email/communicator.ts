/** Plays a mail server in a test: mails go in, replies and the answer come out, without a socket. */
import MailComposer from 'nodemailer/lib/mail-composer'
import type { Application } from '../../src/asgi/protocol.ts'
import { SignalboxError, hasCode } from '../../src/runtime/errors.ts'
import { ApplicationCommunicator, type CommunicatorOptions } from '../../src/testing/application-communicator.ts'
import { foldAddress } from './address.ts'
import { parseMessage } from './parse.ts'
import type { EmailProtocol, EmailReply, EmailScope, EmailSend } from './scope.ts'

export interface EmailCommunicatorOptions extends CommunicatorOptions {
  readonly recipient: string
  /** The envelope sender; empty for a bounce. Default `ann@example.org`. */
  readonly sender?: string
  /** What the lifespan application would have left. */
  readonly state?: EmailScope['state']
}

/** A mail in parts; what is left out is filled in. */
export interface EmailParts {
  readonly subject?: string
  readonly text?: string
  readonly html?: string
  readonly from?: string
  readonly to?: string
  readonly messageId?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly attachments?: readonly { readonly filename: string; readonly content: string | Uint8Array }[]
}

/** What the sender of one mail gets, and what the application sent besides. */
export interface EmailResult {
  /** 250; 451 when the application raised or was abandoned; the code of its `email.reject`; 550 when no rule takes the recipient. */
  readonly code: number
  /** The words of an `email.reject`. */
  readonly text: string
  readonly replies: readonly EmailReply[]
  readonly sent: readonly EmailSend[]
  /** What it raised. */
  readonly error?: unknown
}

let nextId = 0

/**
 * @example
 * const mail = new EmailCommunicator(Tickets.asApplication(), { recipient: 'help@support.org', layer })
 * const { code, replies } = await mail.send({ subject: 'Fire', text: 'My printer is on fire' })
 */
export class EmailCommunicator {
  readonly #application: Application<EmailProtocol>
  readonly #options: EmailCommunicatorOptions

  constructor(application: Application<EmailProtocol>, options: EmailCommunicatorOptions) {
    this.#application = application
    this.#options = options
  }

  /**
   * Sends one mail, whole or in parts, and waits until the application has ended.
   * @throws SignalboxError `timed_out` when it does not end; it is not harmed by that.
   */
  async send(mail: EmailParts | string | Uint8Array): Promise<EmailResult> {
    const { timeout = 1000 } = this.#options
    const scope = this.#scope()
    if (this.#application.resolve && !this.#application.resolve(scope))
      return { code: 550, text: '', replies: [], sent: [] }
    const event = await parseMessage(await this.#raw(mail, scope), { sender: scope.sender })
    const communicator = new ApplicationCommunicator(this.#application, scope, this.#options)
    void communicator.sendInput(event, { last: 'of the peer' }).catch(() => undefined)
    const outcome = await inTime(communicator.wait(), timeout)

    const events: EmailProtocol['send'][] = []
    while (communicator.pending > 0) events.push(await communicator.receiveOutput())
    const rejection = events.find((sent) => sent.type === 'email.reject')
    const error = outcome.kind === 'raised' ? outcome.error : undefined
    const isFailed = outcome.kind === 'raised' || outcome.kind === 'abandoned'
    const unanswered = isFailed ? (hasCode(error, 'no_route') ? 550 : 451) : 250
    return {
      code: rejection ? (rejection.code ?? 550) : unanswered,
      text: rejection?.text ?? '',
      replies: events.filter((sent) => sent.type === 'email.reply'),
      sent: events.filter((sent) => sent.type === 'email.send'),
      ...(error !== undefined && { error }),
    }
  }

  #scope(): EmailScope {
    const { recipient, sender = 'ann@example.org', state = {} } = this.#options
    const folded = foldAddress(recipient)
    if (!folded)
      throw new SignalboxError(
        'bad_address',
        `expected an address such as help@support.org, found ${JSON.stringify(recipient)}`,
      )
    return {
      type: 'email',
      id: `email-${++nextId}`,
      client: ['127.0.0.1', 50_000],
      server: ['127.0.0.1', 25],
      params: {},
      route: '',
      state,
      recipient: folded.address,
      tag: folded.tag,
      sender,
      helo: 'client.example.org',
      secure: false,
    }
  }

  async #raw(mail: EmailParts | string | Uint8Array, { sender, recipient }: EmailScope): Promise<Uint8Array> {
    if (typeof mail === 'string') return Buffer.from(mail.replaceAll(/\r?\n/g, '\r\n'))
    if (isBytes(mail)) return mail
    const { attachments = [], headers = {}, ...parts } = mail
    const files = attachments.map(({ filename, content }) => ({
      filename,
      content: typeof content === 'string' ? content : Buffer.from(content),
    }))
    const composer = new MailComposer({
      from: sender || 'mailer-daemon@example.org',
      to: recipient,
      ...parts,
      headers,
      attachments: files,
      newline: 'win',
    })
    return composer.compile().build()
  }
}

/** Of any realm: a test runner has its own. */
function isBytes(value: EmailParts | Uint8Array): value is Uint8Array {
  return ArrayBuffer.isView(value)
}

/** The wait ends, the application does not. */
async function inTime<T>(promise: Promise<T>, timeout: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => reject(new SignalboxError('timed_out', `the application did not end within ${timeout} ms`)),
    timeout,
  )
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}
