/** The HTTP handlers of the sample: names, files, temperatures, tickets. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { HttpCommunicator, type HttpRequestLike } from '../../protocols/http/communicator.ts'
import type { HttpProtocol } from '../../protocols/http/scope.ts'
import { URLRouter } from '../../src/routing/url-router.ts'
import { AttachmentApi, TemperatureApi, TicketsApi } from '../../config/handlers/api.ts'
import { hostname } from '../../config/handlers/hostname.ts'
import { site } from '../../config/handlers/site.ts'
import { mailOf, sample, type Sample } from './sample.ts'

let place: Sample
beforeEach(async () => {
  place = await sample()
})
afterEach(() => place[Symbol.dispose]())

const application = URLRouter<HttpProtocol>([
  { url: '^gethostbyname/(?<name>[^/]+)$', app: hostname },
  { url: '^temperature/(?<room>[A-Za-z0-9_-]*)$', app: TemperatureApi.asApplication() },
  { url: '^tickets/(?<number>[0-9]*)$', app: TicketsApi.asApplication() },
  { path: '/tickets/:number<int>/attachments/:attachment<int>', app: AttachmentApi.asApplication() },
  { url: '^', app: site },
])

const request = (path: string, more: HttpRequestLike = {}) =>
  new HttpCommunicator(
    application,
    { path, state: place.state, ...more },
    { layer: place.layer, timeout: 10_000 },
  ).response()
const get = async (path: string): Promise<unknown> => JSON.parse((await request(path)).text)

describe('GET /gethostbyname/', () => {
  test('answers with the address as text', async () => {
    const { status, text, headers } = await request('/gethostbyname/localhost')
    expect([status, text]).toEqual([200, '127.0.0.1'])
    expect(headers.get('content-type')).toBe('text/plain; charset=utf-8')
  })

  test('says what went wrong', async () => {
    // No resolver is asked: a name may have 63 characters between two dots (RFC 1035 2.3.4).
    const { status, text } = await request(`/gethostbyname/${'x'.repeat(64)}.invalid`)
    expect([status, ['no such host', 'lookup error'].includes(text)]).toEqual([404, true])
  })
})

describe('GET /temperature/', () => {
  const at = Date.parse('2026-01-01T12:00:00Z')
  const measure = (room: string, celsius: number, minute: number) =>
    place.store.readings.add({ room, celsius, at: at + minute * 60_000, stamped: true, received: at })

  test('lists the latest of each room, newest first', async () => {
    expect(await get('/temperature/')).toEqual([])
    measure('kitchen', 20, 0)
    measure('hall', 18, 1)
    measure('kitchen', 21.5, 2)
    const hall = { room: 'hall', celsius: 18, at: '2026-01-01T12:01:00Z' }
    const kitchen = { room: 'kitchen', celsius: 21.5, at: '2026-01-01T12:02:00Z' }
    expect(await get('/temperature/')).toEqual([kitchen, hall])
    expect(await get('/temperature/?limit=1')).toEqual([kitchen])
  })

  test('shows a room with its history', async () => {
    measure('kitchen', 20, 0)
    measure('kitchen', 21.5, 2)
    const newest = { celsius: 21.5, at: '2026-01-01T12:02:00Z' }
    const history = [newest, { celsius: 20, at: '2026-01-01T12:00:00Z' }]
    expect(await get('/temperature/kitchen')).toEqual({ room: 'kitchen', ...newest, history })
    expect(await get('/temperature/kitchen?limit=1')).toMatchObject({ history: [newest] })
  })

  test('shows a hundred readings if no limit is given', async () => {
    for (let minute = 0; minute < 101; minute++) measure('kitchen', 20, minute)
    expect(await get('/temperature/kitchen')).toMatchObject({ history: { length: 100 } })
    expect(await get('/temperature/kitchen?limit=1000')).toMatchObject({ history: { length: 101 } })
  })

  test('has no other room, and nothing that could be no room', async () => {
    const { status, text, headers } = await request('/temperature/attic')
    expect([status, text]).toEqual([404, '{"error":"no reading of attic"}'])
    expect(headers.get('content-type')).toBe('application/json')
    expect(await request('/temperature/a.b')).toMatchObject({ status: 404, text: '{"error":"not found"}' })
  })
})

describe('GET /tickets/', () => {
  const open = (filename = 'a.txt') => {
    const content = new TextEncoder().encode('<script>')
    place.store.tickets.open(mailOf({ attachments: [{ filename, contentType: 'text/html', content }] }))
  }

  test('lists the tickets, newest first', async () => {
    expect(await get('/tickets/')).toEqual([])
    open()
    open()
    expect(await get('/tickets/')).toMatchObject([{ id: 2, subject: 'Fire', messageCount: 1 }, { id: 1 }])
    expect(await get('/tickets/?limit=1')).toMatchObject([{ id: 2 }])
  })

  test('shows one with its messages, and what was attached to them', async () => {
    open('größe;"\'*.html')
    const url = '/tickets/1/attachments/1'
    expect(await get('/tickets/1')).toMatchObject({
      id: 1,
      from: 'ann@example.org',
      messages: [{ text: 'It burns.', attachments: [{ contentType: 'text/html', size: 8, url }] }],
    })
    const { status, text, headers } = await request(url)
    expect([status, text, headers.get('content-type')]).toEqual([200, '<script>', 'text/html'])
    expect(headers.get('content-disposition')).toBe("attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%3B%22%27%2a.html")
    expect(headers.get('content-security-policy')).toContain('sandbox')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
  })

  test('has no other', async () => {
    for (const path of [
      '/tickets/1',
      '/tickets/0',
      '/tickets/99999999999999999999',
      '/tickets/1/attachments/1',
      '/tickets/x',
    ]) {
      expect((await request(path)).status).toBe(404)
    }
  })
})

test.each(['0', '-1', '1001', '1e2', 'many', '', '1.5', '٣'])('a limit of %j is refused', async (limit) => {
  for (const path of ['/temperature/', '/temperature/kitchen', '/tickets/', '/tickets/1']) {
    const { status, text } = await request(`${path}?limit=${encodeURIComponent(limit)}`)
    expect([status, text]).toEqual([400, '{"error":"limit: expected a whole number from 1 to 1000"}'])
  }
})

test('only reading is allowed', async () => {
  for (const path of ['/', '/gethostbyname/localhost', '/temperature/', '/tickets/', '/tickets/1/attachments/1']) {
    const { status, headers } = await request(path, { method: 'POST' })
    expect([status, headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    expect([200, 404]).toContain((await request(path, { method: 'HEAD' })).status)
  }
})

describe('the page', () => {
  test.each([
    ['/', 'text/html; charset=utf-8'],
    ['/app.js', 'text/javascript; charset=utf-8'],
    ['/style.css', 'text/css; charset=utf-8'],
    ['/icon.svg', 'image/svg+xml'],
  ])('%s is served as %s', async (path, type) => {
    const { status, headers, bytes } = await request(path)
    expect([status, headers.get('content-type')]).toEqual([200, type])
    expect(bytes.length).toBeGreaterThan(100)
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'/)
    expect(headers.get('content-security-policy')).not.toContain('unsafe')
  })

  test('has nothing inline, and every file that it names is there', async () => {
    const { text } = await request('/')
    expect(text).not.toMatch(/<script(?![^>]* src=)|<style|\son\w+=|style=/)
    const named = Array.from(text.matchAll(/(?:src|href)="([a-z]+\.[a-z]+)"/g), ([, name]) => name)
    expect(named).toContain('app.js')
    for (const name of named) expect((await request(`/${name}`)).status).toBe(200)
  })

  test('is not sent again to whoever has it', async () => {
    const { headers } = await request('/')
    const etag = headers.get('etag') ?? ''
    expect(etag).toMatch(/^"[\w-]{22}"$/)
    for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
      const { status, bytes } = await request('/', { headers: { 'if-none-match': known } })
      expect([status, bytes.length]).toEqual([304, 0])
    }
    expect((await request('/', { headers: { 'if-none-match': '"other"' } })).status).toBe(200)
  })

  test.each([
    '/../gateway.yaml',
    '/..%2fgateway.yaml',
    '/%2e%2e/gateway.yaml',
    '/../handlers/site.ts',
    '/site/index.html',
    '//index.html',
    '/index.html/',
    '/.html',
    '/INDEX.HTML',
    '/app.js%00.css',
    '/nothing.html',
  ])('%s is not there', async (path) => {
    expect(await request(path)).toMatchObject({ status: 404, text: '{"error":"not found"}' })
  })

  test('is all that there is, whatever is asked for', async () => {
    const files = /^(index\.html|style\.css|icon\.svg|(app|chat|dom|lists|plot|socket)\.js)$/
    const part = fc.constantFrom('..', '.', '/', '%2f', '\\', 'index', '.html', 'app.js', 'site', 'a', '%00', '~')
    await fc.assert(
      fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 6 }), async (parts) => {
        const name = parts.join('')
        const { status } = await request(`/${name}`)
        expect(status).toBe(files.test(name) || name === '' ? 200 : 404)
      }),
      { numRuns: 50 },
    )
  })
})
