/** The command line: one file a command, one exit code for the process. */
import { Command, type CommanderError } from 'commander'
import { reason } from '../runtime/errors.ts'
import { exitCodes, type Define, type ExitCode, type Parts, type Run } from './parts.ts'

interface Entry {
  readonly name: string
  /** What the list of commands says of it. */
  readonly summary: string
  readonly load: () => Promise<Define>
}

/** In the order in which the help lists them. Only the one that is called is loaded; for the list of all, all are. */
const commands: readonly Entry[] = [
  {
    name: 'init',
    summary: 'write a first YAML and a first handler',
    load: async () => (await import('./init.ts')).defineInit,
  },
  { name: 'serve', summary: 'run the gateway', load: async () => (await import('./serve.ts')).defineServe },
  { name: 'worker', summary: 'serve named channels', load: async () => (await import('./worker.ts')).defineWorker },
  {
    name: 'stats',
    summary: 'show what a running gateway counts',
    load: async () => (await import('./stats.ts')).defineStats,
  },
  {
    name: 'journal',
    summary: 'look at what waits or is dead, try it again, take it out',
    load: async () => (await import('./journal.ts')).defineJournal,
  },
  {
    name: 'check',
    summary: 'find every mistake in the YAML',
    load: async () => (await import('./check.ts')).defineCheck,
  },
  { name: 'routes', summary: 'show the routing tree', load: async () => (await import('./routes.ts')).defineRoutes },
  {
    name: 'explain',
    summary: 'say which rule takes an address',
    load: async () => (await import('./explain.ts')).defineExplain,
  },
  {
    name: 'send',
    summary: 'play a client against a running gateway',
    load: async () => (await import('./send.ts')).defineSend,
  },
  {
    name: 'group',
    summary: 'send a message to a group',
    load: async () => (await import('./layer-send.ts')).defineGroup,
  },
  {
    name: 'channel',
    summary: 'send a message to a channel',
    load: async () => (await import('./layer-send.ts')).defineChannel,
  },
  {
    name: 'schema',
    summary: 'print the JSON Schema of the YAML',
    load: async () => (await import('./schema.ts')).defineSchema,
  },
  {
    name: 'mqtt-password',
    summary: 'hash a password for listen.mqtt.users',
    load: async () => (await import('./mqtt-password.ts')).defineMqttPassword,
  },
]

/** Runs one command to its end. Never throws. */
export async function runCommandLine(arguments_: readonly string[], parts: Parts): Promise<ExitCode> {
  let code: ExitCode = exitCodes.ok
  const run: Run = async (ending) => {
    code = await ending
  }
  const program = new Command('signalbox')
    .description('A multi-protocol gateway: HTTP, WebSocket, MQTT, e-mail and SMS, routed by one YAML file.')
    .version(parts.version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => parts.output.out(text.trimEnd()),
      writeErr: (text) => parts.output.error(text.trimEnd()),
    })
    .configureHelp({ subcommandTerm: termOf })
    .addHelpText(
      'after',
      '\nExit codes: 0 fine, 64 wrong usage, 78 mistakes in the YAML, 1 anything else.\n\nExamples:\n  npx signalbox serve\n  npx signalbox check config/gateway.yaml\n  npx signalbox explain email bob@support.org',
    )
  // `help serve` names one as well.
  const named = new Set(arguments_)
  const isVersion = named.has('--version') || named.has('-V')
  const isList = !isVersion && !commands.some(({ name }) => named.has(name))
  try {
    for (const { name, summary, load } of commands) {
      const command = program.command(name).summary(summary)
      if (isList || named.has(name)) await (await load())(command, parts, run)
      for (const each of [command, ...command.commands]) tellUsage(each)
    }
    tellUsage(program)
    await program.parseAsync(arguments_, { from: 'user' })
    return code
  } catch (error) {
    if (!isCommanderError(error)) {
      parts.output.error(reason(error))
      return exitCodes.failed
    }
    // It has written its message, or the help or version that was asked for.
    return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
  }
}

/** Behind a mistake on the command line: what was expected there. */
function tellUsage(command: Command): void {
  command.showHelpAfterError(`Usage: ${command.createHelp().commandUsage(command)} (--help tells more)`)
}

/** A command in a list: `explain <protocol> <address>`, `group send <name> <message>`, or `journal list|show|retry|discard`. */
function termOf(command: Command): string {
  const [first, ...others] = command.commands
  const own = first && (others.length === 0 ? termOf(first) : command.commands.map((inner) => inner.name()).join('|'))
  const given = command.registeredArguments.map((argument) => {
    const name = argument.variadic ? `${argument.name()}...` : argument.name()
    return argument.required ? `<${name}>` : `[${name}]`
  })
  return [command.name(), ...(own === undefined ? [] : [own]), ...given].join(' ')
}

const isCommanderError = (error: unknown): error is CommanderError =>
  Error.isError(error) && 'code' in error && String(error.code).startsWith('commander.') && 'exitCode' in error
