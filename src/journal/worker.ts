/** Where the journal's thread begins: it owns the file, and answers what the main thread tells and asks. */
import { flushCompileCache } from 'node:module'
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { failureOf } from './failure.ts'
import { openFile } from './file.ts'
import { commitGroup, type Committed } from './group.ts'
import type { Answer, Ask, Batch, Failure, Hello, ListedRecord, Reply, Start, WaitingRow } from './messages.ts'
import { Reader } from './reader.ts'
import { JournalStore } from './store.ts'
import { type Steps, discard, retry, sweep } from './work.ts'

/** Milliseconds between two looks for what is too old. */
const sweepInterval = 60_000

interface Job {
  readonly steps: Steps | Generator<undefined, readonly ListedRecord[]>
  /** Who asked; nobody for a sweep. */
  readonly number: number | undefined
}

class Desk {
  readonly #port: MessagePort
  readonly #store: JournalStore
  readonly #reader: Reader
  readonly #jobs: Job[] = []
  #replies: Reply[] = []
  #transfer: ArrayBuffer[] = []
  #retried: WaitingRow[] = []
  #discarded: number[] = []
  #scheduled = false

  constructor(port: MessagePort, store: JournalStore) {
    this.#port = port
    this.#store = store
    this.#reader = new Reader(store)
    port.on('message', (batch: Batch) => this.#work(batch))
    setInterval(() => this.#sweep(), sweepInterval).unref()
    this.#sweep()
  }

  /** One round: everything that has come is committed together, then one step of what takes longer. */
  #work(first?: Batch): void {
    const batches = first ? [first] : []
    for (let next = receiveMessageOnPort(this.#port); next; next = receiveMessageOnPort(this.#port)) {
      batches.push(next.message as Batch)
    }
    const committed = commitGroup(this.#store, batches)
    for (const { asks = [] } of batches) for (const { number, ask } of asks) this.#take(number, ask)
    const closing = batches.some(({ close }) => close)
    if (closing) this.#close()
    else this.#step()
    this.#answer(committed, batches.length)
    if (closing) this.#port.close()
    else if (this.#jobs.length > 0) this.#schedule()
  }

  #answer(committed: Committed | undefined, batches: number): void {
    const told = [this.#replies, this.#retried, this.#discarded].some((list) => list.length > 0)
    if (batches === 0 && !told) return
    const { lastId, bytes } = this.#store.ledger
    const answer: Answer = {
      batches,
      outcomes: [],
      ...committed,
      lastId,
      bytes,
      ...(this.#replies.length > 0 && { replies: this.#replies }),
      ...(this.#retried.length > 0 && { retried: this.#retried }),
      ...(this.#discarded.length > 0 && { discarded: this.#discarded }),
    }
    const transfer = this.#transfer
    this.#replies = []
    this.#retried = []
    this.#discarded = []
    this.#transfer = []
    this.#port.postMessage(answer, transfer)
  }

  #take(number: number, ask: Ask): void {
    const job = this.#jobOf(ask)
    if (job) this.#jobs.push({ steps: job, number })
    else this.#reply(number, () => this.#read(ask))
  }

  #jobOf(ask: Ask): Job['steps'] | undefined {
    if (ask.kind === 'list') return this.#reader.list(ask.filter)
    if (ask.kind === 'retry') return retry(this.#store, this.#reader, ask.selection)
    if (ask.kind === 'discard') return discard(this.#store, this.#reader, ask.selection)
    return undefined
  }

  #read(ask: Ask): unknown {
    if (ask.kind === 'waiting') return this.#reader.waiting(ask.after, ask.limit)
    if (ask.kind === 'rows') return this.#reader.waitingOf(ask.ids)
    if (ask.kind === 'show') return this.#reader.show(ask.id)
    if (ask.kind !== 'load') return this.#reader.counts()
    const records = this.#reader.load(ask.ids)
    for (const { scope, event, body } of records) {
      for (const { buffer } of body ? [scope, event, body] : [scope, event]) {
        // SQLite's binding makes one for each value.
        this.#transfer.push(buffer as ArrayBuffer)
      }
    }
    return records
  }

  #reply(number: number | undefined, work: () => unknown): void {
    let reply: { readonly value: unknown } | { readonly failure: Failure }
    try {
      reply = { value: work() }
    } catch (error) {
      reply = { failure: failureOf(error) }
    }
    if (number !== undefined) this.#replies.push({ number, ...reply })
  }

  /** One step of one of them, in turns. */
  #step(): void {
    const job = this.#jobs.shift()
    if (!job) return
    try {
      const { done, value } = job.steps.next()
      if (done) return this.#reply(job.number, () => value)
      this.#jobs.push(job)
      if (value?.retried) this.#retried.push(...value.retried)
      if (value?.discarded) this.#discarded.push(...value.discarded)
    } catch (error) {
      this.#reply(job.number, () => {
        throw error
      })
    }
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#work()
    })
  }

  #sweep(): void {
    if (this.#jobs.some(({ number }) => number === undefined)) return
    this.#jobs.push({ steps: sweep(this.#store), number: undefined })
    this.#schedule()
  }

  #close(): void {
    for (const { number } of this.#jobs.splice(0)) {
      this.#reply(number, () => {
        throw new Error('it is closing')
      })
    }
    try {
      this.#store.database.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } finally {
      this.#store.siblings?.close()
      this.#store.database.close()
    }
  }
}

await begin(workerData as { readonly port: MessagePort; readonly start: Start }) // as thread.ts starts it

async function begin({ port, start }: { readonly port: MessagePort; readonly start: Start }): Promise<void> {
  try {
    const { database, damaged } = openFile(start.folder)
    const { answered, limits, sibling } = start
    // Most journals have none.
    const siblings = sibling && new (await import('./siblings.ts')).Siblings(sibling, limits)
    const store = new JournalStore(database, limits, siblings)
    const isAgain = answered !== undefined && !damaged
    const left = isAgain ? store.write(() => store.unmake(answered)) : []
    const kept = left.length > 0 ? new Reader(store).waitingOf(left) : []
    const { notes, lastId } = store.ledger
    port.postMessage({ kind: 'ready', notes, lastId, damaged, ...(kept.length > 0 && { kept }) } satisfies Hello)
    // Only now: what comes is for a journal that is open.
    const desk = new Desk(port, store)
    void desk
    // As the main thread does: for the next start, when this process comes to no good end.
    flushCompileCache()
  } catch (error) {
    port.postMessage({ kind: 'failed', failure: failureOf(error) } satisfies Hello)
    port.close()
  }
}
