/** The end of a real gateway in the middle of traffic: what each protocol tells its peers, and that nothing promised is lost. */
import { afterEach, describe, expect, test } from '@jest/globals'
import { createHmac } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import path from 'node:path'
import { connect, connectAsync, type MqttClient } from 'mqtt'
import { createTransport } from 'nodemailer'
import { WebSocket } from 'ws'
import { freePort } from '../layers/redis-server.ts'
import { Gateways, type RunningGateway } from '../support/gateways.ts'
import { RawClient } from '../support/raw-client.ts'

const fixture = path.join(import.meta.dirname, 'fixtures', 'drain')
let gateways: Gateways | undefined
afterEach(async () => {
  await gateways?.[Symbol.asyncDispose]()
  gateways = undefined
})

async function serve(environment: Readonly<Record<string, string>> = {}): Promise<RunningGateway> {
  gateways ??= await Gateways.create(fixture, environment)
  return await gateways.serve('drain')
}

const urlOf = ({ urls }: RunningGateway, protocol: string, where = ''): string =>
  new URL(where, urls[protocol]).href.replace(/\/$/, where === '' ? '' : '/')

const inData = (file: string): string => path.join(gateways?.folder ?? '', 'data-drain', file)

/** The lines that handlers have noted, of all runs. */
async function handled(): Promise<readonly string[]> {
  const text = await readFile(inData('handled.txt'), 'utf8').catch(() => '')
  return text.split('\n').slice(0, -1)
}

/** Sends SIGTERM; resolves when the gateway has begun to close. */
async function terminate({ process }: RunningGateway): Promise<void> {
  process.kill('SIGTERM')
  await process.sees('error', /"msg":"closing/)
}

async function endedCleanly({ process }: RunningGateway): Promise<void> {
  const { code, out, error } = await process.ended()
  expect({ code, error: /"level":50.*/.exec(error)?.[0] }).toEqual({ code: 0, error: undefined })
  expect(error).toMatch(/"clean":true,"msg":"closed"/)
  expect(out).toMatch(/shut down\n$/)
}

describe('http', () => {
  test('a request in hand is answered, says that the connection closes, and nobody new comes in', async () => {
    const gateway = await serve()
    const idle = await RawClient.connect(urlOf(gateway, 'http'))
    const busy = await RawClient.connect(urlOf(gateway, 'http'))
    busy.send('GET /slow HTTP/1.1\r\nhost: a\r\n\r\n')
    await gateway.process.sees('out', /begun slow/)
    await terminate(gateway)
    const admin = urlOf(gateway, 'admin')
    const ready = await fetch(`${admin}/ready`)
    expect({ status: ready.status, answer: await ready.json() }).toMatchObject({
      status: 503,
      answer: { ready: false, phase: 'draining', reasons: ['the gateway is closing: what is open may finish'] },
    })
    expect((await fetch(`${admin}/live`)).status).toBe(200)
    expect(await idle.closed).toBe('')
    await refusesAll(urlOf(gateway, 'http'))
    await writeFile(inData('enough'), '')
    const answer = await busy.closed
    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(answer).toMatch(/\r\nconnection: close\r\n/i)
    expect(answer).toMatch(/done\n/)
    await endedCleanly(gateway)
  })

  test('a response that has begun goes on to its end', async () => {
    const gateway = await serve()
    const response = await fetch(urlOf(gateway, 'http', '/stream'))
    await gateway.process.sees('out', /begun stream/)
    await terminate(gateway)
    expect(await response.text()).toBe('first last')
    await endedCleanly(gateway)
  })

  test('what does not end is cut at the deadline, and the exit code says so', async () => {
    const gateway = await serve({ DRAIN: '300ms' })
    const client = await RawClient.connect(urlOf(gateway, 'http'))
    client.send('GET /never HTTP/1.1\r\nhost: a\r\n\r\n')
    await gateway.process.sees('out', /begun never/)
    await terminate(gateway)
    expect(await client.closed).toMatch(/^HTTP\/1\.1 503 /)
    const { code, error } = await gateway.process.ended()
    expect(code).toBe(1)
    expect(error).toMatch(/"scopes":1,"msg":"not over within 300 ms \(drainTimeout\): what is left is told to end/)
    expect(error).toMatch(/"clean":false,"msg":"closed"/)
  })

  test('a second signal ends at once', async () => {
    const gateway = await serve()
    const client = await RawClient.connect(urlOf(gateway, 'http'))
    client.send('GET /never HTTP/1.1\r\nhost: a\r\n\r\n')
    await gateway.process.sees('out', /begun never/)
    await terminate(gateway)
    gateway.process.kill('SIGTERM')
    const { code, error } = await gateway.process.ended()
    expect(code).toBe(1)
    expect(error).not.toMatch(/"msg":"closed"/)
  })
})

test('websocket: a peer that sends on and on is told 1001, and its consumer that it is gone', async () => {
  const gateway = await serve()
  const host = urlOf(gateway, 'http')
  const socket = new WebSocket(`${host.replace('http', 'ws')}/echo/`, { origin: host })
  let sent = 0
  let heard = 0
  const next = () => socket.send(String(++sent))
  socket.on('message', (data: Buffer) => {
    expect(data.toString()).toBe(String(++heard))
    if (socket.readyState === WebSocket.OPEN) next()
    if (heard === 100) void terminate(gateway)
  })
  await once(socket, 'open')
  for (let inFlight = 0; inFlight < 8; inFlight++) next()
  const [code, why] = (await once(socket, 'close')) as [number, Buffer]
  expect({ code, why: why.toString() }).toEqual({ code: 1001, why: 'the gateway is closing' })
  await endedCleanly(gateway)
  const lines = await handled()
  expect(lines.at(-1)).toBe('closed with 1001')
  // In order, and each that was answered is there.
  expect(lines.slice(0, -1)).toEqual(Array.from({ length: lines.length - 1 }, (_, index) => String(index + 1)))
  expect(lines.length - 1).toBeGreaterThanOrEqual(heard)
})

test('email: a mail under way is taken, everybody else is told 421', async () => {
  const gateway = await serve()
  const idle = await RawClient.connect(urlOf(gateway, 'email'))
  await idle.until(/^220 /)
  const busy = await RawClient.connect(urlOf(gateway, 'email'))
  await busy.until(/^220 /)
  busy.send('EHLO a\r\nMAIL FROM:<ann@example.org>\r\nRCPT TO:<help@support.org>\r\nDATA\r\n')
  await busy.until(/^354 /m)
  busy.send('Subject: under way\r\nMessage-ID: <1@example.org>\r\n\r\nfirst line\r\n')
  await terminate(gateway)
  expect(await idle.closed).toMatch(/\r\n421 /)
  await refusesAll(urlOf(gateway, 'email'))
  busy.send('last line\r\n.\r\n')
  expect(await busy.closed).toMatch(/^354 .*\r\n250 .*\r\n421 /m)
  await endedCleanly(gateway)
  await settled(['under way'])
})

test('what a handler has not finished at the deadline is handled after the next start', async () => {
  const gateway = await serve({ DRAIN: '300ms' })
  const { hostname: host, port } = new URL(urlOf(gateway, 'email'))
  const relay = createTransport({ host, port: Number(port), ignoreTLS: true })
  const sent = await relay.sendMail({ from: 'ann@example.org', to: 'a@later.org', subject: 'unfinished', text: 'x' })
  expect(sent.response).toMatch(/^250 /)
  await gateway.process.sees('out', /begun later/)
  await terminate(gateway)
  expect((await gateway.process.ended()).code).toBe(1)
  expect(await handled()).toEqual([])
  await settled(['unfinished'])
})

test('mqtt: connections close without their wills, and every publish that was acknowledged is handled', async () => {
  const gateway = await serve()
  const options = { clean: false, reconnectPeriod: 0 } as const
  const watcher = await connectAsync(urlOf(gateway, 'mqtt'), { ...options, clientId: 'watcher' })
  await watcher.subscribeAsync('gone', { qos: 1 })
  const will = { topic: 'gone', payload: Buffer.from('device'), qos: 1 as const, retain: false }
  const device = await connectAsync(urlOf(gateway, 'mqtt'), { ...options, clientId: 'device', will })
  const acknowledged: string[] = []
  const closed = Promise.all([watcher, device].map(closing))
  publishOn(device, acknowledged)
  await gateway.process.sees('out', /begun readings/)
  await terminate(gateway)
  await closed
  await endedCleanly(gateway)
  const again = await serve()
  const back = await connectAsync(urlOf(again, 'mqtt'), { ...options, clientId: 'back' })
  const watching = connect(urlOf(again, 'mqtt'), { ...options, clientId: 'watcher' })
  // A will would have waited for it, and come before what is published now.
  const first = new Promise<string>((resolve) =>
    watching.once('message', (_topic, payload) => resolve(String(payload))),
  )
  await back.publishAsync('gone', 'now', { qos: 1 })
  expect(await first).toBe('now')
  await Promise.all([watcher, device, back, watching].map((client) => client.endAsync(true)))
  expect(acknowledged.length).toBeGreaterThanOrEqual(20)
  await settled(acknowledged, again)
})

const closing = (client: MqttClient) => new Promise<void>((resolve) => client.once('close', () => resolve()))

/** Twenty at a time, until the connection is gone. */
function publishOn(device: MqttClient, acknowledged: string[]): void {
  let number = 0
  const next = (): void => {
    const topic = `readings/${++number}`
    device.publish(topic, '21.5', { qos: 1 }, (error) => {
      if (error) return
      acknowledged.push(topic)
      if (device.connected) next()
    })
  }
  for (let inFlight = 0; inFlight < 20; inFlight++) next()
}

test('sms: a text that Twilio has an answer to is handled once, and its connection says that it closes', async () => {
  const gateway = await serve()
  const form = { Body: 'TEMP', From: '+14155550100', MessageSid: 'SM1', To: '+15005550006' }
  const signed = Object.entries(form).flat().join('')
  const signature = createHmac('sha1', 'development').update(`http://127.0.0.1:8000/sms${signed}`).digest('base64')
  const answering = fetch(urlOf(gateway, 'http', '/sms'), {
    method: 'POST',
    headers: { 'x-twilio-signature': signature },
    body: new URLSearchParams(form),
  })
  await gateway.process.sees('out', /begun text/)
  await terminate(gateway)
  const answer = await answering
  expect(answer.status).toBe(200)
  expect(await answer.text()).toMatch(/<Response/)
  await endedCleanly(gateway)
  await settled(['TEMP'])
})

describe('while it starts', () => {
  test('a signal ends it cleanly, however long the lifespan application takes', async () => {
    gateways = await Gateways.create(fixture, { STUCK: '1' })
    const starting = gateways.begin('drain')
    await starting.sees('out', /begun starting/)
    starting.kill('SIGTERM')
    const { code, error } = await starting.ended()
    expect(code).toBe(0)
    expect(error).toMatch(/the gateway does not start: SIGTERM came before it was open/)
  })

  test('it says that it is not ready yet, and a signal ends that too', async () => {
    const port = await freePort()
    gateways = await Gateways.create(fixture, { STUCK: '1', ADMIN: `127.0.0.1:${port}` })
    const starting = gateways.begin('drain')
    await starting.sees('out', /begun starting/)
    const ready = await fetch(`http://127.0.0.1:${port}/ready`)
    expect({ status: ready.status, answer: await ready.json() }).toMatchObject({
      status: 503,
      answer: { phase: 'starting', reasons: ['the gateway is starting'] },
    })
    starting.kill('SIGTERM')
    expect((await starting.ended()).code).toBe(0)
  })

  test('SIGHUP does not end it', async () => {
    gateways = await Gateways.create(fixture, { STUCK: '1' })
    const starting = gateways.begin('drain')
    await starting.sees('out', /begun starting/)
    starting.kill('SIGHUP')
    starting.kill('SIGTERM')
    expect((await starting.ended()).code).toBe(0)
  })
})

/** Nobody listens there any more. */
async function refusesAll(url: string): Promise<void> {
  const { hostname, port } = new URL(url)
  await expect(once(createConnection(Number(port), hostname), 'connect')).rejects.toMatchObject({
    code: 'ECONNREFUSED',
  })
}

/** Each is handled, exactly once: by this run, or by the one that takes up what it left. */
async function settled(expected: readonly string[], running?: RunningGateway): Promise<void> {
  const gateway = running ?? (await serve())
  const waiting = async () => {
    const text = await (await fetch(urlOf(gateway, 'admin', '/metrics'))).text()
    return text.match(/^signalbox_journal_events\{.*state="waiting"\} [1-9]/gm)
  }
  while ((await waiting()) !== null) await new Promise((resolve) => setTimeout(resolve, 20))
  await terminate(gateway)
  await gateway.process.ended()
  const lines = await handled()
  expect(expected.filter((line) => lines.filter((found) => found === line).length !== 1)).toEqual([])
}
