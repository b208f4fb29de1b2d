/** Health: what `/live` and `/ready` say to those who may ask, and to probes. */
import { afterEach, describe, expect, test } from '@jest/globals'
import type { LayerStats } from '../../src/asgi/channel-layer.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { healthPlaces, metricsPlace, reloadPlace, type Reloaded } from '../../src/server/admin-places.ts'
import { AdminListener } from '../../src/server/admin.ts'
import { Health, journalCheck, layerCheck, type Finding } from '../../src/server/health.ts'

const listeners: AdminListener[] = []
afterEach(async () => {
  await Promise.all(listeners.splice(0).map((listener) => listener.close(AbortSignal.abort())))
})

const done: Reloaded = { reloaded: true, messages: [], later: [] }
async function start(health: Health, { token, reload = done }: { token?: string; reload?: Reloaded } = {}) {
  const options = { address: { host: '127.0.0.1', port: 0 }, maxBodySize: 100, ...(token !== undefined && { token }) }
  const metrics = () => Promise.resolve({ contentType: 'text/plain; version=0.0.4', text: 'up 1\n' })
  const places = [...healthPlaces(health), metricsPlace(metrics), reloadPlace(() => Promise.resolve(reload), health)]
  const listener = await AdminListener.start(options, { places: () => places, log: silentLog })
  listeners.push(listener)
  return async (where: string, init: RequestInit = {}) => {
    const response = await fetch(listener.url + where, init)
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() }
  }
}

const json = { 'content-type': 'application/json' }
const parsed = ({ status, text }: { status: number; text: string }) => ({ status, ...(JSON.parse(text) as object) })

describe('/ready', () => {
  test.each([
    ['starting', 503, ['the gateway is starting']],
    ['serving', 200, []],
    ['draining', 503, ['the gateway is closing: what is open may finish']],
  ] as const)('while it is %s: %d', async (phase, status, reasons) => {
    const health = new Health()
    health.phase = phase
    const ask = await start(health)
    expect(parsed(await ask('/ready'))).toEqual({ status, ready: status === 200, phase, checks: {}, reasons })
    expect(parsed(await ask('/live'))).toEqual({ status: 200, live: true })
  })

  test('a check that fails makes it 503, one that is degraded does not', async () => {
    const health = new Health()
    health.phase = 'serving'
    let journal: Finding | undefined = { status: 'failing', reason: 'the disk is full' }
    const layer: Finding = { status: 'degraded', reason: 'Redis is away' }
    health.register('journal', () => journal)
    health.register('layer', () => layer)
    health.register('threads', () => undefined)
    const ask = await start(health)
    expect(parsed(await ask('/ready'))).toMatchObject({
      status: 503,
      ready: false,
      checks: { journal, layer, threads: 'ok' },
      reasons: ['journal: the disk is full'],
    })
    journal = undefined
    expect(parsed(await ask('/ready'))).toMatchObject({ status: 200, ready: true, checks: { journal: 'ok', layer } })
  })

  test('a probe without the token is told the status, and no more', async () => {
    const health = new Health()
    const ask = await start(health, { token: 'hunter2' })
    expect(await ask('/ready')).toMatchObject({ status: 503, text: 'Service Unavailable\n' })
    expect(await ask('/live')).toMatchObject({ status: 200, text: 'OK\n' })
    expect(await ask('/ready', { method: 'POST' })).toMatchObject({ status: 401 })
    expect(await ask('/metrics')).toMatchObject({ status: 401 })
    const headers = { authorization: 'Bearer hunter2' }
    expect(parsed(await ask('/ready', { headers }))).toMatchObject({ status: 503, phase: 'starting' })
  })

  test('a web page is told nothing', async () => {
    const ask = await start(new Health())
    expect(await ask('/ready', { headers: { origin: 'https://evil.example' } })).toMatchObject({ status: 403 })
  })
})

describe('the checks of a gateway', () => {
  const layerWith = (stats: Partial<LayerStats>) =>
    Object.assign(new MemoryLayer(), { stats: () => ({ channels: 0, groups: 0, dropped: {}, ...stats }) })

  test.each([
    ['a layer of one process', {}, undefined],
    ['one whose Redis is there', { connected: true }, undefined],
    ['one whose Redis is away', { connected: false }, 'degraded'],
  ])('%s', (_, stats, status) => {
    expect(layerCheck(layerWith(stats))()?.status).toBe(status)
  })

  test('a journal that cannot be written fails, with what it says, until it can', () => {
    const journal: { healthy: SignalboxError | undefined } = { healthy: new SignalboxError('journal_full', 'no room') }
    const check = journalCheck(journal)
    expect(check()).toEqual({ status: 'failing', reason: 'no room' })
    journal.healthy = undefined
    expect(check()).toBeUndefined()
  })
})

test('/metrics is text in the format that it says', async () => {
  const ask = await start(new Health())
  expect(await ask('/metrics')).toEqual({ status: 200, type: 'text/plain; version=0.0.4', text: 'up 1\n' })
})

describe('POST /reload', () => {
  const serving = () => Object.assign(new Health(), { phase: 'serving' as const })

  test('says what became of it, also without a body', async () => {
    const ask = await start(serving())
    expect(parsed(await ask('/reload', { method: 'POST', headers: json }))).toEqual({ status: 200, ...done })
  })

  test('is 422 when the file has mistakes', async () => {
    const reload = { reloaded: false, messages: ['gateway.yaml:1:1  found nothing'], later: [] }
    const ask = await start(serving(), { reload })
    expect(parsed(await ask('/reload', { method: 'POST', headers: json }))).toEqual({ status: 422, ...reload })
  })

  test('waits until the gateway serves', async () => {
    const ask = await start(new Health())
    const answer = await ask('/reload', { method: 'POST', headers: json })
    expect(answer).toMatchObject({ status: 503, text: 'The gateway is starting\n' })
  })
})
