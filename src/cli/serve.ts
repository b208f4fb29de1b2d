/** `signalbox serve`: runs the gateway until a signal ends it. */
import { Option, type Command } from 'commander'
import { configArgument, configFile, configHelp } from './config-file.ts'
import type { Greeted } from './greeting.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'
import { runAs } from './run-as.ts'
import type { Place } from './run-gateway.ts'

/** More would be a mistake in typing. */
const mostProcesses = 256

export function defineServe(command: Command, parts: Parts, run: Run): void {
  command
    .description(
      'Runs the gateway: prints where each protocol listens and one line to try each. The log goes to standard error.',
    )
    .argument(configArgument, configHelp)
    .option('--processes <n>', 'how many processes share the ports; more than one needs layer: redis for most', '1')
    .addOption(new Option('--process <n>', 'which of them this is').hideHelp())
    .addHelpText(
      'after',
      [
        '',
        'Signals: SIGTERM and SIGINT let open scopes finish. What is not done after drainTimeout (10s) is told to end, and cut',
        'after closeTimeout (5s) more. A second signal ends at once.',
        'SIGHUP reads the YAML again, and the handlers that have changed: new scopes follow the new routing, open ones keep',
        'theirs. Other settings change with the next start. With a mistake in a file everything stays as it was.',
        'Exit code 0 when everything came to its own end, 1 when something had to be cut.',
        '',
        'Examples:',
        '  npx signalbox serve',
        '  npx signalbox serve config/gateway.yaml',
        '  npx signalbox serve --processes 4',
      ].join('\n'),
    )
    .action((config: string | undefined, options: Options) => run(serve(parts, config, options)))
}

interface Options {
  readonly processes: string
  /** Set by the process that starts the others. */
  readonly process?: string
}

async function serve(parts: Parts, config: string | undefined, options: Options): Promise<ExitCode> {
  const count = numberIn(options.processes, mostProcesses)
  if (count === undefined) {
    const found = JSON.stringify(options.processes)
    parts.output.error(`--processes: found ${found}, expected a number from 1 to ${mostProcesses}`)
    return exitCodes.usage
  }
  if (options.process !== undefined) return await serveAsOne(parts, { config, count, number: options.process })
  if (count > 1) {
    const { serveProcesses } = await import('./serve-processes.ts')
    return await serveProcesses(parts, config, count)
  }
  const greet = await greeter(parts, config)
  return await runAs(parts, config, {
    take: (all) => all,
    serving: (gateway, settings, { plan }) => parts.output.out(greet({ gateway, config: settings, plan })),
  })
}

interface One {
  readonly config: string | undefined
  readonly count: number
  readonly number: string
}

/** One of several processes. */
async function serveAsOne(parts: Parts, { config, count, number: given }: One): Promise<ExitCode> {
  const [{ Primary }, { ofProcess }] = await Promise.all([import('./primary.ts'), import('./serve-processes.ts')])
  const number = numberIn(given, count)
  const primary = Primary.find()
  if (!primary || number === undefined) {
    parts.output.error('--process: found it on the command line, expected --processes alone, which starts them all')
    return exitCodes.usage
  }
  const place: Place = { number, count, primary }
  const greet = await greeter(parts, config)
  return await runAs(parts, config, {
    place,
    take: (all) => ofProcess(all, number),
    serving: (gateway, settings, { plan }) =>
      primary.tell({ kind: 'serving', greeting: greet({ gateway, config: settings, plan, processes: count }) }),
  })
}

type Greet = (served: Pick<Greeted, 'gateway' | 'config' | 'plan' | 'processes'>) => string

/** What whoever only asks for help does not load. */
async function greeter(parts: Parts, named: string | undefined): Promise<Greet> {
  const [{ definitions }, { greeting }] = await Promise.all([parts.loadRegistry(), import('./greeting.ts')])
  const file = configFile(parts, named)
  const told = file === configFile(parts, undefined) ? '' : file
  return (served) =>
    greeting({ ...served, title: `signalbox ${parts.version} serves ${file}`, file: told, definitions })
}

function numberIn(text: string, most: number): number | undefined {
  const number = /^[1-9]\d{0,3}$/.test(text) ? Number(text) : 0
  return number >= 1 && number <= most ? number : undefined
}
