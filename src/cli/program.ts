/** The command line: one file a command, one exit code for the process. */
import { Command, type CommanderError } from 'commander'
import { reason } from '../runtime/errors.ts'
import { addCheck } from './check.ts'
import { addExplain } from './explain.ts'
import { addChannel, addGroup } from './layer-send.ts'
import { addJournal } from './journal.ts'
import { addMqttPassword } from './mqtt-password.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'
import { addRoutes } from './routes.ts'
import { addSchema } from './schema.ts'
import { addSend } from './send.ts'
import { addServe } from './serve.ts'
import { addStats } from './stats.ts'
import { addWorker } from './worker.ts'

/** In the order in which the help lists them. */
const commands = [
  addServe,
  addWorker,
  addStats,
  addJournal,
  addCheck,
  addRoutes,
  addExplain,
  addSend,
  addGroup,
  addChannel,
  addSchema,
  addMqttPassword,
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
    .showHelpAfterError('(--help tells more)')
    .addHelpText(
      'after',
      '\nExit codes: 0 fine, 64 wrong usage, 78 mistakes in the YAML, 1 anything else.\n\nExamples:\n  signalbox serve\n  signalbox check config/gateway.yaml\n  signalbox explain email bob@support.org',
    )
  for (const add of commands) add(program, parts, run)
  try {
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

const isCommanderError = (error: unknown): error is CommanderError =>
  Error.isError(error) && 'code' in error && String(error.code).startsWith('commander.') && 'exitCode' in error
