/** The part of the contract that is about work: named channels and those who consume them. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import type { Event } from '../../src/asgi/protocol.ts'
import type { DeadLetter } from '../../src/layers/limits.ts'
import { type MakeLayer, layerTest } from './with-layer.ts'
import { text, until, wordsOf } from './messages.ts'

/** `runs` is how many random loads of work are done. */
export function workContract(name: string, makeLayer: MakeLayer, runs = 50): void {
  const withLayer = layerTest(makeLayer)

  describe(`${name}: work`, () => {
    const retry = { delay: 1, maxDelay: 2, attempts: 3 }

    withLayer('messages are handled in order, one at a time', undefined, async (layer) => {
      for (const words of ['1', '2', '3']) await layer.send('work', text(words))
      const controller = new AbortController()
      const log: string[] = []
      const handler = async (message: Event) => {
        log.push(`${wordsOf(message)} starts`)
        await new Promise((resolve) => setImmediate(resolve))
        log.push(`${wordsOf(message)} ends`)
        if (wordsOf(message) === '3') controller.abort()
      }
      await layer.consume('work', handler, { signal: controller.signal })
      expect(log).toEqual(['1 starts', '1 ends', '2 starts', '2 ends', '3 starts', '3 ends'])
    })

    withLayer('no more messages than the concurrency are handled at once', undefined, async (layer) => {
      for (let number = 0; number < 10; number++) await layer.send('work', text(String(number)))
      const controller = new AbortController()
      let [now, most, done] = [0, 0, 0]
      const handler = async () => {
        most = Math.max(most, ++now)
        await new Promise((resolve) => setTimeout(resolve, 5))
        now--
        if (++done === 10) controller.abort()
      }
      await layer.consume('work', handler, { signal: controller.signal, concurrency: 3 })
      expect([most, done]).toEqual([3, 10])
    })

    withLayer('each message has one of several workers', undefined, async (layer) => {
      const controller = new AbortController()
      const { signal } = controller
      const handled: string[] = []
      const handler = (message: Event) => {
        handled.push(wordsOf(message))
        if (handled.length === 50) controller.abort()
      }
      const workers = [
        layer.consume('work', handler, { signal }),
        layer.consume('work', handler, { signal, concurrency: 2 }),
      ]
      for (let number = 0; number < 50; number++) await layer.send('work', text(String(number)))
      await Promise.all(workers)
      expect(handled.toSorted()).toEqual(Array.from({ length: 50 }, (_, number) => String(number)).toSorted())
    })

    withLayer(
      'a message whose handler rejects is tried again, later, and others go before it',
      { retry },
      async (layer) => {
        await layer.send('work', text('bad'))
        await layer.send('work', text('good'))
        const controller = new AbortController()
        const log: string[] = []
        const handler = async (message: Event, { attempt }: { readonly attempt: number }) => {
          log.push(`${wordsOf(message)} ${attempt}`)
          if (wordsOf(message) === 'bad' && attempt < 3) throw new Error('not yet')
          if (attempt === 3) controller.abort()
        }
        await layer.consume('work', handler, { signal: controller.signal })
        expect(log.toSorted()).toEqual(['bad 1', 'bad 2', 'bad 3', 'good 1'])
        expect(log[0]).toBe('bad 1')
        expect(layer.stats().dropped).toEqual({})
      },
    )

    const letters: DeadLetter[] = []
    const tellAndFail = (letter: DeadLetter) => {
      letters.push(letter)
      throw new Error('which must stop nobody')
    }
    withLayer(
      'a message is a dead letter after its last attempt',
      { retry, onDeadLetter: tellAndFail },
      async (layer) => {
        await layer.send('work', text('bad'))
        const controller = new AbortController()
        const attempts: number[] = []
        const handler = (_: Event, { attempt }: { readonly attempt: number }) => {
          attempts.push(attempt)
          throw new Error('never')
        }
        const working = layer.consume('work', handler, { signal: controller.signal })
        await until(() => letters.length > 0)
        controller.abort()
        await working
        expect(attempts).toEqual([1, 2, 3])
        expect(letters).toEqual([
          { channel: 'work', message: JSON.stringify(text('bad')), attempts: 3, reason: 'failed', error: 'never' },
        ])
        expect(layer.stats().dropped).toEqual({ dead: 1 })
      },
    )

    const slow = { capacity: 1000, retry: { delay: 60_000 } }
    withLayer(
      'not more than 100 failed messages wait beside their workers, and a stop does not wait for them',
      slow,
      async (layer) => {
        for (let number = 0; number < 110; number++) await layer.send('work', text(String(number)))
        const controller = new AbortController()
        let tried = 0
        const fail = () => Promise.reject(new Error(`never ${++tried}`))
        const working = layer.consume('work', fail, { signal: controller.signal })
        await until(() => tried >= 101)
        await new Promise((resolve) => setTimeout(resolve, 20))
        expect(tried).toBe(101)
        controller.abort()
        await working
      },
    )

    withLayer('failed messages of one channel do not hold the workers of another', slow, async (layer) => {
      const controller = new AbortController()
      const { signal } = controller
      const tried = { one: 0, other: 0 }
      for (let number = 0; number < 101; number++) await layer.send('one', text(String(number)))
      for (const words of ['1', '2']) await layer.send('other', text(words))
      const failing = (channel: 'one' | 'other') =>
        layer.consume(channel, () => Promise.reject(new Error(`never ${++tried[channel]}`)), { signal })
      const working = [failing('one')]
      await until(() => tried.one === 101)
      working.push(failing('other'))
      await until(() => tried.other === 2)
      controller.abort()
      await Promise.all(working)
    })

    withLayer(
      'what waits for its next attempt when nobody consumes any more is for whoever comes next, before what is new',
      slow,
      async (layer) => {
        const [first, second] = [new AbortController(), new AbortController()]
        for (const words of ['1', '2', '3', '4']) await layer.send('work', text(words))
        let tried = 0
        const fail = async (message: Event) => {
          // The last one fails first.
          for (let turns = 10 - Number(wordsOf(message)); turns > 0; turns--) await Promise.resolve()
          if (++tried === 3) first.abort()
          throw new Error('not yet')
        }
        await layer.consume('work', fail, { signal: first.signal, concurrency: 3 })
        await layer.send('work', text('5'))
        const log: string[] = []
        const handler = (message: Event, { attempt }: { readonly attempt: number }) => {
          log.push(`${wordsOf(message)} ${attempt}`)
          if (log.length === 4) second.abort()
        }
        await expect(layer.receive('work')).resolves.toEqual(text('1'))
        await layer.consume('work', handler, { signal: second.signal })
        expect(log).toEqual(['2 2', '3 2', '4 1', '5 1'])
      },
    )

    withLayer('who waits already is given what nobody consumes any more, before what is new', slow, async (layer) => {
      const controller = new AbortController()
      const received = Promise.withResolvers<Event>()
      const fail = () => {
        received.resolve(layer.receive('work'))
        controller.abort()
        throw new Error('not yet')
      }
      await layer.send('work', text('1'))
      await layer.consume('work', fail, { signal: controller.signal })
      await layer.send('work', text('2'))
      expect([await received.promise, await layer.receive('work')]).toEqual([text('1'), text('2')])
    })

    withLayer('what is given back takes no room in the channel', { ...slow, capacity: 1 }, async (layer) => {
      const controller = new AbortController()
      await layer.send('work', text('1'))
      const fail = () => {
        controller.abort()
        throw new Error('not yet')
      }
      await layer.consume('work', fail, { signal: controller.signal })
      await layer.send('work', text('2'))
      await expect(layer.send('work', text('3'))).rejects.toMatchObject({ code: 'channel_full' })
      for (const words of ['1', '2']) await expect(layer.receive('work')).resolves.toEqual(text(words))
    })

    withLayer(
      'when it is told to stop it takes nothing more, and lets what it handles finish',
      undefined,
      async (layer) => {
        const controller = new AbortController()
        const release = Promise.withResolvers<void>()
        const started = Promise.withResolvers<void>()
        const handled: string[] = []
        const handler = async (message: Event) => {
          started.resolve()
          await release.promise
          handled.push(wordsOf(message))
        }
        let over = false
        const working = layer.consume('work', handler, { signal: controller.signal }).then(() => void (over = true))
        await layer.send('work', text('1'))
        await layer.send('work', text('2'))
        await started.promise
        controller.abort()
        await new Promise((resolve) => setImmediate(resolve))
        expect(over).toBe(false)
        release.resolve()
        await working
        expect(handled).toEqual(['1'])
        await expect(layer.receive('work')).resolves.toEqual(text('2'))
        await layer.consume('work', handler, { signal: AbortSignal.abort() })
      },
    )

    withLayer('what is being handled takes no room in the channel', { capacity: 1 }, async (layer) => {
      const controller = new AbortController()
      const release = Promise.withResolvers<void>()
      const started = Promise.withResolvers<void>()
      const working = layer.consume('work', () => (started.resolve(), release.promise), { signal: controller.signal })
      await layer.send('work', text('1'))
      await started.promise
      await layer.send('work', text('2'))
      await expect(layer.send('work', text('3'))).rejects.toMatchObject({ code: 'channel_full' })
      controller.abort()
      release.resolve()
      await working
    })

    const load = fc.record({
      /** How often each message fails. */
      failures: fc.array(fc.nat({ max: 4 }), { maxLength: 12 }),
      concurrency: fc.integer({ min: 1, max: 4 }),
    })
    test('whatever fails, however often, each message is done once or is a dead letter', async () => {
      await fc.assert(
        fc.asyncProperty(load, async ({ failures, concurrency }) => {
          const settled: string[] = []
          const layer = await makeLayer({ retry, onDeadLetter: ({ message }) => settled.push(`dead ${message}`) })
          const attempts = failures.map(() => 0)
          const begun: number[] = []
          const handler = (message: Event, { attempt }: { readonly attempt: number }) => {
            const number = Number(wordsOf(message))
            attempts[number] = (attempts[number] ?? 0) + 1
            expect(attempt).toBe(attempts[number])
            if (attempt === 1) begun.push(number)
            if (attempt <= (failures[number] ?? 0)) throw new Error('not yet')
            settled.push(`done ${JSON.stringify(message)}`)
          }
          try {
            for (const number of failures.keys()) await layer.send('work', text(String(number)))
            const controller = new AbortController()
            const working = layer.consume('work', handler, { signal: controller.signal, concurrency })
            await until(() => settled.length >= failures.length)
            controller.abort()
            await working
            const isDead = (count: number) => count >= retry.attempts
            expect(attempts).toEqual(failures.map((count) => Math.min(count + 1, retry.attempts)))
            expect(settled.toSorted()).toEqual(
              failures
                .map((count, number) => `${isDead(count) ? 'dead' : 'done'} ${JSON.stringify(text(String(number)))}`)
                .toSorted(),
            )
            expect(begun).toEqual([...failures.keys()])
            const dead = failures.filter(isDead).length
            expect(layer.stats().dropped).toEqual(dead > 0 ? { dead } : {})
          } finally {
            await layer.close()
          }
        }),
        { numRuns: runs },
      )
    })

    withLayer('only named channels carry work', undefined, async (layer) => {
      const { signal } = new AbortController()
      await expect(layer.consume(layer.newChannel(), () => {}, { signal })).rejects.toMatchObject({ code: 'bad_name' })
      await expect(layer.consume('a b', () => {}, { signal })).rejects.toMatchObject({ code: 'bad_name' })
    })
  })
}
