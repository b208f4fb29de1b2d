/** The chat and the live page's socket, and the counter around everything. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { HttpCommunicator } from '../../protocols/http/communicator.ts'
import { SmsCommunicator } from '../../protocols/sms/communicator.ts'
import { WebsocketCommunicator } from '../../protocols/websocket/communicator.ts'
import type { EveryApplication } from '../../src/asgi/protocol.ts'
import { ProtocolTypeRouter } from '../../protocols/registry.ts'
import { ChatConsumer, nameIn } from '../../config/handlers/chat.ts'
import { USTextHandler } from '../../config/handlers/commands.ts'
import { LiveConsumer, counted } from '../../config/handlers/live.ts'
import { site } from '../../config/handlers/site.ts'
import { sample, type Sample } from './sample.ts'

let place: Sample
beforeEach(async () => {
  place = await sample()
})
afterEach(() => place[Symbol.dispose]())

async function connected(application: Parameters<typeof socketTo>[0], path: string): Promise<WebsocketCommunicator> {
  const socket = socketTo(application, path)
  expect(await socket.connect()).toMatchObject({ accepted: true })
  return socket
}
const socketTo = (application: ConstructorParameters<typeof WebsocketCommunicator>[0], path: string) =>
  new WebsocketCommunicator(application, { path, state: place.state }, { layer: place.layer })

describe('the chat', () => {
  const join = async (query = '') => {
    const socket = await connected(ChatConsumer.asApplication(), `/chat/${query}`)
    return { socket, welcome: await socket.receiveText() }
  }

  test('welcomes by name, or as Anonymous', async () => {
    expect((await join()).welcome).toBe('[Welcome Anonymous!]')
    expect((await join('?name=ann')).welcome).toBe('[Welcome ann!]')
    expect((await join('?name=')).welcome).toBe('[Welcome Anonymous!]')
  })

  test('a line goes to everyone in the group, the sender too, in order', async () => {
    const [{ socket: ann }, { socket: bob }] = [await join('?name=ann'), await join()]
    await ann.sendText('hello')
    await bob.sendText(' hi\r\nthere ')
    for (const socket of [ann, bob]) {
      expect(await socket.receiveText()).toBe('ann: hello')
      expect(await socket.receiveText()).toBe('Anonymous: hi there')
    }
  })

  test('other handlers can say something, and who has left hears nothing', async () => {
    const [{ socket: ann }, { socket: bob }] = [await join(), await join()]
    await bob.disconnect()
    const said = await place.layer.groupSend('chat', { type: 'chat.message', text: 'the kitchen is hot' } as {
      type: string
    })
    expect(said).toEqual({ delivered: 1, dropped: 0 })
    expect(await ann.receiveText()).toBe('the kitchen is hot')
  })

  test('what is empty, too long or no text goes to nobody else', async () => {
    const [{ socket: ann }, { socket: bob }] = [await join(), await join()]
    await ann.sendText(' \n ')
    await ann.sendText('x'.repeat(1001))
    expect(await ann.receiveText()).toBe('[A line has at most 1000 characters.]')
    await ann.sendBytes(new Uint8Array([1]))
    expect(await ann.receiveText()).toBe('[This chat takes text, not bytes.]')
    await ann.sendText('😀'.repeat(1000))
    expect(await bob.receiveText()).toBe(`Anonymous: ${'😀'.repeat(1000)}`)
  })

  test('a name is short, on one line, and cannot look like a line of somebody else', () => {
    expect(nameIn('name=bob:%20hi%0Aann')).toBe('bob  hi ann')
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (name) => {
        const shown = nameIn(new URLSearchParams({ name }).toString())
        expect(shown).toMatch(/^[^:\p{Cc}]{1,64}$/u)
        expect(Array.from(shown).length).toBeLessThanOrEqual(32)
      }),
    )
  })
})

describe('the live socket', () => {
  test('begins with all there is to know', async () => {
    place.store.readings.add({ room: 'kitchen', celsius: 21.5, at: Date.now(), stamped: false, received: Date.now() })
    place.store.texts.add({ sid: 'SM1', from: '+14155550100', body: 'hello', answer: '' })
    const page = await connected(LiveConsumer.asApplication(), '/live/')
    expect(await page.receiveJson()).toMatchObject({
      kind: 'snapshot',
      counters: { http: 0, websocket: 0, mqtt: 0, email: 0, sms: 0 },
      rooms: [{ room: 'kitchen', history: [{ celsius: 21.5 }] }],
      tickets: [],
      texts: [{ from: '+1 *** 0100', body: 'hello' }],
    })
  })

  test('goes on with what the handlers have stored', async () => {
    const page = await connected(LiveConsumer.asApplication(), '/live/')
    await page.receiveJson()
    const { layer, state } = place
    await new SmsCommunicator(USTextHandler.asApplication(), { from: '+14155550100', layer, state }).send('hello')
    expect(await page.receiveJson()).toMatchObject({ kind: 'text', from: '+1 *** 0100', body: 'hello' })
  })
})

describe('the counter', () => {
  const application = () =>
    counted(
      ProtocolTypeRouter({
        http: site,
        websocket: ChatConsumer.asApplication(),
        sms: USTextHandler.asApplication(),
      }),
      undefined,
    ) as EveryApplication

  test('counts what arrives on each protocol, not what only opens or ends', async () => {
    const { layer, state, store } = place
    const app = application()
    await new HttpCommunicator(app, { path: '/', state }, { layer }).response()
    const socket = await connected(app, '/chat/')
    expect(store.counters.all()).toMatchObject({ http: 1, websocket: 0 })
    await socket.sendText('one')
    await socket.sendText('two')
    await socket.disconnect()
    const phone = new SmsCommunicator(app, { from: '+14155550100', layer, state })
    await phone.send('hello')
    await phone.status('delivered')
    expect(store.counters.all()).toEqual({ http: 1, websocket: 2, mqtt: 0, email: 0, sms: 1 })
  })

  test('tells the pages of many messages at once', async () => {
    const page = await connected(LiveConsumer.asApplication(), '/live/')
    await page.receiveJson()
    const socket = await connected(application(), '/chat/')
    for (let i = 0; i < 50; i++) await socket.sendText('hello')
    let websocket = 0
    while (websocket < 50) {
      const update = (await page.receiveJson()) as { kind: string; counters: { websocket: number } }
      expect(update.kind).toBe('counters')
      ;({ websocket } = update.counters)
    }
    expect(await page.receiveNothing()).toBe(true)
    await socket.disconnect()
  })

  test('lets failures pass as they are', async () => {
    const broken = counted(async () => {
      throw new Error('broken')
    }, undefined) as EveryApplication
    const phone = new SmsCommunicator(broken, { from: '+14155550100', layer: place.layer, state: place.state })
    await expect(phone.send('hello')).rejects.toThrow('broken')
  })
})
