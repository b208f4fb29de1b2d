/** What must not be lost, as the gateway has it: the journal, whoever delivers what is in it, and the dead letters. */
import { rm } from 'node:fs/promises'
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Log } from '../asgi/context.ts'
import type { AttemptSettled, DeliveryJournal, StoredRecord } from '../asgi/delivery.ts'
import type { Event, Protocol } from '../asgi/protocol.ts'
import { bury } from '../journal/bury.ts'
import { peerOf } from '../journal/codec.ts'
import type { AttemptOptions, Target } from '../journal/attempts.ts'
import { Dispatcher, type DispatcherParts } from '../journal/dispatcher.ts'
import { journalFolder, journalNumbers } from '../journal/folders.ts'
import { Journal } from '../journal/journal.ts'
import { journalOptions, type JournalOptions } from '../journal/options.ts'
import type { DeadLetter } from '../layers/limits.ts'
import { SignalboxError, hasCode, reason } from '../runtime/errors.ts'
import { once } from '../runtime/options.ts'
import { whenSettled } from '../runtime/settled.ts'
import { unrouted } from '../runtime/unrouted.ts'

interface Keeping {
  readonly listen: Readonly<Record<string, unknown>>
  readonly data: string
  readonly journal?: JournalOptions
  /** Which of several processes this is, from 1; each has a journal of its own. Default 1. */
  readonly process?: number
  /** How many there are. Default 1. */
  readonly processes?: number
}

/** A journal that a process left which is not there any more. */
export interface LeftJournal {
  readonly folder: string
  readonly journal: Journal
}

/**
 * The journal of a data folder. Undefined for what listens to nobody: it keeps nothing, and leaves the folder to the gateway beside it.
 * @throws SignalboxError `journal_locked`, `journal_failed`.
 */
export async function openJournal(
  { listen, data, journal, process: number = 1, processes = 1 }: Keeping,
  log: Log,
): Promise<Journal | undefined> {
  if (Object.keys(listen).length === 0) return undefined
  // What other processes left knows events too.
  const isAlone = processes === 1 && journalNumbers(data).length === 1
  const sibling = isAlone ? undefined : { data, number }
  return await Journal.open(
    { folder: journalFolder(data, number), sibling, ...journalOptions.parse({}, once), ...journal },
    log,
  )
}

/**
 * The journals of a data folder above the first `processes`: left by an earlier run with more. One that is empty is removed when
 * no event is known by it any more; one that is in use, or cannot be opened, is left to the next start.
 */
export async function openLeftJournals(
  { data, journal }: Omit<Keeping, 'listen'>,
  processes: number,
  log: Log,
): Promise<readonly LeftJournal[]> {
  const left: LeftJournal[] = []
  for (const number of journalNumbers(data)) {
    if (number <= processes) continue
    const folder = journalFolder(data, number)
    try {
      const settings = { ...journalOptions.parse({}, once), ...journal }
      const opened = await Journal.open({ folder, sibling: { data, number }, ...settings }, log)
      const { waiting, dead } = await opened.counts()
      if (waiting + dead === 0) {
        await opened.close()
        const { lastKnownAt } = await import('../journal/siblings.ts')
        const isForgotten = lastKnownAt(folder) <= Date.now() - settings.dedupeWindow
        if (isForgotten) await rm(folder, { recursive: true })
        continue
      }
      log.info({ folder, waiting, dead }, 'a process that is not there any more left a journal: it is taken up here')
      left.push({ folder, journal: opened })
    } catch (error) {
      const why = hasCode(error, 'journal_locked') ? 'is still in use' : 'cannot be taken up'
      log.warn({ err: error, folder }, `the journal of another process ${why}: it waits for the next start`)
    }
  }
  return left
}

export interface DeliveriesParts extends Pick<DispatcherParts, 'resolve'> {
  /** Undefined: a process that listens to nobody keeps nothing. */
  readonly journal: Journal | undefined
  /** What other processes left: delivered too, and nothing is added to it. */
  readonly left: readonly Journal[]
  readonly layer: ChannelLayer
  readonly log: Log
  readonly options: AttemptOptions
  /** The listener of a protocol. */
  listener(protocol: string): Target | undefined
}

export class Deliveries {
  readonly #parts: DeliveriesParts
  readonly #dispatcher: Dispatcher | undefined
  /** That one, and one for each journal that was left. */
  readonly #dispatchers: readonly Dispatcher[]

  constructor(parts: DeliveriesParts) {
    this.#parts = parts
    const { journal: own, left, log, options, resolve } = parts
    const target = (protocol: string) => (protocol === 'channel' ? this.#channel : parts.listener(protocol))
    const dispatch = (journal: Journal) => {
      const dispatcher = new Dispatcher({ journal, log, options, resolve, target })
      journal.watch(dispatcher)
      return dispatcher
    }
    this.#dispatcher = own && dispatch(own)
    this.#dispatchers = [...(this.#dispatcher ? [this.#dispatcher] : []), ...left.map(dispatch)]
  }

  /** Dead letters since the start. */
  get failed(): number {
    const { journal, left } = this.#parts
    return left.reduce((sum, { buried }) => sum + buried, journal?.buried ?? 0)
  }

  /** To be called before anything is accepted. */
  async prepare(): Promise<void> {
    await Promise.all(this.#dispatchers.map((dispatcher) => dispatcher.prepare()))
  }

  /** Takes up what an earlier process left. To be called when the listeners are there. */
  async start(): Promise<void> {
    await Promise.all(this.#dispatchers.map((dispatcher) => dispatcher.start()))
  }

  /** The journal as one protocol sees it. */
  of(protocol: string): DeliveryJournal {
    return this.#dispatcher?.of(protocol) ?? noJournal
  }

  /** An event that the application failed on, with nobody left to ask the sender again. */
  bury(scope: Protocol['scope'], event: Event, error: unknown): void {
    const { id, type, route, client } = scope
    const { journal, log } = this.#parts
    const about = { scope: id, protocol: type, route, client: client?.[0], peer: peerOf(scope) }
    const fields = { ...about, event: event.type, err: error }
    log.error(fields, `an event failed: ${reason(error)}`)
    if (!journal) return
    const record = { direction: 'in', scope: unrouted(scope), event } as const
    bury({ journal, log }, record, { placing: { protocol: type, route, lane: '' }, error })
  }

  /** Begins nothing more; what runs may finish. */
  stop(): void {
    for (const dispatcher of this.#dispatchers) dispatcher.stop()
  }

  /**
   * Resolves when nothing runs and all that is known is on disk; at the signal what still runs is told to end.
   * @throws SignalboxError `journal_failed` when the journal cannot be written until then.
   */
  async close(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#dispatchers.map((dispatcher) => dispatcher.close(signal)))
    const { journal, left } = this.#parts
    await Promise.all([...(journal ? [journal] : []), ...left].map((one) => flushed(one, signal)))
  }

  /** A dead letter of a named channel is sent there once more. */
  readonly #channel: Target = {
    deliver: ({ scope, event }: StoredRecord, settled: AttemptSettled) => {
      whenSettled(this.#parts.layer.send(String(Reflect.get(scope, 'channel')), event), settled)
    },
  }
}

/** What is about to be written when the time is up has this many milliseconds more. */
const lastWords = 1000

/**
 * Resolves when all notes are on disk.
 * @throws SignalboxError `journal_failed` when that cannot be until the signal: a disk may be full for days.
 */
export async function flushed(journal: Journal, signal: AbortSignal): Promise<void> {
  const late = Promise.withResolvers<void>()
  let timer: NodeJS.Timeout | undefined
  const giveUp = () => {
    const cause = journal.healthy
    const why = cause ? `: ${cause.message}` : ''
    const message = `what became of stored events cannot be written, so they are handled again at the next start${why}`
    late.reject(new SignalboxError('journal_failed', message, { cause }))
  }
  const abort = () => (timer = setTimeout(giveUp, lastWords))
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([journal.flush(), late.promise])
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', abort)
  }
}

const noJournal: DeliveryJournal = {
  accept: () => Promise.reject(new SignalboxError('journal_failed', 'this process has no journal')),
  put: (_, depositor) => {
    queueMicrotask(() => depositor.refused(new SignalboxError('journal_failed', 'this process has no journal')))
  },
  bury: () => undefined,
  attempted: () => Promise.resolve(),
}

/** Keeps a message of a named channel that no worker will try again. The layer has logged it. */
export function buryMessage(
  parts: { readonly journal: Journal; readonly log: Log },
  { channel, message, error }: DeadLetter,
): void {
  const scope = { type: 'channel', channel, client: null, server: null }
  const placing = { protocol: 'channel', route: '', lane: '' }
  bury(parts, { direction: 'in', scope, event: parsed(message) }, { placing, error })
}

/** What came may have been no message at all: then it is kept as the text that it was. */
function parsed(text: string): Event {
  try {
    return JSON.parse(text) as Event // shown to people, and checked by the layer when it is sent again
  } catch {
    return { type: 'channel.malformed', text } as Event
  }
}
