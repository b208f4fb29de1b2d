/** What the operator may set below `listen.sms`. */
import { z } from 'zod'
import type { Refusal } from '../../src/asgi/definition.ts'
import type { ListenAddress } from '../../src/asgi/adapter.ts'
import {
  address,
  addressText,
  count,
  duration,
  isLoopback,
  size,
  tlsFiles,
  timeout,
} from '../../src/runtime/options.ts'

/** What the sample YAML signs with when nobody has set a token: known to everyone. */
const developmentToken = 'development'

/** Text that an unset environment variable leaves empty: `"${TWILIO_ACCOUNT_SID:-}"`. */
const optional = (pattern: RegExp, expected: string) =>
  z
    .string()
    .regex(pattern, `expected ${expected}`)
    .or(z.literal(''))
    .optional()
    .transform((value) => value || undefined)

const webAddress = (expected: string) =>
  z.string().transform((value, context) => {
    const url = URL.canParse(value) ? new URL(value) : undefined
    const plain = url && /^https?:$/.test(url.protocol) && url.search === '' && url.hash === '' && url.username === ''
    // As it was written, not as the parser writes it: these are the letters that are signed.
    if (plain) return value.replace(/\/+$/, '')
    context.addIssue({ code: 'custom', message: `expected ${expected}` })
    return z.NEVER
  })

const twilio = z.strictObject({
  authToken: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1)], 'expected a token, or a list of tokens')
    .transform((tokens): readonly string[] => (typeof tokens === 'string' ? [tokens] : tokens))
    .meta({
      description:
        'The auth token of the Twilio account, or a list while it is being replaced: each is tried on a signature, the first signs in to the REST interface.',
    }),
  publicUrl: webAddress('the URL that Twilio calls, without the path, such as https://gateway.example.org').meta({
    description: 'What Twilio has in front of `path`: the signature covers the URL. The Host header is never believed.',
  }),
  accountSid: optional(/^AC[\da-f]{32}$/i, 'AC and 32 hexadecimal digits').meta({
    description: 'Turns the REST interface on. Without it sends and late replies go to <data>/outbox/sms.jsonl.',
  }),
  messagingServiceSid: optional(/^MG[\da-f]{32}$/i, 'MG and 32 hexadecimal digits').meta({
    description: 'Sends through this messaging service. Opt-outs then hold for all of its numbers.',
  }),
  apiUrl: webAddress('the URL of a stand-in for https://api.twilio.com')
    .or(z.literal(''))
    .optional()
    .transform((value) => value || undefined)
    .meta({ description: 'Where the REST interface is, for a stand-in. Default: where the twilio package says.' }),
  attempts: count(1, 1000)
    .default(12)
    .meta({ description: 'How often a send is tried on 429, 5xx and network errors.' }),
  backoff: duration().prefault('1s').meta({
    description: 'The wait before the second attempt; it doubles for each further one, up to journal.maxBackoff.',
  }),
})

export const smsOptions = z.strictObject({
  path: z
    .string()
    .regex(/^(?:\/[\w.~-]+)+$/, 'expected a path such as /sms')
    .default('/sms')
    .meta({ description: 'Where Twilio posts messages; status reports go to the same with /status.' }),
  address: address().optional().meta({ description: 'host:port to listen on. Default: that of listen.http.' }),
  tls: tlsFiles().optional().meta({ description: 'Certificate and key as PEM files, for an address of its own.' }),
  provider: z.strictObject({ twilio }).meta({ description: 'Who brings the messages.' }),
  replyTimeout: duration()
    .prefault('10s')
    .refine((value) => value <= 14_000, 'expected at most 14s: Twilio waits for 15')
    .meta({
      description: 'How long the webhook waits for the application; replies after that go by the REST interface.',
    }),
  handlerTimeout: duration()
    .prefault('60s')
    .meta({ description: 'How long the application may take for one message.' }),
  maxBodySize: size()
    .prefault('64KiB')
    .meta({ description: 'The longest request body; a longer one is refused with 413.' }),
  bodyTimeout: timeout().prefault('5s').meta({ description: 'How long a request body may take to arrive; then 408.' }),
  dedupeWindow: duration()
    .prefault('24h')
    .meta({ description: 'How long a MessageSid is remembered, so that a repeated request is handled once.' }),
})

export type SmsOptions = z.output<typeof smsOptions>
export type TwilioOptions = SmsOptions['provider']['twilio']

/** What is unsafe where others than this machine reach the webhook. */
export function refuseSms(
  options: SmsOptions,
  shared: { readonly http: { readonly address: ListenAddress } },
): readonly Refusal[] {
  const listening = options.address ?? shared.http.address
  if (isLoopback(listening)) return []
  const { authToken, publicUrl } = options.provider.twilio
  const where = `the webhook listens on ${addressText(listening)}, which is not loopback`
  const refusals: Refusal[] = []
  if (authToken.includes(developmentToken)) {
    refusals.push({
      path: ['provider', 'twilio', 'authToken'],
      message: `${where}, with the development token, which anyone can sign with: set authToken to the account's own (TWILIO_AUTH_TOKEN), or listen on 127.0.0.1`,
    })
  }
  if (!/^https:/i.test(publicUrl)) {
    refusals.push({
      path: ['provider', 'twilio', 'publicUrl'],
      message: `${where}, and publicUrl is plain http, so that texts and their signatures can be read on the way: write an https:// URL, or listen on 127.0.0.1`,
    })
  }
  return refusals
}
