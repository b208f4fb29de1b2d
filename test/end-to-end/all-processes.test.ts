/** The admin listener of a gateway of several processes: whichever is asked, it answers for all of them. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { setImmediate } from 'node:timers/promises'
import { createTransport } from 'nodemailer'
import { Gateways, type RunningGateway } from '../support/gateways.ts'

const fixtures = path.join(import.meta.dirname, 'fixtures', 'processes')

let gateways: Gateways
let gateway: RunningGateway

beforeAll(async () => {
  gateways = await Gateways.create(fixtures, {})
  gateway = await gateways.serve('all', 'stored.yaml', '--processes', '2')
  const pids = await Promise.all(Array.from({ length: 6 }, () => ask('http', '/pid')))
  expect(new Set(pids).size).toBe(2)
  await ask('http', '/nowhere')
  await ask('http', '/nowhere')
})
afterAll(() => gateways[Symbol.asyncDispose]())

/** Each on a connection of its own: whoever is next takes it. */
async function ask(listener: string, where: string): Promise<string> {
  const asked = request(new URL(where, gateway.urls[listener]), { agent: false }).end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return await text(response)
}

/** Of the requests with a rule. */
async function counted(): Promise<number> {
  const metrics = await ask('admin', '/metrics')
  return Number(/^signalbox_events_total\{protocol="http",rule="stored\.yaml:12"\} (\d+)$/m.exec(metrics)?.[1])
}

const ready = async () => JSON.parse(await ask('admin', '/ready')) as object

test('/metrics are sums, each sample once, and what cannot be added up is the worst of them', async () => {
  const metrics = await ask('admin', '/metrics')
  expect(metrics).toMatch(/^signalbox_events_total\{protocol="http",rule="stored\.yaml:12"\} 6$/m)
  expect(metrics).toMatch(/^signalbox_handler_seconds_count\{protocol="http",rule="stored\.yaml:12"\} 6$/m)
  expect(metrics).toMatch(/^signalbox_unrouted_total\{protocol="http"\} 2$/m)
  for (const one of ['signalbox_ready', 'signalbox_layer_connected', 'signalbox_check{check="journal"}']) {
    expect(metrics).toContain(`\n${one} 1\n`)
  }
  const samples = metrics.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  const names = samples.map((line) => line.slice(0, line.lastIndexOf(' ')))
  expect(new Set(names).size).toBe(names.length)
  expect(metrics).not.toContain('NaN')
})

test('signalbox stats shows the numbers of all, for people and as JSON', async () => {
  const out = await gateways.run(['stats', 'stored.yaml'], gateway)
  expect(out).toMatch(/ready, up \d+ s, 2 processes\nconnections: .*without a rule: 2 http\n/)
  expect(out).toMatch(/^http +stored\.yaml:12 +6 +6 +0 +0 +0 +0$/m)
  const stats: unknown = JSON.parse(await gateways.run(['stats', 'stored.yaml', '--json'], gateway))
  expect(stats).toMatchObject({ ready: true, reasons: [], processes: 2, unrouted: { http: 2 } })
})

describe('/journal', () => {
  interface Line {
    readonly id: number | string
  }
  const post = async (where: string, question: object): Promise<Response> =>
    await fetch(new URL(where, gateway.urls['admin']), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(question),
    })
  const list = async (question: object = {}) => (await (await post('/journal/list', question)).json()) as Line[]
  const idsOf = (lines: readonly Line[]) => lines.map(({ id }) => String(id)).toSorted()

  beforeAll(async () => {
    const { hostname: host, port } = gateway.urls['email'] as URL // the YAML listens for it
    for (let sent = 0; sent < 4; sent++) {
      const relay = createTransport({ host, port: Number(port), ignoreTLS: true })
      await relay.sendMail({ from: 'ann@example.org', to: 'help@support.org', subject: 'broken', text: 'Help' })
    }
    while ((await list({ state: 'dead' })).length < 4) await setImmediate()
  })

  test('lists and shows what all processes have', async () => {
    expect(idsOf(await list())).toEqual(['1', '2', '2-1', '2-2'])
    expect(idsOf(await list({ before: '2-2' }))).toEqual(['2-1'])
    expect(await list({ limit: 3, protocol: 'email' })).toHaveLength(3)
    expect(await list({ protocol: 'sms' })).toEqual([])
    for (const id of [1, '1', '2-1']) {
      const shown: unknown = await (await post('/journal/show', { id })).json()
      expect(shown).toMatchObject({ state: 'dead', error: 'a broken mail' })
    }
    expect(JSON.parse(await ask('admin', '/journal'))).toMatchObject({ accepted: 4, waiting: 0, dead: 4 })
  })

  test.each([
    ['show', { id: '3-1' }, 'found no journal of process 3, there is 1, 2'],
    ['show', { id: '2-99' }, 'found no record 99'],
    ['show', { id: 'x' }, 'expected a number such as 17, or 2-17'],
    ['list', { limit: 0 }, 'limit'],
    ['list', { colour: 'red' }, 'colour'],
    ['discard', {}, 'expected ids, or state'],
    ['discard', { ids: [1, '3-1'] }, 'found no journal of process 3'],
  ])('%s %j is a mistake that is said', async (act, question, why) => {
    const response = await post(`/journal/${act}`, question)
    expect({ status: response.status, text: await response.text() }).toEqual({
      status: 422,
      text: expect.stringContaining(why),
    })
  })

  test('tries again and takes out, wherever it is', async () => {
    const answer = async (act: string, question: object) =>
      (await (await post(`/journal/${act}`, question)).json()) as object
    expect(await answer('discard', { ids: ['2-1', 1] })).toEqual({ ids: [1, '2-1'] })
    expect(await answer('retry', { state: 'dead' })).toEqual({ ids: [2, '2-2'] })
    while ((await list({ state: 'dead' })).length < 2) await setImmediate()
    expect(await answer('discard', { protocol: 'email' })).toEqual({ ids: [2, '2-2'] })
    expect(await list()).toEqual([])
  })
})

test('/ready says which process is away, and that the others take its peers', async () => {
  const checks = { layer: 'ok', journal: 'ok', processes: 'ok' }
  expect(await ready()).toEqual({ ready: true, phase: 'serving', checks, reasons: [] })
  const pids = new Set(await Promise.all(Array.from({ length: 4 }, () => ask('http', '/pid'))))
  const [, second = 0] = [...pids].map(Number).toSorted((a, b) => a - b)
  const before = await counted()
  process.kill(second, 'SIGKILL')
  await gateway.process.sees('error', /process 2 has ended/)
  expect(await counted()).toBe(before)
  const away = { status: 'degraded', reason: 'process 2: starting, or does not answer' }
  expect(await ready()).toEqual({ ready: true, phase: 'serving', checks: { ...checks, processes: away }, reasons: [] })
  await gateway.process.sees('error', /the process serves again/)
  expect(await ready()).toMatchObject({ checks })
})
