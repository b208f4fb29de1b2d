/** `signalbox serve`: runs the gateway until a signal ends it. */
import { Option, type Command } from 'commander'
import type { Config } from '../config/config.ts'
import type { LoadResult } from '../config/load.ts'
import type { WorkerSettings } from '../config/workers.ts'
import type { Gateway } from '../server/gateway.ts'
import { configArgument, configFile, configHelp } from './config-file.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'
import type { Place, Role } from './run-gateway.ts'

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
        'Signals: SIGTERM and SIGINT let open scopes finish, for drainTimeout at most; a second one ends at once.',
        'SIGHUP reads the YAML again, and the handlers that have changed: new scopes follow the new routing, open ones keep',
        'theirs. Other settings change with the next start. With a mistake in a file everything stays as it was.',
        'Exit code 0 when everything came to its own end, 1 when something had to be cut.',
        '',
        'Examples:',
        '  signalbox serve',
        '  signalbox serve config/gateway.yaml',
        '  signalbox serve --processes 4',
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
  const file = configFile(parts, config)
  const title = {
    text: `signalbox ${parts.version} serves ${file}`,
    file: file === configFile(parts, undefined) ? '' : file,
  }
  if (options.process !== undefined) return await serveAsOne(parts, { config, title, count, number: options.process })
  if (count > 1) {
    const { serveProcesses } = await import('./serve-processes.ts')
    return await serveProcesses(parts, config, count)
  }
  const examples = await newExamples(parts)
  return await runAs(parts, config, {
    take: (all, loaded) => examples.take(all, loaded),
    serving: (gateway, settings) => parts.output.out(greeting({ ...title, examples }, gateway, settings)),
  })
}

interface Title {
  readonly text: string
  /** What the other commands have to be told; empty for the YAML that they find by themselves. */
  readonly file: string
}

interface One {
  readonly config: string | undefined
  readonly title: Title
  readonly count: number
  readonly number: string
}

/** Runs the gateway, which whoever only asks for help does not load. */
export async function runAs(parts: Parts, config: string | undefined, role: Role): Promise<ExitCode> {
  const { runGateway } = await import('./run-gateway.ts')
  return await runGateway(parts, config, role)
}

/** One of several processes. */
async function serveAsOne(parts: Parts, { config, title, count, number: given }: One): Promise<ExitCode> {
  const [{ Primary }, { ofProcess }] = await Promise.all([import('./primary.ts'), import('./serve-processes.ts')])
  const number = numberIn(given, count)
  const primary = Primary.find()
  if (!primary || number === undefined) {
    parts.output.error('--process: found it on the command line, expected --processes alone, which starts them all')
    return exitCodes.usage
  }
  const place: Place = { number, count, primary }
  const examples = await newExamples(parts)
  return await runAs(parts, config, {
    place,
    take: (all, loaded) => ofProcess(examples.take(all, loaded), number),
    serving: (gateway, settings) =>
      primary.tell({ kind: 'serving', greeting: greeting({ ...title, examples }, gateway, settings, count) }),
  })
}

/** What there is to try of a YAML. */
interface Examples {
  of(listener: Gateway['listeners'][number], config: Config): string | undefined
}

async function newExamples(parts: Parts): Promise<Examples & { take(config: Config, loaded: LoadResult): Config }> {
  const { definitions } = await parts.loadRegistry()
  const { tryLine } = await import('./try-line.ts')
  let plan: LoadResult['plan']
  return {
    take(config, loaded) {
      plan = loaded.plan
      return config
    },
    of({ name, example }, config) {
      const definition = definitions.find((each) => each.name === name)
      return definition && tryLine({ definition, example, plan, config })
    },
  }
}

function numberIn(text: string, most: number): number | undefined {
  const number = /^[1-9]\d{0,3}$/.test(text) ? Number(text) : 0
  return number >= 1 && number <= most ? number : undefined
}

interface Line {
  readonly name: string
  readonly text: string
  readonly example?: string | undefined
}

/** Where each protocol listens, and one line to try each that a rule takes. */
function greeting(
  { text: title, file, examples }: Title & { readonly examples: Examples },
  gateway: Gateway,
  config: Config,
  processes = 1,
): string {
  const { workers, data, admin } = config
  const further = admin?.address.port === 0 ? 'on a port of its own' : 'on the next port'
  const lines: readonly Line[] = [
    ...gateway.listeners.map((listener) => {
      const example = examples.of(listener, config)
      const needsFile = file !== '' && example?.startsWith('npx signalbox send ')
      const text = listener.urls.join('  ')
      return { name: listener.name, text, example: needsFile ? `${example} -c ${file}` : example }
    }),
    ...(gateway.adminUrl === undefined
      ? []
      : [
          {
            name: 'admin',
            text: processes === 1 ? gateway.adminUrl : `${gateway.adminUrl}  (process 1; each further one ${further})`,
            example: `npx signalbox stats --watch${file && ` ${file}`}`,
          },
        ]),
    ...(processes === 1 ? [] : [{ name: 'processes', text: String(processes) }]),
    ...(workers.length > 0 ? [{ name: 'workers', text: workersText(workers) }] : []),
    { name: 'data', text: data },
  ]
  const width = Math.max(...lines.map(({ name }) => name.length))
  const shown = lines.flatMap(({ name, text, example }) => [
    `  ${name.padEnd(width)}  ${text}`,
    ...(example === undefined ? [] : [`  ${' '.repeat(width)}  try: ${example}`]),
  ])
  return [title, ...shown].join('\n')
}

/** `thumbnails, mails (4 at once)` */
export function workersText(workers: readonly WorkerSettings[]): string {
  return workers
    .map(({ channel, concurrency }) => (concurrency === 1 ? channel : `${channel} (${concurrency} at once)`))
    .join(', ')
}
