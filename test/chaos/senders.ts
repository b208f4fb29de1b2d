/** Real clients that send numbered events until they are told to stop, each again until it has its positive answer. */
import { createTransport } from 'nodemailer'
import { setTimeout as sleep } from 'node:timers/promises'
import twilio from 'twilio/lib/webhooks/webhooks.js'
import type { Ports } from './gateway.ts'
import { MqttDevice } from './mqtt-device.ts'

export interface Sender {
  readonly name: string
  /** The events that had a positive answer. */
  readonly answered: ReadonlySet<string>
  /** Answers that said: later. */
  readonly refused: () => number
  /** Resolves when what was begun has its answer. */
  stop(): Promise<void>
}

const token = 'development'

/** Publishes with this QoS in a lasting session, `window` at a time. */
export function mqttSender({ mqtt: port }: Ports, qos: 1 | 2, window = 10): Sender {
  const name = `mqtt-${qos}`
  const device = new MqttDevice(port, name)
  const send = async (event: string) => {
    await device.publish(`chaos/${name}`, event, qos)
    return true
  }
  return sender(name, window, send, () => device.close())
}

/** Each event a mail with a Message-ID of its own. */
export function mailSender({ email: port }: Ports): Sender {
  return sender('email', 4, async (event) => {
    const transport = createTransport({
      host: '127.0.0.1',
      port,
      ignoreTLS: true,
      greetingTimeout: 2000,
      socketTimeout: 5000,
    })
    try {
      await transport.sendMail({
        from: 'ann@example.org',
        to: 'help@chaos.example',
        subject: event,
        messageId: `<${event}@chaos.example>`,
        text: 'x'.repeat(20_000),
      })
      return true
    } catch {
      return false
    } finally {
      transport.close()
    }
  })
}

/** Each event a signed webhook with a MessageSid of its own. */
export function smsSender({ http: port }: Ports): Sender {
  return sender('sms', 4, async (event) => {
    const url = `http://127.0.0.1:${port}/sms`
    const parameters = {
      MessageSid: `SM${Buffer.from(event).toString('hex')}`,
      From: '+14155550100',
      To: '+15005550006',
      Body: event,
    }
    try {
      const response = await fetch(url, {
        method: 'POST',
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          'x-twilio-signature': twilio.getExpectedTwilioSignature(token, url, parameters),
        },
        body: new URLSearchParams(parameters),
        signal: AbortSignal.timeout(15_000),
      })
      await response.arrayBuffer()
      return response.status === 200
    } catch {
      return false
    }
  })
}

/** `send` says whether it had the positive answer; what had not is sent once more. */
function sender(
  name: string,
  lanes: number,
  send: (event: string) => Promise<boolean>,
  close: () => void = () => undefined,
): Sender {
  const answered = new Set<string>()
  let refused = 0
  let stopped = false
  let next = 0
  async function lane(): Promise<void> {
    while (!stopped) {
      const event = `${name}-${next++}`
      while (!(await send(event))) {
        refused++
        await sleep(20)
      }
      answered.add(event)
    }
  }
  const running = Array.from({ length: lanes }, lane)
  return {
    name,
    answered,
    refused: () => refused,
    async stop() {
      stopped = true
      await Promise.all(running)
      close()
    },
  }
}
