/** Consumers for WebSocket, over the wire. */
import { expect, test } from '@jest/globals'
import { WebsocketConsumer } from '../../../protocols/websocket/consumer.ts'
import { Client, refused, serveWebsocket } from './support.ts'

test('a consumer that overrides nothing accepts', async () => {
  await using server = await serveWebsocket(WebsocketConsumer.asApplication())
  const client = await Client.connect(server.url)
  client.ws.close(1000)
  expect((await client.closed).code).toBe(1000)
  await server.test.idle()
})

test('its hooks get text, bytes and the disconnect, and its methods answer', async () => {
  const ended = Promise.withResolvers<unknown>()
  class Talk extends WebsocketConsumer {
    #count = 0

    override async connect() {
      await this.accept({ subprotocol: 'talk' })
      await this.sendText('welcome')
    }

    override async receiveText(text: string) {
      await this.sendJson({ text, count: ++this.#count })
    }

    override async receiveBytes(bytes: Uint8Array) {
      await this.sendBytes(bytes.toReversed())
    }

    override disconnect(code: number, reason: string) {
      ended.resolve([code, reason, this.#count])
    }
  }
  await using server = await serveWebsocket(Talk.asApplication())
  const client = await Client.connect(server.url, { protocols: ['talk'] })
  expect(await client.next()).toBe('welcome')
  client.ws.send('one')
  client.ws.send('two')
  client.ws.send(new Uint8Array([1, 2, 3]))
  expect(await client.next()).toBe('{"text":"one","count":1}')
  expect(await client.next()).toBe('{"text":"two","count":2}')
  expect(await client.next()).toEqual(Buffer.from([3, 2, 1]))
  client.ws.close(4000, 'bye')
  expect(await ended.promise).toEqual([4000, 'bye', 2])
})

test('a group reaches its members, and each has left when it is gone', async () => {
  class Chat extends WebsocketConsumer {
    override readonly groups = ['chat']

    override async receiveText(text: string) {
      await this.groupSend('chat', { type: 'chat.message', text })
    }

    async 'chat.message'({ text }: { readonly type: string; readonly text: string }) {
      await this.sendText(text)
    }
  }
  await using server = await serveWebsocket(Chat.asApplication())
  const clients = await Promise.all([1, 2, 3].map(() => Client.connect(server.url)))
  clients[0]?.ws.send('hello')
  expect(await Promise.all(clients.map((client) => client.next()))).toEqual(['hello', 'hello', 'hello'])
  for (const client of clients) client.ws.terminate()
  await server.test.idle()
  expect(server.test.layer.stats()).toMatchObject({ channels: 0, groups: 0 })
})

test('a consumer refuses with close, or with a response of its own', async () => {
  class Guarded extends WebsocketConsumer {
    override async connect() {
      if (this.scope.path === '/closed') await this.close()
      else await this.refuse(401, 'who are you?', [['www-authenticate', 'Bearer']])
    }
  }
  await using server = await serveWebsocket(Guarded.asApplication())
  expect(await refused(`${server.url}/closed`)).toMatchObject({ status: 403 })
  expect(await refused(server.url)).toMatchObject({
    status: 401,
    body: 'who are you?',
    headers: { 'www-authenticate': 'Bearer' },
  })
  await server.test.idle()
})

test('the disconnect hook runs also when a handler raised', async () => {
  const ended = Promise.withResolvers<unknown>()
  class Broken extends WebsocketConsumer {
    override receiveText() {
      throw new Error('no')
    }

    override disconnect(code: number, reason: string) {
      ended.resolve([code, reason])
    }
  }
  await using server = await serveWebsocket(Broken.asApplication())
  const client = await Client.connect(server.url)
  client.ws.send('go')
  expect(await ended.promise).toEqual([1011, 'no'])
  expect(await client.closed).toEqual({ code: 1011, reason: 'internal error' })
})
