/** A TCP client that sends exactly the bytes it is told to, and shows exactly those that come back. */
import { connect, type Socket } from 'node:net'

export class RawClient {
  readonly socket: Socket
  /** Everything that came, as latin-1. Resolves when the connection is closed, however that came about. */
  readonly closed: Promise<string>
  #text = ''
  readonly #watchers = new Set<() => void>()

  static async connect(url: string): Promise<RawClient> {
    const { hostname, port } = new URL(url)
    const client = new RawClient(connect(Number(port), hostname))
    await new Promise<void>((resolve) => client.socket.once('connect', resolve))
    return client
  }

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      this.#text += text
      for (const watch of this.#watchers) watch()
    })
    socket.on('error', () => undefined)
    this.closed = new Promise((resolve) => socket.once('close', () => resolve(this.#text)))
  }

  get text(): string {
    return this.#text
  }

  send(...parts: readonly (string | Uint8Array)[]): void {
    for (const part of parts) this.socket.write(part)
  }

  /** Waits until all that came matches. Rejects when the connection closes before that. */
  until(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (!pattern.test(this.#text)) return
        this.#watchers.delete(look)
        resolve(this.#text)
      }
      this.#watchers.add(look)
      void this.closed.then((text) => reject(new Error(`closed without ${pattern}: ${JSON.stringify(text)}`)))
      look()
    })
  }

  end(): void {
    this.socket.end()
  }

  /** Breaks the connection off, as a machine that vanishes does. */
  reset(): void {
    this.socket.resetAndDestroy()
  }
}
