/** The responses of one connection: each is told its end. */
import { afterEach, expect, test } from '@jest/globals'
import type { HttpResponse, RequestHandler } from '../../src/asgi/adapter.ts'
import { createHttpHost, type ListeningHttpHost } from '../../src/runtime/http-host.ts'
import { RawClient } from '../support/raw-client.ts'

const opened: ListeningHttpHost[] = []

afterEach(async () => {
  await Promise.all(opened.splice(0).map((host) => host.close(AbortSignal.abort())))
})

async function serving(handler: RequestHandler): Promise<RawClient> {
  const host = createHttpHost({ address: { host: '127.0.0.1', port: 0 } })
  host.onRequest(undefined, handler)
  opened.push(host)
  await host.listen()
  return RawClient.connect(host.url)
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`

test.each([
  ['the first answer', '/waits', []],
  ['a later answer', '/a', ['/b', '/waits']],
  ['an answer that follows others at once', '/a', ['/b/waits']],
])('a peer that leaves during %s is noticed, once', async (_name, first, others) => {
  const closed: string[] = []
  const over = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  const client = await serving((request, response) => {
    const url = request.url ?? ''
    response.watcher = {
      closed: () => {
        closed.push(url)
        if (url === '/waits') over.resolve()
      },
    }
    if (url === '/waits') asked.resolve()
    else response.end(`[${url}]`)
  })
  client.send(get(first))
  for (const paths of others) {
    await client.until(/\[\/a\]/)
    client.send(...paths.split(/(?=\/)/).map(get))
  }
  await asked.promise
  client.reset()
  await over.promise
  expect(closed.filter((url) => url === '/waits')).toEqual(['/waits'])
  expect(new Set(closed).size).toBe(closed.length)
})

test('answers that wait for the one before them are told when the connection ends', async () => {
  const closed: string[] = []
  const over = Promise.withResolvers<void>()
  const responses: HttpResponse[] = []
  const client = await serving((request, response) => {
    responses.push(response)
    response.watcher = {
      closed: () => {
        closed.push(request.url ?? '')
        if (closed.length === 4) over.resolve()
      },
    }
    if (responses.length === 1) response.end('first')
    if (responses.length === 4) client.reset()
  })
  client.send(get('/first'))
  await client.until(/first$/)
  client.send(get('/2') + get('/3') + get('/4'))
  await over.promise
  expect(closed.toSorted()).toEqual(['/2', '/3', '/4', '/first'])
})
