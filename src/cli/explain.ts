/** `signalbox explain`: which rule takes an address, and why each earlier one did not. */
import { Argument, type Command } from 'commander'
import type { Step } from '../asgi/protocol.ts'
import type { ProtocolDefinition } from '../asgi/definition.ts'
import { reason } from '../runtime/errors.ts'
import { configFile, configHelp, load, refuse } from './config-file.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'

export function addExplain(program: Command, parts: Parts, run: Run): void {
  const { definitions } = parts.registry
  program
    .command('explain')
    .summary('say which rule takes an address')
    .description('Says which rule of the YAML takes an address, and why each earlier one did not. Runs no handler.')
    .addArgument(new Argument('<protocol>', 'the protocol').choices(definitions.map(({ name }) => name)))
    .argument('<address>', 'a path, a topic, a recipient or a sender')
    .option('-c, --config <file>', configHelp)
    .addHelpText(
      'after',
      [
        '',
        'Exit code 0 when a rule takes it, 1 when none does.',
        '',
        'Examples:',
        '  signalbox explain http /chat/',
        '  signalbox explain mqtt sensors/kitchen/temperature',
        '  signalbox explain email bob@support.org',
        '  signalbox explain sms +14155550100',
      ].join('\n'),
    )
    .action((protocol: string, address: string, options: { config?: string }) => {
      const definition = definitions.find(({ name }) => name === protocol) as ProtocolDefinition // one of the choices
      return run(explain(parts, { definition, address, config: options.config }))
    })
}

interface Question {
  readonly definition: ProtocolDefinition
  readonly address: string
  readonly config: string | undefined
}

async function explain(parts: Parts, { definition, address, config: named }: Question): Promise<ExitCode> {
  const { output } = parts
  let sample: ReturnType<ProtocolDefinition['sampleScope']>
  try {
    sample = definition.sampleScope(address)
  } catch (error) {
    output.error(reason(error))
    return exitCodes.usage
  }
  const loaded = await load(parts, named)
  const { config, diagnostics } = loaded
  if (!config) return refuse(parts, configFile(parts, named), diagnostics)
  if (!(definition.name in config.listen))
    output.error(`nothing listens for ${definition.name}: it is not under listen`)
  const scope = { ...sample, id: 'explain', params: {}, route: '', state: { data: config.data } }
  const steps: Step[] = []
  const resolution = config.application.resolve?.(scope, (step) => steps.push(step))
  for (const line of table(steps)) output.out(line)
  const leaf = loaded.leafOf(resolution?.rules.at(-1) ?? steps)
  if (!resolution) {
    output.out(`no rule takes ${definition.name} ${address}`)
    return exitCodes.failed
  }
  const captured = Object.entries(resolution.params).map(([name, value]) => `  ${name}=${JSON.stringify(value)}`)
  output.out(
    `${leaf?.route ?? ''}  ${leaf?.application ?? 'an application of its own'}${captured.join('')}`.trimStart(),
  )
  return exitCodes.ok
}

function table(steps: readonly Step[]): readonly string[] {
  const routes = Math.max(0, ...steps.map(({ route }) => route.length))
  const rules = Math.max(0, ...steps.map(({ rule }) => rule.length))
  return steps.map(
    ({ route, rule, matched, reason: why }) =>
      `  ${route.padEnd(routes)}  ${rule.padEnd(rules)}  ${matched ? 'yes' : 'no '}  ${why}`,
  )
}
