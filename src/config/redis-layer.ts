/** `layer.redis`: where Redis is, and how the gateways that share it keep in touch. */
import { z } from 'zod'
import type { RedisLayerOptions } from '../layers/redis-options.ts'
import { count, flag } from '../runtime/options.ts'
import { layerOptions, timer } from './layer-options.ts'

/** PEM files, relative to the YAML. */
export interface LayerTlsFiles {
  readonly ca?: string
  readonly cert?: string
  readonly key?: string
  readonly servername?: string
}
/** As the Redis layer takes it, but that certificates are still files. */
export interface RedisSettings extends Omit<RedisLayerOptions, 'tls'> {
  readonly tls?: true | LayerTlsFiles
}
const file = (what: string) =>
  z
    .string()
    .min(1)
    .optional()
    .meta({ description: `${what}, as a PEM file.` })
/** A variable that is empty says that there is none. */
const perhaps = () =>
  z
    .string()
    .optional()
    .transform((value) => (value === '' ? undefined : value))

const tls = z
  .strictObject({
    ca: file('Who signs the certificate of the server'),
    cert: file('The certificate of this client'),
    key: file('Its key'),
    servername: z.string().min(1).optional().meta({ description: "The name in the server's certificate." }),
  })
  .refine(({ cert, key }) => (cert === undefined) === (key === undefined), {
    error: 'expected cert and key together',
  })

export const redisSchema = z
  .strictObject({
    url: z
      .string()
      .default('redis://127.0.0.1:6379')
      .refine(isRedisUrl, {
        error: 'expected a URL such as redis://127.0.0.1:6379, or rediss://redis.example.org/1 for TLS and a database',
      })
      .meta({ description: 'redis://[[user]:password@]host[:port][/database], or rediss:// for TLS.' }),
    username: perhaps().meta({ description: 'The user of the server, when the URL has none.' }),
    password: perhaps().meta({ description: 'Its password; best from the environment.' }),
    database: count(0).optional().meta({ description: 'The number of the database, when the URL has none.' }),
    tls: z
      .union([flag(), tls], 'expected true, false, or a map of ca, cert, key and servername')
      .default(false)
      .meta({ description: 'TLS: true, false, or the files for it. rediss:// is TLS too.' }),
    prefix: z
      .string()
      .regex(/^[\w.:-]{1,50}$/, 'expected 1 to 50 characters of A-Z a-z 0-9 - _ . :')
      .default('signalbox')
      .meta({ description: 'What the name of every key and message channel in Redis begins with.' }),
    cluster: flag().optional().meta({ description: 'Whether the server is a cluster. Default: it is asked.' }),
    presenceTimeout: timer('15s', '1s').meta({
      description: 'After this time without a sign of life the members of a process count no more.',
    }),
    claimAfter: timer('30s', '100ms').meta({
      description: 'After this time without a sign of life the work of a process is given to another.',
    }),
    connectTimeout: timer('5s', '1ms').meta({
      description: 'How long the start waits for Redis; then it goes on without.',
    }),
    answerTimeout: timer('10s', '100ms').meta({
      description: 'A Redis that does not answer for so long counts as away.',
    }),
    maxDeadLetters: count(1)
      .default(1000)
      .meta({ description: 'Dead letters that are kept in Redis for each channel.' }),
    ...layerOptions,
  })
  .superRefine((settings, context) => {
    if (!URL.canParse(settings.url)) return
    const { username, password, pathname } = new URL(settings.url)
    const inUrl = { username, password, database: pathname.slice(1) }
    for (const key of ['username', 'password', 'database'] as const) {
      if (settings[key] === undefined || inUrl[key] === '') continue
      context.addIssue({ code: 'custom', path: [key], message: 'expected it once: the url has one too' })
    }
  })

/** What was left out is not there: each option has its own meaning then. */
export function redisSettings({ tls: secure, ...rest }: z.output<typeof redisSchema>): RedisSettings {
  const given = Object.entries({ ...rest, ...(secure !== false && { tls: secure }) })
  return Object.fromEntries(given.filter(([, value]) => value !== undefined))
}

/** As the client of Redis reads it. */
function isRedisUrl(text: string): boolean {
  if (!URL.canParse(text)) return false
  const { protocol, hostname, username, password, pathname } = new URL(text)
  try {
    decodeURIComponent(username + password)
  } catch {
    return false
  }
  return /^rediss?:$/.test(protocol) && hostname !== '' && /^(?:\/\d*)?$/.test(pathname)
}
