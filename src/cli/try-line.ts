/** The command that `serve` shows beside a listener: one that a rule of its YAML takes. */
import type { Example } from '../asgi/adapter.ts'
import type { ProtocolDefinition } from '../asgi/definition.ts'
import type { Config } from '../config/config.ts'
import { inside, protocolTypes, type Plan } from '../config/plan.ts'
import { shellWord } from '../runtime/shell-word.ts'

interface Asked {
  readonly definition: ProtocolDefinition
  readonly example: Example
  readonly plan: Plan | undefined
  readonly config: Pick<Config, 'application' | 'data'>
  /** The YAML, where a command of signalbox has to be told of it; empty: it finds it by itself. */
  readonly file: string
}

/** Undefined: no address comes to mind that a rule takes. */
export function tryLine({ definition, example, plan, config, file }: Asked): string | undefined {
  const branch = plan && protocolTypes(plan)?.branches.find(({ protocol }) => protocol === definition.name)
  const addresses = [example.address, ...(branch ? samplesIn(branch.app) : [])]
  const taken = addresses.find((address) => isTaken(definition, address, config))
  return taken === undefined ? undefined : example.command(taken, file && ` -c ${shellWord(file)}`)
}

function isTaken(definition: ProtocolDefinition, address: string, { application, data }: Asked['config']): boolean {
  if (!application.resolve) return true
  try {
    const scope = { ...definition.sampleScope(address), id: 'try', params: {}, route: '', state: { data } }
    return application.resolve(scope) !== undefined
  } catch {
    return false
  }
}

function samplesIn(plan: Plan): readonly string[] {
  if (plan.kind !== 'router') return inside(plan).flatMap(samplesIn)
  return plan.rules.flatMap(({ matcher }) => matcher.sample ?? [])
}
