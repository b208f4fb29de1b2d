/** Blocking functions called from asynchronous code: real worker threads. */
import { afterAll, describe, expect, test } from '@jest/globals'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { threadId } from 'node:worker_threads'
import { pino } from 'pino'
import type { Application } from '../../src/asgi/protocol.ts'
import { BridgePool } from '../../src/bridge/pool.ts'
import { transfer } from '../../src/bridge/pack.ts'
import { syncToAsync } from '../../src/bridge/sync-to-async.ts'
import { trail, withScope, withScopeFromHere } from '../../src/bridge/trail.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import { websocketScope } from './scopes.ts'
import { changed, fixture, onWorker, openPool, rejection, sharedState } from './support.ts'

/** Of every test that needs none of its own; one that does opens it, and then that is the newest. */
const pool = openPool({ threads: 1 })
afterAll(() => pool.close())

test('a blocking function runs on another thread and gives its result', async () => {
  await using pool = openPool()
  expect(await onWorker('add', { pool })(2, 3)).toBe(5)
  expect(await onWorker('thread')()).not.toBe(threadId)
})

test.each([
  ['text', 'text'],
  ['nothing', undefined],
  ['plain data', { a: [1, null, { b: 'c' }], d: 2n ** 70n, at: new Date(0) }],
])('%s comes back as it was', async (_, value) => {
  expect(await onWorker('echo')(value)).toEqual(value)
})

test('what structured cloning knows comes back, also when it is not plain', async () => {
  const map = await onWorker('giveMap')()
  expect([...map].map(([key, set]) => [key, [...set]])).toEqual([['a', [1]]])
})

test('a function that several threads could run does not wait for the one that is busy', async () => {
  await using _pool = openPool({ threads: 2 })
  const state = sharedState()
  const blocked = onWorker('gate')(state)
  await changed(state, 0, 0)
  const elsewhere = await onWorker('thread')()
  Atomics.store(state, 1, 1)
  Atomics.notify(state, 1)
  expect(await blocked).not.toBe(elsewhere)
})

describe('an error', () => {
  test('keeps its name, message, code, other fields and cause', async () => {
    const error = await rejection(onWorker('fail')())
    expect(error).toMatchObject({ name: 'TypeError', message: 'no such thing', code: 'E_THING', errno: -7 })
    expect(error).toBeInstanceOf(TypeError)
    expect(error.cause).toMatchObject({ name: 'RangeError', message: 'too far' })
  })

  test('has the frames of both threads in its stack', async () => {
    const error = await rejection(callAndFail())
    expect(error.stack).toMatch(/no such thing\n\s+at fail .*functions\.ts/)
    expect(error.stack).toMatch(/called from[^]*callAndFail/)

    async function callAndFail() {
      return await onWorker('fail')()
    }
  })

  test('keeps the errors of an AggregateError', async () => {
    const { errors } = await rejection(onWorker('failMany')())
    expect(errors?.map(({ message }) => message)).toEqual(['one', 'two'])
  })

  test('may be its own cause', async () => {
    expect(await rejection(onWorker('failInCircles')())).toMatchObject({ message: 'round' })
  })

  test.each([
    ['failWithText', "functions.ts#failWithText threw 'just text', expected an Error", 'just text'],
    ['failWithNothing', 'functions.ts#failWithNothing threw undefined, expected an Error', undefined],
  ] as const)('that is none, by %s, is told apart', async (name, message, cause) => {
    for (const _ of ['the first time', 'when the worker knows the function']) {
      const error = await rejection(onWorker(name)())
      expect(error).toMatchObject({ name: 'SignalboxError', code: 'bridge_failed', message })
      expect(error.cause).toBe(cause)
    }
  })
})

describe('bytes', () => {
  test('of a pooled Buffer go over alone: without the memory that it shares with others', async () => {
    const small = Buffer.from('small')
    expect(small.buffer.byteLength).toBeGreaterThan(small.byteLength)
    expect(await onWorker('sizes')(small)).toEqual({ bytes: 5, memory: 5 })
    expect(small.toString()).toBe('small')
  })

  test('come back alone, too', async () => {
    const bytes = await onWorker('giveBytes')()
    expect(Buffer.from(bytes).toString()).toBe('bytes')
    expect(bytes.buffer.byteLength).toBe(5)
  })

  test('that are marked to be transferred move, in both directions', async () => {
    const bytes = new Uint8Array(1000)
    expect(await onWorker('sizes')(transfer(bytes, [bytes.buffer]))).toEqual({ bytes: 1000, memory: 1000 })
    expect(bytes.buffer.detached).toBe(true)
    const back = await onWorker('giveMemory')(500)
    expect([back.length, back[499]]).toEqual([500, 7])
  })

  test.each([
    ['twice', () => transfer([], [memory, memory])],
    [
      'when they are gone',
      () =>
        transfer(
          [],
          [structuredClone(memory, { transfer: [memory] })].map(() => memory),
        ),
    ],
    ['when they belong to a pool', () => transfer([], [Buffer.from('small').buffer])],
  ])('that cannot be transferred, %s, are an error', async (_, argument) => {
    const error = await rejection(onWorker('echo')(argument()))
    expect(error).toMatchObject({ code: 'bridge_failed' })
    expect(error.message).toMatch(/^functions\.ts#echo cannot go to another thread: /)
    expect(await onWorker('add')(1, 1)).toBe(2)
  })
  const memory = new ArrayBuffer(8)
})

describe('bad input is an error, and the thread goes on:', () => {
  test.each([
    ['giveFunction', 'the result of functions.ts#giveFunction cannot go to the main thread'],
    ['giveSymbol', 'the result of functions.ts#giveSymbol cannot go to the main thread'],
    ['giveFunctionInMap', 'the result of functions.ts#giveFunctionInMap cannot go to the main thread'],
    ['giveMemoryTwice', 'the result of functions.ts#giveMemoryTwice cannot go to the main thread'],
    ['givePromise', 'functions.ts#givePromise gave a promise, expected a plain function'],
    ['double', 'functions.ts#double gave a promise, expected a plain function'],
  ] as const)('%s', async (name, message) => {
    await using pool = openPool({ threads: 1 })
    const thread = await onWorker('thread')()
    const call = onWorker(name) as (argument: number) => Promise<unknown>
    const error = await rejection(call(1))
    expect(error).toMatchObject({ code: 'bridge_failed', message: expect.stringContaining(message) as unknown })
    expect(await onWorker('thread')()).toBe(thread)
    expect(pool.stats()).toMatchObject({ died: 0, running: 0 })
  })

  test.each([
    ['a function', () => 1],
    ['a symbol, deep inside', { a: [{ b: Symbol('no') }] }],
    ['a function in a Map', new Map([['a', () => 1]])],
    ['a proxy', new Proxy({}, {})],
    ['a promise', Promise.resolve()],
  ])('%s as an argument', async (_, argument) => {
    await using pool = openPool({ threads: 1 })
    const error = await rejection(onWorker('echo')(argument))
    expect(error).toMatchObject({ code: 'bridge_failed' })
    expect(error.message).toContain('functions.ts#echo cannot go to another thread')
    expect(await onWorker('add')(1, 1)).toBe(2)
    expect(pool.stats()).toMatchObject({ died: 0, running: 0 })
  })

  test('an object that throws when it is looked at', async () => {
    const angry = Object.defineProperty({}, 'a', {
      enumerable: true,
      get: () => {
        throw new Error('hands off')
      },
    })
    expect((await rejection(onWorker('echo')(angry))).message).toContain('hands off')
  })

  test('a circle is none', async () => {
    const circle: { self?: unknown } = {}
    circle.self = circle
    const back = (await onWorker('echo')(circle)) as typeof circle
    expect(back.self).toBe(back)
  })

  test.each([
    ['nothing.ts', /found nothing\.ts, which fails to load in this thread: .*Cannot find module/],
    ['throws.ts', /found throws\.ts, which fails to load in this thread: no database here/],
  ])('the module %s', async (file, message) => {
    const error = await rejection(syncToAsync<() => void>(fixture(file), 'never')())
    expect(error).toMatchObject({ code: 'bridge_failed' })
    expect(error.message).toMatch(message)
    expect(await onWorker('add')(1, 1)).toBe(2)
  })

  test('the module that has TypeScript which Node cannot strip', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'signalbox-bridge-'))
    const file = path.join(folder, 'colour.ts')
    await writeFile(file, 'export enum Colour { Red }')
    const error = await rejection(syncToAsync<() => void>(pathToFileURL(file), 'never')())
    expect(error.message).toMatch(/^found colour\.ts, which fails to load in this thread: [^]*enum/)
    await rm(folder, { recursive: true })
  })

  test('what a module throws while it loads is the cause', async () => {
    const error = await rejection(syncToAsync<() => void>(fixture('throws.ts'), 'never')())
    expect(error.cause).toMatchObject({ message: 'no database here', code: 'E_DATABASE' })
  })

  test.each([
    ['nothing', /found no export nothing in awaits\.ts, expected one of its exports: answer, give/],
    ['answer', /found awaits\.ts#answer, which is a number, expected a function/],
  ])('the export %s', async (name, message) => {
    const error = await rejection(syncToAsync<() => void>(fixture('awaits.ts'), name)())
    expect(error).toMatchObject({ code: 'bridge_failed' })
    expect(error.message).toMatch(message)
  })

  test('a module that awaits at its top is none', async () => {
    expect(await syncToAsync<() => number>(fixture('awaits.ts'), 'give')()).toBe(42)
  })

  test('a module that is no file', () => {
    expect(() => syncToAsync('./functions.ts', 'add')).toThrow(
      'found the module ./functions.ts, expected the URL of a file',
    )
  })
})

describe('a signal', () => {
  test('that is aborted already keeps the function from running', async () => {
    await using pool = openPool()
    const signal = AbortSignal.abort(new Error('too late'))
    await expect(onWorker('add', { signal })(1, 2)).rejects.toThrow('too late')
    expect(pool.stats().threads).toBe(0)
  })

  test('asks a running function to stop, which keeps its thread', async () => {
    await using pool = openPool({ threads: 1 })
    const thread = await onWorker('thread')()
    const state = sharedState()
    const controller = new AbortController()
    const running = rejection(onWorker('runUntilStopped', { signal: controller.signal })(state))
    await changed(state, 0, 0)
    controller.abort()
    expect(await running).toMatchObject({ name: 'AbortError' })
    expect(await onWorker('thread')()).toBe(thread)
    expect(state[1]).toBe(1)
    expect(pool.stats()).toMatchObject({ died: 0, running: 0 })
  })

  test('ends the thread of a function that does not stop, and the next one gets a new thread', async () => {
    await using pool = openPool({ threads: 1, grace: 10 })
    const thread = await onWorker('thread')()
    const state = sharedState()
    const controller = new AbortController()
    const running = rejection(onWorker('gate', { signal: controller.signal })(state))
    await changed(state, 0, 0)
    controller.abort(new Error('enough'))
    expect(await running).toMatchObject({ message: 'enough' })
    expect(await onWorker('thread')()).not.toBe(thread)
    expect(pool.stats()).toMatchObject({ died: 1, running: 0 })
  })

  test('takes a function that has not started out of the queue', async () => {
    await using pool = openPool({ threads: 1 })
    const state = sharedState()
    const blocked = onWorker('gate')(state)
    await changed(state, 0, 0)
    const controller = new AbortController()
    const waiting = rejection(onWorker('gate', { signal: controller.signal })(sharedState()))
    expect(pool.stats()).toMatchObject({ queued: 1, running: 1 })
    controller.abort('not any more')
    expect(await waiting).toMatchObject({ name: 'AbortError', message: 'not any more' })
    expect(pool.stats()).toMatchObject({ queued: 0, running: 1 })
    Atomics.store(state, 1, 1)
    Atomics.notify(state, 1)
    await blocked
  })
})

describe('a function that takes too long', () => {
  test('fails in time, and its thread is there again', async () => {
    await using pool = openPool({ threads: 1, grace: 20 })
    await onWorker('add')(1, 1)
    const error = await rejection(onWorker('runForEver', { timeout: 50 })())
    expect(error).toMatchObject({ code: 'timed_out', message: 'functions.ts#runForEver was not done within 50 ms' })
    expect(await onWorker('add')(1, 1)).toBe(2)
    expect(pool.stats().died).toBe(1)
  })

  test('and looks at its signal keeps its thread', async () => {
    await using pool = openPool({ threads: 1 })
    const thread = await onWorker('thread')()
    const running = rejection(onWorker('runUntilStopped', { timeout: 50 })(sharedState()))
    expect(await running).toMatchObject({ code: 'timed_out' })
    expect(await onWorker('thread')()).toBe(thread)
    expect(pool.stats().died).toBe(0)
  })
})

test('the scope on whose behalf it runs, and its log line, cross over', async () => {
  const lines: Record<string, unknown>[] = []
  const log = pino({ level: 'info' }, { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) })
  await using pool = new BridgePool({ threads: 1 }, log)
  await trail.run({ scope: 's7' }, async () => {
    expect(await onWorker('scope', { pool })()).toBe('s7')
    await onWorker('log', { pool })('said in a worker')
  })
  expect(await onWorker('scope', { pool })()).toBeUndefined()
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatchObject({ scope: 's7', msg: 'said in a worker', child: true })
})

test.each([withScope, withScopeFromHere])(
  '%p: an application calls in the name of its scope, and is asked for its routing as before',
  async (name) => {
    const seen: unknown[] = []
    const resolve = () => undefined
    const application: Application = Object.assign(async () => void seen.push(await onWorker('scope')()), { resolve })
    const named = name(application)
    expect(named.resolve).toBe(resolve)
    const communicator = new ApplicationCommunicator(named, websocketScope(), { layer: new MemoryLayer() })
    await communicator.wait()
    expect(seen).toEqual([communicator.connection.scope.id])
    expect(name(async () => undefined).resolve).toBeUndefined()
    expect(trail.getStore()).toBeUndefined()
  },
)

test('without a pool of its own a call finds the newest that is open, or one with the defaults', async () => {
  const first = openPool()
  {
    await using second = openPool()
    await onWorker('add')(1, 1)
    expect([first.stats().threads, second.stats().threads]).toEqual([0, 1])
  }
  await onWorker('add')(1, 1)
  expect(first.stats().threads).toBe(1)
  await first.close()
  await expect(onWorker('add', { pool: first })(1, 1)).rejects.toMatchObject({ code: 'closing' })
})
