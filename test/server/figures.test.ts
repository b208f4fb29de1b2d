/** What a gateway says of itself: its counts and its layer, alone and of several processes together. */
import { expect, test } from '@jest/globals'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { LayerStats } from '../../src/asgi/channel-layer.ts'
import { journalFolder } from '../../src/journal/folders.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { Tallies } from '../../src/runtime/tally.ts'
import { AllFigures } from '../../src/server/all-figures.ts'
import { ControlSocket } from '../../src/server/control-socket.ts'
import { OwnFigures, figurePlaces } from '../../src/server/figures.ts'
import { Health } from '../../src/server/health.ts'
import type { MetricSources } from '../../src/server/metrics.ts'

function sources(layer: Partial<LayerStats> = {}, tallies = new Tallies()): MetricSources {
  const health = new Health()
  return {
    tallies,
    readiness: () => health.readiness(),
    connections: () => new Map(),
    scopes: () => new Map(),
    layer: () => ({ channels: 0, groups: 0, dropped: {}, ...layer }),
  }
}

test('metrics that could not be loaded are loaded for the next who asks, and keep nothing from closing', async () => {
  let asked = 0
  const figures = new OwnFigures({
    ...sources(),
    get threads() {
      if (++asked === 1) throw new Error('too many open files')
      return undefined
    },
  })
  await expect(figures.metrics()).rejects.toThrow('too many open files')
  await figures.close()
  await expect(figures.metrics()).resolves.toMatchObject({ text: expect.stringContaining('signalbox_events_total') })
  await figures.close()
})

test('the first metrics have only numbers, and no delay of centuries', async () => {
  const figures = new OwnFigures(sources())
  const { text } = await figures.metrics()
  const delays = [...text.matchAll(/^nodejs_eventloop_lag_\w+ (\S+)$/gm)].map(([, value]) => Number(value))
  expect(delays.length).toBeGreaterThan(5)
  expect(delays.filter((value) => !(value < 1_000_000))).toEqual([])
  await figures.close()
})

test('what the layer drops is counted from 0 on, for every reason', async () => {
  const figures = new OwnFigures(sources({ dropped: { full: 3 } }))
  const { text } = await figures.metrics()
  const dropped = [...text.matchAll(/^signalbox_layer_dropped_total\{reason="(\w+)"\} (\d+)$/gm)]
  expect(Object.fromEntries(dropped.map(([, why, count]) => [why, Number(count)]))).toEqual({
    full: 3,
    overloaded: 0,
    closed: 0,
    expired: 0,
    malformed: 0,
    too_large: 0,
    unreachable: 0,
    dead: 0,
  })
  await figures.close()
})

test('stats say what was dropped, by whom and why, and how the layer is', async () => {
  const tallies = new Tallies()
  for (const why of ['maxQueued', 'maxQueued', 'maxRetained']) tallies.countDropped('mqtt', why)
  const stats = await new OwnFigures(sources({ channels: 4, groups: 1, dropped: { full: 5 } }, tallies)).stats()
  expect(stats).toMatchObject({
    layer: { channels: 4, groups: 1 },
    dropped: { layer: { full: 5 }, mqtt: { maxQueued: 2, maxRetained: 1 } },
  })
  expect(stats.layer).not.toHaveProperty('connected')
})

test('stats of several processes have the sums, and a layer that one of them cannot reach is not connected', async () => {
  const data = await mkdtemp(path.join(tmpdir(), 'signalbox-'))
  const folder = journalFolder(data, 2)
  await mkdir(folder)
  const tallies = new Tallies()
  tallies.countDropped('mqtt', 'maxQueued')
  const other = new OwnFigures(sources({ channels: 1, dropped: { full: 2, closed: 1 }, connected: false }, tallies))
  const control = await ControlSocket.open(folder, async () => figurePlaces(other), silentLog)
  const own = new OwnFigures(sources({ channels: 2, groups: 3, dropped: { full: 5 }, connected: true }))
  await expect(new AllFigures(own, { data, number: 1, count: 2 }).stats()).resolves.toMatchObject({
    processes: 2,
    layer: { channels: 3, groups: 3, connected: false },
    dropped: { layer: { full: 7, closed: 1 }, mqtt: { maxQueued: 1 } },
  })
  await control?.close()
  await rm(data, { recursive: true })
})
