/** A real journal with its dispatcher, opened when the first record comes: most tests store nothing. */
import type { Log } from '../../src/asgi/context.ts'
import type { Accepted, DeliveryJournal, Depositor, NewRecord } from '../../src/asgi/delivery.ts'
import { Dispatcher, type DispatcherParts } from '../../src/journal/dispatcher.ts'
import { Journal } from '../../src/journal/journal.ts'
import type { Counts } from '../../src/journal/messages.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { deadIn, type Letter } from './letters.ts'

export class LazyJournal implements DeliveryJournal {
  readonly #folder: string
  readonly #log: Log
  readonly #parts: Pick<DispatcherParts, 'resolve' | 'target'>
  #opened: Promise<{ readonly journal: Journal; readonly dispatcher: Dispatcher }> | undefined

  #journal: Journal | undefined

  constructor(folder: string, log: Log, parts: Pick<DispatcherParts, 'resolve' | 'target'>) {
    this.#folder = folder
    this.#log = log
    this.#parts = parts
  }

  async accept(records: readonly NewRecord[]): Promise<readonly Accepted[]> {
    this.#opened ??= this.#open()
    const { dispatcher } = await this.#opened
    return await dispatcher.of('test').accept(records)
  }

  put(record: NewRecord, depositor: Depositor): void {
    this.#opened ??= this.#open()
    const refused = (error: unknown) => depositor.refused(error)
    void this.#opened.then(({ dispatcher }) => dispatcher.of('test').put(record, depositor), refused)
  }

  bury(record: NewRecord, error: unknown): void {
    this.#opened ??= this.#open()
    void this.#opened.then(({ dispatcher }) => dispatcher.of('test').bury(record, error))
  }

  async attempted(id: number): Promise<void> {
    const opened = await this.#opened
    await opened?.dispatcher.of('test').attempted(id)
  }

  /** Resolves with the dead letters when there are so many. */
  async dead(count: number): Promise<readonly Letter[]> {
    this.#opened ??= this.#open()
    const { journal } = await this.#opened
    while ((await journal.counts()).dead < count) await journal.flush()
    return await deadIn(journal)
  }

  /** Resolves when nothing waits: what was stored is handled, or dead. */
  async idle(): Promise<void> {
    if (!this.#opened) return
    const { journal } = await this.#opened
    while ((await journal.counts()).waiting > 0) await journal.flush()
  }

  /** Why it cannot be written now. */
  get problem(): Error | undefined {
    return this.#journal?.healthy
  }

  async counts(): Promise<Counts> {
    this.#opened ??= this.#open()
    const { journal } = await this.#opened
    await journal.flush()
    return await journal.counts()
  }

  /** Has dead letters tried again. */
  async retry(): Promise<void> {
    const opened = await this.#opened
    await opened?.journal.retry({ state: 'dead' })
  }

  /** As a process ends that is killed: nothing more is begun. */
  async stop(): Promise<void> {
    const opened = await this.#opened
    opened?.dispatcher.stop()
    await opened?.journal.close()
    this.#opened = undefined
  }

  async close(): Promise<void> {
    const opened = await this.#opened
    await opened?.dispatcher.close(AbortSignal.abort())
    await opened?.journal.close()
  }

  async #open() {
    // A retry that a test waits for comes at once.
    const options = { ...journalOptions.parse({}), backoff: 10 }
    const journal = await Journal.open({ folder: this.#folder, ...options }, this.#log)
    const dispatcher = new Dispatcher({ journal, log: this.#log, options, ...this.#parts })
    this.#journal = journal
    journal.watch(dispatcher)
    await dispatcher.prepare()
    await dispatcher.start()
    return { journal, dispatcher }
  }
}
