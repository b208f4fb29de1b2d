/** Tests the guest book on a real worker thread. */
import { expect, test } from '@jest/globals'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { BridgePool, MemoryLayer, syncApplication } from 'signalbox'
import { HttpCommunicator } from 'signalbox/testing'
import { GuestBook } from './guests.ts'

test('a guest signs the book', async () => {
  await using _threads = new BridgePool({ threads: 1 })
  const data = mkdtempSync(path.join(tmpdir(), 'guests-'))
  const book = syncApplication(GuestBook, new URL('./guests.ts', import.meta.url))
  const signing = { method: 'POST', body: 'ann', state: { data } }
  // A thread takes its time to begin.
  const guest = new HttpCommunicator(book, signing, { layer: new MemoryLayer(), timeout: 20_000 })
  expect((await guest.response()).text).toBe('[{"name":"ann"}]')
  rmSync(data, { recursive: true })
})
