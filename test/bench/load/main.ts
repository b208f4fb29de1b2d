/** A load generator's process: does what its one argument says. */
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
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

/** What a load generator says when it is asked, counted since its start. */
export interface Reading {
  readonly done: number
  /** Milliseconds on its own clock. */
  readonly at: number
  /** Milliseconds of its processor. */
  readonly own: number
  /** Microseconds of the server's processor, all threads together; undefined where the system does not say. */
  readonly server: number | undefined
}

const config = JSON.parse(process.argv[2] ?? '{}') as LoadConfig
if (config.load in openers) await idle(config)
else await run(config)

/** Goes on until it is ended, and answers each line with a reading. */
async function run(given: LoadConfig): Promise<void> {
  const load = loads[given.load]
  if (!load) throw new Error(`there is no load ${given.load}`)
  const tally = { done: 0 }
  createInterface(process.stdin).on('line', () => print(JSON.stringify(read(tally.done, given.serverPid))))
  await load(given, tally)
  print('loading')
}

function read(done: number, serverPid: number): Reading {
  const { user, system } = process.cpuUsage()
  return { done, at: performance.now(), own: (user + system) / 1000, server: cpuOf(serverPid) }
}

function cpuOf(pid: number): number | undefined {
  const tasks = `/proc/${pid}/task`
  try {
    const nanoseconds = readdirSync(tasks).map(
      (task) => readFileSync(`${tasks}/${task}/schedstat`, 'latin1').split(' ')[0],
    )
    return nanoseconds.reduce((sum, each) => sum + Number(each) / 1000, 0)
  } catch {
    return undefined
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
