/** Opens the admin listener of a gateway, with everything that it can be asked. */
import { AdminListener, type AdminOptions } from './admin.ts'
import { healthPlaces, layerPlaces, metricsPlace, reloadPlace, statsPlace, type Place } from './admin-places.ts'
import type { Health } from './health.ts'
import type { MetricSources, Metrics } from './metrics.ts'
import type { GatewayParts } from './options.ts'
import { statsOf } from './stats.ts'

interface Asked {
  readonly health: Health
  readonly sources: Omit<MetricSources, 'readiness' | 'layer' | 'threads'>
  /** What other parts can be asked. */
  readonly places?: readonly Place[]
}

export interface Administration {
  readonly url: string
  close(signal: AbortSignal): Promise<void>
}

/** @throws SignalboxError `listen_failed`. */
export async function openAdministration(
  options: AdminOptions,
  { layer, log, reload, threads }: GatewayParts,
  { health, sources, places = [] }: Asked,
): Promise<Administration> {
  const readiness = () => health.readiness()
  const metrics = new LazyMetrics({ ...sources, readiness, layer: () => layer.stats(), threads })
  const stats = () => statsOf({ ...sources, readiness })
  const all = [
    ...healthPlaces(health),
    metricsPlace(() => metrics.text()),
    statsPlace(stats),
    ...(reload ? [reloadPlace(reload, health)] : []),
    ...layerPlaces(layer),
    ...places,
  ]
  const listener = await AdminListener.start(options, { places: all, log })
  return {
    url: listener.url,
    close: async (signal) => {
      await listener.close(signal)
      await metrics.close()
    },
  }
}

/** Everything is counted from the start; the package that shows it is for those who ask. */
class LazyMetrics {
  readonly #sources: MetricSources
  #metrics: Promise<Metrics> | undefined

  constructor(sources: MetricSources) {
    this.#sources = sources
  }

  async text(): Promise<{ readonly contentType: string; readonly text: string }> {
    this.#metrics ??= import('./metrics.ts').then(({ Metrics }) => new Metrics(this.#sources))
    const metrics = await this.#metrics
    return { contentType: metrics.contentType, text: await metrics.text() }
  }

  async close(): Promise<void> {
    const metrics = await this.#metrics
    metrics?.[Symbol.dispose]()
  }
}
