/** `npm run bench [name…]`: measures the gateway against the bare libraries, in turn, and prints a table. */
import { spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { cpus, loadavg } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { cases, type BenchCase } from './cases.ts'
import type { Sample, Settings } from './measure.ts'
import { processors } from './processes.ts'
import { header, lineOf, resultOf, row, type Result, type Round } from './report.ts'
import { startRedis } from './servers.ts'
import { Turns } from './turns.ts'

const help = `npm run bench -- [name…] [options]

  name              cases whose name begins so, such as mqtt or fan-out-8; default: all
  --rounds N        how often each side is measured, in turn; default 3
  --seconds S       how long one measurement takes; default 3
  --json FILE       also writes { cases: [{ name, unit, gateway, bare, ratio, target, lowerIsBetter }] }
  --profile FOLDER  also writes CPU profiles of the servers, as FOLDER/case/gateway/….cpuprofile and FOLDER/case/bare/….cpuprofile
  --small           few connections and no warm-up: only to see that it runs
  --list            prints the names of the cases
`

const { values: given, positionals: names } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
    json: { type: 'string' },
    profile: { type: 'string' },
    small: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const chosen = cases.filter(({ name }) => names.length === 0 || names.some((wanted) => name.startsWith(wanted)))
const unknown = names.filter((wanted) => !cases.some(({ name }) => name.startsWith(wanted)))

if (given.help) process.stdout.write(help)
else if (given.list) process.stdout.write(`${chosen.map(({ name }) => name).join('\n')}\n`)
else if (unknown.length > 0) {
  process.stderr.write(`there is no case ${unknown.join(', ')}; --list names them\n`)
  process.exitCode = 64
} else await run()

async function run(): Promise<void> {
  const needsRedis = chosen.some((one) => one.needsRedis)
  const hasRedis = needsRedis && spawnSync('redis-server', ['--version']).status === 0
  await using redis = hasRedis ? await startRedis('redis-server') : undefined
  const settings = {
    seconds: Number(given.seconds),
    warmUp: given.small ? 0 : 1,
    small: given.small,
    profile: given.profile,
    redis: redis?.url,
  }
  print(machine())
  print(header)
  const results: Result[] = []
  for (const one of chosen) {
    const { needsProcessors = 1 } = one
    if (one.needsRedis && !redis) print(row(one.name, [], 'skipped: redis-server is not installed'))
    else if (cpus().length < needsProcessors && !given.small)
      print(row(one.name, [], `not measurable: needs ${needsProcessors} processors, here are ${cpus().length}`))
    else results.push(await measure(one, settings))
  }
  if (given.profile !== undefined) print(`profiles: ${path.resolve(given.profile)}`)
  if (given.json !== undefined) await writeFile(given.json, `${JSON.stringify({ cases: results }, undefined, 2)}\n`)
}

async function measure(one: BenchCase, settings: Omit<Settings, 'turns'>): Promise<Result> {
  const rounds: Round[] = []
  const profile = settings.profile && path.join(settings.profile, one.name)
  for (let index = 0; index < Number(given.rounds); index++)
    rounds.push(await round(one, { ...settings, profile }, index))
  print(lineOf(one, rounds))
  return resultOf(one, rounds)
}

async function round(one: BenchCase, settings: Omit<Settings, 'turns'>, index: number): Promise<Round> {
  const turns = new Turns()
  // Nobody looks at the figures of a small round: nobody waits.
  const others = settings.small ? new Turns() : turns
  const measured = [one.gateway, one.bare]
  // Each side is the first one to start, and to have its turn, in every other round.
  if (index % 2 === 1) measured.reverse()
  const sides = measured.map((measure, place) => measure({ ...settings, turns: place === 0 ? turns : others }))
  // Where one fails the other one is ended before anybody hears of it.
  await Promise.allSettled(sides)
  const samples = await Promise.all(sides)
  if (index % 2 === 1) samples.reverse()
  const [gateway, bare] = samples as [Sample, Sample]
  return { gateway, bare }
}

function machine(): string {
  const [load = 0] = loadavg()
  const pinned = processors ? 'server and load on a processor each' : 'nothing is pinned to a processor'
  return [
    `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}, ${process.platform}, Node ${process.version}, ${pinned}`,
    `load average ${load.toFixed(1)}, ${given.rounds} rounds of ${given.seconds} s a side, ${new Date().toISOString()}`,
    'ratio: median of the rounds; by cpu: what is done with the same processor time; spread: the ratios of the rounds',
  ].join('\n')
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
