/** What a gateway says of itself: when it cannot be said the first time, it is said the next. */
import { expect, test } from '@jest/globals'
import { Tallies } from '../../src/runtime/tally.ts'
import { OwnFigures } from '../../src/server/figures.ts'
import { Health } from '../../src/server/health.ts'
import type { MetricSources } from '../../src/server/metrics.ts'

function sources(): MetricSources {
  const health = new Health()
  return {
    tallies: new Tallies(),
    readiness: () => health.readiness(),
    connections: () => new Map(),
    scopes: () => new Map(),
    layer: () => ({ channels: 0, groups: 0, dropped: {} }),
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
