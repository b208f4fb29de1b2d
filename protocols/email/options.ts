/** What the operator may set below `listen.email`. */
import { BlockList, isIP } from 'node:net'
import { z } from 'zod'
import { address, count, duration, flag, size, tlsFiles, timeout } from '../../src/runtime/options.ts'
import { foldDomain } from './address.ts'

export interface RelayOptions {
  readonly host: string
  readonly port: number
  /** TLS from the first byte; without it STARTTLS is used when the relay offers it. */
  readonly secure: boolean
  readonly user: string
  readonly password: string
  /** Nothing is sent without TLS. */
  readonly requireTls: boolean
  /** The relay's certificate must be valid for its name. */
  readonly verifyTls: boolean
}

const hostname = z
  .string()
  .refine((name) => foldDomain(name) !== undefined, 'expected a host name such as mail.example.org')

const relayUrl = z.string().transform((text, context): RelayOptions => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isPlain = url && url.hostname !== '' && url.search === '' && url.hash === '' && /^\/?$/.test(url.pathname)
  if (isPlain && /^smtps?:$/.test(url.protocol)) {
    const secure = url.protocol === 'smtps:'
    return {
      host: url.hostname.replaceAll(/[[\]]/g, ''),
      port: Number(url.port) || (secure ? 465 : 587),
      secure,
      user: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
      requireTls: false,
      verifyTls: true,
    }
  }
  // Without what was found: it may hold a password.
  context.addIssue({ code: 'custom', message: 'expected an URL such as smtp://user:password@mail.example.org:587' })
  return z.NEVER
})

const relayParts = z.strictObject({
  host: z.string().min(1).meta({ description: 'Its name or address.' }),
  port: count(1, 65_535).default(587).meta({ description: 'Its port.' }),
  secure: flag().default(false).meta({ description: 'TLS from the first byte, as on port 465.' }),
  user: z.string().default('').meta({ description: 'Signs in with this name; empty: does not sign in.' }),
  password: z.string().default('').meta({ description: 'The password, best as an environment variable.' }),
  requireTls: flag().default(false).meta({ description: 'Sends nothing unless the relay speaks TLS.' }),
  verifyTls: flag().default(true).meta({ description: 'The certificate must be valid for the name.' }),
})

const network = z.string().refine((text) => {
  const [ip = '', bits, ...rest] = text.split('/')
  const version = isIP(ip)
  return (
    version !== 0 &&
    rest.length === 0 &&
    (bits === undefined || (/^\d+$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128)))
  )
}, 'expected an address or a network, such as 192.0.2.7 or 10.0.0.0/8')

const perAddress = z.strictObject({
  clients: count(1).default(20).meta({ description: 'Connections at once from one address; more get 421.' }),
  connectionsPerMinute: count(1).default(120).meta({ description: 'New connections a minute; more get 421.' }),
  messagesPerMinute: count(1).default(300).meta({ description: 'Messages a minute; more get 451 at MAIL.' }),
  exempt: z
    .array(network)
    .default(['127.0.0.0/8', '::1'])
    .transform((networks): BlockList => blockList(networks))
    .meta({ description: 'Addresses and networks without these limits.' }),
})

const replies = z.strictObject({
  limit: count(1).default(10).meta({ description: 'Automatic answers to one address within the window.' }),
  window: duration().prefault('3h').meta({ description: 'The window of the limit.' }),
})

export const emailOptions = z
  .strictObject({
    address: address().prefault('127.0.0.1:2525').meta({ description: 'host:port to listen on.' }),
    hostname: hostname.optional().meta({ description: "What the server calls itself. Default: the machine's name." }),
    tls: tlsFiles()
      .optional()
      .meta({ description: 'Certificate and key as PEM files: offers STARTTLS. Without them there is no TLS.' }),
    secure: flag().default(false).meta({ description: 'TLS from the first byte, as on port 465; needs tls.' }),
    maxSize: size().prefault('25MiB').meta({ description: 'The largest message; a larger one gets 552.' }),
    maxSpool: size()
      .prefault('128MiB')
      .meta({ description: 'All messages that are in hand at once; when it is full senders get 452.' }),
    maxRecipients: count(1).default(100).meta({ description: 'Recipients of one message; more get 452.' }),
    maxClients: count(1).default(1000).meta({ description: 'Connections at once; more get 421.' }),
    maxErrors: count(1)
      .default(20)
      .meta({ description: 'Refused senders and recipients on one connection; then 421.' }),
    maxHops: count(1)
      .default(50)
      .meta({ description: 'Received headers of one message; more are a loop and get 554.' }),
    perAddress: perAddress.prefault({}).meta({ description: 'Limits for one client address (IPv6: one /64).' }),
    commandTimeout: timeout()
      .prefault('5m')
      .meta({ description: 'How long a client may take for one command (RFC 5321 4.5.3.2.7); then 421.' }),
    dataTimeout: timeout().prefault('10m').meta({ description: 'How long a message may take to arrive; then 421.' }),
    dataWindow: duration().prefault('60s').meta({ description: 'How often the rate of a message is looked at.' }),
    dataRate: size()
      .prefault('16B')
      .meta({ description: 'Bytes a second that a message must bring on average in each window; less gets 421.' }),
    handlerTimeout: timeout().prefault('30s').meta({
      description: 'How long the application may take for one message; then it has failed on it.',
    }),
    bareNewlines: z
      .enum(['reject', 'normalise'])
      .default('reject')
      .meta({ description: 'A bare CR or LF, or a NUL, in a message: refused with 550, or made CRLF and taken out.' }),
    dedupe: flag()
      .default(true)
      .meta({ description: 'A message that comes again is handled only for the recipients it was not handled for.' }),
    dedupeWindow: duration().prefault('24h').meta({ description: 'How long a message is remembered.' }),
    relay: z
      .union([relayUrl, relayParts])
      .optional()
      .meta({ description: 'The server that outgoing mail is given to. Without it: <data>/outbox/*.eml.' }),
    relayAttempts: count(1, 1000).default(60).meta({ description: 'How often a message is offered to the relay.' }),
    relayBackoff: duration().prefault('2s').meta({
      description:
        'The wait before the second attempt; twice as long before each further one, up to journal.maxBackoff.',
    }),
    replies: replies.prefault({}).meta({ description: 'The limit on automatic answers to one address.' }),
  })
  .superRefine((options, context) => {
    if (options.secure && !options.tls) {
      context.addIssue({ code: 'custom', path: ['secure'], message: 'expected tls with cert and key beside it' })
    }
    if (options.maxSpool < options.maxSize) {
      context.addIssue({ code: 'custom', path: ['maxSpool'], message: 'expected at least maxSize' })
    }
  })

export type EmailOptions = z.output<typeof emailOptions>

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList()
  for (const text of networks) {
    const [ip = '', bits] = text.split('/')
    const family = isIP(ip) === 6 ? 'ipv6' : 'ipv4'
    list.addSubnet(ip, bits === undefined ? (family === 'ipv6' ? 128 : 32) : Number(bits), family)
  }
  return list
}
