/** What an operator sees of a real gateway: its metrics, its numbers and its log, with every protocol in use. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { connectAsync } from 'mqtt'
import { createTransport } from 'nodemailer'
import { WebSocket } from 'ws'
import { Running, realMain, run } from '../support/child.ts'
import { Gateways, type RunningGateway } from '../support/gateways.ts'

const fixture = path.join(import.meta.dirname, 'fixtures', 'drain')
const readme = path.join(import.meta.dirname, '..', '..', 'src', 'server', 'README.md')
const yaml = readFileSync(path.join(fixture, 'gateway.yaml'), 'utf8').split('\n')
/** The place of the rule with this application. */
const rule = (name: string) => `gateway.yaml:${yaml.findIndex((line) => line.includes(`#${name} }`)) + 1}`

let gateways: Gateways
let gateway: RunningGateway

beforeAll(async () => {
  gateways = await Gateways.create(fixture, { LEVEL: 'debug' })
  gateway = await gateways.serve('drain')
  await traffic()
})
afterAll(() => gateways[Symbol.asyncDispose]())

const urlOf = (protocol: string, where = ''): string => new URL(where, gateway.urls[protocol]).href

/** One event that is handled and one that fails, on every protocol. */
async function traffic(): Promise<void> {
  await fetch(urlOf('http', '/fails'))
  await fetch(urlOf('http', '/nowhere'))
  await Promise.all(['/echo/', '/fails/'].map(talk))
  const device = await connectAsync(urlOf('mqtt'), { reconnectPeriod: 0 })
  await device.publishAsync('readings/1', 'secret reading', { qos: 1 })
  await device.publishAsync('fails', 'secret reading', { qos: 1 })
  await device.endAsync()
  const away = { reconnectPeriod: 0, clientId: 'away', clean: false }
  const subscriber = await connectAsync(urlOf('mqtt'), away)
  await subscriber.subscribeAsync('alarms', { qos: 1 })
  await subscriber.endAsync()
  const publisher = await connectAsync(urlOf('mqtt'), { reconnectPeriod: 0 })
  for (const alarm of ['first', 'second', 'third']) await publisher.publishAsync('alarms', alarm, { qos: 1 })
  await publisher.endAsync()
  const { hostname: host, port } = new URL(urlOf('email'))
  const relay = createTransport({ host, port: Number(port), ignoreTLS: true })
  for (const to of ['help@support.org', 'help@broken.org']) {
    await relay.sendMail({ from: 'ann@example.org', to, subject: 'secret', text: 'secret mail' }).catch(() => undefined)
  }
  await relay
    .sendMail({ from: 'ann@example.org', to: 'nobody@nowhere.org', text: 'secret mail' })
    .catch(() => undefined)
  const forged = {
    method: 'POST',
    headers: { 'x-twilio-signature': 'forged' },
    body: new URLSearchParams({ Body: 'x' }),
  }
  await fetch(urlOf('http', '/sms'), forged)
  await connectAsync(urlOf('mqtt'), { reconnectPeriod: 0, clientId: 'x'.repeat(300) }).catch(() => undefined)
  await once(new WebSocket(urlOf('websocket', '/echo/'), { origin: 'http://elsewhere.example' }), 'error')
  await Promise.all(['+14155550100', '+447700900123', '+33612345678'].map(text))
  // What was stored is handled after its sender has its answer.
  for (const pattern of [/the reading failed/, /the mail failed/, /the text failed/]) {
    await gateway.process.sees('error', pattern)
  }
}

async function talk(where: string): Promise<void> {
  const origin = urlOf('http').replace(/\/$/, '')
  const socket = new WebSocket(`${origin.replace('http', 'ws')}${where}`, { origin })
  await once(socket, 'open')
  socket.on('message', () => socket.close())
  socket.send('secret line')
  await once(socket, 'close')
}

async function text(from: string): Promise<void> {
  const form = { Body: 'secret text', From: from, MessageSid: `SM${from.slice(1)}`, To: '+15005550006' }
  const signed = Object.entries(form).flat().join('')
  const signature = createHmac('sha1', 'development').update(`http://127.0.0.1:8000/sms${signed}`).digest('base64')
  const headers = { 'x-twilio-signature': signature }
  const answer = fetch(urlOf('http', '/sms'), { method: 'POST', headers, body: new URLSearchParams(form) })
  // The other handler ends its work with the process, in the middle of its answer.
  const ended = answer.catch(() => undefined)
  await (from.startsWith('+1') ? gateway.process.sees('out', /begun text/) : ended)
}

const metrics = async () => await (await fetch(urlOf('admin', '/metrics'))).text()

/** The value of a sample, with its labels in any order. */
function sample(text: string, name: string, labels: Readonly<Record<string, string>>): number | undefined {
  const line = text.split('\n').find((found) => {
    const [, found_ = '', inside = ''] = /^(\w+)(?:\{(.*)\})? /.exec(found) ?? []
    return found_ === name && Object.entries(labels).every(([key, value]) => inside.includes(`${key}="${value}"`))
  })
  return line === undefined ? undefined : Number(line.split(' ').at(-1))
}

describe('/metrics', () => {
  test('is what the README says, name for name, type for type', async () => {
    const rows = (await readFile(readme, 'utf8')).matchAll(/^\| `(signalbox_\w+)` \| (\w+) \|[^|]*\| (.*) \|$/gm)
    const documented = Array.from(rows, ([, name, type, meaning]) => ({ name, type, meaning }))
    const text = await metrics()
    const shown = Array.from(text.matchAll(/^# HELP (signalbox_\w+) (.*)\n# TYPE \w+ (\w+)$/gm), (found) => {
      const [, name, meaning, type] = found
      return { name, type, meaning }
    })
    expect(shown.toSorted(byName)).toEqual(documented.toSorted(byName))
    expect(text).toMatch(/^process_resident_memory_bytes \d+$/m)
    expect(text).toMatch(/^nodejs_heap_size_used_bytes \d+$/m)
  })

  test.each([
    ['http', rule('fails'), { failed: 1 }],
    ['websocket', rule('Echo'), { handled: 3, failed: 0 }],
    ['websocket', rule('FailingSocket'), { failed: 1 }],
    ['email', rule('Mails'), { handled: 1, failed: 0 }],
    ['sms', rule('FailingTexts'), { failed: 1 }],
  ])('counts %s at %s', async (protocol, place, counts) => {
    const text = await metrics()
    for (const [what, count] of Object.entries(counts)) {
      const value = sample(text, `signalbox_events_${what}_total`, { protocol, rule: place })
      if (count === 0) expect(value).toBe(0)
      else expect(value).toBeGreaterThanOrEqual(count)
    }
  })

  test('every rule of a sample stands in the YAML', async () => {
    const places = new Set(Array.from((await metrics()).matchAll(/rule="([^"]*)"/g), ([, place]) => place))
    expect(places.size).toBeGreaterThanOrEqual(8)
    for (const place of places) {
      const [, line] = /^gateway\.yaml:(\d+)$/.exec(place ?? '') ?? []
      if (place !== '') expect(yaml[Number(line) - 1]).toMatch(/app: /)
    }
  })

  test('what was counted adds up, and the times are those of the same events', async () => {
    const text = await metrics()
    const of = (name: string, place: string) => sample(text, name, { rule: place }) ?? 0
    const places = Array.from(text.matchAll(/^signalbox_events_total\{.*rule="([^"]*)"\}/gm), ([, place = '']) => place)
    for (const place of places) {
      const ends = ['handled', 'failed', 'interrupted'].map((end) => of(`signalbox_events_${end}_total`, place))
      const settled = ends.reduce((sum, count) => sum + count, 0)
      // One text is in hand.
      expect(of('signalbox_events_total', place) - settled).toBe(place === rule('Texts') ? 1 : 0)
      expect(of('signalbox_handler_seconds_count', place)).toBe(settled)
      const buckets = Array.from(
        text.matchAll(/^signalbox_handler_seconds_bucket\{(.*)\} (\d+)$/gm),
        ([, labels = '', count]) => ({ labels, count: Number(count) }),
      ).filter(({ labels }) => labels.includes(`rule="${place}"`))
      expect(buckets.map(({ count }) => count)).toEqual(buckets.map(({ count }) => count).toSorted((a, b) => a - b))
      expect(buckets.at(-1)?.count).toBe(of('signalbox_handler_seconds_count', place))
    }
  })

  test('who is turned away is counted by the code that it was told', async () => {
    const text = await metrics()
    const refused = (protocol: string, code: number) =>
      sample(text, 'signalbox_refused_total', { protocol, code: String(code) })
    expect([refused('email', 550), refused('mqtt', 2), refused('sms', 403), refused('websocket', 403)]).toEqual([
      1, 1, 1, 1,
    ])
  })

  test('what is not kept for a client that is away is counted by the setting that it went over', async () => {
    const labels = { protocol: 'mqtt', reason: 'maxQueued' }
    while (sample(await metrics(), 'signalbox_dropped_total', labels) !== 1) await setImmediate()
  })

  test('what nothing takes is counted by protocol', async () => {
    expect(sample(await metrics(), 'signalbox_unrouted_total', { protocol: 'http' })).toBe(1)
  })
})

test('a gateway whose journal is full is not ready, and says so', async () => {
  await using others = await Gateways.create(fixture, { ROOM: '1MiB' })
  const full = await others.serve('full')
  const { hostname: host, port } = full.urls['email'] as URL
  const relay = createTransport({ host, port: Number(port), ignoreTLS: true })
  const mail = { from: 'ann@example.org', to: 'help@broken.org', text: 'long '.repeat(50_000) }
  const refused = async (): Promise<unknown> => {
    for (;;) {
      // One after the other, until there is no room.
      const error: unknown = await relay.sendMail(mail).then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
      if (error !== undefined) return error
    }
  }
  expect(await refused()).toMatchObject({ responseCode: 452 })
  const ready = await fetch(new URL('/ready', full.urls['admin']))
  expect({ status: ready.status, answer: await ready.json() }).toMatchObject({
    status: 503,
    answer: { ready: false, phase: 'serving', checks: { journal: { status: 'failing' }, layer: 'ok' } },
  })
  const text = await (await fetch(new URL('/metrics', full.urls['admin']))).text()
  expect(sample(text, 'signalbox_check', { check: 'journal' })).toBe(0)
  expect(sample(text, 'signalbox_journal_events', { protocol: 'email', state: 'waiting' })).toBeGreaterThan(0)
})

test('signalbox stats shows the same, for people and as JSON', async () => {
  const out = await gateways.run(['stats'], gateway)
  expect(out).toMatch(
    /^\d\d:\d\d:\d\d {2}ready, up \d+ s\nconnections: .*; scopes: .*1 sms; without a rule: 1 http, 3 mqtt, 1 email, 1 sms\n/,
  )
  expect(out).toMatch(/^protocol +rule +events +handled +failed +interrupted +waiting +dead$/m)
  expect(out).toMatch(new RegExp(`^websocket +${rule('Echo')} +3 +3 +0 +0 +0 +0$`, 'm'))
  // In hand, and in the journal until it is handled.
  expect(out).toMatch(new RegExp(`^sms +${rule('Texts')} +1 +0 +0 +0 +1 +0$`, 'm'))
  const { rules } = JSON.parse(await gateways.run(['stats', '--json'], gateway)) as { rules: object[] }
  expect(rules).toContainEqual(expect.objectContaining({ protocol: 'websocket', rule: rule('Echo'), events: 3 }))
})

test('signalbox stats --watch shows what is new since the time before, until it is ended', async () => {
  const given = ['stats', '--watch', '--interval', '50ms']
  await using watching = new Running(realMain, given, { folder: gateways.folder, environment: gateway.environment })
  await watching.sees('out', /(?:^protocol[^]*){2}/m)
  await fetch(urlOf('http', '/fails'))
  const failing = new RegExp(`^http +${rule('fails')} +2 +0 +2 +0 +0 +0 +\\+1$`, 'm')
  await watching.sees('out', failing)
})

test('signalbox stats says in words that nobody answers', async () => {
  const environment = { ...gateway.environment, ADMIN: '127.0.0.1:1' }
  const { code, error } = await run(realMain, ['stats'], { folder: gateways.folder, environment })
  expect({ code, error }).toEqual({
    code: 1,
    error: 'the connection to 127.0.0.1:1 is refused: is the gateway running?\n',
  })
})

describe('the log', () => {
  const lines = () =>
    gateway.process.error
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)

  test.each([
    ['websocket', rule('Echo'), 'websocket.receive'],
    ['mqtt', rule('Readings'), 'mqtt.publish'],
    ['email', rule('Mails'), 'email.message'],
  ])('has one line for each %s event that was handled, at debug', (protocol, route, event) => {
    const found = lines().filter((line) => line['msg'] === 'an event was handled' && line['event'] === event)
    expect(found).toEqual([
      expect.objectContaining({ level: 20, protocol, route, client: expect.any(String), scope: expect.any(String) }),
    ])
  })

  test.each([
    ['http', rule('fails'), 'http.request', 'the request failed'],
    ['websocket', rule('FailingSocket'), 'websocket.receive', 'the line failed'],
    ['mqtt', rule('FailingReadings'), 'mqtt.publish', 'the reading failed'],
    ['email', rule('FailingMails'), 'email.message', 'the mail failed'],
    ['sms', rule('FailingTexts'), 'sms.message', 'the text failed'],
  ])('has one line for each failure on %s, with scope, rule and peer', (protocol, route, event, message) => {
    const found = lines().filter((line) => Object(line['err']).message === message)
    expect(found.length).toBeGreaterThan(0)
    for (const line of found) {
      expect(line).toMatchObject({ protocol, event, client: expect.any(String), scope: expect.any(String) })
      expect(line['level']).toBe(String(line['msg']).includes('tried again') ? 40 : 50)
      expect(line['route']).toBe(route)
    }
    // Each was in a scope of its own.
    expect(new Set(found.map(({ scope }) => scope)).size).toBe(found.length)
  })

  test('says nothing of what a message says, and above debug nothing of whose it is', () => {
    expect(gateway.process.error).not.toMatch(/secret (?:line|reading|mail|text)|development/)
    const above = lines().filter(({ level }) => Number(level) > 20)
    expect(above.map(({ address }) => address)).toContain('+3…78')
    expect(JSON.stringify(above)).not.toMatch(/[a-z]{2,}@(?:support|broken|example)\.org|\+\d{5}/)
  })
})

const byName = (one: { readonly name?: string | undefined }, other: { readonly name?: string | undefined }) =>
  String(one.name).localeCompare(String(other.name))
