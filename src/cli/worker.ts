/** `signalbox worker`: serves named channels beside the gateway, on the same file. */
import type { Command } from 'commander'
import type { Config } from '../config/config.ts'
import type { LoadResult } from '../config/load.ts'
import { channelsNamed, concurrency, isServed, unserved } from '../config/workers.ts'
import { configFile, configHelp } from './config-file.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'
import { runAs } from './run-as.ts'
import { workersText } from './workers-text.ts'

interface Options {
  readonly config?: string
  readonly concurrency?: string
}
interface Order {
  readonly channels: readonly string[]
  readonly config: string | undefined
  /** Undefined: as the YAML says. */
  readonly concurrency: number | undefined
}

export function defineWorker(command: Command, parts: Parts, run: Run): void {
  command
    .description(
      'Serves named channels with the applications of the YAML, and opens no listener. Needs a layer that other processes reach.',
    )
    .argument('<name...>', 'the channels; a last one that ends in .yaml or .yml is the YAML file')
    .option('-c, --config <file>', configHelp)
    .option(
      '--concurrency <n>',
      'how many messages of each channel are handled at once (default: as the YAML says, or 1)',
    )
    .addHelpText(
      'after',
      [
        '',
        'SIGTERM and SIGINT let what is in hand finish. What is not done after drainTimeout (10s) is told to end, and given back',
        'after closeTimeout (5s) more. A second signal ends at once.',
        '',
        'Examples:',
        '  npx signalbox worker thumbnails',
        '  npx signalbox worker thumbnails mails --concurrency 4 --config config/gateway.yaml',
      ].join('\n'),
    )
    .action((names: readonly string[], options: Options) => run(worker(parts, names, options)))
}

async function worker(parts: Parts, names: readonly string[], options: Options): Promise<ExitCode> {
  const order = ordered(names, options)
  if (typeof order === 'string') {
    parts.output.error(order)
    return exitCodes.usage
  }
  const title = `signalbox ${parts.version} works on`
  return await runAs(parts, order.config, {
    take: (config, loaded) => take(parts, order, { ...loaded, config }),
    serving: (_, { workers }) => parts.output.out(`${title} ${workersText(workers)}`),
  })
}

/** A sentence: what is wrong. */
function ordered(names: readonly string[], options: Options): Order | string {
  const last = names.at(-1) ?? ''
  const isFile = /\.ya?ml$/.test(last)
  const channels = [...new Set(isFile ? names.slice(0, -1) : names)]
  if (channels.length === 0) return 'expected the name of a channel'
  if (isFile && options.config !== undefined) return `found ${last} and --config, expected one of them`
  const parsed = concurrency().optional().safeParse(options.concurrency)
  if (!parsed.success)
    return `--concurrency: found ${JSON.stringify(options.concurrency)}, expected a number from 1 to 1000`
  return { channels, config: isFile ? last : options.config, concurrency: parsed.data }
}

function take(parts: Parts, order: Order, loaded: LoadResult & { readonly config: Config }): Config | ExitCode {
  const { config, plan } = loaded
  const file = configFile(parts, order.config)
  if (config.layer.kind === 'memory') {
    const message = 'found the memory layer, which no other process reaches, expected layer: { redis: { url: … } }'
    parts.output.error(`${file}: ${message}`)
    return exitCodes.config
  }
  const named = plan ? channelsNamed(plan) : []
  const wrong = order.channels.filter((channel) => !isServed(config.application, channel))
  for (const channel of wrong) parts.output.error(`${file}: found ${channel}, ${unserved(channel, named)}`)
  if (wrong.length > 0) return exitCodes.config
  const workers = order.channels.map((channel) => {
    const inFile = config.workers.find((served) => served.channel === channel)?.concurrency ?? 1
    return { channel, concurrency: order.concurrency ?? inFile }
  })
  return { ...config, listen: {}, admin: undefined, workers }
}
