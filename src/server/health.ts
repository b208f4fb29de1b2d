/** Whether the process is fit to be sent peers: where it is in its life, and what its parts say when they are asked. */
import type { ChannelLayer } from '../asgi/channel-layer.ts'
import type { Journal } from '../journal/journal.ts'

/** `degraded`: some of what it offers is missing, and peers are better here than nowhere. `failing`: send them elsewhere. */
export interface Finding {
  readonly status: 'degraded' | 'failing'
  /** A sentence. */
  readonly reason: string
}

/** Asked for each answer of `/ready`, so it is quick; undefined: all is well. */
export type ReadinessCheck = () => Finding | undefined

export type Phase = 'starting' | 'serving' | 'draining'

/** What `/ready` answers. */
export interface Readiness {
  readonly ready: boolean
  readonly phase: Phase
  readonly checks: Readonly<Record<string, 'ok' | Finding>>
  /** Why it is not ready, each as a sentence; empty when it is. */
  readonly reasons: readonly string[]
}

const unready: Readonly<Record<Phase, string | undefined>> = {
  starting: 'the gateway is starting',
  serving: undefined,
  draining: 'the gateway is closing: what is open may finish',
}

/** Local traffic goes on without Redis, so peers are better here than nowhere: the others have the same Redis. */
export function layerCheck(layer: ChannelLayer): ReadinessCheck {
  return () => {
    if (layer.stats().connected !== false) return undefined
    const reason =
      'Redis is away, or refuses what the log says: groups reach this process only, and named channels wait'
    return { status: 'degraded', reason }
  }
}

/** What cannot be stored cannot be promised: senders are told to come again, and are better off elsewhere. */
export function journalCheck(journal: Pick<Journal, 'healthy'>): ReadinessCheck {
  return () => {
    const problem = journal.healthy
    return problem && { status: 'failing', reason: problem.message }
  }
}

export class Health {
  phase: Phase = 'starting'
  readonly #checks = new Map<string, ReadinessCheck>()

  /** `name` is what `/ready` and the metrics call it. */
  register(name: string, check: ReadinessCheck): void {
    this.#checks.set(name, check)
  }

  readiness(): Readiness {
    const findings = Array.from(this.#checks, ([name, check]) => [name, check() ?? ('ok' as const)] as const)
    const failing = findings.flatMap(([name, finding]) =>
      finding !== 'ok' && finding.status === 'failing' ? [`${name}: ${finding.reason}`] : [],
    )
    const phase = unready[this.phase]
    const reasons = phase === undefined ? failing : [phase, ...failing]
    return { ready: reasons.length === 0, phase: this.phase, checks: Object.fromEntries(findings), reasons }
  }
}
