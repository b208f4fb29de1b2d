/** A reload of the real program: which modules are loaded again, whose scopes see them, and what a mistake changes. */
import { afterEach, expect, test } from '@jest/globals'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { Gateways, type RunningGateway } from '../support/gateways.ts'

const fixture = path.join(import.meta.dirname, 'fixtures', 'reload')
let gateways: Gateways
let gateway: RunningGateway
afterEach(() => gateways[Symbol.asyncDispose]())

async function serve(): Promise<void> {
  gateways = await Gateways.create(fixture, {})
  gateway = await gateways.serve('reload')
}

const ask = async (where = '/') => await (await fetch(new URL(where, gateway.urls['http']))).text()

async function change(file: string, from: string | RegExp, to: string): Promise<void> {
  const full = path.join(gateways.folder, file)
  await writeFile(full, (await readFile(full, 'utf8')).replace(from, to))
}

async function reload(): Promise<{ status: number; reloaded: boolean; messages: string[]; later: string[] }> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(new URL('/reload', gateway.urls['admin']), { method: 'POST', headers })
  const answer = (await response.json()) as { reloaded: boolean; messages: string[]; later: string[] }
  return { status: response.status, ...answer }
}

/** What lifespan applications have said. */
const told = () => gateway.process.out.match(/^\w+ (?:starts|ends)$/gm)

const done = { status: 200, reloaded: true, messages: [], later: [] }

test('what a handler imports is loaded again when it has changed; what has not, keeps its state', async () => {
  await serve()
  expect(await ask()).toBe('one 1 first')
  await change('words/word.ts', 'one', 'two')
  expect(await ask()).toBe('one 2 first')
  expect(await reload()).toEqual(done)
  expect(await ask()).toBe('two 3 first')
  await change('words/word.ts', 'two', 'three')
  gateway.process.kill('SIGHUP')
  await gateway.process.sees('error', /(?:new scopes follow its routing[^]*){2}/)
  expect(await ask()).toBe('three 4 first')
  await change('counter.ts', 'count = 0', 'count = 100')
  expect(await reload()).toEqual(done)
  expect(await ask()).toBe('three 101 first')
  expect(gateway.process.out).not.toMatch(/ends/)
})

test('so is what a handler loads only when it is first asked', async () => {
  await serve()
  expect(await ask('/late')).toBe('one')
  await change('words/late-word.ts', 'one', 'two')
  await reload()
  expect(await ask('/late')).toBe('two')
})

test('a worker thread loads again what has changed', async () => {
  await serve()
  expect(await ask('/blocking')).toBe('one')
  await change('words/word.ts', 'one', 'two')
  await reload()
  expect(await ask('/blocking')).toBe('two')
  await change('words/word.ts', 'two', 'three')
  await reload()
  expect(await ask('/blocking')).toBe('three')
})

test('an open scope keeps its handler, a new one has the new one', async () => {
  await serve()
  const before = await gateways.connect(gateway, '/')
  await change('words/word.ts', 'one', 'two')
  await reload()
  const after = await gateways.connect(gateway, '/')
  before.send('?')
  after.send('?')
  await Promise.all([before.hears('one'), after.hears('two')])
})

test('a changed lifespan application starts before it takes over, and the old one ends after its last scope', async () => {
  await serve()
  const before = await gateways.connect(gateway, '/')
  await change('lifespan.ts', "'first'", "'second'")
  expect(await reload()).toEqual(done)
  expect(await ask()).toMatch(/^one \d+ second$/)
  expect(told()).toEqual(['first starts', 'second starts'])
  before.close()
  await gateway.process.sees('out', /first ends\n/)
  gateway.process.kill('SIGTERM')
  expect((await gateway.process.ended()).code).toBe(0)
  expect(told()).toEqual(['first starts', 'second starts', 'first ends', 'second ends'])
})

test.each<[string, string, string | RegExp, string, RegExp]>([
  [
    'a mistake in the YAML',
    'gateway.yaml',
    '#site',
    '#sight',
    /found no export "sight".*expected one of its exports: Words, site/,
  ],
  [
    'a handler that does not load',
    'words/word.ts',
    'export',
    'throw new Error("unripe"); export',
    /fails to load: unripe/,
  ],
  ['a handler that is no TypeScript', 'handlers.ts', 'export const', 'export const =', /fails to load/],
  [
    'a lifespan application that refuses to start',
    'lifespan.ts',
    'lifespan.startup.complete',
    'lifespan.startup.failed',
    /the lifespan application did not start/,
  ],
])('%s: everything stays, it is said, and the mended file is taken', async (_, file, from, to, message) => {
  await serve()
  await change(file, from, to)
  const { status, reloaded, messages } = await reload()
  expect({ status, reloaded }).toEqual({ status: 422, reloaded: false })
  expect(messages.join('\n')).toMatch(message)
  expect(gateway.process.error).toMatch(/the routing stays as it was/)
  expect(await ask()).toBe('one 1 first')
  await change(file, to, from as string)
  await change('words/word.ts', 'one', 'two')
  expect(await reload()).toEqual(done)
  expect(await ask()).toMatch(/^two \d first$/)
})

test('settings that wait for the next start are named', async () => {
  await serve()
  await change('gateway.yaml', '127.0.0.1:0" }', '127.0.0.1:0", maxRequests: 5 }')
  await change('gateway.yaml', 'data:', 'drainTimeout: 7s\ndata:')
  expect(await reload()).toEqual({ ...done, later: ['listen.http', 'drainTimeout'] })
})
