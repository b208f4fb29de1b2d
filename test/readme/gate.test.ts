/** Tests the gate without a telephone. */
import { expect, test } from '@jest/globals'
import { MemoryLayer } from 'signalbox'
import { SmsCommunicator } from 'signalbox/testing'
import { gate } from './gate.ts'

test('who asks for the gate hears who opened it', async () => {
  const layer = new MemoryLayer()
  const guard = layer.newChannel()
  await layer.groupAdd('guards', guard)
  const phone = new SmsCommunicator(gate, { from: '+14155550100', layer })

  const replies = phone.send('open, please')
  expect(await layer.receive(guard)).toMatchObject({ from: '+14155550100', body: 'open, please' })
  await layer.groupSend('gate', { type: 'gate.opened', by: 'Ann' })
  expect(await replies).toEqual([{ type: 'sms.reply', body: 'Ann has opened the gate' }])
})

test('a blocked number asks nobody', async () => {
  const phone = new SmsCommunicator(gate, { from: '+15005550001', layer: new MemoryLayer() })
  expect(await phone.send('open!')).toEqual([])
})
