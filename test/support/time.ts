/** Time that passes only where a test says so: a pause of the machine then fails nothing. */
import { afterEach, jest } from '@jest/globals'

afterEach(() => void jest.useRealTimers())

/** From now on, until the test is over. */
export function stopTime(): void {
  jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] })
}

/** So many milliseconds at once, as of a process that stood still; then a turn. */
export async function pass(milliseconds: number): Promise<void> {
  jest.advanceTimersByTime(milliseconds)
  await new Promise((resolve) => void setImmediate(resolve))
}
