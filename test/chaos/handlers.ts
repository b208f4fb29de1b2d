/** The gateway under chaos: notes what it has handled in a file that outlives it, and fails now and then. */
import { appendFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { EmailConsumer, MqttConsumer, SmsConsumer, permanent, type EmailMessage, type MqttPublish } from 'signalbox'

/** One line of the file. */
export interface Note {
  readonly event: string
  readonly redelivered: boolean
}

interface Scope {
  readonly redelivered?: boolean
}

/** Of a hundred: how many attempts fail, and how many events can never be handled. */
const failures = 10
const hopeless = 1
/** How long an attempt takes at most, in milliseconds. */
const longest = Number(process.env['CHAOS_LONGEST'] ?? 4)
/** The file. */
const notes = process.env['CHAOS_NOTES'] ?? ''

async function handle(scope: Scope, event: string): Promise<void> {
  await sleep(Math.random() * longest)
  if (hash(event) % 100 < hopeless) throw permanent(new Error(`${event} can never be handled`))
  if (Math.random() * 100 < failures) throw new Error('this attempt fails')
  const note: Note = { event, redelivered: scope.redelivered ?? false }
  // What was written stays when the process is killed: the file is the system's by then.
  appendFileSync(notes, `${JSON.stringify(note)}\n`)
}

function hash(text: string): number {
  let sum = 7
  for (const letter of text) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 1_000_003
  return sum
}

export class Publishes extends MqttConsumer {
  override async message({ payload }: MqttPublish): Promise<void> {
    await handle(this.scope, Buffer.from(payload).toString())
  }
}

export class Mails extends EmailConsumer {
  override async message({ subject }: EmailMessage): Promise<void> {
    await handle(this.scope, subject)
  }
}

export class Texts extends SmsConsumer {
  override async message({ body }: { readonly body: string }): Promise<void> {
    await handle(this.scope, body)
  }
}
