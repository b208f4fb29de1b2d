/** What a router takes, as types; like events.ts, checked by `tsc` and never run. */
import { HttpConsumer, ProtocolTypeRouter, SmsConsumer, WebsocketConsumer } from 'signalbox'
import { email, http, mqtt, sms, websocket } from './events.ts'

export const whole = ProtocolTypeRouter({ http, websocket, mqtt, email, sms })
export const part = ProtocolTypeRouter({ sms })
export const nested = ProtocolTypeRouter({ http: whole, mqtt: part })

// @ts-expect-error -- a misspelt protocol
export const misspelt = ProtocolTypeRouter({ htp: http })

// @ts-expect-error -- a protocol that is not registered
export const unregistered = ProtocolTypeRouter({ http, fax: http })

// @ts-expect-error -- an application of another protocol
export const crossed = ProtocolTypeRouter({ http: sms })

// @ts-expect-error -- no application at all
export const empty = ProtocolTypeRouter({ http: 'handlers.ts#http' })

class Chat extends WebsocketConsumer {
  override async receiveText(text: string) {
    await this.sendText(text)
    // @ts-expect-error -- an event of another protocol
    await this.send({ type: 'sms.reply', body: text })
    // @ts-expect-error -- a WebSocket has no sender's number
    this.scope.from satisfies string
  }
}

export const consumers = ProtocolTypeRouter({ websocket: Chat.asApplication() })

// @ts-expect-error -- a consumer of another protocol
export const crossedConsumer = ProtocolTypeRouter({ sms: Chat.asApplication() })

// @ts-expect-error -- a class is no application until asApplication() makes it one
export const notYet = ProtocolTypeRouter({ websocket: Chat })

export class Misspelt extends SmsConsumer {
  // @ts-expect-error -- a misspelt hook overrides nothing
  override mesage() {}
}

export class Page extends HttpConsumer {
  // @ts-expect-error -- a page is a Response
  override async handle() {
    return 'hello'
  }
}
