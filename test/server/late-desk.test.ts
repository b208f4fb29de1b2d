/** Who answers questions is loaded with the first one: what may happen meanwhile. */
import { expect, test } from '@jest/globals'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { silentLog } from '../../src/runtime/log.ts'
import type { Place } from '../../src/server/admin-places.ts'
import { LateDesk } from '../../src/server/late-desk.ts'

test('a caller who leaves in the middle of a question while it is loaded is not waited for', async () => {
  const [asked, loaded] = [Promise.withResolvers<void>(), Promise.withResolvers<readonly Place[]>()]
  const places = () => (asked.resolve(), loaded.promise)
  const desk = new LateDesk({ places, log: silentLog, maxBodySize: 100, probes: false, refuse: () => undefined })
  const served = Promise.withResolvers<void>()
  const left = Promise.withResolvers<void>()
  const server = createServer((request, response) => {
    request.once('close', () => left.resolve())
    served.resolve(desk.serve(request, response))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  client.write('POST /word HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n"hal')
  await asked.promise
  client.destroy()
  await left.promise
  const said: string[] = []
  const post = async (_name: string, body: string) => ({ status: said.push(body), text: '' })
  loaded.resolve([{ path: /^\/word$/, shown: '/word', post }])
  await served.promise
  expect(said).toEqual([])
  server.close()
})
