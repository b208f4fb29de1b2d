/** `signalbox stats`: what a running gateway has counted, as a person reads it. */
import { expect, test } from '@jest/globals'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import type { Stats } from '../../src/server/stats.ts'
import { commandLine } from '../support/command-line.ts'
import { temporaryFolder, withTop } from '../support/config-text.ts'

const quiet: Stats = {
  ready: true,
  reasons: [],
  processes: 1,
  uptime: 7,
  connections: {},
  scopes: {},
  unrouted: {},
  layer: { channels: 0, groups: 0 },
  dropped: {},
  rules: [],
}

/** What the command prints of this, but for the time of day. */
async function shown(stats: Stats): Promise<readonly string[]> {
  const server = createServer((_request, response) => response.end(JSON.stringify(stats)))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  await using files = await temporaryFolder()
  const { port } = server.address() as AddressInfo
  await writeFile(
    path.join(files.folder, 'gateway.yaml'),
    withTop('listen: { http: { address: 127.0.0.1:0 } }', `admin: { address: '127.0.0.1:${port}' }`),
  )
  const { code, out, error } = await commandLine(['stats'], { folder: files.folder })
  server.close()
  expect([code, error]).toEqual([0, ''])
  return out.split('\n').map((line) => line.replace(/^\d\d:\d\d:\d\d {2}/, ''))
}

test('a gateway that has nothing to say says so in three lines', async () => {
  await expect(shown(quiet)).resolves.toMatchObject([
    'ready, up 7 s',
    'connections: none; scopes: none; without a rule: none',
    'layer: 0 channels, 0 groups; dropped: none',
    '',
    '',
  ])
})

test('a rule that has counted nothing is left out, and none that has a dead letter', async () => {
  const none = { events: 0, handled: 0, failed: 0, interrupted: 0, waiting: 0, dead: 0 }
  const rules = [
    { protocol: 'http', rule: 'gateway.yaml:9', ...none },
    { protocol: 'http', rule: 'gateway.yaml:10', ...none, events: 2, handled: 2 },
    { protocol: 'email', rule: 'gateway.yaml:14', ...none, dead: 1 },
    { protocol: 'sms', rule: '', ...none },
  ]
  expect((await shown({ ...quiet, rules })).slice(3)).toEqual([
    'protocol  rule             events  handled  failed  interrupted  waiting  dead',
    'http      gateway.yaml:10       2        2       0            0        0     0',
    'email     gateway.yaml:14       0        0       0            0        0     1',
    '',
    '',
  ])
})

test.each([
  [true, 'layer: 40 channels, 3 groups, connected'],
  [false, 'layer: 40 channels, 3 groups, not connected'],
])('what was dropped is said by whom and why, and whether the layer reaches others (%s)', async (connected, layer) => {
  const dropped = { layer: { full: 48434, closed: 0 }, mqtt: { maxQueued: 2 } }
  const lines = await shown({ ...quiet, layer: { channels: 40, groups: 3, connected }, dropped })
  expect(lines[2]).toBe(`${layer}; dropped: 48434 layer full, 2 mqtt maxQueued`)
})
