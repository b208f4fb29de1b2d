/** What a gateway says of itself when it is asked: whether it is ready, its numbers, and its metrics. */
import type { MetricObjectWithValues, MetricValue } from 'prom-client'
import type { Connection } from '../asgi/adapter.ts'
import { Late } from '../runtime/late.ts'
import { ok, type Place } from './admin-places.ts'
import type { Readiness } from './health.ts'
import type { MetricSources, Metrics } from './metrics.ts'
import { statsOf, type Stats } from './stats.ts'

/** The processes of a gateway, as one of them has them. */
export interface Family {
  /** The data folder. */
  readonly data: string
  /** Which process this is, from 1, and how many there are. */
  readonly number: number
  readonly count: number
}

export interface MetricsText {
  readonly contentType: string
  readonly text: string
}
/** Metrics as the package hands them from one process to another. */
export type MetricsJson = readonly MetricObjectWithValues<MetricValue<string>>[]

export interface Figures {
  readiness(): Readiness | Promise<Readiness>
  stats(): Promise<Stats>
  metrics(): Promise<MetricsText>
}

/** Of this process. */
export class OwnFigures implements Figures {
  readonly #sources: MetricSources
  /** Everything is counted from the start; the package that shows it is for those who ask. */
  readonly #metrics: Late<Metrics>

  constructor(sources: MetricSources) {
    this.#sources = sources
    this.#metrics = new Late(async () => new (await import('./metrics.ts')).Metrics(sources))
  }

  readiness(): Readiness {
    return this.#sources.readiness()
  }

  stats(): Promise<Stats> {
    return statsOf(this.#sources)
  }

  async metrics(): Promise<MetricsText> {
    const metrics = await this.#metrics.get()
    return { contentType: metrics.contentType, text: await metrics.text() }
  }

  async metricsJson(): Promise<MetricsJson> {
    const metrics = await this.#metrics.get()
    return await metrics.json()
  }

  async close(): Promise<void> {
    const metrics = await this.#metrics.made
    metrics?.[Symbol.dispose]()
  }
}

/** How many are open of each protocol. */
export function scopesOf(instances: Iterable<Pick<Connection, 'scope'>>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const { scope } of instances) counts.set(scope.type, (counts.get(scope.type) ?? 0) + 1)
  return counts
}

/** Where the other processes of the gateway ask this one. */
export const figurePaths = { readiness: '/figures/readiness', stats: '/figures/stats', metrics: '/figures/metrics' }

export function figurePlaces(figures: OwnFigures): readonly Place[] {
  const place = (path: string, get: () => Promise<object> | object): Place => ({
    path: new RegExp(`^${path}$`),
    shown: path,
    get: async () => ok(await get()),
  })
  return [
    place(figurePaths.readiness, () => figures.readiness()),
    place(figurePaths.stats, () => figures.stats()),
    place(figurePaths.metrics, () => figures.metricsJson()),
  ]
}
