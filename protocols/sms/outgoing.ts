/** What an application wants sent, checked and cleaned as the provider would have it. */
import { SignalboxError } from '../../src/runtime/errors.ts'
import type { SmsProtocol, SmsScope } from './scope.ts'
import { longestBody, printable } from './text.ts'

/** A message on its way out. */
export interface Outgoing {
  readonly from: string
  readonly to: string
  readonly body: string
  readonly media: readonly string[]
}

/** Twilio takes no more on one message. */
const mostMedia = 10

/**
 * @throws SignalboxError `unexpected_event` for an event that the scope does not allow, `too_large`, `bad_address`.
 */
export function outgoing(event: SmsProtocol['send'], scope: Pick<SmsScope, 'kind' | 'from' | 'to'>): Outgoing {
  const { type } = event
  if (type !== 'sms.reply' && type !== 'sms.send') {
    throw new SignalboxError(
      'unexpected_event',
      `an sms scope takes sms.reply and sms.send, not ${JSON.stringify(type)}`,
    )
  }
  if (type === 'sms.reply' && scope.kind === 'status') {
    throw new SignalboxError('unexpected_event', 'a status report cannot be answered with sms.reply: expected sms.send')
  }
  if (typeof event.body !== 'string') {
    throw new SignalboxError('unexpected_event', `${type}: expected the body as a string, found ${typeof event.body}`)
  }
  const body = printable(event.body)
  const media = readMedia(type, event.media ?? [])
  if (body.length > longestBody) {
    throw new SignalboxError(
      'too_large',
      `${type}: the body has ${body.length} characters, at most ${longestBody} go into one message`,
    )
  }
  if (body === '' && media.length === 0) {
    throw new SignalboxError('unexpected_event', `${type}: expected a body or media, found neither`)
  }
  const to = type === 'sms.reply' ? scope.from : event.to
  if (type === 'sms.send') checkReceiver(to)
  return { from: scope.to, to, body, media }
}

function readMedia(type: string, media: readonly string[]): readonly string[] {
  if (media.length > mostMedia) {
    throw new SignalboxError('too_large', `${type}: found ${media.length} media, expected at most ${mostMedia}`)
  }
  return media.map((given) => {
    const url = URL.canParse(given) ? new URL(given) : undefined
    if (url?.protocol === 'https:' || url?.protocol === 'http:') return url.href
    throw new SignalboxError('bad_address', `${type}: expected media as http(s) URLs, found ${JSON.stringify(given)}`)
  })
}

/** A number in E.164, a short code, or an address of another channel such as `whatsapp:+14155550100`. */
function checkReceiver(to: string): void {
  if (/^(?:\+[1-9]\d{1,14}|\d{3,8}|[a-z]+:\S{1,200})$/.test(to)) return
  throw new SignalboxError(
    'bad_address',
    `sms.send: expected a number such as +14155550100, found ${JSON.stringify(to)}`,
  )
}
