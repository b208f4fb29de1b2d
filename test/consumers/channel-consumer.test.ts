/** A consumer of a named channel: one object a message, which is done, or fails. */
import { afterEach, expect, test } from '@jest/globals'
import type { ChannelProtocol } from '../../src/asgi/channel.ts'
import type { Event } from '../../src/asgi/protocol.ts'
import { ChannelConsumer } from '../../src/consumers/channel-consumer.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import { scopeOf } from '../support/scopes.ts'

interface Resize extends Event {
  readonly path: string
}

const story: string[] = []
let layer = new MemoryLayer()
afterEach(async () => {
  await layer.close()
  layer = new MemoryLayer()
  story.length = 0
})

class Thumbnails extends ChannelConsumer {
  override readonly groups = ['pictures']
  #handled = 0

  async 'image.resize'({ path }: Resize) {
    this.#handled++
    story.push(`${this.scope.channel} ${path} ${this.#handled}`)
    await this.groupSend('pictures', { type: 'picture.made' })
  }

  async 'image.broken'() {
    throw new Error('no picture')
  }

  async 'picture.made'() {
    story.push('heard of itself')
  }
}

const scope = scopeOf('channel', { channel: 'thumbnails' })
const work = (application = Thumbnails.asApplication<ChannelProtocol>()) =>
  new ApplicationCommunicator<ChannelProtocol>(application, scope, { layer })
const resize = (path: string): Resize => ({ type: 'image.resize', path })

test('a message is handled by the method of its type, and then the scope is over', async () => {
  const communicator = work()
  await communicator.sendInput(resize('a.png'), { last: true })
  expect((await communicator.wait()).kind).not.toBe('raised')
  expect(story).toEqual(['thumbnails a.png 1'])
  expect(layer.stats()).toMatchObject({ channels: 0, groups: 0 })
})

test('each message has an object of its own', async () => {
  await work().sendInput(resize('a.png'), { last: true })
  await work().sendInput(resize('b.png'), { last: true })
  expect(story).toEqual(['thumbnails a.png 1', 'thumbnails b.png 1'])
})

test('what the method throws is the failure of the message', async () => {
  const communicator = work()
  await expect(communicator.sendInput({ type: 'image.broken' }, { last: true })).rejects.toThrow('no picture')
  expect(await communicator.wait()).toMatchObject({ kind: 'raised' })
})

test.each(['image.unknown', 'constructor', 'toString', 'scope.channel'])(
  'a message of the type %s, which no method handles, has failed',
  async (type) => {
    await expect(work().sendInput({ type }, { last: true })).rejects.toMatchObject({
      code: 'bad_message',
      message: `Thumbnails has no method for a message of the type ${type}, which came on channel thumbnails`,
    })
  },
)
