/** `/metrics`: what the parts of a gateway have counted, in the format of Prometheus. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AggregatorRegistry,
  Counter,
  Gauge,
  Registry,
  collectDefaultMetrics,
  type Aggregator,
  type Metric,
} from 'prom-client'
import type { LayerStats } from '../asgi/channel-layer.ts'
import { dropReasons } from '../layers/drops.ts'
import { timeBounds, type Tallies } from '../runtime/tally.ts'
import type { CountedJournal } from './counted-journal.ts'
import type { MetricsJson, MetricsText } from './figures.ts'
import type { Readiness } from './health.ts'
import { JournalMetrics } from './journal-metrics.ts'

/** Worker threads for blocking code, as the bridge counts them. */
export interface ThreadStats {
  readonly threads: number
  readonly queued: number
  readonly running: number
  readonly died: number
}

/** Whom `/metrics` asks, at each scrape and never before. */
export interface MetricSources {
  readonly tallies: Tallies
  readonly readiness: () => Readiness
  readonly connections: () => ReadonlyMap<string, number>
  readonly scopes: () => ReadonlyMap<string, number>
  readonly layer: () => LayerStats
  /** Undefined: no thread was ever asked for. */
  readonly threads?: (() => ThreadStats | undefined) | undefined
  readonly journal?: CountedJournal | undefined
}

/** How often the event loop's delay is measured, in milliseconds: it is part of every value. */
const resolution = 20
const quantiles = [0.5, 0.9, 0.99, 1]
const ruleLabels = ['protocol', 'rule'] as const

export class Metrics implements Disposable {
  /** Its own, so that two gateways in one process do not count each other's. */
  readonly #registry = new Registry()
  readonly #delay = monitorEventLoopDelay({ resolution })
  readonly #sources: MetricSources
  readonly #journal: JournalMetrics | undefined

  constructor(sources: MetricSources) {
    this.#sources = sources
    this.#delay.enable()
    collectDefaultMetrics({ register: this.#registry })
    this.#addEvents()
    this.#addOpen()
    this.#addLayer()
    this.#addProcess()
    if (sources.threads) this.#addThreads(sources.threads)
    if (sources.journal) this.#journal = new JournalMetrics(sources.journal, this.#registry)
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  async text(): Promise<string> {
    await this.#refresh()
    return await this.#registry.metrics()
  }

  /** For another process: see {@link together}. */
  async json(): Promise<MetricsJson> {
    await this.#refresh()
    return await this.#registry.getMetricsAsJSON()
  }

  /** Of a delay that was never measured the package says `NaN`, and 292 years for the least: the first scrape waits for it. */
  async #refresh(): Promise<void> {
    await this.#journal?.refresh()
    for (let tries = 0; this.#delay.count === 0 && tries < 10; tries++) await sleep(resolution)
  }

  [Symbol.dispose](): void {
    this.#delay.disable()
    this.#registry.clear()
  }

  #addEvents(): void {
    const { unrouted, refused, dropped } = this.#sources.tallies
    this.#perRule('signalbox_events_total', 'Events that came from peers and were given to a rule.', 'events')
    this.#perRule('signalbox_events_handled_total', 'Events that their application is done with.', 'handled')
    this.#perRule('signalbox_events_failed_total', 'Events that their application failed on.', 'failed')
    this.#perRule(
      'signalbox_events_interrupted_total',
      'Events whose application ended because its peer had left or the gateway was closing.',
      'interrupted',
    )
    this.#addTimes()
    this.#byProtocol(Counter, 'signalbox_unrouted_total', 'Addresses that no rule takes.', () => unrouted)
    const refusedHelp = 'Peers that were turned away, by the code of their protocol.'
    this.#byReason('signalbox_refused_total', refusedHelp, { label: 'code', counts: refused })
    const droppedHelp = 'Messages that were not kept for the peers they were for, by reason.'
    this.#byReason('signalbox_dropped_total', droppedHelp, { label: 'reason', counts: dropped })
  }

  #byReason(
    name: string,
    help: string,
    {
      label,
      counts,
    }: { readonly label: string; readonly counts: ReadonlyMap<string, ReadonlyMap<string | number, number>> },
  ): void {
    this.#registry.registerMetric(
      new Counter({
        name,
        help,
        labelNames: ['protocol', label],
        registers: [],
        collect() {
          this.reset()
          for (const [protocol, inner] of counts) {
            for (const [value, count] of inner) this.inc({ protocol, [label]: value }, count)
          }
        },
      }),
    )
  }

  #perRule(name: string, help: string, key: 'events' | 'handled' | 'failed' | 'interrupted'): void {
    const { tallies } = this.#sources
    this.#registry.registerMetric(
      new Counter({
        name,
        help,
        labelNames: ruleLabels,
        registers: [],
        collect() {
          this.reset()
          for (const [protocol, rule, tally] of tallies) this.inc({ protocol, rule }, tally[key])
        },
      }),
    )
  }

  /** A histogram of the package counts by itself, at 0.7 us an event: this one shows what was counted already. */
  #addTimes(): void {
    const { tallies } = this.#sources
    const name = 'signalbox_handler_seconds'
    const help = 'How long an application had an event in its hands; of a request that it did not read, the whole call.'
    const fixed = { name, help, type: 'histogram', aggregator: 'sum' }
    const get = () => Promise.resolve({ ...fixed, values: [...times(tallies, name)] })
    this.#registry.registerMetric({ name, get } as unknown as Metric) // the type has the package's own classes only
  }

  #addOpen(): void {
    const { connections, scopes } = this.#sources
    this.#byProtocol(
      Gauge,
      'signalbox_connections',
      'Peers that are connected now; http: requests under way.',
      connections,
    )
    this.#byProtocol(Gauge, 'signalbox_scopes', 'Scopes that are open now, each with its application.', scopes)
  }

  #byProtocol(
    Kind: typeof Counter | typeof Gauge,
    name: string,
    help: string,
    read: () => ReadonlyMap<string, number>,
  ): void {
    const metric: Counter | Gauge = new Kind({
      name,
      help,
      labelNames: ['protocol'],
      registers: [this.#registry],
      collect() {
        metric.reset()
        for (const [protocol, value] of read()) metric.inc({ protocol }, value)
      },
    })
  }

  #addLayer(): void {
    const { layer } = this.#sources
    this.#gauge('signalbox_layer_channels', 'Channels of the layer in this process.', () => layer().channels)
    this.#gauge('signalbox_layer_groups', 'Groups of the layer with members in this process.', () => layer().groups)
    const help = '1 while other processes can be reached through the layer, or there are none to reach; else 0.'
    this.#gauge('signalbox_layer_connected', help, () => (layer().connected === false ? 0 : 1), 'min')
    this.#registry.registerMetric(
      new Counter({
        name: 'signalbox_layer_dropped_total',
        help: 'Messages that the layer dropped, by reason.',
        labelNames: ['reason'],
        registers: [],
        collect() {
          this.reset()
          // From 0 on: the first drop is to be an increase.
          for (const why of dropReasons) this.inc({ reason: why }, 0)
          for (const [why, count] of Object.entries(layer().dropped)) this.inc({ reason: why }, count)
        },
      }),
    )
  }

  #addProcess(): void {
    const { readiness } = this.#sources
    this.#gauge(readyName, '1 while /ready answers 200, else 0.', () => (readiness().ready ? 1 : 0), 'first')
    this.#registry.registerMetric(
      new Gauge({
        name: 'signalbox_check',
        help: '1 while this check of /ready is ok, else 0.',
        labelNames: ['check'],
        registers: [],
        aggregator: 'min',
        collect() {
          for (const [check, finding] of Object.entries(readiness().checks))
            this.set({ check }, finding === 'ok' ? 1 : 0)
        },
      }),
    )
    const delay = this.#delay
    this.#registry.registerMetric(
      new Gauge({
        name: 'signalbox_event_loop_delay_seconds',
        help: 'How late the event loop was since the last scrape, by quantile; 1 is the worst.',
        labelNames: ['quantile'],
        registers: [],
        aggregator: 'max',
        collect() {
          for (const quantile of quantiles) {
            const nanoseconds = delay.count === 0 ? 0 : delay.percentile(quantile * 100)
            this.set({ quantile: String(quantile) }, Math.max(0, nanoseconds / 1e9 - resolution / 1000))
          }
          delay.reset()
        },
      }),
    )
  }

  #addThreads(threads: () => ThreadStats | undefined): void {
    const value = (key: keyof ThreadStats) => () => threads()?.[key] ?? 0
    this.#gauge('signalbox_threads', 'Worker threads for blocking code.', value('threads'))
    this.#gauge('signalbox_threads_running', 'What runs on worker threads.', value('running'))
    this.#gauge('signalbox_threads_queued', 'What waits for a worker thread.', value('queued'))
    this.#registry.registerMetric(
      new Counter({
        name: 'signalbox_threads_died_total',
        help: 'Worker threads that ended before their time.',
        registers: [],
        collect() {
          this.reset()
          this.inc(threads()?.died ?? 0)
        },
      }),
    )
  }

  /** `aggregator`: what several processes make of it. */
  #gauge(name: string, help: string, read: () => number, aggregator: Aggregator = 'sum'): void {
    this.#registry.registerMetric(
      new Gauge({
        name,
        help,
        registers: [],
        aggregator,
        collect() {
          this.set(read())
        },
      }),
    )
  }
}

const readyName = 'signalbox_ready'

/** The metrics of all processes of a gateway as those of one: sums, but for what says otherwise. */
export async function together(all: readonly MetricsJson[], ready: boolean): Promise<MetricsText> {
  const known = all.map((metrics) =>
    metrics.map((metric) =>
      metric.name === readyName ? { ...metric, values: [{ labels: {}, value: ready ? 1 : 0 }] } : metric,
    ),
  )
  const registry = AggregatorRegistry.aggregate(known)
  return { contentType: registry.contentType, text: await registry.metrics() }
}

interface Sample {
  readonly metricName: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

function* times(tallies: Tallies, name: string): Generator<Sample> {
  for (const [protocol, rule, tally] of tallies) {
    const labels = { protocol, rule }
    let count = 0
    for (const [index, bound] of [...timeBounds, '+Inf'].entries()) {
      count += tally.times[index] ?? 0
      yield { metricName: `${name}_bucket`, labels: { le: bound, ...labels }, value: count }
    }
    yield { metricName: `${name}_sum`, labels, value: tally.seconds }
    yield { metricName: `${name}_count`, labels, value: count }
  }
}
