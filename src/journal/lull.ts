/** When the event loop has read all that there was to read: what comes until then can go together. */
import { performance } from 'node:perf_hooks'

/**
 * Calls `then` after a turn of the event loop in which no socket had anything to say, or after `longest` milliseconds of turns
 * that had. An idle process is kept waiting for one turn only; a busy one does a few large things instead of many small ones.
 */
export function atLull(then: () => void, longest: number): void {
  const latest = performance.now() + longest
  let before = eventsSoFar()
  const look = () => {
    const events = eventsSoFar()
    if (events === before || performance.now() >= latest) return then()
    before = events
    setImmediate(look)
  }
  setImmediate(look)
}

/** What libuv has taken from the operating system until now: timers and immediates are not counted. */
function eventsSoFar(): number {
  return performance.nodeTiming.uvMetricsInfo.events
}
