/** Opens the admin listener of a gateway, with everything that it can be asked. */
import { AdminListener, type AdminOptions } from './admin.ts'
import { healthPlaces, layerPlaces, metricsPlace, reloadPlace, statsPlace, type Place } from './admin-places.ts'
import type { Figures } from './figures.ts'
import type { Health } from './health.ts'
import type { GatewayParts } from './options.ts'

interface Asked {
  readonly health: Health
  readonly figures: Figures
  /** What other parts can be asked. */
  readonly places?: readonly Place[]
}

/** @throws SignalboxError `listen_failed`. */
export async function openAdministration(
  options: AdminOptions,
  { layer, log, reload }: GatewayParts,
  { health, figures, places = [] }: Asked,
): Promise<AdminListener> {
  const all = [
    ...healthPlaces(figures),
    metricsPlace(() => figures.metrics()),
    statsPlace(() => figures.stats()),
    ...(reload ? [reloadPlace(reload, health)] : []),
    ...layerPlaces(layer),
    ...places,
  ]
  return await AdminListener.start(options, { places: all, log })
}
