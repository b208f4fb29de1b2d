/** Asynchronous functions of the main thread, called from blocking code on real worker threads. */
import { afterAll, describe, expect, test } from '@jest/globals'
import { asyncToSync } from '../../src/bridge/async-to-sync.ts'
import { trail } from '../../src/bridge/trail.ts'
import * as functions from './fixtures/functions.ts'
import { changed, functionsUrl, onWorker, openPool, rejection, sharedState } from './support.ts'

/** Of every test that needs none of its own; one that does opens it, and then that is the newest. */
const pool = openPool({ threads: 1 })
afterAll(() => pool.close())

test('blocking code waits for an asynchronous function of the main thread, however often', async () => {
  expect(await onWorker('quadruple')(5)).toBe(20)
})

test('that function is named by itself, or by its module and its name', async () => {
  expect(await onWorker('doubleByName')(5)).toBe(10)
})

test('in the main thread it fails at once, and says why', () => {
  const error = thrown(() => asyncToSync(functions.double)(1))
  expect(error).toMatchObject({ code: 'bridge_failed' })
  expect(error.message).toMatch(
    /^asyncToSync\(double\) is called outside of blocking code: the main thread cannot wait/,
  )
  expect(thrown(() => asyncToSync(functionsUrl, 'double')()).message).toContain('asyncToSync(double)')
})

test('the scope on whose behalf it is done crosses to the worker and back', async () => {
  await trail.run({ scope: 's9' }, async () => {
    expect(await onWorker('askForScope')()).toEqual(['s9', 's9'])
  })
  expect(await onWorker('askForScope')()).toEqual([undefined, undefined])
})

test('bytes of a pooled Buffer come over alone', async () => {
  expect(await onWorker('askForBytes')()).toEqual({ bytes: 5, memory: 5 })
})

describe('an error', () => {
  test('keeps its name, code and the frames of every thread on its way', async () => {
    const error = await rejection(onWorker('askToFail')())
    expect(error).toMatchObject({ name: 'TypeError', message: 'no such host', code: 'ENOTFOUND' })
    const places = [
      /at failAsync/,
      /in the main thread, called from/,
      /at askToFail/,
      /in a worker thread, called from/,
    ]
    const found = places.map((place) => error.stack?.search(place) ?? -1)
    expect(found.toSorted((a, b) => a - b)).toEqual(found)
    expect(found[0]).toBeGreaterThan(0)
  })

  test.each([
    ['askForFunction', /the result of asyncToSync\(functions\.ts#giveFunctionThere\) cannot go to another thread/],
    ['askWithFunction', /asyncToSync\(functions\.ts#double\) cannot go to the main thread/],
    ['askLocal', /asyncToSync\(local\): found a function that the handler's module does not export/],
    ['askNothing', /found no export nothing in functions\.ts/],
    ['askNumber', /found functions\.ts#number, which is a number, expected a function/],
  ] as const)('of %s says what is wrong, and the thread goes on', async (name, message) => {
    await using pool = openPool({ threads: 1 })
    const call = onWorker(name) as () => Promise<unknown>
    expect(await rejection(call())).toMatchObject({
      code: 'bridge_failed',
      message: expect.stringMatching(message) as unknown,
    })
    expect(await onWorker('quadruple')(1)).toBe(4)
    expect(pool.stats().died).toBe(0)
  })
})

test('a call that is not answered in time fails, and the worker is usable at once', async () => {
  await using pool = openPool({ threads: 1 })
  expect(await onWorker('askTooLong')(20)).toBe('timed_out, and then 4')
  expect(pool.stats().died).toBe(0)
})

test('work whose time is up while it waits is woken, and keeps its thread', async () => {
  await using pool = openPool({ threads: 1 })
  const thread = await onWorker('thread')()
  const error = await rejection(onWorker('waitForEver', { timeout: 50 })(sharedState()))
  expect(error).toMatchObject({ code: 'timed_out' })
  expect(await onWorker('thread')()).toBe(thread)
  expect(pool.stats().died).toBe(0)
})

test('a signal wakes work that waits', async () => {
  await using pool = openPool({ threads: 1 })
  const state = sharedState()
  const controller = new AbortController()
  const waiting = rejection(onWorker('waitForEver', { signal: controller.signal })(state))
  await changed(state, 0, 0)
  controller.abort()
  expect(await waiting).toMatchObject({ name: 'AbortError' })
  expect(await onWorker('add')(1, 1)).toBe(2)
  expect(pool.stats().died).toBe(0)
})

describe('no deadlock:', () => {
  test('two threads answer a hundred chains of sync, async, sync and async', async () => {
    await using pool = openPool({ threads: 2 })
    const answers = await Promise.all(Array.from({ length: 100 }, (_, n) => onWorker('chain')(n)))
    expect(answers).toEqual(Array.from({ length: 100 }, (_, n) => n * 4 + 2))
    expect(pool.stats()).toMatchObject({ queued: 0, running: 0, died: 0 })
  })

  test('one thread answers a chain of twenty', async () => {
    expect(await onWorker('deeper')(20)).toBe(20)
  })

  test('what a call asks for is done by the worker that waits for it', async () => {
    await using pool = openPool({ threads: 2 })
    const threads = await onWorker('lentThreads')()
    expect(new Set(threads).size).toBe(1)
    expect(threads).toHaveLength(11)
    expect(pool.stats().threads).toBe(1)
  })

  test('what was lent to a worker that gave up its call is done all the same', async () => {
    expect(await onWorker('giveUpAfterOne')(sharedState())).toBe('timed_out')
    expect(await functions.reachedElsewhere()).toBe(42)
    expect(pool.stats()).toMatchObject({ running: 0, queued: 0, died: 0 })
  })

  test('a scope that is opened for a worker which waits lives on that worker', async () => {
    await using pool = openPool({ threads: 2 })
    const [thread, scopes] = await onWorker('askForScopeHere')()
    expect(scopes).toBe(thread)
    expect(pool.stats()).toMatchObject({ scopes: 0, threads: 1 })
  })

  test('of two calls for one worker the first may wait for the second', async () => {
    expect(await onWorker('arriveTogether')()).toEqual([2, 2])
  })

  test('what is started in a call and outlives it finds a thread all the same', async () => {
    await onWorker('leaveInBackground')()
    expect(await functions.background42()).toBe(42)
  })

  test('a module that awaits at its top cannot be loaded in a thread that waits, and that is said', async () => {
    const error = await rejection(onWorker('askForAwaiting')())
    expect(error).toMatchObject({ code: 'bridge_failed', message: expect.stringContaining('awaits.ts') as unknown })
  })

  test('what only takes too long, while others go on, is none', async () => {
    await using _pool = openPool({ threads: 2 })
    await onWorker('add')(1, 1)
    const waiting = rejection(onWorker('waitForEver', { timeout: 300 })(sharedState()))
    const others = Array.from({ length: 30 }, () => onWorker('burn')(20))
    expect(await waiting).toMatchObject({ code: 'timed_out' })
    await Promise.all(others)
  })

  test('work that waits for work which needs its thread is an error in time', async () => {
    await using pool = openPool({ threads: 1 })
    await onWorker('add')(1, 1)
    const grant = functions.resetWish()
    const waiting = rejection(onWorker('waitForWish', { timeout: 300 })())
    const needed = onWorker('add')(1, 1).then(() => grant())
    const error = await waiting
    expect(error).toMatchObject({ code: 'deadlock' })
    expect(error.message).toMatch(/functions\.ts#waitForWish waited in asyncToSync\(functions\.ts#wishGranted\) until/)
    await needed
    expect(pool.stats().died).toBe(0)
  })
})

test('in a worker thread that is no part of the bridge it fails in words, too', async () => {
  const { Worker } = await import('node:worker_threads')
  const worker = new Worker(new URL('./fixtures/other-worker.ts', import.meta.url))
  const message = await new Promise((resolve) => worker.once('message', resolve))
  expect(message).toMatch(/^asyncToSync\(double\) is called outside of blocking code/)
  await worker.terminate()
})

test('syncToAsync in a worker is refused, because nothing there can wait for it', async () => {
  const error = await rejection(onWorker('callAgain')())
  expect(error.message).toContain('functions.ts#callAgain gave a promise')
})

function thrown(act: () => unknown): Error {
  try {
    act()
  } catch (error) {
    if (Error.isError(error)) return error
  }
  throw new Error('nothing was thrown')
}
