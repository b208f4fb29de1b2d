/** `signalbox group send` and `signalbox channel send`: a message to whoever is in a group, or to whoever works on a channel. */
import path from 'node:path'
import type { Command } from 'commander'
import type { Event } from '../asgi/protocol.ts'
import type { Settings } from '../config/settings.ts'
import { checkName } from '../layers/names.ts'
import { reason } from '../runtime/errors.ts'
import { addressText, timeout } from '../runtime/options.ts'
import { parseMessage } from '../server/message-text.ts'
import { postTo } from './admin-client.ts'
import { configFile, configHelp, read, refuse } from './config-file.ts'
import { explained } from './connection.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'
import { channel, group, type Receiver } from './receivers.ts'

const defaultTimeout = '10s'

/** A message as the command line gives it. */
interface Given {
  readonly name: string
  readonly text: string
  readonly config: string | undefined
  readonly timeout: string
}

export function defineGroup(command: Command, parts: Parts, run: Run): void {
  defineSender(command, group, (given) => run(sendOne(parts, group, given)))
}

export function defineChannel(command: Command, parts: Parts, run: Run): void {
  defineSender(command, channel, (given) => run(sendOne(parts, channel, given)))
}

function defineSender(
  command: Command,
  { kind, description, example }: Receiver,
  act: (given: Given) => Promise<void>,
) {
  command
    .description(description)
    .addHelpText('after', `\nExample:\n  ${example}`)
    .command('send')
    .description(description)
    .argument('<name>', `the ${kind}`)
    .argument('<message>', 'a JSON object with a dotted type')
    .option('-c, --config <file>', configHelp)
    .option('--timeout <duration>', 'how long to wait for the answer', defaultTimeout)
    .addHelpText(
      'after',
      [
        '',
        'With the redis layer it goes through Redis, with the memory layer through the admin listener of the gateway that',
        'runs. Exit code 0 only when it was sent.',
        '',
        'Example:',
        `  ${example}`,
      ].join('\n'),
    )
    .action((name: string, text: string, { config, timeout }: { config?: string; timeout: string }) =>
      act({ name, text, config, timeout }),
    )
}

async function sendOne(parts: Parts, receiver: Receiver, given: Given): Promise<ExitCode> {
  const { output } = parts
  const limit = timeout().safeParse(given.timeout)
  if (!limit.success) {
    output.error(`--timeout: ${limit.error.issues[0]?.message ?? 'expected a duration'}`)
    return exitCodes.usage
  }
  let message: Event
  try {
    checkName(receiver.kind, given.name)
    message = parseMessage(given.text)
  } catch (error) {
    output.error(reason(error))
    return exitCodes.usage
  }
  const file = configFile(parts, given.config)
  const { settings, diagnostics } = await read(parts, given.config)
  if (!settings) return refuse(parts, file, diagnostics)
  const problem = outOfReach(settings)
  if (problem !== undefined) {
    output.error(`${file}: ${problem}`)
    return exitCodes.config
  }
  const signal = AbortSignal.timeout(limit.data)
  try {
    const base = path.dirname(path.resolve(parts.folder, file))
    output.out(await sent(receiver, { ...given, message }, { settings, base, signal }))
    return exitCodes.ok
  } catch (error) {
    output.error(signal.aborted ? `no answer within ${given.timeout}` : explained(error))
    return exitCodes.failed
  }
}

/** Why no other process can reach the layer; undefined when one can. */
function outOfReach({ layer, admin }: Settings): string | undefined {
  if (layer.kind === 'redis') return undefined
  const inside = 'found the memory layer, which is inside of the gateway'
  if (!admin) return `${inside}, and no admin listener, expected admin: { address: 127.0.0.1:8100 }`
  if (admin.address.port !== 0) return undefined
  return `${inside}, and its admin listener on any free port (${addressText(admin.address)}), expected a port of its own`
}

interface Way {
  readonly settings: Settings
  readonly base: string
  readonly signal: AbortSignal
}

async function sent(
  receiver: Receiver,
  { name, text, message }: Given & { readonly message: Event },
  { settings: { layer, admin }, base, signal }: Way,
): Promise<string> {
  if (layer.kind === 'redis') {
    const { withRedis } = await import('./redis-client.ts')
    return await withRedis(layer, { base, signal }, (opened) => receiver.send(opened, name, message))
  }
  if (!admin) throw new TypeError('what is out of reach was refused before')
  return receiver.told(name, await postTo(admin, `/${receiver.kind}s/${encodeURIComponent(name)}`, text, signal))
}
