/** What every channel layer does, whatever stands behind it. */
import { describe, expect } from '@jest/globals'
import { channelContract } from './channel-contract.ts'
import { groupContract } from './group-contract.ts'
import { messageContract } from './message-contract.ts'
import { text } from './messages.ts'
import { layerModel } from './model.ts'
import { timeContract } from './time-contract.ts'
import { type MakeLayer, layerTest } from './with-layer.ts'
import { workContract } from './work-contract.ts'

/** `runs` is how many random lives the model leads. */
export function layerContract(name: string, makeLayer: MakeLayer, runs = 200): void {
  layerModel(name, makeLayer, runs)
  channelContract(name, makeLayer)
  messageContract(name, makeLayer)
  groupContract(name, makeLayer)
  timeContract(name, makeLayer)
  workContract(name, makeLayer, Math.ceil(runs / 4))

  const withLayer = layerTest(makeLayer)

  describe(`${name}: the end`, () => {
    withLayer('flush forgets every message, channel and group', undefined, async (layer) => {
      const channel = layer.newChannel()
      const waiting = expect(layer.receive(layer.newChannel())).rejects.toMatchObject({ code: 'scope_ended' })
      await layer.groupAdd('chat', channel)
      await layer.send(channel, text('old'))
      await layer.send('work', text('old'))
      await layer.flush()
      await waiting
      expect(layer.stats()).toMatchObject({ channels: 0, groups: 0 })
      expect(await layer.groupMembers('chat')).toEqual([])
      await layer.send('work', text('new'))
      await expect(layer.receive('work')).resolves.toEqual(text('new'))
    })

    withLayer('close tells everybody who waits', undefined, async (layer) => {
      const { signal } = new AbortController()
      const waiting = [
        layer.receive('work'),
        layer.receive(layer.newChannel()),
        layer.consume('work', () => {}, { signal, concurrency: 2 }),
      ]
      const told = Promise.allSettled(waiting)
      await layer.close()
      expect((await told).map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    })
  })
}
