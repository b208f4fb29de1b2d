/** `npm run chaos`: a long run, with what else can go wrong; the exit code says whether the gateway kept its word. */
import { parseArgs } from 'node:util'
import { runChaos, type Fault, type Outcome } from './chaos.ts'

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '20' },
    life: { type: 'string', default: '1500' },
    fault: { type: 'string' },
    folder: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
})

const faults: readonly string[] = ['locked', 'full', 'limit']
if (values.fault !== undefined && !faults.includes(values.fault)) {
  throw new Error(`--fault: found ${values.fault}, expected ${faults.join(', ')}`)
}

const outcome = await runChaos({
  kills: Number(values.kills),
  life: Number(values.life),
  fault: values.fault as Fault | undefined,
  folder: values.folder,
  say: (line) => process.stderr.write(`${line}\n`),
})
process.stdout.write(values.json ? `${JSON.stringify(outcome, undefined, 2)}\n` : text(outcome))
process.exitCode = keptItsWord(outcome) ? 0 : 1

function keptItsWord({ lost, doubled, addsUp, exitCode }: Outcome): boolean {
  return lost.length === 0 && doubled.length === 0 && addsUp && exitCode === 0
}

function text(outcome: Outcome): string {
  const { kills, refused, answered, handled, dead, lost, repeated, doubled, counts, addsUp } = outcome
  return [
    `killed ${kills} times, ${refused} times told to come again`,
    `${answered} events had their positive answer: ${handled} handled, ${dead} dead letters, ${lost.length} lost`,
    `${repeated} were handled again and said so, ${doubled.length} without saying so`,
    `the journal: ${counts.accepted} accepted = ${counts.handled} handled + ${counts.waiting} waiting + ${counts.dead} dead${addsUp ? '' : ', which does not add up'}`,
    ...[...lost, ...doubled].slice(0, 20),
    '',
  ].join('\n')
}
