/** The queue that everything waits in. */
import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { Mailbox } from '../../src/runtime/mailbox.ts'

test('gives items in the order they were put, however puts and takes are mixed', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 5000 }), async (steps) => {
      const mailbox = new Mailbox<number>()
      const taken: Promise<number>[] = []
      let put = 0
      for (const isPut of steps) {
        if (isPut) mailbox.put(put++)
        else taken.push(mailbox.take())
      }
      const served = Math.min(put, taken.length)
      expect(mailbox.length).toBe(put - served)
      expect(await Promise.all(taken.slice(0, served))).toEqual(Array.from({ length: served }, (_, index) => index))
      const rest = taken.slice(served).map((late) => late.catch(() => 'closed'))
      mailbox.close(new Error('closed'))
      expect(await Promise.all(rest)).toEqual(rest.map(() => 'closed'))
    }),
  )
})

test('keeps its memory small when it is never empty', () => {
  const mailbox = new Mailbox<number>()
  for (let item = 0; item < 5000; item++) mailbox.put(item)
  for (let item = 5000; item < 50_000; item++) {
    mailbox.put(item)
    void mailbox.take()
  }
  expect(mailbox.length).toBe(5000)
})

test('what was put first can be looked at, and let go', async () => {
  const mailbox = new Mailbox<string>()
  expect([mailbox.first, mailbox.shift()]).toEqual([undefined, undefined])
  mailbox.put('one')
  mailbox.put('two')
  expect([mailbox.first, mailbox.shift(), mailbox.first, mailbox.length]).toEqual(['one', 'one', 'two', 1])
  await expect(mailbox.take()).resolves.toBe('two')
  expect([mailbox.first, mailbox.idle]).toEqual([undefined, true])
})

test('a cancelled take rejects with the reason and the item goes to the next taker', async () => {
  const mailbox = new Mailbox<string>()
  const controller = new AbortController()
  const cancelled = mailbox.take(controller.signal)
  const next = mailbox.take()
  const reason = new Error('enough')
  controller.abort(reason)
  mailbox.put('hello')
  await expect(cancelled).rejects.toBe(reason)
  await expect(next).resolves.toBe('hello')
})

test('a take with an aborted signal takes nothing', async () => {
  const mailbox = new Mailbox<string>()
  mailbox.put('hello')
  await expect(mailbox.take(AbortSignal.abort(new Error('before')))).rejects.toThrow('before')
  await expect(mailbox.take()).resolves.toBe('hello')
})

test('closing answers what was never taken and drops what comes later', async () => {
  const mailbox = new Mailbox<string>()
  mailbox.put('one')
  mailbox.put('two')
  await mailbox.take()
  expect(mailbox.close(new Error('over'))).toEqual(['two'])
  mailbox.put('three')
  expect(mailbox.length).toBe(0)
  expect(mailbox.close(new Error('again'))).toEqual([])
  await expect(mailbox.take()).rejects.toThrow('over')
})
