/** Serves MQTT: opens the broker and the ways to it, and closes them. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { join, resolve } from 'node:path'
import { createServer as createSecureServer, type TlsOptions } from 'node:tls'
import type { Adapter, HttpHost, Listener, Services, TlsFiles, Example } from '../../src/asgi/adapter.ts'
import type { AttemptSettled, StoredRecord } from '../../src/asgi/delivery.ts'
import { hasCode, reason, SignalboxError } from '../../src/runtime/errors.ts'
import { KeepAlive } from '../../src/runtime/keep-alive.ts'
import { addressText } from '../../src/runtime/options.ts'
import { shellWord } from '../../src/runtime/shell-word.ts'
import { Broker } from './broker.ts'
import type { MqttOptions } from './options.ts'
import type { MqttProtocol } from './scope.ts'
import type { Peers } from './session.ts'
import { listenForWebsockets } from './websocket.ts'

/** Connections beyond `maxClients` that may be at their CONNECT; further ones are closed without a word. */
const spareConnections = 1000

export const adapter: Adapter<MqttProtocol, MqttOptions> = {
  async start(options, services) {
    const { persistence } = options
    const redis = persistence === 'auto' ? services.redis : undefined
    const folder = redis || persistence === 'memory' ? undefined : join(services.data, 'mqtt')
    const server = await createListener(options, services)
    const broker = await Broker.open(options, services, { redis, folder })
    const endpoint = new Endpoint(server, (source, peers) => broker.accept(source, peers))
    try {
      await endpoint.listen(options)
      return new MqttListener(options, services, { broker, endpoint })
    } catch (error) {
      await Promise.all([endpoint.close(AbortSignal.abort()), broker.close(AbortSignal.abort())])
      throw error
    }
  },
}

interface Parts {
  readonly broker: Broker
  readonly endpoint: Endpoint
}

class MqttListener implements Listener {
  readonly #options: MqttOptions
  readonly #parts: Parts
  readonly #http: HttpHost | undefined
  #open = true

  constructor(options: MqttOptions, services: Services<MqttProtocol>, parts: Parts) {
    this.#options = options
    this.#parts = parts
    const { websocketPath: path, websocketOrigins: origins, maxPacketSize, users, anonymous } = options
    if (path !== undefined) {
      const { broker } = parts
      this.#http = services.httpHost()
      listenForWebsockets(
        this.#http,
        { path, origins, maxPacketSize },
        { isOpen: () => this.#open, accept: (source, peers) => broker.accept(source, peers) },
      )
    }
    if (users.length === 0 && anonymous === false) {
      services.log.warn({}, 'listen.mqtt has no users and anonymous is false: nobody can log in')
    }
  }

  get urls(): readonly string[] {
    const { address, tls, websocketPath } = this.#options
    const { port } = this.#parts.endpoint
    const tcp = `${tls ? 'mqtts' : 'mqtt'}://${addressText({ host: address.host, port })}`
    return this.#http ? [tcp, `${this.#http.url.replace('http', 'ws')}${websocketPath}`] : [tcp]
  }

  get example(): Example {
    const { address, tls, anonymous } = this.#options
    const login = anonymous === false ? ' -u USER -P PASSWORD' : ''
    const secure = tls ? ` --cafile ${tls.cert}` : ''
    const command = `mosquitto_pub -h ${address.host} -p ${this.#parts.endpoint.port}${login}${secure}`
    return {
      address: 'sensors/kitchen/temperature',
      command: (topic) => `${command} -t ${shellWord(topic)} -m 21.5`,
    }
  }

  get connections(): number {
    return this.#parts.broker.connections
  }

  deliver(record: StoredRecord, settled: AttemptSettled): void {
    this.#parts.broker.attempts.attempt(record as StoredRecord<MqttProtocol>, settled) // the journal keeps the protocols apart
  }

  async close(signal: AbortSignal): Promise<void> {
    this.#open = false
    const { broker, endpoint } = this.#parts
    const closed = endpoint.close(signal)
    await broker.close(signal)
    await closed
  }
}

/** The TCP or TLS server in front of the broker. */
class Endpoint {
  /** Known once it listens. */
  port = 0
  readonly #server: Server
  /** Also those whose TLS handshake is not done. */
  readonly #sockets = new Set<Socket>()
  /** Finds out about peers that vanished, also those that asked for no keep alive of MQTT. */
  readonly #keepAlive = new KeepAlive(() => this.#sockets)
  /** Where all connections arrive; undefined: at any address of this machine, and each has to be asked. */
  #own: Peers['server'] | undefined

  constructor(server: Server, accept: (source: Socket, peers: Peers) => void) {
    this.#server = server
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    // A TLS server says `connection` for what is below it.
    const ready = 'setSecureContext' in server ? 'secureConnection' : 'connection'
    server.on(ready, (socket: Socket) => {
      const { remoteAddress, remotePort } = socket
      accept(socket, { client: [remoteAddress ?? '', remotePort ?? 0], server: this.#own ?? localEnd(socket) })
    })
  }

  /** @throws SignalboxError `listen_failed`. */
  async listen({ address, maxClients }: MqttOptions): Promise<void> {
    this.#server.maxConnections = maxClients + spareConnections
    // In a cluster a full process would hand a connection on to the next, and that on again.
    Object.assign(this.#server, { dropMaxConnection: true })
    try {
      this.#server.listen({ host: address.host, port: address.port })
      await once(this.#server, 'listening')
    } catch (error) {
      const why = hasCode(error, 'EADDRINUSE') ? 'another program listens there' : reason(error)
      throw new SignalboxError('listen_failed', `cannot listen on mqtt://${addressText(address)}: ${why}`, {
        cause: error,
      })
    }
    const own = this.#server.address() as AddressInfo // a TCP server has an address object while it listens
    this.port = own.port
    if (!['0.0.0.0', '::'].includes(own.address)) this.#own = [own.address, own.port]
  }

  /** Takes no new connection; resolves when the broker has closed all, and cuts what is left when `signal` aborts. */
  async close(signal: AbortSignal): Promise<void> {
    this.#keepAlive.stop()
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    const cut = () => {
      for (const socket of this.#sockets) socket.destroy()
    }
    if (signal.aborted) cut()
    else signal.addEventListener('abort', cut, { once: true })
    await closed
    signal.removeEventListener('abort', cut)
  }
}

function localEnd({ localAddress, localPort }: Socket): Peers['server'] {
  return [localAddress ?? '', localPort ?? 0]
}

async function createListener(options: MqttOptions, { base, log }: Services<MqttProtocol>): Promise<Server> {
  const { tls, connectTimeout } = options
  // Without it a message waits for the acknowledgement of the one before it.
  const common = { noDelay: true }
  const server = tls
    ? secureServer(
        { ...common, ...(await readFiles(tls, base)), handshakeTimeout: connectTimeout, minVersion: 'TLSv1.2' },
        tls,
      )
    : createServer(common)
  server.on('error', (error) => {
    // What keeps it from listening is said by whoever listens.
    if (server.listening) log.error({ err: error }, 'the MQTT listener reports an error')
  })
  server.on('tlsClientError', (error: unknown, socket: Socket) => {
    log.debug({ err: error }, 'a TLS handshake failed')
    socket.destroy() // Node leaves one open that is too slow.
  })
  return server
}

function secureServer(options: TlsOptions, { cert, key }: TlsFiles): Server {
  try {
    return createSecureServer(options)
  } catch (error) {
    const message = `the certificate ${cert} and the key ${key} cannot be used: ${reason(error)}`
    throw new SignalboxError('listen_failed', message, { cause: error })
  }
}

async function readFiles({ cert, key }: TlsFiles, base: string): Promise<{ cert: Buffer; key: Buffer }> {
  const read = async (path: string, what: string) => {
    try {
      return await readFile(resolve(base, path))
    } catch (error) {
      throw new SignalboxError('listen_failed', `the ${what} ${path} cannot be read: ${reason(error)}`, {
        cause: error,
      })
    }
  }
  return { cert: await read(cert, 'certificate'), key: await read(key, 'key') }
}
