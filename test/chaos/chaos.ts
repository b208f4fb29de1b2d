/** Kills a gateway at random moments while real clients send to it, and looks afterwards whether it kept its word. */
import { once } from 'node:events'
import { DatabaseSync } from 'node:sqlite'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { reason } from '../../src/runtime/errors.ts'
import { SmallDisk } from '../support/small-disk.ts'
import { evidenceIn, type Files } from './evidence.ts'
import { freePorts, GatewayProcess, writeYaml } from './gateway.ts'
import { mailSender, mqttSender, smsSender, type Sender } from './senders.ts'
import { judge, type Fate } from './verdict.ts'

export interface ChaosOptions {
  /** How often the process is killed with `kill -9`. */
  readonly kills: number
  /** Milliseconds that it serves at most between two. */
  readonly life: number
  /** What else goes wrong. */
  readonly fault?: Fault | undefined
  readonly say: (line: string) => void
}

/**
 * `locked`: another program holds the journal's file for a while. `full`: its disk is full for a while. `limit`: the journal is full
 * again and again, for it is small and the handlers are slow.
 */
export type Fault = 'locked' | 'full' | 'limit'

export interface Outcome {
  readonly kills: number
  readonly fault: Fault | undefined
  readonly fates: readonly Fate[]
  /** Promises that were not kept, in words; none: the gateway kept its word. */
  readonly broken: readonly string[]
}

/** How long something that must happen may take, in milliseconds. */
const patience = 60_000

export async function runChaos({ kills, life, fault: wanted, say }: ChaosOptions): Promise<Outcome> {
  using stack = new DisposableStack()
  const base = mkdtempSync(path.join(tmpdir(), 'signalbox-chaos-'))
  stack.defer(() => rmSync(base, { recursive: true, force: true }))
  const data = path.join(base, 'data')
  mkdirSync(data)
  const disk = wanted === 'full' ? stack.use(new SmallDisk(data, '128m')) : undefined
  const fault = disk?.isMounted === false ? 'limit' : wanted
  if (fault !== wanted) say('no small disk can be mounted here: a small maxSize stands in for it')

  const ports = await freePorts()
  const yaml = writeYaml(base, ports, fault === 'limit' ? 'maxSize: 1MiB, concurrency: 1' : 'concurrency: 16')
  const files: Files = { yaml, data, notes: path.join(base, 'handled.jsonl') }
  await using gateway = new GatewayProcess(yaml, { notes: files.notes, longest: fault === 'limit' ? 20 : 4 })
  const senders = [
    mqttSender(ports, 1),
    mqttSender(ports, 2),
    mailSender(ports, 'email'),
    mailSender(ports, 'email-no-id'),
    smsSender(ports),
  ].map((sender) => stack.use(sender))

  for (let kill = 1; kill <= kills; kill++) {
    // One in five while it still starts.
    if (kill % 5 === 0) {
      const soon = Math.random() * gateway.startTook
      await Promise.all([gateway.start(), sleep(soon).then(() => gateway.kill())])
    } else {
      await gateway.start()
      await sleep(Math.random() * life)
      if (kill % 2 === 0) await loseAnswers(senders)
      await gateway.kill()
    }
    for (const sender of senders) sender.isDeaf = false
    say(`killed ${kill} of ${kills}: ${answers(senders)}`)
    if (kill !== Math.ceil(kills / 2)) continue
    if (fault === 'locked') await endure(gateway, senders, () => lock(data), say)
    if (disk?.isMounted) await endure(gateway, senders, () => fill(disk), say)
  }
  await gateway.start()
  await sleep(life)
  await Promise.all(senders.map((sender) => sender.stop(patience)))
  say(`no more is sent: ${answers(senders)}`)
  await settled(data)
  const exitCode = await gateway.close()
  const evidence = await evidenceIn(files)
  const verdicts = senders.map((sender) => judge(sender, evidence(sender.name), fault !== undefined))
  const broken = verdicts.flatMap((verdict) => verdict.broken)
  if (exitCode !== 0) broken.push(`the gateway ended with ${exitCode}, though it was told to end`)
  return { kills, fault, fates: verdicts.map(({ fate }) => fate), broken }
}

const answers = (senders: readonly Sender[]): string =>
  senders.map(({ name, answered }) => `${name} ${answered.size}`).join(', ')

/** From now on answers are lost on their way: what this process has is sent again to the next one, and some of it to this one too. */
async function loseAnswers(senders: readonly Sender[]): Promise<void> {
  const lost = senders.map((sender) => heard(sender, 'lost'))
  for (const sender of senders) sender.isDeaf = true
  await Promise.all(lost)
  if (Math.random() < 0.5) await leave(senders)
}

async function leave(senders: readonly Sender[]): Promise<void> {
  const back = Promise.all(senders.map((sender) => sender.leave()))
  await Promise.race([back, sleep(patience, undefined, { ref: false })])
}

/**
 * While it lasts senders are told to come later, or wait, or leave in the middle. A process that is killed then may not start
 * before it is over.
 */
async function endure(
  gateway: GatewayProcess,
  senders: readonly Sender[],
  begin: () => Trouble,
  say: (line: string) => void,
): Promise<void> {
  await gateway.start()
  const told = senders.filter(({ isTold }) => isTold).map((sender) => heard(sender, 'later'))
  using trouble = begin()
  say(trouble.words)
  await Promise.all(told)
  await leave(senders)
  await sleep(Math.random() * 500)
  await gateway.kill()
  const refusal = await gateway.start().then(() => undefined, reason)
  say(`killed meanwhile: ${refusal ?? 'it starts again'}`)
  if (refusal === undefined) await gateway.kill()
  else if (!refusal.includes('the gateway does not start')) throw new Error(refusal)
}

/** Resolves also when it does not come in time: the verdict says so then. */
async function heard(sender: Sender, event: 'lost' | 'later'): Promise<void> {
  await once(sender, event, { signal: AbortSignal.timeout(patience) }).catch(() => undefined)
}

interface Trouble extends Disposable {
  readonly words: string
}

function lock(data: string): Trouble {
  const database = new DatabaseSync(path.join(data, 'journal.sqlite'), { timeout: 5000 })
  database.exec('BEGIN IMMEDIATE')
  return { words: 'the journal is locked', [Symbol.dispose]: () => database.close() }
}

function fill(disk: SmallDisk): Trouble {
  disk.fill()
  return { words: 'the disk is full', [Symbol.dispose]: () => disk.makeRoom() }
}

/** Resolves when nothing waits in the journal, or after so long that the verdict has to say so. */
async function settled(data: string): Promise<void> {
  using database = new DatabaseSync(path.join(data, 'journal.sqlite'), { readOnly: true })
  const waiting = database.prepare('SELECT coalesce(sum(waiting), 0) AS waiting FROM places')
  const end = performance.now() + patience
  while (waiting.get()?.['waiting'] !== 0 && performance.now() < end) await sleep(50)
}
