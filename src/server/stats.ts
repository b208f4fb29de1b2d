/** `/stats`: the metrics that a person looks at first, as JSON. */
import type { LayerStats } from '../asgi/channel-layer.ts'
import type { Tallies } from '../runtime/tally.ts'
import type { CountedJournal } from './counted-journal.ts'
import type { MetricSources } from './metrics.ts'

/** What was counted of one rule since the start, and what of it the journal keeps now. */
export interface RuleStats {
  readonly protocol: string
  /** `file:line`; empty outside of every rule. */
  readonly rule: string
  readonly events: number
  readonly handled: number
  readonly failed: number
  readonly interrupted: number
  readonly waiting: number
  readonly dead: number
}

/** Channels and groups of the channel layer, and whether other processes can be reached; absent: there are none to reach. */
export type LayerState = Omit<LayerStats, 'dropped'>

/** How many were dropped, by who dropped them, `layer` or a protocol, and by reason. */
export type Dropped = Readonly<Record<string, Readonly<Record<string, number>>>>

export interface Stats {
  readonly ready: boolean
  readonly reasons: readonly string[]
  /** How many processes have said what is counted here. */
  readonly processes: number
  /** Seconds since the process started; of several the one that started first. */
  readonly uptime: number
  readonly connections: Readonly<Record<string, number>>
  readonly scopes: Readonly<Record<string, number>>
  readonly unrouted: Readonly<Record<string, number>>
  readonly layer: LayerState
  readonly dropped: Dropped
  readonly rules: readonly RuleStats[]
}

type Sources = Pick<MetricSources, 'tallies' | 'readiness' | 'connections' | 'scopes' | 'layer' | 'journal'>

export async function statsOf(sources: Sources): Promise<Stats> {
  const { ready, reasons } = sources.readiness()
  const { dropped, ...layer } = sources.layer()
  return {
    ready,
    reasons,
    processes: 1,
    uptime: Math.round(process.uptime()),
    connections: Object.fromEntries(sources.connections()),
    scopes: Object.fromEntries(sources.scopes()),
    unrouted: Object.fromEntries(sources.tallies.unrouted),
    layer,
    dropped: { layer: dropped, ...droppedBy(sources.tallies) },
    rules: await rulesOf(sources),
  }
}

function droppedBy({ dropped }: Tallies): Dropped {
  return Object.fromEntries(Array.from(dropped, ([protocol, counts]) => [protocol, Object.fromEntries(counts)]))
}

const none = { events: 0, handled: 0, failed: 0, interrupted: 0, waiting: 0, dead: 0 }

async function rulesOf({ tallies, journal }: Sources): Promise<readonly RuleStats[]> {
  const rules = new Map<string, RuleStats>()
  for (const [protocol, rule, { events, handled, failed, interrupted }] of tallies) {
    rules.set(`${protocol} ${rule}`, { ...none, protocol, rule, events, handled, failed, interrupted })
  }
  for (const { protocol, route: rule, waiting, dead } of await kept(journal)) {
    const key = `${protocol} ${rule}`
    const known = rules.get(key) ?? { ...none, protocol, rule }
    rules.set(key, { ...known, waiting: known.waiting + waiting, dead: known.dead + dead })
  }
  return [...rules.values()]
}

/** A journal that cannot be asked says so by `/ready`. */
async function kept(journal: CountedJournal | undefined) {
  const counts = await journal?.counts().catch(() => undefined)
  return counts?.byProtocolAndRoute ?? []
}
