/** The live page's side: a counter around the whole application, and the socket that tells the pages what happens. */
import { WebsocketConsumer, type Middleware } from 'signalbox'
import { storeOf } from './store.ts'

/** What counts as a message that came in; an HTTP request counts when it comes, read or not. */
const arrivals: Readonly<Record<string, string>> = {
  websocket: 'websocket.receive',
  mqtt: 'mqtt.publish',
  email: 'email.message',
  sms: 'sms.message',
}
/** How often the pages are told at most, in milliseconds: a thousand messages a second are five updates. */
const interval = 200

/** Sent to the group `live` by whoever has something new to show. */
interface LiveUpdate {
  readonly type: 'live.update'
  readonly update: object
}

/** Counts what arrives, on every protocol, and shows it to the group `live`. */
export const counted: Middleware = (application) => {
  let timer: NodeJS.Timeout | undefined
  return async (scope, receive, send, context) => {
    const count = () => {
      const { counters } = storeOf(scope)
      counters.add(scope.type)
      timer ??= setTimeout(() => {
        timer = undefined
        counters.save()
        const message: LiveUpdate = { type: 'live.update', update: { kind: 'counters', counters: counters.all() } }
        context.layer.groupSend('live', message).catch((error: unknown) => {
          context.log.debug({ err: error }, 'no page was told')
        })
      }, interval).unref()
    }
    if (scope.type === 'http') count()
    const counting = async () => {
      const event = await receive()
      if (event.type === arrivals[scope.type]) count()
      return event
    }
    await application(scope, counting, send, context)
  }
}

/** What a page is shown when it comes: the newest of each list. */
const shown = { rooms: 50, history: 100, tickets: 50, texts: 50 }

export class LiveConsumer extends WebsocketConsumer {
  override readonly groups = ['live']

  override async connect(): Promise<void> {
    const { counters, readings, texts, tickets } = storeOf(this.scope)
    await this.accept()
    await this.sendJson({
      kind: 'snapshot',
      counters: counters.all(),
      rooms: readings.rooms(shown.rooms).map(({ room }) => ({ room, history: readings.history(room, shown.history) })),
      tickets: tickets.list(shown.tickets),
      texts: texts.list(shown.texts),
    })
  }

  /** Sent by the handlers when they have stored something new. */
  async 'live.update'({ update }: LiveUpdate): Promise<void> {
    await this.sendJson(update)
  }
}
