/** Plays a person with a telephone in a test: texts go in, replies come out, without a socket and without a provider. */
import { randomBytes } from 'node:crypto'
import type { Application } from '../../src/asgi/protocol.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { ApplicationCommunicator, type CommunicatorOptions } from '../../src/testing/application-communicator.ts'
import { consentOf } from './consent.ts'
import { outgoing } from './outgoing.ts'
import type { SmsProtocol, SmsReply, SmsScope, SmsSend } from './scope.ts'
import { segments } from './text.ts'

export interface SmsCommunicatorOptions extends CommunicatorOptions {
  /** The person's number. */
  readonly from: string
  /** Our number. Default `+15005550006`. */
  readonly to?: string
  /** What the lifespan application would have left. */
  readonly state?: SmsScope['state']
}

/**
 * @example
 * const phone = new SmsCommunicator(Echo.asApplication(), { from: '+14155550100', layer })
 * expect(await phone.send('hello')).toEqual([{ type: 'sms.reply', body: 'You wrote: hello' }])
 */
export class SmsCommunicator {
  /** What the application sent by `sms.send`, to anybody, in order. */
  readonly sent: SmsSend[] = []
  readonly #application: Application<SmsProtocol>
  readonly #options: SmsCommunicatorOptions
  #stopped = false

  constructor(application: Application<SmsProtocol>, options: SmsCommunicatorOptions) {
    this.#application = application
    this.#options = options
  }

  /**
   * Sends a text, waits until the application is done with it, and gives its replies: none when it said nothing, or when the
   * person has sent STOP.
   * @throws what the application raised; SignalboxError `no_route`; `timed_out`, and the application goes on.
   */
  async send(body: string, { media = [] }: { readonly media?: readonly string[] } = {}): Promise<readonly SmsReply[]> {
    const consent = consentOf(body, '', () => this.#stopped)
    if (consent !== '') this.#stopped = consent === 'stop'
    return this.#play('message', {
      type: 'sms.message',
      body,
      media: media.map((url) => ({ url, contentType: 'application/octet-stream' })),
      segments: segments(body),
      consent,
    })
  }

  /** Reports what became of a message that was sent to this person. */
  async status(status: string, { messageSid = newSid(), errorCode = '' } = {}): Promise<void> {
    await this.#play('status', { type: 'sms.status', messageSid, status, errorCode })
  }

  async #play(kind: SmsScope['kind'], event: SmsProtocol['receive']): Promise<readonly SmsReply[]> {
    const messageSid = event.type === 'sms.status' ? event.messageSid : newSid()
    const scope = this.#scope(kind, messageSid)
    const replies: SmsReply[] = []
    const communicator = new ApplicationCommunicator(this.#application, scope, this.#options, (sent) => {
      const { to } = outgoing(sent, scope)
      if (this.#stopped && to === scope.from) return 'finished'
      if (sent.type === 'sms.reply') replies.push(sent)
      else this.sent.push(sent)
      return 'finished'
    })
    // What it fails with is the outcome too.
    void communicator.sendInput(event, { last: 'of the peer' }).catch(() => undefined)
    const { timeout = 1000 } = this.#options
    const outcome = await before(timeout, communicator.wait())
    if (outcome.kind === 'raised') throw outcome.error
    return replies
  }

  #scope(kind: SmsScope['kind'], messageSid: string): SmsScope {
    const { from, to = '+15005550006', state = {} } = this.#options
    return {
      type: 'sms',
      kind,
      id: messageSid,
      client: null,
      server: null,
      params: {},
      route: '',
      state,
      from,
      to,
      messageSid,
      accountSid: '',
    }
  }
}

function newSid(): string {
  return `SM${randomBytes(16).toString('hex')}`
}

async function before<T>(timeout: number, result: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const error = new SignalboxError('timed_out', `the application was not done with the text within ${timeout} ms`)
  const timer = setTimeout(() => reject(error), timeout)
  try {
    return await Promise.race([result, late])
  } finally {
    clearTimeout(timer)
  }
}
