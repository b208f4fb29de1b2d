/** Tests the doorbell without a socket. */
import { expect, test } from '@jest/globals'
import { MemoryLayer, URLRouter } from 'signalbox'
import { HttpCommunicator, WebsocketCommunicator } from 'signalbox/testing'
import { BellConsumer, ring } from './bell.ts'

test('a ring is heard on an open socket', async () => {
  const layer = new MemoryLayer()
  const socket = new WebsocketCommunicator(BellConsumer.asApplication(), { path: '/bell/' }, { layer })
  expect((await socket.connect()).accepted).toBe(true)

  const routes = URLRouter([{ path: '/ring/:who', app: ring }])
  const response = await new HttpCommunicator(routes, { method: 'POST', path: '/ring/ann' }, { layer }).response()
  expect(response.text).toBe('1 heard it\n')
  expect(await socket.receiveText()).toBe('ann is at the door')

  await socket.disconnect()
  expect(await layer.groupMembers('bell')).toEqual([])
})
