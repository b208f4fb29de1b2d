/** The sockets of the listener: who may connect, the handshake of implicit TLS, and everybody who is there. */
import type { Socket } from 'node:net'
import { TLSSocket, type SecureContext } from 'node:tls'
import type { Log } from '../../src/asgi/context.ts'
import { answers, type SmtpAnswer } from './answers.ts'
import type { ClientRates } from './client-rates.ts'
import type { EmailConnection } from './server.ts'
import type { Session } from './session.ts'

/** A client, from the first byte to the last. */
export interface Peer {
  readonly address: string
  /** The one that was accepted. */
  readonly socket: Socket
  readonly session: Session
  /** There is none until the handshake of implicit TLS is over. */
  connection: EmailConnection | undefined
}

export interface PeersOptions {
  readonly maxClients: number
  /** Milliseconds. */
  readonly commandTimeout: number
  /** TLS from the first byte; without it a session may still change to TLS by STARTTLS. */
  readonly implicitTls: SecureContext | undefined
  readonly rates: ClientRates
  readonly log: Log
  /** Told the code of each refusal. */
  readonly refused: (code: number) => void
  readonly newSession: () => Session
  readonly connect: (socket: Socket) => EmailConnection
}

/** A refused client gets this long to read why, in milliseconds. */
const refusalTimeout = 1000
const handshakeTimeout = 30_000

export class Peers {
  readonly #options: PeersOptions
  readonly #all = new Set<Peer>()
  /** Those with a session, by the id of its connection. */
  readonly #sessions = new Map<string, Peer>()
  readonly #refused = new Set<Socket>()
  readonly #gone = Promise.withResolvers<void>()
  #closing = false

  constructor(options: PeersOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#all.size + this.#refused.size
  }

  get isClosing(): boolean {
    return this.#closing
  }

  find(connectionId: string): Peer | undefined {
    return this.#sessions.get(connectionId)
  }

  accept(socket: Socket): void {
    const { maxClients, rates, implicitTls, newSession } = this.#options
    const address = socket.remoteAddress
    socket.on('error', (error) => this.#failed(error, address))
    // It has left already.
    if (address === undefined) return void socket.destroy()
    if (this.#closing) return this.#refuse(socket, answers.closing())
    if (this.#all.size >= maxClients) return this.#refuse(socket, answers.tooManyClients())
    if (!rates.connected(address)) return this.#refuse(socket, answers.tooManyFromAddress())
    const peer: Peer = { address, socket, session: newSession(), connection: undefined }
    this.#all.add(peer)
    // STARTTLS takes this listener away: from then on the package tells of the end, by onClose.
    socket.once('close', () => this.left(peer))
    if (implicitTls) this.#handshake(peer, implicitTls)
    else this.#begin(peer, socket)
  }

  left(peer: Peer): void {
    if (!this.#all.delete(peer)) return
    this.#options.rates.disconnected(peer.address)
    if (peer.connection) {
      peer.connection.gone()
      this.#sessions.delete(peer.connection.id)
    }
    this.#lookIfEmpty()
  }

  /** Says good-bye to everybody who is not in the middle of a message; resolves when everybody has gone. */
  async close(): Promise<void> {
    this.#closing = true
    for (const { connection, socket } of this.#all) {
      if (!connection) socket.destroy()
      else if (!connection.busy) connection.answer(answers.closing())
    }
    this.#lookIfEmpty()
    await this.#gone.promise
  }

  cut(): void {
    for (const { connection, socket } of this.#all) {
      if (connection) connection.cut()
      else socket.destroy()
    }
    for (const socket of this.#refused) socket.destroy()
  }

  #handshake(peer: Peer, secureContext: SecureContext): void {
    const { socket, address } = peer
    const secure = new TLSSocket(socket, { isServer: true, secureContext })
    const timer = setTimeout(() => secure.destroy(), handshakeTimeout)
    secure.on('error', (error) => this.#failed(error, address))
    secure.once('close', () => {
      clearTimeout(timer)
      // A failed handshake ends here, and the socket below it with it.
      socket.destroy()
    })
    secure.once('secure', () => {
      clearTimeout(timer)
      if (this.#closing) secure.destroy()
      else this.#begin(peer, secure)
    })
  }

  #begin(peer: Peer, socket: Socket): void {
    const connection = this.#options.connect(socket)
    peer.connection = connection
    this.#sessions.set(connection.id, peer)
    connection.watch(this.#options.commandTimeout)
  }

  #refuse(socket: Socket, { responseCode, message }: SmtpAnswer): void {
    this.#options.refused(responseCode)
    this.#refused.add(socket)
    const timer = setTimeout(() => socket.destroy(), refusalTimeout)
    socket.once('close', () => {
      clearTimeout(timer)
      this.#refused.delete(socket)
      this.#lookIfEmpty()
    })
    // Before a TLS handshake there is nobody who could read it.
    if (this.#options.implicitTls) return void socket.destroy()
    socket.resume()
    socket.end(`${responseCode} ${message}\r\n`)
  }

  #failed(error: Error, client: string | undefined): void {
    this.#options.log.debug({ err: error, client }, 'an SMTP client failed')
  }

  #lookIfEmpty(): void {
    if (this.#closing && this.size === 0) this.#gone.resolve()
  }
}
