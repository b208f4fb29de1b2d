/** `signalbox routes`: the routing tree, each rule with its line. */
import type { Command } from 'commander'
import type { Plan } from '../config/plan.ts'
import { configArgument, configFile, configHelp, read, refuse, tell } from './config-file.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'

export function defineRoutes(command: Command, parts: Parts, run: Run): void {
  command
    .description('Shows which rule leads where, in the order in which they are asked, each with its line in the YAML.')
    .argument(configArgument, configHelp)
    .addHelpText('after', '\nExamples:\n  npx signalbox routes\n  npx signalbox routes config/gateway.yaml')
    .action((config: string | undefined) => run(routes(parts, config)))
}

async function routes(parts: Parts, config: string | undefined): Promise<ExitCode> {
  const { diagnostics, plan, settings } = await read(parts, config)
  if (!plan || !settings) return refuse(parts, configFile(parts, config), diagnostics)
  tell(parts, diagnostics)
  const lines = [...treeOf({ text: 'application', plan, route: plan.route }, '', '')]
  const width = Math.max(...lines.map(({ text }) => text.length))
  for (const { text, route } of lines) parts.output.out(`${text.padEnd(width)}  ${route}`)
  return exitCodes.ok
}

interface Line {
  readonly text: string
  readonly route: string
}
interface Part extends Line {
  readonly plan: Plan
}

function* treeOf({ text, plan, route }: Part, first: string, rest: string): Generator<Line> {
  yield { text: `${first}${text} ${headOf(plan)}`, route }
  const parts = partsOf(plan)
  for (const [index, part] of parts.entries()) {
    const last = index === parts.length - 1
    yield* treeOf(part, `${rest}${last ? '└─ ' : '├─ '}`, `${rest}${last ? '   ' : '│  '}`)
  }
}

/** What stands behind the arrow. */
function headOf(plan: Plan): string {
  switch (plan.kind) {
    case 'reference':
      return `-> ${plan.text}`
    case 'protocols':
      return '-> ProtocolTypeRouter'
    case 'router':
    case 'middleware':
      return `-> ${plan.definition.name}`
    case 'userRouter':
    case 'userMiddleware':
      return `-> ${plan.reference.text}`
    default:
      return plan satisfies never
  }
}

function partsOf(plan: Plan): readonly Part[] {
  switch (plan.kind) {
    case 'reference':
      return []
    case 'protocols':
      return plan.branches.map(({ protocol, app, route }) => ({ text: protocol, plan: app, route }))
    case 'router':
      return plan.rules.map(({ matcher, app, route }) => ({ text: matcher.text, plan: app, route }))
    case 'userRouter':
      return plan.rules.map(({ settings, app, route }) => ({ text: JSON.stringify(settings), plan: app, route }))
    case 'middleware':
    case 'userMiddleware':
      return [{ text: 'app', plan: plan.app, route: plan.app.route }]
    default:
      return plan satisfies never
  }
}
