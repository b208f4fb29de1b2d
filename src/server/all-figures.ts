/** What all processes of a gateway say of themselves, as one: each is asked by the control socket beside its journal. */
import { journalFolder } from '../journal/folders.ts'
import { askControl } from './control-socket.ts'
import {
  figurePaths,
  type Family,
  type Figures,
  type MetricsJson,
  type MetricsText,
  type OwnFigures,
} from './figures.ts'
import type { Finding, Phase, Readiness } from './health.ts'
import type { Dropped, LayerState, RuleStats, Stats } from './stats.ts'

/** Milliseconds after which a process counts as one that does not answer: a probe waits for less than a scrape. */
const probePatience = 1000
const patience = 5000

/** An answer; undefined: the process does not answer. */
type Answers<T> = ReadonlyMap<number, T | undefined>

export class AllFigures implements Figures {
  readonly #own: OwnFigures
  readonly #family: Family
  /** What each has said last. */
  readonly #said = new Map<number, MetricsJson>()

  constructor(own: OwnFigures, family: Family) {
    this.#own = own
    this.#family = family
  }

  async readiness(): Promise<Readiness> {
    return readinessOf(await this.#all(figurePaths.readiness, () => this.#own.readiness(), probePatience))
  }

  async stats(): Promise<Stats> {
    const [readiness, all] = await Promise.all([
      this.readiness(),
      this.#all<Stats>(figurePaths.stats, () => this.#own.stats()),
    ])
    const { ready, reasons } = readiness
    return { ...statsOfAll(heard(all)), ready, reasons }
  }

  async metrics(): Promise<MetricsText> {
    const [{ ready }, all, { together }] = await Promise.all([
      this.readiness(),
      this.#all<MetricsJson>(figurePaths.metrics, () => this.#own.metricsJson()),
      import('./metrics.ts'),
    ])
    for (const [number, metrics] of all) if (metrics) this.#said.set(number, metrics)
    return await together(
      Array.from(all, ([number, metrics]) => metrics ?? this.#counted(number)),
      ready,
    )
  }

  /** What one has counted that does not answer now: a sum that falls and comes back would look like a restart. */
  #counted(number: number): MetricsJson {
    // The declared types are numbers, the real ones are words.
    return (this.#said.get(number) ?? []).filter(({ type }) => ['counter', 'histogram'].includes(String(type)))
  }

  async #all<T extends object>(path: string, own: () => Promise<T> | T, wait = patience): Promise<Answers<T>> {
    const { data, number, count } = this.#family
    const signal = AbortSignal.timeout(wait)
    const asked = Array.from({ length: count }, async (_, index) => {
      const other = index + 1
      if (other === number) return [other, await own()] as const
      // Whatever is the matter with it: it does not answer.
      const answer = await askControl<T>(journalFolder(data, other), path, { signal }).catch(() => undefined)
      return [other, answer] as const
    })
    return new Map(await Promise.all(asked))
  }
}

const heard = <T>(answers: Answers<T>): T[] => [...answers.values()].filter((answer) => answer !== undefined)

/**
 * Ready while one of them is, and none of those that take peers says that they should go elsewhere. One that is starting, or starts
 * again, takes none: the others do.
 */
function readinessOf(answers: Answers<Readiness>): Readiness {
  const all = [...answers].flatMap(([number, answer]) => (answer ? [{ number, answer }] : []))
  const phases = new Set<Phase>(all.map(({ answer }) => answer.phase))
  const phase = (['draining', 'serving'] as const).find((one) => phases.has(one)) ?? 'starting'
  const deciding = all.filter(({ answer }) => answer.phase === phase)
  const missing = [...answers].filter(([, answer]) => answer?.phase !== phase).map(([number]) => number)
  const checks: Record<string, 'ok' | Finding> = {}
  for (const { number, answer } of deciding) {
    for (const [name, finding] of Object.entries(answer.checks)) checks[name] = worse(checks[name], finding, number)
  }
  const names = missing.map((number) => `process ${number}`).join(', ')
  const away = { status: 'degraded', reason: `${names}: starting, or does not answer` } as const
  checks['processes'] = missing.length === 0 ? 'ok' : away
  const reasons = deciding.flatMap(({ number, answer }) =>
    answer.reasons.map((reason) => `process ${number}: ${reason}`),
  )
  return { ready: reasons.length === 0, phase, checks, reasons }
}

function worse(known: 'ok' | Finding | undefined, found: 'ok' | Finding, number: number): 'ok' | Finding {
  if (found === 'ok') return known ?? 'ok'
  const isWorse = known === undefined || known === 'ok' || (known.status === 'degraded' && found.status === 'failing')
  return isWorse ? { ...found, reason: `process ${number}: ${found.reason}` } : known
}

function statsOfAll(all: readonly Stats[]): Omit<Stats, 'ready' | 'reasons'> {
  const rules = new Map<string, RuleStats>()
  for (const rule of all.flatMap((stats) => stats.rules)) {
    const key = `${rule.protocol} ${rule.rule}`
    const known = rules.get(key)
    rules.set(key, known ? added(known, rule) : rule)
  }
  const summed = (key: 'connections' | 'scopes' | 'unrouted') => sumOf(all.map((stats) => stats[key]))
  return {
    processes: all.length,
    uptime: Math.max(...all.map(({ uptime }) => uptime)),
    connections: summed('connections'),
    scopes: summed('scopes'),
    unrouted: summed('unrouted'),
    layer: layerOfAll(all.map(({ layer }) => layer)),
    dropped: droppedByAll(all),
    rules: [...rules.values()],
  }
}

function layerOfAll(all: readonly LayerState[]): LayerState {
  const { channels = 0, groups = 0 } = sumOf(all.map(({ channels, groups }) => ({ channels, groups })))
  const reached = all.flatMap(({ connected }) => (connected === undefined ? [] : [connected]))
  return { channels, groups, ...(reached.length > 0 && { connected: reached.every(Boolean) }) }
}

function droppedByAll(all: readonly Stats[]): Dropped {
  const names = new Set(all.flatMap(({ dropped }) => Object.keys(dropped)))
  return Object.fromEntries(Array.from(names, (name) => [name, sumOf(all.map(({ dropped }) => dropped[name] ?? {}))]))
}

function added(
  { protocol, rule, ...one }: RuleStats,
  { protocol: _protocol, rule: _rule, ...other }: RuleStats,
): RuleStats {
  return { protocol, rule, ...one, ...sumOf([one, other]) }
}

function sumOf(all: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = {}
  for (const counts of all) for (const [key, count] of Object.entries(counts)) sum[key] = (sum[key] ?? 0) + count
  return sum
}
