/** SMTP in, on smtp-server: the listener that holds the parts together. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { hostname as machineName } from 'node:os'
import { join, resolve } from 'node:path'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { Adapter, Listener, Services, Example } from '../../src/asgi/adapter.ts'
import type { AttemptSettled, DeliveryOptions, StoredRecord } from '../../src/asgi/delivery.ts'
import type { Log } from '../../src/asgi/context.ts'
import { SignalboxError, hasCode, reason } from '../../src/runtime/errors.ts'
import { addressText } from '../../src/runtime/options.ts'
import { whenSettled } from '../../src/runtime/settled.ts'
import { Work } from '../../src/runtime/work.ts'
import { shellWord } from '../../src/runtime/shell-word.ts'
import { outboxCarrier, relayCarrier, type Carrier } from './carriers.ts'
import { ClientRates } from './client-rates.ts'
import { Deliveries } from './delivery.ts'
import { smtpOptions } from './hooks.ts'
import type { EmailOptions } from './options.ts'
import { Outgoing } from './outgoing.ts'
import { Peers } from './peers.ts'
import { DataReading } from './receive-data.ts'
import type { EmailProtocol } from './scope.ts'
import { Seen } from './seen.ts'
import { EmailServer } from './server.ts'
import { Session, type SessionParts } from './session.ts'
import { Spool } from './spool.ts'
import { StoredMessages } from './stored.ts'

export const adapter: Adapter<EmailProtocol, EmailOptions> = {
  async start(options, services) {
    const tls = await readTls(options, services.base)
    const carrier = options.relay ? await relayCarrier(options.relay) : outboxCarrier(join(services.data, 'outbox'))
    const listener = new EmailListener(options, services, { tls, carrier })
    await listener.listen()
    return listener
  },
}

interface Tls {
  readonly cert: Buffer
  readonly key: Buffer
  readonly context: SecureContext
}

/** What had to be opened first. */
interface Opened {
  readonly tls: Tls | undefined
  readonly carrier: Carrier
}

class EmailListener implements Listener {
  readonly example: Example = {
    address: 'help@support.org',
    command: (to, config) => `npx signalbox send email ${shellWord(to)} "My printer is on fire"${config}`,
  }
  readonly outgoing: DeliveryOptions
  readonly #options: EmailOptions
  readonly #log: Log
  readonly #outgoing: Outgoing
  readonly #deliveries: Deliveries
  readonly #stored: StoredMessages
  readonly #work = new Work()
  readonly #carrier: Carrier
  readonly #peers: Peers
  readonly #smtp: EmailServer
  readonly #server: Server
  #drained: Promise<void> | undefined

  constructor(options: EmailOptions, services: Services<EmailProtocol>, { tls, carrier }: Opened) {
    const { log } = services
    const { secure, maxClients, commandTimeout, dedupe, handlerTimeout } = options
    this.#options = options
    this.#log = log
    this.#carrier = carrier
    this.#outgoing = new Outgoing(options, services, carrier)
    this.outgoing = { attempts: options.relayAttempts, backoff: options.relayBackoff }
    const seen = new Seen(options.dedupeWindow)
    this.#deliveries = new Deliveries({ services, outbound: this.#outgoing, seen, dedupe, handlerTimeout })
    const rates = new ClientRates(options.perAddress)
    const hostname = options.hostname ?? machineName()
    const spool = new Spool(options.maxSpool)
    const outbound = this.#outgoing
    this.#stored = new StoredMessages({ services, outbound, spool, work: this.#work, dedupe, handlerTimeout })
    const deliveries = this.#deliveries
    const parts: SessionParts = { options, services, hostname, rates, spool, deliveries, stored: this.#stored }
    const refused = (code: number) => services.refused(code)
    this.#peers = new Peers({
      maxClients,
      commandTimeout,
      implicitTls: secure ? tls?.context : undefined,
      rates,
      log,
      refused,
      newSession: () => new Session(parts),
      connect: (socket) => this.#smtp.connect(socket),
    })
    const keys = tls && { cert: tls.cert, key: tls.key }
    this.#smtp = new EmailServer(
      smtpOptions({ options, hostname, tls: keys, log, peers: this.#peers, refused }),
      new DataReading(options, spool),
    )
    this.#smtp.on('error', (error) => log.debug({ err: error }, 'an SMTP client failed'))
    this.#server = createServer({ noDelay: true }, (socket) => this.#peers.accept(socket))
  }

  get urls(): readonly string[] {
    const bound = this.#server.address()
    const port = bound !== null && typeof bound === 'object' ? bound.port : this.#options.address.port
    return [`${this.#options.secure ? 'smtps' : 'smtp'}://${addressText({ ...this.#options.address, port })}`]
  }

  get connections(): number {
    return this.#peers.size
  }

  async listen(): Promise<void> {
    const { host, port } = this.#options.address
    const listening = once(this.#server, 'listening')
    this.#server.listen({ host, port })
    try {
      await listening
    } catch (error) {
      const why = hasCode(error, 'EADDRINUSE') ? 'another program listens there' : reason(error)
      throw new SignalboxError('listen_failed', `cannot listen on ${this.urls[0]}: ${why}`, { cause: error })
    }
    this.#server.on('error', (error) => this.#log.error({ err: error }, 'the SMTP listener failed'))
  }

  deliver(record: StoredRecord, settled: AttemptSettled): void {
    const stored = record as StoredRecord<EmailProtocol> // the journal keeps the protocols apart
    if (stored.direction === 'in') this.#stored.attempt(stored, settled)
    else whenSettled(this.#work.add(this.#outgoing.carry(stored)), settled)
  }

  async close(signal: AbortSignal): Promise<void> {
    this.#drained ??= this.#drain()
    const cut = () => {
      this.#peers.cut()
      const closing = new SignalboxError('closing', 'the gateway closes')
      this.#deliveries.abort(closing)
      this.#stored.abort(closing)
    }
    signal.addEventListener('abort', cut, { once: true })
    if (signal.aborted) cut()
    await this.#drained
    signal.removeEventListener('abort', cut)
    await this.#work.over(signal)
    this.#carrier.close()
  }

  async #drain(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    // From here on the package answers every command with 421.
    this.#smtp.close()
    await this.#peers.close()
    await closed
    await this.#deliveries.idle()
    await this.#stored.idle()
  }
}

async function readTls({ tls }: EmailOptions, base: string): Promise<Tls | undefined> {
  if (!tls) return undefined
  try {
    const [cert, key] = await Promise.all([readFile(resolve(base, tls.cert)), readFile(resolve(base, tls.key))])
    return { cert, key, context: createSecureContext({ cert, key, minVersion: 'TLSv1.2' }) }
  } catch (error) {
    const message = `email: the certificate ${tls.cert} and the key ${tls.key} cannot be used: ${reason(error)}`
    throw new SignalboxError('listen_failed', message, { cause: error })
  }
}
