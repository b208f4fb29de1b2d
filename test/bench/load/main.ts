/** A load generator's process: does what its one argument says, and prints one line of JSON. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectEmail, connectHttp, connectMqtt, connectWebsocket } from './connect.ts'
import { mails, mailsToRead } from './email.ts'
import { events, hello, response, webhook } from './http.ts'
import { idle, openers } from './idle.ts'
import type { Load, LoadConfig } from './load.ts'
import { qos0, qos1, subscribers } from './mqtt.ts'
import { echo, room } from './websocket.ts'

const loads: Readonly<Record<string, Load>> = {
  hello,
  events,
  response,
  webhook,
  echo,
  room,
  qos0,
  qos1,
  subscribers,
  mails,
  'mails-to-read': mailsToRead,
  'connect-http': connectHttp,
  'connect-websocket': connectWebsocket,
  'connect-mqtt': connectMqtt,
  'connect-email': connectEmail,
}

export interface LoadResult {
  /** What was done in a second. */
  readonly rate: number
  /** Microseconds of the server's processor for one of them; undefined where the system does not say. */
  readonly serverCpu: number | undefined
  /** The part of the time that this process had its processor for itself. */
  readonly generatorCpu: number
}

/** In seconds. */
const patience = 30

const config = JSON.parse(process.argv[2] ?? '{}') as LoadConfig
if (config.load in openers) await idle(config)
else process.stdout.write(`${JSON.stringify(await run(config))}\n`, () => process.exit(0))

async function run({ load: name, warmUp, seconds, serverPid }: LoadConfig): Promise<LoadResult> {
  const load = loads[name]
  if (!load) throw new Error(`there is no load ${name}`)
  const tally = { done: 0 }
  await load(config, tally)
  await busy(serverPid, warmUp)
  const before = { done: tally.done, at: performance.now(), own: process.cpuUsage(), server: cpuOf(serverPid) }
  await busy(serverPid, seconds)
  // A short time may see nothing.
  for (let more = 0; tally.done === before.done && more < patience; more++) await sleep(1000)
  const elapsed = performance.now() - before.at
  const { user, system } = process.cpuUsage(before.own)
  const server = cpuOf(serverPid)
  const done = tally.done - before.done
  if (done === 0) throw new Error(`nothing was answered in ${patience} seconds`)
  const serverCpu = server === undefined || before.server === undefined ? undefined : (server - before.server) / done
  return { rate: (done * 1000) / elapsed, serverCpu, generatorCpu: (user + system) / 1000 / elapsed }
}

/** So many seconds, and up to three times as many where others leave the server less than half of its processor. */
async function busy(pid: number, seconds: number): Promise<void> {
  const before = cpuOf(pid)
  for (let round = 0; round < 3; round++) {
    await sleep(seconds * 1000)
    const used = (cpuOf(pid) ?? Infinity) - (before ?? 0)
    if (used >= seconds * 500_000) return
  }
}

/** In microseconds, all threads together; Linux counts in hundredths of a second. */
function cpuOf(pid: number): number | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) * 10_000
  } catch {
    return undefined
  }
}
