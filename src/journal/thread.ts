/** The worker thread as the main thread has it: started, told, heard, and its end noticed. */
import path from 'node:path'
import { setTimeout as later } from 'node:timers/promises'
import { MessageChannel, Worker, receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import { SignalboxError, reason } from '../runtime/errors.ts'
import { errorOf } from './failure.ts'
import type { Answer, Batch, Hello, Ready, Start } from './messages.ts'

const workerFile = new URL(`./worker${path.extname(import.meta.url)}`, import.meta.url)

/** Milliseconds that closing waits for something at most. */
const closePatience = 5000

export interface ThreadOwner {
  onReady(ready: Ready): void
  onAnswer(answer: Answer): void
  /** It has ended; once, and whyever. */
  onEnd(error: SignalboxError): void
}

export class Thread {
  readonly #port: MessagePort
  readonly #worker: Worker
  readonly #owner: ThreadOwner
  readonly #ended = Promise.withResolvers<void>()
  #error: SignalboxError | undefined

  constructor(start: Start, owner: ThreadOwner) {
    const { port1, port2 } = new MessageChannel()
    this.#port = port1
    this.#owner = owner
    port1.on('message', (said: Hello | Answer) => this.#hear(said))
    this.#worker = new Worker(workerFile, {
      workerData: { port: port2, start },
      transferList: [port2],
      name: 'journal',
    })
    this.#worker.on('error', (cause) => (this.#error = crashed(reason(cause), cause)))
    this.#worker.on('exit', () => this.#end())
  }

  post(batch: Batch): void {
    const { parcel } = batch
    this.#port.postMessage(batch, parcel ? [parcel.rows.buffer, parcel.bytes.buffer] : [])
  }

  /** Resolves when it has done what it was told, and ended. */
  async close(): Promise<void> {
    this.post({ close: true })
    if (!(await inTime(this.#ended.promise))) await this.end()
  }

  async end(): Promise<void> {
    await this.#worker.terminate()
  }

  #hear(said: Hello | Answer): void {
    if (!('kind' in said)) this.#owner.onAnswer(said)
    else if (said.kind === 'ready') this.#owner.onReady(said)
    else this.#error = errorOf(said.failure)
  }

  #end(): void {
    // What it said before it ended counts.
    for (let last = receiveMessageOnPort(this.#port); last; last = receiveMessageOnPort(this.#port)) {
      this.#hear(last.message as Hello | Answer) // the worker says nothing else
    }
    this.#port.close()
    this.#ended.resolve()
    this.#owner.onEnd(this.#error ?? crashed('nobody said why'))
  }
}

function crashed(why: string, cause?: unknown): SignalboxError {
  return new SignalboxError('journal_failed', `the journal's worker thread ended: ${why}`, { cause })
}

/** Whether it came to its end before the patience did. */
export async function inTime(work: Promise<void>): Promise<boolean> {
  const end = new AbortController()
  const patience = later(closePatience, false, { signal: end.signal }).catch(() => false)
  try {
    return await Promise.race([work.then(() => true), patience])
  } finally {
    end.abort()
  }
}
