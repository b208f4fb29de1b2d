/** What waits on disk for room in memory. */
import { expect, test } from '@jest/globals'
import { Backlog } from '../../src/journal/backlog.ts'
import { silentLog } from '../../src/runtime/log.ts'

test('what was taken out before it was read is not asked for again and again', async () => {
  let questions = 0
  let hasRoom = false
  const waiting = async () => {
    if (++questions > 10) throw new Error('it is asked for again and again')
    return []
  }
  const backlog = new Backlog({
    journal: { waiting, rows: async () => [], flush: async () => undefined },
    log: silentLog,
    page: 10,
    pause: 1000,
    hasRoom: () => hasRoom,
    resume: () => undefined,
    revive: () => undefined,
  })
  expect(backlog.pass(1)).toBe(false)
  hasRoom = true
  await backlog.read()
  expect(questions).toBe(1)
  expect(backlog.isEmpty).toBe(true)
  expect(backlog.pass(2)).toBe(true)
})
