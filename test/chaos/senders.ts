/** Real clients that send numbered events until they are told to stop, each again until it has its positive answer. */
import { EventEmitter } from 'node:events'
import { createTransport } from 'nodemailer'
import { setTimeout as sleep } from 'node:timers/promises'
import twilio from 'twilio/lib/webhooks/webhooks.js'
import { token, type Ports } from './gateway.ts'
import { MqttDevice } from './mqtt-device.ts'

/** What comes of sending an event once: the gateway has it, it is to come again later, or there was no answer. */
type Answer = 'yes' | 'later' | 'none'

interface SenderOptions {
  readonly name: string
  /** Whether its protocol has a key that the gateway knows an event by when it comes again. */
  readonly hasKey: boolean
  /** Whether it has a word for: come later. */
  readonly isTold: boolean
  /** Events that are under way at once. */
  readonly lanes: number
  send(event: string, lane: number): Promise<Answer>
  /** Breaks its connections off, where it has lasting ones; resolves when it is back. */
  leave?(): Promise<unknown>
  close?(): void
}

/** How long a gateway is left alone that did not take an event, in milliseconds. */
const pause = 20
/** CONNACK's word for it. [MQTT-3.2.2-3] */
const unavailable = 3

/** Emits `lost` when an answer was lost on its way, and `later` when it was told to come again. */
export class Sender extends EventEmitter<{ lost: []; later: [] }> implements Disposable {
  readonly answered = new Set<string>()
  /** Answers that nobody should have had. */
  readonly wrong: string[] = []
  sent = 0
  answersLost = 0
  toldLater = 0
  /** The answers to it are lost on their way: what the gateway has is sent to it again. */
  isDeaf = false
  readonly #options: SenderOptions
  #stopped = false
  #over = false
  #lanes: readonly Promise<void>[] = []

  constructor(options: SenderOptions) {
    super()
    this.#options = options
  }

  get name(): string {
    return this.#options.name
  }

  get hasKey(): boolean {
    return this.#options.hasKey
  }

  get isTold(): boolean {
    return this.#options.isTold
  }

  start(): this {
    this.#lanes = Array.from({ length: this.#options.lanes }, (_, lane) => this.#send(lane))
    return this
  }

  /** Whether a positive answer, which has just come, reaches it. */
  hears(): boolean {
    if (!this.isDeaf) return true
    this.answersLost++
    this.emit('lost')
    return false
  }

  comeLater(): 'later' {
    this.toldLater++
    this.emit('later')
    return 'later'
  }

  wronglyTold(answer: string): 'none' {
    this.wrong.push(answer)
    return 'none'
  }

  async leave(): Promise<void> {
    await this.#options.leave?.()
  }

  /** Begins nothing more; resolves when what was begun has its answer, or after so many milliseconds. */
  async stop(patience: number): Promise<void> {
    this.#stopped = true
    await Promise.race([Promise.all(this.#lanes), sleep(patience, undefined, { ref: false })])
  }

  [Symbol.dispose](): void {
    this.#stopped = this.#over = true
    this.#options.close?.()
  }

  async #send(lane: number): Promise<void> {
    while (!this.#stopped) {
      const event = `${this.name}-${this.sent++}`
      while ((await this.#options.send(event, lane)) !== 'yes') {
        await sleep(pause)
        if (this.#over) return
      }
      this.answered.add(event)
    }
  }
}

/** Publishes with this QoS, by several devices with a lasting session each. */
export function mqttSender({ mqtt: port }: Ports, qos: 1 | 2): Sender {
  const name = `mqtt-${qos}`
  const ears = {
    hears: () => sender.hears(),
    refused: (code: number) => (code === unavailable ? sender.comeLater() : sender.wronglyTold(`CONNACK ${code}`)),
  }
  const devices = Array.from({ length: 5 }, (_, index) => new MqttDevice(port, `${name}-${index}`, ears))
  const sender: Sender = new Sender({
    name,
    hasKey: true,
    isTold: false,
    lanes: 10,
    async send(event, lane) {
      await devices[lane % devices.length]?.publish(`chaos/${name}`, event, qos)
      return 'yes'
    },
    leave: () => Promise.all(devices.map((device) => device.leave())),
    close: () => devices.forEach((device) => device.close()),
  })
  return sender.start()
}

/** Each event a mail with a Message-ID of its own; or with none, so that nobody can tell that it comes again. */
export function mailSender({ email: port }: Ports, name: 'email' | 'email-no-id'): Sender {
  const hasKey = name === 'email'
  const text = `${'x'.repeat(72)}\r\n`.repeat(275)
  const sender = new Sender({
    name,
    hasKey,
    isTold: true,
    // Before each greeting it waits for a while.
    lanes: 12,
    async send(event) {
      const transport = createTransport({
        host: '127.0.0.1',
        port,
        ignoreTLS: true,
        greetingTimeout: 2000,
        socketTimeout: 5000,
      })
      const id = hasKey ? `Message-ID: <${event}@chaos.example>\r\n` : ''
      try {
        await transport.sendMail({
          envelope: { from: 'ann@example.org', to: `help@${name}.example` },
          raw: `${id}From: ann@example.org\r\nSubject: ${event}\r\n\r\n${text}`,
        })
        return sender.hears() ? 'yes' : 'none'
      } catch (error) {
        const { responseCode: code, message } = error as { readonly responseCode?: number; readonly message: string }
        if (code === undefined) return 'none'
        return code < 500 ? sender.comeLater() : sender.wronglyTold(message)
      } finally {
        transport.close()
      }
    },
  })
  return sender.start()
}

/** Each event a signed webhook with a MessageSid of its own. */
export function smsSender({ http: port }: Ports): Sender {
  const url = `http://127.0.0.1:${port}/sms`
  const sender = new Sender({
    name: 'sms',
    hasKey: true,
    isTold: true,
    lanes: 4,
    async send(event) {
      const parameters = {
        MessageSid: `SM${Buffer.from(event).toString('hex')}`,
        From: '+14155550100',
        To: '+15005550006',
        Body: event,
      }
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          'x-twilio-signature': twilio.getExpectedTwilioSignature(token, url, parameters),
        },
        body: new URLSearchParams(parameters),
        signal: AbortSignal.timeout(15_000),
      }).catch(() => undefined)
      const text = await response?.text().catch(() => undefined)
      if (!response || text === undefined) return 'none'
      if (response.status === 200) return sender.hears() ? 'yes' : 'none'
      return response.status === 503 ? sender.comeLater() : sender.wronglyTold(`${response.status} ${text}`)
    },
  })
  return sender.start()
}
