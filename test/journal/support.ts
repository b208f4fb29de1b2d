/** What the tests of the journal share: records, temporary folders, and a log that can be read. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino } from 'pino'
import { Journal, type JournalSettings } from '../../src/journal/journal.ts'
import type { EncodedRecord } from '../../src/journal/messages.ts'

export const day = 86_400_000

/** A folder that is gone when the test is over. */
export class Folder implements Disposable {
  readonly path: string

  constructor() {
    this.path = mkdtempSync(path.join(tmpdir(), 'signalbox-journal-'))
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}

/** A log whose lines can be read. */
export function readableLog() {
  const lines: { readonly level: number; readonly msg: string; readonly [field: string]: unknown }[] = []
  return { log: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }), lines }
}

export function settings(folder: string, options: Partial<JournalSettings> = {}): JournalSettings {
  return { folder, maxSize: 2 ** 30, deadLetterAge: 30 * day, dedupeWindow: day, ...options }
}

export function openJournal(folder: string, options: Partial<JournalSettings> = {}, log = readableLog().log) {
  return Journal.open(settings(folder, options), log)
}

export function record(options: Partial<EncodedRecord> = {}): EncodedRecord {
  return {
    direction: 'in',
    protocol: 'mqtt',
    route: 'gateway.yaml:3',
    lane: 'a',
    mayRepeat: true,
    scope: Buffer.from('scope'),
    event: Buffer.from('event'),
    peer: '127.0.0.1:4000',
    ...options,
  }
}

/** What a promise rejects with, which is an error. */
export async function rejection(promise: Promise<unknown>): Promise<Error & { readonly code?: unknown }> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (Error.isError(error)) return error
  throw new Error('it did not reject with an error')
}

/** Accepts records of the names; answers their ids. */
export async function accept(journal: Journal, ...names: string[]): Promise<number[]> {
  const accepted = await journal.accept(names.map((name) => record({ event: Buffer.from(name) })))
  return accepted.map(({ id }) => id ?? 0)
}

/** The events that wait, in order. */
export async function eventsOf(journal: Journal): Promise<string[]> {
  const rows = await journal.waiting(0, 100_000)
  const loaded = await journal.load(rows.map(({ id }) => id))
  return loaded.map(({ event }) => Buffer.from(event).toString())
}

/** Resolves when the log has such a line. */
export async function logged(lines: readonly { readonly msg: string }[], pattern: RegExp): Promise<void> {
  while (!lines.some(({ msg }) => pattern.test(msg))) await new Promise((resolve) => void setTimeout(resolve, 5))
}
