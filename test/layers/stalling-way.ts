/** A way to a server on which single connections can fall silent, without being closed. */
import { once } from 'node:events'
import { type AddressInfo, type Server, type Socket, connect, createServer } from 'node:net'

export interface Connection {
  /** What either side says from now on is lost. */
  silent: 'none' | 'server' | 'both'
  readonly cut: () => void
}

export class StallingWay implements AsyncDisposable {
  /** All that there ever were, in their order. */
  readonly connections: Connection[] = []
  /** Answers for the number of a new connection whether it is taken, or taken and silent, or closed at once. */
  take: (number: number) => 'open' | 'silent' | 'closed' = () => 'open'
  readonly #server: Server

  static async to(port: number): Promise<StallingWay> {
    const way = new StallingWay(port)
    way.#server.listen(0, '127.0.0.1')
    await once(way.#server, 'listening')
    return way
  }

  private constructor(port: number) {
    this.#server = createServer((near) => this.#take(near, port))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port // it listens
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`
  }

  #take(near: Socket, port: number): void {
    const how = this.take(this.connections.length)
    const far = connect(port, '127.0.0.1')
    const cut = () => {
      near.destroy()
      far.destroy()
    }
    const connection: Connection = { silent: how === 'silent' ? 'both' : 'none', cut }
    this.connections.push(connection)
    near.on('data', (bytes) => void (connection.silent === 'both' || far.write(bytes)))
    far.on('data', (bytes) => void (connection.silent !== 'none' || near.write(bytes)))
    near.on('error', cut).on('close', cut)
    far.on('error', cut).on('close', () => void (connection.silent !== 'none' || cut()))
    if (how === 'closed') cut()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    for (const { cut } of this.connections) cut()
    await once(this.#server, 'close')
  }
}
