/** `npm run chaos`: a long run, with what else can go wrong; the exit code says whether the gateway kept its word. */
import { parseArgs } from 'node:util'
import { runChaos, type Fault, type Outcome } from './chaos.ts'
import type { Fate } from './verdict.ts'

const columns: readonly (readonly [string, (fate: Fate) => string | number])[] = [
  ['', ({ sender }) => sender],
  ['sent', ({ sent }) => sent],
  ['acknowledged', ({ acknowledged }) => acknowledged],
  ['handled', ({ handled }) => handled],
  ['dead', ({ dead }) => dead],
  ['lost', ({ lost }) => lost.length],
  ['redelivered', ({ redelivered }) => redelivered],
  ['repeated unmarked', ({ unmarked }) => unmarked.length],
  ['answers lost', ({ answersLost }) => answersLost],
  ['accepted twice', ({ hasKey, acceptedTwice }) => (hasKey ? acceptedTwice : `${acceptedTwice} (no key)`)],
  ['told later', ({ toldLater }) => toldLater],
]

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '20' },
    life: { type: 'string', default: '1500' },
    fault: { type: 'string' },
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
  say: (line) => process.stderr.write(`${line}\n`),
})
process.stdout.write(values.json ? `${JSON.stringify(outcome, undefined, 2)}\n` : text(outcome))
process.exitCode = outcome.broken.length === 0 ? 0 : 1

function text({ kills, fault, fates, broken }: Outcome): string {
  const rows = fates.map((fate) => columns.map(([, value]) => String(value(fate))))
  const table = [columns.map(([title]) => title), ...rows]
  const widths = columns.map((_, index) => Math.max(...table.map((row) => row[index]?.length ?? 0)))
  const lines = table.map((row) => row.map((cell, index) => cell.padStart(widths[index] ?? 0)).join('  '))
  const verdict = broken.length === 0 ? 'it has kept its word' : 'it has broken its word:'
  return `killed ${kills} times, with ${fault ?? 'no other'} fault\n${[...lines, verdict, ...broken].join('\n')}\n`
}
