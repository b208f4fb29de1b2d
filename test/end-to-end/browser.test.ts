/** The sample's page in a real browser, on a real gateway, while messages come in over all five protocols. */
import { afterAll, beforeAll, expect, jest } from '@jest/globals'
import { connectAsync } from 'mqtt'
import { mkdtempSync, rmSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createTransport } from 'nodemailer'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import { getExpectedTwilioSignature } from 'twilio/lib/webhooks/webhooks.js'
import { RedisServer } from '../layers/redis-server.ts'
import { Running, realMain } from '../support/child.ts'
import { Gateways } from '../support/gateways.ts'
import { findProgram, requires } from '../support/requirements.ts'

const names = ['chromium', 'chromium-browser', 'google-chrome']
const { describe, test } = requires(names.join('|'))
const publicUrl = 'http://127.0.0.1:8000'
/** Free ports, whatever the sample says. */
const addresses = {
  SIGNALBOX_MQTT: '127.0.0.1:0',
  SIGNALBOX_SMTP: '127.0.0.1:0',
  SIGNALBOX_ADMIN: '127.0.0.1:0',
  SIGNALBOX_URL: publicUrl,
  TWILIO_AUTH_TOKEN: 'development',
}
const settings = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

// A browser on a busy machine takes its time.
jest.setTimeout(60_000)

describe('the live page', () => {
  let data: string
  let gateway: Running
  let browser: Browser
  /** Where each protocol listens, as the greeting says it. */
  let urls: Readonly<Record<string, URL>>
  /** What a browser's console said that is no news. */
  const complaints: string[] = []

  beforeAll(async () => {
    data = mkdtempSync(path.join(tmpdir(), 'signalbox-page-'))
    gateway = await serve('127.0.0.1:0')
    const executablePath = findProgram(...names)
    browser = await chromium.launch({ ...(executablePath && { executablePath }), args: settings })
  })

  afterAll(async () => {
    await browser?.close()
    await gateway?.[Symbol.asyncDispose]()
    rmSync(data, { recursive: true, force: true })
  })

  /** Starts the sample on free ports; `http` is the address of the page. */
  async function serve(http: string): Promise<Running> {
    const environment = { ...addresses, SIGNALBOX_HTTP: http, SIGNALBOX_DATA: data }
    const running = new Running(realMain, ['serve', 'config/gateway.yaml'], { environment })
    await running.sees('out', /^ {2}data .*$/m)
    const lines = running.out.matchAll(/^ {2}(\w+) +(\w+:\/\/\S+)/gm)
    urls = Object.fromEntries(Array.from(lines, ([, name = '', url = '']) => [name, new URL(url)]))
    return running
  }

  async function open(options: BrowserContextOptions = {}, url = urls['http']): Promise<Page & AsyncDisposable> {
    const context = await browser.newContext(options)
    const page = await context.newPage()
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(error.message))
    await page.goto(String(url))
    await live(page)
    return Object.assign(page, { [Symbol.asyncDispose]: () => context.close() })
  }

  const live = (page: Page) => page.locator('#connection[data-state=open]').waitFor()
  const counter = (page: Page, protocol: string) => page.locator(`#counters [data-protocol=${protocol}] dd`)
  const count = async (page: Page, protocol: string) => Number(await counter(page, protocol).textContent())
  /** Waits until the counter shows another number than this. */
  const moves = (page: Page, protocol: string, from: number) =>
    counter(page, protocol)
      .filter({ hasNotText: new RegExp(`^${from}$`) })
      .waitFor()

  async function publish(payload: string, topic = 'sensors/kitchen/temperature'): Promise<void> {
    const client = await connectAsync(String(urls['mqtt']))
    await client.publishAsync(topic, payload, { qos: 1 })
    await client.endAsync()
  }
  async function mail(subject: string, text: string): Promise<void> {
    const { hostname: host, port } = urls['email'] as URL // the greeting names it
    const transport = createTransport({ host, port: Number(port), secure: false, ignoreTLS: true })
    await transport.sendMail({
      from: 'Ann <ann@example.org>',
      to: 'help@support.org',
      subject,
      text,
      attachments: [{ filename: 'fire.txt', content: 'hot' }],
    })
    transport.close()
  }
  async function sendText(body: string, url = urls['http']): Promise<string> {
    const parameters = {
      MessageSid: `SM${Math.random().toString(16).slice(2).padEnd(32, '0')}`,
      AccountSid: `AC${'0'.repeat(32)}`,
      From: '+14155550100',
      To: '+15005550006',
      Body: body,
    }
    const signature = getExpectedTwilioSignature('development', `${publicUrl}/sms`, parameters)
    const headers = { 'x-twilio-signature': signature }
    const response = await fetch(new URL('/sms', url), {
      method: 'POST',
      body: new URLSearchParams(parameters),
      headers,
    })
    expect(response.status).toBe(200)
    return response.text()
  }

  test('says how to begin while nothing has come in', async () => {
    await using page = await open()
    for (const list of ['rooms', 'tickets', 'texts'])
      expect(await page.locator(`[data-empty=${list}]`).isVisible()).toBe(true)
    for (const protocol of ['mqtt', 'email', 'sms']) expect(await count(page, protocol)).toBe(0)
    await page.getByText('Send one on each protocol').click()
    expect(await page.locator('.try .command code').allTextContents()).toEqual([
      `curl ${(urls['http'] as URL).origin}/gethostbyname/localhost`,
      expect.stringMatching(/^npx signalbox send websocket /),
      expect.stringMatching(/^npx signalbox send mqtt /),
      expect.stringMatching(/^npx signalbox send email /),
      expect.stringMatching(/^npx signalbox send sms /),
    ])
  })

  test('a message on each protocol moves its counter and shows where it belongs', async () => {
    await using page = await open()

    const http = await count(page, 'http')
    const answer = await fetch(new URL('/gethostbyname/localhost', urls['http']))
    expect(await answer.text()).toBe('127.0.0.1')
    await moves(page, 'http', http)

    const mqtt = await count(page, 'mqtt')
    await publish('21.5')
    await publish('{"celsius":22.5}')
    await counter(page, 'mqtt')
      .getByText(String(mqtt + 2), { exact: true })
      .waitFor()
    await page.locator('.room', { hasText: 'kitchen' }).getByText('22.5 °C').waitFor()
    const plot = page.locator('.room svg')
    expect(await plot.getAttribute('aria-label')).toBe('kitchen: 2 readings from 21.5 to 22.5 °C, now 22.5 °C')
    expect(await plot.locator('.curve').getAttribute('d')).toMatch(/^M[\d.]+,[\d.]+L[\d.]+,[\d.]+$/)

    const email = await count(page, 'email')
    await mail('My printer is on fire', 'It burns.\n<b>Help!</b>')
    await moves(page, 'email', email)
    const ticket = page.locator('#tickets li', { hasText: 'My printer is on fire' })
    await ticket.locator('summary').click()
    await ticket.getByText('<b>Help!</b>').waitFor()
    expect(await ticket.locator('.meta').first().textContent()).toBe('ann@example.org · 1 message')
    const [download] = await Promise.all([page.waitForEvent('download'), ticket.getByText('fire.txt').click()])
    expect(download.suggestedFilename()).toBe('fire.txt')

    const sms = await count(page, 'sms')
    expect(await sendText('TEMP kitchen')).toContain('kitchen: 22.5 C')
    await moves(page, 'sms', sms)
    const text = page.locator('#texts li', { hasText: 'TEMP kitchen' })
    await text.getByText('→ kitchen: 22.5 C').waitFor()
    expect(await text.textContent()).toContain('+1 *** 0100')

    for (const list of ['rooms', 'tickets', 'texts'])
      expect(await page.locator(`[data-empty=${list}]`).isVisible()).toBe(false)
  })

  test('a hot room is marked', async () => {
    await using page = await open()
    await publish('31', 'sensors/oven/temperature')
    await page.locator('.room.hot', { hasText: 'oven' }).waitFor()
  })

  test('two people chat, each line is data, and the counter moves', async () => {
    await using ann = await open()
    await using bob = await open()
    const websocket = await count(ann, 'websocket')
    const say = async (page: Page, name: string, message: string) => {
      await page.getByLabel('Name', { exact: true }).fill(name)
      await page.getByLabel('Message', { exact: true }).fill(message)
      await page.getByRole('button', { name: 'Send' }).click()
    }
    await ann.getByText('[Welcome Anonymous!]').waitFor()
    await say(ann, 'ann', 'hello <img src=x onerror=alert(1)>')
    await ann.getByText('[Welcome ann!]').waitFor()
    await bob.locator('#chat-log li', { hasText: 'ann hello <img src=x onerror=alert(1)>' }).waitFor()
    await ann.locator('#chat-log li.own', { hasText: 'ann hello' }).waitFor()
    expect(await bob.locator('#chat-log img').count()).toBe(0)
    await say(bob, '', 'hi')
    await ann.locator('#chat-log li:not(.own)', { hasText: 'Anonymous hi' }).waitFor()
    await counter(ann, 'websocket')
      .getByText(String(websocket + 2), { exact: true })
      .waitFor()
  })

  test('is readable on a phone, in light and dark', async () => {
    const looks: unknown[] = []
    for (const colorScheme of ['light', 'dark'] as const) {
      await using page = await open({ colorScheme, viewport: { width: 360, height: 740 } })
      await page.locator('.room').first().waitFor()
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
      looks.push(await page.evaluate('getComputedStyle(document.body).backgroundColor'))
    }
    expect(new Set(looks).size).toBe(2)
  })

  test('every text stands out from what is behind it, in light and dark', async () => {
    const faintTexts = await readFile(path.join(import.meta.dirname, 'faint-texts.js'), 'utf8')
    for (const colorScheme of ['light', 'dark'] as const) {
      await using page = await open({ colorScheme })
      await page.locator('.room').first().waitFor()
      expect(await page.evaluate(faintTexts)).toEqual([])
    }
  })

  test('comes back by itself after a restart, with everything that was there', async () => {
    await using page = await open()
    const { host } = urls['http'] as URL // the greeting names it
    const mqtt = await count(page, 'mqtt')
    expect(mqtt).toBeGreaterThan(0)
    const before = complaints.length
    gateway.kill('SIGTERM')
    expect((await gateway.ended()).code).toBe(0)
    await page.locator('#connection[data-state=waiting]').waitFor()
    gateway = await serve(host)
    await live(page)
    // A browser reports every connection that fails while the gateway is away.
    const refused = complaints.splice(before)
    for (const complaint of refused) expect(complaint).toMatch(/WebSocket connection to .* failed/)
    expect(await count(page, 'mqtt')).toBe(mqtt)
    await page.locator('.room', { hasText: 'kitchen' }).getByText('22.5 °C').waitFor()
    await page.locator('#tickets li', { hasText: 'My printer is on fire' }).waitFor()
    await page.locator('#texts li', { hasText: 'TEMP kitchen' }).waitFor()
  })

  requires(names.join('|'), 'redis-server', 'redis-cli').test(
    'of one gateway shows a text that another one received, when both are on one Redis',
    async () => {
      const redis = await RedisServer.start()
      try {
        const environment = { ...addresses, SIGNALBOX_HTTP: '127.0.0.1:0', REDIS: redis.url }
        await using gateways = await Gateways.create('config', environment)
        const file = path.join(gateways.folder, 'gateway.yaml')
        const sample = await readFile(file, 'utf8')
        const shared = sample
          .replace(/^layer: memory$/m, 'layer: { redis: { url: "${REDIS}" } }')
          .replace('${SIGNALBOX_DATA:-./data}', '${DATA}')
        await writeFile(file, shared)
        const [a, b] = await Promise.all([gateways.serve('a'), gateways.serve('b')])
        await using page = await open({}, b.urls['http'])
        expect(await sendText('TICKETS', a.urls['http'])).toContain('No tickets.')
        const text = page.locator('#texts li', { hasText: 'TICKETS' })
        await text.getByText('→ No tickets.').waitFor()
        expect(await text.textContent()).toContain('+1 *** 0100')
        // It has the text from the other: its own gateway knows none.
        await page.reload()
        await live(page)
        await page.locator('[data-empty=texts]').waitFor()
      } finally {
        await redis.stop()
      }
    },
  )

  test('the browser had nothing to complain about', () => {
    expect(complaints).toEqual([])
  })
})
