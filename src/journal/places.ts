/** Where records of one protocol stand: under which rule and in which lane, found once for those of one connection, or of one rule. */
import type { NewRecord } from '../asgi/delivery.ts'
import type { Placing } from './codec.ts'
import type { Rule } from './entry.ts'
import type { Turns } from './turns.ts'

export interface Place extends Placing {
  readonly rule: Rule
}

interface Asked extends Pick<NewRecord, 'direction' | 'scope'> {
  readonly lane?: string | undefined
}

interface Known {
  readonly asked: Asked
  readonly place: Place
}

export class Places {
  readonly #protocol: string
  readonly #turns: Pick<Turns, 'rule'>
  readonly #known = new WeakMap<object, Known>()

  constructor(protocol: string, turns: Pick<Turns, 'rule'>) {
    this.#protocol = protocol
    this.#turns = turns
  }

  find(record: NewRecord): Place {
    const { resolution } = record
    if (!resolution) return this.#find(record)
    const known = this.#known.get(resolution)
    if (known && areAlike(known.asked, record)) return known.place
    const { direction, scope, lane } = record
    const place = this.#find(record)
    this.#known.set(resolution, { asked: { direction, scope, lane }, place })
    return place
  }

  #find({ direction, resolution, scope, lane: said = '' }: NewRecord): Place {
    const protocol = this.#protocol
    const route = resolution?.route ?? ''
    const key = resolution?.delivery?.key
    const value: unknown = key === undefined ? undefined : (resolution?.params[key] ?? Reflect.get(scope, key))
    const lane = typeof value === 'string' ? `${route} ${value}` : said
    return {
      protocol,
      route,
      lane: lane && `${protocol} ${direction} ${lane}`,
      rule: this.#turns.rule(protocol, direction, route),
    }
  }
}

/** Of two with one resolution: what is in the scope matters only where the rule has a key. */
function areAlike(one: Asked, other: NewRecord): boolean {
  const isKeyed = other.resolution?.delivery?.key !== undefined
  return (!isKeyed || one.scope === other.scope) && one.lane === other.lane && one.direction === other.direction
}
