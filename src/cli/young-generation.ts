/** What V8 does with the part of its memory where everything new begins: how large it grows, and that everything does begin there. */
import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Both halves of it, in bytes: what V8 itself stopped at for years, and enough for every traffic. */
const bound = 32 * 1024 * 1024

/**
 * V8 doubles it whenever as much as it holds has survived in it, up to 128 MiB. That is what thousands of connections do that
 * come in a short time: it then takes as much memory as all of them together.
 *
 * And what is made where most of it has survived, it makes among the old from then on. Until Node's own code is optimised every
 * connection has a function there, and survives. What came to be made there for that would keep all that connections hold, also
 * when they are over, until everything is collected.
 */
export function boundYoungGeneration(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
  const observer = new PerformanceObserver(() => {
    if (youngGeneration() < bound) return
    // Looked at by V8 each time it is about to grow.
    setFlagsFromString('--semi-space-growth-factor=1')
    observer.disconnect()
  })
  observer.observe({ entryTypes: ['gc'] })
}

function youngGeneration(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? 0
}
