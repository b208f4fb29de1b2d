/** The handlers of the benchmark's gateway: each does what its bare counterpart does. */
import {
  EmailConsumer,
  HttpConsumer,
  MqttConsumer,
  SmsConsumer,
  WebsocketConsumer,
  type Application,
  type EmailMessage,
  type HttpAnswer,
  type HttpProtocol,
  type MqttPublish,
} from 'signalbox'

interface RoomMessage {
  readonly type: 'room.message'
  readonly text: string
}

export class HelloConsumer extends HttpConsumer {
  override handle(): HttpAnswer {
    return { body: 'Hello, world!' }
  }
}

/** The same with a web-standard Response. */
export class ResponseConsumer extends HttpConsumer {
  override handle(): Response {
    return new Response('Hello, world!')
  }
}

/** The same as an application that speaks in events, without a consumer. */
export const hello: Application<HttpProtocol> = async (_scope, _receive, send) => {
  await send({ type: 'http.response.start', status: 200, headers: [['content-type', 'text/plain;charset=UTF-8']] })
  await send({ type: 'http.response.body', body: 'Hello, world!' })
}

export class EchoConsumer extends WebsocketConsumer {
  override receiveText(text: string): Promise<void> {
    return this.sendText(text)
  }
}

/** One of those who hear what is said in the room. */
export class MemberConsumer extends WebsocketConsumer {
  override readonly groups = ['room']

  'room.message'({ text }: RoomMessage): Promise<void> {
    return this.sendText(text)
  }
}

/** Who says it, without being a member. */
export class SpeakerConsumer extends WebsocketConsumer {
  override async receiveText(text: string): Promise<void> {
    await this.groupSend<RoomMessage>('room', { type: 'room.message', text })
  }
}

export class SensorConsumer extends MqttConsumer {
  bytes = 0

  override async message({ payload }: MqttPublish): Promise<void> {
    this.bytes += payload.length
  }
}

/** Takes a mail as it came. */
export class InboxConsumer extends EmailConsumer {
  length = 0

  override message({ raw }: EmailMessage): void {
    this.length += raw.length
  }
}

/** Looks at what a mail says, so that it is parsed. */
export class ReaderConsumer extends EmailConsumer {
  length = 0

  override message({ subject, text }: EmailMessage): void {
    this.length += subject.length + text.length
  }
}

export class TextConsumer extends SmsConsumer {
  override message(): Promise<void> {
    return this.reply('Thank you.')
  }
}
