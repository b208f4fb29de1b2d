/** `signalbox explain`: which rule takes an address, and why each earlier one did not. */
import { Argument, type Command } from 'commander'
import type { Step } from '../asgi/protocol.ts'
import type { ProtocolDefinition } from '../asgi/definition.ts'
import type { Config } from '../config/config.ts'
import type { Registry } from '../config/registry.ts'
import { checkNamed } from '../layers/names.ts'
import { reason } from '../runtime/errors.ts'
import { configFile, configHelp, load, refuse } from './config-file.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'

export async function defineExplain(command: Command, parts: Parts, run: Run): Promise<void> {
  const kinds = addressed(await parts.loadRegistry())
  command
    .description('Says which rule of the YAML takes an address, and why each earlier one did not. Runs no handler.')
    .addArgument(new Argument('<protocol>', 'the protocol').choices(kinds.map(({ name }) => name)))
    .argument('<address>', 'a path, a topic, a recipient, a sender or a channel')
    .option('-c, --config <file>', configHelp)
    .addHelpText(
      'after',
      [
        '',
        'Exit code 0 when a rule takes it, 1 when none does.',
        '',
        'Examples:',
        '  npx signalbox explain http /chat/',
        '  npx signalbox explain mqtt sensors/kitchen/temperature',
        '  npx signalbox explain email bob@support.org',
        '  npx signalbox explain sms +14155550100',
        '  npx signalbox explain channel thumbnails',
      ].join('\n'),
    )
    .action((protocol: string, address: string, options: { config?: string }) => {
      const kind = kinds.find(({ name }) => name === protocol) as Addressed // one of the choices
      return run(explain(parts, { kind, address, config: options.config }))
    })
}

/** What has addresses that rules take. */
interface Addressed {
  readonly name: string
  sampleScope(address: string): ReturnType<ProtocolDefinition['sampleScope']>
  /** Why nothing would come from there, whatever the rules say; undefined when something would. */
  silent(config: Config, address: string): string | undefined
}

/** The protocols, and the channels that workers serve. */
function addressed({ definitions }: Registry): readonly Addressed[] {
  return [
    ...definitions.map((definition) => ({
      name: definition.name,
      sampleScope: (address: string) => definition.sampleScope(address),
      silent: ({ listen }: Config) =>
        definition.name in listen ? undefined : `nothing listens for ${definition.name}: it is not under listen`,
    })),
    {
      name: 'channel',
      sampleScope: (channel) => {
        checkNamed(channel)
        return { type: 'channel', client: null, server: null, channel }
      },
      silent: ({ workers }, address) =>
        workers.some(({ channel }) => channel === address)
          ? undefined
          : `the gateway does not serve ${address}: it is not under workers, but left to \`npx signalbox worker ${address}\``,
    },
  ]
}

interface Question {
  readonly kind: Addressed
  readonly address: string
  readonly config: string | undefined
}

async function explain(parts: Parts, { kind, address, config: named }: Question): Promise<ExitCode> {
  const { output } = parts
  let sample: ReturnType<ProtocolDefinition['sampleScope']>
  try {
    sample = kind.sampleScope(address)
  } catch (error) {
    output.error(reason(error))
    return exitCodes.usage
  }
  const loaded = await load(parts, named)
  const { config, diagnostics } = loaded
  if (!config) return refuse(parts, configFile(parts, named), diagnostics)
  const scope = { ...sample, id: 'explain', params: {}, route: '', state: { data: config.data } }
  const steps: Step[] = []
  const resolution = config.application.resolve?.(scope, (step) => steps.push(step))
  for (const line of table(steps)) output.out(line)
  const leaf = loaded.leafOf(resolution?.rules.at(-1) ?? steps)
  if (!resolution) {
    output.out(`no rule takes ${kind.name} ${address}`)
    return exitCodes.failed
  }
  const silent = kind.silent(config, address)
  if (silent !== undefined) output.error(silent)
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
