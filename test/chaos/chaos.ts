/** Kills a gateway at random moments while real clients send to it, and looks afterwards whether it kept its word. */
import { DatabaseSync } from 'node:sqlite'
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts, GatewayProcess, writeYaml } from './gateway.ts'
import { mailSender, mqttSender, smsSender, type Sender } from './senders.ts'
import { judge, type Verdict } from './verdict.ts'

export interface ChaosOptions {
  /** How often the process is killed with `kill -9`. */
  readonly kills: number
  /** Milliseconds that it lives at most between two. */
  readonly life: number
  /** What else goes wrong, once in the middle. */
  readonly fault?: Fault | undefined
  /** Where the data folder is made. Default: the system's temporary folder. */
  readonly folder?: string | undefined
  readonly say: (line: string) => void
}

/** `locked`: another program holds the journal's file. `full`: the disk (of a small file system) is full. `limit`: `maxSize` is reached. */
export type Fault = 'locked' | 'full' | 'limit'

export interface Outcome extends Verdict {
  readonly kills: number
  /** Times that a client was told to come again, or found nobody. */
  readonly refused: number
  readonly exitCode: number | null
}

export async function runChaos({ kills, life, fault, folder = tmpdir(), say }: ChaosOptions): Promise<Outcome> {
  const base = mkdtempSync(path.join(folder, 'signalbox-chaos-'))
  const data = path.join(base, 'data')
  const ports = await freePorts()
  const small = fault === 'limit'
  const yaml = writeYaml(base, ports, small ? 'maxSize: 1MiB, concurrency: 1' : 'concurrency: 16')
  const gateway = new GatewayProcess(yaml, small ? 200 : 4)
  try {
    await gateway.start()
    const senders = [mqttSender(ports, 1), mqttSender(ports, 2), mailSender(ports), smsSender(ports)]
    for (let kill = 1; kill <= kills; kill++) {
      await sleep(Math.random() * life)
      await gateway.kill()
      say(`killed ${kill} of ${kills}: ${answers(senders)}`)
      await gateway.start()
      if (fault && kill === Math.ceil(kills / 2)) await cause(fault, data, say)
    }
    await sleep(life)
    await Promise.all(senders.map((sender) => sender.stop()))
    say(`all have their answers: ${answers(senders)}`)
    await settled(data)
    const exitCode = await gateway.close()
    const answered = new Set(senders.flatMap((sender) => [...sender.answered]))
    const refused = senders.reduce((sum, sender) => sum + sender.refused(), 0)
    return { ...(await judge(data, answered)), kills, refused, exitCode }
  } finally {
    await gateway.kill()
    rmSync(base, { recursive: true, force: true })
  }
}

const answers = (senders: readonly Sender[]): string =>
  senders.map(({ name, answered }) => `${name} ${answered.size}`).join(', ')

/** Resolves when nothing waits in the journal. */
async function settled(data: string): Promise<void> {
  for (;;) {
    const database = new DatabaseSync(path.join(data, 'journal.sqlite'), { readOnly: true })
    const row = database.prepare(`SELECT coalesce(sum(waiting), 0) AS waiting FROM places`).get()
    database.close()
    if (row?.['waiting'] === 0) return
    await sleep(50)
  }
}

async function cause(fault: Fault, data: string, say: (line: string) => void): Promise<void> {
  if (fault === 'limit') return
  say(fault === 'locked' ? 'the journal is locked' : 'the disk is full')
  const undo = fault === 'locked' ? lock(data) : fill(data)
  await sleep(2500)
  undo()
  say('and free again')
}

function lock(data: string): () => void {
  const database = new DatabaseSync(path.join(data, 'journal.sqlite'), { timeout: 5000 })
  database.exec('BEGIN IMMEDIATE')
  return () => {
    database.exec('ROLLBACK')
    database.close()
  }
}

/** Writes until there is no room. */
function fill(data: string): () => void {
  const ballast = path.join(data, 'ballast')
  const file = openSync(ballast, 'w')
  try {
    for (;;) writeSync(file, Buffer.alloc(64 * 1024))
  } catch {
    closeSync(file)
  }
  return () => rmSync(ballast)
}
