/** `signalbox serve`: runs the gateway until a signal ends it. */
import type { Command } from 'commander'
import { MemoryLayer } from '../layers/memory.ts'
import { reason } from '../runtime/errors.ts'
import { createLog } from '../runtime/log.ts'
import { Gateway, type ServedProtocol } from '../server/gateway.ts'
import { configArgument, configFile, configHelp, load, refuse, tell } from './config-file.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'
import { Reloadable } from './reloadable.ts'
import { EndingSignals } from './signals.ts'

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
    .action((config: string | undefined) => run(serve(parts, config)))
}

async function serve(parts: Parts, named: string | undefined): Promise<ExitCode> {
  using signals = new EndingSignals()
  return await Promise.race([untilEnd(parts, named, signals), signals.forced.then(() => exitCodes.failed)])
}

async function untilEnd(parts: Parts, named: string | undefined, signals: EndingSignals): Promise<ExitCode> {
  const { output, registry, version } = parts
  const file = configFile(parts, named)
  const { config, diagnostics } = await load(parts, named)
  if (!config) return refuse(parts, file, diagnostics)
  tell(parts, diagnostics)
  const log = await createLog({ level: config.log.level, pretty: parts.pretty })
  signals.surviveErrors(log)
  const reloadable = new Reloadable(config, log)
  let gateway: Gateway
  try {
    const options = { ...config, application: reloadable.application }
    gateway = await Gateway.start(options, { definitions: registry.definitions, layer: new MemoryLayer(), log })
  } catch (error) {
    output.error(`the gateway does not start: ${reason(error)}`)
    return exitCodes.failed
  }
  signals.onReload(async () => reloadable.replace(await load(parts, named)))
  output.out(greeting(`signalbox ${version} serves ${file}`, gateway.listeners, config.data))
  log.info({ file: config.file, listening: gateway.listeners.flatMap(({ urls }) => urls) }, 'serving')
  const signal = await signals.first
  log.info({ signal }, 'closing: open scopes may finish, a second signal ends at once')
  await gateway.close()
  log.info({}, 'closed')
  return exitCodes.ok
}

/** Where each protocol listens, and one line to try each. */
function greeting(title: string, listeners: readonly ServedProtocol[], data: string): string {
  const width = Math.max(0, ...listeners.map(({ name }) => name.length))
  const lines = listeners.flatMap(({ name, urls, example }) => [
    `  ${name.padEnd(width)}  ${urls.join('  ')}`,
    `  ${' '.repeat(width)}  try: ${example}`,
  ])
  return [title, ...lines, `  ${'data'.padEnd(width)}  ${data}`].join('\n')
}
