/** The main thread's end of the line to a worker, which reads it also while it is blocked. */
import { receiveMessageOnPort, type MessagePort, type Transferable } from 'node:worker_threads'
import type { Hello, ToMain, ToWorker } from './messages.ts'

export class Line {
  readonly #hear: (message: ToMain) => void
  #hello: { readonly port: MessagePort; readonly counter: Int32Array } | undefined
  /** What was said before the worker had said hello. */
  #early: (() => void)[] = []
  #closed = false

  constructor(hear: (message: ToMain) => void) {
    this.#hear = hear
  }

  /** Whether the worker has begun. */
  get open(): boolean {
    return this.#hello !== undefined
  }

  /** Takes a worker's first message, and nothing else that code there may post. */
  greet(message: unknown): boolean {
    const { kind, port, counter } = (message ?? {}) as Partial<Hello>
    if (kind !== 'signalbox.bridge' || !port || !counter || this.#hello) return false
    this.#hello = { port, counter }
    port.on('message', this.#hear)
    // What keeps the process alive is a task that runs, not the line.
    port.unref()
    for (const send of this.#early.splice(0)) send()
    return true
  }

  /** @throws DataCloneError. */
  post(message: ToWorker, transfer: readonly Transferable[] = []): void {
    if (this.#closed) return
    if (!this.#hello) {
      this.#early.push(() => this.post(message, transfer))
      return
    }
    const { port, counter } = this.#hello
    port.postMessage(message, transfer)
    Atomics.add(counter, 0, 1)
    Atomics.notify(counter, 0)
  }

  /** Hears at once what the worker has said until now. */
  catchUp(): void {
    const port = this.#hello?.port
    if (!port || this.#closed) return
    for (let got = receiveMessageOnPort(port); got; got = receiveMessageOnPort(port)) this.#hear(got.message as ToMain)
  }

  /** Nothing is said or heard any more. A worker that is blocked in a call is woken, and told not to go on. */
  close(): void {
    this.#closed = true
    if (!this.#hello) return
    const { port, counter } = this.#hello
    Atomics.store(counter, 1, 1)
    Atomics.add(counter, 0, 1)
    Atomics.notify(counter, 0)
    port.close()
  }
}
