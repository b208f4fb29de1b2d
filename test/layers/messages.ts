/** Small messages for tests, and waiting for what comes of them. */
import type { Event } from '../../src/asgi/protocol.ts'

export const text = (words: string): Event => ({ type: 'chat.message', text: words }) as Event

export function wordsOf(message: Event): string {
  return 'text' in message ? String(message.text) : ''
}

/** Waits for something that no event announces. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 2))
}
