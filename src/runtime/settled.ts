/** The promise of what is done already: one for all, so that whoever is given it can tell that there is nothing to wait for. */

export const settled: Promise<void> = Promise.resolve()

/** Whether a handler that answered this is at work still, as far as can be told without waiting. */
export function isPending(result: unknown): boolean {
  return result !== settled && result !== undefined
}
