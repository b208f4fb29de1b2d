/** A text asks for the gate; whoever guards it answers from elsewhere, with a message to the group. */
import { SmsConsumer, wrap, type Application, type Event, type SmsMessage, type SmsProtocol } from 'signalbox'

interface GateOpened {
  readonly type: 'gate.opened'
  readonly by: string
}

export class GateConsumer extends SmsConsumer {
  override readonly groups = ['gate']

  override async message({ body }: SmsMessage) {
    await this.groupSend('guards', { type: 'gate.asked', from: this.scope.from, body })
  }

  async 'gate.opened'({ by }: GateOpened) {
    await this.reply(`${by} has opened the gate`)
  }

  /** After the text it goes on, until the gate is opened. */
  protected override isLast({ type }: Event) {
    return type !== 'sms.message'
  }
}

/** A middleware: what some numbers say reaches nobody. */
function withoutNumbers(application: Application<SmsProtocol>, numbers: readonly string[]): Application<SmsProtocol> {
  return async (scope, receive, send, context) => {
    if (!numbers.includes(scope.from)) return application(scope, receive, send, context)
    context.log.info({}, 'a text of a blocked number')
  }
}

export const gate = wrap(withoutNumbers, ['+15005550001'], GateConsumer.asApplication())
