/** The journal's numbers as metrics: asked once a scrape, so that they add up. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { CountedJournal, JournalCounts } from './counted-journal.ts'

const labelNames = ['protocol', 'rule', 'direction']
const counters = {
  accepted: 'Events that the journal has stored.',
  handled: 'Stored events that their application is done with.',
  discarded: 'Stored events that a person has taken out.',
  expired: 'Dead letters that became too old to keep.',
  dropped: 'Dead letters that were not stored, because there was no room.',
} as const

export class JournalMetrics {
  readonly #journal: CountedJournal
  #counts: JournalCounts = { bytes: 0, byProtocolAndRoute: [] }

  constructor(journal: CountedJournal, registry: Registry) {
    this.#journal = journal
    const counts = () => this.#counts
    registry.registerMetric(
      new Gauge({
        name: 'signalbox_journal_events',
        help: 'Stored events that wait for their next attempt or are dead letters, by state: waiting or dead.',
        labelNames: [...labelNames, 'state'],
        registers: [],
        collect() {
          this.reset()
          for (const { protocol, route: rule, direction, waiting, dead } of counts().byProtocolAndRoute) {
            this.inc({ protocol, rule, direction, state: 'waiting' }, waiting)
            this.inc({ protocol, rule, direction, state: 'dead' }, dead)
          }
        },
      }),
    )
    for (const [key, help] of Object.entries(counters)) this.#addCounter(key as keyof typeof counters, help, registry)
    registry.registerMetric(
      new Gauge({
        name: 'signalbox_journal_bytes',
        help: 'What the events in the journal take, as its maxSize counts them.',
        registers: [],
        collect() {
          this.set(counts().bytes)
        },
      }),
    )
  }

  /** Asks the journal; one that cannot be asked says so by `/ready`, and its numbers stay as they were. */
  async refresh(): Promise<void> {
    this.#counts = await this.#journal.counts().catch(() => this.#counts)
  }

  #addCounter(key: keyof typeof counters, help: string, registry: Registry): void {
    const counts = () => this.#counts
    registry.registerMetric(
      new Counter({
        name: `signalbox_journal_${key}_total`,
        help,
        labelNames,
        registers: [],
        collect() {
          this.reset()
          for (const tally of counts().byProtocolAndRoute) {
            const { protocol, route: rule, direction } = tally
            this.inc({ protocol, rule, direction }, tally[key])
          }
        },
      }),
    )
  }
}
