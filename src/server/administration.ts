/** Everything that a running gateway can be asked. Loaded when the first question comes. */
import type { Connection, Listener } from '../asgi/adapter.ts'
import type { Journal } from '../journal/journal.ts'
import type { Tallies } from '../runtime/tally.ts'
import { healthPlaces, layerPlaces, metricsPlace, reloadPlace, statsPlace, type Place } from './admin-places.ts'
import { AllFigures } from './all-figures.ts'
import { AllJournalsDesk } from './all-journals.ts'
import { countedTogether } from './counted-journal.ts'
import { OwnFigures, figurePlaces, scopesOf, type Family } from './figures.ts'
import type { Health } from './health.ts'
import { JournalDesk } from './journal-desk.ts'
import { journalPlaces } from './journal-places.ts'
import type { GatewayParts } from './options.ts'

interface Asked {
  readonly parts: GatewayParts
  readonly family: Family
  /** Undefined: this process keeps none. */
  readonly journal: Journal | undefined
  readonly health: Health
  readonly tallies: Tallies
  /** What is open. */
  readonly instances: Iterable<Pick<Connection, 'scope'>>
  /** What is served; while the gateway starts, nothing is. */
  readonly listeners: () => readonly (Listener & { readonly name: string })[]
}

export class Administration {
  readonly #asked: Asked
  readonly #figures: OwnFigures
  readonly #desk: JournalDesk | undefined

  constructor(asked: Asked) {
    const { parts, journal, health, tallies, instances, listeners } = asked
    const journals = [journal, ...(parts.left ?? []).map((left) => left.journal)]
    this.#asked = asked
    this.#desk = journal && new JournalDesk(journal, parts.definitions)
    this.#figures = new OwnFigures({
      tallies,
      connections: () => new Map(listeners().map(({ name, connections }) => [name, connections])),
      scopes: () => scopesOf(instances),
      readiness: () => health.readiness(),
      layer: () => parts.layer.stats(),
      journal: countedTogether(journals.filter((one) => one !== undefined)),
      threads: parts.threads,
    })
  }

  /** By whoever owns the data folder, and by the other processes of the gateway. */
  controlPlaces(): readonly Place[] {
    return [...(this.#desk ? journalPlaces(this.#desk) : []), ...figurePlaces(this.#figures)]
  }

  /** By whoever reaches the admin listener. */
  adminPlaces(): readonly Place[] {
    const { health, family, parts } = this.#asked
    const { layer, reload, left = [] } = parts
    const figures = family.count > 1 ? new AllFigures(this.#figures, family) : this.#figures
    const isAlone = family.count === 1 && left.length === 0
    const desk = this.#desk && !isAlone ? new AllJournalsDesk(this.#desk, family) : this.#desk
    return [
      ...healthPlaces(figures),
      metricsPlace(() => figures.metrics()),
      statsPlace(() => figures.stats()),
      ...(reload ? [reloadPlace(reload, health)] : []),
      ...layerPlaces(layer),
      ...(desk ? journalPlaces(desk) : []),
    ]
  }

  async close(): Promise<void> {
    await this.#figures.close()
  }
}

/** What can be asked of a journal that another process left. */
export function leftPlaces(journal: Journal, { definitions }: GatewayParts): readonly Place[] {
  return journalPlaces(new JournalDesk(journal, definitions))
}
