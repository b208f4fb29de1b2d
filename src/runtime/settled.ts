/** The promise of what is done already: one for all, so that whoever is given it can tell that there is nothing to wait for. */

export const settled: Promise<void> = Promise.resolve()

/** Says how it ended; whoever fails has an error, whatever it was. */
export function whenSettled(work: Promise<unknown>, told: (error?: unknown) => void): void {
  const failed = (error: unknown) => told(error ?? new Error('it failed, and did not say why'))
  void work.then(() => told(), failed)
}

/** Whether a handler that answered this is at work still, as far as can be told without waiting. */
export function isPending(result: unknown): boolean {
  return result !== settled && result !== undefined
}

/** For `then`, where what it was is nobody's business. */
export function nothing(): void {}
