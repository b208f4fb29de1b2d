/** The parameters of a signed request as scope and event. */
import type { Endpoints, Unrouted } from '../../src/asgi/adapter.ts'
import type { Parameters } from './form.ts'
import type { SmsMedia, SmsScope } from './scope.ts'
import { segments } from './text.ts'

/** Twilio sends no more with one message. */
const mostMedia = 10

const none: readonly SmsMedia[] = []

export type NewScope = Unrouted<SmsScope>
export type MessageParameters = ReturnType<typeof readMessage>

/**
 * Looks at the names that Twilio documents and at no other.
 * @throws Error in words when one that must be there is missing or has no such value.
 */
export function readMessage(parameters: Parameters) {
  const body = expected(parameters, 'Body', /^/)
  return {
    messageSid: expected(parameters, 'MessageSid', sid),
    accountSid: parameters.get('AccountSid') ?? '',
    from: expected(parameters, 'From', party),
    to: expected(parameters, 'To', party),
    optOutType: parameters.get('OptOutType') ?? '',
    body,
    media: readMedia(parameters),
    segments: readSegments(parameters.get('NumSegments')) ?? segments(body),
  }
}

/** A report speaks of a message that went out: its `To` is the person, its `From` is us. */
export function readStatus(parameters: Parameters) {
  return {
    messageSid: expected(parameters, 'MessageSid', sid),
    accountSid: parameters.get('AccountSid') ?? '',
    from: expected(parameters, 'To', party),
    to: expected(parameters, 'From', party),
    status: expected(parameters, 'MessageStatus', /^[a-z_]{1,32}$/),
    errorCode: parameters.get('ErrorCode') ?? '',
  }
}

/** The scope of a message or report. */
export function scopeOf(
  kind: SmsScope['kind'],
  read: Pick<SmsScope, 'from' | 'to' | 'messageSid' | 'accountSid'>,
  { client, server }: Endpoints,
): NewScope {
  const { from, to, messageSid, accountSid } = read
  return {
    type: 'sms',
    kind,
    client,
    server,
    from,
    to,
    messageSid,
    accountSid,
  }
}

const sid = /^[\w-]{1,64}$/
const party = /^[^\s\p{Cc}](?:[^\p{Cc}]{0,254}[^\s\p{Cc}])?$/u

function expected(parameters: Parameters, name: string, pattern: RegExp): string {
  const value = parameters.get(name)
  if (value === undefined) throw new Error(`expected the parameter ${name}`)
  if (!pattern.test(value)) throw new Error(`the parameter ${name} has no value that Twilio would send`)
  return value
}

function readMedia(parameters: Parameters): readonly SmsMedia[] {
  const count = Number(parameters.get('NumMedia') ?? 0)
  if (!Number.isInteger(count) || count < 0 || count > mostMedia) {
    throw new Error(`expected NumMedia from 0 to ${mostMedia}`)
  }
  if (count === 0) return none
  return Array.from({ length: count }, (_, index) => ({
    url: expected(parameters, `MediaUrl${index}`, /^https?:\/\//i),
    contentType: parameters.get(`MediaContentType${index}`) ?? '',
  }))
}

function readSegments(value = ''): number | undefined {
  return /^[1-9]\d{0,3}$/.test(value) ? Number(value) : undefined
}
