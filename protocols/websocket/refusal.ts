/** A response of the application's own instead of a handshake, on a socket that `node:http` has let go of. */
import type { Duplex } from 'node:stream'
import { endSocket, endUpgrade, head } from '../../src/runtime/http-answer.ts'

export class Refusal {
  readonly #socket: Duplex
  readonly #status: number
  /** Name and value in turn. */
  readonly #headers: readonly string[]
  #begun = false
  #drained: Promise<void> | undefined

  constructor(socket: Duplex, status: number, headers: readonly string[]) {
    this.#socket = socket
    this.#status = status
    this.#headers = headers
  }

  /** A promise means: wait before writing more. */
  write(body: string | Uint8Array, moreBody: boolean): void | Promise<void> {
    if (!moreBody && !this.#begun) return endUpgrade(this.#socket, this.#status, this.#headers, body)
    const bytes = Buffer.from(body)
    if (!moreBody) return endSocket(this.#socket, bytes)
    // Without a length the body ends where the connection does.
    const start = this.#begun ? [] : [head(this.#status, [...this.#headers, 'connection', 'close'])]
    this.#begun = true
    if (this.#socket.write(Buffer.concat([...start, bytes]))) return undefined
    return (this.#drained ??= this.#wait())
  }

  /** Until the peer has taken what waits, or is gone. */
  #wait(): Promise<void> {
    const socket = this.#socket
    return new Promise((resolve) => {
      const go = () => {
        socket.off('drain', go)
        socket.off('close', go)
        this.#drained = undefined
        resolve()
      }
      socket.on('drain', go)
      socket.on('close', go)
    })
  }
}
