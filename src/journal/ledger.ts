/** The journal's counters: in memory while a transaction runs, on disk with its commit. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Direction } from '../asgi/delivery.ts'
import type { PlaceTally, Tally } from './messages.ts'

/** As many rules have counters of their own; beyond, those with nothing waiting or dead stand together. */
const placeLimit = 1000
const othersRoute = '(others)'

/** The states a record ends in. */
export type End = 'handled' | 'discarded' | 'expired'

/** A rule, and what became of its records. */
export class Place implements PlaceTally {
  readonly id: number
  readonly direction: Direction
  readonly protocol: string
  readonly route: string
  accepted = 0
  handled = 0
  waiting = 0
  dead = 0
  discarded = 0
  expired = 0
  dropped = 0

  constructor(id: number, direction: Direction, protocol: string, route: string) {
    this.id = id
    this.direction = direction
    this.protocol = protocol
    this.route = route
  }

  add(other: Tally): void {
    for (const name of tallies) this[name] += other[name]
  }
}

const tallies = ['accepted', 'handled', 'waiting', 'dead', 'discarded', 'expired', 'dropped'] as const

export class Ledger {
  lastId = 0
  lastBody = 0
  /** What the records take of `maxSize`. */
  bytes = 0
  /** What the keys take. */
  keyBytes = 0
  /** The number of the last notes that were written. */
  notes = 0
  readonly #places = new Map<number, Place>()
  readonly #byName = new Map<string, Place>()
  readonly #changed = new Set<Place>()
  readonly #database: DatabaseSync
  readonly #saveLedger: StatementSync
  readonly #savePlace: StatementSync
  readonly #removePlace: StatementSync

  constructor(database: DatabaseSync) {
    this.#database = database
    this.#saveLedger = database.prepare(
      'UPDATE ledger SET last_id = ?, last_body = ?, bytes = ?, key_bytes = ?, notes = ?',
    )
    this.#savePlace = database.prepare('INSERT OR REPLACE INTO places VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
    this.#removePlace = database.prepare('DELETE FROM places WHERE id = ?')
    this.load()
  }

  /** Takes what is on disk: at the start, and after a transaction that came to nothing. */
  load(): void {
    const ledger = this.#database.prepare('SELECT * FROM ledger').get() as Record<string, number> // one row, all integers
    const places = this.#database.prepare('SELECT * FROM places').all() as unknown as PlaceTally[] // as Place has them
    this.lastId = ledger['last_id'] ?? 0
    this.lastBody = ledger['last_body'] ?? 0
    this.bytes = ledger['bytes'] ?? 0
    this.keyBytes = ledger['key_bytes'] ?? 0
    this.notes = ledger['notes'] ?? 0
    this.#places.clear()
    this.#byName.clear()
    this.#changed.clear()
    for (const row of places) {
      const { id } = row as unknown as { id: number }
      this.#put(new Place(id, row.direction, row.protocol, row.route)).add(row)
    }
  }

  /** Writes what has changed, as part of the transaction. */
  save(): void {
    this.#saveLedger.run(this.lastId, this.lastBody, this.bytes, this.keyBytes, this.notes)
    for (const place of this.#changed) {
      const { id, direction, protocol, route } = place
      this.#savePlace.run(id, direction, protocol, route, ...tallies.map((name) => place[name]))
    }
    this.#changed.clear()
  }

  /** The place of this name, to be changed. */
  open(direction: Direction, protocol: string, route: string): Place {
    const place = this.#byName.get(nameOf(direction, protocol, route)) ?? this.#begin(direction, protocol, route)
    this.#changed.add(place)
    return place
  }

  /** A place that a record names, to be changed. */
  change(id: number): Place {
    const place = this.place(id)
    this.#changed.add(place)
    return place
  }

  place(id: number): Place {
    const place = this.#places.get(id)
    if (place) return place
    // Damage that quick_check does not see: the record is shown nevertheless, and can be handled.
    return this.#put(new Place(id, 'in', '(unknown)', `(unknown ${id})`))
  }

  places(): Iterable<Place> {
    return this.#places.values()
  }

  total(): Tally {
    const sum = new Place(0, 'in', '', '')
    for (const place of this.#places.values()) sum.add(place)
    return tallyOf(sum)
  }

  /** The busiest rules; the rest is in the total only. */
  busiest(): readonly PlaceTally[] {
    return [...this.#places.values()]
      .toSorted((a, b) => b.accepted - a.accepted)
      .slice(0, placeLimit)
      .map((place) => {
        const { direction, protocol, route } = place
        return { direction, protocol, route, ...tallyOf(place) }
      })
  }

  #put(place: Place): Place {
    this.#places.set(place.id, place)
    this.#byName.set(nameOf(place.direction, place.protocol, place.route), place)
    return place
  }

  #begin(direction: Direction, protocol: string, route: string): Place {
    if (this.#places.size >= placeLimit && route !== othersRoute) this.#fold()
    let last = 0
    for (const id of this.#places.keys()) last = Math.max(last, id)
    return this.#put(new Place(last + 1, direction, protocol, route))
  }

  /** Makes room: half of the rules that have no record now, the oldest, go into the others of their protocol. */
  #fold(): void {
    const idle = [...this.#places.values()].filter(
      ({ waiting, dead, route }) => waiting === 0 && dead === 0 && route !== othersRoute,
    )
    for (const place of idle.slice(0, Math.ceil(idle.length / 2))) {
      const { id, direction, protocol, route } = place
      this.open(direction, protocol, othersRoute).add(place)
      this.#places.delete(id)
      this.#byName.delete(nameOf(direction, protocol, route))
      this.#changed.delete(place)
      this.#removePlace.run(id)
    }
  }
}

function nameOf(direction: Direction, protocol: string, route: string): string {
  return `${direction} ${protocol} ${route}`
}

function tallyOf({ accepted, handled, waiting, dead, discarded, expired, dropped }: Tally): Tally {
  return { accepted, handled, waiting, dead, discarded, expired, dropped }
}
