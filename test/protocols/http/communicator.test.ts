/** The HTTP communicator: what a client on the wire would get, without one. */
import { expect, test } from '@jest/globals'
import { HttpCommunicator, type HttpRequestLike } from '../../../protocols/http/communicator.ts'
import { httpHandler } from '../../../protocols/http/consumer.ts'
import type { HttpScope } from '../../../protocols/http/scope.ts'
import { MemoryLayer } from '../../../src/layers/memory.ts'
import { URLRouter } from '../../../src/routing/url-router.ts'
import { SignalboxError, reason } from '../../../src/runtime/errors.ts'
import { serveHttp, text, type HttpApplication } from './support.ts'

const layer = new MemoryLayer()
const ask = (application: HttpApplication, request: HttpRequestLike = {}) =>
  new HttpCommunicator(application, request, { layer })

test('a request is answered', async () => {
  const hello = httpHandler(async (request) =>
    Response.json({ name: request.query.get('name'), sent: await request.text() }),
  )
  const response = await ask(hello, { method: 'POST', path: '/hello?name=ann', body: ['par', 'ts'] }).response()
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('application/json')
  expect(JSON.parse(response.text)).toEqual({ name: 'ann', sent: 'parts' })
})

test('an application that raises is a 500, one that says nothing too, and no rule a 404', async () => {
  const raises: HttpApplication = async () => {
    throw new Error('no')
  }
  expect((await ask(raises).response()).status).toBe(500)
  expect((await ask(async () => undefined).response()).status).toBe(500)
  const busy = () => Promise.reject(new SignalboxError('queue_full', 'no'))
  expect((await ask(busy).response()).status).toBe(503)
  const routes = URLRouter([{ path: '/known', app: text('known') }]) as HttpApplication
  expect((await ask(routes, { path: '/known' }).response()).text).toBe('known')
  expect((await ask(routes, { path: '/unknown' }).response()).status).toBe(404)
})

test('an application that ends in the middle of its response gives none', async () => {
  const half: HttpApplication = async (_scope, _receive, send) => {
    await send({ type: 'http.response.start', status: 200 })
    await send({ type: 'http.response.body', body: 'half', moreBody: true })
  }
  await expect(ask(half).response()).rejects.toMatchObject({ code: 'scope_ended' })
})

test('bodies are streamed both ways', async () => {
  const echo: HttpApplication = async (_scope, receive, send) => {
    await send({ type: 'http.response.start', status: 200 })
    for (let more = true; more;) {
      const event = await receive()
      if (event.type !== 'http.request') return
      more = event.moreBody
      await send({ type: 'http.response.body', body: event.body, moreBody: more })
    }
  }
  const client = ask(echo, { method: 'POST', body: 'one', moreBody: true })
  expect((await client.responseStart()).status).toBe(200)
  expect(String(await client.responsePart())).toBe('one')
  await client.sendBody('two', true)
  expect(String(await client.responsePart())).toBe('two')
  void client.sendBody('three')
  expect(String(await client.responsePart())).toBe('three')
  expect(await client.responsePart()).toBeUndefined()
})

test('a peer that leaves ends the scope with http.disconnect', async () => {
  const events: string[] = []
  const client = ask(async (_scope, receive) => {
    events.push((await receive()).type, (await receive()).type)
  })
  client.disconnect()
  await client.application.wait()
  expect(events).toEqual(['http.request', 'http.disconnect'])
})

test('what the wire would refuse is refused here too', async () => {
  let thrown: unknown
  const status = await ask(async (_scope, _receive, send) => {
    await send({ type: 'http.response.body', body: 'too early' }).catch((error: unknown) => (thrown = error))
  }).response()
  expect(status.status).toBe(500)
  expect(reason(thrown)).toMatch(/expected http\.response\.start, found http\.response\.body/)
})

test('its scope has the keys of a scope from the wire', async () => {
  const scopes: HttpScope[] = []
  const keep: HttpApplication = async (scope, receive, send, context) => {
    scopes.push(scope)
    await text('kept')(scope, receive, send, context)
  }
  await using server = await serveHttp(keep)
  await fetch(`${server.url}/a%20b?c`)
  await ask(keep, { path: '/a%20b?c' }).response()
  const [wire, played] = scopes
  expect(Object.keys(played ?? {}).toSorted()).toEqual(Object.keys(wire ?? {}).toSorted())
  const { path, rawPath, queryString } = played ?? {}
  expect({ path, rawPath, queryString }).toEqual({ path: '/a b', rawPath: '/a%20b', queryString: 'c' })
  expect(wire).toMatchObject({ path, rawPath, queryString })
})
