/** What `serve` says when it runs: where each protocol listens, and one line to try each that a rule takes. */
import type { ProtocolDefinition } from '../asgi/definition.ts'
import type { Config } from '../config/config.ts'
import type { Plan } from '../config/plan.ts'
import { shellWord } from '../runtime/shell-word.ts'
import type { Gateway } from '../server/gateway.ts'
import { tryLine } from './try-line.ts'
import { workersText } from './workers-text.ts'

export interface Greeted {
  readonly title: string
  /** The YAML, where the other commands have to be told of it; empty for the one that they find by themselves. */
  readonly file: string
  readonly definitions: readonly ProtocolDefinition[]
  readonly gateway: Gateway
  readonly config: Config
  readonly plan: Plan | undefined
  /** How many there are. Default 1. */
  readonly processes?: number
}

interface Line {
  readonly name: string
  readonly text: string
  readonly example?: string | undefined
}

export function greeting(greeted: Greeted): string {
  const lines = linesOf(greeted)
  const width = Math.max(...lines.map(({ name }) => name.length))
  const shown = lines.flatMap(({ name, text, example }) => [
    `  ${name.padEnd(width)}  ${text}`,
    ...(example === undefined ? [] : [`  ${' '.repeat(width)}  try: ${example}`]),
  ])
  return [greeted.title, ...shown].join('\n')
}

function linesOf({ file, definitions, gateway, config, plan, processes = 1 }: Greeted): readonly Line[] {
  const { workers, data } = config
  return [
    ...gateway.listeners.map(({ name, urls, example }) => {
      const definition = definitions.find((each) => each.name === name)
      const tried = definition && tryLine({ definition, example, plan, config, file })
      return { name, text: urls.join('  '), example: tried }
    }),
    ...(gateway.adminUrl === undefined ? [] : [adminLine(gateway.adminUrl, { file, config, processes })]),
    ...(processes === 1 ? [] : [{ name: 'processes', text: String(processes) }]),
    ...(workers.length > 0 ? [{ name: 'workers', text: workersText(workers) }] : []),
    { name: 'data', text: data },
  ]
}

function adminLine(
  url: string,
  { file, config, processes }: Pick<Required<Greeted>, 'file' | 'config' | 'processes'>,
): Line {
  const further = config.admin?.address.port === 0 ? 'on a port of its own' : 'on the next port'
  return {
    name: 'admin',
    text: processes === 1 ? url : `${url}  (process 1; each further one ${further})`,
    example: `npx signalbox stats --watch${file && ` ${shellWord(file)}`}`,
  }
}
