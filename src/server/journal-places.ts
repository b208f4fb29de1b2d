/** What the admin listener can be asked of the journal. */
import { SignalboxError, reason } from '../runtime/errors.ts'
import { ok, type Place } from './admin-places.ts'
import type { Desk } from './journal-desk.ts'

export function journalPlaces(desk: Desk): readonly Place[] {
  const asked = (path: string, answer: (question: unknown) => Promise<object>): Place => ({
    path: new RegExp(`^/journal/${path}$`),
    shown: `/journal/${path}`,
    post: async (_, body) => ok(await answer(questionIn(body))),
  })
  return [
    { path: /^\/journal$/, shown: '/journal', get: async () => ok(await desk.counts()) },
    asked('list', (question) => desk.list(question)),
    asked('show', (question) => desk.show(question)),
    asked('retry', (question) => desk.retry(question)),
    asked('discard', (question) => desk.discard(question)),
  ]
}

/** @throws SignalboxError `bad_message` */
function questionIn(body: string): unknown {
  try {
    return body === '' ? {} : JSON.parse(body)
  } catch (error) {
    throw new SignalboxError('bad_message', `expected JSON: ${reason(error)}`)
  }
}
