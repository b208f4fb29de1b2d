/** `signalbox send`: plays a client of any protocol against a running gateway. */
import { Option, type Command } from 'commander'
import type { ListenAddress } from '../asgi/adapter.ts'
import type { ClientTarget, ProtocolDefinition } from '../asgi/definition.ts'
import { hasCode } from '../runtime/errors.ts'
import { addressText, timeout } from '../runtime/options.ts'
import { configFile, configHelp, read, refuse } from './config-file.ts'
import { explained } from './connection.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'

const defaultTimeout = '30s'

export async function defineSend(command: Command, parts: Parts, run: Run): Promise<void> {
  const { definitions } = await parts.loadRegistry()
  command
    .description("Plays a client: sends one thing to the gateway that runs on this YAML and prints the wire's answer.")
    .addHelpText(
      'after',
      [
        '',
        'Exit code 0 only on a positive answer.',
        '',
        'Examples:',
        ...definitions.map(({ sendUsage }) => `  ${sendUsage.example}`),
      ].join('\n'),
    )
  for (const definition of definitions)
    addProtocol(command, definition, (message) => run(sendOne(parts, definition, message)))
}

interface Message {
  readonly given: readonly string[]
  readonly options: Readonly<Record<string, string>>
  readonly config: string | undefined
  readonly timeout: string
}

function addProtocol(
  send: Command,
  { name, sendUsage }: ProtocolDefinition,
  act: (message: Message) => Promise<void>,
): void {
  const command = send.command(name).description(`Sends by ${name} and prints the answer.`)
  for (const argument of sendUsage.arguments) {
    command.argument(argument.optional ? `[${argument.name}]` : `<${argument.name}>`, argument.description)
  }
  const own = sendUsage.options.map(({ name: flag, value, description }) => {
    const option = new Option(value === undefined ? `--${flag}` : `--${flag} <${value}>`, description)
    command.addOption(option)
    return { flag, key: option.attributeName() }
  })
  command
    .option('-c, --config <file>', configHelp)
    .option('--timeout <duration>', 'how long to wait for the answer', defaultTimeout)
    .addHelpText('after', `\nExit code 0 only on a positive answer.\n\nExample:\n  ${sendUsage.example}`)
    .action(() => {
      const values = command.opts<Readonly<Record<string, string | boolean | undefined>>>()
      const options = own.flatMap(({ flag, key }) =>
        values[key] === undefined ? [] : [[flag, String(values[key])] as const],
      )
      const given = command.args
      return act({
        given,
        options: Object.fromEntries(options),
        config: values['config'] === undefined ? undefined : String(values['config']),
        timeout: String(values['timeout']),
      })
    })
}

async function sendOne(parts: Parts, definition: ProtocolDefinition, message: Message): Promise<ExitCode> {
  const { output } = parts
  const { name } = definition
  const limit = timeout().safeParse(message.timeout)
  if (!limit.success) {
    output.error(`--timeout: ${limit.error.issues[0]?.message ?? 'expected a duration'}`)
    return exitCodes.usage
  }
  const { settings, diagnostics } = await read(parts, message.config)
  const file = configFile(parts, message.config)
  if (!settings) return refuse(parts, file, diagnostics)
  if (!(name in settings.listen)) {
    output.error(`${file}: nothing listens for ${name}, expected it under listen`)
    return exitCodes.config
  }
  const own = (settings.listen[name] as { readonly address?: ListenAddress }).address
  const address = own ?? settings.http.address
  if (address.port === 0) {
    const found = `listen.${own ? name : 'http'} takes any free port (${addressText(address)})`
    output.error(`${file}: ${found}, and which one cannot be known here, expected a port of its own`)
    return exitCodes.config
  }
  const late = new AbortController()
  const { signal } = late
  const timer = setTimeout(() => late.abort(), limit.data)
  try {
    const { client } = await definition.loadClient()
    const target: ClientTarget = {
      options: settings.listen[name],
      http: settings.http,
      signal,
      print: (text) => output.out(text),
      answered: () => clearTimeout(timer),
    }
    const { positive, text } = await client.send(message.given, message.options, target)
    if (text !== '') output.out(text)
    return positive ? exitCodes.ok : exitCodes.failed
  } catch (error) {
    output.error(signal.aborted ? `no answer within ${message.timeout}` : `${name}: ${explained(error)}`)
    return hasCode(error, 'bad_address') ? exitCodes.usage : exitCodes.failed
  } finally {
    clearTimeout(timer)
  }
}
