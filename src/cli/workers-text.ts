/** What is served of named channels, for a person. */
import type { WorkerSettings } from '../config/workers.ts'

/** `thumbnails, mails (4 at once)` */
export function workersText(workers: readonly WorkerSettings[]): string {
  return workers
    .map(({ channel, concurrency }) => (concurrency === 1 ? channel : `${channel} (${concurrency} at once)`))
    .join(', ')
}
