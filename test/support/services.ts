/** What a server lends to an adapter, made for a test: the real instances and HTTP hosts around one application. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type {
  Connection,
  Listener,
  ListenAddress,
  Outcome,
  Services,
  SharedRedis,
  TlsFiles,
  Transport,
  Unrouted,
} from '../../src/asgi/adapter.ts'
import type { ChannelLayer } from '../../src/asgi/channel-layer.ts'
import type { Log } from '../../src/asgi/context.ts'
import type { DeliveryOptions } from '../../src/asgi/delivery.ts'
import type { Application, Event, Protocol, Resolution, State } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { createHttpHost } from '../../src/runtime/http-host.ts'
import type { ListeningHttpHost } from '../../src/runtime/http-host.ts'
import type { Accounts } from '../../src/runtime/account.ts'
import type { HttpHostOptions } from '../../src/runtime/http-server.ts'
import { Instance } from '../../src/runtime/instance.ts'
import { defaultMailboxLimits } from '../../src/runtime/instance-options.ts'
import type { MailboxLimits } from '../../src/runtime/instance-options.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { addressText } from '../../src/runtime/options.ts'
import { LazyJournal } from './lazy-journal.ts'

export interface ServicesOptions {
  readonly layer?: ChannelLayer
  readonly log?: Log & Pick<typeof silentLog, 'child'>
  /** Milliseconds. Default 1000. */
  readonly closeTimeout?: number
  readonly limits?: Partial<MailboxLimits>
  readonly state?: State
  /** Where events are counted. Default: nowhere. */
  readonly accounts?: Accounts
  readonly base?: string
  readonly redis?: SharedRedis
  /** As `listen.http` says it: what the HTTP host has that is asked for without an address. Default: a free port. */
  readonly http?: Partial<HttpHostOptions>
  /** The data folder. Default: a new one, which is removed at the end. */
  readonly data?: string
  /** What the rules say of delivery, where they say nothing. Default: `handled`. */
  readonly delivery?: DeliveryOptions
}

export interface Failure {
  readonly scope: Protocol['scope']
  readonly event: Event
  readonly error: unknown
}

export interface TestServices<P extends Protocol> {
  readonly services: Services<P>
  /** The scopes whose application has not ended. */
  readonly open: Set<Connection<P>>
  /** How each application ended, in that order. */
  readonly outcomes: Outcome[]
  /** The addresses that found no rule. */
  readonly unrouted: string[]
  readonly failed: Failure[]
  readonly layer: ChannelLayer
  readonly stored: LazyJournal
  /** Names the one who makes the attempts at what is stored; the journal is a real one, in the data folder. */
  attach(listener: Listener): void
  /** Makes the HTTP hosts that an adapter asked for listen: to be called when the adapters have started. */
  listen(): Promise<void>
  /** Resolves when no scope is open. */
  idle(): Promise<void>
  /** Closes these listeners, then the hosts and the layer, without waiting for anybody, and removes the data folder. */
  close(...listeners: readonly Listener[]): Promise<void>
}

/** `application` takes every scope, or, when it is a router, those that it has a rule for. */
export function createServices<P extends Protocol>(
  application: Application<P>,
  options: ServicesOptions = {},
): TestServices<P> {
  const { layer = new MemoryLayer(), log = silentLog, closeTimeout = 1000, limits, base = process.cwd() } = options
  const { delivery = { mode: 'handled' } } = options
  const data = options.data ?? mkdtempSync(join(tmpdir(), 'signalbox-test-'))
  const state = { data, ...options.state }
  const open = new Set<Connection<P>>()
  const outcomes: Outcome[] = []
  const unrouted: string[] = []
  const failed: Failure[] = []
  const hosts = new Map<string, ListeningHttpHost>()
  let scopes = 0
  let attached: Listener | undefined
  const resolve = (scope: Unrouted<P['scope']>): Resolution | undefined => {
    const resolution = application.resolve
      ? application.resolve(fill(scope))
      : { rules: [application], params: {}, ...(application.delivery && { delivery: application.delivery }) }
    return resolution && { ...resolution, delivery: { ...delivery, ...resolution.delivery } }
  }
  const stored = new LazyJournal(data, log, {
    resolve: (scope) => resolve(scope as Unrouted<P['scope']>),
    target: () => attached,
  })

  const fill = (scope: Unrouted<P['scope']>): P['scope'] =>
    ({ ...(scope as object), id: `test-${++scopes}`, params: {}, route: '', state }) as unknown as P['scope']

  const services: Services<P> = {
    open(scope, transport: Transport<P>) {
      const instance = new Instance<P>(application, fill(scope), transport, {
        layer,
        log,
        closeTimeout,
        limits: { ...defaultMailboxLimits, ...limits },
        accounts: options.accounts,
        onEnd: (_, outcome) => {
          outcomes.push(outcome)
          open.delete(instance)
        },
      })
      open.add(instance)
      return instance
    },
    resolve,
    journal: stored,
    refused: () => undefined,
    dropped: () => undefined,
    unrouted: (_scope, address) => void unrouted.push(address),
    failed: (scope, event, error) => void failed.push({ scope, event, error }),
    httpHost(address?: ListenAddress, tls?: TlsFiles) {
      const shared = { address: { host: '127.0.0.1', port: 0 }, ...options.http }
      const key = addressText(address ?? shared.address)
      const host = hosts.get(key) ?? createHttpHost(address ? { address, tls } : shared, base, log)
      hosts.set(key, host)
      return host
    },
    redis: options.redis,
    data,
    base,
    log,
    closeTimeout,
  }

  return {
    services,
    open,
    outcomes,
    unrouted,
    failed,
    layer,
    stored,
    attach(listener) {
      attached = listener
    },
    async listen() {
      for (const host of hosts.values()) await host.listen()
    },
    async idle() {
      while (open.size > 0) await Promise.all(Array.from(open, ({ completed }) => completed))
    },
    async close(...listeners) {
      const now = AbortSignal.abort()
      await Promise.all([...listeners, ...hosts.values()].map((closing) => closing.close(now)))
      await stored.close()
      await layer.close()
      if (options.data === undefined) rmSync(data, { recursive: true, force: true })
    },
  }
}
