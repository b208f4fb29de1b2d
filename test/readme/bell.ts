/** A doorbell: whoever rings it is announced on every open socket. */
import { WebsocketConsumer, httpHandler } from 'signalbox'

interface BellRang {
  readonly type: 'bell.rang'
  readonly who: string
}

export const ring = httpHandler(async ({ params }, { layer }) => {
  const rang: BellRang = { type: 'bell.rang', who: params['who'] ?? 'somebody' }
  const { delivered } = await layer.groupSend('bell', rang)
  return new Response(`${delivered} heard it\n`)
})

export class BellConsumer extends WebsocketConsumer {
  override readonly groups = ['bell']

  async 'bell.rang'({ who }: BellRang) {
    await this.sendText(`${who} is at the door`)
  }
}
