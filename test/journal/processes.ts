/** A journal and its dispatcher as a process has them, on a folder that another process may have had before. */
import { afterEach } from '@jest/globals'
import { EventEmitter, once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Log } from '../../src/asgi/context.ts'
import type { AttemptSettled, DeliveryOptions, NewRecord, StoredRecord } from '../../src/asgi/delivery.ts'
import { Dispatcher, type DispatcherParts } from '../../src/journal/dispatcher.ts'
import { Journal } from '../../src/journal/journal.ts'
import { journalOptions } from '../../src/journal/options.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { whenSettled } from '../../src/runtime/settled.ts'

const folders: string[] = []
const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** Done when the test is over: what was said last comes first. */
export function afterwards(close: () => Promise<unknown>): void {
  closers.push(close)
}

export function newFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'signalbox-dispatcher-'))
  folders.push(folder)
  return folder
}

export interface Process {
  readonly journal: Journal
  readonly dispatcher: Dispatcher
  accept(...records: readonly NewRecord[]): Promise<readonly number[]>
  /** Ends as a process does that is killed: nothing more is begun, and what runs never ends. */
  leave(): Promise<void>
}

interface StartOptions extends Partial<DispatcherParts['options']>, Pick<DispatcherParts, 'limits'> {
  /** What the one rule says now. */
  readonly rule?: DeliveryOptions
  readonly log?: Log
  /** Makes the attempts in the place of `deliver`. */
  readonly target?: (record: StoredRecord, settled: AttemptSettled) => void
}

export type Deliver = (record: StoredRecord) => Promise<void>

export async function start(folder: string, deliver: Deliver, options: StartOptions = {}): Promise<Process> {
  const { limits, rule, log = silentLog, target, ...attempts } = options
  const settings = { ...journalOptions.parse({}), backoff: 1, maxBackoff: 5, ...attempts }
  const journal = await Journal.open({ folder, ...settings }, silentLog)
  const dispatcher = new Dispatcher({
    journal,
    log,
    options: settings,
    ...(limits && { limits }),
    target: () => ({ deliver: target ?? ((stored, settled) => whenSettled(deliver(stored), settled)) }),
    resolve: () => ({ rules: [], params: {}, route: 'a.yaml:1', ...(rule && { delivery: rule }) }),
  })
  journal.watch(dispatcher)
  await dispatcher.prepare()
  await dispatcher.start()
  const leave = async () => {
    dispatcher.stop()
    await journal.close()
  }
  afterwards(leave)
  return {
    journal,
    dispatcher,
    leave,
    accept: async (...records) =>
      (await dispatcher.of('toy').accept(records)).map(({ id }) => id ?? fail('it was known before')),
  }
}

function fail(why: string): never {
  throw new Error(why)
}

export const record = (text: string, more: Partial<NewRecord> = {}): NewRecord => ({
  direction: 'in',
  scope: { type: 'toy', client: null, server: null },
  event: { type: 'toy.text', text } as NewRecord['event'],
  resolution: { params: {}, route: 'a.yaml:1' },
  ...more,
})
export const textOf = ({ event }: StoredRecord): string => String(Reflect.get(event, 'text'))

/** Attempts as they come; the test settles them. */
export class Attempts {
  readonly begun: { readonly record: StoredRecord; readonly end: PromiseWithResolvers<void> }[] = []
  readonly #news = new EventEmitter()

  readonly deliver: Deliver = (stored) => {
    const end = Promise.withResolvers<void>()
    this.begun.push({ record: stored, end })
    this.#news.emit('attempt')
    return end.promise
  }

  get texts(): readonly string[] {
    return this.begun.map(({ record: stored }) => textOf(stored))
  }

  async count(number: number): Promise<void> {
    while (this.begun.length < number) await once(this.#news, 'attempt')
  }
}

export const counts = async ({ journal }: Process) => {
  await journal.flush()
  const { accepted, handled, waiting, dead } = await journal.counts()
  return { accepted, handled, waiting, dead }
}
