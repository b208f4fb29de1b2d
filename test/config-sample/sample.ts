/** What the tests of the sample share: a data folder that goes away, a layer, and what the page would be told. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { Event } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { closeStore, storeOf, type Store } from '../../config/handlers/store.ts'
import type { NewMessage } from '../../config/handlers/store/tickets.ts'

export interface Sample extends Disposable {
  readonly layer: MemoryLayer
  readonly state: { readonly data: string }
  readonly store: Store
  /** What went to the group `live`, in order. */
  readonly news: readonly unknown[]
}

export async function sample(): Promise<Sample> {
  const layer = new MemoryLayer()
  const state = { data: mkdtempSync(path.join(tmpdir(), 'signalbox-')) }
  const news: unknown[] = []
  const page = layer.newChannel({
    deliverMessage: (message: Event) => {
      news.push(Reflect.get(message, 'update'))
      return true
    },
  })
  await layer.groupAdd('live', page)
  return {
    layer,
    state,
    news,
    get store() {
      return storeOf({ state })
    },
    [Symbol.dispose]() {
      closeStore(state.data)
      rmSync(state.data, { recursive: true })
    },
  }
}

let mails = 0

/** A mail as the tickets keep it, unlike all before. */
export const mailOf = (more: Partial<NewMessage> = {}): NewMessage => ({
  kind: 'mail',
  messageId: '',
  digest: `digest ${mails++}`,
  from: 'ann@example.org',
  to: 'help@support.org',
  subject: 'Fire',
  text: 'It burns.',
  participants: ['ann@example.org'],
  attachments: [],
  ...more,
})
