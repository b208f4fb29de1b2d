/** How large V8 lets the part of its memory grow where everything new begins. */
import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/** Both halves of it, in bytes: what V8 itself stopped at for years, and enough for every traffic. */
const bound = 32 * 1024 * 1024

/**
 * V8 doubles it whenever as much as it holds has survived in it, up to 128 MiB. That is what thousands of connections do that
 * come in a short time: it then takes as much memory as all of them together.
 */
export function boundYoungGeneration(): void {
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
