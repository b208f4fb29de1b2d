/** `signalbox serve`: runs the gateway until a signal ends it. */
import type { Command } from 'commander'
import type { Config } from '../config/config.ts'
import type { WorkerSettings } from '../config/workers.ts'
import type { Gateway } from '../server/gateway.ts'
import { configArgument, configFile, configHelp } from './config-file.ts'
import type { Parts, Run } from './parts.ts'
import { runGateway } from './run-gateway.ts'

export function addServe(program: Command, parts: Parts, run: Run): void {
  program
    .command('serve')
    .summary('run the gateway')
    .description(
      'Runs the gateway: prints where each protocol listens and one line to try each. The log goes to standard error.',
    )
    .argument(configArgument, configHelp)
    .addHelpText(
      'after',
      [
        '',
        'Signals: SIGTERM and SIGINT let open scopes finish, for drainTimeout at most; a second one ends at once.',
        'SIGHUP reads the YAML again: new scopes follow its new routing. Other settings, and the code of handlers that',
        'are loaded, change with the next start.',
        '',
        'Examples:',
        '  signalbox serve',
        '  signalbox serve config/gateway.yaml',
      ].join('\n'),
    )
    .action((config: string | undefined) => {
      const title = `signalbox ${parts.version} serves ${configFile(parts, config)}`
      return run(runGateway(parts, config, { take: (all) => all, greeting: (...it) => greeting(title, ...it) }))
    })
}

interface Line {
  readonly name: string
  readonly text: string
  readonly example?: string
}

/** Where each protocol listens, and one line to try each. */
function greeting(title: string, gateway: Gateway, { workers, data }: Config): string {
  const lines: readonly Line[] = [
    ...gateway.listeners.map(({ name, urls, example }) => ({ name, text: urls.join('  '), example })),
    ...(gateway.adminUrl === undefined ? [] : [{ name: 'admin', text: gateway.adminUrl, example: groupExample }]),
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

const groupExample = `signalbox group send chat '{"type":"chat.message","text":"hi"}'`

/** `thumbnails, mails (4 at once)` */
export function workersText(workers: readonly WorkerSettings[]): string {
  return workers
    .map(({ channel, concurrency }) => (concurrency === 1 ? channel : `${channel} (${concurrency} at once)`))
    .join(', ')
}
