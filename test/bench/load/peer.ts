/** One TCP connection of a load generator: bytes out, bytes in, as little work as possible for each. */
import { connect, type Socket } from 'node:net'

/** One for all: what was read is looked at before the next is read. */
const shared = Buffer.allocUnsafe(256 * 1024)

/** Loopback addresses to connect from in turn, so that ports do not run out while those of closed connections wait. */
const origins = process.platform === 'linux' ? 50 : 1
let opened = 0

export class Peer {
  /** Called with what came; the bytes are good until it returns. */
  onBytes: (bytes: Buffer) => void = () => undefined
  /** The connection is closed, whoever closed it. */
  readonly closed: Promise<void>
  readonly #socket: Socket

  static open(url: string): Promise<Peer> {
    const { hostname, port } = new URL(url)
    const { promise, resolve, reject } = Promise.withResolvers<Peer>()
    const callback = (length: number, bytes: Uint8Array): boolean => {
      peer.onBytes(bytes.subarray(0, length) as Buffer) // it is `shared`
      return true
    }
    const localAddress = `127.0.0.${1 + (opened++ % origins)}`
    const socket = connect({
      host: hostname,
      port: Number(port),
      localAddress,
      noDelay: true,
      onread: { buffer: shared, callback },
    })
    const peer = new Peer(socket)
    socket.once('connect', () => resolve(peer))
    socket.on('error', reject)
    return promise
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve())
    })
  }

  write(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  end(): void {
    this.#socket.end()
  }

  /** From now on a connection that closes ends the run. */
  mustStay(): void {
    void this.closed.then(() => {
      throw new Error('the server closed a connection in the middle of the measurement')
    })
  }

  /** Collects what comes as latin-1 until it satisfies; for what is not measured. */
  until(satisfies: (text: string) => boolean): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    let text = ''
    this.onBytes = (bytes) => {
      text += bytes.toString('latin1')
      if (!satisfies(text)) return
      this.onBytes = () => undefined
      resolve(text)
    }
    void this.closed.then(() => reject(new Error(`the server closed the connection after ${JSON.stringify(text)}`)))
    return promise
  }
}
