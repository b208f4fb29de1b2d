/**
 * Handlers that block, as types. Nothing here runs: `tsc` checks that what is right compiles, and that each line behind
 * `@ts-expect-error` does not.
 */
import {
  EmailConsumer,
  SyncConsumer,
  SyncEmailConsumer,
  SyncHttpConsumer,
  SyncWebsocketConsumer,
  syncApplication,
  syncHandler,
  type Application,
  type EmailMessage,
  type EmailProtocol,
  type HttpProtocol,
  type WebsocketProtocol,
} from 'signalbox'

export class Tickets extends SyncEmailConsumer {
  override message({ subject }: EmailMessage) {
    const nothing: void = this.reply({ text: subject })
    // @ts-expect-error -- a reply that blocks is no promise
    this.reply({ text: subject }).catch(() => nothing)
    this.groupSend('live', { type: 'a.b' }).delivered satisfies number
    this.layer.groupMembers('live') satisfies readonly string[]
    // @ts-expect-error -- the signal of blocking code has nothing to listen to
    this.signal.addEventListener('abort', () => undefined)
    this.scope.recipient satisfies string
    // @ts-expect-error -- a reply has a text
    this.reply({ txt: subject })
  }
}

export class Mails extends EmailConsumer {
  override async message({ subject }: EmailMessage) {
    await this.reply({ text: subject })
    ;(await this.groupSend('live', { type: 'a.b' })).delivered satisfies number
    this.signal.addEventListener('abort', () => undefined)
  }
}

const here = new URL('file:///here.ts')
export const mails: Application<EmailProtocol> = Mails.asApplication()
// @ts-expect-error -- what blocks runs on a worker thread
export const wrong: Application<EmailProtocol> = Tickets.asApplication()
export const tickets: Application<EmailProtocol> = syncApplication(Tickets, here)
// @ts-expect-error -- a consumer of another protocol
export const other: Application<HttpProtocol> = syncApplication(Tickets, here)
// @ts-expect-error -- an asynchronous one is an application already
export const twice = syncApplication(Mails, here)

export class Echo extends SyncWebsocketConsumer {
  override receiveText(text: string) {
    this.sendJson({ text })
    // @ts-expect-error -- text is text
    this.sendText(1)
  }
}

export class Page extends SyncHttpConsumer {
  override handle() {
    return { status: 200, headers: { 'set-cookie': ['a=1', 'b=2'] }, body: 'hello' }
  }
}

export class Stream extends SyncHttpConsumer {
  // @ts-expect-error -- the body of a web-standard Response cannot be read without waiting
  override handle() {
    return Promise.resolve({ body: 'hello' })
  }
}

export class Raw extends SyncConsumer<WebsocketProtocol> {
  'websocket.connect'() {
    this.send({ type: 'websocket.accept' })
    // @ts-expect-error -- an HTTP event on a WebSocket
    this.send({ type: 'http.response.start', status: 200 })
  }
}

export const plain = syncHandler<HttpProtocol>((scope, receive, send) => {
  receive().type satisfies string
  send({ type: 'http.response.start', status: 200 })
  // @ts-expect-error -- a misspelt field
  send({ type: 'http.response.body', text: scope.method })
})

export class Teller extends SyncConsumer<WebsocketProtocol> {
  'websocket.receive'() {
    this.layer.groupSend('room', { type: 'room.told', by: 'a literal with fields of its own' })
    // @ts-expect-error -- a message has a type
    this.layer.send('work', { by: 'nobody' })
  }
}
