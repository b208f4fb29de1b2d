/** `signalbox journal`: what was stored and waits or is dead: to look at, to try again, to take out; also while the gateway runs. */
import path from 'node:path'
import type { Command } from 'commander'
import { didYouMean } from '../config/suggest.ts'
import { SignalboxError } from '../runtime/errors.ts'
import { duration } from '../runtime/options.ts'
import type { RecordLine, RecordPage } from '../server/journal-desk.ts'
import { noJournal, placeOf, type Journals, type Named, type RecordPlace } from '../server/journals.ts'
import { configArgument, configFile, configHelp, read, refuse } from './config-file.ts'
import { explained } from './connection.ts'
import { exitCodes, type ExitCode, type Parts, type Run } from './parts.ts'
import { table } from './table.ts'

/** A mistake on the command line, in words. */
class UsageError extends Error {}

interface Common {
  readonly config?: string
  readonly json?: true
  readonly reveal?: true
}
interface Filter {
  readonly state?: string
  readonly direction?: string
  readonly protocol?: string
  readonly rule?: string
  readonly older?: string
  readonly newer?: string
}
interface Page {
  readonly limit?: string
  readonly before?: string
}

/** What stands on the command line; `file` is the YAML as an argument. */
interface Asked<Options = object> {
  readonly given: Common & Options
  readonly file: string | undefined
}

export function defineJournal(command: Command, parts: Parts, run: Run): void {
  command
    .description(
      'The journal: events that are stored and wait for their next attempt, and dead letters. Works on the data folder of the YAML, whether the gateway runs on it or not. Of a gateway of several processes it is all of their journals: 2-17 is record 17 of process 2.',
    )
    .addHelpText(
      'after',
      '\nExamples:\n  npx signalbox journal list --state dead\n  npx signalbox journal show 17\n  npx signalbox journal retry --protocol email',
    )

  withFilter(common(command.command('list').description('Lists records, the newest first.')))
    .option('--limit <n>', 'how many at most', '100')
    .option('--before <id>', 'only older ones of its process: the last id of the page before')
    .addHelpText('after', '\nExample:\n  npx signalbox journal list --state dead --protocol sms --older 1h')
    .argument(configArgument, configHelp)
    .action((file: string | undefined, given: Common & Filter & Page) => run(list(parts, { given, file })))
  common(command.command('show').description('Shows one record with all that is in it.'))
    .argument('<id>', 'its number')
    .argument(configArgument, configHelp)
    .addHelpText('after', '\nExample:\n  npx signalbox journal show 17 --reveal')
    .action((id: string, file: string | undefined, given: Common) => run(show(parts, id, { given, file })))
  for (const [name, description] of [
    ['retry', 'Has dead letters tried again, from their first attempt on.'],
    ['discard', 'Takes records out for good.'],
  ] as const) {
    withFilter(common(command.command(name).description(description)))
      .argument(
        '[ids...]',
        'their numbers; none: all that the options name. A last one that ends in .yaml or .yml is the YAML file',
      )
      .addHelpText(
        'after',
        `\nExamples:\n  npx signalbox journal ${name} 17 18\n  npx signalbox journal ${name} --state dead --rule gateway.yaml:14`,
      )
      .action((ids: readonly string[], given: Common & Filter) => run(touch(parts, name, ids, given)))
  }
}

function common(command: Command): Command {
  return command
    .option('-c, --config <file>', configHelp)
    .option('--json', 'JSON instead of text')
    .option('--reveal', 'secrets, mail addresses and telephone numbers as they are')
}

function withFilter(command: Command): Command {
  return command
    .option('--state <state>', 'waiting or dead')
    .option('--direction <direction>', 'in (to the application) or out (to a peer)')
    .option('--protocol <name>', 'such as email')
    .option('--rule <file:line>', 'that takes it, such as gateway.yaml:14')
    .option('--older <duration>', 'stored longer ago than this, such as 1h')
    .option('--newer <duration>', 'stored less long ago than this')
}

async function list(parts: Parts, asked: Asked<Filter & Page>): Promise<ExitCode> {
  const { given } = asked
  return await withJournal(parts, asked, async (journal, protocols) => {
    const { limit, before } = given
    const most = numberOf('--limit', limit ?? '100')
    const question = { ...filterOf(given, protocols), limit: most, reveal: given.reveal === true }
    const rows = await journal.list(question, before === undefined ? undefined : placeIn(journal, '--before', before))
    parts.output.out(given.json ? JSON.stringify(rows, undefined, 2) : listed(rows))
  })
}

async function show(parts: Parts, id: string, asked: Asked): Promise<ExitCode> {
  const { given } = asked
  return await withJournal(parts, asked, async (journal) => {
    const shown = await journal.show(placeIn(journal, 'the record', id), given.reveal === true)
    parts.output.out(given.json ? JSON.stringify(shown, undefined, 2) : page(shown))
  })
}

async function touch(
  parts: Parts,
  act: 'retry' | 'discard',
  words: readonly string[],
  given: Common & Filter,
): Promise<ExitCode> {
  const last = words.at(-1) ?? ''
  const file = /\.ya?ml$/.test(last) ? last : undefined
  const ids = file === undefined ? words : words.slice(0, -1)
  return await withJournal(parts, { given, file }, async (journal, protocols) => {
    const named = ids.map((id) => placeIn(journal, 'the record', id))
    const filter = filterOf(given, protocols)
    if (named.length === 0 && Object.keys(filter).length === 0) {
      throw new UsageError(
        'expected the numbers of records, or which ones: --state, --direction, --protocol, --rule, --older, --newer',
      )
    }
    const touched = await (named.length > 0 ? journal.touch(act, named) : journal.touchAll(act, filter))
    const done = act === 'retry' ? 'will be tried again' : 'taken out'
    parts.output.out(given.json ? JSON.stringify(touched) : `${touched.ids.length} ${done}`)
    const missing = ids.filter((id) => !touched.ids.map(String).includes(id))
    if (missing.length === 0) return
    const what = act === 'retry' ? 'dead letter' : 'record'
    throw new SignalboxError('bad_message', `found no ${what} ${missing.join(', ')}`)
  })
}

async function withJournal(
  parts: Parts,
  { given, file: argument }: Asked,
  act: (journals: Journals, protocols: readonly string[]) => Promise<void>,
): Promise<ExitCode> {
  const { output } = parts
  if (argument !== undefined && given.config !== undefined) {
    output.error(`found ${argument} and --config, expected one of them`)
    return exitCodes.usage
  }
  const named = argument ?? given.config
  const file = configFile(parts, named)
  const { settings, diagnostics } = await read(parts, named)
  if (!settings) return refuse(parts, file, diagnostics)
  const data = path.resolve(parts.folder, path.dirname(file), settings.data)
  try {
    // Not for whoever only asks for help.
    const { reachJournals } = await import('./journals.ts')
    const { definitions } = await parts.loadRegistry()
    const protocols = [...definitions.map(({ name }) => name), 'channel']
    await act(await reachJournals(data, { definitions, limits: settings.journal }), protocols)
    return exitCodes.ok
  } catch (error) {
    output.error(explained(error))
    return error instanceof UsageError ? exitCodes.usage : exitCodes.failed
  }
}

function filterOf({ state, direction, protocol, rule, older, newer }: Filter, protocols: readonly string[]) {
  return {
    ...(state !== undefined && { state: oneOf('--state', state, ['waiting', 'dead']) }),
    ...(direction !== undefined && { direction: oneOf('--direction', direction, ['in', 'out']) }),
    ...(protocol !== undefined && { protocol: oneOf('--protocol', protocol, protocols) }),
    ...(rule !== undefined && { rule: placeOfRule(rule) }),
    ...(older !== undefined && { olderThan: before('--older', older) }),
    ...(newer !== undefined && { newerThan: before('--newer', newer) }),
  }
}

function oneOf<T extends string>(option: string, text: string, known: readonly T[]): T {
  const found = known.find((each) => each === text)
  if (found !== undefined) return found
  const words = new Intl.ListFormat('en', { type: 'disjunction' }).format(known)
  throw new UsageError(`${option}: found ${JSON.stringify(text)}, expected ${words}${didYouMean(text, known)}`)
}

function placeOfRule(text: string): string {
  if (/.:\d+$/.test(text)) return text
  throw new UsageError(`--rule: found ${JSON.stringify(text)}, expected file:line such as gateway.yaml:14`)
}

function before(option: string, text: string): number {
  const parsed = duration().safeParse(text)
  if (parsed.success) return Date.now() - parsed.data
  throw new UsageError(`${option}: ${parsed.error.issues[0]?.message ?? 'expected a duration'}`)
}

function numberOf(what: string, text: string): number {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text)
  throw new UsageError(`${what}: found ${JSON.stringify(text)}, expected a number such as 17`)
}

function placeIn(journals: Journals, what: string, text: string): RecordPlace {
  const place = placeOf(text)
  if (!place) {
    throw new UsageError(`${what}: found ${JSON.stringify(text)}, expected a number such as 17, or 2-17 for process 2`)
  }
  if (journals.processes.includes(place.process)) return place
  throw new UsageError(noJournal(place.process, journals.processes))
}

/** The reason often stands at the end, behind what was tried. */
const longestError = 300

function listed(rows: readonly Named<RecordLine>[]): string {
  if (rows.length === 0) return 'no records'
  const head = ['id', 'state', 'protocol', 'direction', 'rule', 'from/to', 'attempts', 'stored', 'next', 'error']
  const lines = rows.map(({ id, state, protocol, direction, rule, peer, attempts, at, due, error }) => {
    const short = error.length > longestError ? `${error.slice(0, longestError)}…` : error
    return [
      String(id),
      state,
      protocol,
      direction,
      rule || '-',
      peer || '-',
      String(attempts),
      at.slice(0, 19),
      due?.slice(11, 19) ?? '-',
      short.replaceAll(/\s+/g, ' ') || '-',
    ]
  })
  return table([head, ...lines])
}

/** Its line, and what is in it, as text. */
function page({ scope, event, body, ...line }: Named<RecordPage>): string {
  const fields = Object.entries(line).map(([name, value]) => `${name}: ${String(value)}`)
  const parts = [
    ['scope', scope],
    ['event', event],
    ['body', body],
  ] as const
  const rest = parts.flatMap(([name, value]) => {
    if (value === undefined) return []
    return ['', `${name}:`, typeof value === 'string' ? value.trimEnd() : JSON.stringify(value, undefined, 2)]
  })
  return [...fields, ...rest].join('\n')
}
