/** Five toy protocols, with the options and the routers of the real ones in small: what the YAML's own tests name. */
import { z } from 'zod'
import type { ProtocolDefinition } from '../../src/asgi/definition.ts'
import type { BaseScope } from '../../src/asgi/protocol.ts'
import type { Match, Matcher, RouterDefinition, RuleKey } from '../../src/asgi/router.ts'
import type { Registry } from '../../src/config/registry.ts'
import { builtinMiddleware } from '../../src/middleware/registry.ts'
import { channelNameRouterDefinition } from '../../src/routing/channel-name-router.ts'
import { urlRouterDefinition } from '../../src/routing/url-router.ts'
import { address, count, duration, flag, isLoopback, size, tlsFiles } from '../../src/runtime/options.ts'

interface Scope extends BaseScope {
  readonly address: string
}

const text = z.string()
const taken = (address: string): Match => ({ params: {}, rest: address })
const matcher = (rest: Omit<Matcher, 'match'>, test: (address: string) => boolean): Matcher => ({
  ...rest,
  match: (address) => (test(address) ? taken(address) : undefined),
})

const topic: RuleKey = {
  description: 'a topic filter such as sensors/+room/temperature or alarms/#',
  schema: text,
  compile(filter) {
    const levels = filter.split('/')
    if (levels.slice(0, -1).includes('#')) throw new Error('# may only be the last level')
    const open = levels.at(-1) === '#'
    const tokens = (open ? levels.slice(0, -1) : levels).map((level) => (level.startsWith('+') ? null : level))
    const fits = (found: readonly string[]) => tokens.every((token, index) => token === null || token === found[index])
    return matcher({ text: `topic ${filter}`, tokens, open, total: true }, (address) => {
      const found = address.split('/')
      return (open ? found.length >= tokens.length : found.length === tokens.length) && fits(found)
    })
  },
}

const regex: RuleKey = {
  description: 'a regular expression on the recipient',
  schema: text,
  compile(source) {
    const expression = new RegExp(source, 'u')
    const warning = source.endsWith('$')
      ? {}
      : { warning: `the expression is not anchored: it also matches ${source.replace(/\\/g, '')}.example` }
    return matcher({ text: `regex ${source}`, tokens: [], open: true, total: false, ...warning }, (address) =>
      expression.test(address),
    )
  },
}

const domain: RuleKey = {
  description: 'the domain of the recipient',
  schema: text,
  compile: (name) =>
    matcher({ text: `domain ${name}`, tokens: [name], open: true, total: true }, (address) =>
      address.endsWith(`@${name}`),
    ),
}

const phone: RuleKey = {
  description: 'a phone prefix in quotes such as "+1"',
  schema: text,
  compile(prefix) {
    if (!/^\+[1-9]\d*$/.test(prefix)) throw new Error('no plus sign in front')
    const tokens = Array.from(prefix)
    return matcher({ text: `phone ${prefix}`, tokens, open: true, total: true }, (address) =>
      address.startsWith(prefix),
    )
  },
}

const router = (name: string, protocol: string, keys: Readonly<Record<string, RuleKey>>): RouterDefinition<Scope> => ({
  name,
  protocols: [protocol],
  keys,
  address: (scope) => scope.address,
  tokens: (address) =>
    ({ mqtt: address.split('/'), email: [address.split('@')[1] ?? '', address], sms: Array.from(address) })[
      protocol
    ] ?? [address],
})

interface Toy {
  readonly options?: Readonly<Record<string, z.ZodType>>
  readonly routers?: readonly RouterDefinition[]
  readonly scope?: (address: string) => object
  readonly refuse?: ProtocolDefinition['refuse']
}

/** Its client says what it was told to send; only http has an adapter. */
function toy(
  name: string,
  { options = {}, routers = [], scope = (address) => ({ address }), refuse }: Toy,
): ProtocolDefinition {
  return {
    name,
    options: z.strictObject(options),
    routers,
    load: () => (name === 'http' ? import('./toy-adapter.ts') : Promise.reject(new Error(`${name} has no adapter`))),
    loadClient: () =>
      Promise.resolve({
        client: {
          send: (given, flags, target) =>
            Promise.resolve({
              positive: given[0] !== 'refuse-me',
              text: JSON.stringify({ given, flags, options: target.options, http: target.http }),
            }),
        },
      }),
    sendUsage: {
      arguments: [
        { name: 'to', description: 'where it goes' },
        { name: 'text', description: 'what it says', optional: true },
      ],
      options: [
        { name: 'qos', value: 'N', description: 'how sure' },
        { name: 'retain', description: 'keep it' },
      ],
      example: `signalbox send ${name} somewhere hello`,
    },
    sampleScope: (address) => {
      if (address.includes(' ')) throw new Error(`found ${JSON.stringify(address)}, expected an address without spaces`)
      return { type: name, client: null, server: null, ...scope(address) }
    },
    ...(refuse && { refuse }),
  }
}

const listening = (port: string) => address().prefault(`127.0.0.1:${port}`).meta({ description: 'host:port' })
const urlScope = (path: string) => ({ path, rootPath: '' })

export const toyRegistry: Registry = {
  definitions: [
    toy('http', {
      options: {
        address: listening('8000'),
        tls: tlsFiles().optional(),
        maxBody: size().prefault('1MiB'),
        timeout: duration().prefault('30s'),
      },
      routers: [urlRouterDefinition],
      scope: urlScope,
    }),
    toy('websocket', {
      options: { maxMessage: size().prefault('64KiB') },
      routers: [urlRouterDefinition],
      scope: urlScope,
    }),
    toy('mqtt', {
      options: {
        address: listening('1883'),
        anonymous: flag().default(false),
        clients: count(1, 100).default(10),
        level: z.enum(['low', 'high']).default('low'),
      },
      routers: [router('TopicRouter', 'mqtt', { topic })],
      refuse: (options) => {
        const { address: at, anonymous } = options as { address: { host: string; port: number }; anonymous: boolean }
        if (isLoopback(at) || !anonymous) return []
        return [{ path: ['anonymous'], message: 'anonymous off loopback: write users, or listen on 127.0.0.1' }]
      },
    }),
    toy('email', {
      options: { address: listening('2525'), maxSize: size().prefault('25MiB') },
      routers: [router('EmailToRouter', 'email', { regex, domain })],
    }),
    toy('sms', {
      options: {
        path: z.string().default('/sms'),
        provider: z.strictObject({ twilio: z.strictObject({ authToken: z.string().min(1), publicUrl: z.url() }) }),
      },
      routers: [router('SMSFromRouter', 'sms', { phone })],
    }),
  ],
  routers: [channelNameRouterDefinition],
  middleware: builtinMiddleware,
}
